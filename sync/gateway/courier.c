/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/courier.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sync/gateway/courier_own.h"
#include "sync/gateway/tell.h"
#include "sync/kit/file.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

#define EXPIRED_A_TURN 256u        /* Rows that one turn may end: others wait for the commit. */
#define HEALTHY_GAP_MS 300000u     /* Webhooks that are further apart say nothing of the time between. */
#define HEALTHY_ENOUGH_MS 1800000u /* 30 minutes of them (design, promise P2). */
#define LOOK_MS_MAX 10000u         /* The wall clock may be set meanwhile: deadlines are looked at anyway. */

/* --- Opening --- */

struct loading {
    struct courier *courier;
    struct loaded *entries;
    size_t count, room;
};

struct loaded {
    struct ledger_job job;
    enum ledger_attempt attempt;
    int64_t since_s;
};

static void load(void *owner, const struct ledger_job *job, enum ledger_attempt attempt, int64_t since_s)
{
    struct loading *l = owner;

    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 256;
        struct loaded *entries = reallocarray(l->entries, room, sizeof *entries);

        courier_must(entries ? STATUS_OK : STATUS_NO_MEMORY);
        l->entries = entries;
        l->room = room;
    }
    assert(l->entries);
    l->entries[l->count++] = (struct loaded){ *job, attempt, since_s };
}

static int by_row(const void *a, const void *b)
{
    uint64_t left = ((const struct loaded *)a)->job.row, right = ((const struct loaded *)b)->job.row;

    return left < right ? -1 : left > right;
}

static int load_all(struct courier *c, int64_t now_s)
{
    struct loading l = { .courier = c };
    int status = ledger_jobs(c->ledger, load, &l);

    if (l.count)
        qsort(l.entries, l.count, sizeof *l.entries, by_row);
    for (size_t i = 0; i < l.count && status == STATUS_OK; i++) {
        const struct loaded *e = &l.entries[i];

        courier_add(c, &e->job);
        /* A read mark harms nobody twice; of all others the body may have left, or surely not. */
        if (e->attempt == LEDGER_WAITING || (e->job.flags & LEDGER_JOB_READ))
            continue;
        if (e->attempt == LEDGER_UNKNOWN || departures_doubt(c->departures, &e->job.id))
            courier_park(c, courier_find(c, &e->job.id), e->attempt == LEDGER_SENDING ? now_s : e->since_s);
        else
            status = ledger_job_attempt(c->ledger, &e->job.id, LEDGER_WAITING, 0);
    }
    free(l.entries);
    if (status == STATUS_OK)
        log_event(LOG_LEVEL_INFO, "courier_read", "pending=%zu unknown=%zu", l.count,
                  (size_t)c->unknown.count);
    return status;
}

/* Attempts that were read as unknown are journaled so before the notes that made them doubtful are given up.
 */
static int journal_doubts(struct courier *c, int64_t now_s)
{
    int status = STATUS_OK;

    for (struct job *job = c->unknown.first; job && status == STATUS_OK; job = job->next)
        status = ledger_job_attempt(c->ledger, &job->of.id, LEDGER_UNKNOWN, now_s);
    if (status == STATUS_OK)
        status = ledger_commit(c->ledger);
    if (status == STATUS_OK)
        departures_begin(c->departures);
    return status;
}

static int open_departures(struct courier *c)
{
    char *path = file_join(c->settings->state, "released");
    int status = path ? departures_open(&c->departures, path) : STATUS_NO_MEMORY;

    free(path);
    return status;
}

static void courier_due(void *owner)
{
    struct courier *c = owner;

    loop_note(c->loop);
}

int courier_open(struct courier **out, struct loop *loop, const struct settings *settings,
                 struct ledger *ledger, int64_t now_s)
{
    struct courier *c = calloc(1, sizeof *c);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!c)
        goto fail;
    *c = (struct courier){ .loop = loop, .settings = settings, .ledger = ledger };
    if ((status = loop_timer_open(&c->timer, loop, courier_due, c)) != STATUS_OK ||
        (status = fetcher_open(&c->fetcher, loop, settings->connections)) != STATUS_OK ||
        (status = open_departures(c)) != STATUS_OK || (status = load_all(c, now_s)) != STATUS_OK ||
        (status = journal_doubts(c, now_s)) != STATUS_OK)
        goto fail;
    loop_note(loop);
    *out = c;
    return STATUS_OK;
fail:
    courier_close(c);
    return status;
}

void courier_close(struct courier *c)
{
    if (!c)
        return;
    while (c->flights)
        courier_flight_free(c, c->flights);
    fetcher_close(c->fetcher);
    departures_close(c->departures);
    loop_timer_close(&c->timer);
    courier_free_lines(c);
    heap_free(&c->later);
    heap_free(&c->deadlines);
    heap_free(&c->idle);
    free(c);
}

/* --- The turn --- */

/* The body is wanted: its attempt is journaled now, and released after the commit. */
static int journal(struct courier *c, struct flight *f, int64_t now_s)
{
    struct job *job = f->job;
    int status;

    if (!job) { /* A webhook ended it before it began; nothing of it may leave. */
        courier_flight_end(c, f);
        return STATUS_OK;
    }
    if (job->of.deadline_s <= now_s) {
        courier_doom(c, job, TELL_EXPIRED);
        courier_flight_end(c, f);
        return STATUS_OK;
    }
    if ((status = ledger_job_attempt(c->ledger, &job->of.id, LEDGER_SENDING, now_s)) == STATUS_OK)
        f->journaled = true;
    return status;
}

static int take_flights(struct courier *c, uint64_t now_ms, int64_t now_s)
{
    struct flight *f, *next;
    int status = STATUS_OK;

    for (f = c->flights; f && status == STATUS_OK; f = next) {
        next = f->next;
        if (!f->noted || f->ended)
            continue;
        f->noted = false;
        if (f->done) {
            if (f->job)
                status = courier_settle(c, f, now_ms, now_s);
            courier_flight_end(c, f);
        } else if (f->wants_release && !f->journaled) {
            status = journal(c, f, now_s);
        }
    }
    return status;
}

static int end_with(struct courier *c, struct job *job, int code, int64_t now_s)
{
    char recipient[REQUEST_CUSTOMER_MAX + 1];
    int status;

    courier_recipient(c, job, recipient);
    status = courier_fail(c, job, code, slice_of(NULL, 0), slice_of(NULL, 0), recipient, now_s);
    explicit_bzero(recipient, sizeof recipient);
    return status;
}

static int take_deadlines(struct courier *c, int64_t now_s)
{
    int status = STATUS_OK;
    struct job *job;
    uint64_t at_s;

    for (unsigned i = 0; status == STATUS_OK && i < EXPIRED_A_TURN; i++) {
        if (!(job = heap_first(&c->deadlines, &at_s)) || (int64_t)at_s > now_s)
            return STATUS_OK;
        switch (job->state) {
        case JOB_WAITING: status = end_with(c, job, TELL_EXPIRED, now_s); break;
        case JOB_UNKNOWN: status = end_with(c, job, TELL_UNKNOWN, now_s); break;
        case JOB_FLYING: heap_remove(&c->deadlines, &job->deadline); break; /* Its outcome decides. */
        case JOB_DOOMED: heap_remove(&c->deadlines, &job->deadline); break;
        }
    }
    loop_note(c->loop);
    return status;
}

static int take_unknown(struct courier *c, int64_t now_s)
{
    int status = STATUS_OK;

    for (unsigned i = 0; status == STATUS_OK && i < EXPIRED_A_TURN && c->unknown.first; i++) {
        if (c->healthy_ms - c->unknown.first->healthy_ms < HEALTHY_ENOUGH_MS)
            return STATUS_OK;
        status = end_with(c, c->unknown.first, TELL_UNKNOWN, now_s);
    }
    return status;
}

static int take_doomed(struct courier *c, int64_t now_s)
{
    int status = STATUS_OK;

    while (status == STATUS_OK && c->doomed.first)
        status = end_with(c, c->doomed.first, c->doomed.first->doom, now_s);
    return status;
}

int courier_take(struct courier *c, uint64_t now_ms, int64_t now_s)
{
    int status = STATUS_OK;

    if (c->news) {
        c->news = false;
        status = take_flights(c, now_ms, now_s);
        if (status == STATUS_OK)
            status = take_doomed(c, now_s);
    }
    if (status == STATUS_OK)
        status = take_deadlines(c, now_s);
    return status == STATUS_OK ? take_unknown(c, now_s) : status;
}

static void set_timer(struct courier *c, uint64_t now_ms, int64_t now_s)
{
    uint64_t at, wake = c->wake_ms, look = now_ms + LOOK_MS_MAX;

    if (heap_first(&c->later, &at) && at < wake)
        wake = at;
    if (heap_first(&c->idle, &at) && at < wake)
        wake = at > now_ms + 1000 ? at : now_ms + 1000; /* Tidying has no hurry. */
    if (heap_first(&c->deadlines, &at)) {
        uint64_t deadline = (int64_t)at > now_s ? now_ms + (at - (uint64_t)now_s) * 1000 : now_ms;

        deadline = deadline < look ? deadline : look;
        wake = deadline < wake ? deadline : wake;
    }
    loop_timer_set(&c->timer, wake);
}

/* What ended is in the ledger now: its departure says nothing more. */
static void clear_ended(struct courier *c)
{
    struct flight *f, *next;

    for (f = c->flights; f; f = next) {
        next = f->next;
        if (!f->ended)
            continue;
        if (f->departed)
            departures_clear(c->departures, f->departure);
        courier_flight_free(c, f);
    }
}

void courier_depart(struct courier *c)
{
    for (struct flight *f = c->flights; f; f = f->next) {
        if (!f->journaled || !f->wants_release || f->ended || !f->fetch || c->quiet)
            continue;
        f->wants_release = false;
        if (!f->job) { /* A webhook ended it after all: nothing of it may leave. */
            courier_flight_end(c, f);
            loop_note(c->loop);
            continue;
        }
        f->departure = departures_note(c->departures, &f->job->of.id);
        f->departed = true;
        fetch_release(f->fetch);
    }
}

void courier_committed(struct courier *c, const struct ledger_job *arrived, size_t count, uint64_t now_ms,
                       int64_t now_s)
{
    struct line *line;

    clear_ended(c);
    for (size_t i = 0; i < count; i++)
        courier_add(c, &arrived[i]);
    c->wake_ms = UINT64_MAX;
    courier_wake(c, now_ms);
    while (!c->quiet && (line = courier_choose(c, now_ms)) != NULL)
        courier_start(c, line, now_ms, now_s);
    set_timer(c, now_ms, now_s);
}

bool courier_quiet(struct courier *c)
{
    c->quiet = true;
    for (const struct flight *f = c->flights; f; f = f->next)
        if (f->departed && !f->ended)
            return false;
    return true;
}

/* --- Webhooks and people --- */

int courier_reconcile(struct courier *c, const struct message_id *id, struct slice meta)
{
    struct job *job = courier_find(c, id);
    int status;

    if (job && !(job->of.flags & LEDGER_JOB_READ))
        return courier_taken(c, job, meta);
    /* It was told as unknown, or has its id already: from now on it is known by it. */
    if ((status = ledger_id_put(c->ledger, id, meta)) != STATUS_OK)
        return status;
    return ledger_job_end(c->ledger, id);
}

void courier_heard_webhook(struct courier *c, uint64_t now_ms)
{
    uint64_t gap = now_ms - c->heard_ms;

    if (c->heard_ms)
        c->healthy_ms += gap < HEALTHY_GAP_MS ? gap : HEALTHY_GAP_MS;
    c->heard_ms = now_ms;
}

static unsigned end_pause(struct pause *p)
{
    unsigned was = p->tries > 0;

    *p = (struct pause){ 0 };
    return was;
}

unsigned courier_release(struct courier *c)
{
    unsigned released = end_pause(&c->account);

    for (struct number *n = c->numbers; n; n = n->next)
        released += end_pause(&n->pause);
    loop_note(c->loop);
    return released;
}

/* --- What is shown --- */

void courier_state(const struct courier *c, struct courier_state *out)
{
    *out = (struct courier_state){ .pending = c->doomed.count,
                                   .unknown = c->unknown.count,
                                   .in_flight = c->in_flight };
    for (int lane = 0; lane < LANE_COUNT; lane++)
        out->pending += out->lanes[lane] = c->pending[lane];
    for (const struct number *n = c->numbers; n; n = n->next)
        if (c->account.held || n->pause.held || !n->settings)
            out->held += n->waiting;
}

bool courier_hold(const struct courier *c, size_t i, struct courier_hold *out)
{
    struct courier_state state;

    if (c->account.held && i-- == 0) {
        courier_state(c, &state);
        *out =
            (struct courier_hold){ .code = c->account.code, .why = c->account.why, .messages = state.held };
        return true;
    }
    for (const struct number *n = c->numbers; n; n = n->next) {
        if ((!n->pause.held && (n->settings || !n->waiting)) || i-- != 0)
            continue;
        *out = (struct courier_hold){ .number = n->id,
                                      .code = n->settings ? n->pause.code : 33,
                                      .why = n->settings ? n->pause.why : "no section [number ID] for it",
                                      .messages = n->waiting };
        return true;
    }
    return false;
}
