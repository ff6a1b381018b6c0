/* SPDX-License-Identifier: Apache-2.0 */
/* The postman takes webhooks to the branch's program: one event per POST, signed, from disk, in order per customer, several customers at
 * a time. A 2xx deletes; anything else is tried again after 1 s, doubling to 5 min, for 7 days. */
#ifndef ZAJEL_RELAY_POSTMAN_H
#define ZAJEL_RELAY_POSTMAN_H

#include "relay/box.h"

int postman_open(struct postman **out, struct box *box);
void postman_close(struct postman *d); /* NULL is fine. */
/* Before the commit: what was delivered is deleted. Anything but STATUS_OK is the store's trouble. */
int postman_turn(struct postman *d, const struct branch_time *now);
/* After it: starts what may start. */
void postman_pump(struct postman *d, const struct branch_time *now);
/* Attempts that failed, since the start. */
uint64_t postman_failures(const struct postman *d);
bool postman_is_paused(const struct postman *d); /* The program cannot be reached. */

#endif
