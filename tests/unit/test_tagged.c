/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/protocol/status.h"
#include "sync/protocol/tagged.h"

#define ROOM 65536u

static uint8_t room[ROOM];

static struct token of_kind(enum token_kind kind)
{
    return (struct token){ .kind = kind };
}

static struct token of_text(enum token_kind kind, const char *text)
{
    return (struct token){ .kind = kind, .text = slice_text(text) };
}

static struct slice write_all(const struct token *tokens, size_t count)
{
    struct tagged_writer w = tagged_writer_of(room, sizeof room);
    struct slice out = { 0 };

    for (size_t i = 0; i < count; i++)
        assert_int_equal(tagged_put(&w, &tokens[i]), STATUS_OK);
    assert_int_equal(tagged_finish(&w, &out), STATUS_OK);
    return out;
}

static bool same_token(const struct token *a, const struct token *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == TOKEN_INTEGER)
        return a->integer == b->integer;
    if (a->kind == TOKEN_REAL)
        return memcmp(&a->real, &b->real, sizeof a->real) == 0;
    return slice_equal(a->text, b->text);
}

/* Writes the tokens, expects them back, and returns how many bytes they took. */
static size_t check(const struct token *tokens, size_t count)
{
    struct slice value = write_all(tokens, count);
    struct tagged_reader r = tagged_reader_of(value);
    struct token token;

    for (size_t i = 0; i < count; i++) {
        assert_int_equal(tagged_next(&r, &token), STATUS_OK);
        assert_true(same_token(&token, &tokens[i]));
    }
    assert_int_equal(tagged_next(&r, &token), STATUS_END);
    assert_int_equal(tagged_next(&r, &token), STATUS_END);
    return value.length;
}

static size_t check_string(const char *text)
{
    struct token token = of_text(TOKEN_STRING, text);

    return check(&token, 1);
}

static void brings_integers_back_exactly(void **state)
{
    static const int64_t edges[] = { 0, 1, 15, 16, 127, 128, -1, -2, 131026, INT64_MAX, INT64_MIN };

    (void)state;
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        struct token token = { .kind = TOKEN_INTEGER, .integer = edges[i] };

        assert_true(check(&token, 1) <= 11);
    }
}

static void brings_reals_back_bit_for_bit(void **state)
{
    static const double reals[] = {
        0.0,     -0.0,     1.0,         -3.964222,          15.366833,          0.1,     1e300, 5e-324,
        DBL_MAX, -DBL_MAX, DBL_EPSILON, 9007199254740992.0, 9007199254740993.0, 1.0 / 3, 1e22,  123.45
    };

    (void)state;
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        struct token token = { .kind = TOKEN_REAL, .real = reals[i] };

        assert_true(check(&token, 1) <= 9);
    }
    srand(5);
    for (unsigned i = 0; i < 20000; i++) {
        struct token token = { .kind = TOKEN_REAL };
        uint64_t bits = (uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand();

        token.real = i % 2 ? rand() % 100000000 / 1e6 : 0;
        if (i % 2 == 0)
            memcpy(&token.real, &bits, sizeof bits);
        if (token.real - token.real == 0) /* Finite. */
            check(&token, 1);
    }
}

static void brings_strings_of_every_form_back_byte_for_byte(void **state)
{
    static const char *const texts[] = {
        "",
        "a",
        "text",
        "whatsapp",
        "Media upload error",
        "Message undeliverable",
        "0",
        "5",
        "10",
        "007",
        "048213",
        "1769252791",
        "254724428269",
        "954341157917920",
        "9999999999999999999",
        "18446744073709551615",
        "18446744073709551616",
        "00000000000000000000000000000",
        "123 456",
        "-12",
        "1.50",
        "67c8660e9eb211201731c28ea102cc56",
        "67C8660E9EB211201731C28EA102CC56",
        "67c8660e9eb211201731c28ea102cc5",
        "deadbeef",
        "deadbeeF",
        "deadbe",
        "Jfo2HqfOiUk2yyQQHBIKhwHSXki9mYXT7wzTvzZzRkI=",
        "Jfo2HqfOiUk2yyQQHBIKhwHSXki9mYXT7wzTvzZzRkJ=",
        "abcdefghijklmnopqrstuvwx",
        "abcdefghijklmnopqrst====",
        "====",
        "YWJjZGVmZ2hpamtsbW5vcA==",
        "wamid.",
        "wamid.=",
        "wamid.X",
        "wamid.AAAA",
        "wamid.AAA=",
        "wamid.AAB=",
        "wamid.HBgMMjU0NzI0NDI4MjY5FQIAERgSNEI3NEIwNkM2NTRGQTE1QzMzAA==",
        "wamid.HBgMMjU0NzI0NDI4MjY5FQIAEhggNjMyODE1REM1MkFCM0Q3ODNDMUU4MDhBRjlGMTlGRDUA",
        "wamid.HBgMMDU0NzI0NDI4MjY5FQIAERgSNEI3NEIwNkM2NTRGQTE1QzMzAA==", /* The phone begins with 0. */
        "wamid.HBgMMjU0NzI0NDI4MjY5FQIAERgSNGI3NEIwNkM2NTRGQTE1QzMzAA==", /* A lower-case digit. */
        "wamid.AQAAAAcBI0VniavN7wKsAg",
        "wamid.AQAAAAcBI0VniavN7wKsAh",
        "\xd9\x85\xd8\xad\xd9\x85\xd8\xaf",
        "\xe1\x88\x98\xe1\x88\x88\xe1\x88\xb5 \xe1\x8a\xa0\xe1\x8b\xb0\xe1\x88\xad",
        "\xe0\xa4\xa8\xe0\xa4\xae\xe0\xa4\xb8\xe0\xa5\x8d\xe0\xa4\xa4\xe0\xa5\x87 \xe2\x82\xb9 500 "
        "\xf0\x9f\x99\x8f\xe0\xa4\xa8",
        "Votre demande a \xc3\xa9t\xc3\xa9 re\xc3\xa7ue, \xc3\xa0 bient\xc3\xb4t \xe2\x80\x99",
        "\xf0\x9f\x91\x8d",
        "\xe0\xa4\xa8\xe0\xa4\xae\x1a\xe0\xa4\xb8\xe0\xa5\x8d\xe0\xa4\xa4",
        "\xef\xbf\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",
        "a text of exactly thirty-one let",
        "a text of exactly thirty-one le",
        "line\nline\ttab\x01"
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_true(check_string(texts[i]) <= strlen(texts[i]) + 2);
}

static void keeps_what_is_frequent_small(void **state)
{
    (void)state;
    assert_int_equal(check_string("whatsapp"), 1);
    assert_int_equal(check_string("Media upload error"), 2);
    assert_int_equal(check_string("1769252791"), 5);
    assert_int_equal(check_string("254724428269"), 6);
    assert_int_equal(check_string("67c8660e9eb211201731c28ea102cc56"), 17);
    assert_int_equal(check_string("wamid.HBgMMjU0NzI0NDI4MjY5FQIAERgSNEI3NEIwNkM2NTRGQTE1QzMzAA=="), 16);
    assert_int_equal(check_string("wamid.AQAAAAcBI0VniavN7wKsAg"), 13);
    assert_int_equal(check_string("\xd9\x85\xd8\xad\xd9\x85\xd8\xaf"), 7);
}

static void names_a_phone_or_a_time_only_once(void **state)
{
    const struct token tokens[] = {
        of_kind(TOKEN_ARRAY),
        of_text(TOKEN_STRING, "wamid.HBgMMjU0NzI0NDI4MjY5FQIAERgSNEI3NEIwNkM2NTRGQTE1QzMzAA=="),
        of_text(TOKEN_STRING, "254724428269"),
        of_text(TOKEN_STRING, "1769252909"),
        of_text(TOKEN_STRING, "1769339280"),
        of_text(TOKEN_STRING, "254724428269"),
        of_text(TOKEN_STRING, "wamid.HBgMMjU0NzI0NDI4MjY5FQIAERgSNEI3NEIwNkM2NTRGQTE1QzMzAA=="),
        of_kind(TOKEN_END),
    };

    (void)state;
    assert_int_equal(check(tokens, sizeof tokens / sizeof tokens[0]), 1 + 16 + 1 + 5 + 4 + 1 + 11 + 1);
}

static void keeps_nul_bytes_and_long_texts(void **state)
{
    static char text[20000];
    struct token token = of_kind(TOKEN_STRING);

    (void)state;
    memset(text, 'x', sizeof text);
    text[100] = '\0';
    for (size_t length = 101; length <= sizeof text; length = length * 3 / 2) {
        token.text = slice_of(text, length);
        check(&token, 1);
    }
    memset(text, '0', sizeof text);
    for (size_t length = 1; length <= sizeof text; length = length * 3 / 2 + 1) {
        token.text = slice_of(text, length);
        check(&token, 1);
    }
    for (size_t i = 0; i + 3 <= sizeof text; i += 3)
        memcpy(text + i, "\xe0\xa4\xa8", 3);
    for (size_t length = 3; length <= 19998; length = (length * 3 / 2 + 3) / 3 * 3) {
        token.text = slice_of(text, length);
        check(&token, 1);
    }
}

static void keeps_keys_in_order_whatever_they_are(void **state)
{
    static char long_key[400];
    const char *const keys[] = {
        "type", "wa_id", "thumbnail", "", "unheard_of", long_key, "zz", "aa", "type"
    };
    struct token tokens[2 * 9 + 2] = { of_kind(TOKEN_OBJECT) };
    size_t count = 1;

    (void)state;
    memset(long_key, 'k', sizeof long_key - 1);
    for (size_t i = 0; i < 9; i++) {
        tokens[count++] = of_text(TOKEN_KEY, keys[i]);
        tokens[count++] = of_kind(i % 2 ? TOKEN_TRUE : TOKEN_NULL);
    }
    tokens[count++] = of_kind(TOKEN_END);
    check(tokens, count);
}

/* "[[[...]]]" and {"x":{"x":...}} of a depth. */
static void check_depth(unsigned depth, bool objects, int status)
{
    struct tagged_writer w = tagged_writer_of(room, sizeof room);
    struct token key = of_text(TOKEN_KEY, "x");
    struct token begin = of_kind(objects ? TOKEN_OBJECT : TOKEN_ARRAY);
    struct token end = of_kind(TOKEN_END);
    struct slice out;
    struct tagged_reader r;
    struct token token;
    unsigned ends = 0;

    for (unsigned i = 0; i < depth; i++) {
        if (objects && i > 0)
            tagged_put(&w, &key);
        tagged_put(&w, &begin);
    }
    for (unsigned i = 0; i < depth; i++)
        tagged_put(&w, &end);
    assert_int_equal(tagged_finish(&w, &out), status);
    if (status != STATUS_OK)
        return;
    r = tagged_reader_of(out);
    while (tagged_next(&r, &token) == STATUS_OK)
        ends += token.kind == TOKEN_END;
    assert_int_equal(r.status, STATUS_END);
    assert_int_equal(ends, depth);
}

static void goes_as_deep_as_it_says_and_no_deeper(void **state)
{
    (void)state;
    for (unsigned depth = 1; depth <= TAGGED_DEPTH_MAX; depth++) {
        check_depth(depth, false, STATUS_OK);
        check_depth(depth, true, STATUS_OK);
    }
    check_depth(TAGGED_DEPTH_MAX + 1, false, STATUS_TOO_LARGE);
    check_depth(TAGGED_DEPTH_MAX + 1, true, STATUS_TOO_LARGE);
}

static void refuses_tokens_that_are_no_json(void **state)
{
    static const struct {
        size_t count;
        enum token_kind kinds[3];
    } wrong[] = {
        { 0, { 0 } },
        { 1, { TOKEN_END } },
        { 1, { TOKEN_KEY } },
        { 2, { TOKEN_NULL, TOKEN_NULL } },
        { 2, { TOKEN_ARRAY, TOKEN_KEY } },
        { 2, { TOKEN_ARRAY, TOKEN_NULL } },
        { 2, { TOKEN_OBJECT, TOKEN_NULL } },
        { 2, { TOKEN_OBJECT, TOKEN_KEY } },
        { 3, { TOKEN_OBJECT, TOKEN_KEY, TOKEN_KEY } },
        { 3, { TOKEN_OBJECT, TOKEN_KEY, TOKEN_END } },
        { 3, { TOKEN_ARRAY, TOKEN_END, TOKEN_END } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct tagged_writer w = tagged_writer_of(room, sizeof room);
        struct slice out;

        for (size_t j = 0; j < wrong[i].count; j++) {
            struct token token = of_kind(wrong[i].kinds[j]);

            tagged_put(&w, &token);
        }
        assert_int_equal(tagged_finish(&w, &out), STATUS_INVALID);
    }
}

static void refuses_text_that_is_no_utf8(void **state)
{
    static const char *const texts[] = { "\x80",
                                         "\xc0\x80",
                                         "\xc1\xbf",
                                         "\xc3",
                                         "\xe0\x80\x80",
                                         "\xe2\x82",
                                         "\xed\xa0\x80",
                                         "\xed\xbf\xbf",
                                         "\xf0\x80\x80\x80",
                                         "\xf4\x90\x80\x80",
                                         "\xf5\x80\x80\x80",
                                         "\xff",
                                         "ok\xc3(" };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct tagged_writer w = tagged_writer_of(room, sizeof room);
        struct token token = of_text(TOKEN_STRING, texts[i]);
        uint8_t bytes[16] = { (uint8_t)(COMPACT_SHORT + strlen(texts[i])) };
        struct tagged_reader r;

        assert_int_equal(tagged_put(&w, &token), STATUS_INVALID);
        memcpy(bytes + 1, texts[i], strlen(texts[i]));
        r = tagged_reader_of(slice_of(bytes, 1 + strlen(texts[i])));
        assert_int_equal(tagged_next(&r, &token), STATUS_PEER_MALFORMED);
    }
}

static void refuses_reals_that_json_has_not(void **state)
{
    static const uint64_t bits[] = { 0x7ff0000000000000u, 0xfff0000000000000u, 0x7ff8000000000000u };

    (void)state;
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        struct tagged_writer w = tagged_writer_of(room, sizeof room);
        struct token token = of_kind(TOKEN_REAL);
        struct writer raw = writer_of(room, sizeof room);
        struct tagged_reader r;

        memcpy(&token.real, &bits[i], sizeof bits[i]);
        assert_int_equal(tagged_put(&w, &token), STATUS_INVALID);
        writer_u8(&raw, 0x03);
        writer_u64(&raw, bits[i]);
        r = tagged_reader_of(writer_slice(&raw));
        assert_int_equal(tagged_next(&r, &token), STATUS_PEER_MALFORMED);
    }
}

/* Adds a value of a random shape, of at most that depth. */
static void grow(struct token *tokens, size_t *count, unsigned depth)
{
    static const char *const words[] = {
        "type", "text", "parameters", "wa_id", "254724428269", "zz", "errors"
    };
    unsigned shape = (unsigned)rand() % (depth ? 6 : 3);
    bool object = shape >= 4;

    if (shape == 0)
        tokens[(*count)++] = (struct token){ .kind = TOKEN_INTEGER, .integer = rand() % 40 - 20 };
    else if (shape == 1)
        tokens[(*count)++] = of_kind((enum token_kind)(rand() % 3)); /* null, true, false */
    else if (shape == 2)
        tokens[(*count)++] = of_text(TOKEN_STRING, words[rand() % 7]);
    if (shape <= 2)
        return;
    tokens[(*count)++] = of_kind(object ? TOKEN_OBJECT : TOKEN_ARRAY);
    for (int i = rand() % 4; i > 0; i--) {
        if (object)
            tokens[(*count)++] = of_text(TOKEN_KEY, words[rand() % 7]);
        grow(tokens, count, depth - 1);
    }
    tokens[(*count)++] = of_kind(TOKEN_END);
}

static void brings_values_of_any_shape_back(void **state)
{
    static struct token tokens[16384];

    (void)state;
    srand(29);
    for (unsigned i = 0; i < 20000; i++) {
        size_t count = 0;

        grow(tokens, &count, i % 8);
        check(tokens, count);
    }
}

static const struct token event[] = {
    { .kind = TOKEN_OBJECT },
    { .kind = TOKEN_KEY, .text = { (const uint8_t *)"object", 6 } },
    { .kind = TOKEN_STRING, .text = { (const uint8_t *)"whatsapp_business_account", 25 } },
    { .kind = TOKEN_KEY, .text = { (const uint8_t *)"entry", 5 } },
    { .kind = TOKEN_ARRAY },
    { .kind = TOKEN_OBJECT },
    { .kind = TOKEN_KEY, .text = { (const uint8_t *)"id", 2 } },
    { .kind = TOKEN_STRING, .text = { (const uint8_t *)"301093962055815", 15 } },
    { .kind = TOKEN_KEY, .text = { (const uint8_t *)"changes", 7 } },
    { .kind = TOKEN_ARRAY },
    { .kind = TOKEN_OBJECT },
    { .kind = TOKEN_KEY, .text = { (const uint8_t *)"new", 3 } },
    { .kind = TOKEN_REAL, .real = 2.5 },
    { .kind = TOKEN_END },
    { .kind = TOKEN_OBJECT },
    { .kind = TOKEN_END },
    { .kind = TOKEN_INTEGER, .integer = -7 },
    { .kind = TOKEN_END },
    { .kind = TOKEN_END },
    { .kind = TOKEN_END },
    { .kind = TOKEN_END },
};
#define EVENT_COUNT (sizeof event / sizeof event[0])

static void refuses_a_value_cut_anywhere_and_one_with_more_behind(void **state)
{
    uint8_t copy[128];
    struct slice value = write_all(event, EVENT_COUNT);

    (void)state;
    check(event, EVENT_COUNT);
    value = write_all(event, EVENT_COUNT);
    memcpy(copy, value.at, value.length);
    copy[value.length] = 0;
    for (size_t length = 0; length <= value.length + 1; length++) {
        struct tagged_reader r = tagged_reader_of(slice_of(copy, length));
        struct token token;

        while (tagged_next(&r, &token) == STATUS_OK)
            continue;
        assert_int_equal(r.status, length == value.length ? STATUS_END : STATUS_PEER_MALFORMED);
    }
}

static void says_so_when_the_room_is_short(void **state)
{
    size_t whole = write_all(event, EVENT_COUNT).length;

    (void)state;
    for (size_t length = 0; length <= whole; length++) {
        struct tagged_writer w = tagged_writer_of(room, length);
        struct slice out;

        for (size_t i = 0; i < EVENT_COUNT; i++)
            tagged_put(&w, &event[i]);
        /* Pairs may need one byte more on the way than in the end. */
        if (tagged_finish(&w, &out) == STATUS_OK)
            assert_int_equal(length, whole);
        else
            assert_int_equal(w.status, STATUS_TOO_LARGE);
    }
}

static void never_changes_the_bytes_of_a_value(void **state)
{
    static const char expected[] =
        "\x07\x87\x18\x01\x11\xd7\xe6\xa7\x00\x87\x88\x03\x6e\x65\x77\x1e\x01\x32\xf7\xf8\x05\x06\xfb";
    struct slice value = write_all(event, EVENT_COUNT);

    (void)state;
    assert_true(slice_equal(value, slice_of(expected, sizeof expected - 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brings_integers_back_exactly),
        cmocka_unit_test(brings_reals_back_bit_for_bit),
        cmocka_unit_test(brings_strings_of_every_form_back_byte_for_byte),
        cmocka_unit_test(keeps_what_is_frequent_small),
        cmocka_unit_test(names_a_phone_or_a_time_only_once),
        cmocka_unit_test(keeps_nul_bytes_and_long_texts),
        cmocka_unit_test(keeps_keys_in_order_whatever_they_are),
        cmocka_unit_test(brings_values_of_any_shape_back),
        cmocka_unit_test(goes_as_deep_as_it_says_and_no_deeper),
        cmocka_unit_test(refuses_tokens_that_are_no_json),
        cmocka_unit_test(refuses_text_that_is_no_utf8),
        cmocka_unit_test(refuses_reals_that_json_has_not),
        cmocka_unit_test(refuses_a_value_cut_anywhere_and_one_with_more_behind),
        cmocka_unit_test(says_so_when_the_room_is_short),
        cmocka_unit_test(never_changes_the_bytes_of_a_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
