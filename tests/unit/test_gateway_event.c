/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sync/gateway/event.h"
#include "sync/gateway/request.h"
#include "sync/protocol/status.h"

#define SEEN_MAX 16

struct seen {
    size_t count;
    enum event_kind kinds[SEEN_MAX];
    struct json *wholes[SEEN_MAX];
    struct text keys[SEEN_MAX];
    char customers[SEEN_MAX][16];
    bool of_account[SEEN_MAX];
};

static const struct message_id ours = {
    .branch = 7, .epoch = 0x0102030405060708u, .lane = LANE_ALERT, .seq = 42
};

static bool ours_of(void *owner, struct slice meta, char out[MESSAGE_ID_TEXT_MAX + 1])
{
    (void)owner;
    if (!slice_is(meta, "wamid.META"))
        return false;
    message_id_format(&ours, out);
    return true;
}

static bool conversation_of(void *owner, struct slice meta, uint64_t *number)
{
    (void)owner;
    (void)meta;
    *number = 0x1f;
    return true;
}

static const struct event_names names = { .ours = ours_of, .conversation = conversation_of };

static int look(void *owner, struct event *e)
{
    struct seen *s = owner;

    assert_true(s->count < SEEN_MAX);
    event_repeat_key(e, &s->keys[s->count]);
    snprintf(s->customers[s->count], sizeof s->customers[0], "%.*s", (int)event_customer(e).length,
             event_customer(e).at ? (const char *)event_customer(e).at : "");
    s->of_account[s->count] = event_is_of_account(e);
    assert_int_equal(event_rewrite(e, &names), STATUS_OK);
    s->kinds[s->count] = e->kind;
    s->wholes[s->count++] = json_copy(e->whole);
    return STATUS_OK;
}

static void split(struct seen *s, const char *webhook)
{
    struct json *tree;

    memset(s, 0, sizeof *s);
    assert_int_equal(json_parse(slice_text(webhook), &tree, NULL), STATUS_OK);
    assert_int_equal(event_split(tree, look, s), STATUS_OK);
    json_free(tree);
}

static void forget(struct seen *s)
{
    for (size_t i = 0; i < s->count; i++) {
        json_free(s->wholes[i]);
        text_free(&s->keys[i]);
    }
}

static void assert_event(const struct seen *s, size_t i, enum event_kind kind, const char *expected)
{
    struct json *tree;
    struct text found = { 0 };

    assert_true(i < s->count);
    assert_int_equal(s->kinds[i], kind);
    assert_int_equal(json_parse(slice_text(expected), &tree, NULL), STATUS_OK);
    json_write(s->wholes[i], &found);
    if (!json_equal(tree, s->wholes[i]))
        fail_msg("event %zu is %s", i, found.at);
    text_free(&found);
    json_free(tree);
}

static void makes_one_webhook_of_each_event_in_its_whole_envelope(void **state)
{
    struct seen s;

    (void)state;
    split(
        &s,
        "{\"object\":\"o\",\"more\":1,\"entry\":["
        "{\"id\":\"W1\",\"time\":9,\"changes\":["
        "{\"field\":\"messages\",\"value\":{\"metadata\":{\"phone_number_id\":\"5\"},"
        "\"contacts\":[{\"wa_id\":\"1\"},{\"wa_id\":\"2\",\"x\":0}],"
        "\"messages\":[{\"from\":\"2\",\"id\":\"a\"}],\"statuses\":[{\"id\":\"b\",\"recipient_id\":\"1\"}]}},"
        "{\"field\":\"account_update\",\"value\":{\"event\":\"X\"}}]},"
        "{\"id\":\"W2\",\"changes\":[{\"field\":\"messages\",\"value\":{\"statuses\":[{\"id\":\"c\"}]}}]}]}");
    assert_int_equal(s.count, 4);
    assert_event(
        &s, 0, EVENT_MESSAGE,
        "{\"object\":\"o\",\"more\":1,\"entry\":[{\"id\":\"W1\",\"time\":9,"
        "\"changes\":[{\"field\":\"messages\""
        ","
        "\"value\":{\"metadata\":{\"phone_number_id\":\"5\"},\"contacts\":[{\"wa_id\":\"2\",\"x\":0}],"
        "\"messages\":[{\"from\":\"2\",\"id\":\"\"}]}}]}]}");
    assert_event(&s, 1, EVENT_STATUS,
                 "{\"object\":\"o\",\"more\":1,\"entry\":[{\"id\":\"W1\",\"time\":9,"
                 "\"changes\":[{\"field\":\"messages\""
                 ","
                 "\"value\":{\"metadata\":{\"phone_number_id\":\"5\"},\"contacts\":[{\"wa_id\":\"1\"}],"
                 "\"statuses\":[{\"id\":\"b\",\"recipient_id\":\"1\"}]}}]}]}");
    assert_event(&s, 2, EVENT_OTHER,
                 "{\"object\":\"o\",\"more\":1,\"entry\":[{\"id\":\"W1\",\"time\":9,\"changes\":["
                 "{\"field\":\"account_update\",\"value\":{\"event\":\"X\"}}]}]}");
    assert_event(
        &s, 3, EVENT_STATUS,
        "{\"object\":\"o\",\"more\":1,\"entry\":[{\"id\":\"W2\",\"changes\":[{\"field\":\"messages\","
        "\"value\":{\"statuses\":[{\"id\":\"c\"}]}}]}]}");
    forget(&s);
}

static void leaves_a_single_event_and_shapes_it_does_not_know_as_they_are(void **state)
{
    static const char *const same[] = {
        "{\"object\":\"o\",\"entry\":[{\"id\":\"1\",\"changes\":[{\"value\":{\"contacts\":[{\"wa_id\":\"9\"}]"
        ","
        "\"statuses\":[{\"recipient_id\":\"1\",\"id\":\"q\",\"u\":[1.50,null,{\"k\":\"\\u0000\"}]}]}}]}]}",
        "{\"entry\":[{\"changes\":[{\"value\":{\"statuses\":[{\"id\":\"q\"}],\"messages\":[]}}]}]}",
        "{\"object\":\"o\",\"entry\":[]}",
        "[1,2]",
        "\"text\"",
        "{\"entry\":[{\"id\":\"1\",\"messaging\":[{}]}]}",
        "{\"entry\":[{\"changes\":[{\"value\":{\"messages\":[],\"errors\":[{\"code\":1}]}}]}]}",
        "{\"entry\":[{\"changes\":[{\"field\":\"x\"}]}]}",
        "{\"entry\":[{\"changes\":[7]}]}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct seen s;

        split(&s, same[i]);
        assert_int_equal(s.count, 1);
        assert_event(&s, 0, i < 2 ? EVENT_STATUS : EVENT_OTHER, same[i]);
        forget(&s);
    }
}

#define STATUSES(inner) "{\"entry\":[{\"changes\":[{\"value\":{\"statuses\":[" inner "]}}]}]}"
#define MESSAGES(inner) "{\"entry\":[{\"changes\":[{\"value\":{\"messages\":[" inner "]}}]}]}"

static void gives_the_branch_its_own_ids_and_takes_our_token_out(void **state)
{
    struct seen s;
    char id[MESSAGE_ID_TEXT_MAX + 1], expected[600], posted[600];

    (void)state;
    message_id_format(&ours, id);
    snprintf(posted, sizeof posted,
             STATUSES("{\"id\":\"wamid.META\",\"conversation\":{\"id\":\"abc\",\"origin\":1},"
                      "\"biz_opaque_callback_data\":\"zj1.%s\"}"),
             id);
    split(&s, posted);
    snprintf(
        expected, sizeof expected,
        STATUSES(
            "{\"id\":\"%s\",\"conversation\":{\"id\":\"0000000000000000000000000000001f\",\"origin\":1}}"),
        id);
    assert_event(&s, 0, EVENT_STATUS, expected);
    forget(&s);

    split(&s, MESSAGES("{\"id\":\"wamid.IN\",\"context\":{\"id\":\"wamid.META\",\"from\":\"1\"},"
                       "\"reaction\":{\"message_id\":\"wamid.META\"}}"));
    snprintf(
        expected, sizeof expected,
        MESSAGES(
            "{\"id\":\"\",\"context\":{\"id\":\"%s\",\"from\":\"1\"},\"reaction\":{\"message_id\":\"%s\"}}"),
        id, id);
    assert_event(&s, 0, EVENT_MESSAGE, expected);
    forget(&s);
}

static void names_what_a_customer_edits_or_takes_back_by_the_branchs_id(void **state)
{
    char id[MESSAGE_ID_TEXT_MAX + 1], expected[400];
    struct seen s;

    (void)state;
    message_id_format(&ours, id);
    split(&s,
          MESSAGES("{\"edit\":{\"original_message_id\":\"wamid.META\",\"message\":{\"context\":"
                   "{\"id\":\"wamid.META\"}}}},{\"revoke\":{\"original_message_id\":\"wamid.META\"}},"
                   "{\"revoke\":{\"original_message_id\":\"wamid.OTHER\"}},{\"edit\":7,\"revoke\":null}"));
    assert_int_equal(s.count, 4);
    snprintf(
        expected, sizeof expected,
        MESSAGES("{\"edit\":{\"original_message_id\":\"%s\",\"message\":{\"context\":{\"id\":\"%s\"}}}}"), id,
        id);
    assert_event(&s, 0, EVENT_MESSAGE, expected);
    snprintf(expected, sizeof expected, MESSAGES("{\"revoke\":{\"original_message_id\":\"%s\"}}"), id);
    assert_event(&s, 1, EVENT_MESSAGE, expected);
    assert_event(&s, 2, EVENT_MESSAGE, MESSAGES("{\"revoke\":{\"original_message_id\":\"wamid.OTHER\"}}"));
    assert_event(&s, 3, EVENT_MESSAGE, MESSAGES("{\"edit\":7,\"revoke\":null}"));
    forget(&s);
}

static void gives_each_call_echo_and_preference_its_customers_own_webhook(void **state)
{
    struct seen s;

    (void)state;
    split(&s, "{\"entry\":[{\"changes\":[{\"field\":\"calls\",\"value\":{\"contacts\":[{\"wa_id\":\"1\"},"
              "{\"user_id\":\"KE.2\"}],\"calls\":[{\"id\":\"a\",\"from\":\"1\",\"to\":\"9\"},{\"id\":\"b\","
              "\"direction\":\"BUSINESS_INITIATED\",\"from\":\"9\",\"to_user_id\":\"KE.2\"}]}}]}]}");
    assert_int_equal(s.count, 2);
    assert_event(&s, 0, EVENT_OTHER,
                 "{\"entry\":[{\"changes\":[{\"field\":\"calls\",\"value\":{\"contacts\":[{\"wa_id\":\"1\"}],"
                 "\"calls\":[{\"id\":\"a\",\"from\":\"1\",\"to\":\"9\"}]}}]}]}");
    assert_event(
        &s, 1, EVENT_OTHER,
        "{\"entry\":[{\"changes\":[{\"field\":\"calls\",\"value\":{\"contacts\":[{\"user_id\":\"KE.2\"}],"
        "\"calls\":[{\"id\":\"b\",\"direction\":\"BUSINESS_INITIATED\",\"from\":\"9\","
        "\"to_user_id\":\"KE.2\"}]}}]}]}");
    assert_string_equal(s.customers[0], "1");
    assert_string_equal(s.customers[1], "KE.2");
    assert_string_not_equal(s.keys[0].at, s.keys[1].at);
    forget(&s);

    split(&s, "{\"entry\":[{\"changes\":[{\"value\":{\"message_echoes\":[{\"from\":\"9\",\"to\":\"3\"}]}},"
              "{\"value\":{\"user_preferences\":[{\"wa_id\":\"4\"},{\"user_id\":\"KE.5\"}]}},"
              "{\"value\":{\"contacts\":[{\"wa_id\":\"6\"}],\"novelty\":[1]}}]}]}");
    assert_int_equal(s.count, 4);
    for (size_t i = 0; i < s.count; i++) {
        static const char *const customers[] = { "3", "4", "KE.5", "6" };

        assert_string_equal(s.customers[i], customers[i]);
        assert_false(s.of_account[i]);
    }
    forget(&s);
}

static void tells_what_is_of_the_account_alone(void **state)
{
    struct seen s;

    (void)state;
    split(&s, "{\"entry\":[{\"changes\":["
              "{\"field\":\"account_update\",\"value\":{\"event\":\"X\"}},{\"field\":\"new\"},"
              "{\"field\":\"messages\",\"value\":{\"metadata\":{\"phone_number_id\":\"5\"},\"errors\":[{}]}},"
              "{\"field\":\"messages\",\"value\":{\"messages\":[{}]}}]}]}");
    assert_int_equal(s.count, 4);
    assert_true(s.of_account[0]);
    assert_true(s.of_account[1]);
    assert_false(s.of_account[2]);
    assert_false(s.of_account[3]);
    forget(&s);
}

static void lets_unknown_ids_and_foreign_tokens_pass(void **state)
{
    static const char same[] = STATUSES("{\"id\":\"wamid.OTHER\",\"biz_opaque_callback_data\":\"mine\"}");
    struct seen s;

    (void)state;
    split(&s, same);
    assert_event(&s, 0, EVENT_STATUS, same);
    forget(&s);
}

static void knows_a_repeat_by_what_it_says_and_nothing_else(void **state)
{
    struct seen s;

    (void)state;
    split(&s, STATUSES("{\"id\":\"a\",\"status\":\"sent\",\"recipient_id\":\"1\"},"
                       "{\"recipient_id\":\"1\",\"status\":\"sent\",\"id\":\"a\",\"timestamp\":\"2\"},"
                       "{\"id\":\"a\",\"status\":\"read\",\"recipient_id\":\"1\"},"
                       "{\"id\":\"a\",\"status\":\"sent\",\"recipient_id\":\"2\"},"
                       "{\"id\":\"a\",\"status\":\"sent\",\"recipient_id\":\"1\",\"type\":\"payment\"},"
                       "{\"id\":\"as\",\"status\":\"ent\",\"recipient_id\":\"1\"},{\"status\":\"sent\"}"));
    assert_int_equal(s.count, 7);
    assert_string_equal(s.keys[0].at, s.keys[1].at);
    for (size_t i = 2; i < 6; i++)
        assert_string_not_equal(s.keys[0].at, s.keys[i].at);
    assert_null(s.keys[6].at); /* Nothing to know it by: each coming counts. */
    forget(&s);
}

static void tells_a_failure_as_whatsapp_would(void **state)
{
    struct event_failure f = { .waba_id = "W",
                               .display_phone_number = "254",
                               .number = 5,
                               .id = &ours,
                               .at_s = 12,
                               .recipient = { (const uint8_t *)"99", 2 },
                               .code = 131026 };
    char id[MESSAGE_ID_TEXT_MAX + 1], expected[700];
    struct json *made, *tree;

    (void)state;
    f.title = slice_text("T");
    f.message = slice_text("M");
    f.details = slice_text("D");
    message_id_format(&ours, id);
    snprintf(
        expected, sizeof expected,
        "{\"object\":\"whatsapp_business_account\",\"entry\":[{\"id\":\"W\","
        "\"changes\":[{\"field\":\"messages\""
        ","
        "\"value\":{\"messaging_product\":\"whatsapp\",\"metadata\":{\"display_phone_number\":\"254\","
        "\"phone_number_id\":\"5\"},\"statuses\":[{\"id\":\"%s\",\"status\":\"failed\",\"timestamp\":\"12\","
        "\"recipient_id\":\"99\",\"errors\":[{\"code\":131026,\"title\":\"T\",\"message\":\"M\","
        "\"error_data\":{\"details\":\"D\"}}]}]}}]}]}",
        id);
    made = event_failed(&f);
    assert_int_equal(json_parse(slice_text(expected), &tree, NULL), STATUS_OK);
    assert_true(json_equal(made, tree));
    json_free(made);
    json_free(tree);
}

/* --- Requests on their last step --- */

static struct json *rewritten(const char *body, struct request_targets meta, bool stale)
{
    struct json *tree;

    assert_int_equal(json_parse(slice_text(body), &tree, NULL), STATUS_OK);
    assert_int_equal(request_rewrite(tree, &meta, &ours, stale), STATUS_OK);
    return tree;
}

static void puts_our_token_and_metas_id_into_a_request(void **state)
{
    const struct request_targets about = { .about = "wamid.META" }, reply_to = { .reply_to = "wamid.META" };
    struct json *tree = rewritten("{\"to\":\"1\",\"context\":{\"message_id\":\"x\"}}", reply_to, false);
    struct message_id id;

    (void)state;
    assert_true(slice_is(json_string(json_path(tree, "context.message_id")), "wamid.META"));
    assert_true(request_token(json_string(json_get(tree, "biz_opaque_callback_data")), &id));
    assert_true(message_id_equal(&id, &ours));
    json_free(tree);

    tree = rewritten("{\"status\":\"read\",\"message_id\":\"x\",\"typing_indicator\":{\"type\":\"text\"}}",
                     about, true);
    assert_true(slice_is(json_string(json_get(tree, "message_id")), "wamid.META"));
    assert_null(json_get(tree, "biz_opaque_callback_data"));
    assert_null(json_get(tree, "typing_indicator"));
    json_free(tree);

    tree = rewritten("{\"to\":\"1\",\"reaction\":{\"message_id\":\"x\",\"emoji\":\"\"}}", about, false);
    assert_true(slice_is(json_string(json_path(tree, "reaction.message_id")), "wamid.META"));
    json_free(tree);
}

static void maps_a_reaction_and_what_it_replies_to_apart(void **state)
{
    static const char body[] =
        "{\"to\":\"1\",\"reaction\":{\"message_id\":\"x\"},\"context\":{\"message_id\":\"y\"}}";
    struct json *tree = NULL;
    struct request r;

    (void)state;
    assert_int_equal(json_parse(slice_text(body), &tree, NULL), STATUS_OK);
    request_read(tree, &r);
    assert_true(slice_is(r.about, "x"));
    assert_true(slice_is(r.reply_to, "y"));
    json_free(tree);

    tree = rewritten(body, (struct request_targets){ "wamid.ONE", "wamid.TWO" }, false);
    assert_true(slice_is(json_string(json_path(tree, "reaction.message_id")), "wamid.ONE"));
    assert_true(slice_is(json_string(json_path(tree, "context.message_id")), "wamid.TWO"));
    json_free(tree);

    /* One of them is not ours. */
    tree = rewritten(body, (struct request_targets){ .reply_to = "wamid.TWO" }, false);
    assert_true(slice_is(json_string(json_path(tree, "reaction.message_id")), "x"));
    assert_true(slice_is(json_string(json_path(tree, "context.message_id")), "wamid.TWO"));
    json_free(tree);
}

static void finds_whom_a_request_is_for(void **state)
{
    struct json *tree;
    struct request r;

    (void)state;
    json_parse(slice_text("{\"to\":\"+254 (7) 20-1\",\"recipient\":\"KE.x\"}"), &tree, NULL);
    request_read(tree, &r);
    assert_string_equal(r.customer, "2547201");
    assert_false(r.is_read);
    json_free(tree);
    json_parse(slice_text("{\"recipient\":\"KE.x\"}"), &tree, NULL);
    request_read(tree, &r);
    assert_string_equal(r.customer, "KE.x");
    json_free(tree);
    json_parse(slice_text("{\"recipient_type\":\"group\",\"to\":\"Y2Fw1\"}"), &tree, NULL);
    request_read(tree, &r);
    assert_string_equal(r.customer, "Y2Fw1");
    json_free(tree);
    assert_int_equal(request_number(slice_text("106540352242922")), 106540352242922u);
    assert_int_equal(request_number(slice_text("0106")), 0);
    assert_int_equal(request_number(slice_text("10a")), 0);
    assert_int_equal(request_number(slice_text("")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_one_webhook_of_each_event_in_its_whole_envelope),
        cmocka_unit_test(leaves_a_single_event_and_shapes_it_does_not_know_as_they_are),
        cmocka_unit_test(gives_the_branch_its_own_ids_and_takes_our_token_out),
        cmocka_unit_test(names_what_a_customer_edits_or_takes_back_by_the_branchs_id),
        cmocka_unit_test(gives_each_call_echo_and_preference_its_customers_own_webhook),
        cmocka_unit_test(tells_what_is_of_the_account_alone),
        cmocka_unit_test(lets_unknown_ids_and_foreign_tokens_pass),
        cmocka_unit_test(knows_a_repeat_by_what_it_says_and_nothing_else),
        cmocka_unit_test(tells_a_failure_as_whatsapp_would),
        cmocka_unit_test(puts_our_token_and_metas_id_into_a_request),
        cmocka_unit_test(maps_a_reaction_and_what_it_replies_to_apart),
        cmocka_unit_test(finds_whom_a_request_is_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
