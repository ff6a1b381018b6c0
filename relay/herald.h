/* SPDX-License-Identifier: Apache-2.0 */
/* The herald takes webhooks to the branch's program: one event per POST, signed, from disk, in order per
 * customer, several customers at a time. A 2xx deletes; anything else is tried again after 1 s, doubling to 5
 * min, for 7 days. */
#ifndef ZAJEL_RELAY_HERALD_H
#define ZAJEL_RELAY_HERALD_H

#include "relay/box.h"

int herald_open(struct herald **out, struct box *box);
void herald_close(struct herald *d); /* NULL is fine. */
/* Before the commit: what was delivered is deleted. Anything but STATUS_OK is the store's trouble. */
int herald_turn(struct herald *d, const struct branch_time *now);
/* After it: starts what may start. */
void herald_pump(struct herald *d, const struct branch_time *now);
/* Attempts that failed, since the start. */
uint64_t herald_failures(const struct herald *d);
bool herald_is_paused(const struct herald *d); /* The program cannot be reached. */

#endif
