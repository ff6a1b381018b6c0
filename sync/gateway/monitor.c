/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/monitor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/kit/embed.h"
#include "sync/kit/http.h"
#include "sync/kit/json.h"
#include "sync/kit/metrics.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

EMBED_DECLARE(board_html);
EMBED_DECLARE(board_css);

#define CONNECTIONS_MAX 64u
#define TIMEOUT_S 15u
#define BODY_BYTES_MAX 4096u /* Nothing here takes one. */

struct monitor {
    const struct monitor_sources *sources;
    struct http_server *server;
};

static const char *const page_headers[] = {
    "Content-Security-Policy: default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options: nosniff",
    "Referrer-Policy: no-referrer",
    "Cache-Control: no-store",
    NULL,
};

static void answer(struct http_request *r, unsigned status, const char *type, struct slice body)
{
    struct http_answer a = { .status = status, .content_type = type, .body = body, .headers = page_headers };

    http_answer(r, &a);
}

static void answer_text(struct http_request *r, unsigned status, const char *text)
{
    answer(r, status, "text/plain; charset=utf-8", slice_text(text));
}

/* --- The page --- */

static void add_html(struct text *out, struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        switch (text.at[i]) {
        case '<': text_puts(out, "&lt;"); break;
        case '>': text_puts(out, "&gt;"); break;
        case '&': text_puts(out, "&amp;"); break;
        case '"': text_puts(out, "&quot;"); break;
        default: text_add(out, slice_of(text.at + i, 1)); break;
        }
    }
}

static void add_cell(struct text *out, const char *class, struct slice text)
{
    text_printf(out, "<td class=\"%s\">", class);
    add_html(out, text);
    text_puts(out, "</td>");
}

static void add_number(struct text *out, int64_t number, const char *unit)
{
    text_printf(out, "<td class=\"number\">%" PRId64 "%s</td>", number, unit);
}

static int64_t number_at(const struct json *v, const char *path)
{
    return json_integer(json_path(v, path), 0);
}

static void add_branch(struct text *out, const struct json *b)
{
    struct slice state = json_string(json_get(b, "state"));

    text_puts(out, "<tr>");
    add_cell(out, "id", json_string(json_get(b, "id")));
    add_cell(out, (const char *)state.at, state);
    if (json_type(json_get(b, "last_seen_s")) == JSON_INTEGER)
        add_number(out, number_at(b, "last_seen_s"), " s ago");
    else
        text_puts(out, "<td class=\"number\">never</td>");
    add_number(out, number_at(b, "queue.messages"), "");
    add_number(out, number_at(b, "queue.bytes"), "");
    add_number(out, number_at(b, "queue.oldest_age_s"), " s");
    add_number(out, number_at(b, "received"), "");
    add_number(out, number_at(b, "pending_down"), "");
    add_cell(out, "alarm", slice_text(json_bool(json_get(b, "clone_alarm"), false) ? "two boxes?" : ""));
    text_puts(out, "</tr>\n");
}

static void add_courier(struct text *out, const struct json *root)
{
    const struct json *holds = json_path(root, "courier.holds");

    text_puts(out, "<tr>");
    add_number(out, number_at(root, "courier.pending"), "");
    add_number(out, number_at(root, "courier.held"), "");
    add_number(out, number_at(root, "courier.unknown"), "");
    add_number(out, number_at(root, "courier.submitted"), "");
    add_number(out, number_at(root, "courier.failed"), "");
    text_puts(out, "<td class=\"alarm\">");
    for (size_t i = 0; i < json_count(holds); i++) {
        text_puts(out, "held: number ");
        add_html(out, json_string(json_get(json_at(holds, i), "number")));
        text_printf(out, ", code %" PRId64 ": ", number_at(json_at(holds, i), "code"));
        add_html(out, json_string(json_get(json_at(holds, i), "why")));
        text_puts(out, "<br>");
    }
    text_puts(out, "</td></tr>\n");
}

/* The page has two marks, <!--branches--> and <!--courier-->, where rows of its tables go. */
static void fill_page(struct text *out, const struct json *root)
{
    static const char branches_mark[] = "<!--branches-->", courier_mark[] = "<!--courier-->";
    const struct json *branches = json_get(root, "branches");
    const char *page = (const char *)embed_board_html;
    const char *first = strstr(page, branches_mark), *second = strstr(page, courier_mark);

    text_add(out, slice_of(page, (size_t)(first - page)));
    for (size_t i = 0; i < json_count(branches); i++)
        add_branch(out, json_at(branches, i));
    first += sizeof branches_mark - 1;
    text_add(out, slice_of(first, (size_t)(second - first)));
    add_courier(out, root);
    text_puts(out, second + sizeof courier_mark - 1);
}

static void answer_page(const struct monitor *m, struct http_request *r)
{
    struct text status = { 0 }, page = { 0 };
    struct json *root = NULL;

    if (monitor_status(m->sources, &status) == STATUS_OK &&
        json_parse(text_slice(&status), &root, NULL) == STATUS_OK)
        fill_page(&page, root);
    if (!root || page.failed)
        answer_text(r, 503, "out of memory\n");
    else
        answer(r, 200, "text/html; charset=utf-8", text_slice(&page));
    json_free(root);
    text_free(&page);
    text_free(&status);
}

/* --- Metrics --- */

static void one(struct text *out, const char *name, enum metric_type type, const char *help, double value)
{
    metrics_family(out, name, type, help);
    metrics_sample(out, name, NULL, value);
}

static void add_hub_metrics(const struct monitor_sources *s, struct text *out)
{
    struct hub_totals t;
    uint64_t received = 0, down = 0;

    hub_totals(s->hub, &t);
    for (uint32_t i = 1; i <= ledger_branch_count(s->ledger); i++) {
        received += ledger_branch(s->ledger, i)->received;
        for (int lane = 0; lane < LANE_COUNT; lane++)
            down += ledger_branch(s->ledger, i)->down_messages[lane];
    }
    one(out, "zajel_gateway_branches", METRIC_GAUGE, "Branches recorded.", ledger_branch_count(s->ledger));
    one(out, "zajel_gateway_links", METRIC_GAUGE, "Links open.", t.links);
    one(out, "zajel_gateway_links_total", METRIC_COUNTER, "Links opened.", (double)t.links_total);
    one(out, "zajel_gateway_links_refused_total", METRIC_COUNTER, "Links refused.", (double)t.refused_total);
    one(out, "zajel_gateway_link_received_bytes_total", METRIC_COUNTER, "Frame bytes from branches.",
        (double)t.received_bytes);
    one(out, "zajel_gateway_link_sent_bytes_total", METRIC_COUNTER, "Frame bytes to branches.",
        (double)t.sent_bytes);
    one(out, "zajel_gateway_received_total", METRIC_COUNTER, "Messages taken from branches, for ever.",
        (double)received);
    one(out, "zajel_gateway_pending_down", METRIC_GAUGE, "Events that wait for a branch.", (double)down);
}

static void add_courier_metrics(const struct monitor_sources *s, struct text *out)
{
    static const struct {
        enum ledger_counter counter;
        const char *name, *help;
    } counters[] = {
        { LEDGER_SUBMITTED, "zajel_gateway_submitted_total", "Messages taken by WhatsApp." },
        { LEDGER_FAILED, "zajel_gateway_failed_total", "Messages refused and told." },
        { LEDGER_EXPIRED, "zajel_gateway_expired_total",
          "Messages whose deadline passed before they were sent." },
        { LEDGER_UNKNOWN_TOLD, "zajel_gateway_unknown_told_total", "Messages told as unknown." },
        { LEDGER_READ_DROPPED, "zajel_gateway_read_marks_dropped_total", "Read marks given up." },
        { LEDGER_MALFORMED, "zajel_gateway_malformed_total", "Rows of branches that could not be read." },
        { LEDGER_WEBHOOK_EVENTS, "zajel_gateway_webhook_events_total", "Events of webhooks taken." },
        { LEDGER_WEBHOOK_REPEATS, "zajel_gateway_webhook_repeats_total", "Events dropped as repeats." },
        { LEDGER_UNROUTED, "zajel_gateway_unrouted_total", "Events kept without a branch." },
        { LEDGER_ACCOUNT_EVENTS, "zajel_gateway_account_events_total",
          "Events about the account as a whole, kept." },
    };
    struct courier_state state;

    courier_state(s->courier, &state);
    metrics_family(out, "zajel_gateway_pending", METRIC_GAUGE, "Messages that wait for the courier.");
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        char label[32];

        snprintf(label, sizeof label, "lane=\"%s\"", lane_name((enum lane)lane));
        metrics_sample(out, "zajel_gateway_pending", label, (double)state.lanes[lane]);
    }
    one(out, "zajel_gateway_held", METRIC_GAUGE, "Messages held until somebody mends something.",
        (double)state.held);
    one(out, "zajel_gateway_unknown", METRIC_GAUGE, "Messages whose outcome is unknown.",
        (double)state.unknown);
    one(out, "zajel_gateway_in_flight", METRIC_GAUGE, "Requests to WhatsApp under way.", state.in_flight);
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        one(out, counters[i].name, METRIC_COUNTER, counters[i].help,
            (double)ledger_counter(s->ledger, counters[i].counter));
}

static void answer_metrics(const struct monitor *m, struct http_request *r)
{
    const struct monitor_sources *s = m->sources;
    struct webhooks_totals webhooks;
    struct text out = { 0 };

    webhooks_totals(s->webhooks, &webhooks);
    add_hub_metrics(s, &out);
    add_courier_metrics(s, &out);
    one(&out, "zajel_gateway_webhook_posts_total", METRIC_COUNTER, "Webhooks posted to us.",
        (double)webhooks.posts);
    one(&out, "zajel_gateway_webhook_denied_total", METRIC_COUNTER, "Webhooks with a wrong signature.",
        (double)webhooks.denied);
    one(&out, "zajel_gateway_store_bytes", METRIC_GAUGE, "The ledger's size.",
        (double)ledger_used_bytes(s->ledger));
    one(&out, "zajel_gateway_turns_with_work_total", METRIC_COUNTER, "Turns that committed something.",
        (double)(s->turns + ledger_commits(s->ledger)));
    one(&out, "zajel_gateway_data_syncs_total", METRIC_COUNTER, "Data syncs of the ledger.",
        (double)(s->syncs + ledger_syncs(s->ledger)));
    metrics_process(&out);
    if (out.failed)
        answer_text(r, 503, "out of memory\n");
    else
        answer(r, 200, METRICS_CONTENT_TYPE, text_slice(&out));
    text_free(&out);
}

/* --- Requests --- */

static bool allowed(const struct monitor *m, const struct http_request *r)
{
    static const char prefix[] = "Bearer ";
    struct slice token = text_slice(&m->sources->settings->board_token);
    const char *given = http_header(r, "Authorization");

    if (config_is_loopback(m->sources->settings->board.host))
        return true;
    return token.length && given && strncmp(given, prefix, sizeof prefix - 1) == 0 &&
           strlen(given + sizeof prefix - 1) == token.length &&
           seal_equal(given + sizeof prefix - 1, token.at, token.length);
}

static void answer_status(const struct monitor *m, struct http_request *r)
{
    struct text out = { 0 };

    if (monitor_status(m->sources, &out) == STATUS_OK)
        answer(r, 200, "application/json", text_slice(&out));
    else
        answer_text(r, 503, "out of memory\n");
    text_free(&out);
}

static void dispatch(const struct monitor *m, struct http_request *r)
{
    const char *path = http_path(r);

    if (strcmp(path, "/healthz") == 0)
        answer_text(r, 200, "ok\n");
    else if (strcmp(path, "/readyz") == 0)
        answer_text(r, m->sources->accepting ? 200 : 503, m->sources->accepting ? "ready\n" : "no room\n");
    else if (!allowed(m, r))
        answer_text(r, 401, "a bearer token is needed: [board] token_file\n");
    else if (!m->sources->ledger || !m->sources->courier)
        answer_text(r, 503, "not now\n");
    else if (strcmp(path, "/status") == 0)
        answer_status(m, r);
    else if (strcmp(path, "/metrics") == 0)
        answer_metrics(m, r);
    else if (strcmp(path, "/") == 0)
        answer_page(m, r);
    else if (strcmp(path, "/board.css") == 0)
        answer(r, 200, "text/css; charset=utf-8", slice_of(embed_board_css, embed_board_css_size));
    else
        answer_text(r, 404, "not here\n");
}

static void monitor_request(void *owner, struct http_request *r)
{
    const struct monitor *m = owner;

    if (http_malformed(r))
        answer_text(r, 400, http_malformed(r));
    else if (http_too_large(r))
        answer_text(r, 413, "no body is expected\n");
    else if (strcmp(http_method(r), "GET") != 0 && strcmp(http_method(r), "HEAD") != 0)
        answer_text(r, 405, "GET is expected\n");
    else
        dispatch(m, r);
}

int monitor_open(struct monitor **out, struct loop *loop, const struct monitor_sources *sources)
{
    const struct settings_listen *listen = &sources->settings->board;
    struct monitor *m = calloc(1, sizeof *m);
    struct http_options options = {
        .host = listen->host,
        .port = listen->port,
        .certificate_file = listen->certificate_file,
        .key_file = listen->key_file,
        .body_bytes_max = BODY_BYTES_MAX,
        .connections_max = CONNECTIONS_MAX,
        .timeout_s = TIMEOUT_S,
        .request = monitor_request,
        .owner = m,
    };
    int status;

    *out = NULL;
    if (!m)
        return STATUS_NO_MEMORY;
    m->sources = sources;
    if ((status = http_open(&m->server, loop, &options)) != STATUS_OK) {
        free(m);
        return status;
    }
    *out = m;
    return STATUS_OK;
}

void monitor_close(struct monitor *m)
{
    if (!m)
        return;
    http_close(m->server);
    free(m);
}

uint16_t monitor_port(const struct monitor *m)
{
    return http_port(m->server);
}
