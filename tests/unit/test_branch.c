/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/relay_store.h"

#define TEXT \
    "{\"messaging_product\":\"whatsapp\",\"to\":\"+254 712 345678\",\"type\":\"text\"," \
    "\"text\":{\"body\":\"Habari\"}"
#define PLAIN TEXT "}"
#define WITH_OPAQUE TEXT ",\"biz_opaque_callback_data\":\"order-17\"}"
#define TEMPLATE(name) \
    "{\"messaging_product\":\"whatsapp\",\"to\":\"254712345678\",\"type\":\"template\"," \
    "\"template\":{\"name\":\"" name "\",\"language\":{\"code\":\"sw\"}}}"
#define LEDGER 77u

/* Posts a body; returns the HTTP status. id gets the message's, or "". */
static unsigned post_as(struct store *s, struct branch_request *request, const char *body, char *id)
{
    struct branch_answer answer = { .status = 0 };

    request->token_name = slice_text("teller");
    request->token = 1;
    if (!request->number.length)
        request->number = slice_text(NUMBER);
    request->body = slice_text(body);
    assert_int_equal(branch_accept(s->branch, request, &s->now, &answer), STATUS_OK);
    if (id)
        snprintf(id, sizeof answer.id, "%s", answer.id);
    assert_true(answer.body.length > 0);
    text_free(&answer.body);
    return answer.status;
}

static unsigned post(struct store *s, const char *body, char *id)
{
    struct branch_request request = { .token = 1 };
    unsigned status = post_as(s, &request, body, id);

    store_commit(s);
    return status;
}

/* The state that GET .../messages/ID tells. */
static const char *state_of(struct store *s, const char *id)
{
    static char state[32];
    struct branch_answer answer = { .status = 0 };
    struct json *root;

    assert_int_equal(branch_show(s->branch, slice_text(id), 0, &s->now, &answer), STATUS_OK);
    snprintf(state, sizeof state, "%u", answer.status);
    if (answer.status == 200) {
        assert_int_equal(json_parse(text_slice(&answer.body), &root, NULL), STATUS_OK);
        snprintf(state, sizeof state, "%s", (const char *)json_string(json_get(root, "state")).at);
        json_free(root);
    }
    text_free(&answer.body);
    return state;
}

static struct json *next_webhook(struct store *s)
{
    struct inbox_webhook webhook;
    struct slice body;
    struct json *root;

    assert_int_equal(inbox_next(s->outbox, -1, &webhook), STATUS_OK);
    assert_int_equal(inbox_read(s->outbox, &webhook, &body), STATUS_OK);
    assert_int_equal(json_parse(body, &root, NULL), STATUS_OK);
    assert_int_equal(inbox_delete(s->outbox, &webhook), STATUS_OK);
    store_commit(s);
    return root;
}

static void assert_text(const struct json *root, const char *path, const char *expected)
{
    assert_string_equal((const char *)json_string(json_path(root, path)).at, expected);
}

static struct message_id parsed(const char *id)
{
    struct message_id out;

    assert_int_equal(message_id_parse(slice_text(id), &out), STATUS_OK);
    return out;
}

static void chooses_lanes_by_kind_rule_and_header(void **state)
{
    struct store s;
    struct branch_request request = { .lane = "bulk" };
    char id[MESSAGE_ID_TEXT_MAX + 1];

    (void)state;
    store_start(&s);
    assert_int_equal(post(&s, PLAIN, id), 200);
    assert_int_equal(parsed(id).lane, LANE_CHAT);
    assert_int_equal(post(&s, TEMPLATE("welcome"), id), 200);
    assert_int_equal(parsed(id).lane, LANE_ALERT);
    assert_int_equal(post(&s, TEMPLATE("otp_login"), id), 200);
    assert_int_equal(parsed(id).lane, LANE_URGENT);
    assert_int_equal(post_as(&s, &request, TEMPLATE("otp_login"), id), 200);
    assert_int_equal(parsed(id).lane, LANE_BULK);
    store_end(&s);
}

static void refuses_what_it_cannot_keep(void **state)
{
    struct store s;
    struct branch_request lane = { .lane = "quick" }, zero = { .expires_in = "0" },
                          much = { .expires_in = "2592001" };
    struct branch_request other = { .number = slice_text("1") }, key = { .key = "" };
    char id[MESSAGE_ID_TEXT_MAX + 1];

    (void)state;
    store_start(&s);
    assert_int_equal(post_as(&s, &lane, PLAIN, id), 400);
    assert_int_equal(post_as(&s, &zero, PLAIN, id), 400);
    assert_int_equal(post_as(&s, &much, PLAIN, id), 400);
    assert_int_equal(post_as(&s, &other, PLAIN, id), 400);
    assert_int_equal(post_as(&s, &key, PLAIN, id), 400);
    assert_int_equal(post(&s, "{\"messaging_product\":", id), 400);
    assert_int_equal(post(&s, "{\"messaging_product\":\"whatsapp\",\"to\":\"1\",\"type\":\"text\"}", id),
                     400);
    assert_string_equal(id, "");
    assert_false(outbox_is_writing(s.outbox));
    assert_int_equal(outbox_total(s.outbox, OUTBOX_ACCEPTED), 0);
    store_end(&s);
}

static void answers_the_same_key_with_the_same_message_even_after_a_kill(void **state)
{
    struct store s;
    struct branch_request request = { .key = "pay-1" };
    char first[MESSAGE_ID_TEXT_MAX + 1], again[MESSAGE_ID_TEXT_MAX + 1];

    (void)state;
    store_start(&s);
    assert_int_equal(post_as(&s, &request, PLAIN, first), 200);
    assert_int_equal(post_as(&s, &request, PLAIN, again), 200);
    assert_string_equal(first, again);
    store_commit(&s);
    store_restart(&s);
    assert_int_equal(post_as(&s, &request, PLAIN, again), 200);
    assert_string_equal(first, again);
    assert_int_equal(post_as(&s, &request, WITH_OPAQUE, again), 422);
    assert_int_equal(store_waiting(&s, LANE_CHAT), 1);
    store_later(&s, 26 * 3600000);
    assert_int_equal(post_as(&s, &request, WITH_OPAQUE, again), 200);
    store_end(&s);
}

static void tells_the_sender_of_a_message_that_expired(void **state)
{
    struct store s;
    struct branch_request request = { .expires_in = "60" };
    char id[MESSAGE_ID_TEXT_MAX + 1], later[MESSAGE_ID_TEXT_MAX + 1];
    struct outbox_place at = { .lane = LANE_CHAT }, place;
    struct slice item;
    struct json *webhook;

    (void)state;
    store_start(&s);
    assert_int_equal(post(&s, PLAIN, later), 200); /* A longer life before it in the lane. */
    assert_int_equal(post_as(&s, &request, WITH_OPAQUE, id), 200);
    store_commit(&s);
    store_later(&s, 59000);
    store_sweep(&s);
    assert_string_equal(state_of(&s, id), "queued");
    store_later(&s, 1000);
    assert_int_equal(branch_next(s.branch, LANE_CHAT, &at, &s.now, &place, &item), STATUS_OK);
    assert_int_equal(branch_next(s.branch, LANE_CHAT, &place, &s.now, &place, &item), STATUS_END);
    store_sweep(&s);
    assert_string_equal(state_of(&s, id), "expired");
    assert_string_equal(state_of(&s, later), "queued");
    assert_int_equal(outbox_total(s.outbox, OUTBOX_EXPIRED), 1);
    webhook = next_webhook(&s);
    assert_text(webhook, "entry.0.id", "102310231023");
    assert_text(webhook, "entry.0.changes.0.value.metadata.phone_number_id", NUMBER);
    assert_text(webhook, "entry.0.changes.0.value.statuses.0.id", id);
    assert_text(webhook, "entry.0.changes.0.value.statuses.0.status", "failed");
    assert_text(webhook, "entry.0.changes.0.value.statuses.0.recipient_id", "254712345678");
    assert_text(webhook, "entry.0.changes.0.value.statuses.0.biz_opaque_callback_data", "order-17");
    assert_int_equal(json_integer(json_path(webhook, "entry.0.changes.0.value.statuses.0.errors.0.code"), 0),
                     BRANCH_ERROR_EXPIRED);
    json_free(webhook);
    store_end(&s);
}

static void withdraws_only_what_surely_has_not_left(void **state)
{
    struct store s;
    struct branch_answer answer = { .status = 0 };
    char here[MESSAGE_ID_TEXT_MAX + 1], left[MESSAGE_ID_TEXT_MAX + 1];
    struct outbox_place place;
    struct json *webhook;

    (void)state;
    store_start(&s);
    assert_int_equal(post(&s, PLAIN, left), 200);
    assert_int_equal(post(&s, PLAIN, here), 200);
    place = (struct outbox_place){ .lane = LANE_CHAT, .epoch = parsed(left).epoch, .seq = parsed(left).seq };
    outbox_row_offered(s.outbox, &place);
    assert_int_equal(branch_withdraw(s.branch, slice_text(left), &s.now, &answer), STATUS_OK);
    assert_int_equal(answer.status, 409);
    assert_int_equal(branch_withdraw(s.branch, slice_text(here), &s.now, &answer), STATUS_OK);
    assert_int_equal(answer.status, 200);
    store_commit(&s);
    assert_string_equal(state_of(&s, here), "withdrawn");
    webhook = next_webhook(&s);
    assert_int_equal(json_integer(json_path(webhook, "entry.0.changes.0.value.statuses.0.errors.0.code"), 0),
                     BRANCH_ERROR_WITHDRAWN);
    json_free(webhook);
    /* The peer's hello says that the first one never came. */
    outbox_clear(s.outbox, place.epoch);
    assert_int_equal(branch_withdraw(s.branch, slice_text(left), &s.now, &answer), STATUS_OK);
    assert_int_equal(answer.status, 200);
    text_free(&answer.body);
    store_end(&s);
}

static void names_a_customer_without_a_number_by_the_user_id(void **state)
{
    static const char body[] =
        "{\"messaging_product\":\"whatsapp\",\"recipient\":\"KE.AB12\",\"type\":\"text\","
        "\"text\":{\"body\":\"hi\"}}";
    struct branch_request request = { .expires_in = "60" };
    char id[MESSAGE_ID_TEXT_MAX + 1];
    struct json *webhook;
    struct store s;

    (void)state;
    store_start(&s);
    assert_int_equal(post_as(&s, &request, body, id), 200);
    store_commit(&s);
    store_later(&s, 60000);
    store_sweep(&s);
    webhook = next_webhook(&s);
    assert_text(webhook, "entry.0.changes.0.value.statuses.0.recipient_user_id", "KE.AB12");
    assert_null(json_path(webhook, "entry.0.changes.0.value.statuses.0.recipient_id"));
    json_free(webhook);
    store_end(&s);
}

static void lets_no_row_expire_that_is_on_its_way(void **state)
{
    struct store s;
    struct branch_request request = { .expires_in = "60" };
    char id[MESSAGE_ID_TEXT_MAX + 1];
    struct outbox_place place;

    (void)state;
    store_start(&s);
    assert_int_equal(post_as(&s, &request, PLAIN, id), 200);
    assert_int_equal(outbox_link(s.outbox), STATUS_OK);
    store_commit(&s);
    place = (struct outbox_place){ .lane = LANE_CHAT, .epoch = parsed(id).epoch, .seq = 1 };
    outbox_row_offered(s.outbox, &place);
    branch_set_link(s.branch, true);
    store_later(&s, 61000);
    store_sweep(&s);
    assert_string_equal(state_of(&s, id), "queued");
    branch_set_link(s.branch, false); /* Its sender is told in time, link or not. */
    store_sweep(&s);
    assert_string_equal(state_of(&s, id), "expired");
    store_end(&s);
}

static void expires_after_a_restart_without_any_link(void **state)
{
    struct store s;
    struct branch_request request = { .expires_in = "60" };
    char id[MESSAGE_ID_TEXT_MAX + 1];

    (void)state;
    store_start(&s);
    assert_int_equal(post_as(&s, &request, PLAIN, id), 200);
    store_commit(&s);
    store_restart(&s);
    store_later(&s, 61000);
    store_sweep(&s);
    assert_string_equal(state_of(&s, id), "expired");
    store_end(&s);
}

static void settles_what_the_gateway_holds_and_keeps_its_callback_data(void **state)
{
    struct store s;
    char id[MESSAGE_ID_TEXT_MAX + 1];
    struct outbox_place upto;

    (void)state;
    store_start(&s);
    assert_int_equal(post(&s, WITH_OPAQUE, id), 200);
    assert_int_equal(post(&s, PLAIN, NULL), 200);
    upto = (struct outbox_place){ .lane = LANE_CHAT, .epoch = parsed(id).epoch, .seq = 1 };
    outbox_row_settled(s.outbox, &upto);
    store_sweep(&s);
    assert_string_equal(state_of(&s, id), "synced");
    assert_int_equal(store_waiting(&s, LANE_CHAT), 1);
    assert_int_equal(outbox_total(s.outbox, OUTBOX_SYNCED), 1);
    store_end(&s);
}

static void take(struct store *s, uint64_t seq, enum item_kind kind, const char *body, struct slice of)
{
    struct item item = { .kind = kind, .at_s = 1, .body = slice_text(body), .of = of };
    uint8_t room[2048];
    struct slice row;

    assert_int_equal(item_write(&item, room, sizeof room, &row), STATUS_OK);
    assert_int_equal(branch_take(s->branch, LEDGER, LANE_CHAT, seq, row, &s->now), STATUS_OK);
    store_commit(s);
}

static void take_status(struct store *s, uint64_t seq, const char *id, const char *status)
{
    char body[1024];

    snprintf(body, sizeof body,
             "{\"object\":\"whatsapp_business_account\",\"entry\":[{\"id\":\"1\",\"changes\":[{"
             "\"field\":\"messages\",\"value\":"
             "{\"metadata\":{\"phone_number_id\":\"" NUMBER
             "\"},\"statuses\":[{\"id\":\"%s\",\"recipient_id\":\"254712345678\","
             "\"timestamp\":\"1\",%s}]}}]}]}",
             id, status);
    take(s, seq, ITEM_EVENT, body, (struct slice){ 0 });
}

static void restores_callback_data_in_statuses_and_follows_them(void **state)
{
    struct store s;
    char id[MESSAGE_ID_TEXT_MAX + 1];
    struct outbox_place upto;
    uint8_t binary[MESSAGE_ID_BINARY_MAX];
    struct message_id parts;
    struct json *webhook;

    (void)state;
    store_start(&s);
    assert_int_equal(post(&s, WITH_OPAQUE, id), 200);
    parts = parsed(id);
    take_status(&s, 1, id, "\"status\":\"sent\""); /* Before its ack: the row is still here. */
    webhook = next_webhook(&s);
    assert_text(webhook, "entry.0.changes.0.value.statuses.0.biz_opaque_callback_data", "order-17");
    json_free(webhook);
    upto = (struct outbox_place){ .lane = LANE_CHAT, .epoch = parts.epoch, .seq = parts.seq };
    outbox_row_settled(s.outbox, &upto);
    store_sweep(&s);
    take(&s, 2, ITEM_TAKEN, NULL, slice_of(binary, message_id_pack(&parts, binary)));
    take_status(&s, 3, id, "\"status\":\"read\"");
    webhook = next_webhook(&s);
    assert_text(webhook, "entry.0.changes.0.value.statuses.0.biz_opaque_callback_data", "order-17");
    json_free(webhook);
    take_status(&s, 4, id, "\"status\":\"delivered\"");
    assert_string_equal(state_of(&s, id), "read");
    store_end(&s);
}

static void counts_each_end_once(void **state)
{
    struct store s;
    char id[MESSAGE_ID_TEXT_MAX + 1];
    struct outbox_place upto;

    (void)state;
    store_start(&s);
    assert_int_equal(post(&s, PLAIN, id), 200);
    upto = (struct outbox_place){ .lane = LANE_CHAT, .epoch = parsed(id).epoch, .seq = 1 };
    outbox_row_settled(s.outbox, &upto);
    store_sweep(&s);
    take_status(&s, 1, id,
                "\"status\":\"failed\",\"errors\":[{\"code\":990002,\"title\":\"Unknown outcome\"}]");
    assert_string_equal(state_of(&s, id), "unknown");
    take_status(&s, 2, id,
                "\"status\":\"failed\",\"errors\":[{\"code\":131026,\"title\":\"Undeliverable\"}]");
    take_status(&s, 3, id,
                "\"status\":\"failed\",\"errors\":[{\"code\":131026,\"title\":\"Undeliverable\"}]");
    assert_string_equal(state_of(&s, id), "failed");
    assert_int_equal(outbox_total(s.outbox, OUTBOX_UNKNOWN), 1);
    assert_int_equal(outbox_total(s.outbox, OUTBOX_REFUSED), 1);
    store_restart(&s);
    assert_int_equal(outbox_total(s.outbox, OUTBOX_REFUSED), 1);
    store_end(&s);
}

static void names_a_customers_message_by_its_row(void **state)
{
    static const char body[] =
        "{\"object\":\"whatsapp_business_account\",\"entry\":[{\"id\":\"1\",\"changes\":[{"
        "\"field\":\"messages\",\"value\":"
        "{\"metadata\":{\"phone_number_id\":\"" NUMBER
        "\"},\"messages\":[{\"id\":\"\",\"from\":\"254712345678\",\"type\":"
        "\"text\",\"text\":{\"body\":\"\\u0633\\u0644\\u0627\\u0645\"}}]}}]}]}";
    struct store s;
    struct message_id id;
    struct json *webhook;

    (void)state;
    store_start(&s);
    take(&s, 5, ITEM_EVENT, body, (struct slice){ 0 });
    take(&s, 5, ITEM_EVENT, body, (struct slice){ 0 }); /* A repeat. */
    assert_int_equal(inbox_waiting(s.outbox), 1);
    webhook = next_webhook(&s);
    id = parsed((const char *)json_string(json_path(webhook, "entry.0.changes.0.value.messages.0.id")).at);
    assert_true(id.branch == BRANCH && id.epoch == LEDGER && id.lane == LANE_CHAT && id.seq == 5);
    json_free(webhook);
    store_end(&s);
}

static void passes_over_rows_that_say_nothing(void **state)
{
    struct store s;
    uint64_t mark;

    (void)state;
    store_start(&s);
    assert_int_equal(branch_take(s.branch, LEDGER, LANE_CHAT, 1, slice_text("\x0fgarbage"), &s.now),
                     STATUS_OK);
    store_commit(&s);
    assert_int_equal(inbox_mark(s.outbox, LEDGER, LANE_CHAT, &mark), STATUS_OK);
    assert_int_equal(mark, 1);
    assert_int_equal(outbox_total(s.outbox, OUTBOX_DROPPED_MALFORMED), 1);
    store_end(&s);
}

static void refuses_the_patient_first_when_it_fills(void **state)
{
    struct store s;
    struct branch_request bulk = { .lane = "bulk" }, urgent = { .lane = "urgent" };
    const char *why;
    char *body = malloc(900);
    int accepted = 0;

    (void)state;
    store_start(&s);
    s.rules.store_bytes_max = s.options.bytes_max = 2u << 20;
    store_restart(&s);
    while (accepted < 100000) {
        snprintf(body, 900, "%s,\"context\":{\"message_id\":\"wamid.%d%d%d%d%d%d%d%d\"}}", TEXT, rand(),
                 rand(), rand(), rand(), rand(), rand(), rand(), rand());
        if (post_as(&s, &bulk, body, NULL) != 200)
            break;
        if (++accepted % 64 == 0)
            store_commit(&s);
    }
    store_commit(&s);
    assert_true(accepted > 1000);
    assert_true(outbox_used_bytes(s.outbox) >= (2u << 20) / 100 * 70);
    assert_true(branch_is_ready(s.branch, &why));
    assert_int_equal(post_as(&s, &bulk, PLAIN, NULL), 507);
    assert_int_equal(post(&s, PLAIN, NULL), 200);
    while (post_as(&s, &urgent, body, NULL) == 200)
        store_commit(&s);
    assert_int_equal(post(&s, PLAIN, NULL), 507);
    assert_false(branch_is_ready(s.branch, &why));
    assert_string_equal(why, "store_full");
    free(body);
    store_end(&s);
}

static void limits_what_one_token_may_let_wait(void **state)
{
    struct store s;
    struct outbox_place upto = { .lane = LANE_CHAT, .seq = 1 };
    char id[MESSAGE_ID_TEXT_MAX + 1];

    (void)state;
    store_start(&s);
    s.rules.token_messages_max = 2;
    store_restart(&s);
    assert_int_equal(post(&s, PLAIN, id), 200);
    assert_int_equal(post(&s, PLAIN, NULL), 200);
    assert_int_equal(post(&s, PLAIN, NULL), 429);
    store_restart(&s);
    assert_int_equal(post(&s, PLAIN, NULL), 429);
    upto.epoch = parsed(id).epoch;
    outbox_row_settled(s.outbox, &upto);
    store_sweep(&s);
    assert_int_equal(post(&s, PLAIN, NULL), 200);
    store_end(&s);
}

static void sends_bulk_only_in_its_hours(void **state)
{
    struct store s;
    struct branch_request bulk = { .lane = "bulk" };
    struct outbox_place start = { .lane = LANE_BULK }, place;
    struct slice item;

    (void)state;
    store_start(&s);
    s.rules.lanes[LANE_BULK].from_minute = 20 * 60;
    s.rules.lanes[LANE_BULK].until_minute = 6 * 60;
    store_restart(&s);
    assert_int_equal(post_as(&s, &bulk, PLAIN, NULL), 200);
    store_commit(&s);
    assert_int_equal(branch_waiting(s.branch, LANE_BULK, &s.now).messages, 0);
    assert_int_equal(branch_next(s.branch, LANE_BULK, &start, &s.now, &place, &item), STATUS_END);
    s.now.minute = 5 * 60;
    assert_int_equal(branch_waiting(s.branch, LANE_BULK, &s.now).messages, 1);
    assert_int_equal(branch_next(s.branch, LANE_BULK, &start, &s.now, &place, &item), STATUS_OK);
    store_end(&s);
}

static void sends_nothing_of_a_lane_from_a_held_message_on(void **state)
{
    struct store s;
    char one[MESSAGE_ID_TEXT_MAX + 1], two[MESSAGE_ID_TEXT_MAX + 1], three[MESSAGE_ID_TEXT_MAX + 1];
    struct outbox_place at = { .lane = LANE_CHAT };
    struct slice item;

    (void)state;
    store_start(&s);
    assert_int_equal(post(&s, PLAIN, one), 200);
    assert_int_equal(post(&s, PLAIN, two), 200);
    assert_int_equal(post(&s, PLAIN, three), 200);
    assert_int_equal(branch_hold(s.branch, slice_text(two), &s.now), STATUS_OK);
    store_commit(&s);
    assert_string_equal(state_of(&s, one), "queued");
    assert_string_equal(state_of(&s, three), "held");
    assert_int_equal(branch_next(s.branch, LANE_CHAT, &at, &s.now, &at, &item), STATUS_OK);
    assert_int_equal(branch_next(s.branch, LANE_CHAT, &at, &s.now, &at, &item), STATUS_END);
    store_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses_lanes_by_kind_rule_and_header),
        cmocka_unit_test(refuses_what_it_cannot_keep),
        cmocka_unit_test(answers_the_same_key_with_the_same_message_even_after_a_kill),
        cmocka_unit_test(tells_the_sender_of_a_message_that_expired),
        cmocka_unit_test(withdraws_only_what_surely_has_not_left),
        cmocka_unit_test(names_a_customer_without_a_number_by_the_user_id),
        cmocka_unit_test(lets_no_row_expire_that_is_on_its_way),
        cmocka_unit_test(expires_after_a_restart_without_any_link),
        cmocka_unit_test(settles_what_the_gateway_holds_and_keeps_its_callback_data),
        cmocka_unit_test(restores_callback_data_in_statuses_and_follows_them),
        cmocka_unit_test(counts_each_end_once),
        cmocka_unit_test(names_a_customers_message_by_its_row),
        cmocka_unit_test(passes_over_rows_that_say_nothing),
        cmocka_unit_test(refuses_the_patient_first_when_it_fills),
        cmocka_unit_test(limits_what_one_token_may_let_wait),
        cmocka_unit_test(sends_bulk_only_in_its_hours),
        cmocka_unit_test(sends_nothing_of_a_lane_from_a_held_message_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
