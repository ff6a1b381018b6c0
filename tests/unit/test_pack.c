/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "sync/protocol/pack.h"
#include "sync/protocol/status.h"

#define ROOM (1u << 20)

extern const unsigned char embed_dictionary_1_bin[];
extern const size_t embed_dictionary_1_bin_size;

static uint8_t plain[ROOM], packed[ROOM + 64], back[ROOM];
static struct packer *packers[2];

static int open_packers(void **state)
{
    (void)state;
    return packer_open(&packers[PACK_FAST], PACK_FAST) || packer_open(&packers[PACK_HIGH], PACK_HIGH);
}

static int close_packers(void **state)
{
    (void)state;
    packer_close(packers[PACK_FAST]);
    packer_close(packers[PACK_HIGH]);
    packer_close(NULL);
    return 0;
}

/* Packs at both levels, expects the same back, and returns the length at the high one. */
static size_t check(struct slice text)
{
    struct slice out = { 0 };

    for (unsigned level = PACK_FAST; level <= PACK_HIGH; level++) {
        struct slice again;

        assert_int_equal(pack(packers[level], text, packed, pack_bound(text.length), &out), STATUS_OK);
        assert_true(out.length <= text.length + 1);
        assert_int_equal(unpack(out, back, text.length, &again), STATUS_OK);
        assert_true(slice_equal(again, text));
    }
    return out.length;
}

static void fill_with_noise(uint8_t *at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        at[i] = (uint8_t)(rand() >> 9);
}

static void brings_texts_of_any_length_back(void **state)
{
    (void)state;
    srand(1);
    for (size_t length = 0; length <= ROOM / 2; length = length * 4 / 3 + 1) {
        memset(plain, 'a', length);
        check(slice_of(plain, length));
        fill_with_noise(plain, length);
        assert_int_equal(check(slice_of(plain, length)), length + 1);
        fill_with_noise(plain, length / 2);
        memcpy(plain + length / 2, plain, length / 2);
        check(slice_of(plain, length));
    }
}

static void leaves_what_does_not_shrink_as_it_is(void **state)
{
    struct slice out, again;

    (void)state;
    assert_int_equal(pack(packers[PACK_HIGH], slice_text("0x%"), packed, 4, &out), STATUS_OK);
    assert_int_equal(out.length, 4);
    assert_int_equal(packed[0], 0);
    assert_int_equal(unpack(out, NULL, 0, &again), STATUS_OK);
    assert_ptr_equal(again.at, packed + 1);
}

static void knows_what_is_in_its_dictionary(void **state)
{
    (void)state;
    assert_true(embed_dictionary_1_bin_size <= PACK_DICTIONARY_BYTES_MAX);
    assert_true(embed_dictionary_1_bin_size > 1000);
    memcpy(plain, embed_dictionary_1_bin + 500, 400);
    assert_true(check(slice_of(plain, 400)) < 16);
}

static void packs_each_message_by_itself(void **state)
{
    struct slice first, second;
    uint8_t copy[300];

    (void)state;
    srand(3);
    fill_with_noise(plain, 200);
    memcpy(plain + 200, plain, 50);
    for (unsigned level = PACK_FAST; level <= PACK_HIGH; level++) {
        assert_int_equal(pack(packers[level], slice_of(plain, 250), packed, 300, &first), STATUS_OK);
        memcpy(copy, first.at, first.length);
        first.at = copy;
        assert_int_equal(pack(packers[level], slice_of(plain, 250), packed, 300, &second), STATUS_OK);
        assert_true(slice_equal(first, second));
    }
}

static void says_so_when_the_room_is_short(void **state)
{
    struct slice out, again;

    (void)state;
    memset(plain, 'a', 1000);
    for (unsigned level = PACK_FAST; level <= PACK_HIGH; level++) {
        size_t whole;

        assert_int_equal(pack(packers[level], slice_of(plain, 1000), packed, ROOM, &out), STATUS_OK);
        whole = out.length;
        assert_int_equal(pack(packers[level], slice_of(plain, 1000), packed, whole - 1, &again),
                         STATUS_TOO_LARGE);
        assert_int_equal(pack(packers[level], slice_of(plain, 1000), packed, 0, &again), STATUS_TOO_LARGE);
        assert_int_equal(pack(packers[level], slice_of(plain, 1000), packed, whole, &out), STATUS_OK);
        assert_int_equal(unpack(out, back, 999, &again), STATUS_TOO_LARGE);
        assert_int_equal(unpack(out, back, 1000, &again), STATUS_OK);
    }
}

static void refuses_blocks_that_are_none(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } bad[] = {
        { "", 0 },
        { "\x01", 1 },
        { "\x02\x05hello", 7 }, /* A dictionary we have not. */
        { "\x01\x00", 2 },      /* Nothing needs no block. */
        { "\x01\x80\x00\x10"
          "a",
          5 },                     /* An overlong length. */
        { "\x01\x05\x40hell", 7 }, /* Shorter than it says, and longer. */
        { "\x01\x03\x40hell", 7 },
        { "\x01\x20\x1f"
          "a\xff\xff\x00",
          7 }, /* A match before the dictionary's start. */
        { "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10"
          "a",
          13 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct slice out;

        assert_int_equal(unpack(slice_of(bad[i].bytes, bad[i].length), back, ROOM, &out),
                         STATUS_PEER_MALFORMED);
    }
}

static void survives_damage_anywhere(void **state)
{
    struct slice out, again;

    (void)state;
    srand(9);
    for (unsigned i = 0; i < 20000; i++) {
        size_t length = (size_t)rand() % 600;
        uint8_t *copy;

        for (size_t j = 0; j < length; j++)
            plain[j] =
                j % 50 < 25 ? embed_dictionary_1_bin[(j + i) % embed_dictionary_1_bin_size] : (uint8_t)rand();
        assert_int_equal(pack(packers[PACK_FAST], slice_of(plain, length), packed, ROOM, &out), STATUS_OK);
        /* A copy of its own, and no longer: the sanitizer then sees every read past the end. */
        length = out.length - (i % 4 == 0 ? (size_t)rand() % out.length : 0);
        copy = malloc(length);
        assert_non_null(copy);
        memcpy(copy, out.at, length);
        for (int damage = rand() % 4; damage > 0; damage--)
            copy[(size_t)rand() % length] ^= (uint8_t)(1u << rand() % 8);
        unpack(slice_of(copy, length), back, 700, &again);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brings_texts_of_any_length_back),
        cmocka_unit_test(leaves_what_does_not_shrink_as_it_is),
        cmocka_unit_test(knows_what_is_in_its_dictionary),
        cmocka_unit_test(packs_each_message_by_itself),
        cmocka_unit_test(says_so_when_the_room_is_short),
        cmocka_unit_test(refuses_blocks_that_are_none),
        cmocka_unit_test(survives_damage_anywhere),
    };

    return cmocka_run_group_tests(tests, open_packers, close_packers);
}
