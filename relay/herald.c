/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/herald.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/inbox.h"
#include "sync/kit/fetch.h"
#include "sync/kit/log.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define PARALLEL_MAX 64u /* options.c bounds webhook_parallel by it. */
#define FAILING_MAX 64u  /* Customers whose webhooks fail, remembered; more mean that it is the program. */
#define FAILURES_IN_A_ROW \
    8u /* Of different customers, with no success between them: it is the program too. */
#define RETRY_MS_FIRST 1000u
#define RETRY_MS_MAX 300000u
#define KEPT_MS (UINT64_C(7) * 86400 * 1000)
#define TIMEOUT_MS 30000u
#define TELL_MS 60000u /* The log hears of failures once a minute; the metrics count them. */
#define ANSWER_BYTES_MAX 4096u

/* One webhook on its way. */
struct errand {
    struct herald *herald;
    struct fetch *fetch; /* NULL: this place is free, or the errand is done. */
    struct inbox_webhook webhook;
    bool is_taken, is_done, was_delivered;
};

struct failing {
    inbox_customer customer;
    uint64_t retry_ms; /* Elapsed time. */
    uint64_t delay_ms;
};

struct herald {
    struct box *box;
    struct fetcher *fetcher;
    struct errand errands[PARALLEL_MAX];
    size_t errand_max;
    struct failing failing[FAILING_MAX];
    size_t failing_count;
    unsigned failures_in_a_row;
    uint64_t failures;
    uint64_t told_ms;                   /* When the log last heard of a failure. */
    uint64_t paused_until_ms, pause_ms; /* 0: not paused. */
    inbox_customer cursor;              /* The customer served last: the next one is after him. */
    struct loop_timer timer;
    struct fetch *handshake;
    char challenge[33];
};

/* --- Outcomes --- */

static struct failing *failing_find(struct herald *d, inbox_customer customer)
{
    for (size_t i = 0; i < d->failing_count; i++)
        if (d->failing[i].customer == customer)
            return &d->failing[i];
    return NULL;
}

static void failing_forget(struct herald *d, inbox_customer customer)
{
    struct failing *f = failing_find(d, customer);

    if (f)
        *f = d->failing[--d->failing_count];
}

static uint64_t next_delay(uint64_t delay_ms)
{
    delay_ms = delay_ms ? 2 * delay_ms : RETRY_MS_FIRST;
    return delay_ms < RETRY_MS_MAX ? delay_ms : RETRY_MS_MAX;
}

static void herald_pause(struct herald *d, uint64_t now_ms)
{
    if (now_ms < d->paused_until_ms)
        return; /* Errands that began before the pause tell nothing new. */
    d->pause_ms = next_delay(d->pause_ms);
    d->paused_until_ms = now_ms + d->pause_ms;
}

static void herald_fail(struct herald *d, inbox_customer customer, uint64_t now_ms)
{
    struct failing *f = failing_find(d, customer);

    if (!f && d->failing_count == FAILING_MAX) {
        herald_pause(d, now_ms);
        return;
    }
    if (!f) {
        f = &d->failing[d->failing_count++];
        *f = (struct failing){ .customer = customer };
    }
    f->delay_ms = next_delay(f->delay_ms);
    f->retry_ms = now_ms + f->delay_ms;
    if (++d->failures_in_a_row >= FAILURES_IN_A_ROW)
        herald_pause(d, now_ms);
}

static void errand_done(void *owner, struct fetch *fetch, const struct fetch_result *result)
{
    struct errand *e = owner;
    struct herald *d = e->herald;
    uint64_t now_ms = clock_elapsed_ms();
    char quoted[128];

    (void)fetch;
    e->fetch = NULL;
    e->is_done = true;
    e->was_delivered = result->outcome == FETCH_ANSWERED && result->status >= 200 && result->status < 300;
    if (e->was_delivered) {
        failing_forget(d, e->webhook.customer);
        d->failures_in_a_row = 0;
        d->pause_ms = d->paused_until_ms = 0;
    } else {
        d->failures++;
        if (d->told_ms == 0 || now_ms >= d->told_ms + TELL_MS) {
            d->told_ms = now_ms;
            log_event(LOG_LEVEL_WARNING, "webhook_failed", "status=%ld why=%s", result->status,
                      log_quote(slice_text(result->why), quoted, sizeof quoted));
        }
        /* Nobody listens there: that is no customer's fault. */
        if (result->outcome == FETCH_UNSENT)
            herald_pause(d, now_ms);
        else
            herald_fail(d, e->webhook.customer, now_ms);
    }
    loop_note(d->box->loop);
}

int herald_turn(struct herald *d, const struct branch_time *now)
{
    int status = STATUS_OK;

    (void)now;
    for (size_t i = 0; i < d->errand_max && status == STATUS_OK; i++) {
        struct errand *e = &d->errands[i];

        if (!e->is_done)
            continue;
        if (e->was_delivered && (status = inbox_delete(d->box->outbox, &e->webhook)) == STATUS_OK)
            outbox_count(d->box->outbox, OUTBOX_DELIVERED, 1);
        e->is_taken = e->is_done = false;
    }
    return status;
}

/* --- Starting --- */

static bool herald_is_busy(const struct herald *d, inbox_customer customer)
{
    for (size_t i = 0; i < d->errand_max; i++)
        if (d->errands[i].is_taken && d->errands[i].webhook.customer == customer)
            return true;
    return false;
}

static int errand_start(struct herald *d, struct errand *e, const struct inbox_webhook *webhook,
                        struct slice body)
{
    const struct options *o = d->box->options;
    uint8_t hash[SEAL_HASH_BYTES];
    char signature[sizeof "X-Hub-Signature-256: sha256=" + 2 * SEAL_HASH_BYTES] =
        "X-Hub-Signature-256: sha256=";
    const char *headers[] = { "Content-Type: application/json", NULL, NULL };
    struct fetch_request request = { .method = "POST",
                                     .url = o->webhook_url,
                                     .headers = headers,
                                     .body = body,
                                     .timeout_ms = TIMEOUT_MS,
                                     .body_bytes_max = ANSWER_BYTES_MAX,
                                     .done = errand_done,
                                     .owner = e };
    int status;

    if (o->webhook_secret.length) {
        if ((status = seal_hmac_sha256(text_slice(&o->webhook_secret), body, hash)) != STATUS_OK)
            return status;
        text_hex(slice_of(hash, sizeof hash), signature + strlen(signature));
        headers[1] = signature;
    }
    *e = (struct errand){ .herald = d, .webhook = *webhook, .is_taken = true };
    if ((status = fetch_start(d->fetcher, &request, &e->fetch)) != STATUS_OK)
        *e = (struct errand){ .herald = d };
    return status;
}

/* What is too old or cannot be opened is deleted and counted; false: this customer's next may be looked at.
 */
static bool herald_begin(struct herald *d, struct errand *e, const struct inbox_webhook *webhook,
                         uint64_t now_ms)
{
    struct outbox *o = d->box->outbox;
    struct slice body;
    bool is_old = now_ms > webhook->at_ms + KEPT_MS;
    int status = is_old ? STATUS_END : inbox_read(o, webhook, &body);

    if (status == STATUS_OK)
        return errand_start(d, e, webhook, body) == STATUS_OK;
    if (status != STATUS_END && status != STATUS_CORRUPT)
        return true; /* No key yet: it waits, and with it this customer. */
    log_event(LOG_LEVEL_WARNING, "webhook_dropped", "reason=%s", is_old ? "undeliverable" : "damaged");
    if (inbox_delete(o, webhook) == STATUS_OK)
        outbox_count(o, is_old ? OUTBOX_DROPPED_WEBHOOK : OUTBOX_DROPPED_DAMAGED, 1);
    return false;
}

static bool herald_may_start(struct herald *d, inbox_customer customer, uint64_t now_ms)
{
    const struct failing *f = failing_find(d, customer);

    return !herald_is_busy(d, customer) && (!f || now_ms >= f->retry_ms);
}

/* One round over the customers with something waiting, from where the last one ended. */
static void herald_fill(struct herald *d, const struct branch_time *now)
{
    uint64_t now_ms = outbox_now_ms(d->box->outbox, now->elapsed_ms);
    /* A round that meets only busy and failing customers ends. */
    size_t tries = d->errand_max + FAILING_MAX + 1;
    struct inbox_webhook webhook;

    for (size_t i = 0; i < d->errand_max && tries > 0; i++) {
        struct errand *e = &d->errands[i];

        while (!e->is_taken && tries > 0) {
            tries--;
            if (inbox_next(d->box->outbox, d->cursor, &webhook) != STATUS_OK) {
                if (d->cursor < 0)
                    return;
                d->cursor = -1; /* Hashes are not negative: around, once per empty end. */
                continue;
            }
            d->cursor = webhook.customer;
            if (herald_may_start(d, webhook.customer, now->elapsed_ms))
                (void)herald_begin(d, e, &webhook, now_ms);
        }
    }
}

void herald_pump(struct herald *d, const struct branch_time *now)
{
    uint64_t due_ms = UINT64_MAX;

    if (!d->fetcher)
        return;
    if (now->elapsed_ms >= d->paused_until_ms && inbox_waiting(d->box->outbox) > 0)
        herald_fill(d, now);
    if (now->elapsed_ms < d->paused_until_ms)
        due_ms = d->paused_until_ms;
    for (size_t i = 0; i < d->failing_count; i++)
        if (d->failing[i].retry_ms > now->elapsed_ms && d->failing[i].retry_ms < due_ms)
            due_ms = d->failing[i].retry_ms;
    loop_timer_set(&d->timer, due_ms);
}

uint64_t herald_failures(const struct herald *d)
{
    return d->failures;
}

bool herald_is_paused(const struct herald *d)
{
    return clock_elapsed_ms() < d->paused_until_ms;
}

/* --- The handshake --- */

static void handshake_done(void *owner, struct fetch *fetch, const struct fetch_result *result)
{
    struct herald *d = owner;
    bool is_fine =
        result->outcome == FETCH_ANSWERED && result->status == 200 && slice_is(result->body, d->challenge);
    char quoted[128];

    (void)fetch;
    d->handshake = NULL;
    log_event(is_fine ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING,
              is_fine ? "webhook_verified" : "webhook_unverified", "status=%ld why=%s", result->status,
              log_quote(slice_text(result->why), quoted, sizeof quoted));
}

static void add_escaped(struct text *out, struct slice value)
{
    for (size_t i = 0; i < value.length; i++) {
        char c = (char)value.at[i];

        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("-._~", c))
            text_printf(out, "%c", c);
        else
            text_printf(out, "%%%02X", value.at[i]);
    }
}

/* GET with hub.challenge, as WhatsApp does when a webhook is set up. Some frameworks wait for it; none blocks
 * us. */
static int handshake_start(struct herald *d)
{
    const struct options *o = d->box->options;
    struct fetch_request request = { .method = "GET",
                                     .timeout_ms = TIMEOUT_MS,
                                     .body_bytes_max = ANSWER_BYTES_MAX,
                                     .done = handshake_done,
                                     .owner = d };
    struct text url = { 0 };
    uint8_t random[8];
    struct reader r = reader_of(slice_of(random, sizeof random));
    int status;

    if (!o->webhook_verify_token.length)
        return STATUS_OK;
    if ((status = seal_random(random, sizeof random)) != STATUS_OK)
        return status;
    snprintf(d->challenge, sizeof d->challenge, "%llu", (unsigned long long)reader_u64(&r));
    text_printf(&url, "%s%chub.mode=subscribe&hub.challenge=%s&hub.verify_token=", o->webhook_url,
                strchr(o->webhook_url, '?') ? '&' : '?', d->challenge);
    add_escaped(&url, text_slice(&o->webhook_verify_token));
    request.url = url.at;
    status = url.failed ? STATUS_NO_MEMORY : fetch_start(d->fetcher, &request, &d->handshake);
    text_wipe(&url);
    return status;
}

/* --- Opening --- */

static void herald_ready(void *owner)
{
    struct herald *d = owner;

    loop_note(d->box->loop);
}

int herald_open(struct herald **out, struct box *box)
{
    struct herald *d = calloc(1, sizeof *d);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!d)
        return status;
    d->box = box;
    d->cursor = -1;
    d->errand_max = box->options->webhook_parallel;
    assert(d->errand_max <= PARALLEL_MAX);
    if ((status = loop_timer_open(&d->timer, box->loop, herald_ready, d)) != STATUS_OK)
        goto fail;
    if (box->options->webhook_url &&
        ((status = fetcher_open(&d->fetcher, box->loop, box->options->webhook_parallel + 1)) != STATUS_OK ||
         (status = handshake_start(d)) != STATUS_OK))
        goto fail;
    *out = d;
    return STATUS_OK;
fail:
    if (status == STATUS_INVALID)
        log_event(LOG_LEVEL_ERROR, "webhook_url_refused", "reason=\"plain http is for loopback only\"");
    herald_close(d);
    return status;
}

void herald_close(struct herald *d)
{
    if (!d)
        return;
    fetcher_close(d->fetcher);
    loop_timer_close(&d->timer);
    free(d);
}
