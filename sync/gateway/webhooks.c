/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/webhooks.h"

#include <stdlib.h>
#include <string.h>

#include "sync/gateway/delivery.h"
#include "sync/gateway/webhook_signature.h"
#include "sync/kit/http.h"
#include "sync/kit/log.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define BODY_BYTES_MAX (3u * 1024u * 1024u) /* WhatsApp's own limit (whatsapp-cloud-api.md section 3). */
#define CONNECTIONS_MAX 256u
#define TIMEOUT_S 30u
#define POSTS_A_TURN 64u /* With up to a thousand updates each, a commit must end some time. */
#define BYTES_A_TURN (4u * 1024u * 1024u)
#define DENIALS_LOGGED_MS 60000u

struct post {
    struct post *next;
    struct http_request *request;
    unsigned status; /* 0: waits for its turn. */
};

struct webhooks {
    struct loop *loop;
    const struct settings *settings;
    struct http_server *server;
    struct post *first, **end;
    struct webhooks_totals totals;
    uint64_t denial_logged_ms;
};

static void answer(struct http_request *r, unsigned status, const char *text)
{
    struct http_answer a = { .status = status,
                             .content_type = "text/plain; charset=utf-8",
                             .body = slice_text(text) };

    http_answer(r, &a);
}

/* The handshake: WhatsApp asks whether we know the token, and wants its challenge back. */
static void verify(struct webhooks *w, struct http_request *r)
{
    const char *mode = http_query(r, "hub.mode"), *token = http_query(r, "hub.verify_token");
    const char *challenge = http_query(r, "hub.challenge");
    struct slice expected = text_slice(&w->settings->verify_token);
    bool known = token && strlen(token) == expected.length && seal_equal(token, expected.at, expected.length);

    if (!mode || strcmp(mode, "subscribe") != 0 || !challenge)
        answer(r, 400, "hub.mode=subscribe, hub.verify_token and hub.challenge are expected\n");
    else if (!known)
        answer(r, 403, "wrong hub.verify_token\n");
    else
        answer(r, 200, challenge);
}

static void deny(struct webhooks *w, struct http_request *r)
{
    uint64_t now_ms = loop_now_ms();

    w->totals.denied++;
    if (!w->denial_logged_ms || now_ms - w->denial_logged_ms >= DENIALS_LOGGED_MS) {
        w->denial_logged_ms = now_ms;
        log_event(LOG_LEVEL_WARNING, "webhook_denied", "peer=%s", http_peer(r));
    }
    answer(r, 401, "wrong signature\n");
}

static void receive(struct webhooks *w, struct http_request *r)
{
    struct post *post;
    int status = webhook_signature_check(http_header(r, "X-Hub-Signature-256"),
                                         text_slice(&w->settings->app_secret), http_body(r));

    w->totals.posts++;
    if (status == STATUS_DENIED) {
        deny(w, r);
        return;
    }
    if (status != STATUS_OK || !(post = calloc(1, sizeof *post))) {
        answer(r, 503, "out of memory\n");
        return;
    }
    post->request = r;
    *w->end = post;
    w->end = &post->next;
    loop_note(w->loop);
}

static void webhooks_request(void *owner, struct http_request *r)
{
    struct webhooks *w = owner;

    if (http_malformed(r))
        answer(r, 400, http_malformed(r));
    else if (strcmp(http_path(r), "/webhook") != 0)
        answer(r, 404, "only /webhook is here\n");
    else if (strcmp(http_method(r), "GET") == 0)
        verify(w, r);
    else if (strcmp(http_method(r), "POST") != 0)
        answer(r, 405, "GET and POST are expected\n");
    else if (http_too_large(r))
        answer(r, 413, "larger than any webhook of WhatsApp's\n");
    else
        receive(w, r);
}

int webhooks_open(struct webhooks **out, struct loop *loop, const struct settings *settings)
{
    struct webhooks *w = calloc(1, sizeof *w);
    struct http_options options = {
        .host = settings->webhook.host,
        .port = settings->webhook.port,
        .certificate_file = settings->webhook.certificate_file,
        .key_file = settings->webhook.key_file,
        .body_bytes_max = BODY_BYTES_MAX,
        .connections_max = CONNECTIONS_MAX,
        .per_address_max = settings->webhooks_per_address_max,
        .timeout_s = TIMEOUT_S,
        .request = webhooks_request,
        .owner = w,
    };
    int status;

    *out = NULL;
    if (!w)
        return STATUS_NO_MEMORY;
    w->loop = loop;
    w->settings = settings;
    w->end = &w->first;
    if ((status = http_open(&w->server, loop, &options)) != STATUS_OK) {
        free(w);
        return status;
    }
    *out = w;
    return STATUS_OK;
}

void webhooks_close(struct webhooks *w)
{
    if (!w)
        return;
    http_close(w->server);
    while (w->first) {
        struct post *post = w->first;

        w->first = post->next;
        free(post);
    }
    free(w);
}

uint16_t webhooks_port(const struct webhooks *w)
{
    return http_port(w->server);
}

static int take_post(struct delivery *d, const struct post *post)
{
    int status = ledger_mark(d->ledger);

    if (status == STATUS_OK && (status = delivery_take(d, http_body(post->request))) == STATUS_OK)
        return ledger_keep(d->ledger);
    if (status != STATUS_OK) {
        ledger_undo(d->ledger);
        log_event(LOG_LEVEL_ERROR, "webhook_failed", "why=%s", status_name(status));
    }
    return status;
}

void webhooks_take(struct webhooks *w, struct ledger *ledger, struct courier *courier, uint64_t now_ms,
                   int64_t now_s)
{
    struct delivery d = { .ledger = ledger, .courier = courier, .settings = w->settings, .now_s = now_s };
    size_t bytes = 0;
    unsigned posts = 0;

    for (struct post *post = w->first; post; post = post->next) {
        if (posts++ == POSTS_A_TURN || bytes > BYTES_A_TURN) {
            loop_note(w->loop);
            break;
        }
        bytes += http_body(post->request).length;
        courier_heard_webhook(courier, now_ms);
        post->status = take_post(&d, post) == STATUS_OK ? 200 : 503;
    }
}

void webhooks_committed(struct webhooks *w, bool committed)
{
    while (w->first && w->first->status) {
        struct post *post = w->first;
        unsigned status = committed ? post->status : 503;

        if (status != 200)
            w->totals.failed++;
        answer(post->request, status, status == 200 ? "ok\n" : "not taken, come again\n");
        w->first = post->next;
        if (!w->first)
            w->end = &w->first;
        free(post);
    }
}

void webhooks_totals(const struct webhooks *w, struct webhooks_totals *out)
{
    *out = w->totals;
}
