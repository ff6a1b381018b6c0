/* SPDX-License-Identifier: Apache-2.0 */
/* Arrivals: rows that came up from branches are read, judged and put into the ledger. What is to be sent is
 * kept in a list for the courier, who gets it when the turn has committed. */
#ifndef ZAJEL_GATEWAY_ARRIVAL_H
#define ZAJEL_GATEWAY_ARRIVAL_H

#include "sync/gateway/ledger.h"
#include "sync/gateway/settings.h"

/* Zeroed at first. The owner cuts count back when an event is undone, and to 0 when the courier has them. */
struct arrivals {
    struct ledger_job *jobs;
    size_t count, room;
};

struct arrival {
    struct message_id id;
    const struct settings_branch *options; /* Of the branch; may be NULL. */
    int64_t clock_behind_s; /* The branch's clock is so much behind ours; 0 when its hello did not tell. */
    struct slice item;      /* Its bytes. */
};

/* Takes one, within the turn. What cannot be sent (malformed, a number that is not the branch's) passes the
 * mark too and is told to the branch. Errors are the ledger's: nothing may be acked then. */
int arrivals_take(struct arrivals *a, struct ledger *l, const struct settings *s,
                  const struct arrival *arrival, int64_t now_s);
void arrivals_free(struct arrivals *a);

/* The key of a customer in the ledger's clear columns. */
uint64_t arrival_customer(const struct ledger *l, const char *customer);

#endif
