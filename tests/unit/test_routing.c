/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "sync/gateway/routing.h"
#include "sync/protocol/status.h"

enum { NYERI = 1, GARISSA, HEAD_OFFICE };

static uint32_t branch(void *owner, const char *id)
{
    (void)owner;
    if (strcmp(id, "nyeri-03") == 0)
        return NYERI;
    if (strcmp(id, "garissa-01") == 0)
        return GARISSA;
    return strcmp(id, "head-office") == 0 ? HEAD_OFFICE : 0;
}

static const struct routing_prefix prefixes[] = { { "254", "nyeri-03" },
                                                  { "25471", "garissa-01" },
                                                  { "2547199", "closed-branch" } };
static const struct routing usual = {
    .order = { ROUTING_LAST_SERVED, ROUTING_PREFIX, ROUTING_DEFAULT },
    .order_count = 3,
    .prefixes = prefixes,
    .prefix_count = 3,
    .default_branch = "head-office",
};

static uint32_t choose(const struct routing *r, const char *customer, uint32_t last_served, uint32_t only)
{
    struct routing_known known = { .branch = branch, .last_served = last_served, .only_branch = only };

    return routing_choose(r, slice_text(customer), &known);
}

static void sends_an_answer_to_whom_served_the_customer_last(void **state)
{
    (void)state;
    assert_int_equal(choose(&usual, "254720000001", GARISSA, 0), GARISSA);
    assert_int_equal(choose(&usual, "254720000001", 0, 0), NYERI);
}

static void lets_the_longest_prefix_of_a_living_branch_win(void **state)
{
    (void)state;
    assert_int_equal(choose(&usual, "254710000001", 0, 0), GARISSA);
    assert_int_equal(choose(&usual, "254719900001", 0, 0), GARISSA); /* The closer one leads to no branch. */
    assert_int_equal(choose(&usual, "25", 0, 0), HEAD_OFFICE);
    assert_int_equal(choose(&usual, "", 0, 0), HEAD_OFFICE);
    assert_int_equal(choose(&usual, "KE.AbCdEf", 0, 0), HEAD_OFFICE);
}

static void keeps_the_order_it_is_told(void **state)
{
    struct routing r = usual;

    (void)state;
    assert_int_equal(routing_parse_order(" prefix ,last_served", &r), STATUS_OK);
    assert_int_equal(choose(&r, "254720000001", GARISSA, 0), NYERI);
    assert_int_equal(choose(&r, "1555", GARISSA, 0), GARISSA);
    assert_int_equal(choose(&r, "1555", 0, 0), 0); /* The default is not among its rules. */
}

static void has_one_branch_take_all_when_no_rule_knows_better(void **state)
{
    struct routing r = usual;

    (void)state;
    r.default_branch = NULL;
    assert_int_equal(choose(&r, "1555", 0, 0), 0);
    assert_int_equal(choose(&r, "1555", 0, GARISSA), GARISSA);
}

static void refuses_an_order_that_is_none(void **state)
{
    struct routing r = usual;

    (void)state;
    assert_int_equal(routing_parse_order("", &r), STATUS_INVALID);
    assert_int_equal(routing_parse_order("prefix,", &r), STATUS_INVALID);
    assert_int_equal(routing_parse_order("prefix prefix", &r), STATUS_INVALID);
    assert_int_equal(routing_parse_order("prefix, prefix", &r), STATUS_INVALID);
    assert_int_equal(routing_parse_order("nearest", &r), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_an_answer_to_whom_served_the_customer_last),
        cmocka_unit_test(lets_the_longest_prefix_of_a_living_branch_win),
        cmocka_unit_test(keeps_the_order_it_is_told),
        cmocka_unit_test(has_one_branch_take_all_when_no_rule_knows_better),
        cmocka_unit_test(refuses_an_order_that_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
