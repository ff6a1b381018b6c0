/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "sync/kit/json.h"
#include "sync/protocol/item.h"
#include "sync/protocol/pack.h"
#include "sync/protocol/status.h"
#include "sync/protocol/tagged.h"
#include "tests/unit/support_corpus.h"

#define ROOM 65536u

static struct corpus *corpus;
static struct packer *packer;

static int open_all(void **state)
{
    (void)state;
    corpus = corpus_open(CORPUS_PATH);
    return corpus ? packer_open(&packer, PACK_HIGH) : -1;
}

static int close_all(void **state)
{
    (void)state;
    packer_close(packer);
    corpus_close(corpus);
    return 0;
}

static struct json *parse(struct slice line)
{
    struct json *v = NULL;

    if (json_parse(line, &v, NULL) != STATUS_OK)
        fail_msg("no JSON: %.*s", (int)line.length, (const char *)line.at);
    return v;
}

/* JSON to an item, packed, unpacked, and JSON again; returns the packed length. */
static size_t check_line(const struct json *json)
{
    static uint8_t tagged[ROOM], plain[ROOM], packed[ROOM], again[ROOM];
    struct item item = {
        .kind = ITEM_SEND, .form = ITEM_FORM_TAGGED, .number = 106540352242922u, .at_s = 1769252791
    };
    struct item back;
    struct slice row, small;
    struct json *copy = NULL;

    assert_int_equal(json_to_tagged(json, tagged, sizeof tagged, &item.body), STATUS_OK);
    assert_int_equal(item_write(&item, plain, sizeof plain, &row), STATUS_OK);
    assert_int_equal(pack(packer, row, packed, sizeof packed, &small), STATUS_OK);
    assert_int_equal(unpack(small, again, sizeof again, &row), STATUS_OK);
    assert_int_equal(item_read(row, &back), STATUS_OK);
    assert_int_equal(json_from_tagged(back.body, &copy), STATUS_OK);
    assert_true(json_equal(json, copy));
    json_free(copy);
    return small.length;
}

static void brings_every_message_back_and_small(void **state)
{
    size_t lines = 0, text = 0, packed = 0;
    struct slice line;

    (void)state;
    corpus_rewind(corpus);
    while (corpus_next(corpus, &line)) {
        struct json *json = parse(line);

        packed += check_line(json);
        text += line.length;
        lines++;
        json_free(json);
    }
    assert_int_equal(lines, 3400);
    /* A sixth of the text: far from what it reaches, near enough to notice a form that is not used any more.
     */
    assert_true(packed * 11 < text * 2);
}

static bool same_token(const struct token *a, const struct token *b)
{
    return a->kind == b->kind && a->integer == b->integer &&
           memcmp(&a->real, &b->real, sizeof a->real) == 0 && slice_equal(a->text, b->text);
}

/* Whatever a reader takes, a writer can say again, and it reads the same. */
static void check_rewrites(struct slice value)
{
    static uint8_t again[ROOM];
    struct tagged_writer w = tagged_writer_of(again, sizeof again);
    struct tagged_reader r = tagged_reader_of(value);
    struct tagged_reader second;
    struct token token, other;
    struct slice out;

    while (tagged_next(&r, &token) == STATUS_OK)
        assert_int_equal(tagged_put(&w, &token), STATUS_OK);
    if (r.status != STATUS_END) {
        assert_int_equal(r.status, STATUS_PEER_MALFORMED);
        return;
    }
    assert_int_equal(tagged_finish(&w, &out), STATUS_OK);
    r = tagged_reader_of(value);
    second = tagged_reader_of(out);
    while (tagged_next(&r, &token) == STATUS_OK) {
        assert_int_equal(tagged_next(&second, &other), STATUS_OK);
        assert_true(same_token(&token, &other));
    }
    assert_int_equal(tagged_next(&second, &other), STATUS_END);
}

static void survives_damage_anywhere_in_a_message(void **state)
{
    static uint8_t tagged[ROOM];
    struct slice line, value;

    (void)state;
    srand(17);
    corpus_rewind(corpus);
    while (corpus_next(corpus, &line)) {
        struct json *json = parse(line);

        assert_int_equal(json_to_tagged(json, tagged, sizeof tagged, &value), STATUS_OK);
        for (unsigned i = 0; i < 20; i++) {
            size_t length = i % 4 == 0 ? 1 + (size_t)rand() % value.length : value.length;
            uint8_t *copy = malloc(length);

            assert_non_null(copy);
            memcpy(copy, value.at, length);
            for (unsigned damage = i % 5; damage > 0; damage--)
                copy[(size_t)rand() % length] = (uint8_t)(rand() >> 5);
            check_rewrites(slice_of(copy, length));
            free(copy);
        }
        json_free(json);
    }
}

static void survives_any_bytes(void **state)
{
    (void)state;
    srand(23);
    for (unsigned i = 0; i < 200000; i++) {
        uint8_t bytes[40];
        size_t length = (size_t)rand() % sizeof bytes;

        for (size_t j = 0; j < length; j++)
            bytes[j] = (uint8_t)(rand() >> 5);
        if (length)
            bytes[0] = i % 2 ? 0x07 : 0x06;
        check_rewrites(slice_of(bytes, length));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brings_every_message_back_and_small),
        cmocka_unit_test(survives_damage_anywhere_in_a_message),
        cmocka_unit_test(survives_any_bytes),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
