/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "sync/protocol/item.h"
#include "sync/protocol/message_id.h"
#include "sync/protocol/status.h"

static void check_same(const struct item *a, const struct item *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->form, b->form);
    assert_true(a->number == b->number);
    assert_true(a->at_s == b->at_s);
    assert_int_equal(a->ttl_s, b->ttl_s);
    assert_true(slice_equal(a->of, b->of));
    assert_true(slice_equal(a->body, b->body));
}

static void brings_every_kind_back(void **state)
{
    const struct item items[] = {
        { .kind = ITEM_SEND,
          .form = ITEM_FORM_TAGGED,
          .number = 106540352242922u,
          .at_s = 1769252791,
          .ttl_s = 300,
          .body = slice_text("body") },
        { .kind = ITEM_SEND, .at_s = 0, .body = slice_text("{}") },
        { .kind = ITEM_SEND, .number = UINT64_MAX, .at_s = UINT64_MAX, .ttl_s = UINT32_MAX },
        { .kind = ITEM_EVENT, .form = ITEM_FORM_TAGGED, .at_s = 1769252791, .body = slice_text("event") },
        { .kind = ITEM_TAKEN, .at_s = 1769252791, .of = slice_text("identity") },
        { .kind = ITEM_CONTROL, .at_s = 1, .body = slice_text("control") },
    };

    (void)state;
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        uint8_t room[128];
        struct slice out;
        struct item back;

        assert_int_equal(item_write(&items[i], room, item_bound(&items[i]), &out), STATUS_OK);
        assert_int_equal(item_read(out, &back), STATUS_OK);
        check_same(&items[i], &back);
    }
}

static void never_changes_how_an_item_lies_on_disk(void **state)
{
    const struct item item = { .kind = ITEM_SEND,
                               .form = ITEM_FORM_TAGGED,
                               .number = 300,
                               .at_s = 127,
                               .ttl_s = 1,
                               .body = slice_text("b") };
    uint8_t room[64];
    struct slice out;

    (void)state;
    assert_int_equal(item_write(&item, room, sizeof room, &out), STATUS_OK);
    assert_true(slice_equal(out, slice_of("\xd1\x7f\xac\x02\x01"
                                          "b",
                                          6)));
}

static void says_so_when_the_room_is_short(void **state)
{
    const struct item item = { .kind = ITEM_SEND, .at_s = 5, .body = slice_text("abc") };
    uint8_t room[64];
    struct slice out;

    (void)state;
    for (size_t length = 0; length < 5; length++)
        assert_int_equal(item_write(&item, room, length, &out), STATUS_TOO_LARGE);
    assert_int_equal(item_write(&item, room, 5, &out), STATUS_OK);
}

static void refuses_bytes_that_are_no_item(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } bad[] = {
        { "", 0 },
        { "\x01", 1 },     /* No time. */
        { "\x00\x01", 2 }, /* No kind. */
        { "\x05\x01", 2 }, /* Unknown kinds and forms. */
        { "\x21\x01", 2 },
        { "\x31\x01", 2 },
        { "\x41\x01", 2 }, /* The number is not there, or 0. */
        { "\x41\x01\x00", 3 },
        { "\x81\x01", 2 }, /* The same of the deadline, or too far. */
        { "\x81\x01\x00", 3 },
        { "\x81\x01\xff\xff\xff\xff\x1f", 7 },
        { "\x42\x01\x05", 3 }, /* An event has neither. */
        { "\x82\x01\x05", 3 },
        { "\x01\x80\x00", 3 }, /* The time is overlong. */
        { "\x03\x01"
          "0123456789012345678901234567890",
          33 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct item item;

        assert_int_equal(item_read(slice_of(bad[i].bytes, bad[i].length), &item), STATUS_PEER_MALFORMED);
    }
}

static void survives_any_bytes(void **state)
{
    (void)state;
    srand(11);
    for (unsigned i = 0; i < 200000; i++) {
        uint8_t bytes[24];
        uint8_t room[96];
        size_t length = (size_t)rand() % sizeof bytes;
        struct item item, back;
        struct slice out;

        for (size_t j = 0; j < length; j++)
            bytes[j] = (uint8_t)(rand() >> 7);
        if (item_read(slice_of(bytes, length), &item) != STATUS_OK)
            continue;
        assert_int_equal(item_write(&item, room, sizeof room, &out), STATUS_OK);
        assert_true(slice_equal(out, slice_of(bytes, length)));
        assert_int_equal(item_read(out, &back), STATUS_OK);
        check_same(&item, &back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brings_every_kind_back),
        cmocka_unit_test(never_changes_how_an_item_lies_on_disk),
        cmocka_unit_test(says_so_when_the_room_is_short),
        cmocka_unit_test(refuses_bytes_that_are_no_item),
        cmocka_unit_test(survives_any_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
