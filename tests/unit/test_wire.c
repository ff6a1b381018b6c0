/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sync/protocol/status.h"
#include "sync/protocol/wire.h"

/* The bytes of a relay's hello, frozen: a store of 40 starts, one waiting epoch, 70,000 events taken of one
 * ledger. */
static const char hello_golden[] =
    "\x10\x2c\x01\x01\x01\x01\xc0\x84\x3d\x11\x22\x33\x44\x55\x66\x77\x88\x28\x80\xd0\xdf\xb4\xab\x33"
    "\x01\xe0\x00\x00\x00\x00\x00\x03\xe8\x01\x60\x00\x00\x00\x00\x00\x00\x01\x04\xf0\xa2\x04";

static void writes_the_frozen_hello(void **state)
{
    uint8_t room[128];
    struct writer w = writer_of(room, sizeof room);
    struct session_marks epoch = { .epoch = 0xe0000000000003e8u };
    struct session_marks taken = { .epoch = 0x6000000000000001u, .mark = { 0, 0, 70000 } };
    struct session_hello hello = { .store_id = 0x1122334455667788u,
                                   .boot_counter = 40,
                                   .clock_ms = 1764000000000u,
                                   .room_bytes = 1000000,
                                   .epochs = &epoch,
                                   .epoch_count = 1,
                                   .taken = &taken,
                                   .taken_count = 1 };

    (void)state;
    wire_put_hello(&w, &hello, true);
    assert_false(w.failed);
    assert_int_equal(w.length, sizeof hello_golden - 1);
    assert_memory_equal(room, hello_golden, w.length);
}

static void reads_the_frozen_hello(void **state)
{
    struct session_marks epochs[SESSION_EPOCHS_MAX], taken[SESSION_EPOCHS_MAX];
    struct reader r = reader_of(slice_of(hello_golden, sizeof hello_golden - 1));
    struct wire_hello hello;

    (void)state;
    assert_int_equal(reader_u8(&r), 0x10);
    assert_int_equal(wire_take_hello(&r, true, &hello, epochs, taken), STATUS_OK);
    assert_true(reader_done(&r));
    assert_true(hello.dictionary);
    assert_int_equal(hello.boot_counter, 40);
    assert_int_equal(hello.clock_ms, 1764000000000u);
    assert_int_equal(hello.epoch_count, 1);
    assert_int_equal(epochs[0].epoch, 0xe0000000000003e8u);
    assert_int_equal(taken[0].mark[LANE_CHAT], 70000);
    assert_int_equal(taken[0].mark[LANE_URGENT], 0);
}

static void refuses_each_hello_cut_short(void **state)
{
    struct session_marks epochs[SESSION_EPOCHS_MAX], taken[SESSION_EPOCHS_MAX];
    size_t length;

    (void)state;
    for (length = 1; length < sizeof hello_golden - 1; length++) {
        struct reader r = reader_of(slice_of(hello_golden + 1, length - 1));
        struct wire_hello hello;

        assert_int_not_equal(wire_take_hello(&r, true, &hello, epochs, taken), STATUS_OK);
    }
}

static void brings_batches_parts_and_marks_back(void **state)
{
    uint8_t room[256];
    struct writer w = writer_of(room, sizeof room);
    struct wire_rows batch = {
        .lane = LANE_BULK, .epoch_index = 3, .prev = 900, .first = 905, .packed = slice_text("rows")
    };
    struct wire_rows part = {
        .lane = LANE_CHAT, .prev = 0, .first = 1, .total = 70000, .offset = 16384, .packed = slice_text("x")
    };
    struct wire_mark mark = { .epoch_index = 200, .lane = LANE_DOCUMENT, .rewind = true, .mark = 77 };
    struct wire_rows got;
    struct wire_mark got_mark;
    struct reader r;

    (void)state;
    wire_put_batch(&w, &batch);
    wire_put_part(&w, &part);
    wire_put_mark(&w, &mark);
    r = reader_of(writer_slice(&w));
    assert_int_equal(reader_u8(&r), WIRE_BATCH << 4 | LANE_BULK);
    assert_int_equal(wire_take_batch(&r, LANE_BULK, &got), STATUS_OK);
    assert_int_equal(got.epoch_index, 3);
    assert_int_equal(got.prev, 900);
    assert_int_equal(got.first, 905);
    assert_true(slice_is(got.packed, "rows"));
    assert_int_equal(reader_u8(&r), WIRE_PART << 4 | LANE_CHAT);
    assert_int_equal(wire_take_part(&r, LANE_CHAT, &got), STATUS_OK);
    assert_int_equal(got.total, 70000);
    assert_int_equal(got.offset, 16384);
    assert_int_equal(wire_take_mark(&r, &got_mark), STATUS_OK);
    assert_int_equal(got_mark.epoch_index, 200);
    assert_int_equal(got_mark.lane, LANE_DOCUMENT);
    assert_true(got_mark.rewind);
    assert_int_equal(got_mark.mark, 77);
    assert_true(reader_done(&r));
}

static void refuses_numbers_that_wrap_around(void **state)
{
    uint8_t room[64];
    struct writer w = writer_of(room, sizeof room);
    struct wire_rows got;
    struct reader r;

    (void)state;
    writer_varint(&w, 1 + 10 + 1);
    writer_varint(&w, 0);
    writer_varint(&w, UINT64_MAX);
    writer_varint(&w, 1); /* first = prev + 1 = 0 */
    r = reader_of(writer_slice(&w));
    assert_int_equal(wire_take_batch(&r, LANE_CHAT, &got), STATUS_PEER_MALFORMED);
}

static void tells_rows_and_the_numbers_between_them(void **state)
{
    uint8_t room[64];
    struct writer w = writer_of(room, sizeof room);
    struct slice row;
    uint64_t skipped;
    struct reader r;

    (void)state;
    wire_put_row(&w, 0, slice_text("first"));
    wire_put_row(&w, 41, slice_text("second"));
    r = reader_of(writer_slice(&w));
    assert_int_equal(wire_take_row(&r, &skipped, &row), STATUS_OK);
    assert_int_equal(skipped, 0);
    assert_true(slice_is(row, "first"));
    assert_int_equal(wire_take_row(&r, &skipped, &row), STATUS_OK);
    assert_int_equal(skipped, 41);
    assert_true(slice_is(row, "second"));
    r = reader_of(slice_of("\x20\x61", 2)); /* Sixteen bytes promised, one there. */
    assert_int_equal(wire_take_row(&r, &skipped, &row), STATUS_PEER_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_frozen_hello),
        cmocka_unit_test(reads_the_frozen_hello),
        cmocka_unit_test(refuses_each_hello_cut_short),
        cmocka_unit_test(brings_batches_parts_and_marks_back),
        cmocka_unit_test(refuses_numbers_that_wrap_around),
        cmocka_unit_test(tells_rows_and_the_numbers_between_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
