/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "sync/kit/clock.h"

/* 2026-11-24 07:00:00 UTC. */
#define MORNING_MS 1795503600000u
/* 2050-01-01. */
#define YEAR_2050_MS 2524608000000
#define HOUR_MS 3600000u

static void opens(struct logical_clock *c, struct logical_clock_saved saved, int64_t wall_ms)
{
    logical_clock_open(c, &saved, 5000, wall_ms);
}

static void continues_from_what_was_saved_on_a_new_boot(void **state)
{
    struct logical_clock c;

    (void)state;
    /* The elapsed time of the boot before says nothing about this one. */
    opens(&c, (struct logical_clock_saved){ .at_ms = MORNING_MS, .elapsed_ms = 90 * HOUR_MS }, 0);
    assert_int_equal(logical_clock_now(&c, 5000), MORNING_MS);
    assert_int_equal(logical_clock_now(&c, 6500), MORNING_MS + 1500);
    assert_false(c.trusted || c.guessed);
}

static void adds_what_elapsed_since_in_the_same_boot(void **state)
{
    const struct logical_clock_saved saved = { .at_ms = MORNING_MS, .elapsed_ms = 5000, .same_boot = true };
    struct logical_clock c;

    (void)state;
    logical_clock_open(&c, &saved, 5000 + HOUR_MS, 0);
    assert_int_equal(logical_clock_now(&c, 5000 + HOUR_MS), MORNING_MS + HOUR_MS);
    assert_int_equal(logical_clock_now(&c, 5000 + 2 * HOUR_MS), MORNING_MS + 2 * HOUR_MS);
}

static void is_not_led_astray_by_a_wall_clock_in_1970(void **state)
{
    struct logical_clock c;

    (void)state;
    opens(&c, (struct logical_clock_saved){ .at_ms = MORNING_MS, .guessed = true }, 12000);
    assert_int_equal(logical_clock_now(&c, 5000), MORNING_MS);
    opens(&c, (struct logical_clock_saved){ .at_ms = 0 }, 12000);
    assert_int_equal(logical_clock_now(&c, 5000), 12000);
    opens(&c, (struct logical_clock_saved){ .at_ms = 0 }, -12000);
    assert_int_equal(logical_clock_now(&c, 6000), 1000);
}

static void is_not_led_astray_by_a_wall_clock_in_2050(void **state)
{
    struct logical_clock c;

    (void)state;
    opens(&c, (struct logical_clock_saved){ .at_ms = MORNING_MS }, YEAR_2050_MS);
    assert_int_equal(logical_clock_now(&c, 5000), MORNING_MS);
}

static void follows_the_wall_clock_until_the_truth_is_heard_for_the_first_time(void **state)
{
    struct logical_clock c;

    (void)state;
    opens(&c, (struct logical_clock_saved){ .at_ms = 0 }, MORNING_MS);
    assert_int_equal(logical_clock_now(&c, 5000), MORNING_MS);
    assert_true(c.guessed);
    opens(&c, (struct logical_clock_saved){ .at_ms = MORNING_MS, .guessed = true }, YEAR_2050_MS);
    assert_int_equal(logical_clock_now(&c, 5000), YEAR_2050_MS);
    assert_true(c.guessed && !c.trusted);
    logical_clock_trust(&c, MORNING_MS + HOUR_MS, 6000, YEAR_2050_MS);
    assert_int_equal(logical_clock_now(&c, 6000), MORNING_MS + HOUR_MS);
    assert_true(!c.guessed && c.trusted);
    logical_clock_trust(&c, MORNING_MS, 6000, YEAR_2050_MS);
    assert_int_equal(logical_clock_now(&c, 6000), MORNING_MS + HOUR_MS);
}

static void moves_only_forward_when_a_trusted_time_is_heard(void **state)
{
    struct logical_clock c;

    (void)state;
    opens(&c, (struct logical_clock_saved){ .at_ms = MORNING_MS }, 0);
    logical_clock_trust(&c, MORNING_MS + HOUR_MS, 6000, 12000);
    assert_true(c.trusted);
    assert_int_equal(c.offset_ms, (int64_t)(MORNING_MS + HOUR_MS) - 12000);
    assert_int_equal(logical_clock_now(&c, 6000), MORNING_MS + HOUR_MS);
    assert_int_equal(logical_clock_now(&c, 8000), MORNING_MS + HOUR_MS + 2000);
    /* An earlier one is heard, and only its offset is taken. */
    logical_clock_trust(&c, MORNING_MS, 8000, MORNING_MS + 250);
    assert_int_equal(logical_clock_now(&c, 8000), MORNING_MS + HOUR_MS + 2000);
    assert_int_equal(c.offset_ms, -250);
    /* Nor does an elapsed time from before go back. */
    assert_int_equal(logical_clock_now(&c, 0), MORNING_MS + HOUR_MS);
}

static void tells_the_machines_own_times(void **state)
{
    uint8_t first[CLOCK_BOOT_BYTES], second[CLOCK_BOOT_BYTES], zeros[CLOCK_BOOT_BYTES] = { 0 };
    uint64_t elapsed_ms = clock_elapsed_ms();

    (void)state;
    assert_true(clock_elapsed_ms() >= elapsed_ms);
    assert_true(clock_wall_ms() > 0);
    (void)clock_synchronised();
    clock_boot_id(first);
    clock_boot_id(second);
    assert_memory_equal(first, second, CLOCK_BOOT_BYTES);
    assert_memory_not_equal(first, zeros, CLOCK_BOOT_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(continues_from_what_was_saved_on_a_new_boot),
        cmocka_unit_test(adds_what_elapsed_since_in_the_same_boot),
        cmocka_unit_test(is_not_led_astray_by_a_wall_clock_in_1970),
        cmocka_unit_test(is_not_led_astray_by_a_wall_clock_in_2050),
        cmocka_unit_test(follows_the_wall_clock_until_the_truth_is_heard_for_the_first_time),
        cmocka_unit_test(moves_only_forward_when_a_trusted_time_is_heard),
        cmocka_unit_test(tells_the_machines_own_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
