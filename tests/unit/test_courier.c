/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sync/gateway/arrival.h"
#include "sync/gateway/body.h"
#include "sync/gateway/courier.h"
#include "sync/gateway/delivery.h"
#include "sync/kit/clock.h"
#include "sync/kit/file.h"
#include "sync/kit/http.h"
#include "sync/kit/log.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define NUMBER 106540352242922u
#define GUARD_MS 20000u
#define POSTS_MAX 64

/* What the WhatsApp of the test answers to its next posts. */
struct reply {
    unsigned status; /* 0: takes it and never answers. */
    const char *body;
};

/* One gateway without its links: a ledger, a courier, and a WhatsApp on loopback. */
struct world {
    char folder[64];
    struct loop *loop;
    struct loop_timer guard;
    struct http_server *whatsapp;
    struct settings *settings;
    struct ledger *ledger;
    struct courier *courier;
    struct arrivals arrivals;
    struct reply replies[POSTS_MAX];
    size_t reply_count, post_count;
    char posts[POSTS_MAX][2048];
    struct http_request *silent;
    bool (*until)(struct world *w);
    bool in_time;
    uint64_t seq[LANE_COUNT];
};

static void answer(struct http_request *r, unsigned status, const char *body)
{
    struct http_answer a = { .status = status, .content_type = "application/json", .body = slice_text(body) };

    http_answer(r, &a);
}

static void whatsapp_request(void *owner, struct http_request *r)
{
    struct world *w = owner;
    const struct reply *reply = w->post_count < w->reply_count ? &w->replies[w->post_count] : NULL;
    char taken[128];

    assert_true(w->post_count < POSTS_MAX);
    assert_string_equal(http_path(r), "/v25.0/106540352242922/messages");
    assert_string_equal(http_header(r, "Authorization"), "Bearer EAAtoken");
    snprintf(w->posts[w->post_count], sizeof *w->posts, "%.*s", (int)http_body(r).length,
             (const char *)http_body(r).at);
    snprintf(taken, sizeof taken, "{\"messages\":[{\"id\":\"wamid.META%zu\"}]}", ++w->post_count);
    if (reply && reply->status == 0)
        w->silent = r;
    else
        answer(r, reply ? reply->status : 200, reply && reply->body ? reply->body : taken);
    loop_note(w->loop);
}

static void turn(void *owner)
{
    struct world *w = owner;
    uint64_t now_ms = loop_now_ms();
    int64_t now_s = clock_wall_ms() / 1000;

    assert_int_equal(courier_take(w->courier, now_ms, now_s), STATUS_OK);
    assert_int_equal(ledger_commit(w->ledger), STATUS_OK);
    courier_committed(w->courier, w->arrivals.jobs, w->arrivals.count, now_ms, now_s);
    w->arrivals.count = 0;
    courier_depart(w->courier);
    if (w->until && w->until(w))
        loop_stop(w->loop);
}

static void too_late(void *owner)
{
    struct world *w = owner;

    w->in_time = false;
    loop_stop(w->loop);
}

static void run_until(struct world *w, bool (*until)(struct world *w))
{
    w->until = until;
    w->in_time = true;
    loop_timer_set(&w->guard, loop_now_ms() + GUARD_MS);
    loop_note(w->loop);
    assert_int_equal(loop_run(w->loop), STATUS_OK);
    assert_true(w->in_time);
}

static void write_in(const struct world *w, const char *name, const char *text)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    assert_int_equal(file_write(path, slice_text(text), 0600), STATUS_OK);
}

static void open_store(struct world *w)
{
    struct ledger_options options = { .folder = w->folder, .make = true };

    assert_int_equal(ledger_open(&w->ledger, &options), STATUS_OK);
    assert_int_equal(courier_open(&w->courier, w->loop, w->settings, w->ledger, clock_wall_ms() / 1000),
                     STATUS_OK);
}

static int start(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct loop_options loop = { .turn = turn, .owner = w, .descriptors_max = 16 };
    struct http_options http = { .host = "127.0.0.1",
                                 .body_bytes_max = 65536,
                                 .connections_max = 32,
                                 .timeout_s = 30,
                                 .request = whatsapp_request,
                                 .owner = w };
    struct config_error error;
    char config[512], path[128];
    uint32_t number;

    strcpy(w->folder, "/var/tmp/zajel-courier-XXXXXX");
    if (!mkdtemp(w->folder) || loop_open(&w->loop, &loop) != STATUS_OK ||
        loop_timer_open(&w->guard, w->loop, too_late, w) != STATUS_OK ||
        http_open(&w->whatsapp, w->loop, &http) != STATUS_OK)
        return -1;
    write_in(w, "secret", "EAAtoken");
    snprintf(config, sizeof config,
             "[gateway]\nstate = .\n[whatsapp]\napi_base = http://127.0.0.1:%u\napp_secret_file = secret\n"
             "verify_token_file = secret\ntimeout_s = 1\npair_burst = 20\nconnections = 1\n"
             "[number 106540352242922]\naccess_token_file = secret\nmps = 1000\n",
             http_port(w->whatsapp));
    write_in(w, "gateway.conf", config);
    snprintf(path, sizeof path, "%s/gateway.conf", w->folder);
    if (settings_load(&w->settings, path, &error) != STATUS_OK ||
        settings_secrets(w->settings, &error) != STATUS_OK) {
        print_error("%s\n", error.text);
        return -1;
    }
    open_store(w);
    assert_int_equal(ledger_branch_add(w->ledger, "nyeri-03", 1, &number), STATUS_OK);
    *state = w;
    return 0;
}

static void close_store(struct world *w)
{
    courier_close(w->courier);
    ledger_close(w->ledger);
    w->courier = NULL;
    w->ledger = NULL;
}

static int end(void **state)
{
    struct world *w = *state;
    char command[128];

    close_store(w);
    http_close(w->whatsapp);
    loop_timer_close(&w->guard);
    loop_close(w->loop);
    settings_free(w->settings);
    arrivals_free(&w->arrivals);
    snprintf(command, sizeof command, "rm -rf '%s'", w->folder);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

/* A branch's message arrives. */
static struct message_id send(struct world *w, enum lane lane, uint32_t ttl_s, const char *request)
{
    struct arrival arrival = { .id = { .branch = 1, .epoch = 77, .lane = lane, .seq = ++w->seq[lane] } };
    struct item item = {
        .kind = ITEM_SEND, .number = NUMBER, .at_s = (uint64_t)clock_wall_ms() / 1000, .ttl_s = ttl_s
    };
    struct text bytes = { 0 };

    assert_int_equal(body_write_text(&item, slice_text(request), &bytes), STATUS_OK);
    arrival.item = text_slice(&bytes);
    assert_int_equal(arrivals_take(&w->arrivals, w->ledger, w->settings, &arrival, (int64_t)item.at_s),
                     STATUS_OK);
    text_free(&bytes);
    return arrival.id;
}

static struct message_id send_text(struct world *w, enum lane lane, const char *to, const char *text)
{
    char request[256];

    snprintf(request, sizeof request, "{\"to\":\"%s\",\"type\":\"text\",\"text\":{\"body\":\"%s\"}}", to,
             text);
    return send(w, lane, 0, request);
}

static struct courier_state state_of(const struct world *w)
{
    struct courier_state s;

    courier_state(w->courier, &s);
    return s;
}

static bool all_ended(struct world *w)
{
    struct courier_state s = state_of(w);

    return s.pending == 0 && s.unknown == 0;
}

static bool one_unknown(struct world *w)
{
    return state_of(w).unknown == 1;
}

static bool some_held(struct world *w)
{
    return state_of(w).held > 0;
}

/* The only row that waits for the branch, as text. */
static void assert_told(struct world *w, const char *what)
{
    struct text bytes = { 0 }, told = { 0 };
    struct json *tree;
    struct item item;
    uint64_t seq;

    assert_int_equal(ledger_commit(w->ledger), STATUS_OK);
    assert_int_equal(ledger_down_next(w->ledger, 1, LANE_CHAT, 0, &seq, &bytes), STATUS_OK);
    assert_int_equal(item_read(text_slice(&bytes), &item), STATUS_OK);
    assert_int_equal(body_read(&item, &tree), STATUS_OK);
    assert_int_equal(json_write(tree, &told), STATUS_OK);
    if (!strstr(told.at, what))
        fail_msg("%s is not in %s", what, told.at);
    assert_int_equal(ledger_down_next(w->ledger, 1, LANE_CHAT, seq, &seq, &bytes), STATUS_END);
    json_free(tree);
    text_free(&told);
    text_free(&bytes);
}

static void takes_messages_of_a_customer_in_their_order_and_urgent_ones_first(void **state)
{
    struct world *w = *state;
    char text[16];

    for (int i = 0; i < 8; i++) {
        snprintf(text, sizeof text, "m%d", i);
        send_text(w, LANE_CHAT, "254700000001", text);
    }
    send_text(w, LANE_URGENT, "254700000001", "otp");
    run_until(w, all_ended);
    assert_int_equal(w->post_count, 9);
    for (int last = -1, i = 0; i < 9; i++) {
        char *at = strstr(w->posts[i], "\"m");

        if (strstr(w->posts[i], "otp"))
            assert_int_equal(i, 0);
        else {
            assert_true(strtol(strstr(at, "body\":\"m") ? strstr(at, "body\":\"m") + 8 : at + 2, NULL, 10) >
                        last);
            last++;
        }
    }
    assert_int_equal(ledger_counter(w->ledger, LEDGER_SUBMITTED), 9);
}

static void maps_its_id_and_rewrites_what_refers_to_it(void **state)
{
    struct world *w = *state;
    char ours[MESSAGE_ID_TEXT_MAX + 1], request[256], expected[128];
    struct message_id id = send_text(w, LANE_ALERT, "254700000001", "first");

    message_id_format(&id, ours);
    snprintf(request, sizeof request, "{\"to\":\"254700000001\",\"context\":{\"message_id\":\"%s\"}}", ours);
    send(w, LANE_CHAT, 0, request);
    run_until(w, all_ended);
    assert_non_null(strstr(w->posts[1], "\"message_id\":\"wamid.META1\""));
    snprintf(expected, sizeof expected, "\"biz_opaque_callback_data\":\"zj1.%s\"", ours);
    assert_non_null(strstr(w->posts[0], expected));
}

static void tells_a_refusal_with_whatsapps_own_error(void **state)
{
    struct world *w = *state;

    w->replies[w->reply_count++] =
        (struct reply){ 400, "{\"error\":{\"message\":\"(#131026) Message undeliverable\",\"code\":131026,"
                             "\"error_data\":{\"details\":\"not on WhatsApp\"}}}" };
    send_text(w, LANE_CHAT, "254700000001", "x");
    run_until(w, all_ended);
    assert_told(
        w,
        "\"errors\":[{\"code\":131026,\"title\":\"(#131026) Message undeliverable\","
        "\"message\":\"(#131026) Message undeliverable\",\"error_data\":{\"details\":\"not on WhatsApp\"}}]");
    assert_int_equal(ledger_counter(w->ledger, LEDGER_FAILED), 1);
}

static void tries_again_after_a_trouble_that_passes(void **state)
{
    struct world *w = *state;

    w->replies[w->reply_count++] =
        (struct reply){ 500, "{\"error\":{\"message\":\"later\",\"code\":131016}}" };
    send_text(w, LANE_CHAT, "254700000001", "x");
    run_until(w, all_ended);
    assert_int_equal(w->post_count, 2);
    assert_string_equal(w->posts[0], w->posts[1]);
}

static void never_resends_what_nobody_answered_and_learns_its_end_from_a_webhook(void **state)
{
    struct world *w = *state;
    struct delivery delivery = {
        .ledger = w->ledger, .courier = w->courier, .settings = w->settings, .now_s = 1
    };
    char ours[MESSAGE_ID_TEXT_MAX + 1], webhook[512];
    struct message_id id = send_text(w, LANE_CHAT, "254700000001", "x"), known;

    w->replies[w->reply_count++] = (struct reply){ 0, NULL };
    run_until(w, one_unknown);
    assert_int_equal(w->post_count, 1);
    message_id_format(&id, ours);
    snprintf(webhook, sizeof webhook,
             "{\"object\":\"o\",\"entry\":[{\"changes\":[{\"value\":{\"statuses\":[{\"id\":\"wamid.HER\","
             "\"status\":\"sent\",\"biz_opaque_callback_data\":\"zj1.%s\"}]}}]}]}",
             ours);
    assert_int_equal(delivery_take(&delivery, slice_text(webhook)), STATUS_OK);
    assert_true(all_ended(w));
    assert_int_equal(ledger_id_from_meta(w->ledger, slice_text("wamid.HER"), &known), STATUS_OK);
    assert_true(message_id_equal(&known, &id));
    snprintf(webhook, sizeof webhook, "{\"statuses\":[{\"id\":\"%s\",\"status\":\"sent\"}]}", ours);
    assert_told(w, webhook);
    answer(w->silent, 200, "{}");
}

static void parks_a_proxys_page_too(void **state)
{
    struct world *w = *state;

    w->replies[w->reply_count++] = (struct reply){ 502, "<html>Bad gateway</html>" };
    send_text(w, LANE_CHAT, "254700000001", "x");
    run_until(w, one_unknown);
    assert_int_equal(w->post_count, 1);
}

static void holds_all_for_a_dead_token_until_somebody_mends_it(void **state)
{
    struct world *w = *state;
    struct courier_hold hold;

    w->replies[w->reply_count++] =
        (struct reply){ 401, "{\"error\":{\"message\":\"expired\",\"code\":190}}" };
    send_text(w, LANE_CHAT, "254700000001", "x");
    run_until(w, some_held);
    send_text(w, LANE_CHAT, "254700000002", "y");
    turn(w);
    assert_int_equal(state_of(w).held, 2);
    assert_true(courier_hold(w->courier, 0, &hold));
    assert_int_equal(hold.code, 190);
    assert_int_equal(w->post_count, 1);
    assert_int_equal(courier_release(w->courier), 1);
    run_until(w, all_ended);
    assert_int_equal(w->post_count, 3);
}

static void tells_what_came_too_late_and_what_refers_to_nothing(void **state)
{
    struct world *w = *state;
    struct message_id gone = { .branch = 1, .epoch = 77, .lane = LANE_CHAT, .seq = 1 };
    char ours[MESSAGE_ID_TEXT_MAX + 1], request[256];

    w->seq[LANE_CHAT] = 1; /* Number 1 ended without ever being taken. */
    message_id_format(&gone, ours);
    snprintf(request, sizeof request, "{\"to\":\"254700000001\",\"context\":{\"message_id\":\"%s\"}}", ours);
    send(w, LANE_CHAT, 0, request);
    run_until(w, all_ended);
    assert_told(w, "\"code\":131009");
    assert_int_equal(w->post_count, 0);
    assert_int_equal(ledger_down_settle(w->ledger, 1, LANE_CHAT, 1), STATUS_OK);

    w->replies[w->reply_count++] =
        (struct reply){ 500, "{\"error\":{\"message\":\"later\",\"code\":131057}}" };
    send(w, LANE_CHAT, 2, "{\"to\":\"254700000002\"}");
    run_until(w, all_ended);
    assert_told(w, "\"code\":990001");
    assert_int_equal(w->post_count, 1);
    assert_int_equal(ledger_counter(w->ledger, LEDGER_EXPIRED), 1);
}

static void believes_after_a_restart_that_a_body_left_only_where_that_may_be(void **state)
{
    struct world *w = *state;
    struct message_id never_left, left = send_text(w, LANE_CHAT, "254700000001", "x");
    char path[128];

    (void)left;
    w->replies[w->reply_count++] = (struct reply){ 0, NULL };
    run_until(w, one_unknown);
    never_left = send_text(w, LANE_CHAT, "254700000002", "y");
    w->arrivals.count = 0;
    assert_int_equal(ledger_job_attempt(w->ledger, &never_left, LEDGER_SENDING, 1), STATUS_OK);
    assert_int_equal(ledger_commit(w->ledger), STATUS_OK);
    close_store(w);
    open_store(w);
    assert_int_equal(state_of(w).unknown, 1);
    assert_int_equal(state_of(w).pending, 1);

    /* After a power cut the notes are gone, and with them the knowledge. */
    assert_int_equal(ledger_job_attempt(w->ledger, &never_left, LEDGER_SENDING, 1), STATUS_OK);
    assert_int_equal(ledger_commit(w->ledger), STATUS_OK);
    close_store(w);
    snprintf(path, sizeof path, "%s/released", w->folder);
    unlink(path);
    open_store(w);
    assert_int_equal(state_of(w).unknown, 2);
    answer(w->silent, 200, "{}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(takes_messages_of_a_customer_in_their_order_and_urgent_ones_first,
                                        start, end),
        cmocka_unit_test_setup_teardown(maps_its_id_and_rewrites_what_refers_to_it, start, end),
        cmocka_unit_test_setup_teardown(tells_a_refusal_with_whatsapps_own_error, start, end),
        cmocka_unit_test_setup_teardown(tries_again_after_a_trouble_that_passes, start, end),
        cmocka_unit_test_setup_teardown(never_resends_what_nobody_answered_and_learns_its_end_from_a_webhook,
                                        start, end),
        cmocka_unit_test_setup_teardown(parks_a_proxys_page_too, start, end),
        cmocka_unit_test_setup_teardown(holds_all_for_a_dead_token_until_somebody_mends_it, start, end),
        cmocka_unit_test_setup_teardown(tells_what_came_too_late_and_what_refers_to_nothing, start, end),
        cmocka_unit_test_setup_teardown(believes_after_a_restart_that_a_body_left_only_where_that_may_be,
                                        start, end),
    };

    log_set_level(LOG_LEVEL_ERROR + 1);
    if (seal_start() != STATUS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
