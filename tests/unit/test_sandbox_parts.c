/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the practice WhatsApp that need no socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sync/kit/seal.h"
#include "sync/protocol/status.h"
#include "sync/sandbox/bulletin.h"
#include "sync/sandbox/faults.h"
#include "sync/sandbox/phones.h"
#include "sync/sandbox/wamid.h"

static const struct sandbox_number number = { "106540352242922", "254700000001" };
static const struct bulletin_head head = { "102310231023", &number };

/* --- Phones ----------------------------------------------------------------------------------------- */

static uint64_t arrive(struct phones *p, enum phones_kind kind, const char *to, const char *body)
{
    const struct phones_message *m;
    const struct phones_arrival arrival = {
        .kind = kind,
        .number = slice_text(to),
        .number_id = slice_text(number.id),
        .id = slice_text("wamid.X"),
        .body = slice_text(body),
        .at_ms = 1000,
    };

    assert_int_equal(phones_add(p, &arrival, &m), STATUS_OK);
    return m->n;
}

static void shows_a_message_that_came_twice_twice(void **state)
{
    const struct phones_limits limits = { 10, 1000 };
    const struct phones_phone *phone;
    struct phones *p;

    (void)state;
    assert_int_equal(phones_open(&p, &limits), STATUS_OK);
    assert_int_equal(arrive(p, PHONES_RECEIVED, "254700000009", "{\"a\":1}"), 1);
    assert_int_equal(arrive(p, PHONES_RECEIVED, "254700000009", "{\"a\":1}"), 2);
    assert_int_equal(arrive(p, PHONES_TYPED, "254700000009", "{}"), 3);
    assert_int_equal(arrive(p, PHONES_READ_MARK, "", "{}"), 4);
    phone = phones_phone(p, slice_text("254700000009"));
    assert_int_equal(phone->received, 2);
    assert_int_equal(phone->typed, 1);
    assert_int_equal(phone->kept, 3);
    assert_true(slice_is(phones_find(p, 2)->body, "{\"a\":1}"));
    assert_null(phones_find(p, 4)->phone);
    assert_null(phones_find(p, 5));
    phones_close(p);
}

static void forgets_the_oldest_first(void **state)
{
    const struct phones_limits limits = { 3, 12 };
    struct phones *p;

    (void)state;
    assert_int_equal(phones_open(&p, &limits), STATUS_OK);
    (void)arrive(p, PHONES_RECEIVED, "1", "aa");
    (void)arrive(p, PHONES_RECEIVED, "2", "bb");
    (void)arrive(p, PHONES_RECEIVED, "2", "cc");
    assert_int_equal(phones_first(p), 1);
    (void)arrive(p, PHONES_RECEIVED, "3", "dd"); /* A fourth is one too many. */
    assert_int_equal(phones_first(p), 2);
    assert_null(phones_phone(p, slice_text("1")));
    (void)arrive(p, PHONES_RECEIVED, "3", "0123456789"); /* Its bytes cost both of phone 2. */
    assert_int_equal(phones_first(p), 4);
    assert_null(phones_phone(p, slice_text("2")));
    assert_string_equal(phones_next(p, NULL)->number, "3");
    phones_note_status(p, 1, PHONES_READ, 5); /* Long gone: nothing happens. */
    phones_note_status(p, 5, PHONES_READ, 5);
    assert_int_equal(phones_find(p, 5)->status_at_ms[PHONES_READ], 5);
    phones_close(p);
}

static void lists_the_latest_phone_first(void **state)
{
    const struct phones_limits limits = { 10, 1000 };
    struct phones *p;

    (void)state;
    assert_int_equal(phones_open(&p, &limits), STATUS_OK);
    (void)arrive(p, PHONES_RECEIVED, "1", "a");
    (void)arrive(p, PHONES_RECEIVED, "2", "a");
    (void)arrive(p, PHONES_TYPED, "1", "a");
    assert_string_equal(phones_next(p, NULL)->number, "1");
    assert_string_equal(phones_next(p, phones_next(p, NULL))->number, "2");
    assert_null(phones_next(p, phones_phone(p, slice_text("2"))));
    phones_close(p);
}

/* --- Faults ----------------------------------------------------------------------------------------- */

static int set(struct faults *f, const char *text)
{
    const char *why = NULL;
    struct json *request;
    int status;

    assert_int_equal(json_parse(slice_text(text), &request, NULL), STATUS_OK);
    status = faults_set(f, request, &why);
    assert_true(status == STATUS_OK || why);
    json_free(request);
    return status;
}

static void strikes_as_often_as_asked(void **state)
{
    struct faults f = { 0 };
    struct graph_error error;
    uint64_t ms = 0;

    (void)state;
    assert_int_equal(faults_strike(&f, &error, &ms), FAULTS_NONE);
    assert_int_equal(set(&f, "{\"fault\":\"error\",\"code\":131056,\"count\":2}"), STATUS_OK);
    assert_int_equal(set(&f, "{\"fault\":\"accept_then_hang\"}"), STATUS_OK);
    assert_int_equal(set(&f, "{\"fault\":\"accept_then_reset\"}"), STATUS_OK);
    assert_int_equal(set(&f, "{\"fault\":\"delay\",\"ms\":70}"), STATUS_OK);
    assert_int_equal(faults_strike(&f, &error, &ms), FAULTS_ERROR);
    assert_int_equal(error.code, 131056);
    assert_int_equal(error.http, 400);
    assert_int_equal(faults_strike(&f, &error, &ms), FAULTS_ERROR);
    assert_int_equal(faults_strike(&f, &error, &ms), FAULTS_RESET);
    assert_int_equal(faults_strike(&f, &error, &ms), FAULTS_HANG);
    for (int i = 0; i < 5; i++)
        assert_int_equal(faults_strike(&f, &error, &ms), FAULTS_DELAY);
    assert_int_equal(ms, 70);
    assert_int_equal(set(&f, "{\"fault\":\"none\"}"), STATUS_OK);
    assert_int_equal(faults_strike(&f, &error, &ms), FAULTS_NONE);
}

static void gives_errors_their_http_status(void **state)
{
    struct faults f = { 0 };
    struct graph_error error;
    uint64_t ms;

    (void)state;
    assert_int_equal(set(&f, "{\"fault\":\"error\",\"code\":131016}"), STATUS_OK);
    assert_int_equal(faults_strike(&f, &error, &ms), FAULTS_ERROR);
    assert_int_equal(error.http, 500);
    assert_int_equal(set(&f, "{\"fault\":\"error\",\"code\":77,\"http\":503}"), STATUS_OK);
    assert_int_equal(faults_strike(&f, &error, &ms), FAULTS_ERROR);
    assert_int_equal(error.http, 503);
}

static void refuses_faults_it_does_not_know(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"fault\":\"fire\"}",
        "{\"fault\":\"error\"}",
        "{\"fault\":\"error\",\"code\":1,\"count\":-1}",
        "{\"fault\":\"error\",\"code\":1,\"count\":\"2\"}",
        "{\"fault\":\"error\",\"code\":1,\"http\":200}",
        "{\"fault\":\"delay\"}",
        "{\"fault\":\"delay\",\"ms\":600001}",
    };
    struct faults f = { 0 }, none = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(set(&f, bad[i]), STATUS_INVALID);
    assert_memory_equal(&f, &none, sizeof f);
}

static void shows_what_is_on(void **state)
{
    struct faults f = { 0 };
    struct text out = { 0 };
    struct json *tree;

    (void)state;
    assert_int_equal(set(&f, "{\"fault\":\"webhook_outage\",\"on\":true}"), STATUS_OK);
    assert_int_equal(set(&f, "{\"fault\":\"webhooks_duplicated\"}"), STATUS_OK);
    assert_int_equal(set(&f, "{\"fault\":\"webhooks_duplicated\",\"on\":false}"), STATUS_OK);
    faults_write(&f, &out);
    assert_int_equal(json_parse(text_slice(&out), &tree, NULL), STATUS_OK);
    assert_true(json_bool(json_get(tree, "webhook_outage"), false));
    assert_false(json_bool(json_get(tree, "webhooks_duplicated"), true));
    json_free(tree);
    text_free(&out);
}

/* --- Webhooks --------------------------------------------------------------------------------------- */

static void makes_ids_that_look_like_metas(void **state)
{
    char a[WAMID_TEXT_MAX], b[WAMID_TEXT_MAX];

    (void)state;
    assert_int_equal(wamid_make(a, slice_text("254724428269"), WAMID_TO_CUSTOMER), STATUS_OK);
    assert_int_equal(wamid_make(b, slice_text("254724428269"), WAMID_TO_CUSTOMER), STATUS_OK);
    assert_memory_equal(a, "wamid.HBgMMjU0NzI0NDI4MjY5FQIAERgS", 34);
    assert_int_equal(strlen(a), 62);
    assert_string_not_equal(a, b);
    assert_int_equal(wamid_make(b, slice_text("254724428269"), WAMID_FROM_CUSTOMER), STATUS_OK);
    assert_memory_equal(b, "wamid.HBgMMjU0NzI0NDI4MjY5FQIAEhgg", 34);
    assert_int_equal(
        wamid_make(b, slice_text("KE.0123456789012345678901234567890123456789"), WAMID_TO_CUSTOMER),
        STATUS_OK);
    assert_true(strlen(b) < WAMID_TEXT_MAX);
}

static void writes_a_status_as_meta_does(void **state)
{
    struct bulletin_status sent = {
        .id = "wamid.a/b",
        .status = PHONES_SENT,
        .at_s = 1769252909,
        .recipient = slice_text("254724428269"),
        .opaque = slice_text("h\xc3\xa9/1"),
    };
    struct text out = { 0 };
    struct json *tree, *item;

    (void)state;
    assert_int_equal(bulletin_status(&head, &sent, &out), STATUS_OK);
    assert_non_null(strstr(out.at, "wamid.a\\/b"));
    assert_non_null(strstr(out.at, "h\\u00e9\\/1"));
    assert_int_equal(json_parse(text_slice(&out), &tree, NULL), STATUS_OK);
    item = json_path(tree, "entry.0.changes.0.value.statuses.0");
    assert_true(slice_is(json_string(json_get(item, "id")), "wamid.a/b"));
    assert_true(slice_is(json_string(json_get(item, "timestamp")), "1769252909"));
    assert_true(slice_is(json_string(json_get(item, "biz_opaque_callback_data")), "h\xc3\xa9/1"));
    assert_int_equal(json_string(json_path(item, "conversation.id")).length, 32);
    assert_true(slice_is(json_string(json_path(item, "pricing.pricing_model")), "PMP"));
    assert_true(slice_is(bulletin_customer(tree), "254724428269"));
    json_free(tree);

    text_clear(&out);
    sent.status = PHONES_READ;
    sent.opaque = slice_text("");
    assert_int_equal(bulletin_status(&head, &sent, &out), STATUS_OK);
    assert_null(strstr(out.at, "pricing"));
    assert_null(strstr(out.at, "opaque"));
    text_free(&out);
}

static void writes_a_customers_message(void **state)
{
    struct json *message, *tree, *value;
    struct text out = { 0 };

    (void)state;
    assert_int_equal(
        json_parse(
            slice_text("{\"type\":\"text\",\"text\":{\"body\":\"x\"},\"context\":{\"id\":\"wamid.Q\"}}"),
            &message, NULL),
        STATUS_OK);
    assert_int_equal(bulletin_message(&head, "254724428269", "Amina", "wamid.N", 7, message, &out),
                     STATUS_OK);
    assert_int_equal(json_parse(text_slice(&out), &tree, NULL), STATUS_OK);
    value = json_path(tree, "entry.0.changes.0.value");
    assert_true(slice_is(json_string(json_path(value, "metadata.phone_number_id")), number.id));
    assert_true(slice_is(json_string(json_path(value, "contacts.0.wa_id")), "254724428269"));
    assert_true(slice_is(json_string(json_path(value, "messages.0.from")), "254724428269"));
    assert_true(slice_is(json_string(json_path(value, "messages.0.id")), "wamid.N"));
    assert_true(slice_is(json_string(json_path(value, "messages.0.context.id")), "wamid.Q"));
    assert_true(slice_is(bulletin_customer(tree), "254724428269"));
    json_free(tree);
    text_free(&out);
}

static int begin(void **state)
{
    (void)state;
    return seal_start();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_a_message_that_came_twice_twice),
        cmocka_unit_test(forgets_the_oldest_first),
        cmocka_unit_test(lists_the_latest_phone_first),
        cmocka_unit_test(strikes_as_often_as_asked),
        cmocka_unit_test(gives_errors_their_http_status),
        cmocka_unit_test(refuses_faults_it_does_not_know),
        cmocka_unit_test(shows_what_is_on),
        cmocka_unit_test(makes_ids_that_look_like_metas),
        cmocka_unit_test(writes_a_status_as_meta_does),
        cmocka_unit_test(writes_a_customers_message),
    };

    return cmocka_run_group_tests(tests, begin, NULL);
}
