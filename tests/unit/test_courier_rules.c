/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sync/gateway/courier_rules.h"

static void knows_what_each_error_of_whatsapp_means(void **state)
{
    static const struct {
        int code;
        long http;
        enum courier_then then;
        enum courier_scope scope;
    } table[] = {
        { 0, 401, COURIER_HOLD, COURIER_ACCOUNT },       { 1, 400, COURIER_RETRY, COURIER_MESSAGE },
        { 2, 503, COURIER_RETRY, COURIER_MESSAGE },      { 3, 500, COURIER_HOLD, COURIER_NUMBER },
        { 4, 400, COURIER_RETRY, COURIER_ACCOUNT },      { 33, 400, COURIER_HOLD, COURIER_NUMBER },
        { 100, 400, COURIER_FAIL, COURIER_MESSAGE },     { 190, 401, COURIER_HOLD, COURIER_ACCOUNT },
        { 200, 403, COURIER_HOLD, COURIER_NUMBER },      { 299, 403, COURIER_HOLD, COURIER_NUMBER },
        { 368, 403, COURIER_HOLD, COURIER_ACCOUNT },     { 80007, 400, COURIER_RETRY, COURIER_ACCOUNT },
        { 130429, 400, COURIER_RETRY, COURIER_NUMBER },  { 130472, 400, COURIER_FAIL, COURIER_MESSAGE },
        { 131000, 500, COURIER_RETRY, COURIER_MESSAGE }, { 131009, 400, COURIER_FAIL, COURIER_MESSAGE },
        { 131026, 400, COURIER_FAIL, COURIER_MESSAGE },  { 131042, 400, COURIER_HOLD, COURIER_ACCOUNT },
        { 131047, 400, COURIER_FAIL, COURIER_MESSAGE },  { 131048, 400, COURIER_RETRY, COURIER_NUMBER },
        { 131049, 400, COURIER_LATER, COURIER_MESSAGE }, { 131056, 400, COURIER_RETRY, COURIER_PAIR },
        { 131057, 500, COURIER_RETRY, COURIER_NUMBER },  { 132001, 404, COURIER_FAIL, COURIER_MESSAGE },
        { 132069, 400, COURIER_RETRY, COURIER_MESSAGE }, { 133004, 503, COURIER_RETRY, COURIER_MESSAGE },
        { 133010, 400, COURIER_HOLD, COURIER_NUMBER },   { 134101, 400, COURIER_LATER, COURIER_MESSAGE },
        { 2494100, 500, COURIER_RETRY, COURIER_NUMBER },
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct courier_rule *rule = courier_rule_of(table[i].code, table[i].http);

        if (rule->then != table[i].then || (rule->then != COURIER_FAIL && rule->scope != table[i].scope))
            fail_msg("code %d: then %d scope %d", table[i].code, rule->then, rule->scope);
    }
}

static void judges_a_code_that_nobody_knows_by_its_http_status(void **state)
{
    (void)state;
    assert_int_equal(courier_rule_of(999999, 400)->then, COURIER_FAIL);
    assert_int_equal(courier_rule_of(999999, 500)->then, COURIER_RETRY);
    assert_true(courier_rule_of(999999, 500)->tries_max > 0); /* Not for ever. */
    assert_int_equal(courier_rule_of(999999, 429)->scope, COURIER_NUMBER);
}

static void waits_four_to_the_power_of_x_for_a_customer_who_gets_too_much(void **state)
{
    const struct courier_rule *rule = courier_rule_of(131056, 400);

    (void)state;
    assert_int_equal(courier_delay_ms(rule, 1, 0), 1000);
    assert_int_equal(courier_delay_ms(rule, 2, 77), 4000);
    assert_int_equal(courier_delay_ms(rule, 3, 77), 16000);
    assert_int_equal(courier_delay_ms(rule, 40, 77), 4096000);
}

static void spreads_retries_and_bounds_them(void **state)
{
    const struct courier_rule *rule = courier_rule_of(131016, 500);

    (void)state;
    for (unsigned tries = 1; tries < 40; tries++)
        for (uint64_t random = 0; random < 5000; random += 617) {
            uint64_t delay_ms = courier_delay_ms(rule, tries, random);

            assert_in_range(delay_ms, rule->first_s * 500u, rule->most_s * 1000u);
        }
    assert_int_not_equal(courier_delay_ms(rule, 5, 1), courier_delay_ms(rule, 5, 4242));
}

static void grants_a_burst_and_then_the_rate(void **state)
{
    struct courier_bucket b = { 0 };
    const uint64_t interval_us = 6000000, start_ms = 1000000;
    unsigned sent = 0;

    (void)state;
    while (courier_bucket_wait_ms(&b, interval_us, 10, start_ms) == 0) {
        courier_bucket_take(&b, interval_us, start_ms);
        sent++;
    }
    assert_int_equal(sent, 10);
    assert_int_equal(courier_bucket_wait_ms(&b, interval_us, 10, start_ms), 6000);
    assert_int_equal(courier_bucket_wait_ms(&b, interval_us, 10, start_ms + 6000), 0);
    courier_bucket_take(&b, interval_us, start_ms + 6000);
    assert_int_equal(courier_bucket_wait_ms(&b, interval_us, 10, start_ms + 6001), 5999);
    /* A minute later all ten are there again. */
    for (sent = 0; courier_bucket_wait_ms(&b, interval_us, 10, start_ms + 66000) == 0; sent++)
        courier_bucket_take(&b, interval_us, start_ms + 66000);
    assert_int_equal(sent, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_what_each_error_of_whatsapp_means),
        cmocka_unit_test(judges_a_code_that_nobody_knows_by_its_http_status),
        cmocka_unit_test(waits_four_to_the_power_of_x_for_a_customer_who_gets_too_much),
        cmocka_unit_test(spreads_retries_and_bounds_them),
        cmocka_unit_test(grants_a_burst_and_then_the_rate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
