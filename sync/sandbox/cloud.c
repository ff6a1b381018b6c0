/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sandbox/cloud.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sync/kit/clock.h"
#include "sync/kit/log.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define HUNG_MAX 256u /* A courier has some dozens of connections; beyond this the oldest is reset. */

#define SEND_BYTES_MAX 1048576u /* The largest message is a list or a template of some 40 KB. */

#define RECALL_MS 120000 /* Beyond any delay of the statuses that tests set. */

/* An answer that waits: for its time, or for ever. */
struct cloud_answer {
    TAILQ_ENTRY(cloud_answer) link;
    struct http_request *request;
    uint64_t due_ms;
    struct text body;
};

/* --- Answers ---------------------------------------------------------------------------------------- */

static void answer_json(struct http_request *r, unsigned status, const struct text *body)
{
    http_answer(r, &(struct http_answer){ .status = status,
                                          .content_type = "application/json; charset=UTF-8",
                                          .body = text_slice(body) });
}

void cloud_refuse(struct http_request *r, const struct graph_error *error)
{
    struct text body = { 0 };

    if (graph_error_write(error, &body) == STATUS_OK)
        answer_json(r, error->http, &body);
    else
        http_reset(r);
    text_free(&body);
}

static void release_one(struct sandbox *s)
{
    struct cloud_answer *a = TAILQ_FIRST(&s->hung);

    TAILQ_REMOVE(&s->hung, a, link);
    s->hung_count--;
    http_reset(a->request);
    free(a);
}

void cloud_release(struct sandbox *s)
{
    while (!TAILQ_EMPTY(&s->hung))
        release_one(s);
}

static void hang(struct sandbox *s, struct http_request *r)
{
    struct cloud_answer *a = calloc(1, sizeof *a);

    if (!a) {
        http_reset(r);
        return;
    }
    a->request = r;
    TAILQ_INSERT_TAIL(&s->hung, a, link);
    if (++s->hung_count > HUNG_MAX)
        release_one(s);
}

static void answer_due(void *owner)
{
    struct sandbox *s = owner;
    struct cloud_answer *a;

    while ((a = TAILQ_FIRST(&s->delayed)) && a->due_ms <= loop_now_ms()) {
        TAILQ_REMOVE(&s->delayed, a, link);
        answer_json(a->request, 200, &a->body);
        text_free(&a->body);
        free(a);
    }
    loop_timer_set(&s->delayed_timer, a ? a->due_ms : UINT64_MAX);
}

/* Takes body. */
static void answer_later(struct sandbox *s, struct http_request *r, uint64_t delay_ms, struct text *body)
{
    struct cloud_answer *a = calloc(1, sizeof *a), *before;

    if (!a) {
        answer_json(r, 200, body);
        text_free(body);
        return;
    }
    a->request = r;
    a->due_ms = loop_now_ms() + delay_ms;
    a->body = *body;
    TAILQ_FOREACH_REVERSE(before, &s->delayed, cloud_list, link)
    if (before->due_ms <= a->due_ms)
        break;
    if (before)
        TAILQ_INSERT_AFTER(&s->delayed, before, a, link);
    else
        TAILQ_INSERT_HEAD(&s->delayed, a, link);
    loop_timer_set(&s->delayed_timer, TAILQ_FIRST(&s->delayed)->due_ms);
}

/* --- Requests --------------------------------------------------------------------------------------- */

static bool may_send(const struct sandbox *s, const struct http_request *r, struct graph_error *error)
{
    const char *header = http_header(r, "Authorization");
    struct slice wanted = text_slice(&s->settings->access_token), token;

    if (!header || strncasecmp(header, "Bearer ", 7) != 0) {
        graph_error_set(error, 401, 190, "Authentication Error",
                        "Authorization: missing; it must be \"Bearer \" and the access token");
        return false;
    }
    token = slice_text(header + 7 + strspn(header + 7, " "));
    if (token.length &&
        (!wanted.length || (token.length == wanted.length && seal_equal(token.at, wanted.at, wanted.length))))
        return true;
    graph_error_set(error, 401, 190, "Authentication Error",
                    "Authorization: the access token is not the one of this app");
    return false;
}

/* GET /vN.N/PHONE_NUMBER_ID: what a doctor asks. */
static bool is_profile(const struct http_request *r)
{
    struct slice id, edge;

    return graph_path(http_path(r), &id, &edge) && edge.length == 0 && strcmp(http_method(r), "GET") == 0;
}

static bool is_send(const struct http_request *r, struct slice edge, struct graph_error *error)
{
    if (!slice_is(edge, "messages")) {
        graph_error_set(error, 404, 100, "Invalid parameter",
                        "There is nothing at this path; POST /vN.N/PHONE_NUMBER_ID/messages is");
        return false;
    }
    if (strcmp(http_method(r), "POST") != 0) {
        graph_error_set(error, 400, 100, "Invalid parameter", "messages is for POST");
        return false;
    }
    return true;
}

static bool check_head(const struct sandbox *s, const struct http_request *r,
                       const struct sandbox_number **number, struct graph_error *error)
{
    struct slice id, edge;

    (void)graph_path(http_path(r), &id, &edge);
    if (http_malformed(r)) {
        graph_error_set(error, 400, 100, "Invalid parameter", "The head is malformed: %s", http_malformed(r));
        return false;
    }
    if (!may_send(s, r, error))
        return false;
    if (!is_profile(r) && !is_send(r, edge, error))
        return false;
    *number = sandbox_settings_number(s->settings, id);
    if (!*number) {
        graph_error_set(error, 400, 33, "Parameter value is not valid",
                        "The phone number id in the path does not exist, or is not this account's");
        return false;
    }
    if (http_too_large(r) || http_body(r).length > SEND_BYTES_MAX) {
        graph_error_set(error, 413, 100, "Invalid parameter", "The body is larger than 1048576 bytes");
        return false;
    }
    return true;
}

static bool parse(const struct http_request *r, struct json **tree, struct graph_send *send,
                  struct graph_error *error)
{
    struct json_error wrong = { 0 };

    if (json_parse(http_body(r), tree, &wrong) != STATUS_OK) {
        *tree = NULL;
        graph_error_set(error, 400, 100, "Invalid parameter",
                        "The body is not JSON: line %zu, column %zu: %s", wrong.line, wrong.column,
                        wrong.text);
        return false;
    }
    return graph_check_send(*tree, send, error) == STATUS_OK;
}

static struct slice addressee(const struct graph_send *send)
{
    if (send->digits[0])
        return slice_text(send->digits);
    return send->to.length ? send->to : send->recipient;
}

/* Puts it on the phone. */
static int arrive(struct sandbox *s, const struct graph_send *send, const struct phones_arrival *given,
                  const struct phones_message **out)
{
    struct phones_arrival arrival = *given;

    if (send->kind == GRAPH_SEND_MESSAGE) {
        arrival.kind = PHONES_RECEIVED;
        arrival.number = addressee(send);
    } else {
        arrival.kind = PHONES_READ_MARK;
        arrival.id = send->refers_to;
    }
    if (arrival.id.length >= WAMID_TEXT_MAX)
        arrival.id.length = WAMID_TEXT_MAX - 1;
    return phones_add(s->phones, &arrival, out);
}

/* Has sent, delivered and read follow. */
static void follow(struct sandbox *s, const struct graph_send *send, const struct phones_message *message)
{
    if (send->kind != GRAPH_SEND_MESSAGE || !s->settings->statuses || s->faults.no_statuses)
        return;
    (void)receipts_add(s->receipts,
                       &(struct receipts_message){ .n = message->n,
                                                   .opaque = send->opaque,
                                                   .is_user_id = !send->to.length,
                                                   .is_template = slice_is(send->type, "template"),
                                                   .is_reaction = slice_is(send->type, "reaction") });
}

static int take(struct sandbox *s, const struct http_request *r, const struct sandbox_number *number,
                const struct graph_send *send, char id[WAMID_TEXT_MAX])
{
    const struct phones_message *message;
    struct phones_arrival arrival = {
        .number_id = slice_text(number->id),
        .body = http_body(r),
        .at_ms = clock_wall_ms(),
    };
    struct text line = { 0 };
    int status = wamid_make(id, addressee(send), WAMID_TO_CUSTOMER);

    arrival.id = slice_text(id);
    if (status == STATUS_OK)
        status = arrive(s, send, &arrival, &message);
    if (status != STATUS_OK)
        return status;
    record_write_message(&line, message);
    status = line.failed ? STATUS_NO_MEMORY : record_add(s->record, text_slice(&line));
    text_free(&line);
    if (status == STATUS_OK)
        follow(s, send, message);
    return status;
}

/* A line of the record of an earlier run. A kill may have come between a young message and its statuses: they
 * are told (again), as WhatsApp would. */
static void recall(void *owner, const struct json *line)
{
    struct sandbox *s = owner;
    const struct phones_message *message;
    struct phones_arrival arrival = {
        .number_id = json_string(json_get(line, "phone_number_id")),
        .id = json_string(json_get(line, "id")),
        .body = json_string(json_get(line, "raw")),
        .at_ms = json_integer(json_get(line, "at_ms"), 0),
    };
    struct graph_error error;
    struct graph_send send;
    struct json *tree = NULL;

    if (sandbox_settings_number(s->settings, arrival.number_id) &&
        json_parse(arrival.body, &tree, NULL) == STATUS_OK &&
        graph_check_send(tree, &send, &error) == STATUS_OK &&
        arrive(s, &send, &arrival, &message) == STATUS_OK && clock_wall_ms() - message->at_ms < RECALL_MS)
        follow(s, &send, message);
    json_free(tree);
}

static void take_and_answer(struct sandbox *s, struct http_request *r, const struct sandbox_number *number,
                            const struct graph_send *send)
{
    struct graph_error error;
    struct text body = { 0 };
    char id[WAMID_TEXT_MAX] = "";
    uint64_t delay_ms = 0;
    enum faults_outcome outcome = faults_strike(&s->faults, &error, &delay_ms);

    if (outcome == FAULTS_ERROR) {
        cloud_refuse(r, &error);
        return;
    }
    if (take(s, r, number, send, id) != STATUS_OK || graph_send_answer(send, id, &body) != STATUS_OK) {
        text_free(&body);
        graph_error_set(&error, 500, 131000, "Something went wrong",
                        "The sandbox has no room for this message");
        cloud_refuse(r, &error);
        return;
    }
    switch (outcome) {
    case FAULTS_ERROR: break;
    case FAULTS_NONE: answer_json(r, 200, &body); break;
    case FAULTS_HANG: hang(s, r); break;
    case FAULTS_RESET: http_reset(r); break;
    case FAULTS_DELAY: answer_later(s, r, delay_ms, &body); return;
    }
    text_free(&body);
}

static void answer_profile(struct http_request *r, const struct sandbox_number *number)
{
    struct json *profile = json_new_object();
    struct text body = { 0 };
    int failed = json_set(profile, "verified_name", json_new_string(slice_text("Practice")));

    failed |= json_set(profile, "display_phone_number", json_new_string(slice_text(number->display)));
    failed |= json_set(profile, "quality_rating", json_new_string(slice_text("GREEN")));
    failed |= json_set(profile, "id", json_new_string(slice_text(number->id)));
    if (!failed && json_write(profile, &body) == STATUS_OK)
        answer_json(r, 200, &body);
    else
        http_reset(r);
    json_free(profile);
    text_free(&body);
}

bool cloud_handle(struct sandbox *s, struct http_request *r)
{
    const struct sandbox_number *number;
    struct graph_error error;
    struct graph_send send;
    struct json *tree = NULL;
    struct slice id, edge;

    if (!graph_path(http_path(r), &id, &edge))
        return false;
    if (!check_head(s, r, &number, &error))
        cloud_refuse(r, &error);
    else if (is_profile(r))
        answer_profile(r, number);
    else if (parse(r, &tree, &send, &error))
        take_and_answer(s, r, number, &send);
    else
        cloud_refuse(r, &error);
    json_free(tree);
    return true;
}

int cloud_open(struct sandbox *s)
{
    int status = loop_timer_open(&s->delayed_timer, s->loop, answer_due, s);

    if (status == STATUS_OK)
        status = record_open(&s->record, s->settings->record_file, recall, s);
    return status;
}

void cloud_close(struct sandbox *s)
{
    struct cloud_answer *a;

    cloud_release(s);
    while ((a = TAILQ_FIRST(&s->delayed))) {
        TAILQ_REMOVE(&s->delayed, a, link);
        http_reset(a->request);
        text_free(&a->body);
        free(a);
    }
    loop_timer_close(&s->delayed_timer);
    record_close(s->record);
}
