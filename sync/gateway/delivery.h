/* SPDX-License-Identifier: Apache-2.0 */
/* Delivery: one webhook's body becomes rows of branches. Repeats are dropped, ids rewritten, branches chosen.
 */
#ifndef ZAJEL_GATEWAY_DELIVERY_H
#define ZAJEL_GATEWAY_DELIVERY_H

#include "sync/gateway/courier.h"
#include "sync/gateway/ledger.h"
#include "sync/gateway/settings.h"

struct delivery {
    struct ledger *ledger;
    struct courier *courier;
    const struct settings *settings;
    int64_t now_s;
};

/* Takes a signed body, within the turn. Any error: nothing of it was taken, undo. */
int delivery_take(const struct delivery *d, struct slice body);

#endif
