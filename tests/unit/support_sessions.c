/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sync/protocol/status.h"
#include "tests/unit/support_sessions.h"

static struct end *other(struct world *w, struct end *e)
{
    return e == &w->relay ? &w->gateway : &w->relay;
}

void world_add_row(struct end *e, enum lane lane, size_t length)
{
    struct row *r = &e->rows[lane][e->row_count[lane]++];

    assert_true(e->row_count[lane] <= ROWS_MAX);
    *r = (struct row){ .epoch = e->epoch_count - 1, .seq = ++e->next_seq[lane], .length = length };
    r->bytes = malloc(length);
    memset(r->bytes, (int)('a' + r->seq % 26), length);
    if (length >= 8)
        memcpy(r->bytes, &r->seq, 8);
}

void world_fill_randomly(struct row *r)
{
    size_t i;

    for (i = 8; i < r->length; i++)
        r->bytes[i] = (uint8_t)rand();
}

void world_new_epoch(struct end *e)
{
    e->epochs[e->epoch_count] = 0xE000000000000000u + 1000 * (uint64_t)(e->hello_bytes + 1) + e->epoch_count;
    e->epoch_count++;
    memset(e->next_seq, 0, sizeof e->next_seq);
}

size_t world_waiting(const struct end *e, enum lane lane, uint64_t *bytes)
{
    size_t count = 0;
    size_t i;

    *bytes = 0;
    for (i = 0; i < e->row_count[lane]; i++)
        if (!e->rows[lane][i].gone) {
            count++;
            *bytes += e->rows[lane][i].length;
        }
    return count;
}

struct world *world_start(void)
{
    struct world *w = calloc(1, sizeof *w);

    w->now_ms = 1000000;
    w->delay_ms = 20;
    w->bytes_per_s = 1000000;
    w->relay.room_bytes = w->gateway.room_bytes = 1000000;
    assert_int_equal(session_room_open(&w->room, PACK_HIGH), STATUS_OK);
    world_new_epoch(&w->relay);
    world_new_epoch(&w->gateway);
    w->gateway.epochs[0] = 0x6000000000000001u;
    return w;
}

static void end_stop(struct end *e)
{
    session_close(e->session);
    e->session = NULL;
    while (e->inbox_head != e->inbox_tail)
        free(e->inbox[e->inbox_head++ % FRAMES_MAX].bytes);
    memcpy(e->pending, e->taken, sizeof e->taken);
    e->line_free_ms = 0;
}

void world_stop(struct world *w)
{
    struct end *ends[] = { &w->relay, &w->gateway };
    size_t e, i;
    int lane;

    for (e = 0; e < 2; e++) {
        end_stop(ends[e]);
        for (lane = 0; lane < LANE_COUNT; lane++)
            for (i = 0; i < ends[e]->row_count[lane]; i++)
                free(ends[e]->rows[lane][i].bytes);
    }
    session_room_close(w->room);
    free(w);
}

static struct session_hello hello_of(struct end *e, struct session_marks *epochs)
{
    size_t i;

    for (i = 0; i < e->epoch_count; i++)
        epochs[i] = (struct session_marks){ .epoch = e->epochs[i] };
    return (struct session_hello){ .store_id = 0x1122334455667788u,
                                   .boot_counter = 40,
                                   .clock_ms = 1764000000000u,
                                   .room_bytes = e->room_bytes,
                                   .epochs = epochs,
                                   .epoch_count = e->epoch_count,
                                   .taken = e->taken,
                                   .taken_count = e->taken_count };
}

void world_connect(struct world *w)
{
    struct session_marks epochs[EPOCHS];
    struct session_hello hello = hello_of(&w->relay, epochs);

    end_stop(&w->relay);
    end_stop(&w->gateway);
    w->relay.closed = w->gateway.closed = false;
    w->relay.silent = w->gateway.silent = false;
    w->cut = false;
    assert_int_equal(
        session_open(&w->relay.session, &(struct session_options){ .role = SESSION_RELAY }, w->room),
        STATUS_OK);
    assert_int_equal(
        session_open(&w->gateway.session, &(struct session_options){ .role = SESSION_GATEWAY }, w->room),
        STATUS_OK);
    assert_int_equal(session_start(w->gateway.session, NULL, w->now_ms), STATUS_OK);
    assert_int_equal(session_start(w->relay.session, &hello, w->now_ms), STATUS_OK);
    world_pump(w, &w->relay);
}

static void send_frame(struct world *w, struct end *to, struct slice bytes)
{
    struct flying *f = &to->inbox[to->inbox_tail++ % FRAMES_MAX];
    uint64_t start = to->line_free_ms > w->now_ms ? to->line_free_ms : w->now_ms;

    assert_true(to->inbox_tail - to->inbox_head < FRAMES_MAX);
    to->line_free_ms = start + bytes.length * 1000 / w->bytes_per_s;
    *f = (struct flying){ .bytes = malloc(bytes.length),
                          .length = bytes.length,
                          .at_ms = to->line_free_ms + w->delay_ms };
    memcpy(f->bytes, bytes.at, bytes.length);
}

static void offer_rows(struct end *e, const struct session_action *a)
{
    bool started = a->epoch == 0;
    size_t epoch = 0;
    size_t i;

    while (a->epoch && e->epochs[epoch] != a->epoch)
        epoch++;
    for (i = 0; i < e->row_count[a->lane]; i++) {
        struct row *r = &e->rows[a->lane][i];

        if (!started && (r->epoch < epoch || (r->epoch == epoch && r->seq <= a->seq)))
            continue;
        if (r->gone)
            continue;
        if (session_offer(e->session, e->epochs[r->epoch], r->seq, slice_of(r->bytes, r->length)) !=
            STATUS_OK) {
            session_offer_end(e->session, false);
            return;
        }
    }
    session_offer_end(e->session, true);
}

static void store_row(struct world *w, struct end *e, const struct session_action *a)
{
    struct end *from = other(w, e);
    size_t epoch = 0;
    size_t i;

    while (e->pending[epoch].epoch != a->epoch) {
        if (e->pending[epoch].epoch == 0)
            e->pending[epoch].epoch = a->epoch;
        else
            epoch++;
    }
    assert_true(a->seq > e->pending[epoch].mark[a->lane]); /* Stored once, in rising order. */
    e->pending[epoch].mark[a->lane] = a->seq;
    for (i = 0; i < from->row_count[a->lane]; i++) {
        struct row *r = &from->rows[a->lane][i];

        if (r->seq == a->seq && from->epochs[r->epoch] == a->epoch)
            e->got_wrong |= r->length != a->bytes.length || memcmp(r->bytes, a->bytes.at, r->length) != 0;
    }
    e->got_order[a->lane][e->got[a->lane]++] = a->seq;
    e->got_ms[a->lane] = w->now_ms;
    if (a->bytes.length > e->got_longest)
        e->got_longest = a->bytes.length;
}

static void settle_rows(struct end *e, const struct session_action *a)
{
    size_t i;

    for (i = 0; i < e->row_count[a->lane]; i++) {
        struct row *r = &e->rows[a->lane][i];

        if (e->epochs[r->epoch] == a->epoch && r->seq <= a->seq)
            r->gone = true;
    }
}

static void welcome(struct world *w, struct end *e, const struct session_hello *hello)
{
    struct session_marks epochs[EPOCHS], taken[EPOCHS];
    struct session_hello own = hello_of(e, epochs);
    size_t i, k;

    for (i = 0; i < hello->epoch_count; i++) {
        taken[i] = (struct session_marks){ .epoch = hello->epochs[i].epoch };
        for (k = 0; k < EPOCHS; k++)
            if (e->taken[k].epoch == hello->epochs[i].epoch)
                taken[i] = e->taken[k];
    }
    own.taken = taken;
    own.taken_count = hello->epoch_count;
    assert_int_equal(session_welcome(e->session, &own, w->now_ms), STATUS_OK);
}

static void act(struct world *w, struct end *e, const struct session_action *a)
{
    switch (a->kind) {
    case ACTION_SEND:
        e->frames++;
        if (e->frames == 1)
            e->hello_bytes = a->bytes.length;
        if (a->bytes.length > e->longest_frame)
            e->longest_frame = a->bytes.length;
        if (!w->cut)
            send_frame(w, other(w, e), a->bytes);
        break;
    case ACTION_WANT: offer_rows(e, a); break;
    case ACTION_STORE: store_row(w, e, a); break;
    case ACTION_SETTLE: settle_rows(e, a); break;
    case ACTION_HELLO:
        if (e == &w->gateway)
            welcome(w, e, &a->hello);
        break;
    case ACTION_REPORT: e->report = a->report; break;
    case ACTION_SILENT: e->silent = true; break;
    case ACTION_ALIVE: e->silent = false; break;
    case ACTION_CLOSE:
        e->closed = true;
        e->reason = a->reason;
        break;
    }
}

void world_drain(struct world *w, struct end *e)
{
    struct session_action a;

    while (session_next(e->session, w->now_ms, &a))
        act(w, e, &a);
}

void world_pump(struct world *w, struct end *e)
{
    uint64_t bytes;
    int lane;

    for (lane = 0; lane < LANE_COUNT; lane++) {
        size_t count = world_waiting(e, (enum lane)lane, &bytes);

        session_waiting(e->session, (enum lane)lane, count, bytes);
    }
    world_drain(w, e);
}

static void turn(struct world *w, struct end *e)
{
    size_t i;

    while (e->inbox_head != e->inbox_tail && e->inbox[e->inbox_head % FRAMES_MAX].at_ms <= w->now_ms) {
        struct flying *f = &e->inbox[e->inbox_head++ % FRAMES_MAX];

        if (!e->closed)
            (void)session_receive(e->session, slice_of(f->bytes, f->length), w->now_ms);
        free(f->bytes);
        world_drain(w, e);
    }
    if (e->closed)
        return;
    if (w->refuse_commits)
        memcpy(e->pending, e->taken, sizeof e->taken);
    else
        memcpy(e->taken, e->pending, sizeof e->taken);
    for (i = 0, e->taken_count = 0; i < EPOCHS && e->taken[i].epoch; i++)
        e->taken_count++;
    if (e == &w->relay && e->taken_count > 1)
        e->taken_count = 1;
    session_committed(e->session, w->now_ms);
    world_pump(w, e);
}

/* Runs for so long, from event to event. */
void world_run_ms(struct world *w, uint64_t ms)
{
    uint64_t until = w->now_ms + ms;

    while (w->now_ms < until) {
        struct end *ends[] = { &w->relay, &w->gateway };
        uint64_t next = until;
        size_t i;

        for (i = 0; i < 2; i++) {
            struct end *e = ends[i];
            uint64_t due = e->closed ? UINT64_MAX : session_due_ms(e->session);

            if (e->inbox_head != e->inbox_tail && e->inbox[e->inbox_head % FRAMES_MAX].at_ms < due)
                due = e->inbox[e->inbox_head % FRAMES_MAX].at_ms;
            if (due < next)
                next = due;
        }
        w->now_ms = next > w->now_ms ? next : w->now_ms + 1;
        turn(w, &w->relay);
        turn(w, &w->gateway);
    }
}

bool world_all_gone(const struct end *e)
{
    uint64_t bytes;
    int lane;

    for (lane = 0; lane < LANE_COUNT; lane++)
        if (world_waiting(e, (enum lane)lane, &bytes))
            return false;
    return true;
}

void world_assert_in_order(const struct end *e, enum lane lane, size_t count)
{
    size_t i;

    assert_int_equal(e->got[lane], count);
    assert_false(e->got_wrong);
    for (i = 1; i < count; i++)
        assert_true(e->got_order[lane][i] > e->got_order[lane][i - 1]);
}
