/* SPDX-License-Identifier: Apache-2.0 */
/* What became of each message after it left the outbox: sealed rows by the day, kept 30 days. */
#ifndef ZAJEL_RELAY_OUTBOX_HISTORY_H
#define ZAJEL_RELAY_OUTBOX_HISTORY_H

#include "relay/outbox_rows.h"

#define HISTORY_DAYS 30u
#define HISTORY_ENTRIES_MAX 32u /* A message has six states; more are repeats. */
#define HISTORY_TITLE_MAX 160u

/* On disk: frozen. */
enum history_state {
    HISTORY_SYNCED = 1,
    HISTORY_SUBMITTED = 2,
    HISTORY_SENT = 3,
    HISTORY_DELIVERED = 4,
    HISTORY_READ = 5,
    HISTORY_FAILED = 6,
    HISTORY_EXPIRED = 7,
    HISTORY_WITHDRAWN = 8,
    HISTORY_UNKNOWN = 9
};

struct history_entry {
    enum history_state state;
    uint64_t at_ms;
    uint32_t code; /* Of an error; 0 none. */
    char title[HISTORY_TITLE_MAX];
};

struct history {
    struct history_entry entries[HISTORY_ENTRIES_MAX];
    size_t count;
    uint64_t accepted_ms; /* 0: unknown. */
    struct slice opaque;  /* biz_opaque_callback_data; borrowed until the next call on this outbox. */
};

const char *history_state_name(enum history_state state);

/* What only the outbox's row knew: goes with the first entry; NULL later. */
struct history_origin {
    uint64_t accepted_ms;
    struct slice opaque;
};

/* Needs a turn. */
int outbox_history_add(struct outbox *o, const struct outbox_place *message,
                       const struct history_entry *entry, const struct history_origin *origin);
/* All that is known, in order. STATUS_END: nothing. Rows that cannot be opened are left out. */
int outbox_history_find(struct outbox *o, const struct outbox_place *message, uint64_t now_ms,
                        struct history *out);
/* Where the message stands: a later word counts, except that read is not undone by a late delivered. 0:
 * nowhere. */
enum history_state history_state_of(const struct history *h);
/* Removes at most max rows older than 30 days; *left says whether more are there. Needs a turn only if there
 * are any. */
int outbox_history_purge(struct outbox *o, uint64_t now_ms, unsigned max, bool *left);

#endif
