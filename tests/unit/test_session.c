/* SPDX-License-Identifier: Apache-2.0 */
/* Two sessions, one at each end of a pretended link with a rate, a delay and a knife; two stores in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sync/protocol/item.h"
#include "sync/protocol/session.h"
#include "sync/protocol/status.h"

#define EPOCHS 4
#define ROWS_MAX 6000
#define FRAMES_MAX 512

struct row {
    size_t epoch; /* Index into the end's epochs. */
    uint64_t seq;
    uint8_t *bytes;
    size_t length;
    bool gone;
};

struct flying {
    uint8_t *bytes;
    size_t length;
    uint64_t at_ms;
};

struct end {
    struct session *session;
    epoch_id epochs[EPOCHS];
    size_t epoch_count;
    struct row rows[LANE_COUNT][ROWS_MAX];
    size_t row_count[LANE_COUNT];
    uint64_t next_seq[LANE_COUNT]; /* In the newest epoch. */
    /* What came from the other end. */
    struct session_marks taken[EPOCHS];
    struct session_marks pending[EPOCHS]; /* Stored in this turn, not committed. */
    size_t taken_count;
    uint64_t got[LANE_COUNT];
    uint64_t got_ms[LANE_COUNT];
    uint64_t got_order[LANE_COUNT][ROWS_MAX];
    size_t got_longest;
    bool got_wrong;
    /* Frames on their way to this end. */
    struct flying inbox[FRAMES_MAX];
    size_t inbox_head, inbox_tail;
    uint64_t line_free_ms;
    bool closed, silent;
    enum session_reason reason;
    struct session_report report;
    uint64_t frames, longest_frame, hello_bytes;
    uint64_t room_bytes;
};

struct world {
    struct end relay, gateway;
    struct session_room *room;
    uint64_t now_ms, delay_ms, bytes_per_s;
    bool cut, refuse_commits;
};

static struct end *other(struct world *w, struct end *e)
{
    return e == &w->relay ? &w->gateway : &w->relay;
}

static void add_row(struct end *e, enum lane lane, size_t length)
{
    struct row *r = &e->rows[lane][e->row_count[lane]++];

    assert_true(e->row_count[lane] <= ROWS_MAX);
    *r = (struct row){ .epoch = e->epoch_count - 1, .seq = ++e->next_seq[lane], .length = length };
    r->bytes = malloc(length);
    memset(r->bytes, (int)('a' + r->seq % 26), length);
    if (length >= 8)
        memcpy(r->bytes, &r->seq, 8);
}

static void fill_randomly(struct row *r)
{
    size_t i;

    for (i = 8; i < r->length; i++)
        r->bytes[i] = (uint8_t)rand();
}

static void new_epoch(struct end *e)
{
    e->epochs[e->epoch_count] = 0xE000000000000000u + 1000 * (uint64_t)(e->hello_bytes + 1) + e->epoch_count;
    e->epoch_count++;
    memset(e->next_seq, 0, sizeof e->next_seq);
}

static size_t waiting(const struct end *e, enum lane lane, uint64_t *bytes)
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

static struct world *world_start(void)
{
    struct world *w = calloc(1, sizeof *w);

    w->now_ms = 1000000;
    w->delay_ms = 20;
    w->bytes_per_s = 1000000;
    w->relay.room_bytes = w->gateway.room_bytes = 1000000;
    assert_int_equal(session_room_open(&w->room, PACK_HIGH), STATUS_OK);
    new_epoch(&w->relay);
    new_epoch(&w->gateway);
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

static void world_stop(struct world *w)
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

static void pump(struct world *w, struct end *e);

static void world_connect(struct world *w)
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
    pump(w, &w->relay);
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

static void drain(struct world *w, struct end *e)
{
    struct session_action a;

    while (session_next(e->session, w->now_ms, &a))
        act(w, e, &a);
}

static void pump(struct world *w, struct end *e)
{
    uint64_t bytes;
    int lane;

    for (lane = 0; lane < LANE_COUNT; lane++) {
        size_t count = waiting(e, (enum lane)lane, &bytes);

        session_waiting(e->session, (enum lane)lane, count, bytes);
    }
    drain(w, e);
}

static void turn(struct world *w, struct end *e)
{
    size_t i;

    while (e->inbox_head != e->inbox_tail && e->inbox[e->inbox_head % FRAMES_MAX].at_ms <= w->now_ms) {
        struct flying *f = &e->inbox[e->inbox_head++ % FRAMES_MAX];

        if (!e->closed)
            (void)session_receive(e->session, slice_of(f->bytes, f->length), w->now_ms);
        free(f->bytes);
        drain(w, e);
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
    pump(w, e);
}

/* Runs for so long, from event to event. */
static void run_ms(struct world *w, uint64_t ms)
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

static bool all_gone(const struct end *e)
{
    uint64_t bytes;
    int lane;

    for (lane = 0; lane < LANE_COUNT; lane++)
        if (waiting(e, (enum lane)lane, &bytes))
            return false;
    return true;
}

static void assert_in_order(const struct end *e, enum lane lane, size_t count)
{
    size_t i;

    assert_int_equal(e->got[lane], count);
    assert_false(e->got_wrong);
    for (i = 1; i < count; i++)
        assert_true(e->got_order[lane][i] > e->got_order[lane][i - 1]);
}

static void carries_rows_both_ways_in_order_and_settles_them(void **state)
{
    struct world *w = world_start();
    int i;

    (void)state;
    for (i = 0; i < 500; i++) {
        add_row(&w->relay, LANE_CHAT, 80 + (size_t)i % 50);
        add_row(&w->relay, LANE_ALERT, 60);
        add_row(&w->gateway, LANE_CHAT, 120);
    }
    world_connect(w);
    run_ms(w, 20000);
    assert_in_order(&w->gateway, LANE_CHAT, 500);
    assert_in_order(&w->gateway, LANE_ALERT, 500);
    assert_in_order(&w->relay, LANE_CHAT, 500);
    assert_true(all_gone(&w->relay));
    assert_true(all_gone(&w->gateway));
    world_stop(w);
}

static void says_hello_in_64_bytes_and_sends_rows_with_it(void **state)
{
    struct world *w = world_start();

    (void)state;
    add_row(&w->relay, LANE_CHAT, 100);
    w->relay.taken[0] = w->relay.pending[0] =
        (struct session_marks){ .epoch = w->gateway.epochs[0], .mark = { 0, 0, 70000 } };
    w->relay.taken_count = 1;
    w->delay_ms = 300;
    world_connect(w);
    assert_true(w->relay.hello_bytes <= 64);
    assert_int_equal(w->relay.frames, 2); /* Before any answer: the hello, and the first rows. */
    run_ms(w, 320);
    assert_int_equal(w->gateway.got[LANE_CHAT], 1); /* One way, not three. */
    assert_true(w->gateway.hello_bytes <= 64);
    run_ms(w, 320);
    assert_true(all_gone(&w->relay)); /* And the ack within one more: one row waited for nothing. */
    world_stop(w);
}

static void takes_each_row_once_when_the_link_is_cut_at_any_time(void **state)
{
    int cut_ms;

    (void)state;
    for (cut_ms = 1; cut_ms < 400; cut_ms += 7) {
        struct world *w = world_start();
        int i, links;

        w->bytes_per_s = 20000;
        for (i = 0; i < 300; i++) {
            add_row(&w->relay, i % 5 ? LANE_CHAT : LANE_BULK, 90);
            add_row(&w->gateway, LANE_CHAT, 90);
        }
        for (links = 0; links < 4; links++) {
            world_connect(w);
            run_ms(w, (uint64_t)(cut_ms + links * 131));
        }
        world_connect(w);
        run_ms(w, 60000);
        assert_in_order(&w->gateway, LANE_CHAT, 240);
        assert_in_order(&w->gateway, LANE_BULK, 60);
        assert_in_order(&w->relay, LANE_CHAT, 300);
        assert_true(all_gone(&w->relay));
        assert_true(all_gone(&w->gateway));
        world_stop(w);
    }
}

static void keeps_a_row_until_its_commit_and_sends_it_again_after_a_failed_one(void **state)
{
    struct world *w = world_start();

    (void)state;
    add_row(&w->relay, LANE_ALERT, 90);
    w->refuse_commits = true;
    world_connect(w);
    run_ms(w, 30); /* It was given to the store; the owner hangs up when its commit fails. */
    assert_int_equal(w->gateway.got[LANE_ALERT], 1);
    assert_false(all_gone(&w->relay));
    w->refuse_commits = false;
    memcpy(w->gateway.pending, w->gateway.taken, sizeof w->gateway.taken);
    world_connect(w);
    run_ms(w, 1000);
    assert_int_equal(w->gateway.got[LANE_ALERT], 2);
    assert_true(all_gone(&w->relay));
    world_stop(w);
}

static void sends_older_epochs_first_and_counts_anew_in_each(void **state)
{
    struct world *w = world_start();
    int epoch, i;

    (void)state;
    for (epoch = 0; epoch < 3; epoch++) {
        for (i = 0; i < 40; i++)
            add_row(&w->relay, LANE_CHAT, 50);
        if (epoch < 2)
            new_epoch(&w->relay);
    }
    world_connect(w);
    run_ms(w, 5000);
    assert_int_equal(w->gateway.got[LANE_CHAT], 120);
    assert_false(w->gateway.got_wrong);
    for (i = 0; i < 120; i++)
        assert_int_equal(w->gateway.got_order[LANE_CHAT][i], i % 40 + 1);
    assert_true(all_gone(&w->relay));
    world_stop(w);
}

static void passes_over_numbers_that_are_missing(void **state)
{
    struct world *w = world_start();
    size_t i;

    (void)state;
    for (i = 0; i < 100; i++) {
        add_row(&w->relay, LANE_CHAT, 50);
        w->relay.rows[LANE_CHAT][i].gone = i % 3 == 1 || (i > 50 && i < 80); /* Expired, withdrawn. */
    }
    world_connect(w);
    run_ms(w, 5000);
    assert_true(all_gone(&w->relay));
    assert_int_equal(w->gateway.taken[0].mark[LANE_CHAT], 100);
    assert_false(w->gateway.got_wrong);
    world_stop(w);
}

static void lets_an_urgent_row_overtake_a_backlog(void **state)
{
    struct world *w = world_start();
    uint64_t asked_ms;
    int i;

    (void)state;
    w->bytes_per_s = 8000; /* 64 kbit/s */
    w->delay_ms = 300;
    for (i = 0; i < 4000; i++)
        add_row(&w->relay, LANE_BULK, 120 + (size_t)(i * 7919) % 64);
    for (i = 0; i < 4000; i++) /* Rows that do not shrink: the link is what is scarce. */
        fill_randomly(&w->relay.rows[LANE_BULK][i]);
    world_connect(w);
    run_ms(w, 20000);
    assert_true(w->gateway.got[LANE_BULK] > 100);
    add_row(&w->relay, LANE_URGENT, 90);
    asked_ms = w->now_ms;
    pump(w, &w->relay);
    run_ms(w, 6000);
    assert_int_equal(w->gateway.got[LANE_URGENT], 1);
    /* What may be unacked (min RTT x goodput + a frame of a second) takes under 3 s to pass, the way itself
     * 0.3 s. */
    assert_true(w->gateway.got_ms[LANE_URGENT] - asked_ms <= 3000);
    assert_false(all_gone(&w->relay));
    world_stop(w);
}

static void shares_the_link_by_weight(void **state)
{
    struct world *w = world_start();
    int i;

    (void)state;
    w->bytes_per_s = 20000;
    for (i = 0; i < 5000; i++) {
        add_row(&w->relay, LANE_ALERT, 100);
        add_row(&w->relay, LANE_BULK, 100);
    }
    world_connect(w);
    run_ms(w, 1500);
    assert_true(w->gateway.got[LANE_BULK] > 0);
    assert_true(w->gateway.got[LANE_BULK] * 5 < w->gateway.got[LANE_ALERT]);
    world_stop(w);
}

static void carries_a_row_of_a_megabyte_in_pieces(void **state)
{
    struct world *w = world_start();

    (void)state;
    add_row(&w->relay, LANE_CHAT, 50);
    add_row(&w->relay, LANE_CHAT, 1000001);
    add_row(&w->relay, LANE_CHAT, 50);
    add_row(&w->relay, LANE_ALERT, 50);
    fill_randomly(&w->relay.rows[LANE_CHAT][1]);
    w->gateway.room_bytes = 50000; /* Credit is given piece by piece. */
    world_connect(w);
    run_ms(w, 60000);
    assert_in_order(&w->gateway, LANE_CHAT, 3);
    assert_int_equal(w->gateway.got_longest, 1000001);
    assert_true(w->relay.longest_frame <= 17000);
    assert_true(all_gone(&w->relay));
    world_stop(w);
}

static void begins_a_long_row_again_after_a_cut(void **state)
{
    struct world *w = world_start();

    (void)state;
    add_row(&w->gateway, LANE_CHAT, 200000);
    fill_randomly(&w->gateway.rows[LANE_CHAT][0]); /* It does not shrink: ten seconds of this link. */
    w->bytes_per_s = 20000;
    world_connect(w);
    run_ms(w, 3000);
    assert_int_equal(w->relay.got[LANE_CHAT], 0);
    world_connect(w);
    run_ms(w, 60000);
    assert_in_order(&w->relay, LANE_CHAT, 1);
    assert_true(all_gone(&w->gateway));
    world_stop(w);
}

static void sends_nothing_but_urgent_to_a_full_peer(void **state)
{
    struct world *w = world_start();
    int i;

    (void)state;
    w->relay.room_bytes = 0;
    for (i = 0; i < 200; i++) {
        add_row(&w->gateway, LANE_CHAT, 100);
        add_row(&w->gateway, LANE_URGENT, 100);
    }
    world_connect(w);
    run_ms(w, 10000);
    assert_int_equal(w->relay.got[LANE_URGENT], 200);
    assert_int_equal(w->relay.got[LANE_CHAT], 0);
    session_set_room(w->relay.session, 100000); /* There is room again. */
    run_ms(w, 10000);
    pump(w, &w->relay);
    run_ms(w, 10000);
    assert_int_equal(w->relay.got[LANE_CHAT], 200);
    world_stop(w);
}

static void notices_a_dead_link_and_a_living_one(void **state)
{
    struct world *w = world_start();
    uint64_t cut_ms;

    (void)state;
    world_connect(w);
    run_ms(w, 2000);
    w->cut = true;
    add_row(&w->relay, LANE_CHAT, 100);
    pump(w, &w->relay);
    cut_ms = w->now_ms;
    run_ms(w, 4900);
    assert_false(w->relay.silent);
    run_ms(w, 200);
    assert_true(w->relay.silent);
    run_ms(w, 9000);
    assert_false(w->relay.closed); /* Kept: it may come back. */
    run_ms(w, 2000);
    assert_true(w->relay.closed);
    assert_int_equal(w->relay.reason, SESSION_REASON_SILENT);
    assert_true(w->now_ms - cut_ms < 20000);
    world_connect(w);
    run_ms(w, 1000);
    assert_true(all_gone(&w->relay));
    world_stop(w);
}

static void pings_an_idle_link_rarely_and_learns_how_rarely(void **state)
{
    struct world *w = world_start();
    struct session_stats stats;
    uint64_t frames, first_idle;

    (void)state;
    world_connect(w);
    run_ms(w, 10000);
    frames = w->relay.frames + w->gateway.frames;
    session_stats(w->relay.session, &stats);
    first_idle = stats.idle_ms;
    run_ms(w, 3600000);
    frames = w->relay.frames + w->gateway.frames - frames;
    assert_true(frames >= 2 * 12 && frames <= 2 * 30);
    session_stats(w->relay.session, &stats);
    assert_true(stats.idle_ms > first_idle);
    assert_true(stats.up);
    w->cut = true; /* The NAT forgets. */
    run_ms(w, 330000);
    assert_true(w->relay.closed);
    session_stats(w->relay.session, &stats);
    assert_true(stats.idle_ms < 300000);
    run_ms(w, 700000);
    assert_true(w->gateway.closed);
    world_stop(w);
}

static void tells_its_queue(void **state)
{
    struct world *w = world_start();

    (void)state;
    world_connect(w);
    session_set_report(w->relay.session, &(struct session_report){ 12, 3456, 78 }, w->now_ms);
    run_ms(w, 1000);
    assert_int_equal(w->gateway.report.messages, 12);
    assert_int_equal(w->gateway.report.oldest_age_s, 78);
    session_set_report(w->relay.session, &(struct session_report){ 13, 3500, 80 }, w->now_ms);
    run_ms(w, 1000);
    assert_int_equal(w->gateway.report.messages, 12); /* Not each change: once a minute. */
    run_ms(w, 60000);
    assert_int_equal(w->gateway.report.messages, 13);
    world_stop(w);
}

static void receive_at_gateway(struct world *w, const char *bytes, size_t length)
{
    (void)session_receive(w->gateway.session, slice_of(bytes, length), w->now_ms);
    drain(w, &w->gateway);
}

static void closes_on_frames_that_are_none(void **state)
{
    static const char *const bad[] = {
        "\x20",                         /* Another frame format. */
        "\x10\x90",                     /* An unknown record. */
        "\x12\x22\x03\x00\x00",         /* Cut short. */
        "\x10\x42\x05\x01",             /* A receipt for frames that were never sent. */
        "\x10\x10\x01\x01",             /* A second hello. */
        "\x12\x22\x04\x05\x00\x01\x61", /* An epoch nobody announced. */
        "\x12\x27\x04\x01\x00\x01\x61", /* A lane that is none. */
        "\x10\x42\x00\x01\x02\x7f",     /* A mark beyond what was sent. */
    };
    static const size_t lengths[] = { 1, 2, 5, 4, 4, 7, 7, 6 };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct world *w = world_start();

        world_connect(w);
        run_ms(w, 1000);
        receive_at_gateway(w, bad[i], lengths[i]);
        assert_true(w->gateway.closed);
        assert_int_equal(w->gateway.reason, SESSION_REASON_MALFORMED);
        world_stop(w);
    }
}

static void refuses_a_version_it_does_not_speak(void **state)
{
    struct world *w = world_start();

    (void)state;
    assert_int_equal(
        session_open(&w->gateway.session, &(struct session_options){ .role = SESSION_GATEWAY }, w->room),
        STATUS_OK);
    assert_int_equal(session_start(w->gateway.session, NULL, w->now_ms), STATUS_OK);
    receive_at_gateway(w, "\x10\x10\x03\x02\x05\x77", 6);
    assert_true(w->gateway.closed);
    assert_int_equal(w->gateway.reason, SESSION_REASON_VERSION);
    assert_int_equal(session_close_code(SESSION_REASON_VERSION), 4002);
    world_stop(w);
}

static void answers_its_mark_to_a_batch_from_beyond_it(void **state)
{
    struct world *w = world_start();
    /* Data, last; batch of chat, epoch 0, prev 5, first 6, raw, one row "a". */
    static const char gap[] = "\x13\x22\x06\x00\x05\x01\x00\x02\x61";

    (void)state;
    add_row(&w->relay, LANE_CHAT, 20);
    world_connect(w);
    run_ms(w, 1000);
    assert_int_equal(w->gateway.got[LANE_CHAT], 1);
    receive_at_gateway(w, gap, sizeof gap - 1);
    assert_false(w->gateway.closed);
    assert_int_equal(w->gateway.got[LANE_CHAT], 1);
    world_stop(w);
}

static void never_crashes_on_altered_frames(void **state)
{
    unsigned seed;

    (void)state;
    for (seed = 0; seed < 500; seed++) {
        struct world *w = world_start();
        struct flying *f;
        int flips;

        srand(seed);
        add_row(&w->relay, LANE_CHAT, 100);
        add_row(&w->relay, LANE_URGENT, 30);
        add_row(&w->relay, LANE_DOCUMENT, seed % 7 ? 40 : 40000);
        world_connect(w);
        if (seed % 3)
            run_ms(w, 21);
        if (w->gateway.inbox_head != w->gateway.inbox_tail) {
            f = &w->gateway.inbox[(w->gateway.inbox_tail - 1) % FRAMES_MAX];
            for (flips = 0; flips < 1 + (int)(seed % 4); flips++)
                f->bytes[(size_t)rand() % f->length] = (uint8_t)rand();
        }
        w->gateway.got_wrong = false;
        w->refuse_commits = true; /* What the store would hold is not this test's question. */
        run_ms(w, 25);
        world_stop(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_rows_both_ways_in_order_and_settles_them),
        cmocka_unit_test(says_hello_in_64_bytes_and_sends_rows_with_it),
        cmocka_unit_test(takes_each_row_once_when_the_link_is_cut_at_any_time),
        cmocka_unit_test(keeps_a_row_until_its_commit_and_sends_it_again_after_a_failed_one),
        cmocka_unit_test(sends_older_epochs_first_and_counts_anew_in_each),
        cmocka_unit_test(passes_over_numbers_that_are_missing),
        cmocka_unit_test(lets_an_urgent_row_overtake_a_backlog),
        cmocka_unit_test(shares_the_link_by_weight),
        cmocka_unit_test(carries_a_row_of_a_megabyte_in_pieces),
        cmocka_unit_test(begins_a_long_row_again_after_a_cut),
        cmocka_unit_test(sends_nothing_but_urgent_to_a_full_peer),
        cmocka_unit_test(notices_a_dead_link_and_a_living_one),
        cmocka_unit_test(pings_an_idle_link_rarely_and_learns_how_rarely),
        cmocka_unit_test(tells_its_queue),
        cmocka_unit_test(closes_on_frames_that_are_none),
        cmocka_unit_test(refuses_a_version_it_does_not_speak),
        cmocka_unit_test(answers_its_mark_to_a_batch_from_beyond_it),
        cmocka_unit_test(never_crashes_on_altered_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
