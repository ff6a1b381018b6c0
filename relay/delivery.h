/* SPDX-License-Identifier: Apache-2.0 */
/* Webhooks to the branch's program: one event per POST, signed, from disk, in order per customer, several customers at
 * a time. A 2xx deletes; anything else is tried again after 1 s, doubling to 5 min, for 7 days. */
#ifndef ZAJEL_RELAY_DELIVERY_H
#define ZAJEL_RELAY_DELIVERY_H

#include "relay/box.h"

int delivery_open(struct delivery **out, struct box *box);
void delivery_close(struct delivery *d); /* NULL is fine. */
/* Before the commit: what was delivered is deleted. Anything but STATUS_OK is the store's trouble. */
int delivery_turn(struct delivery *d, const struct branch_time *now);
/* After it: starts what may start. */
void delivery_pump(struct delivery *d, const struct branch_time *now);
/* Attempts that failed, since the start. */
uint64_t delivery_failures(const struct delivery *d);
bool delivery_is_paused(const struct delivery *d); /* The program cannot be reached. */

#endif
