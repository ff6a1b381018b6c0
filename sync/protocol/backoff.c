/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/backoff.h"

#define STEADY_MS 3000u  /* The delay while the outage is young ... */
#define YOUNG_MS 120000u /* ... which it is for two minutes (design section 6). */
#define DELAY_MS_MAX 60000u

void backoff_init(struct backoff *b, uint64_t seed)
{
    *b = (struct backoff){ .state = seed ? seed : 1 };
}

/* xorshift64: spread is all that is asked of it. */
static uint64_t draw(struct backoff *b)
{
    b->state ^= b->state << 13;
    b->state ^= b->state >> 7;
    b->state ^= b->state << 17;
    return b->state;
}

uint64_t backoff_next(struct backoff *b, uint64_t now_ms)
{
    uint64_t most;

    if (!b->outage_ms)
        b->outage_ms = now_ms ? now_ms : 1;
    if (now_ms - b->outage_ms < YOUNG_MS) {
        b->last_ms = STEADY_MS;
        /* A fifth of spread, so that branches cut by one event do not come back in one step. */
        return STEADY_MS - STEADY_MS / 10 + draw(b) % (STEADY_MS / 5);
    }
    most = b->last_ms * 3;
    b->last_ms = STEADY_MS + draw(b) % (most - STEADY_MS + 1);
    if (b->last_ms > DELAY_MS_MAX)
        b->last_ms = DELAY_MS_MAX;
    return b->last_ms;
}

void backoff_reset(struct backoff *b)
{
    b->outage_ms = 0;
    b->last_ms = 0;
}
