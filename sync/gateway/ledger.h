/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger is the gateway's store: branches, what came up from them and still has to reach WhatsApp, what
 * must go down to them, which id of ours is which of Meta's. Nothing above it knows SQL: this interface is
 * the same for every backend.
 *
 * Writes belong to the turn: ledger_mark(), calls, ledger_keep() or ledger_undo() for each event, and one
 * ledger_commit(). A row that exists is pending; what is done is deleted. Bodies are packed and sealed. */
#ifndef ZAJEL_GATEWAY_LEDGER_H
#define ZAJEL_GATEWAY_LEDGER_H

#include "sync/kit/text.h"
#include "sync/protocol/message_id.h"

struct ledger;

struct ledger_options {
    const char *folder;     /* The state folder; ledger.db and keys/ lie in it. */
    bool make;              /* Create it; else STATUS_END when there is none. */
    uint64_t bytes_max;     /* Of the database; 0: no wall. */
    uint64_t reserve_bytes; /* Kept free for the hour when the disk is full. */
};

/* Each opening counts the boot up; it commits before it returns. STATUS_BUSY: a daemon has it open. Errors of
 * db.h. */
int ledger_open(struct ledger **out, const struct ledger_options *options);
void ledger_close(struct ledger *l); /* NULL is fine. An open turn is undone. */

uint64_t ledger_store_id(const struct ledger *l);
uint64_t ledger_boot(const struct ledger *l);
epoch_id ledger_epoch(const struct ledger *l); /* The numbering of the way down. */
/* Gives the way down a new epoch: the ledger came from a backup, or forgot numbers that branches have seen.
 */
int ledger_renew(struct ledger *l);
bool ledger_is_own_epoch(struct ledger *l, epoch_id epoch); /* This or an earlier one of the way down. */
/* A hash keyed by the ledger: what stands in clear columns in place of numbers and ids. domain keeps kinds
 * apart. */
uint64_t ledger_hash(const struct ledger *l, const char *domain, struct slice text);

/* --- The turn (db.h says what each may answer) --- */
int ledger_mark(struct ledger *l);
int ledger_keep(struct ledger *l);
void ledger_undo(struct ledger *l);
int ledger_commit(struct ledger *l); /* Any failure but STATUS_FULL: close, open, read again. */
void ledger_tidy(struct ledger *l);
uint64_t ledger_syncs(const struct ledger *l);
uint64_t ledger_commits(const struct ledger *l);
uint64_t ledger_used_bytes(struct ledger *l);
/* False: the disk is full or the wall is near. Take nothing new in; what ends makes room. */
bool ledger_has_room(struct ledger *l);
/* The disk is full: gives up the reserve, so that deletes can be written. */
void ledger_release_reserve(struct ledger *l);

/* --- Branches --- */
#define LEDGER_BRANCH_ID_MAX 64u /* A common name in a certificate holds no more. */

struct ledger_branch {
    uint32_t number; /* 1, 2, 3 ... for ever. */
    char id[LEDGER_BRANCH_ID_MAX + 1];
    bool revoked;
    bool certified;          /* fingerprint and until_s are of the certificate it was given last. */
    uint8_t fingerprint[32]; /* SHA-256 of its DER form. */
    int64_t until_s;
    int64_t added_s;
    int64_t seen_s;                                             /* Last heard of; 0 never. */
    uint64_t store_id, boot;                                    /* Of its last hello; 0 none. */
    uint64_t queue_messages, queue_bytes, queue_oldest_s;       /* As it told last. */
    uint64_t received;                                          /* Messages taken from it, for ever. */
    uint64_t down_messages[LANE_COUNT], down_bytes[LANE_COUNT]; /* Waiting to go down to it. */
};

/* Letters, digits, '-', '_' and '.', beginning with a letter or digit, at most LEDGER_BRANCH_ID_MAX: it
 * stands in certificates, sections and file names. */
bool ledger_branch_id_is_good(const char *id);
/* STATUS_CONFLICT: there is one of that id. STATUS_INVALID: no good id. */
int ledger_branch_add(struct ledger *l, const char *id, int64_t now_s, uint32_t *number);
int ledger_branch_certify(struct ledger *l, uint32_t number, const uint8_t fingerprint[32], int64_t until_s);
int ledger_branch_revoke(struct ledger *l, uint32_t number);
/* What its hello and its reports say. */
int ledger_branch_hello(struct ledger *l, uint32_t number, uint64_t store_id, uint64_t boot, int64_t now_s);
int ledger_branch_report(struct ledger *l, uint32_t number, uint64_t messages, uint64_t bytes,
                         uint64_t oldest_s, int64_t now_s);
/* Borrowed until the ledger is closed; NULL: none. Numbers run from 1 to ledger_branch_count(). */
const struct ledger_branch *ledger_branch(const struct ledger *l, uint32_t number);
const struct ledger_branch *ledger_branch_find(const struct ledger *l, const char *id);
uint32_t ledger_branch_count(const struct ledger *l);

/* --- Up: what came from a branch and has to reach WhatsApp --- */
enum ledger_job_flag { LEDGER_JOB_READ = 1 }; /* A read mark: nobody waits for its outcome. */

struct ledger_job {
    struct message_id id;
    uint64_t row;             /* Rises with each message taken, over all branches: the order of arrival. */
    uint64_t number;          /* Phone number id. */
    uint64_t customer;        /* Keyed hash of whom it is for. */
    int64_t at_s, deadline_s; /* By the gateway's clock. */
    unsigned flags;
};

/* The marks of a branch's epoch: everything up to them is held, or was never sent. */
int ledger_marks(struct ledger *l, uint32_t branch, epoch_id epoch, uint64_t mark[LANE_COUNT]);
/* Takes a message, item being its bytes, and moves the mark. job->row is filled in. STATUS_CONFLICT: at or
 * below the mark. */
int ledger_take(struct ledger *l, struct ledger_job *job, struct slice item);
/* Moves the mark over a message that is not kept. */
int ledger_pass(struct ledger *l, const struct message_id *id);

enum ledger_attempt { LEDGER_WAITING, LEDGER_SENDING, LEDGER_UNKNOWN };

/* All pending messages, in no order; for the start. since_s: of a SENDING or UNKNOWN one. visit must not call
 * the ledger. */
int ledger_jobs(struct ledger *l,
                void (*visit)(void *owner, const struct ledger_job *job, enum ledger_attempt attempt,
                              int64_t since_s),
                void *owner);
/* The item's bytes, added to out. STATUS_END: no such message; STATUS_CORRUPT: damaged. */
int ledger_job_item(struct ledger *l, const struct ledger_job *job, struct text *out);
/* Journals where the attempt stands. WAITING: it is over without harm, the message may be sent again. */
int ledger_job_attempt(struct ledger *l, const struct message_id *id, enum ledger_attempt attempt,
                       int64_t since_s);
/* The message has ended, one way or the other: its row goes. */
int ledger_job_end(struct ledger *l, const struct message_id *id);

/* --- Ids: ours and Meta's --- */
#define LEDGER_META_ID_MAX 512u /* Meta's are about 60; its documentation says to allow 128. */

int ledger_id_put(struct ledger *l, const struct message_id *ours,
                  struct slice meta); /* A known pair is fine. */
int ledger_id_to_meta(struct ledger *l, const struct message_id *ours,
                      struct text *out);                                              /* Added. STATUS_END */
int ledger_id_from_meta(struct ledger *l, struct slice meta, struct message_id *out); /* STATUS_END */
/* The number that stands for a conversation of Meta's at that branch: 1, 2, 3 ... */
int ledger_conversation(struct ledger *l, uint32_t branch, struct slice meta, uint64_t *number);

/* --- Down: what waits for a branch --- */
/* id_out: its identity, seq given by the ledger. */
int ledger_down_put(struct ledger *l, uint32_t branch, enum lane lane, struct slice item,
                    struct message_id *id_out);
/* The first waiting and committed row of the lane after seq, its item bytes put into out in place of what is
 * there. STATUS_END: none. STATUS_CORRUPT: *seq_out is damaged; go on after it. */
int ledger_down_next(struct ledger *l, uint32_t branch, enum lane lane, uint64_t after_seq, uint64_t *seq_out,
                     struct text *out);
/* Takes out the number of a branch that got rows since it was last asked; after the commit. False: no more.
 */
bool ledger_down_touched(struct ledger *l, uint32_t *branch);
/* The branch holds everything up to seq. STATUS_INVALID: no such number was ever given to it. */
int ledger_down_settle(struct ledger *l, uint32_t branch, enum lane lane, uint64_t seq);
/* The highest number ever given to the branch in a lane. */
uint64_t ledger_down_last(const struct ledger *l, uint32_t branch, enum lane lane);

/* --- What webhooks need to know --- */
#define LEDGER_SEEN_DAYS 8u /* Meta repeats for up to 7 days (whatsapp-cloud-api.md section 3). */

/* STATUS_OK: new, and noted. STATUS_CONFLICT: seen before. */
int ledger_seen(struct ledger *l, uint64_t hash, int64_t now_s);
int ledger_forget_seen(struct ledger *l, int64_t now_s,
                       size_t rows_max); /* Drops what is older, a piece at a time. */
int ledger_served(struct ledger *l, uint64_t customer, uint32_t branch);
int ledger_last_served(struct ledger *l, uint64_t customer, uint32_t *branch); /* STATUS_END */
/* Keeps an event that goes to no branch: none is known for it, or it is about the account as a whole. */
int ledger_unrouted(struct ledger *l, struct slice item, int64_t now_s);

/* --- Counters that survive restarts --- */
enum ledger_counter {
    LEDGER_SUBMITTED, /* Taken by WhatsApp. */
    LEDGER_FAILED,    /* Refused by WhatsApp or by us, told as failed. */
    LEDGER_EXPIRED,
    LEDGER_UNKNOWN_TOLD,
    LEDGER_READ_DROPPED,
    LEDGER_MALFORMED, /* Rows of branches that could not be read. */
    LEDGER_WEBHOOK_EVENTS,
    LEDGER_WEBHOOK_REPEATS,
    LEDGER_UNROUTED,
    LEDGER_DAMAGED,        /* Rows quarantined: their seal did not open. */
    LEDGER_ACCOUNT_EVENTS, /* Kept at the centre: they are about the account as a whole. */
    LEDGER_COUNTER_COUNT
};
int ledger_count(struct ledger *l, enum ledger_counter counter, uint64_t by);
uint64_t ledger_counter(const struct ledger *l, enum ledger_counter counter);

#endif
