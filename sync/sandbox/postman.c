/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sandbox/postman.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "sync/kit/log.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define WALKS 16u          /* So many posts at once; keys are spread over them. */
#define TIMEOUT_MS 10000u  /* Meta's own is not published; a gateway that takes longer is in trouble. */
#define RETRY_MS_MIN 1000u /* Doubling to ... */
#define RETRY_MS_MAX 60000u
#define REORDER_MS 2000u   /* How long one is held for another to overtake it. */
#define HANDSHAKE_MS 3000u /* Between tries. */
#define CHALLENGE "1158201444"
#define ANSWER_BYTES_MAX 256u

struct letter {
    TAILQ_ENTRY(letter) link;
    struct slice body; /* Behind this struct. */
};

/* One postman's walk: the webhooks of some keys, one after the other. */
struct walk {
    struct postman *postman;
    TAILQ_HEAD(, letter) letters;
    struct letter *held; /* To be overtaken. */
    struct fetch *fetch;
    struct loop_timer retry, overtake;
    uint64_t retry_ms;
    bool resting; /* Until the retry timer. */
};

struct postman {
    struct postman_options options;
    struct postman_faults faults;
    struct postman_counts counts;
    struct walk walks[WALKS];
    struct fetch *handshake;
    struct loop_timer handshake_timer;
    bool told; /* That posting fails: said once, until it works again. */
};

/* --- Posting ---------------------------------------------------------------------------------------- */

static void walk_go(struct walk *w);

static void walk_rest(struct walk *w)
{
    w->resting = true;
    loop_timer_set(&w->retry, loop_now_ms() + w->retry_ms);
    w->retry_ms = w->retry_ms * 2 > RETRY_MS_MAX ? RETRY_MS_MAX : w->retry_ms * 2;
}

static void walk_done(void *owner, struct fetch *fetch, const struct fetch_result *result)
{
    struct walk *w = owner;
    struct postman *p = w->postman;
    struct letter *letter = TAILQ_FIRST(&w->letters);
    char quoted[160];

    (void)fetch;
    w->fetch = NULL;
    if (result->outcome == FETCH_ANSWERED && result->status == 200) {
        TAILQ_REMOVE(&w->letters, letter, link);
        free(letter);
        p->counts.waiting--;
        p->counts.posted++;
        p->told = false;
        w->retry_ms = RETRY_MS_MIN;
        walk_go(w);
        return;
    }
    p->counts.refused++;
    if (!p->told)
        log_event(LOG_LEVEL_WARNING, "webhook_refused", "status=%ld why=%s", result->status,
                  log_quote(slice_text(result->why), quoted, sizeof quoted));
    p->told = true;
    walk_rest(w);
}

static void walk_go(struct walk *w)
{
    struct postman *p = w->postman;
    struct letter *letter = TAILQ_FIRST(&w->letters);
    uint8_t mac[SEAL_HASH_BYTES];
    char signature[64 + 2 * SEAL_HASH_BYTES] = "X-Hub-Signature-256: sha256=";
    const char *const headers[] = { "Content-Type: application/json", "User-Agent: zajel-sandbox", signature,
                                    NULL };
    struct fetch_request request = {
        .method = "POST",
        .url = p->options.url,
        .headers = headers,
        .timeout_ms = TIMEOUT_MS,
        .body_bytes_max = ANSWER_BYTES_MAX,
        .done = walk_done,
        .owner = w,
    };

    if (!letter || w->fetch || w->resting || p->faults.outage)
        return;
    request.body = letter->body;
    if (seal_hmac_sha256(p->options.app_secret, letter->body, mac) != STATUS_OK) {
        walk_rest(w);
        return;
    }
    text_hex(slice_of(mac, sizeof mac), signature + strlen(signature));
    if (fetch_start(p->options.fetcher, &request, &w->fetch) != STATUS_OK) {
        w->fetch = NULL;
        walk_rest(w);
    }
}

static void walk_rested(void *owner)
{
    struct walk *w = owner;

    w->resting = false;
    walk_go(w);
}

static void walk_release(void *owner)
{
    struct walk *w = owner;

    loop_timer_set(&w->overtake, UINT64_MAX);
    if (w->held)
        TAILQ_INSERT_TAIL(&w->letters, w->held, link);
    w->held = NULL;
    walk_go(w);
}

static int walk_put(struct walk *w, struct slice body)
{
    struct postman *p = w->postman;
    struct letter *letter;

    if (p->counts.waiting >= p->options.waiting_max) {
        p->counts.dropped++;
        return STATUS_FULL;
    }
    letter = malloc(sizeof *letter + body.length);
    if (!letter)
        return STATUS_NO_MEMORY;
    memcpy(letter + 1, body.at, body.length);
    letter->body = slice_of(letter + 1, body.length);
    p->counts.waiting++;
    if (p->faults.reordered && !w->held) {
        w->held = letter;
        loop_timer_set(&w->overtake, loop_now_ms() + REORDER_MS);
        return STATUS_OK;
    }
    TAILQ_INSERT_TAIL(&w->letters, letter, link);
    walk_release(w);
    return STATUS_OK;
}

int postman_post(struct postman *p, struct slice key, struct slice body)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    struct walk *w;
    int status;

    if (!p->options.url || !body.length) {
        p->counts.dropped++;
        return STATUS_OK;
    }
    for (size_t i = 0; i < key.length; i++)
        hash = (hash ^ key.at[i]) * 16777619u;
    w = &p->walks[(hash ^ hash >> 16) % WALKS];
    status = walk_put(w, body);
    if (status == STATUS_OK && p->faults.duplicated)
        status = walk_put(w, body);
    return status;
}

void postman_set_faults(struct postman *p, const struct postman_faults *faults)
{
    p->faults = *faults;
    for (size_t i = 0; i < WALKS; i++) {
        struct walk *w = &p->walks[i];

        if (!faults->reordered)
            walk_release(w);
        /* Whoever ends an outage wants to see what was held at once. */
        w->retry_ms = RETRY_MS_MIN;
        w->resting = false;
        loop_timer_set(&w->retry, UINT64_MAX);
        walk_go(w);
    }
}

/* --- The handshake ---------------------------------------------------------------------------------- */

static void handshake_done(void *owner, struct fetch *fetch, const struct fetch_result *result)
{
    struct postman *p = owner;

    (void)fetch;
    p->handshake = NULL;
    p->counts.verified =
        result->outcome == FETCH_ANSWERED && result->status == 200 && slice_is(result->body, CHALLENGE);
    if (p->counts.verified)
        log_event(LOG_LEVEL_INFO, "webhook_verified", "status=%ld", result->status);
    else
        loop_timer_set(&p->handshake_timer, loop_now_ms() + HANDSHAKE_MS);
}

/* Tokens are letters and digits as a rule; anything else is escaped. */
static void add_escaped(struct text *url, struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        char c = (char)text.at[i];

        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
            c == '_')
            text_add(url, slice_of(&c, 1));
        else
            text_printf(url, "%%%02X", text.at[i]);
    }
}

static void handshake_try(void *owner)
{
    struct postman *p = owner;
    struct text url = { 0 };
    struct fetch_request request = {
        .method = "GET",
        .timeout_ms = TIMEOUT_MS,
        .body_bytes_max = ANSWER_BYTES_MAX,
        .done = handshake_done,
        .owner = p,
    };

    text_printf(&url, "%s%chub.mode=subscribe&hub.challenge=" CHALLENGE "&hub.verify_token=", p->options.url,
                strchr(p->options.url, '?') ? '&' : '?');
    add_escaped(&url, p->options.verify_token);
    request.url = url.at;
    if (url.failed || fetch_start(p->options.fetcher, &request, &p->handshake) != STATUS_OK) {
        p->handshake = NULL;
        loop_timer_set(&p->handshake_timer, loop_now_ms() + HANDSHAKE_MS);
    }
    text_wipe(&url);
}

/* --- Opening and closing ---------------------------------------------------------------------------- */

static int walk_open(struct walk *w, struct postman *p)
{
    int status;

    w->postman = p;
    w->retry_ms = RETRY_MS_MIN;
    status = loop_timer_open(&w->retry, p->options.loop, walk_rested, w);
    return status == STATUS_OK ? loop_timer_open(&w->overtake, p->options.loop, walk_release, w) : status;
}

int postman_open(struct postman **out, const struct postman_options *options)
{
    struct postman *p = calloc(1, sizeof *p);
    int status = STATUS_OK;

    *out = NULL;
    if (!p)
        return STATUS_NO_MEMORY;
    p->options = *options;
    for (size_t i = 0; i < WALKS; i++)
        TAILQ_INIT(&p->walks[i].letters);
    for (size_t i = 0; status == STATUS_OK && i < WALKS; i++)
        status = walk_open(&p->walks[i], p);
    if (status == STATUS_OK)
        status = loop_timer_open(&p->handshake_timer, options->loop, handshake_try, p);
    if (status != STATUS_OK) {
        postman_close(p);
        return status;
    }
    if (options->url && options->verify_token.length)
        loop_timer_set(&p->handshake_timer, loop_now_ms());
    *out = p;
    return STATUS_OK;
}

static void walk_close(struct walk *w)
{
    struct letter *letter;

    if (w->fetch)
        fetch_cancel(w->fetch);
    while ((letter = TAILQ_FIRST(&w->letters))) {
        TAILQ_REMOVE(&w->letters, letter, link);
        free(letter);
    }
    free(w->held);
    loop_timer_close(&w->retry);
    loop_timer_close(&w->overtake);
}

void postman_close(struct postman *p)
{
    if (!p)
        return;
    if (p->handshake)
        fetch_cancel(p->handshake);
    loop_timer_close(&p->handshake_timer);
    for (size_t i = 0; i < WALKS; i++)
        walk_close(&p->walks[i]);
    free(p);
}

struct postman_counts postman_counts(const struct postman *p)
{
    return p->counts;
}
