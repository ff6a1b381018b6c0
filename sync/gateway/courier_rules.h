/* SPDX-License-Identifier: Apache-2.0 */
/* The courier's rules: what an error of WhatsApp's means for the message, the customer, the number and the
 * account, how long to wait, and how fast one may go. Pure. The table is whatsapp-cloud-api.md section 4; its
 * classes in brackets. */
#ifndef ZAJEL_GATEWAY_COURIER_RULES_H
#define ZAJEL_GATEWAY_COURIER_RULES_H

#include <stdbool.h>
#include <stdint.h>

enum courier_then {
    COURIER_RETRY, /* [NOW, RB, PAIR, NUM, ACCT] Try again after a growing delay. */
    COURIER_HOLD,  /* [HUMAN] Keep all of the scope until somebody has mended it; one message probes now and
                      then. */
    COURIER_LATER, /* [LATER] Once more after first_s, if the message is still wanted then. */
    COURIER_FAIL   /* [NEVER] Tell the sender. */
};

/* Who waits while the delay or the hold lasts. */
enum courier_scope { COURIER_MESSAGE, COURIER_PAIR, COURIER_NUMBER, COURIER_ACCOUNT };

struct courier_rule {
    int first_code, last_code;
    enum courier_then then;
    enum courier_scope scope;
    unsigned tries_max;       /* Retries after which it fails; 0: until its deadline. */
    uint32_t first_s, most_s; /* The first delay, and what its doubling ends at. */
    uint32_t factor;          /* By which the delay grows. */
    bool alarm;               /* Somebody at head office has to look. */
};

/* Never NULL: unknown codes go by the HTTP status. */
const struct courier_rule *courier_rule_of(int code, long http);

/* The delay before retry number `tries` (from 1), with jitter: between half of it and the whole. random: any
 * 64 bits. */
uint64_t courier_delay_ms(const struct courier_rule *rule, unsigned tries, uint64_t random);

/* A rate with a burst: one token each interval, at most `burst` saved. Zeroed, it is full. */
struct courier_bucket {
    uint64_t empty_until_us; /* When all tokens taken so far will have come back. */
};
uint64_t courier_bucket_wait_ms(const struct courier_bucket *b, uint64_t interval_us, uint32_t burst,
                                uint64_t now_ms);
void courier_bucket_take(struct courier_bucket *b, uint64_t interval_us, uint64_t now_ms);

#endif
