/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/relay_store.h"

static void never_forgets_a_mark(void **state)
{
    struct store s;
    uint64_t mark, marks[LANE_COUNT];
    epoch_id ledger;

    (void)state;
    store_start(&s);
    assert_int_equal(inbox_set_ledger(s.outbox, 0xfedcba9876543210u), STATUS_OK);
    assert_int_equal(inbox_set_mark(s.outbox, 0xfedcba9876543210u, LANE_CHAT, 9), STATUS_OK);
    assert_int_equal(inbox_set_mark(s.outbox, 0xfedcba9876543210u, LANE_CHAT, 4), STATUS_OK);
    store_commit(&s);
    /* The ledger is remade, and the old one comes back. */
    assert_int_equal(inbox_set_ledger(s.outbox, 2), STATUS_OK);
    assert_int_equal(inbox_set_mark(s.outbox, 2, LANE_CHAT, 1), STATUS_OK);
    store_commit(&s);
    store_restart(&s);
    assert_int_equal(inbox_ledger(s.outbox, &ledger, marks), STATUS_OK);
    assert_true(ledger == 2);
    assert_int_equal(marks[LANE_CHAT], 1);
    assert_int_equal(marks[LANE_URGENT], 0);
    assert_int_equal(inbox_mark(s.outbox, 0xfedcba9876543210u, LANE_CHAT, &mark), STATUS_OK);
    assert_int_equal(mark, 9);
    store_end(&s);
}

static void put(struct store *s, inbox_customer customer, const char *body)
{
    assert_int_equal(inbox_put(s->outbox, customer, (uint64_t)s->now.wall_ms, slice_text(body)), STATUS_OK);
}

static void expect(struct store *s, inbox_customer after, inbox_customer customer, const char *body,
                   struct inbox_webhook *webhook)
{
    struct slice found;

    assert_int_equal(inbox_next(s->outbox, after, webhook), STATUS_OK);
    assert_true(webhook->customer == customer);
    assert_int_equal(inbox_read(s->outbox, webhook, &found), STATUS_OK);
    assert_true(slice_is(found, body));
}

static void keeps_each_customers_order_across_restarts(void **state)
{
    struct store s;
    struct inbox_webhook webhook;

    (void)state;
    store_start(&s);
    put(&s, 10, "{\"n\":1}");
    put(&s, 20, "{\"n\":2}");
    store_commit(&s);
    store_restart(&s);
    put(&s, 10, "{\"n\":3}");
    put(&s, 10, "{\"n\":4}");
    store_commit(&s);
    store_restart(&s);
    assert_int_equal(inbox_waiting(s.outbox), 4);
    expect(&s, -1, 10, "{\"n\":1}", &webhook);
    assert_int_equal(inbox_delete(s.outbox, &webhook), STATUS_OK);
    expect(&s, -1, 10, "{\"n\":3}", &webhook);
    assert_int_equal(inbox_delete(s.outbox, &webhook), STATUS_OK);
    expect(&s, -1, 10, "{\"n\":4}", &webhook);
    expect(&s, 10, 20, "{\"n\":2}", &webhook);
    assert_int_equal(inbox_next(s.outbox, 20, &webhook), STATUS_END);
    assert_int_equal(inbox_waiting(s.outbox), 2);
    store_end(&s);
}

static void gives_customers_numbers_that_tell_nothing(void **state)
{
    struct store s, other;
    inbox_customer one, again, two, elsewhere;

    (void)state;
    store_start(&s);
    store_start(&other);
    assert_int_equal(inbox_customer_of(s.outbox, slice_text(NUMBER), slice_text("254712345678"), &one),
                     STATUS_OK);
    assert_int_equal(inbox_customer_of(s.outbox, slice_text(NUMBER), slice_text("254712345678"), &again),
                     STATUS_OK);
    assert_int_equal(inbox_customer_of(s.outbox, slice_text(NUMBER), slice_text("254712345679"), &two),
                     STATUS_OK);
    assert_int_equal(
        inbox_customer_of(other.outbox, slice_text(NUMBER), slice_text("254712345678"), &elsewhere),
        STATUS_OK);
    assert_true(one == again && one >= 0);
    assert_true(one != two);
    assert_true(one != elsewhere);
    store_end(&s);
    store_end(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_forgets_a_mark),
        cmocka_unit_test(keeps_each_customers_order_across_restarts),
        cmocka_unit_test(gives_customers_numbers_that_tell_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
