/* SPDX-License-Identifier: Apache-2.0 */
/* Webhooks: what WhatsApp posts is checked, split into events, routed to branches and committed before it is
 * answered. */
#ifndef ZAJEL_GATEWAY_WEBHOOKS_H
#define ZAJEL_GATEWAY_WEBHOOKS_H

#include "sync/gateway/courier.h"
#include "sync/gateway/ledger.h"
#include "sync/gateway/settings.h"
#include "sync/kit/loop.h"

struct webhooks;

/* STATUS_BUSY: the port is taken. */
int webhooks_open(struct webhooks **out, struct loop *loop, const struct settings *settings);
void webhooks_close(struct webhooks *w); /* Answers 503 to who waits. NULL is fine. */
uint16_t webhooks_port(const struct webhooks *w);

/* The turn, first half: posts that came in are taken into the ledger, each by itself. */
void webhooks_take(struct webhooks *w, struct ledger *ledger, struct courier *courier, uint64_t now_ms,
                   int64_t now_s);
/* After the commit (or without one): 200 to those taken, 503 where their turn failed. */
void webhooks_committed(struct webhooks *w, bool committed);

struct webhooks_totals {
    uint64_t posts, denied, failed;
};
void webhooks_totals(const struct webhooks *w, struct webhooks_totals *out);

#endif
