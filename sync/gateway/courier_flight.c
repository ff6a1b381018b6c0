/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/courier_own.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/gateway/body.h"
#include "sync/gateway/tell.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

#define ANSWER_BYTES_MAX \
    65536u /* WhatsApp's answers are below 1 KB; a proxy's page may be longer and is no answer. */
#define TARGET_LOOK_MS 500u        /* How often a waiting reply looks for its target, and ... */
#define TARGET_LOOK_ASIDE_MS 5000u /* ... when it has been overtaken. */
#define TARGET_OVERTAKEN_MS 30000u /* Design section 4, "Waiting". */
#define TYPING_STALE_S 25          /* WhatsApp shows it no longer (whatsapp-cloud-api.md section 1). */
#define TRY_AGAIN_MS 1000u         /* After a trouble of our own. */

/* --- Callbacks: copy and note --- */

static void flight_note(struct flight *f)
{
    f->noted = true;
    f->courier->news = true;
    loop_note(f->courier->loop);
}

static void flight_ready(void *owner, struct fetch *fetch)
{
    struct flight *f = owner;

    (void)fetch;
    f->wants_release = true;
    flight_note(f);
}

static void flight_done(void *owner, struct fetch *fetch, const struct fetch_result *result)
{
    struct flight *f = owner;

    (void)fetch;
    f->fetch = NULL;
    f->done = true;
    f->outcome = result->outcome;
    f->status = result->status;
    text_add(&f->body, result->body);
    f->retry_after_s = result->retry_after ? strtoull(result->retry_after, NULL, 10) : 0;
    snprintf(f->why, sizeof f->why, "%s", result->why ? result->why : "");
    flight_note(f);
}

void courier_flight_end(struct courier *c, struct flight *f)
{
    if (f->fetch)
        fetch_cancel(f->fetch);
    f->fetch = NULL;
    if (f->job)
        f->job->flight = NULL;
    f->job = NULL;
    if (!f->ended)
        c->in_flight--;
    f->ended = true;
}

void courier_flight_free(struct courier *c, struct flight *f)
{
    struct flight **at = &c->flights;

    courier_flight_end(c, f);
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    text_wipe(&f->body);
    explicit_bzero(f->recipient, sizeof f->recipient);
    free(f);
}

/* --- What it refers to --- */

/* The worst comes last. */
enum target { TARGET_NONE, TARGET_KNOWN, TARGET_WAIT, TARGET_GONE, TARGET_TROUBLE };

/* Whether a message of ours may still come to have an id of Meta's. */
static enum target target_pending(struct courier *c, const struct message_id *target)
{
    uint64_t mark[LANE_COUNT];

    if (courier_find(c, target))
        return TARGET_WAIT;
    if (ledger_is_own_epoch(c->ledger, target->epoch))
        return TARGET_GONE;
    if (ledger_marks(c->ledger, target->branch, target->epoch, mark) != STATUS_OK)
        return TARGET_TROUBLE;
    return mark[target->lane] < target->seq ? TARGET_WAIT : TARGET_GONE;
}

static enum target find_target(struct courier *c, const struct job *job, struct slice refers_to,
                               struct text *meta)
{
    struct message_id target;
    int status;

    /* What is not ours, or another branch's, passes as it is. */
    if (message_id_parse(refers_to, &target) != STATUS_OK || target.branch != job->of.id.branch)
        return TARGET_NONE;
    status = ledger_id_to_meta(c->ledger, &target, meta);
    if (status == STATUS_OK)
        return TARGET_KNOWN;
    return status == STATUS_END ? target_pending(c, &target) : TARGET_TROUBLE;
}

static void wait_for_target(struct courier *c, struct job *job, uint64_t now_ms)
{
    bool overtaken;

    if (!job->waits_since_ms)
        job->waits_since_ms = now_ms;
    overtaken = now_ms - job->waits_since_ms >= TARGET_OVERTAKEN_MS;
    job->not_before_ms = now_ms + (overtaken ? TARGET_LOOK_ASIDE_MS : TARGET_LOOK_MS);
    if (overtaken && job->line->jobs.count > 1)
        courier_set_aside(c, job);
    else
        courier_place(c, job->line, now_ms);
}

/* --- Starting --- */

static int begin_fetch(struct courier *c, struct flight *f, const struct number *n, struct slice body)
{
    const char *base = c->settings->api_base;
    size_t base_length = strlen(base);
    struct text url = { 0 }, token = { 0 };
    int status = STATUS_NO_MEMORY;

    while (base_length && base[base_length - 1] == '/')
        base_length--;
    text_printf(&url, "%.*s/%s/%s/messages", (int)base_length, base, c->settings->api_version,
                n->settings->text);
    text_printf(&token, "Authorization: Bearer %s", n->settings->token.at);
    if (!url.failed && !token.failed) {
        const char *const headers[] = { token.at, "Content-Type: application/json", NULL };
        struct fetch_request request = {
            .method = "POST",
            .url = url.at,
            .headers = headers,
            .body = body,
            .timeout_ms = c->settings->timeout_ms,
            .body_bytes_max = ANSWER_BYTES_MAX,
            .ready = flight_ready,
            .done = flight_done,
            .owner = f,
        };

        status = fetch_start(c->fetcher, &request, &f->fetch);
    }
    text_wipe(&token);
    text_free(&url);
    return status;
}

static int take_off(struct courier *c, struct line *line, const struct request *request, struct slice body,
                    uint64_t now_ms)
{
    struct flight *f = calloc(1, sizeof *f);
    int status;

    if (!f)
        return STATUS_NO_MEMORY;
    f->courier = c;
    f->is_read = request->is_read;
    memcpy(f->recipient, request->customer, sizeof f->recipient);
    if ((status = begin_fetch(c, f, line->pair->number, body)) != STATUS_OK) {
        free(f);
        return status;
    }
    f->job = line->jobs.first;
    f->job->flight = f;
    f->next = c->flights;
    c->flights = f;
    c->in_flight++;
    courier_took_off(c, line, now_ms);
    return STATUS_OK;
}

/* The body as WhatsApp gets it goes into out. The job may be doomed or made to wait instead: then *ready is
 * false. */
static int make_body(struct courier *c, struct job *job, struct json *tree, const struct request *request,
                     struct text *out, bool *ready, uint64_t now_ms, int64_t now_s)
{
    struct text about = { 0 }, reply_to = { 0 };
    enum target first = find_target(c, job, request->about, &about);
    enum target second = find_target(c, job, request->reply_to, &reply_to);
    struct request_targets meta = { .about = about.at, .reply_to = reply_to.at };
    int status = STATUS_OK;

    *ready = false;
    switch (first > second ? first : second) {
    case TARGET_NONE:
    case TARGET_KNOWN:
        *ready = true;
        status = request_rewrite(tree, &meta, &job->of.id, job->of.at_s + TYPING_STALE_S < now_s);
        if (status == STATUS_OK)
            status = json_write(tree, out);
        break;
    case TARGET_WAIT: wait_for_target(c, job, now_ms); break;
    case TARGET_GONE: courier_doom(c, job, TELL_NO_TARGET); break;
    case TARGET_TROUBLE: status = STATUS_IO; break;
    }
    text_free(&about);
    text_free(&reply_to);
    return status;
}

static int read_tree(struct courier *c, const struct job *job, struct text *bytes, struct json **tree)
{
    struct item item;
    int status = ledger_job_item(c->ledger, &job->of, bytes);

    if (status == STATUS_OK && (status = item_read(text_slice(bytes), &item)) == STATUS_OK)
        status = body_read(&item, tree);
    return status;
}

void courier_start(struct courier *c, struct line *line, uint64_t now_ms, int64_t now_s)
{
    struct job *job = line->jobs.first;
    struct text bytes = { 0 }, body = { 0 };
    struct json *tree = NULL;
    struct request request;
    bool ready = false;
    int status = read_tree(c, job, &bytes, &tree);

    if (status == STATUS_OK) {
        request_read(tree, &request);
        status = make_body(c, job, tree, &request, &body, &ready, now_ms, now_s);
        if (status == STATUS_OK && ready)
            status = take_off(c, line, &request, text_slice(&body), now_ms);
        explicit_bzero(&request, sizeof request);
    }
    if (status == STATUS_CORRUPT || status == STATUS_END || status == STATUS_PEER_MALFORMED) {
        log_event(LOG_LEVEL_ERROR, "row_damaged", "table=job lane=%s", lane_name(job->of.id.lane));
        courier_doom(c, job, TELL_MALFORMED);
    } else if (status != STATUS_OK) {
        log_event(LOG_LEVEL_WARNING, "courier_cannot_start", "why=%s", status_name(status));
        job->not_before_ms = now_ms + TRY_AGAIN_MS;
        courier_place(c, line, now_ms);
    }
    json_free(tree);
    text_wipe(&body);
    text_wipe(&bytes);
}

void courier_recipient(struct courier *c, const struct job *job, char out[REQUEST_CUSTOMER_MAX + 1])
{
    struct text bytes = { 0 };
    struct json *tree = NULL;
    struct request request;

    out[0] = '\0';
    if (read_tree(c, job, &bytes, &tree) == STATUS_OK) {
        request_read(tree, &request);
        memcpy(out, request.customer, sizeof request.customer);
    }
    json_free(tree);
    text_wipe(&bytes);
}
