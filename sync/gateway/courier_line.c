/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/courier_own.h"

#include <assert.h>
#include <stdlib.h>

#include "sync/kit/log.h"
#include "sync/protocol/status.h"

#define SLOW_MAX 6u        /* A sixty-fourth of the rate: below that the pause does it. */
#define SLOW_FOR_MS 30000u /* Each halving is taken back after so long without another. */
#define BURST_SHARE 10u    /* A tenth of a second's messages may go at once: the rest keeps its distance. */
#define BUSY_LOOK_MS 200u  /* A line beside a flying one of its customer looks again. */

void courier_must(int status)
{
    if (status == STATUS_OK)
        return;
    /* A message that the courier cannot remember would wait for ever: the next start reads them all again. */
    log_event(LOG_LEVEL_ERROR, "out_of_memory", "room=courier");
    abort();
}

static void *must_have(size_t size)
{
    void *made = calloc(1, size);

    courier_must(made ? STATUS_OK : STATUS_NO_MEMORY);
    return made;
}

/* --- Lists --- */

static void list_add(struct job_list *list, struct job *job)
{
    job->next = NULL;
    job->before = list->last;
    *(list->last ? &list->last->next : &list->first) = job;
    list->last = job;
    list->count++;
}

static void list_remove(struct job_list *list, struct job *job)
{
    *(job->before ? &job->before->next : &list->first) = job->next;
    *(job->next ? &job->next->before : &list->last) = job->before;
    job->next = job->before = NULL;
    list->count--;
}

/* --- Finding --- */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

static uint64_t id_key(const struct message_id *id)
{
    return mix(id->epoch ^ mix((uint64_t)id->branch << 8 | (uint64_t)id->lane) ^
               id->seq * 0x9e3779b97f4a7c15ull);
}

struct job *courier_find(const struct courier *c, const struct message_id *id)
{
    size_t walk = 0;
    struct job *job;

    while ((job = map_next(&c->jobs, id_key(id), &walk)) != NULL)
        if (message_id_equal(&job->of.id, id))
            return job;
    return NULL;
}

static struct number *number_of(struct courier *c, uint64_t id)
{
    struct number *n;

    for (n = c->numbers; n; n = n->next)
        if (n->id == id)
            return n;
    n = must_have(sizeof *n);
    n->id = id;
    n->settings = settings_number(c->settings, id);
    n->next = c->numbers;
    c->numbers = n;
    return n;
}

static struct pair *pair_of(struct courier *c, uint64_t number, uint64_t customer)
{
    uint64_t key = mix(customer ^ mix(number));
    size_t walk = 0;
    struct pair *p;

    while ((p = map_next(&c->pairs, key, &walk)) != NULL)
        if (p->number->id == number && p->customer == customer)
            return p;
    p = must_have(sizeof *p);
    p->key = key;
    p->customer = customer;
    p->number = number_of(c, number);
    p->idle.owner = p;
    courier_must(map_put(&c->pairs, key, p));
    return p;
}

/* --- Lines --- */

static void line_unplace(struct line *line)
{
    if (line->heap)
        heap_remove(line->heap, &line->place);
    line->heap = NULL;
}

static void line_put(struct line *line, struct heap *heap, uint64_t key)
{
    if (line->heap != heap)
        line_unplace(line);
    courier_must(heap_put(heap, &line->place, key));
    line->heap = heap;
}

/* When the first message may go as far as it and its customer are concerned. */
static uint64_t line_when_ms(const struct courier *c, const struct line *line, uint64_t now_ms)
{
    const struct pair *p = line->pair;
    uint64_t when = line->jobs.first->not_before_ms;

    if (p->pause.tries && p->pause.until_ms > when)
        when = p->pause.until_ms;
    /* A read mark is nobody's message, and counts for no pair. */
    if (!(line->jobs.first->of.flags & LEDGER_JOB_READ) && c->settings->pair_interval_us) {
        uint64_t rate_ms = now_ms + courier_bucket_wait_ms(&p->bucket, c->settings->pair_interval_us,
                                                           c->settings->pair_burst, now_ms);
        if (rate_ms > when)
            when = rate_ms;
    }
    if (p->flying[line->lane] && now_ms + BUSY_LOOK_MS > when)
        when = now_ms + BUSY_LOOK_MS;
    return when;
}

void courier_place(struct courier *c, struct line *line, uint64_t now_ms)
{
    uint64_t when;

    if (line->flying || !line->jobs.first) {
        line_unplace(line);
        return;
    }
    when = line_when_ms(c, line, now_ms);
    if (when > now_ms)
        line_put(line, &c->later, when);
    else
        line_put(line, &line->pair->number->ready[line->lane], line->jobs.first->of.row);
}

static struct line *line_make(struct pair *p, enum lane lane, bool aside)
{
    struct line *line = must_have(sizeof *line);

    line->pair = p;
    line->lane = lane;
    line->aside = aside;
    line->place.owner = line;
    if (!aside)
        p->lines[lane] = line;
    p->line_count++;
    return line;
}

static void line_end(struct courier *c, struct line *line)
{
    struct pair *p = line->pair;

    line_unplace(line);
    if (!line->aside)
        p->lines[line->lane] = NULL;
    free(line);
    if (--p->line_count == 0) {
        uint64_t full_ms = p->bucket.empty_until_us / 1000 + 1;

        courier_must(heap_put(&c->idle, &p->idle, full_ms > p->pause.until_ms ? full_ms : p->pause.until_ms));
    }
}

static void line_join(struct courier *c, struct line *line, struct job *job)
{
    job->line = line;
    job->state = JOB_WAITING;
    list_add(&line->jobs, job);
    heap_remove(&c->idle, &line->pair->idle);
}

void courier_add(struct courier *c, const struct ledger_job *of)
{
    struct job *job = must_have(sizeof *job);
    struct pair *p = pair_of(c, of->number, of->customer);
    struct line *line = p->lines[of->id.lane];

    job->of = *of;
    job->deadline.owner = job;
    courier_must(map_put(&c->jobs, id_key(&of->id), job));
    courier_must(heap_put(&c->deadlines, &job->deadline, (uint64_t)of->deadline_s));
    line_join(c, line ? line : line_make(p, of->id.lane, false), job);
    p->number->waiting++;
    c->pending[of->id.lane]++;
    if (job->line->jobs.first == job)
        courier_place(c, job->line, 0); /* Found due when it is looked at. */
}

void courier_leave_line(struct courier *c, struct job *job)
{
    struct line *line = job->line;

    if (!line)
        return;
    if (job->state == JOB_FLYING) {
        line->flying = false;
        line->pair->flying[line->lane] = false;
        line->pair->number->in_flight--;
    }
    list_remove(&line->jobs, job);
    line->pair->number->waiting--;
    c->pending[line->lane]--;
    job->line = NULL;
    if (line->jobs.first)
        courier_place(c, line, loop_now_ms());
    else
        line_end(c, line);
}

void courier_set_aside(struct courier *c, struct job *job)
{
    struct pair *p = job->line->pair;
    struct line *line;

    if (job->line->aside)
        return;
    line = line_make(p, job->line->lane, true);
    courier_leave_line(c, job);
    line_join(c, line, job);
    p->number->waiting++;
    c->pending[line->lane]++;
    courier_place(c, line, loop_now_ms());
}

void courier_land(struct courier *c, struct job *job, uint64_t now_ms)
{
    struct line *line = job->line;

    assert(job->state == JOB_FLYING);
    job->state = JOB_WAITING;
    job->flight = NULL;
    line->flying = false;
    line->pair->flying[line->lane] = false;
    line->pair->number->in_flight--;
    if (!job->deadline.place)
        courier_must(heap_put(&c->deadlines, &job->deadline, (uint64_t)job->of.deadline_s));
    courier_place(c, line, now_ms);
}

void courier_park(struct courier *c, struct job *job, int64_t since_s)
{
    int64_t grace_s = since_s + 5; /* Its webhook may be on the way already. */
    int64_t until_s = job->of.deadline_s > grace_s ? job->of.deadline_s : grace_s;

    courier_leave_line(c, job);
    job->state = JOB_UNKNOWN;
    job->flight = NULL;
    job->healthy_ms = c->healthy_ms;
    list_add(&c->unknown, job);
    courier_must(heap_put(&c->deadlines, &job->deadline, (uint64_t)until_s));
}

void courier_doom(struct courier *c, struct job *job, int code)
{
    courier_leave_line(c, job);
    heap_remove(&c->deadlines, &job->deadline);
    job->state = JOB_DOOMED;
    job->doom = code;
    list_add(&c->doomed, job);
    c->news = true;
    loop_note(c->loop);
}

void courier_forget(struct courier *c, struct job *job)
{
    if (job->state == JOB_UNKNOWN)
        list_remove(&c->unknown, job);
    else if (job->state == JOB_DOOMED)
        list_remove(&c->doomed, job);
    courier_leave_line(c, job);
    if (job->flight)
        job->flight->job = NULL;
    heap_remove(&c->deadlines, &job->deadline);
    map_remove(&c->jobs, id_key(&job->of.id), job);
    free(job);
}

/* --- Choosing --- */

void courier_wake(struct courier *c, uint64_t now_ms)
{
    struct line *line;
    struct pair *p;
    uint64_t at;

    while ((line = heap_first(&c->later, &at)) != NULL && at <= now_ms)
        courier_place(c, line, now_ms);
    while ((p = heap_first(&c->idle, &at)) != NULL && at <= now_ms) {
        heap_remove(&c->idle, &p->idle);
        map_remove(&c->pairs, p->key, p);
        free(p);
    }
}

static void wake_at(struct courier *c, uint64_t at_ms)
{
    if (at_ms < c->wake_ms)
        c->wake_ms = at_ms;
}

static bool pause_allows(struct courier *c, const struct pause *p, unsigned in_flight, uint64_t now_ms)
{
    if (p->tries == 0)
        return true;
    if (p->until_ms > now_ms) {
        wake_at(c, p->until_ms);
        return false;
    }
    return in_flight == 0; /* One feels the way. */
}

static uint64_t number_interval_us(const struct number *n)
{
    return (1000000u / n->settings->mps + 1) << n->slow;
}

static uint32_t number_burst(const struct number *n)
{
    return n->settings->mps / BURST_SHARE ? n->settings->mps / BURST_SHARE : 1;
}

static bool number_allows(struct courier *c, struct number *n, uint64_t now_ms)
{
    uint64_t wait_ms;

    if (!n->settings || !pause_allows(c, &n->pause, n->in_flight, now_ms))
        return false;
    if (n->slow && now_ms >= n->slow_at_ms + SLOW_FOR_MS) {
        n->slow--;
        n->slow_at_ms = now_ms;
    }
    wait_ms = courier_bucket_wait_ms(&n->bucket, number_interval_us(n), number_burst(n), now_ms);
    if (wait_ms)
        wake_at(c, now_ms + wait_ms);
    return wait_ms == 0;
}

/* The oldest ready line of the number's lane; those that have become not ready meanwhile are put where they
 * belong. */
static struct line *number_first(struct courier *c, struct number *n, int lane, uint64_t *row,
                                 uint64_t now_ms)
{
    struct line *line;

    while ((line = heap_first(&n->ready[lane], row)) != NULL) {
        if (line_when_ms(c, line, now_ms) <= now_ms)
            return line;
        courier_place(c, line, now_ms);
    }
    return NULL;
}

struct line *courier_choose(struct courier *c, uint64_t now_ms)
{
    if (c->in_flight >= c->settings->connections || !pause_allows(c, &c->account, c->in_flight, now_ms))
        return NULL;
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        struct line *oldest = NULL;
        uint64_t oldest_row = 0;

        for (struct number *n = c->numbers; n; n = n->next) {
            struct line *line;
            uint64_t row;

            if (n->ready[lane].count == 0 || !number_allows(c, n, now_ms))
                continue;
            line = number_first(c, n, lane, &row, now_ms);
            if (line && (!oldest || row < oldest_row)) {
                oldest = line;
                oldest_row = row;
            }
        }
        if (oldest)
            return oldest;
    }
    return NULL;
}

void courier_took_off(struct courier *c, struct line *line, uint64_t now_ms)
{
    struct pair *p = line->pair;
    struct job *job = line->jobs.first;

    line_unplace(line);
    line->flying = true;
    p->flying[line->lane] = true;
    p->number->in_flight++;
    job->state = JOB_FLYING;
    courier_bucket_take(&p->number->bucket, number_interval_us(p->number), now_ms);
    if (!(job->of.flags & LEDGER_JOB_READ))
        courier_bucket_take(&p->bucket, c->settings->pair_interval_us, now_ms);
}

void courier_free_lines(struct courier *c)
{
    for (size_t i = 0; i < c->jobs.room; i++) {
        struct job *job = c->jobs.entries[i].value;

        if (job && job->line && job->line->aside)
            free(job->line);
        free(job);
    }
    for (size_t i = 0; i < c->pairs.room; i++) {
        struct pair *p = c->pairs.entries[i].value;

        for (int lane = 0; p && lane < LANE_COUNT; lane++)
            free(p->lines[lane]);
        free(p);
    }
    while (c->numbers) {
        struct number *n = c->numbers;

        c->numbers = n->next;
        for (int lane = 0; lane < LANE_COUNT; lane++)
            heap_free(&n->ready[lane]);
        free(n);
    }
    map_free(&c->jobs);
    map_free(&c->pairs);
}
