/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/courier_rules.h"

#include <stddef.h>

#define ONE(code) (code), (code)
#define FAIL .then = COURIER_FAIL
#define FAIL_ALARM .then = COURIER_FAIL, .alarm = true
#define HOLD(of) \
    .then = COURIER_HOLD, .scope = (of), .first_s = 300, .most_s = 300, .factor = 1, .alarm = true
#define RETRY(of, first, most) \
    .then = COURIER_RETRY, .scope = (of), .first_s = (first), .most_s = (most), .factor = 2
#define LATER(after) .then = COURIER_LATER, .first_s = (after), .most_s = (after), .factor = 1, .tries_max = 1

/* In rising order of codes. */
static const struct courier_rule rules[] = {
    { ONE(0), HOLD(COURIER_ACCOUNT) },
    { ONE(1), RETRY(COURIER_MESSAGE, 1, 60), .tries_max = 3 },
    { ONE(2), RETRY(COURIER_MESSAGE, 1, 300) },
    { ONE(3), HOLD(COURIER_NUMBER) },
    { ONE(4), RETRY(COURIER_ACCOUNT, 60, 900) },
    { ONE(10), HOLD(COURIER_NUMBER) },
    { ONE(33), HOLD(COURIER_NUMBER) },
    { ONE(100), FAIL },
    { ONE(104), HOLD(COURIER_ACCOUNT) },
    { ONE(190), HOLD(COURIER_ACCOUNT) },
    { 200, 299, HOLD(COURIER_NUMBER) },
    { ONE(368), HOLD(COURIER_ACCOUNT) },
    { ONE(80007), RETRY(COURIER_ACCOUNT, 60, 900) },
    { ONE(130403), FAIL },
    { ONE(130429), RETRY(COURIER_NUMBER, 1, 60) },
    { ONE(130472), FAIL },
    { ONE(130497), FAIL_ALARM },
    { ONE(131000), RETRY(COURIER_MESSAGE, 1, 60), .tries_max = 3 },
    { ONE(131005), HOLD(COURIER_NUMBER) },
    { 131008, 131009, FAIL },
    { ONE(131016), RETRY(COURIER_MESSAGE, 1, 300) },
    { ONE(131021), FAIL },
    { ONE(131026), FAIL },
    { ONE(131031), HOLD(COURIER_ACCOUNT) },
    { ONE(131037), HOLD(COURIER_NUMBER) },
    { ONE(131042), HOLD(COURIER_ACCOUNT) },
    { ONE(131045), HOLD(COURIER_NUMBER) },
    { ONE(131047), FAIL },
    { ONE(131048), RETRY(COURIER_NUMBER, 3600, 21600), .alarm = true },
    { ONE(131049), LATER(86400) },
    { 131050, 131051, FAIL },
    { ONE(131052), RETRY(COURIER_MESSAGE, 5, 60), .tries_max = 2 },
    { ONE(131053), FAIL },
    { ONE(131055), FAIL },
    { ONE(131056), .then = COURIER_RETRY, .scope = COURIER_PAIR, .first_s = 1, .most_s = 4096, .factor = 4 },
    { ONE(131057), RETRY(COURIER_NUMBER, 30, 60) },
    { ONE(131062), FAIL },
    { ONE(131063), FAIL_ALARM },
    { ONE(131064), HOLD(COURIER_NUMBER) },
    { 132000, 132068, FAIL },
    { ONE(132069), RETRY(COURIER_MESSAGE, 3600, 3600) },
    { ONE(133004), RETRY(COURIER_MESSAGE, 1, 300) },
    { ONE(133015), RETRY(COURIER_NUMBER, 300, 300), .alarm = true },
    { 133000, 133016, HOLD(COURIER_NUMBER) },
    { ONE(134011), HOLD(COURIER_NUMBER) },
    { ONE(134100), FAIL },
    { ONE(134101), LATER(600) },
    { ONE(134102), HOLD(COURIER_NUMBER) },
    { ONE(135000), RETRY(COURIER_MESSAGE, 1, 1), .tries_max = 1 },
    { ONE(2494100), RETRY(COURIER_NUMBER, 60, 900) },
};

/* Codes that the table does not know. A server's fault may pass; it is not tried for ever. */
static const struct courier_rule unknown_refusal = { FAIL };
static const struct courier_rule unknown_trouble = { RETRY(COURIER_MESSAGE, 1, 300), .tries_max = 8 };
/* Too many requests is about the rate whatever the code. */
static const struct courier_rule unknown_rate = { RETRY(COURIER_NUMBER, 1, 60) };

const struct courier_rule *courier_rule_of(int code, long http)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (code >= rules[i].first_code && code <= rules[i].last_code)
            return &rules[i];
    if (http == 429)
        return &unknown_rate;
    return http >= 500 ? &unknown_trouble : &unknown_refusal;
}

uint64_t courier_delay_ms(const struct courier_rule *rule, unsigned tries, uint64_t random)
{
    uint64_t delay_s = rule->first_s, half_ms;

    for (unsigned i = 1; i < tries && delay_s < rule->most_s; i++)
        delay_s *= rule->factor;
    if (delay_s > rule->most_s)
        delay_s = rule->most_s;
    /* The pair limit's delays are Meta's own words and a later's hour is exact; spreading helps where many
     * wait. */
    if (rule->scope == COURIER_PAIR || rule->then == COURIER_LATER)
        return delay_s * 1000;
    half_ms = delay_s * 500;
    return half_ms + (half_ms ? random % (half_ms + 1) : 0);
}

uint64_t courier_bucket_wait_ms(const struct courier_bucket *b, uint64_t interval_us, uint32_t burst,
                                uint64_t now_ms)
{
    uint64_t saved_us = interval_us * (burst > 0 ? burst - 1 : 0), now_us = now_ms * 1000;

    if (b->empty_until_us <= now_us + saved_us)
        return 0;
    return (b->empty_until_us - now_us - saved_us + 999) / 1000;
}

void courier_bucket_take(struct courier_bucket *b, uint64_t interval_us, uint64_t now_ms)
{
    uint64_t now_us = now_ms * 1000;

    b->empty_until_us = (b->empty_until_us > now_us ? b->empty_until_us : now_us) + interval_us;
}
