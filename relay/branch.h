/* SPDX-License-Identifier: Apache-2.0 */
/* The branch decides: which lane and deadline a message gets, whether there is room for it, what is sent
 * next, what a row from the centre means, when a message's time is over. It does no I/O of its own: requests,
 * rows and the time come in, the outbox is its store, answers and rows go out. The daemon and the simulator
 * run it alike.
 *
 * Functions that return a status: anything but STATUS_OK (and what is named) is the store's trouble, and the
 * turn is lost. */
#ifndef ZAJEL_RELAY_BRANCH_H
#define ZAJEL_RELAY_BRANCH_H

#include "relay/outbox_rows.h"
#include "sync/kit/text.h"

/* Our own error codes (design section 5; 990004 is the relay's). */
#define BRANCH_ERROR_EXPIRED 990001
#define BRANCH_ERROR_UNKNOWN 990002
#define BRANCH_ERROR_WITHDRAWN 990003
#define BRANCH_ERROR_DAMAGED 990004 /* Its row on the box's disk was altered. */

#define BRANCH_EXPIRES_IN_MAX_S 2592000u /* 30 days: WhatsApp itself keeps nothing longer. */
#define BRANCH_MINUTES 1440              /* Of a day. */

struct branch_number {
    const char *id;      /* PHONE_NUMBER_ID, decimal digits */
    const char *display; /* Its number as people write it, and */
    const char *waba;    /* its account, for the webhooks we make; "" when unknown. */
};

struct branch_template {
    const char *name;
    int lane;              /* -1: no rule. */
    uint32_t expires_in_s; /* 0: no rule. */
};

struct branch_lane {
    uint32_t expires_in_s; /* 0: the lane's default. */
    int from_minute;       /* -1: at any time; else sent only from this minute of the local day ... */
    int until_minute;      /* ... until this one, over midnight when it is the smaller. */
};

struct branch_options {
    uint32_t number; /* The branch's. */
    const struct branch_number *numbers;
    size_t number_count;
    const struct branch_template *templates;
    size_t template_count;
    struct branch_lane lanes[LANE_COUNT];
    uint64_t store_bytes_max;
    uint64_t token_messages_max; /* That may wait of one token; 0: no limit. */
    bool delivers;               /* A program wants webhooks. */
};

struct branch_time {
    uint64_t elapsed_ms;
    int64_t wall_ms;
    int minute;        /* Of the local day. */
    bool synchronised; /* The kernel's clock can be trusted. */
};

struct branch;

/* options (and what it points to) and the outbox stay the caller's. */
int branch_open(struct branch **out, const struct branch_options *options, struct outbox *outbox);
void branch_close(struct branch *b); /* NULL is fine. */

/* --- What programs ask --- */

struct branch_request {
    unsigned token; /* 0: the command line. */
    struct slice token_name;
    struct slice number; /* PHONE_NUMBER_ID of the path. */
    struct slice body;
    const char *lane, *expires_in, *key; /* Header values, or NULL. */
};

struct branch_answer {
    unsigned status;                  /* HTTP */
    unsigned retry_after_s;           /* 0: say nothing. */
    struct text body;                 /* Added to. */
    char id[MESSAGE_ID_TEXT_MAX + 1]; /* Of the message; "" when none was accepted. */
};

/* Handles one request as one event of the turn. Its answer may leave only once the turn is committed. */
int branch_accept(struct branch *b, const struct branch_request *request, const struct branch_time *now,
                  struct branch_answer *answer);

/* The answer of GET and DELETE .../messages/ID, JSON both. goodput: bytes per second, 0 unknown. */
int branch_show(struct branch *b, struct slice id, uint64_t goodput, const struct branch_time *now,
                struct branch_answer *answer);
int branch_withdraw(struct branch *b, struct slice id, const struct branch_time *now,
                    struct branch_answer *answer);
/* Holds the lane of this message from it on. STATUS_END: it does not wait here. */
int branch_hold(struct branch *b, struct slice id, const struct branch_time *now);

/* Whether messages are accepted now; if not, *why is a short word (else NULL). */
bool branch_is_ready(struct branch *b, const char **why);

/* --- The link --- */

/* The link came up, or went down: a message on its way may still be heard of, or not. */
void branch_set_link(struct branch *b, bool is_up);
/* What waits in the lane and may go now. */
struct outbox_waiting branch_waiting(struct branch *b, enum lane lane, const struct branch_time *now);
/* The next row of the lane to send after a place: its item, borrowed until the next call. STATUS_END: none
 * now. */
int branch_next(struct branch *b, enum lane lane, const struct outbox_place *after,
                const struct branch_time *now, struct outbox_place *place, struct slice *item);
/* A row came down: does what it says, moves the mark. */
int branch_take(struct branch *b, epoch_id epoch, enum lane lane, uint64_t seq, struct slice row,
                const struct branch_time *now);

/* --- Time --- */

/* Settles, expires and purges a bounded number of rows. slice: also looks at some rows behind the lanes'
 * heads (once a second is enough). *more: call it again in the next turn. */
int branch_sweep(struct branch *b, bool slice, const struct branch_time *now, bool *more);

#endif
