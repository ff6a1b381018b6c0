/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/courier_own.h"

#include <stdio.h>
#include <string.h>

#include "sync/gateway/tell.h"
#include "sync/kit/json.h"
#include "sync/kit/log.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define READ_TRIES_MAX 3u /* A read mark harms nobody twice; after so many it is not worth more. */
#define ASIDE_MS 60000u   /* A message that waits longer than this lets those behind it go on. */

/* No connection: nobody can be reached, whoever it is for. */
static const struct courier_rule unreachable = {
    .then = COURIER_RETRY, .scope = COURIER_ACCOUNT, .first_s = 1, .most_s = 30, .factor = 2
};

uint64_t courier_random(struct courier *c)
{
    uint64_t x;

    if (seal_random(&x, sizeof x) != STATUS_OK)
        x = c->random += 0x9e3779b97f4a7c15ull;
    return x;
}

/* --- Ends --- */

int courier_taken(struct courier *c, struct job *job, struct slice meta)
{
    int status = ledger_id_put(c->ledger, &job->of.id, meta);

    if (status == STATUS_OK)
        status = ledger_job_end(c->ledger, &job->of.id);
    if (status == STATUS_OK)
        status = ledger_count(c->ledger, LEDGER_SUBMITTED, 1);
    if (status == STATUS_OK && !(job->of.flags & LEDGER_JOB_READ))
        status = ledger_served(c->ledger, job->of.customer, job->of.id.branch);
    if (status == STATUS_OK)
        courier_forget(c, job);
    return status;
}

static int end_read(struct courier *c, struct job *job, bool done)
{
    int status = ledger_job_end(c->ledger, &job->of.id);

    if (status == STATUS_OK)
        status = ledger_count(c->ledger, done ? LEDGER_SUBMITTED : LEDGER_READ_DROPPED, 1);
    if (status == STATUS_OK)
        courier_forget(c, job);
    return status;
}

int courier_fail(struct courier *c, struct job *job, int code, struct slice title, struct slice details,
                 const char *recipient, int64_t now_s)
{
    struct tell_failure failure = { .id = job->of.id,
                                    .number = job->of.number,
                                    .recipient = recipient,
                                    .code = code,
                                    .title = title,
                                    .message = title,
                                    .details = details };
    enum ledger_counter counter = code == TELL_EXPIRED   ? LEDGER_EXPIRED
                                  : code == TELL_UNKNOWN ? LEDGER_UNKNOWN_TOLD
                                                         : LEDGER_FAILED;
    int status;

    if (job->of.flags & LEDGER_JOB_READ)
        return end_read(c, job, false);
    status = tell_failed(c->ledger, c->settings, &failure, now_s);
    if (status == STATUS_OK)
        status = ledger_job_end(c->ledger, &job->of.id);
    if (status == STATUS_OK)
        status = ledger_count(c->ledger, counter, 1);
    if (status == STATUS_OK)
        courier_forget(c, job);
    return status;
}

/* --- Waiting again --- */

void courier_pause(struct pause *p, const struct courier_rule *rule, int code, const char *why,
                   uint64_t retry_after_s, uint64_t random, uint64_t now_ms)
{
    uint64_t delay_ms = courier_delay_ms(rule, p->tries + 1, random);

    if (delay_ms < retry_after_s * 1000 && retry_after_s <= rule->most_s)
        delay_ms = retry_after_s * 1000;
    /* What was in flight beside the first to be told says the same, not more. */
    if (p->tries == 0 || p->until_ms <= now_ms)
        p->tries++;
    if (p->until_ms < now_ms + delay_ms)
        p->until_ms = now_ms + delay_ms;
    p->held = rule->then == COURIER_HOLD;
    p->code = code;
    snprintf(p->why, sizeof p->why, "%s", why);
}

/* The message waits again, and with it everybody in the rule's scope. */
static int wait_again(struct courier *c, struct flight *f, const struct courier_rule *rule, int code,
                      const char *why, uint64_t now_ms)
{
    struct job *job = f->job;
    struct pair *pair = job->line->pair;
    struct number *number = pair->number;
    uint64_t random = courier_random(c);
    int status = f->journaled ? ledger_job_attempt(c->ledger, &job->of.id, LEDGER_WAITING, 0) : STATUS_OK;

    if (status != STATUS_OK)
        return status;
    switch (rule->scope) {
    case COURIER_MESSAGE: job->not_before_ms = now_ms + courier_delay_ms(rule, ++job->tries, random); break;
    case COURIER_PAIR: courier_pause(&pair->pause, rule, code, why, f->retry_after_s, random, now_ms); break;
    case COURIER_NUMBER:
        courier_pause(&number->pause, rule, code, why, f->retry_after_s, random, now_ms);
        if (code == 130429 && number->slow < 6)
            number->slow++;
        number->slow_at_ms = now_ms;
        break;
    case COURIER_ACCOUNT:
        courier_pause(&c->account, rule, code, why, f->retry_after_s, random, now_ms);
        break;
    }
    courier_land(c, job, now_ms);
    if (job->not_before_ms > now_ms + ASIDE_MS && job->line->jobs.count > 1)
        courier_set_aside(c, job);
    return STATUS_OK;
}

static void alarm_of(const struct courier_rule *rule, const struct number *n, int code, const struct pause *p)
{
    if (!rule->alarm || (p && p->tries > 0))
        return; /* Told once; the status shows it as long as it lasts. */
    log_event(LOG_LEVEL_ERROR, "courier_alarm", "number=%s code=%d scope=%s",
              n && n->settings ? n->settings->text : "?", code,
              rule->scope == COURIER_ACCOUNT ? "account" : "number");
}

/* A parsed Graph error: WhatsApp did not take it. */
static int refused(struct courier *c, struct flight *f, const struct json *error, uint64_t now_ms,
                   int64_t now_s)
{
    struct job *job = f->job;
    int code = (int)json_integer(json_get(error, "code"), 0);
    const struct courier_rule *rule = courier_rule_of(code, f->status);
    struct slice message = json_string(json_get(error, "message"));
    struct slice details = json_string(json_path(error, "error_data.details"));
    struct number *n = job->line->pair->number;
    char why[96];

    snprintf(why, sizeof why, "%.*s", (int)(message.length < 95 ? message.length : 95),
             (const char *)message.at);
    alarm_of(rule, n, code,
             rule->scope == COURIER_ACCOUNT ? &c->account
             : rule->then == COURIER_HOLD   ? &n->pause
                                            : NULL);
    if (rule->then != COURIER_FAIL && (rule->tries_max == 0 || job->tries < rule->tries_max)) {
        bool too_late = rule->then == COURIER_LATER && job->of.deadline_s < now_s + (int64_t)rule->first_s;

        if (!too_late)
            return wait_again(c, f, rule, code, why, now_ms);
    }
    return courier_fail(c, job, code, message.length ? message : slice_text("Message failed"), details,
                        f->recipient, now_s);
}

static int nobody_knows(struct courier *c, struct flight *f, uint64_t now_ms, int64_t now_s)
{
    static const struct courier_rule again = {
        .then = COURIER_RETRY, .scope = COURIER_MESSAGE, .first_s = 2, .most_s = 30, .factor = 2
    };
    struct job *job = f->job;
    int status;

    if (job->of.flags & LEDGER_JOB_READ)
        return job->tries < READ_TRIES_MAX ? wait_again(c, f, &again, 0, f->why, now_ms)
                                           : end_read(c, job, false);
    status = ledger_job_attempt(c->ledger, &job->of.id, LEDGER_UNKNOWN, now_s);
    if (status == STATUS_OK)
        courier_park(c, job, now_s);
    return status;
}

static void succeeded(struct courier *c, struct job *job)
{
    struct pair *pair = job->line->pair;

    if (pair->number->pause.held || c->account.held)
        log_event(LOG_LEVEL_INFO, "courier_goes_on", "number=%s", pair->number->settings->text);
    pair->pause = (struct pause){ 0 };
    pair->number->pause = (struct pause){ 0 };
    c->account = (struct pause){ 0 };
}

static int answered(struct courier *c, struct flight *f, uint64_t now_ms, int64_t now_s)
{
    struct job *job = f->job;
    struct json *tree = NULL;
    const struct json *error;
    struct slice meta;
    int status;

    if (json_parse(text_slice(&f->body), &tree, NULL) != STATUS_OK)
        tree = NULL;
    error = json_get(tree, "error");
    meta = json_string(json_path(tree, "messages.0.id"));
    if (f->status >= 200 && f->status < 300 && !f->is_read && meta.length &&
        meta.length <= LEDGER_META_ID_MAX) {
        succeeded(c, job);
        status = courier_taken(c, job, meta);
    } else if (f->status >= 200 && f->status < 300 && f->is_read &&
               json_bool(json_get(tree, "success"), false)) {
        succeeded(c, job);
        status = end_read(c, job, true);
    } else if (json_type(json_get(error, "code")) == JSON_INTEGER) {
        status = refused(c, f, error, now_ms, now_s);
    } else {
        status = nobody_knows(c, f, now_ms, now_s); /* A proxy's page: the body may have gone through. */
    }
    json_free(tree);
    return status;
}

int courier_settle(struct courier *c, struct flight *f, uint64_t now_ms, int64_t now_s)
{
    switch (f->outcome) {
    case FETCH_UNSENT:
        if (c->account.tries == 0)
            log_event(LOG_LEVEL_WARNING, "whatsapp_unreachable", "why=\"%s\"", f->why);
        return wait_again(c, f, &unreachable, 0, "unreachable", now_ms);
    case FETCH_UNKNOWN: return nobody_knows(c, f, now_ms, now_s);
    case FETCH_ANSWERED: return answered(c, f, now_ms, now_s);
    }
    return STATUS_OK;
}
