/* SPDX-License-Identifier: Apache-2.0 */
/* When to try the link again: every 3 s for the first 2 minutes, then decorrelated jitter up to 60 s. */
#ifndef ZAJEL_PROTOCOL_BACKOFF_H
#define ZAJEL_PROTOCOL_BACKOFF_H

#include <stdint.h>

struct backoff {
    uint64_t state;     /* Of the jitter; never 0. */
    uint64_t outage_ms; /* When this outage began; 0: none. */
    uint64_t last_ms;   /* The last delay. */
};

void backoff_init(struct backoff *b, uint64_t seed);
/* The delay in ms before the next attempt, counted from now. */
uint64_t backoff_next(struct backoff *b, uint64_t now_ms);
/* The link was of use (something was acked on it): the next outage starts afresh. Being merely open is not
 * enough. */
void backoff_reset(struct backoff *b);

#endif
