/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sandbox/phonepage.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sync/kit/embed.h"
#include "sync/protocol/status.h"
#include "sync/sandbox/bulletin.h"
#include "sync/sandbox/cloud.h"
#include "sync/sandbox/record.h"

EMBED_DECLARE(phone_html);
EMBED_DECLARE(phone_js);
EMBED_DECLARE(phone_css);
EMBED_DECLARE(phone_svg);

#define LIMIT_DEFAULT 1000u
#define LIMIT_MAX 10000u
#define THREAD_MAX 500u /* Messages of one phone, of each direction: more than anybody scrolls. */
#define PHONES_SHOWN 1000u
#define NUMBER_DIGITS_MAX 15u /* E.164 */

/* --- Answers ---------------------------------------------------------------------------------------- */

static const char page_policy[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static const char *const page_headers[] = {
    page_policy, "X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer", "Cache-Control: no-store",
    NULL,
};

static void answer(struct http_request *r, const char *type, struct slice body)
{
    http_answer(r, &(struct http_answer){
                       .status = 200, .content_type = type, .body = body, .headers = page_headers });
}

/* Frees body. */
static void answer_json(struct http_request *r, struct text *body)
{
    if (body->failed)
        http_reset(r);
    else
        answer(r, "application/json; charset=utf-8", text_slice(body));
    text_free(body);
}

static void refuse(struct http_request *r, unsigned http, const char *details)
{
    struct graph_error error;

    graph_error_set(&error, http, 100, "Invalid parameter", "%s", details);
    cloud_refuse(r, &error);
}

/* --- Writing ---------------------------------------------------------------------------------------- */

/* What is no UTF-8 is written as null. */
static void put_string(struct text *out, struct slice text)
{
    struct json *string = json_new_string(text);

    (void)json_write_ascii(string, out);
    json_free(string);
}

static void put_thread(struct text *out, const struct phones_phone *phone, enum phones_kind kind)
{
    const struct phones_message *m = NULL, *at;
    size_t count = 0;
    bool first = true;

    text_puts(out, "[");
    if (phone)
        TAILQ_FOREACH_REVERSE(at, &phone->messages, phones_list, link)
        {
            if (at->kind != kind)
                continue;
            m = at;
            if (++count == THREAD_MAX)
                break;
        }
    for (; m; m = TAILQ_NEXT(m, link)) {
        if (m->kind != kind)
            continue;
        text_puts(out, first ? "" : ",");
        record_write_message(out, m);
        first = false;
    }
    text_puts(out, "]");
}

/* --- Reading ---------------------------------------------------------------------------------------- */

/* A number in the query; otherwise when it is not there. False: it is no number, and the request was refused.
 */
static bool read_query(struct http_request *r, const char *name, uint64_t otherwise, uint64_t *out)
{
    const char *text = http_query(r, name);

    *out = otherwise;
    if (!text)
        return true;
    if (!*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 18) {
        refuse(r, 400, "after and limit must be whole numbers");
        return false;
    }
    *out = strtoull(text, NULL, 10);
    return true;
}

static bool read_range(struct http_request *r, uint64_t *after, uint64_t *limit)
{
    if (!read_query(r, "after", 0, after) || !read_query(r, "limit", LIMIT_DEFAULT, limit))
        return false;
    if (*limit > LIMIT_MAX)
        *limit = LIMIT_MAX;
    return true;
}

/* Parses the body; NULL when it was refused. */
static struct json *read_object(struct http_request *r)
{
    struct json *tree = NULL;

    if (json_parse(http_body(r), &tree, NULL) == STATUS_OK && json_type(tree) == JSON_OBJECT)
        return tree;
    json_free(tree);
    refuse(r, 400, "The body must be a JSON object");
    return NULL;
}

/* --- Phones ----------------------------------------------------------------------------------------- */

static void show_phones(struct sandbox *s, struct http_request *r)
{
    const struct phones_phone *phone = NULL;
    struct text out = { 0 };
    size_t count = 0;

    text_puts(&out, "{\"numbers\":[");
    for (size_t i = 0; i < s->settings->number_count; i++) {
        text_printf(&out, "%s{\"id\":\"%s\",\"display_phone_number\":", i ? "," : "",
                    s->settings->numbers[i].id);
        put_string(&out, slice_text(s->settings->numbers[i].display));
        text_puts(&out, "}");
    }
    text_puts(&out, "],\"phones\":[");
    while (count < PHONES_SHOWN && (phone = phones_next(s->phones, phone))) {
        text_printf(&out, "%s{\"number\":", count++ ? "," : "");
        put_string(&out, slice_text(phone->number));
        text_printf(&out, ",\"received\":%" PRIu64 ",\"typed\":%" PRIu64 ",\"at_ms\":%" PRId64 "}",
                    phone->received, phone->typed, phone->at_ms);
    }
    text_puts(&out, "]}");
    answer_json(r, &out);
}

static void show_phone(struct sandbox *s, struct http_request *r, struct slice number)
{
    const struct phones_phone *phone = phones_phone(s->phones, number);
    struct text out = { 0 };

    text_puts(&out, "{\"number\":");
    put_string(&out, number);
    text_puts(&out, ",\"messages\":");
    put_thread(&out, phone, PHONES_RECEIVED);
    text_puts(&out, ",\"typed\":");
    put_thread(&out, phone, PHONES_TYPED);
    text_puts(&out, "}");
    answer_json(r, &out);
}

/* {"text":"..."} becomes a message of type text. False: neither a text nor a message. */
static bool complete_message(struct json *message)
{
    struct json *text = json_get(message, "text"), *inner;
    int status;

    if (json_is_string(text)) {
        inner = json_new_object();
        status = json_set(inner, "body", json_copy(text));
        if (status == STATUS_OK) {
            status = json_set(message, "text", inner);
            inner = NULL;
        }
        json_free(inner);
        return status == STATUS_OK &&
               json_set(message, "type", json_new_string(slice_text("text"))) == STATUS_OK;
    }
    return json_string(json_get(message, "type")).length > 0;
}

static void type_on_phone(struct sandbox *s, struct http_request *r, struct slice number)
{
    struct json *message = read_object(r), *name, *number_id;
    char id[WAMID_TEXT_MAX];
    struct text out = { 0 };
    int status;

    if (!message)
        return;
    if (number.length > NUMBER_DIGITS_MAX || strspn((const char *)number.at, "0123456789") < number.length) {
        refuse(r, 400, "The number in the path must be 1 to 15 digits");
        json_free(message);
        return;
    }
    name = json_copy(json_get(message, "name"));
    number_id = json_copy(json_get(message, "phone_number_id"));
    (void)json_remove(message, "name");
    (void)json_remove(message, "phone_number_id");
    if (!complete_message(message)) {
        refuse(r, 400, "The body must be {\"text\":\"...\"} or a message object with its type");
        json_free(message);
    } else {
        status = sandbox_type(s, number, json_is_string(name) ? (const char *)json_string(name).at : NULL,
                              json_is_string(number_id) ? (const char *)json_string(number_id).at : NULL,
                              message, id);
        if (status == STATUS_OK) {
            text_printf(&out, "{\"id\":\"%s\"}", id);
            answer_json(r, &out);
        } else if (status == STATUS_INVALID) {
            refuse(r, 400, "phone_number_id must be one of the configured numbers");
        } else {
            refuse(r, 503, "No room for more webhooks; try later");
        }
    }
    json_free(name);
    json_free(number_id);
}

static void show_received(struct sandbox *s, struct http_request *r)
{
    uint64_t after, limit, count = 0, n;
    struct text out = { 0 };

    if (!read_range(r, &after, &limit))
        return;
    n = after + 1 > phones_first(s->phones) ? after + 1 : phones_first(s->phones);
    text_puts(&out, "{\"messages\":[");
    for (; n <= phones_last(s->phones) && count < limit; n++) {
        const struct phones_message *m = phones_find(s->phones, n);

        if (m->kind == PHONES_TYPED)
            continue;
        text_puts(&out, count++ ? "," : "");
        record_write_message(&out, m);
    }
    text_printf(&out, "],\"last\":%" PRIu64 ",\"more\":%s}", n - 1,
                n <= phones_last(s->phones) ? "true" : "false");
    answer_json(r, &out);
}

/* --- Webhooks --------------------------------------------------------------------------------------- */

static void post_raw(struct sandbox *s, struct http_request *r)
{
    struct json *tree = NULL;
    int status;

    if (!http_body(r).length) {
        refuse(r, 400, "The body must be a webhook's");
        return;
    }
    /* What is no JSON may be posted too: tests want to see it refused. */
    (void)json_parse(http_body(r), &tree, NULL);
    status = postman_post(s->postman, bulletin_customer(tree), http_body(r));
    json_free(tree);
    if (status == STATUS_OK)
        answer(r, "application/json; charset=utf-8", slice_text("{\"queued\":true}"));
    else
        refuse(r, 503, "Too many webhooks wait already; try later");
}

static void show_hook(struct sandbox *s, struct http_request *r)
{
    uint64_t after, limit, count = 0, n, last = s->sample ? sample_last(s->sample) : 0;
    struct text out = { 0 };

    if (!read_range(r, &after, &limit))
        return;
    n = after + 1;
    if (s->sample && n < sample_first(s->sample))
        n = sample_first(s->sample);
    text_puts(&out, "{\"webhooks\":[");
    for (; n <= last && count < limit; n++) {
        text_puts(&out, count++ ? "," : "");
        record_write_webhook(&out, sample_find(s->sample, n));
    }
    text_printf(&out, "],\"last\":%" PRIu64 ",\"newest\":%" PRIu64 ",\"more\":%s}", n - 1, last,
                n <= last ? "true" : "false");
    answer_json(r, &out);
}

/* --- Switches --------------------------------------------------------------------------------------- */

static void show_link(struct sandbox *s, struct http_request *r)
{
    struct text out = { 0 };

    if (s->linkswitch)
        linkswitch_write(s->linkswitch, &out);
    else
        text_puts(&out, "{\"state\":\"off\"}");
    answer_json(r, &out);
}

static void set_link(struct sandbox *s, struct http_request *r)
{
    struct json *request = read_object(r);
    enum linkswitch_state state;

    if (!request)
        return;
    if (!s->linkswitch) {
        refuse(r, 400, "There is no link switch; [link] listen is off");
    } else if (!linkswitch_read_state(json_string(json_get(request, "state")), &state)) {
        refuse(r, 400, "state must be up, 2g or down");
    } else {
        linkswitch_set(s->linkswitch, state);
        show_link(s, r);
    }
    json_free(request);
}

static void show_control(struct sandbox *s, struct http_request *r)
{
    struct postman_counts counts = postman_counts(s->postman);
    struct text out = { 0 };

    text_puts(&out, "{\"faults\":");
    faults_write(&s->faults, &out);
    text_printf(&out, ",\"webhooks\":{\"waiting\":%zu,\"posted\":%" PRIu64 ",\"refused\":%" PRIu64 ",",
                counts.waiting, counts.posted, counts.refused);
    text_printf(&out, "\"dropped\":%" PRIu64 ",\"verified\":%s},", counts.dropped,
                counts.verified ? "true" : "false");
    text_printf(&out, "\"receipts_waiting\":%zu,\"hung\":%zu}", receipts_waiting(s->receipts), s->hung_count);
    answer_json(r, &out);
}

static void set_control(struct sandbox *s, struct http_request *r)
{
    struct json *request = read_object(r);
    const char *why = "do must be stall, reset, half_close or half_close_target";
    enum linkswitch_blow blow;

    if (!request)
        return;
    if (slice_is(json_string(json_get(request, "fault")), "link")) {
        if (!s->linkswitch || !linkswitch_read_blow(json_string(json_get(request, "do")), &blow)) {
            refuse(r, 400, s->linkswitch ? why : "There is no link switch; [link] listen is off");
        } else {
            linkswitch_strike(s->linkswitch, blow);
            show_control(s, r);
        }
    } else if (faults_set(&s->faults, request, &why) == STATUS_OK) {
        if (slice_is(json_string(json_get(request, "fault")), "none"))
            cloud_release(s);
        sandbox_apply_faults(s);
        show_control(s, r);
    } else {
        refuse(r, 400, why);
    }
    json_free(request);
}

/* --- Paths ------------------------------------------------------------------------------------------ */

static void show_html(struct sandbox *s, struct http_request *r)
{
    (void)s;
    answer(r, "text/html; charset=utf-8", slice_of(embed_phone_html, embed_phone_html_size));
}

static void show_js(struct sandbox *s, struct http_request *r)
{
    (void)s;
    answer(r, "text/javascript; charset=utf-8", slice_of(embed_phone_js, embed_phone_js_size));
}

static void show_css(struct sandbox *s, struct http_request *r)
{
    (void)s;
    answer(r, "text/css; charset=utf-8", slice_of(embed_phone_css, embed_phone_css_size));
}

static void show_icon(struct sandbox *s, struct http_request *r)
{
    (void)s;
    answer(r, "image/svg+xml", slice_of(embed_phone_svg, embed_phone_svg_size));
}

static const struct {
    const char *path;
    void (*get)(struct sandbox *s, struct http_request *r);
    void (*post)(struct sandbox *s, struct http_request *r);
} paths[] = {
    { "/", show_html, NULL },           { "/phone.js", show_js, NULL },
    { "/phone.css", show_css, NULL },   { "/phone.svg", show_icon, NULL },
    { "/phones", show_phones, NULL },   { "/received", show_received, NULL },
    { "/webhook-raw", NULL, post_raw }, { "/hook/received", show_hook, NULL },
    { "/link", show_link, set_link },   { "/control", show_control, set_control },
};

/* "/phone/NUMBER/messages" */
static bool phone_path(const char *path, struct slice *number)
{
    static const char before[] = "/phone/", after[] = "/messages";
    size_t length = strlen(path);

    if (strncmp(path, before, sizeof before - 1) != 0 || length <= sizeof before - 1 + sizeof after - 1 ||
        strcmp(path + length - (sizeof after - 1), after) != 0)
        return false;
    *number = slice_of(path + sizeof before - 1, length - (sizeof before - 1) - (sizeof after - 1));
    return true;
}

/* A page that somebody is lured to must not work the switches: browsers name its origin. */
static bool is_foreign(const struct http_request *r)
{
    const char *origin = http_header(r, "Origin"), *host = http_header(r, "Host");

    return origin && (!host || strncmp(origin, "http://", 7) != 0 || strcmp(origin + 7, host) != 0);
}

static void dispatch(struct sandbox *s, struct http_request *r,
                     void (*get)(struct sandbox *, struct http_request *),
                     void (*post)(struct sandbox *, struct http_request *))
{
    const char *method = http_method(r);
    bool is_get = strcmp(method, "GET") == 0, is_post = strcmp(method, "POST") == 0;

    if (http_malformed(r))
        refuse(r, 400, "The request's head is malformed");
    else if (http_too_large(r))
        refuse(r, 413, "The body is too large");
    else if (is_post && is_foreign(r))
        refuse(r, 403, "Pages of other origins may not do that");
    else if (is_get && get)
        get(s, r);
    else if (is_post && post)
        post(s, r);
    else
        refuse(r, 405, "This path does not take that method");
}

bool phonepage_handle(struct sandbox *s, struct http_request *r)
{
    struct slice number;

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (strcmp(http_path(r), paths[i].path) == 0) {
            dispatch(s, r, paths[i].get, paths[i].post);
            return true;
        }
    if (!phone_path(http_path(r), &number))
        return false;
    if (http_malformed(r) || http_too_large(r) || (strcmp(http_method(r), "POST") == 0 && is_foreign(r)))
        dispatch(s, r, NULL, NULL);
    else if (strcmp(http_method(r), "POST") == 0)
        type_on_phone(s, r, number);
    else
        show_phone(s, r, number);
    return true;
}
