/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sync/kit/file.h"
#include "sync/kit/json.h"
#include "sync/protocol/status.h"

static struct json *read_text(const char *text)
{
    struct json_error error = { 0 };
    struct json *v = NULL;

    if (json_parse(slice_text(text), &v, &error) != STATUS_OK)
        fail_msg("%s: %zu:%zu %s", text, error.line, error.column, error.text);
    return v;
}

static void check_written(const char *text, const char *ascii, const char *utf8)
{
    struct json *v = read_text(text);
    struct text out = { 0 };

    assert_int_equal(json_write_ascii(v, &out), STATUS_OK);
    assert_string_equal(out.at, ascii);
    text_clear(&out);
    assert_int_equal(json_write(v, &out), STATUS_OK);
    assert_string_equal(out.at, utf8);
    text_free(&out);
    json_free(v);
}

static void check_refused(struct slice text)
{
    struct json_error error = { 0 };
    struct json *v = NULL;

    if (json_parse(text, &v, &error) != STATUS_INVALID)
        fail_msg("taken: %.*s", (int)text.length, (const char *)text.at);
    assert_null(v);
    assert_true(error.text[0] != '\0');
    assert_true(error.line >= 1 && error.column >= 1 && error.offset <= text.length);
    assert_null(strstr(error.text, "secret"));
}

static void finds_what_a_message_holds(void **state)
{
    struct json *v = read_text("{\"entry\":[{\"id\":\"1\",\"n\":7,\"ok\":true,\"r\":1.5}],\"none\":null}");

    (void)state;
    assert_true(slice_is(json_string(json_path(v, "entry.0.id")), "1"));
    assert_int_equal(json_integer(json_path(v, "entry.0.n"), -1), 7);
    assert_true(json_real(json_path(v, "entry.0.n"), -1) == 7.0);
    assert_true(json_real(json_path(v, "entry.0.r"), -1) == 1.5);
    assert_int_equal(json_integer(json_path(v, "entry.0.r"), -1), -1);
    assert_true(json_bool(json_path(v, "entry.0.ok"), false));
    assert_true(json_bool(json_path(v, "entry.0.id"), true));
    assert_null(json_path(v, "entry.1.id"));
    assert_null(json_path(v, "entry.x"));
    assert_null(json_path(v, "entry..id"));
    assert_null(json_path(v, "entry.99999999999999999999"));
    assert_null(json_path(v, "entry.0.id.0"));
    assert_non_null(json_get(v, "none"));
    assert_int_equal(json_type(json_get(v, "none")), JSON_NULL);
    assert_int_equal(json_type(NULL), JSON_NULL);
    assert_null(json_get(json_path(v, "entry"), "id"));
    assert_int_equal(json_count(json_get(v, "entry")), 1);
    assert_int_equal(json_count(v), 2);
    assert_int_equal(json_count(json_path(v, "entry.0.n")), 0);
    assert_int_equal(json_string(v).length, 0);
    json_free(v);
}

static void keeps_the_order_of_keys_also_when_one_is_replaced(void **state)
{
    struct json *v = read_text("{\"z\":1,\"a\":2,\"m\":3}"), *value;
    struct text order = { 0 };
    struct slice key;
    void *walk = NULL;

    (void)state;
    assert_int_equal(json_set(v, "a", json_new_integer(9)), STATUS_OK);
    while (json_each(v, &walk, &key, &value))
        text_add(&order, key);
    assert_string_equal(order.at, "zam");
    assert_int_equal(json_remove(v, "a"), STATUS_OK);
    assert_int_equal(json_remove(v, "a"), STATUS_END);
    text_clear(&order);
    json_write_ascii(v, &order);
    assert_string_equal(order.at, "{\"z\":1,\"m\":3}");
    text_free(&order);
    json_free(v);
}

static void writes_pure_ascii_as_every_verifier_expects(void **state)
{
    (void)state;
    check_written("\"\xc3\xa9\xd8\xb2\xf0\x9f\x90\xa6\"", "\"\\u00e9\\u0632\\ud83d\\udc26\"",
                  "\"\xc3\xa9\xd8\xb2\xf0\x9f\x90\xa6\"");
    check_written("\"\\uD83D\\uDC26\"", "\"\\ud83d\\udc26\"", "\"\xf0\x9f\x90\xa6\"");
    check_written("\"\\uFFFF \xf4\x8f\xbf\xbf\"", "\"\\uffff \\udbff\\udfff\"",
                  "\"\xef\xbf\xbf \xf4\x8f\xbf\xbf\"");
    check_written("\"a\x7f\"", "\"a\\u007f\"", "\"a\x7f\"");
    check_written("\"\\/a/b\"", "\"/a/b\"", "\"/a/b\"");
    check_written("\"\\b\\f\\n\\r\\t\\u0001\\u001f\\\"\\\\\"", "\"\\b\\f\\n\\r\\t\\u0001\\u001f\\\"\\\\\"",
                  "\"\\b\\f\\n\\r\\t\\u0001\\u001f\\\"\\\\\"");
    check_written("\"a\\u0000b\"", "\"a\\u0000b\"", "\"a\\u0000b\"");
    check_written(" [ ] ", "[]", "[]");
    check_written("{ }", "{}", "{}");
    check_written("[{\"\xc3\xa9\":[1, 2]}, null, true, false]", "[{\"\\u00e9\":[1,2]},null,true,false]",
                  "[{\"\xc3\xa9\":[1,2]},null,true,false]");
}

static void keeps_numbers_as_they_were(void **state)
{
    static const char *const numbers[][2] = {
        { "9223372036854775807", "9223372036854775807" },
        { "-9223372036854775808", "-9223372036854775808" },
        { "0", "0" },
        { "1.0", "1.0" },
        { "-0.0", "-0.0" },
        { "0.1", "0.1" },
        { "1e308", "1e308" },
        { "1.7976931348623157e308", "1.7976931348623157e308" },
        { "5e-324", "5e-324" },
        { "-1.2500", "-1.25" },
        { "36.8219462", "36.8219462" },
        { "1E2", "100.0" },
        { "1e22", "1e22" },
        { "0.30000000000000004", "0.30000000000000004" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        check_written(numbers[i][0], numbers[i][1], numbers[i][1]);
}

static void refuses_what_is_no_json(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\":1,\"a\":2}",
        "[1] x",
        "1 2",
        "nul",
        "NaN",
        "Infinity",
        "01",
        "+1",
        "1.",
        ".5",
        "\"\\ud800\"",
        "\"\\udc00 secret\"",
        "\"\\ud83d\\u0041\"",
        "\"\xc3\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"a\nb\"",
        "\"\\x\"",
        "\"open",
        "'a'",
        "9223372036854775808",
        "-9223372036854775809",
        "1e309",
        "-1e309",
        "{\"a\\u0000b\":1}",
        "{1:2}",
        "\xef\xbb\xbf{}",
        "[secret]",
        "// secret\n1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_refused(slice_text(bad[i]));
    check_refused(slice_of("[1]\0", 4));
    check_refused(slice_of("\"a\0\"", 4));
}

static void says_where_it_is_wrong(void **state)
{
    struct json_error error;
    struct json *v;

    (void)state;
    assert_int_equal(json_parse(slice_text("{\n  \"a\": 1,\n  \"a\": 2\n}"), &v, &error), STATUS_INVALID);
    assert_int_equal(error.line, 3);
    assert_non_null(strstr(error.text, "duplicate"));
    assert_int_equal(json_parse(slice_text("{"), &v, NULL), STATUS_INVALID);
}

static void measures_the_depth_before_it_descends(void **state)
{
    char deep[2 * JSON_DEPTH_MAX + 2], *very_deep = malloc(1000000);
    struct json_error error;
    struct json *v;

    (void)state;
    memset(deep, '[', JSON_DEPTH_MAX);
    memset(deep + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    assert_int_equal(json_parse(slice_of(deep, 2 * JSON_DEPTH_MAX), &v, NULL), STATUS_OK);
    json_free(v);
    memset(deep, '[', JSON_DEPTH_MAX + 1);
    memset(deep + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_int_equal(json_parse(slice_of(deep, sizeof deep), &v, &error), STATUS_INVALID);
    assert_int_equal(error.offset, JSON_DEPTH_MAX);
    assert_non_null(strstr(error.text, "deep"));
    memset(very_deep, '[', 1000000);
    check_refused(slice_of(very_deep, 1000000));
    free(very_deep);
    /* Brackets in a string are no depth, nor are those that were closed. */
    v = read_text("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                  "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\",{}]");
    json_free(v);
}

static void compares_values_key_order_aside(void **state)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        { "{\"a\":1,\"b\":[1,2]}", "{\"b\":[1,2],\"a\":1}", true },
        { "{\"a\":1}", "{\"a\":1,\"b\":2}", false },
        { "{\"a\":1}", "{\"b\":1}", false },
        { "[1,2]", "[2,1]", false },
        { "1", "1.0", false },
        { "1.50", "1.5", true },
        { "\"\\u00e9\"", "\"\xc3\xa9\"", true },
        { "\"a\\u0000b\"", "\"a\\u0000c\"", false },
        { "null", "false", false },
        { "true", "true", true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json *a = read_text(cases[i].a), *b = read_text(cases[i].b), *copy = json_copy(a);

        assert_int_equal(json_equal(a, b), cases[i].equal);
        assert_true(json_equal(a, copy));
        json_free(a);
        json_free(b);
        json_free(copy);
    }
}

static void builds_an_answer_and_refuses_what_cannot_be_one(void **state)
{
    struct json *v = json_new_object(), *list = json_new_array();
    struct text out = { 0 };

    (void)state;
    assert_int_equal(json_add(list, json_new_string(slice_text("a"))), STATUS_OK);
    assert_int_equal(json_add(list, json_new_string(slice_of(NULL, 0))), STATUS_OK);
    assert_int_equal(json_add(list, json_new_real(2)), STATUS_OK);
    assert_int_equal(json_add(list, json_new_bool(true)), STATUS_OK);
    assert_int_equal(json_add(list, json_new_null()), STATUS_OK);
    assert_int_equal(json_set(v, "list", list), STATUS_OK);
    assert_int_equal(json_set(v, "n", json_new_integer(INT64_MIN)), STATUS_OK);
    assert_null(json_new_string(slice_text("\xff")));
    assert_null(json_new_real(NAN));
    assert_null(json_new_real(HUGE_VAL));
    assert_int_equal(json_set(v, "x", NULL), STATUS_NO_MEMORY);
    assert_int_equal(json_set(NULL, "x", json_new_integer(1)), STATUS_NO_MEMORY);
    assert_int_equal(json_add(NULL, json_new_integer(1)), STATUS_NO_MEMORY);
    assert_int_equal(json_add(list, NULL), STATUS_NO_MEMORY);
    assert_int_equal(json_set(list, "x", json_new_integer(1)), STATUS_INVALID);
    assert_int_equal(json_add(v, json_new_integer(1)), STATUS_INVALID);
    assert_int_equal(json_set(v, "\xff", json_new_integer(1)), STATUS_INVALID);
    assert_int_equal(json_write_ascii(v, &out), STATUS_OK);
    assert_string_equal(out.at, "{\"list\":[\"a\",\"\",2.0,true,null],\"n\":-9223372036854775808}");
    text_free(&out);
    json_free(v);
}

static void comes_back_equal_from_the_tagged_form(void **state)
{
    static const char *const bodies[] = {
        "{\"messaging_product\":\"whatsapp\",\"to\":\"254700000001\",\"type\":\"text\","
        "\"text\":{\"preview_url\":false,\"body\":"
        "\"\xd9\x85\xd8\xb1\xd8\xad\xd8\xa8\xd8\xa7 \xf0\x9f\x90\xa6\"}}",
        "[-0.0,1e308,5e-324,0.1,9223372036854775807,-9223372036854775808,0,-1,1.0]",
        "[\"\",\"a\\u0000b\",\"0012\",\"wamid.HBgLMTY1MDM4Nzk0MzkVAgARGBI=\",\"1718000000\"]",
        "{\"b\":{},\"a\":[],\"\":null,\"c\":[{\"x\":[true,false,null]}]}",
        "7",
        "null",
        "\"x\"",
        "2.5",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct json *v = read_text(bodies[i]), *back = NULL;
        struct text before = { 0 }, after = { 0 };
        uint8_t room[1024], small[1024];
        struct slice tagged, none;

        assert_int_equal(json_to_tagged(v, room, sizeof room, &tagged), STATUS_OK);
        assert_int_equal(json_from_tagged(tagged, &back), STATUS_OK);
        json_write(v, &before);
        json_write(back, &after);
        assert_string_equal(after.at, before.at); /* The order of keys and the sign of zero too. */
        for (size_t cut = 0; cut < tagged.length; cut++) {
            struct json *part = NULL;

            assert_int_equal(json_from_tagged(slice_of(tagged.at, cut), &part), STATUS_PEER_MALFORMED);
            assert_null(part);
            assert_int_equal(json_to_tagged(v, small, cut, &none), STATUS_TOO_LARGE);
        }
        text_free(&before);
        text_free(&after);
        json_free(v);
        json_free(back);
    }
}

/* A locale of the C library's own format, in which the decimal point is another; category LC_NUMERIC alone.
 * The machine need not have any installed. */
static void write_locale(const char *folder, const char *point)
{
    const uint32_t magic = 0x20031115 ^ LC_NUMERIC;
    uint32_t head[8] = { magic, 6 }, wide = ',';
    struct text file = { 0 }, values = { 0 };
    char path[128];

    /* Decimal point, thousands' separator, grouping, the first two as words, character set. */
    for (int i = 0; i < 6; i++) {
        while (values.length % 4)
            text_add(&values, slice_of("", 1));
        head[2 + i] = (uint32_t)(sizeof head + values.length);
        if (i == 0)
            text_add(&values, slice_of(point, strlen(point) + 1));
        else if (i == 3)
            text_add(&values, slice_of(&wide, sizeof wide));
        else
            text_add(&values, slice_of("\0\0\0\0", 4));
    }
    text_add(&file, slice_of(head, sizeof head));
    text_add(&file, text_slice(&values));
    snprintf(path, sizeof path, "%s/xx", folder);
    assert_int_equal(file_make_folder(path, 0700), STATUS_OK);
    snprintf(path, sizeof path, "%s/xx/LC_NUMERIC", folder);
    assert_int_equal(file_write(path, text_slice(&file), 0600), STATUS_OK);
    text_free(&file);
    text_free(&values);
}

static void reads_and_writes_the_same_under_a_locale_with_commas(void **state)
{
    char folder[] = "/var/tmp/test_json.XXXXXX", path[128], comma[8];

    (void)state;
    assert_non_null(mkdtemp(folder));
    write_locale(folder, ",");
    setenv("LOCPATH", folder, 1);
    assert_non_null(setlocale(LC_NUMERIC, "xx"));
    snprintf(comma, sizeof comma, "%.1f", 0.5);
    assert_string_equal(comma, "0,5");
    check_written("[0.5,1e300,1.0,-2.25e-9]", "[0.5,1e300,1.0,-2.25e-9]", "[0.5,1e300,1.0,-2.25e-9]");
    setlocale(LC_NUMERIC, "C");
    unsetenv("LOCPATH");
    snprintf(path, sizeof path, "%s/xx/LC_NUMERIC", folder);
    file_remove(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    rmdir(folder);
}

/* Memory of which the allocation number `fails_at` fails; with `stays`, all after it too. */
static struct {
    size_t calls, fails_at, held;
    bool stays;
} memory;

static void *scarce_give(size_t length)
{
    void *at;

    memory.calls++;
    if (memory.calls == memory.fails_at || (memory.stays && memory.calls > memory.fails_at))
        return NULL;
    at = malloc(length);
    memory.held += at != NULL;
    return at;
}

static void scarce_take(void *at)
{
    memory.held -= at != NULL;
    free(at);
}

/* Reads, copies, tags, untags. */
static int work_through(struct slice text)
{
    struct json *v = NULL, *copy = NULL, *back = NULL;
    uint8_t room[16384];
    struct slice tagged;
    int status = json_parse(text, &v, NULL);

    if (status == STATUS_OK)
        status = (copy = json_copy(v)) ? STATUS_OK : STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        status = json_to_tagged(copy, room, sizeof room, &tagged);
    if (status == STATUS_OK)
        status = json_from_tagged(tagged, &back);
    if (status == STATUS_OK && json_type(back) == JSON_OBJECT)
        status = json_set(back, "more", json_new_string(slice_text("x")));
    if (status == STATUS_OK && json_type(back) == JSON_OBJECT)
        status = json_add(json_get(back, "list"), json_new_integer(1));
    json_free(v);
    json_free(copy);
    json_free(back);
    return status;
}

static void says_so_whichever_allocation_fails(void **state)
{
    struct text long_texts = { 0 };
    size_t sweeps = 0;

    (void)state;
    text_puts(&long_texts, "{\"list\":[1,2.5,\"a\",{\"k\":{}},[]],\"t\":[");
    /* Tokens that end at each length around the steps in which the scanner's room grows. */
    for (int length = 0; length < 140; length++)
        text_printf(&long_texts, "\"%.*s\",", length,
                    "12345678901234567890123456789012345678901234567890123456789012345678901234567890"
                    "123456789012345678901234567890123456789012345678901234567890");
    text_puts(&long_texts, "\"\\u00e9\xc3\xa9\xf0\x9f\x90\xa6\",12345678901234567]}");
    assert_false(long_texts.failed);
    json_set_memory(scarce_give, scarce_take);
    for (int stays = 0; stays <= 1; stays++) {
        int status = STATUS_NO_MEMORY;

        for (size_t n = 1; status != STATUS_OK; n++, sweeps++) {
            memory.calls = 0;
            memory.held = 0;
            memory.fails_at = n;
            memory.stays = stays;
            status = work_through(text_slice(&long_texts));
            if (status != STATUS_OK)
                assert_int_equal(status, STATUS_NO_MEMORY);
            assert_int_equal(memory.held, 0);
        }
    }
    /* And each token by itself, so that the scanner's room has to grow within it. */
    for (size_t length = 1; length < 140; length++) {
        char token[160];
        int status = STATUS_NO_MEMORY;

        memset(token, 'x', length);
        token[0] = '"';
        token[length] = '"';
        memory.stays = true;
        for (size_t n = 1; status != STATUS_OK; n++) {
            memory.calls = 0;
            memory.held = 0;
            memory.fails_at = n;
            status = work_through(slice_of(token, length + 1));
            if (status != STATUS_OK)
                assert_int_equal(status, STATUS_NO_MEMORY);
            assert_int_equal(memory.held, 0);
        }
    }
    json_set_memory(malloc, free);
    assert_true(sweeps > 500);
    text_free(&long_texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_a_message_holds),
        cmocka_unit_test(keeps_the_order_of_keys_also_when_one_is_replaced),
        cmocka_unit_test(writes_pure_ascii_as_every_verifier_expects),
        cmocka_unit_test(keeps_numbers_as_they_were),
        cmocka_unit_test(refuses_what_is_no_json),
        cmocka_unit_test(says_where_it_is_wrong),
        cmocka_unit_test(measures_the_depth_before_it_descends),
        cmocka_unit_test(compares_values_key_order_aside),
        cmocka_unit_test(builds_an_answer_and_refuses_what_cannot_be_one),
        cmocka_unit_test(comes_back_equal_from_the_tagged_form),
        cmocka_unit_test(reads_and_writes_the_same_under_a_locale_with_commas),
        cmocka_unit_test(says_so_whichever_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
