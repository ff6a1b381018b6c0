/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "sync/protocol/bytes.h"
#include "sync/protocol/status.h"

static void walks_fixed_integers_in_network_order(void **state)
{
    uint8_t room[15];
    struct writer w = writer_of(room, sizeof room);
    struct reader r;

    (void)state;
    writer_u8(&w, 0xfe);
    writer_u16(&w, 0x0102);
    writer_u32(&w, 0x03040506);
    writer_u64(&w, 0x0708090a0b0c0d0eu);
    assert_false(w.failed);
    assert_int_equal(w.length, sizeof room);
    assert_memory_equal(room, "\xfe\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e", sizeof room);
    r = reader_of(writer_slice(&w));
    assert_int_equal(reader_u8(&r), 0xfe);
    assert_int_equal(reader_u16(&r), 0x0102);
    assert_int_equal(reader_u32(&r), 0x03040506);
    assert_true(reader_u64(&r) == 0x0708090a0b0c0d0eu);
    assert_true(reader_done(&r));
}

static void gives_zeros_after_the_first_take_past_the_end(void **state)
{
    struct reader r = reader_of(slice_of("\x01\x02\x03", 3));

    (void)state;
    assert_int_equal(reader_u32(&r), 0);
    assert_true(r.failed);
    assert_int_equal(reader_u8(&r), 0);
    assert_null(reader_take(&r, 0).at);
    assert_false(reader_done(&r));
}

static void refuses_to_write_past_its_room_and_stays_refused(void **state)
{
    uint8_t room[4] = { 0 };
    struct writer w = writer_of(room, 3);

    (void)state;
    writer_u16(&w, 0x1111);
    writer_u16(&w, 0x2222);
    writer_u8(&w, 0x33);
    assert_true(w.failed);
    assert_int_equal(w.length, 2);
    assert_int_equal(room[2], 0);
}

static void brings_varints_back_at_every_length(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits <= 64; bits++) {
        uint64_t value = bits == 0 ? 0 : UINT64_MAX >> (64 - bits);
        uint8_t room[VARINT_BYTES_MAX];
        struct writer w = writer_of(room, sizeof room);
        struct reader r;

        writer_varint(&w, value);
        assert_false(w.failed);
        assert_int_equal(w.length, varint_size(value));
        r = reader_of(writer_slice(&w));
        assert_true(reader_varint(&r) == value);
        assert_true(reader_done(&r));
    }
}

static void refuses_varints_that_are_overlong_cut_or_too_large(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } bad[] = { { "\x80\x00", 2 },
                { "\xff", 1 },
                { "", 0 },
                { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10 },
                { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", 11 } };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct reader r = reader_of(slice_of(bad[i].bytes, bad[i].length));

        assert_int_equal(reader_varint(&r), 0);
        assert_true(r.failed);
    }
}

static void keeps_small_numbers_of_either_sign_small(void **state)
{
    static const int64_t values[] = { 0, -1, 1, -2, 2, 1000000, INT64_MAX, INT64_MIN };

    (void)state;
    assert_int_equal(zigzag(-1), 1);
    assert_int_equal(zigzag(1), 2);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        assert_true(unzigzag(zigzag(values[i])) == values[i]);
}

static void compares_slices_by_content_and_takes_nothing_for_the_empty_one(void **state)
{
    struct reader r = reader_of(slice_text(NULL));

    (void)state;
    assert_true(reader_done(&r));
    assert_true(slice_equal(slice_text(NULL), slice_of("", 0)));
    assert_true(slice_is(slice_of("lane", 4), "lane"));
    assert_false(slice_is(slice_of("lanes", 5), "lane"));
    assert_false(slice_is(slice_of("lan\0", 4), "lane"));
}

static void names_every_status(void **state)
{
    (void)state;
    for (int i = 0; i < STATUS_COUNT; i++) {
        assert_non_null(status_name(i));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(status_name(i), status_name(j));
    }
    assert_string_equal(status_name(STATUS_PEER_MALFORMED), "peer_malformed");
    assert_string_equal(status_name(-1), "unknown");
    assert_string_equal(status_name(STATUS_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_fixed_integers_in_network_order),
        cmocka_unit_test(gives_zeros_after_the_first_take_past_the_end),
        cmocka_unit_test(refuses_to_write_past_its_room_and_stays_refused),
        cmocka_unit_test(brings_varints_back_at_every_length),
        cmocka_unit_test(refuses_varints_that_are_overlong_cut_or_too_large),
        cmocka_unit_test(keeps_small_numbers_of_either_sign_small),
        cmocka_unit_test(compares_slices_by_content_and_takes_nothing_for_the_empty_one),
        cmocka_unit_test(names_every_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
