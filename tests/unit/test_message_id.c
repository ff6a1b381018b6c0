/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "sync/protocol/message_id.h"
#include "sync/protocol/status.h"

static const struct message_id sample = {
    .branch = 7, .epoch = 0x0123456789abcdefu, .lane = LANE_CHAT, .seq = 300
};

static void never_changes_what_an_id_looks_like(void **state)
{
    char text[MESSAGE_ID_TEXT_MAX + 1];
    size_t length = message_id_format(&sample, text);

    (void)state;
    assert_int_equal(length, strlen(text));
    assert_string_equal(text, "wamid.AQAAAAcBI0VniavN7wKsAg");
}

static void brings_ids_back_at_every_length(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits <= 64; bits++) {
        struct message_id id = sample;
        struct message_id back;
        char text[MESSAGE_ID_TEXT_MAX + 1];
        uint8_t binary[MESSAGE_ID_BINARY_MAX];

        id.seq = bits == 0 ? 0 : UINT64_MAX >> (64 - bits);
        id.branch = (uint32_t)id.seq;
        id.lane = (enum lane)(bits % LANE_COUNT);
        message_id_format(&id, text);
        assert_int_equal(message_id_parse(slice_text(text), &back), STATUS_OK);
        assert_true(message_id_equal(&id, &back));
        assert_int_equal(message_id_unpack(slice_of(binary, message_id_pack(&id, binary)), &back), STATUS_OK);
        assert_true(message_id_equal(&id, &back));
    }
}

static void refuses_whatever_we_did_not_make(void **state)
{
    static const char *const texts[] = {
        "",
        "wamid.",
        "wamid.HBgMMjU0NzI0NDI4MjY5FQIAERgSNEI3NEIwNkM2NTRGQTE1QzMzAA==", /* Meta's own. */
        "wamid.AgAAAAcBI0VniavN7wKsAg",                                   /* Another version. */
        "wamid.AQAAAAcBI0VniavN7wWsAg",                                   /* No such lane. */
        "wamid.AQAAAAcBI0VniavN7wKsAh",                                   /* Spare bits are set. */
        "wamid.AQAAAAcBI0VniavN7wKsAg==",                                 /* Padding. */
        "wamid.AQAAAAcBI0VniavN7wKsggA",                                  /* The number is overlong. */
        "wamid.AQAAAAcBI0VniavN7wKsAgA",                                  /* Something follows. */
        "wamid.AQAAAAcBI0VniavN7wKs",                                     /* The number is cut. */
        "wamid.AQAAAAcBI0VniavN7wK*Ag",
        "WAMID.AQAAAAcBI0VniavN7wKsAg",
        "AQAAAAcBI0VniavN7wKsAg",
        "wamid.AQAAAAcBI0VniavN7wKsAqysrKysrKysrKysrKysrKysrKysrKysrKysrKys"
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct message_id id;

        assert_int_equal(message_id_parse(slice_text(texts[i]), &id), STATUS_INVALID);
    }
}

static void tells_ids_apart_by_each_part(void **state)
{
    struct message_id other[4] = { sample, sample, sample, sample };

    (void)state;
    other[0].branch++;
    other[1].epoch++;
    other[2].lane = LANE_BULK;
    other[3].seq++;
    for (size_t i = 0; i < 4; i++)
        assert_false(message_id_equal(&sample, &other[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_changes_what_an_id_looks_like),
        cmocka_unit_test(brings_ids_back_at_every_length),
        cmocka_unit_test(refuses_whatever_we_did_not_make),
        cmocka_unit_test(tells_ids_apart_by_each_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
