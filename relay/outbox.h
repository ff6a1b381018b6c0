/* SPDX-License-Identifier: Apache-2.0 */
/* The outbox keeps every message the branch has accepted until the gateway holds it too. It owns relay.db:
 * the file, its one transaction a turn, the epochs and their keys, the clock that is saved with it, and the
 * counters. What else lies in the file has its own header: outbox_rows.h, outbox_history.h,
 * outbox_idempotency.h, outbox_tokens.h, inbox.h. */
#ifndef ZAJEL_RELAY_OUTBOX_H
#define ZAJEL_RELAY_OUTBOX_H

#include "sync/kit/clock.h"
#include "sync/protocol/lane.h"
#include "sync/protocol/message_id.h"

struct outbox;

/* What is counted for ever, across restarts. Their numbers are on disk: only ever append. */
enum outbox_total {
    OUTBOX_ACCEPTED,
    OUTBOX_SYNCED,
    OUTBOX_REFUSED,
    OUTBOX_EXPIRED,
    OUTBOX_WITHDRAWN,
    OUTBOX_UNKNOWN,
    OUTBOX_RECEIVED,          /* Rows taken from the gateway. */
    OUTBOX_DELIVERED,         /* Webhooks that a program took. */
    OUTBOX_DROPPED_DAMAGED,   /* Rows whose seal did not hold; kept aside in quarantine. */
    OUTBOX_DROPPED_WEBHOOK,   /* Webhooks that no program took for 7 days. */
    OUTBOX_DROPPED_MALFORMED, /* Rows of the gateway that say nothing we know. */
    OUTBOX_TOTALS
};

struct outbox_options {
    const char *folder;     /* Holds relay.db, its reserve file and epochs/. Made when it is not there. */
    uint32_t branch;        /* The branch's number, a part of every message's identity. */
    uint64_t bytes_max;     /* The quota. */
    uint64_t reserve_bytes; /* Given up when the file system is full, so that acks can still delete. */
    uint64_t elapsed_ms;    /* Now. */
    int64_t wall_ms;
    uint8_t boot[CLOCK_BOOT_BYTES]; /* Of the machine. */
    bool offline;                   /* For a verb without a daemon: no new epoch, hence nothing can be put. */
    bool salvage; /* The file proved damaged in service: save what can be read, into a new one. */
};

/* Opens relay.db and begins a new epoch. A file that is no database any more is put aside as
 * relay.db.damaged-N and what its rows still say is copied over. On failure *out is NULL. STATUS_BUSY:
 * another process has it. */
int outbox_open(struct outbox **out, const struct outbox_options *options);
void outbox_close(struct outbox *o); /* An open turn is undone. NULL is fine. */

/* The turn. Writing begins with the first outbox_write(); commit saves the counters that must be, then
 * commits. After a failure the outcome is unknown: close, open, read again. */
int outbox_write(struct outbox *o);
bool outbox_is_writing(const struct outbox *o);
int outbox_commit(struct outbox *o, uint64_t elapsed_ms);
/* After the replies: checkpoints, and remakes the reserve file once there is room again. */
void outbox_tidy(struct outbox *o);
/* One event of the turn, which can be undone alone. Its number stays burnt. */
int outbox_mark(struct outbox *o);
int outbox_keep(struct outbox *o);
void outbox_undo(struct outbox *o);

/* The file system is full: gives the reserve up. From then on the outbox only drains, until the reserve is
 * back. */
void outbox_release_reserve(struct outbox *o);
bool outbox_drains_only(const struct outbox *o);
uint64_t outbox_used_bytes(struct outbox *o);
uint64_t outbox_syncs(const struct outbox *o);   /* Data syncs since opening. */
uint64_t outbox_commits(const struct outbox *o); /* Turns with work since opening. */

uint64_t outbox_store_id(const struct outbox *o);
uint64_t outbox_boot_counter(const struct outbox *o);
struct slice outbox_salt(const struct outbox *o); /* 16 random bytes of this store, for keyed hashes. */

/* The logical clock, Unix ms as best known. */
uint64_t outbox_now_ms(const struct outbox *o, uint64_t elapsed_ms);
bool outbox_is_trusted(const struct outbox *o);
/* No trusted time was ever heard, in any boot: outbox_now_ms() follows the machine's clock. */
bool outbox_is_guessing(const struct outbox *o);
int64_t outbox_clock_offset_ms(const struct outbox *o);
/* A trusted time was heard. What was accepted in this boot keeps its age. Needs a turn (it may write). */
int outbox_trust(struct outbox *o, uint64_t trusted_ms, uint64_t elapsed_ms, int64_t wall_ms);

/* Counters. Totals are saved with the next commit that has work of another kind. */
void outbox_count(struct outbox *o, enum outbox_total total, uint64_t n);
uint64_t outbox_total(const struct outbox *o, enum outbox_total total);
const char *outbox_total_name(enum outbox_total total);

struct outbox_waiting {
    uint64_t messages;
    uint64_t bytes; /* As they lie on disk, sealed. */
};
struct outbox_waiting outbox_waiting(const struct outbox *o, enum lane lane);
uint64_t outbox_waiting_of_token(const struct outbox *o, unsigned token);

/* Epochs, in the order in which they began. The last is the current one. */
epoch_id outbox_current_epoch(const struct outbox *o);
/* The i-th epoch with rows that can be read (its key is there); the current one comes last and always.
 * STATUS_END after it. */
int outbox_epoch(const struct outbox *o, size_t i, epoch_id *out);
/* The link is about to carry rows: notes on disk that rows of these epochs may have left. */
int outbox_link(struct outbox *o);
/* The peer told its marks of an epoch: whatever is above them is surely only here. */
void outbox_clear(struct outbox *o, epoch_id epoch);

/* How many rows lie in quarantine. */
uint64_t outbox_quarantined(const struct outbox *o);
/* Rows that a missing epoch key keeps from being read. */
uint64_t outbox_unreadable(const struct outbox *o);

#endif
