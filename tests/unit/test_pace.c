/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sync/protocol/backoff.h"
#include "sync/protocol/pace.h"

static void begins_carefully_and_grows_to_a_second_of_goodput(void **state)
{
    struct pace p = { 0 };
    uint64_t now = 1000;
    int i;

    (void)state;
    assert_int_equal(pace_frame_bytes(&p), PACE_FRAME_BYTES_FIRST);
    assert_int_equal(pace_window_bytes(&p), PACE_FRAME_BYTES_FIRST);
    for (i = 0; i < 20; i++) {
        struct pace_sample s = pace_sent(&p, 2000, false, now);

        now += 250; /* 2000 bytes in a quarter second: 64 kbit/s. */
        pace_acked(&p, &s, now);
    }
    assert_int_equal(pace_rtt_ms(&p), 250);
    assert_int_equal(pace_goodput_bytes_per_s(&p), 8000);
    assert_int_equal(pace_frame_bytes(&p), 8000);
    assert_int_equal(pace_window_bytes(&p), 8000 / 4 + 8000);
}

static void is_not_misled_by_having_had_nothing_to_send(void **state)
{
    struct pace p = { 0 };
    struct pace_sample s = pace_sent(&p, 8000, false, 1000);

    (void)state;
    pace_acked(&p, &s, 2000);
    s = pace_sent(&p, 60, true, 30000); /* One small message: it says nothing of the link. */
    pace_acked(&p, &s, 31000);
    assert_int_equal(pace_goodput_bytes_per_s(&p), 8000);
}

static void forgets_a_better_link_in_time(void **state)
{
    struct pace p = { 0 };
    uint64_t now = 1000;
    int i;

    (void)state;
    for (i = 0; i < 60; i++) {
        struct pace_sample s = pace_sent(&p, 10000, false, now);

        now += i < 20 ? 100 : 1000; /* 100 kB/s, then a tenth. */
        pace_acked(&p, &s, now);
    }
    assert_int_equal(pace_goodput_bytes_per_s(&p), 10000);
}

static void keeps_frames_within_their_bounds(void **state)
{
    struct pace p = { 0 };
    struct pace_sample s = pace_sent(&p, 10, false, 0);

    (void)state;
    pace_acked(&p, &s, 1000);
    assert_int_equal(pace_frame_bytes(&p), PACE_FRAME_BYTES_LEAST);
    s = pace_sent(&p, 1000000, false, 1000);
    pace_acked(&p, &s, 1001);
    assert_int_equal(pace_frame_bytes(&p), PACE_FRAME_BYTES_MOST);
}

static void tries_steadily_for_two_minutes_then_ever_more_rarely(void **state)
{
    struct backoff b;
    uint64_t now = 5000;
    uint64_t longest = 0;
    int i;

    (void)state;
    backoff_init(&b, 42);
    while (now < 5000 + 120000) {
        uint64_t delay = backoff_next(&b, now);

        assert_in_range(delay, 2700, 3300);
        now += delay;
    }
    for (i = 0; i < 200; i++) {
        uint64_t delay = backoff_next(&b, now);

        assert_in_range(delay, 3000, 60000);
        longest = delay > longest ? delay : longest;
        now += delay;
    }
    assert_true(longest > 30000);
    backoff_reset(&b);
    assert_in_range(backoff_next(&b, now), 2700, 3300);
}

static void spreads_branches_cut_by_one_event(void **state)
{
    struct backoff a, b;

    (void)state;
    backoff_init(&a, 1);
    backoff_init(&b, 2);
    assert_int_not_equal(backoff_next(&a, 1000), backoff_next(&b, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_carefully_and_grows_to_a_second_of_goodput),
        cmocka_unit_test(is_not_misled_by_having_had_nothing_to_send),
        cmocka_unit_test(forgets_a_better_link_in_time),
        cmocka_unit_test(keeps_frames_within_their_bounds),
        cmocka_unit_test(tries_steadily_for_two_minutes_then_ever_more_rarely),
        cmocka_unit_test(spreads_branches_cut_by_one_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
