/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/kit/text.h"
#include "sync/protocol/status.h"

static void grows_by_what_is_added_and_always_ends_in_a_nul(void **state)
{
    struct text t = { 0 };

    (void)state;
    for (size_t i = 0; i < 3000; i++) {
        text_add(&t, slice_of("ab", 2));
        assert_int_equal(t.length, 2 * i + 2);
        assert_int_equal(t.at[t.length], '\0');
        assert_true(t.length < t.room);
    }
    text_clear(&t);
    assert_int_equal(t.length, 0);
    text_puts(&t, "x=");
    text_printf(&t, "%d %s", 42, "y");
    assert_string_equal(t.at, "x=42 y");
    assert_true(slice_is(text_slice(&t), "x=42 y"));
    text_add(&t, slice_of("a\0b", 3));
    assert_int_equal(t.length, 9);
    text_free(&t);
    assert_null(t.at);
    assert_int_equal(text_slice(&t).length, 0);
}

static void prints_at_every_length_around_its_room(void **state)
{
    char expected[300];

    (void)state;
    memset(expected, 'z', sizeof expected);
    for (int length = 0; length < 299; length++) {
        struct text t = { 0 };

        text_printf(&t, "%.*s", length, expected);
        assert_int_equal(t.length, length);
        assert_int_equal(strlen(t.at), length);
        text_free(&t);
    }
}

static void does_nothing_more_once_it_failed(void **state)
{
    struct text t = { 0 };

    (void)state;
    text_puts(&t, "kept");
    text_add(&t, slice_of("x", SIZE_MAX - 2));
    assert_true(t.failed);
    text_puts(&t, "lost");
    text_printf(&t, "%d", 1);
    assert_string_equal(t.at, "kept");
    text_clear(&t);
    text_puts(&t, "again");
    assert_string_equal(t.at, "again");
    text_wipe(&t);
    assert_null(t.at);
    text_wipe(&t);
}

static void writes_the_shortest_real_that_reads_back(void **state)
{
    static const struct {
        double value;
        const char *form;
    } cases[] = { { 0.0, "0.0" },
                  { -0.0, "-0.0" },
                  { 1, "1.0" },
                  { 0.1, "0.1" },
                  { -2.5, "-2.5" },
                  { 100, "100.0" },
                  { 123456789, "123456789.0" },
                  { 1e16, "10000000000000000.0" },
                  { 1e17, "1e17" },
                  { 12345678901234567890.0, "1.2345678901234567e19" },
                  { 0.0001, "0.0001" },
                  { 0.000123, "0.000123" },
                  { 0.00001, "1e-5" },
                  { 1.5e-7, "1.5e-7" },
                  { 0.1 + 0.2, "0.30000000000000004" },
                  { DBL_MAX, "1.7976931348623157e308" },
                  { DBL_MIN, "2.2250738585072014e-308" },
                  { 5e-324, "5e-324" } };
    uint64_t seed = 7;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text t = { 0 };

        text_real(&t, cases[i].value);
        assert_string_equal(t.at, cases[i].form);
        text_free(&t);
    }
    for (int i = 0; i < 20000; i++) {
        struct text t = { 0 };
        double value, back;

        seed = seed * 6364136223846793005u + 1442695040888963407u;
        memcpy(&value, &seed, sizeof value);
        if (value - value != 0)
            continue; /* Not finite. */
        text_real(&t, value);
        back = strtod(t.at, NULL);
        assert_memory_equal(&back, &value, sizeof value);
        assert_true(strpbrk(t.at, ".e") != NULL);
        text_free(&t);
    }
}

static void writes_and_reads_hex(void **state)
{
    const uint8_t bytes[] = { 0x00, 0x0f, 0xf0, 0xff, 0xa5 };
    uint8_t back[5];
    char hex[11];

    (void)state;
    text_hex(slice_of(bytes, 5), hex);
    assert_string_equal(hex, "000ff0ffa5");
    assert_int_equal(text_unhex(slice_text(hex), back, 5), STATUS_OK);
    assert_memory_equal(back, bytes, 5);
    assert_int_equal(text_unhex(slice_text("000FF0FFA5"), back, 5), STATUS_OK);
    assert_int_equal(text_unhex(slice_text("000ff0ffa"), back, 5), STATUS_INVALID);
    assert_int_equal(text_unhex(slice_text("000ff0ffa5"), back, 4), STATUS_INVALID);
    assert_int_equal(text_unhex(slice_text("000ff0ffag"), back, 5), STATUS_INVALID);
    assert_int_equal(text_unhex(slice_text("000ff0ff 5"), back, 5), STATUS_INVALID);
    assert_int_equal(text_unhex(slice_text(""), back, 0), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_by_what_is_added_and_always_ends_in_a_nul),
        cmocka_unit_test(prints_at_every_length_around_its_room),
        cmocka_unit_test(does_nothing_more_once_it_failed),
        cmocka_unit_test(writes_the_shortest_real_that_reads_back),
        cmocka_unit_test(writes_and_reads_hex),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
