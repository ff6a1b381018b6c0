/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/intake.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/branch_parts.h"
#include "relay/outbox_tokens.h"
#include "relay/refusal.h"
#include "relay/report.h"
#include "relay/uplink.h"
#include "sync/kit/graph.h"
#include "sync/kit/http.h"
#include "sync/kit/log.h"
#include "sync/kit/metrics.h"
#include "sync/protocol/status.h"

#define ACCEPTS_MAX 256u /* A turn (storage.md section 4): more gain nothing and make the first wait. */
#define TIMEOUT_S 30u
#define JSON_TYPE "application/json; charset=utf-8"

static const char messages_path[] = "/zajel/v1/messages/";

/* One request that was handled in this turn and waits for its commit. */
struct handled {
    struct http_request *request;
    struct branch_answer answer;
    const char *content_type;
    const char *allow; /* The methods its path takes, where another was used; else NULL. */
};

struct intake {
    struct box *box;
    struct http_server *plain, *tls;
    struct http_request **noted; /* In the order they came; at most one per connection. */
    size_t noted_count, noted_room;
    struct handled handled[ACCEPTS_MAX];
    size_t handled_count;
};

static bool is_method(const struct handled *h, const char *method)
{
    return strcmp(http_method(h->request), method) == 0;
}

/* HEAD asks as GET does; the answer's body is then left out on the way. */
static bool is_get(const struct handled *h)
{
    return is_method(h, "GET") || is_method(h, "HEAD");
}

/* --- Answers --- */

static int answer_text(struct handled *h, unsigned status, const char *text)
{
    h->answer.status = status;
    h->content_type = "text/plain; charset=utf-8";
    text_puts(&h->answer.body, text);
    return STATUS_OK;
}

static int answer_unknown_path(struct handled *h)
{
    return branch_refuse(&h->answer, 404, 100, "Unsupported request",
                         "No such path here: POST [/vN.N]/PHONE_NUMBER_ID/messages sends a message.");
}

/* OPTIONS is answered too: some proxies and monitors ask. */
static int answer_other_method(struct handled *h, const char *allow)
{
    char details[96];

    h->allow = allow;
    if (is_method(h, "OPTIONS")) {
        h->answer.status = 204;
        h->content_type = NULL;
        return STATUS_OK;
    }
    snprintf(details, sizeof details, "This path takes %s only.", allow);
    return branch_refuse(&h->answer, 405, 100, "Unsupported request", details);
}

/* --- Who asks --- */

/* The white space behind it is the header's; the library leaves it there. */
static struct slice bearer_of(const char *header)
{
    struct slice token = slice_text(header + 7 + strspn(header + 7, " \t"));

    while (token.length && strchr(" \t", token.at[token.length - 1]))
        token.length--;
    return token;
}

/* Where there is no header the token may be in the query: WhatsApp takes it there too, and some programs put
 * it there. */
static struct slice token_of(const struct handled *h)
{
    const char *header = http_header(h->request, "Authorization");
    const char *query = header ? NULL : http_query(h->request, "access_token");

    if (header && strncasecmp(header, "Bearer ", 7) == 0)
        return bearer_of(header);
    return query ? slice_text(query) : (struct slice){ 0 };
}

static int authorise(struct intake *i, struct handled *h, unsigned *number, struct slice *name)
{
    struct slice token = token_of(h);
    int status = token.length ? outbox_token_check(i->box->outbox, token, number, name) : STATUS_DENIED;

    if (status == STATUS_DENIED)
        (void)branch_refuse(
            &h->answer, 401, 190, "Invalid OAuth access token",
            "Authorization: Bearer TOKEN is missing or wrong; `zajel-relay token add NAME` makes one.");
    return status;
}

/* Monitoring on this machine needs no token. Behind a proxy everybody seems to be on this machine. */
static int authorise_monitoring(struct intake *i, struct handled *h)
{
    struct slice name;
    unsigned number;

    if (config_is_loopback(http_peer(h->request)) && !i->box->options->api_behind_proxy)
        return STATUS_OK;
    return authorise(i, h, &number, &name);
}

/* --- Routes --- */

static int handle_send(struct intake *i, struct handled *h, struct slice number,
                       const struct branch_time *now)
{
    struct branch_request request = { .number = number, .body = http_body(h->request) };
    int status = authorise(i, h, &request.token, &request.token_name);

    if (status != STATUS_OK)
        return status == STATUS_DENIED ? STATUS_OK : status;
    if (http_too_large(h->request))
        return branch_refuse(&h->answer, 413, 100, "Invalid parameter",
                             "The body is larger than [limits] request_bytes_max allows.");
    request.lane = http_header(h->request, "Zajel-Lane");
    request.expires_in = http_header(h->request, "Zajel-Expires-In");
    request.key = http_header(h->request, "Idempotency-Key");
    return branch_accept(i->box->branch, &request, now, &h->answer);
}

static int handle_unsupported(struct intake *i, struct handled *h, const char *details)
{
    struct slice name;
    unsigned number;
    int status = authorise(i, h, &number, &name);

    if (status != STATUS_OK)
        return status == STATUS_DENIED ? STATUS_OK : status;
    return branch_refuse(&h->answer, 400, 100, "Unsupported request", details);
}

static int handle_graph(struct intake *i, struct handled *h, const struct branch_time *now)
{
    const char *path = http_path(h->request);
    char details[REFUSAL_DETAILS_MAX];
    struct slice id, edge;
    bool is_send = graph_path(path, &id, &edge) && slice_is(edge, "messages");

    if (is_send && is_method(h, "POST"))
        return handle_send(i, h, id, now);
    if (is_send)
        return answer_other_method(h, "POST, OPTIONS");
    if (strcmp(path, "*") == 0)
        return answer_other_method(h, "GET, HEAD, POST, DELETE, OPTIONS");
    if (refusal_explain(http_method(h->request), path, details, sizeof details))
        return handle_unsupported(i, h, details);
    return answer_unknown_path(h);
}

static int handle_message(struct intake *i, struct handled *h, const struct branch_time *now)
{
    struct slice id = slice_text(http_path(h->request) + sizeof messages_path - 1), name;
    unsigned number;
    int status;

    if (!is_get(h) && !is_method(h, "DELETE"))
        return answer_other_method(h, "GET, HEAD, DELETE, OPTIONS");
    status = authorise(i, h, &number, &name);
    if (status != STATUS_OK)
        return status == STATUS_DENIED ? STATUS_OK : status;
    if (is_get(h))
        return branch_show(i->box->branch, id, uplink_goodput(i->box->uplink), now, &h->answer);
    return branch_withdraw(i->box->branch, id, now, &h->answer);
}

static int handle_ready(struct intake *i, struct handled *h)
{
    const char *why = NULL;

    if (branch_is_ready(i->box->branch, &why))
        return answer_text(h, 200, "ready\n");
    answer_text(h, 503, why);
    text_puts(&h->answer.body, "\n");
    return STATUS_OK;
}

static int handle_report(struct intake *i, struct handled *h, bool is_metrics, const struct branch_time *now)
{
    int status = authorise_monitoring(i, h);

    if (status != STATUS_OK)
        return status == STATUS_DENIED ? STATUS_OK : status;
    h->answer.status = 200;
    if (!is_metrics)
        return report_status(i->box, now, &h->answer.body);
    h->content_type = METRICS_CONTENT_TYPE;
    return report_metrics(i->box, now, &h->answer.body);
}

/* Paths that only read: true when it was one. */
static bool handle_own(struct intake *i, struct handled *h, const struct branch_time *now, int *status)
{
    const char *path = http_path(h->request);
    bool is_ready = strcmp(path, "/readyz") == 0;
    bool is_metrics = strcmp(path, "/metrics") == 0, is_status = strcmp(path, "/status") == 0;

    if (!is_ready && !is_metrics && !is_status && strcmp(path, "/healthz") != 0)
        return false;
    if (!is_get(h))
        *status = answer_other_method(h, "GET, HEAD, OPTIONS");
    else if (is_ready)
        *status = handle_ready(i, h);
    else if (is_metrics || is_status)
        *status = handle_report(i, h, is_metrics, now);
    else
        *status = answer_text(h, 200, "ok\n");
    return true;
}

static int handle(struct intake *i, struct handled *h, const struct branch_time *now)
{
    int status;

    if (http_malformed(h->request))
        return branch_refuse(&h->answer, 400, 100, "Invalid parameter", http_malformed(h->request));
    if (handle_own(i, h, now, &status))
        return status;
    if (strncmp(http_path(h->request), messages_path, sizeof messages_path - 1) == 0)
        return handle_message(i, h, now);
    return handle_graph(i, h, now);
}

/* --- Turns --- */

int intake_turn(struct intake *i, const struct branch_time *now)
{
    int status = STATUS_OK;

    while (i->handled_count < ACCEPTS_MAX && i->handled_count < i->noted_count && status == STATUS_OK) {
        struct handled *h = &i->handled[i->handled_count];

        *h = (struct handled){ .request = i->noted[i->handled_count], .content_type = JSON_TYPE };
        i->handled_count++;
        status = handle(i, h, now);
    }
    return status;
}

static void send_answer(struct handled *h, int outcome)
{
    char retry[32], allow[64];
    const char *headers[3] = { NULL };
    size_t count = 0;
    struct http_answer answer;
    bool is_full = outcome == STATUS_FULL || outcome == STATUS_NO_SPACE;

    if (outcome == STATUS_OK && h->answer.body.failed)
        outcome = STATUS_NO_MEMORY;
    if (outcome != STATUS_OK) {
        text_free(&h->answer.body);
        h->allow = NULL;
        h->content_type = JSON_TYPE;
        (void)branch_refuse(&h->answer, is_full ? 507 : 503, 2, "Service temporarily unavailable",
                            is_full
                                ? "The box's disk is full; nothing of this request was kept."
                                : "The box's store failed; nothing of this request is promised. Try again.");
    }
    if (h->answer.retry_after_s) {
        snprintf(retry, sizeof retry, "Retry-After: %u", h->answer.retry_after_s);
        headers[count++] = retry;
    }
    if (h->allow) {
        snprintf(allow, sizeof allow, "Allow: %s", h->allow);
        headers[count++] = allow;
    }
    answer = (struct http_answer){ .status = h->answer.status,
                                   .content_type = h->content_type,
                                   .body = text_slice(&h->answer.body),
                                   .headers = headers };
    http_answer(h->request, &answer);
    text_wipe(&h->answer.body);
}

/* With the store closed nothing was handled: all who wait hear so at once, but whether the relay lives is
 * known. */
static void refuse_noted(struct intake *i)
{
    for (size_t n = 0; n < i->noted_count; n++) {
        struct handled h = { .request = i->noted[n], .content_type = JSON_TYPE };

        if (strcmp(http_path(h.request), "/healthz") == 0)
            answer_text(&h, 200, "ok\n");
        send_answer(&h, h.answer.status ? STATUS_OK : STATUS_UNAVAILABLE);
    }
    i->noted_count = 0;
}

void intake_answer(struct intake *i, int outcome)
{
    for (size_t n = 0; n < i->handled_count; n++)
        send_answer(&i->handled[n], outcome);
    if (i->handled_count > 0) {
        i->noted_count -= i->handled_count;
        memmove(i->noted, i->noted + i->handled_count, i->noted_count * sizeof(struct http_request *));
        i->handled_count = 0;
    }
    if (!i->box->outbox)
        refuse_noted(i);
    if (i->noted_count > 0)
        loop_note(i->box->loop);
}

static void intake_note(void *owner, struct http_request *request)
{
    struct intake *i = owner;

    if (i->noted_count == i->noted_room) {
        size_t room = i->noted_room ? 2 * i->noted_room : 64;
        struct http_request **grown = reallocarray(i->noted, room, sizeof(struct http_request *));

        if (!grown) {
            struct handled h = { .request = request };

            send_answer(&h, STATUS_NO_MEMORY);
            return;
        }
        i->noted = grown;
        i->noted_room = room;
    }
    i->noted[i->noted_count++] = request;
    loop_note(i->box->loop);
}

/* --- Opening --- */

static int intake_listen(struct intake *i, const struct options_address *address, bool is_tls,
                         struct http_server **out)
{
    const struct options *o = i->box->options;
    struct http_options options = { .host = address->host,
                                    .port = address->port,
                                    .certificate_file = is_tls ? o->api_certificate_file : NULL,
                                    .key_file = is_tls ? o->api_key_file : NULL,
                                    .body_bytes_max = (size_t)o->request_bytes_max,
                                    .connections_max = o->connections_max,
                                    .per_address_max = o->connections_per_address_max,
                                    .timeout_s = TIMEOUT_S,
                                    .request = intake_note,
                                    .owner = i };
    int status = http_open(out, i->box->loop, &options);

    if (status == STATUS_OK)
        log_event(LOG_LEVEL_INFO, "listening", "part=api address=%s port=%u tls=%s", address->host,
                  http_port(*out), is_tls ? "yes" : "no");
    else
        log_event(LOG_LEVEL_ERROR, "listen_failed", "part=api address=%s port=%u status=%s", address->host,
                  address->port, status_name(status));
    return status;
}

int intake_open(struct intake **out, struct box *box)
{
    struct intake *i = calloc(1, sizeof *i);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!i)
        return status;
    i->box = box;
    status = intake_listen(i, &box->options->api, box->options->api_is_tls, &i->plain);
    if (status == STATUS_OK && box->options->api_tls.is_on)
        status = intake_listen(i, &box->options->api_tls, true, &i->tls);
    if (status != STATUS_OK) {
        intake_close(i);
        return status;
    }
    *out = i;
    return STATUS_OK;
}

void intake_close(struct intake *i)
{
    if (!i)
        return;
    http_close(i->plain);
    http_close(i->tls);
    for (size_t n = 0; n < i->handled_count; n++)
        text_wipe(&i->handled[n].answer.body);
    free(i->noted);
    free(i);
}
