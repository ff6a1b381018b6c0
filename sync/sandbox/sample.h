/* SPDX-License-Identifier: Apache-2.0 */
/* The sample branch program: takes the relay's webhooks as a bank's own program would, and keeps the last of
 * them. */
#ifndef ZAJEL_SANDBOX_SAMPLE_H
#define ZAJEL_SANDBOX_SAMPLE_H

#include "sync/kit/loop.h"
#include "sync/sandbox/sandbox_settings.h"

struct sample;

struct sample_webhook {
    uint64_t n; /* 1, 2, 3 ... */
    int64_t at_ms;
    bool signature_ok; /* When not it was answered with 401. */
    struct slice body;
};

int sample_open(struct sample **out, struct loop *l, const struct sandbox_settings *settings);
void sample_close(struct sample *s); /* NULL is fine. */
uint16_t sample_port(const struct sample *s);
void sample_set_down(struct sample *s, bool down); /* Answers 503, keeps nothing. */
uint64_t sample_first(const struct sample *s);     /* The least n that is kept; last + 1 when none is. */
uint64_t sample_last(const struct sample *s);
const struct sample_webhook *sample_find(const struct sample *s,
                                         uint64_t n); /* Valid until the next webhook. */

#endif
