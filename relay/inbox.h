/* SPDX-License-Identifier: Apache-2.0 */
/* The inbox keeps what came down: the marks of what was taken from the gateway, never forgotten, and the
 * webhooks that the branch's program has not taken yet, sealed, in order per customer. It lies in the
 * outbox's database and turn. */
#ifndef ZAJEL_RELAY_INBOX_H
#define ZAJEL_RELAY_INBOX_H

#include "relay/outbox.h"
#include "sync/kit/text.h"

/* The ledger epoch heard of last, 0 none, and the marks in it. */
int inbox_ledger(struct outbox *o, epoch_id *epoch, uint64_t marks[LANE_COUNT]);
/* The gateway named its ledger's epoch. Needs a turn if it is a new one. */
int inbox_set_ledger(struct outbox *o, epoch_id epoch);
/* Everything of (epoch, lane) up to this number is taken or was never sent. 0: nothing. */
int inbox_mark(struct outbox *o, epoch_id epoch, enum lane lane, uint64_t *out);
int inbox_set_mark(struct outbox *o, epoch_id epoch, enum lane lane, uint64_t seq); /* Forward only. */

/* Whose webhook it is, as a keyed hash: what stands in the clear on the card. */
typedef int64_t inbox_customer;
int inbox_customer_of(const struct outbox *o, struct slice number, struct slice customer,
                      inbox_customer *out);

struct inbox_webhook {
    inbox_customer customer;
    int64_t number; /* Rises within a customer. */
    uint64_t at_ms; /* When it was queued. */
};

/* Queues one webhook body (copied) for the program. */
int inbox_put(struct outbox *o, inbox_customer customer, uint64_t now_ms, struct slice body);
/* The oldest webhook of the first customer after the given one, in hash order. STATUS_END: none further on.
 */
int inbox_next(struct outbox *o, inbox_customer after, struct inbox_webhook *out);
/* Its body, borrowed until the next call on the outbox. STATUS_CORRUPT, STATUS_UNAVAILABLE, STATUS_END. */
int inbox_read(struct outbox *o, const struct inbox_webhook *webhook, struct slice *body);
int inbox_delete(struct outbox *o, const struct inbox_webhook *webhook); /* Needs a turn. */
uint64_t inbox_waiting(const struct outbox *o);                          /* How many webhooks wait. */

#endif
