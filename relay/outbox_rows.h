/* SPDX-License-Identifier: Apache-2.0 */
/* The waiting messages themselves: sealed rows under (lane, epoch, number), put at a lane's end, read in
 * order, deleted when the gateway holds them or their time is over. A row that exists is pending; no row is
 * ever updated. */
#ifndef ZAJEL_RELAY_OUTBOX_ROWS_H
#define ZAJEL_RELAY_OUTBOX_ROWS_H

#include "relay/outbox.h"

#define OUTBOX_TOKENS_MAX 63u /* Programs that may send; their number travels in a row's flags. */

struct outbox_place {
    enum lane lane;
    epoch_id epoch;
    uint64_t seq;
};

struct outbox_message {
    struct slice item;   /* As item_write() made it. */
    struct slice opaque; /* The program's biz_opaque_callback_data: never leaves the box. */
    uint32_t ttl_s;      /* Worth sending for so long. */
    unsigned token;      /* Who sent it: 1 to OUTBOX_TOKENS_MAX, 0 for the command line. */
};

struct outbox_row {
    struct outbox_place place;
    uint32_t ttl_s;
    unsigned token;
    size_t bytes; /* On disk, sealed. */
    bool has_opaque;
    bool age_known; /* False: of an earlier boot, and no trusted time was heard yet. */
    uint64_t age_ms;
    uint64_t at_ms;      /* When it was accepted, Unix ms as best known now. */
    struct slice item;   /* Borrowed until the next call on this outbox; empty when only peeked at. */
    struct slice opaque; /* As above. */
};

/* Accepts one message (copied) at the end of its lane in the current epoch. It is promised only once the turn
 * commits. */
int outbox_row_put(struct outbox *o, enum lane lane, const struct outbox_message *message,
                   uint64_t elapsed_ms, struct outbox_place *out);

/* The first committed row of the lane after place (epoch 0: from the start), oldest epoch first; epochs
 * without a key are passed over. Opened. STATUS_END; STATUS_CORRUPT: this row is damaged, row->place names
 * it. */
int outbox_row_next(struct outbox *o, enum lane lane, const struct outbox_place *after, uint64_t elapsed_ms,
                    struct outbox_row *row);
/* The same without opening the row: it costs neither a key nor its body. */
int outbox_row_peek(struct outbox *o, enum lane lane, const struct outbox_place *after, uint64_t elapsed_ms,
                    struct outbox_row *row);
/* The row at that place, opened. STATUS_END, STATUS_CORRUPT, STATUS_UNAVAILABLE (no key). */
int outbox_row_find(struct outbox *o, const struct outbox_place *place, uint64_t elapsed_ms,
                    struct outbox_row *row);

int outbox_row_delete(struct outbox *o, const struct outbox_place *place); /* STATUS_END: no such row. */
/* Puts a damaged row aside, with its bytes, and counts it. */
int outbox_row_quarantine(struct outbox *o, const struct outbox_place *place);
bool outbox_row_is_quarantined(struct outbox *o, const struct outbox_place *place);

/* True: it may have left the box already; only the peer's next hello can tell. */
bool outbox_row_may_have_left(const struct outbox *o, const struct outbox_place *place);
/* The session was given this row: it may leave from now on. */
void outbox_row_offered(struct outbox *o, const struct outbox_place *place);
/* The peer holds all of the epoch's lane up to seq. Remembered; the rows are deleted by and by. */
void outbox_row_settled(struct outbox *o, const struct outbox_place *upto);
bool outbox_row_is_settled(const struct outbox *o, const struct outbox_place *place);
/* The next settled row that still lies here, peeked at. STATUS_END: none. */
int outbox_row_next_settled(struct outbox *o, uint64_t elapsed_ms, struct outbox_row *row);

/* Orders places of one lane: negative, 0, positive. */
int outbox_place_compare(const struct outbox *o, const struct outbox_place *a, const struct outbox_place *b);

/* A lane is held from this place on: nothing of it is sent, so that nothing is overtaken. */
int outbox_hold(struct outbox *o, const struct outbox_place *from);
int outbox_release(struct outbox *o, enum lane lane); /* STATUS_END: was not held. */
bool outbox_is_held(const struct outbox *o, const struct outbox_place *place);
bool outbox_is_holding(const struct outbox *o, enum lane lane); /* Some rows of it, at least those to come. */

#endif
