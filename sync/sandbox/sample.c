/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sandbox/sample.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sync/kit/clock.h"
#include "sync/kit/http.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"
#include "sync/sandbox/record.h"

#define BODY_BYTES_MAX (3u << 20)   /* Meta's largest webhook. */
#define KEPT_BYTES_MAX (256u << 20) /* Of all bodies together. */
#define CONNECTIONS_MAX 64u
#define TIMEOUT_S 120u

struct sample {
    struct http_server *http;
    struct slice secret, verify_token;
    struct sample_webhook **slots; /* n % keep; the body lies behind each. */
    size_t keep, bytes;
    uint64_t first, next;
    struct record *record;
    bool down;
};

static void forget_oldest(struct sample *s)
{
    struct sample_webhook **slot = &s->slots[s->first % s->keep];

    s->bytes -= (*slot)->body.length;
    free(*slot);
    *slot = NULL;
    s->first++;
}

/* NULL: no memory. */
static const struct sample_webhook *keep(struct sample *s, struct slice body, int64_t at_ms,
                                         bool signature_ok)
{
    struct sample_webhook *w = malloc(sizeof *w + body.length);

    if (!w)
        return NULL;
    while (s->first < s->next && (s->next - s->first >= s->keep || s->bytes + body.length > KEPT_BYTES_MAX))
        forget_oldest(s);
    if (body.length)
        memcpy(w + 1, body.at, body.length);
    *w = (struct sample_webhook){ s->next++, at_ms, signature_ok, slice_of(w + 1, body.length) };
    s->slots[w->n % s->keep] = w;
    s->bytes += body.length;
    return w;
}

static void recall(void *owner, const struct json *line)
{
    (void)keep(owner, json_string(json_get(line, "body")), json_integer(json_get(line, "at_ms"), 0),
               json_bool(json_get(line, "signature_ok"), false));
}

static bool is_signed(const struct sample *s, const struct http_request *r)
{
    static const char prefix[] = "sha256=";
    const char *signature = http_header(r, "X-Hub-Signature-256");
    uint8_t told[SEAL_HASH_BYTES], ours[SEAL_HASH_BYTES];

    return signature && strncmp(signature, prefix, sizeof prefix - 1) == 0 &&
           text_unhex(slice_text(signature + sizeof prefix - 1), told, sizeof told) == STATUS_OK &&
           seal_hmac_sha256(s->secret, http_body(r), ours) == STATUS_OK &&
           seal_equal(told, ours, sizeof ours);
}

static void answer(struct http_request *r, unsigned status, const char *body)
{
    http_answer(r, &(struct http_answer){ .status = status,
                                          .content_type = "text/plain; charset=utf-8",
                                          .body = slice_text(body) });
}

static void handshake(const struct sample *s, struct http_request *r)
{
    const char *mode = http_query(r, "hub.mode"), *token = http_query(r, "hub.verify_token");
    const char *challenge = http_query(r, "hub.challenge");
    bool right =
        token && (!s->verify_token.length || (strlen(token) == s->verify_token.length &&
                                              seal_equal(token, s->verify_token.at, s->verify_token.length)));

    if (mode && strcmp(mode, "subscribe") == 0 && right && challenge)
        answer(r, 200, challenge);
    else
        answer(r, 403, "The verify token is not ours.\n");
}

static void take(struct sample *s, struct http_request *r)
{
    bool signature_ok = is_signed(s, r);
    const struct sample_webhook *w = keep(s, http_body(r), clock_wall_ms(), signature_ok);
    struct text line = { 0 };

    if (w)
        record_write_webhook(&line, w);
    if (!w || line.failed || record_add(s->record, text_slice(&line)) != STATUS_OK)
        answer(r, 503, "It cannot be kept.\n");
    else if (!signature_ok)
        answer(r, 401, "X-Hub-Signature-256 is not right for this body.\n");
    else
        answer(r, 200, "");
    text_free(&line);
}

static void handle(void *owner, struct http_request *r)
{
    struct sample *s = owner;

    if (s->down)
        answer(r, 503, "Down, as POST /control asked for.\n");
    else if (http_malformed(r))
        answer(r, 400, "The request's head is malformed.\n");
    else if (http_too_large(r))
        answer(r, 413, "More than 3 MiB.\n");
    else if (strcmp(http_method(r), "GET") == 0)
        handshake(s, r);
    else if (strcmp(http_method(r), "POST") == 0)
        take(s, r);
    else
        answer(r, 405, "GET or POST.\n");
}

int sample_open(struct sample **out, struct loop *l, const struct sandbox_settings *settings)
{
    struct sample *s = calloc(1, sizeof *s);
    struct http_options options = {
        .host = settings->hook.host,
        .port = settings->hook.port,
        .body_bytes_max = BODY_BYTES_MAX,
        .connections_max = CONNECTIONS_MAX,
        .timeout_s = TIMEOUT_S,
        .request = handle,
        .owner = s,
    };
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    assert(settings->hook_keep > 0);
    if (!s)
        return status;
    s->secret = text_slice(&settings->hook_secret);
    s->verify_token = text_slice(&settings->hook_verify_token);
    s->first = s->next = 1;
    s->keep = settings->hook_keep;
    s->slots = calloc(s->keep, sizeof(struct sample_webhook *));
    if (s->slots)
        status = record_open(&s->record, settings->hook_record_file, recall, s);
    if (status == STATUS_OK)
        status = http_open(&s->http, l, &options);
    if (status != STATUS_OK) {
        sample_close(s);
        return status;
    }
    *out = s;
    return STATUS_OK;
}

void sample_close(struct sample *s)
{
    if (!s)
        return;
    http_close(s->http);
    while (s->slots && s->first < s->next)
        forget_oldest(s);
    free(s->slots);
    record_close(s->record);
    free(s);
}

uint16_t sample_port(const struct sample *s)
{
    return http_port(s->http);
}

void sample_set_down(struct sample *s, bool down)
{
    s->down = down;
}

uint64_t sample_first(const struct sample *s)
{
    return s->first;
}

uint64_t sample_last(const struct sample *s)
{
    return s->next - 1;
}

const struct sample_webhook *sample_find(const struct sample *s, uint64_t n)
{
    return n >= s->first && n < s->next ? s->slots[n % s->keep] : NULL;
}
