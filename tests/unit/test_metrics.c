/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sync/kit/metrics.h"

static void writes_a_family_as_prometheus_reads_it(void **state)
{
    struct text out = { 0 };

    (void)state;
    metrics_family(&out, "zajel_relay_queue_messages", METRIC_GAUGE, "Messages that wait.");
    metrics_sample(&out, "zajel_relay_queue_messages", "lane=\"urgent\"", 3);
    metrics_sample(&out, "zajel_relay_queue_messages", NULL, 0);
    metrics_family(&out, "zajel_relay_accepted_total", METRIC_COUNTER, "a\\b\nc");
    metrics_sample(&out, "zajel_relay_accepted_total", "", 1e15);
    assert_string_equal(out.at, "# HELP zajel_relay_queue_messages Messages that wait.\n"
                                "# TYPE zajel_relay_queue_messages gauge\n"
                                "zajel_relay_queue_messages{lane=\"urgent\"} 3\n"
                                "zajel_relay_queue_messages 0\n"
                                "# HELP zajel_relay_accepted_total a\\\\b\\nc\n"
                                "# TYPE zajel_relay_accepted_total counter\n"
                                "zajel_relay_accepted_total 1000000000000000\n");
    text_free(&out);
}

static void writes_whole_values_as_integers_and_others_in_short(void **state)
{
    static const struct {
        double value;
        const char *form;
    } cases[] = { { 0.25, "x 0.25\n" },
                  { -7, "x -7\n" },
                  { 9007199254740992.0, "x 9007199254740992\n" },
                  { 1e22, "x 1e22\n" },
                  { 0.1 + 0.2, "x 0.30000000000000004\n" },
                  { (double)NAN, "x NaN\n" },
                  { HUGE_VAL, "x +Inf\n" },
                  { -HUGE_VAL, "x -Inf\n" } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text out = { 0 };

        metrics_sample(&out, "x", NULL, cases[i].value);
        assert_string_equal(out.at, cases[i].form);
        text_free(&out);
    }
}

static void escapes_label_values_within_their_room(void **state)
{
    char room[16];

    (void)state;
    assert_string_equal(metrics_label("nyeri-03", room, sizeof room), "nyeri-03");
    assert_string_equal(metrics_label("a\"b\\c\nd", room, sizeof room), "a\\\"b\\\\c\\nd");
    assert_string_equal(metrics_label("abcdef", room, 4), "abc");
    assert_string_equal(metrics_label("ab\"", room, 4), "ab");
    assert_string_equal(metrics_label("a", room, 1), "");
}

static double value_of(const struct text *out, const char *name)
{
    char start[64];
    const char *at;

    snprintf(start, sizeof start, "\n%s ", name);
    at = strstr(out->at, start);
    assert_non_null(at);
    return strtod(at + strlen(start), NULL);
}

static void tells_of_the_process(void **state)
{
    struct text out = { 0 };
    double started, now = (double)time(NULL);
    FILE *more;
    double before;

    (void)state;
    metrics_process(&out);
    assert_true(value_of(&out, "process_resident_memory_bytes") > 100000);
    assert_true(value_of(&out, "process_cpu_seconds_total") >= 0);
    before = value_of(&out, "process_open_fds");
    assert_true(before >= 1);
    started = value_of(&out, "process_start_time_seconds");
    assert_true(started > now - 600 && started < now + 2);
    more = fopen("/dev/null", "r");
    text_clear(&out);
    metrics_process(&out);
    assert_true(value_of(&out, "process_open_fds") == before + 1);
    fclose(more);
    text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_a_family_as_prometheus_reads_it),
        cmocka_unit_test(writes_whole_values_as_integers_and_others_in_short),
        cmocka_unit_test(escapes_label_values_within_their_room),
        cmocka_unit_test(tells_of_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
