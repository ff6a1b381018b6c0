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

static void carries_rows_both_ways_in_order_and_settles_them(void **state)
{
    struct world *w = world_start();
    int i;

    (void)state;
    for (i = 0; i < 500; i++) {
        world_add_row(&w->relay, LANE_CHAT, 80 + (size_t)i % 50);
        world_add_row(&w->relay, LANE_ALERT, 60);
        world_add_row(&w->gateway, LANE_CHAT, 120);
    }
    world_connect(w);
    world_run_ms(w, 20000);
    world_assert_in_order(&w->gateway, LANE_CHAT, 500);
    world_assert_in_order(&w->gateway, LANE_ALERT, 500);
    world_assert_in_order(&w->relay, LANE_CHAT, 500);
    assert_true(world_all_gone(&w->relay));
    assert_true(world_all_gone(&w->gateway));
    world_stop(w);
}

static void says_hello_in_64_bytes_and_sends_rows_with_it(void **state)
{
    struct world *w = world_start();

    (void)state;
    world_add_row(&w->relay, LANE_CHAT, 100);
    w->relay.taken[0] = w->relay.pending[0] =
        (struct session_marks){ .epoch = w->gateway.epochs[0], .mark = { 0, 0, 70000 } };
    w->relay.taken_count = 1;
    w->delay_ms = 300;
    world_connect(w);
    assert_true(w->relay.hello_bytes <= 64);
    assert_int_equal(w->relay.frames, 2); /* Before any answer: the hello, and the first rows. */
    world_run_ms(w, 320);
    assert_int_equal(w->gateway.got[LANE_CHAT], 1); /* One way, not three. */
    assert_true(w->gateway.hello_bytes <= 64);
    world_run_ms(w, 320);
    assert_true(world_all_gone(&w->relay)); /* And the ack within one more: one row waited for nothing. */
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
            world_add_row(&w->relay, i % 5 ? LANE_CHAT : LANE_BULK, 90);
            world_add_row(&w->gateway, LANE_CHAT, 90);
        }
        for (links = 0; links < 4; links++) {
            world_connect(w);
            world_run_ms(w, (uint64_t)(cut_ms + links * 131));
        }
        world_connect(w);
        world_run_ms(w, 60000);
        world_assert_in_order(&w->gateway, LANE_CHAT, 240);
        world_assert_in_order(&w->gateway, LANE_BULK, 60);
        world_assert_in_order(&w->relay, LANE_CHAT, 300);
        assert_true(world_all_gone(&w->relay));
        assert_true(world_all_gone(&w->gateway));
        world_stop(w);
    }
}

static void keeps_a_row_until_its_commit_and_sends_it_again_after_a_failed_one(void **state)
{
    struct world *w = world_start();

    (void)state;
    world_add_row(&w->relay, LANE_ALERT, 90);
    w->refuse_commits = true;
    world_connect(w);
    world_run_ms(w, 30); /* It was given to the store; the owner hangs up when its commit fails. */
    assert_int_equal(w->gateway.got[LANE_ALERT], 1);
    assert_false(world_all_gone(&w->relay));
    w->refuse_commits = false;
    memcpy(w->gateway.pending, w->gateway.taken, sizeof w->gateway.taken);
    world_connect(w);
    world_run_ms(w, 1000);
    assert_int_equal(w->gateway.got[LANE_ALERT], 2);
    assert_true(world_all_gone(&w->relay));
    world_stop(w);
}

static void sends_older_epochs_first_and_counts_anew_in_each(void **state)
{
    struct world *w = world_start();
    int epoch, i;

    (void)state;
    for (epoch = 0; epoch < 3; epoch++) {
        for (i = 0; i < 40; i++)
            world_add_row(&w->relay, LANE_CHAT, 50);
        if (epoch < 2)
            world_new_epoch(&w->relay);
    }
    world_connect(w);
    world_run_ms(w, 5000);
    assert_int_equal(w->gateway.got[LANE_CHAT], 120);
    assert_false(w->gateway.got_wrong);
    for (i = 0; i < 120; i++)
        assert_int_equal(w->gateway.got_order[LANE_CHAT][i], i % 40 + 1);
    assert_true(world_all_gone(&w->relay));
    world_stop(w);
}

static void passes_over_numbers_that_are_missing(void **state)
{
    struct world *w = world_start();
    size_t i;

    (void)state;
    for (i = 0; i < 100; i++) {
        world_add_row(&w->relay, LANE_CHAT, 50);
        w->relay.rows[LANE_CHAT][i].gone = i % 3 == 1 || (i > 50 && i < 80); /* Expired, withdrawn. */
    }
    world_connect(w);
    world_run_ms(w, 5000);
    assert_true(world_all_gone(&w->relay));
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
        world_add_row(&w->relay, LANE_BULK, 120 + (size_t)(i * 7919) % 64);
    for (i = 0; i < 4000; i++) /* Rows that do not shrink: the link is what is scarce. */
        world_fill_randomly(&w->relay.rows[LANE_BULK][i]);
    world_connect(w);
    world_run_ms(w, 20000);
    assert_true(w->gateway.got[LANE_BULK] > 100);
    world_add_row(&w->relay, LANE_URGENT, 90);
    asked_ms = w->now_ms;
    world_pump(w, &w->relay);
    world_run_ms(w, 6000);
    assert_int_equal(w->gateway.got[LANE_URGENT], 1);
    /* What may be unacked (min RTT x goodput + a frame of a second) takes under 3 s to pass, the way itself
     * 0.3 s. */
    assert_true(w->gateway.got_ms[LANE_URGENT] - asked_ms <= 3000);
    assert_false(world_all_gone(&w->relay));
    world_stop(w);
}

static void shares_the_link_by_weight(void **state)
{
    struct world *w = world_start();
    int i;

    (void)state;
    w->bytes_per_s = 20000;
    for (i = 0; i < 5000; i++) {
        world_add_row(&w->relay, LANE_ALERT, 100);
        world_add_row(&w->relay, LANE_BULK, 100);
    }
    world_connect(w);
    world_run_ms(w, 1500);
    assert_true(w->gateway.got[LANE_BULK] > 0);
    assert_true(w->gateway.got[LANE_BULK] * 5 < w->gateway.got[LANE_ALERT]);
    world_stop(w);
}

static void carries_a_row_of_a_megabyte_in_pieces(void **state)
{
    struct world *w = world_start();

    (void)state;
    world_add_row(&w->relay, LANE_CHAT, 50);
    world_add_row(&w->relay, LANE_CHAT, 1000001);
    world_add_row(&w->relay, LANE_CHAT, 50);
    world_add_row(&w->relay, LANE_ALERT, 50);
    world_fill_randomly(&w->relay.rows[LANE_CHAT][1]);
    w->gateway.room_bytes = 50000; /* Credit is given piece by piece. */
    world_connect(w);
    world_run_ms(w, 60000);
    world_assert_in_order(&w->gateway, LANE_CHAT, 3);
    assert_int_equal(w->gateway.got_longest, 1000001);
    assert_true(w->relay.longest_frame <= 17000);
    assert_true(world_all_gone(&w->relay));
    world_stop(w);
}

static void begins_a_long_row_again_after_a_cut(void **state)
{
    struct world *w = world_start();

    (void)state;
    world_add_row(&w->gateway, LANE_CHAT, 200000);
    world_fill_randomly(&w->gateway.rows[LANE_CHAT][0]); /* It does not shrink: ten seconds of this link. */
    w->bytes_per_s = 20000;
    world_connect(w);
    world_run_ms(w, 3000);
    assert_int_equal(w->relay.got[LANE_CHAT], 0);
    world_connect(w);
    world_run_ms(w, 60000);
    world_assert_in_order(&w->relay, LANE_CHAT, 1);
    assert_true(world_all_gone(&w->gateway));
    world_stop(w);
}

static void sends_nothing_but_urgent_to_a_full_peer(void **state)
{
    struct world *w = world_start();
    int i;

    (void)state;
    w->relay.room_bytes = 0;
    for (i = 0; i < 200; i++) {
        world_add_row(&w->gateway, LANE_CHAT, 100);
        world_add_row(&w->gateway, LANE_URGENT, 100);
    }
    world_connect(w);
    world_run_ms(w, 10000);
    assert_int_equal(w->relay.got[LANE_URGENT], 200);
    assert_int_equal(w->relay.got[LANE_CHAT], 0);
    session_set_room(w->relay.session, 100000); /* There is room again. */
    world_run_ms(w, 10000);
    world_pump(w, &w->relay);
    world_run_ms(w, 10000);
    assert_int_equal(w->relay.got[LANE_CHAT], 200);
    world_stop(w);
}

static void notices_a_dead_link_and_a_living_one(void **state)
{
    struct world *w = world_start();
    uint64_t cut_ms;

    (void)state;
    world_connect(w);
    world_run_ms(w, 2000);
    w->cut = true;
    world_add_row(&w->relay, LANE_CHAT, 100);
    world_pump(w, &w->relay);
    cut_ms = w->now_ms;
    world_run_ms(w, 4900);
    assert_false(w->relay.silent);
    world_run_ms(w, 200);
    assert_true(w->relay.silent);
    world_run_ms(w, 9000);
    assert_false(w->relay.closed); /* Kept: it may come back. */
    world_run_ms(w, 2000);
    assert_true(w->relay.closed);
    assert_int_equal(w->relay.reason, SESSION_REASON_SILENT);
    assert_true(w->now_ms - cut_ms < 20000);
    world_connect(w);
    world_run_ms(w, 1000);
    assert_true(world_all_gone(&w->relay));
    world_stop(w);
}

static void pings_an_idle_link_rarely_and_learns_how_rarely(void **state)
{
    struct world *w = world_start();
    struct session_stats stats;
    uint64_t frames, first_idle;

    (void)state;
    world_connect(w);
    world_run_ms(w, 10000);
    frames = w->relay.frames + w->gateway.frames;
    session_stats(w->relay.session, &stats);
    first_idle = stats.idle_ms;
    world_run_ms(w, 3600000);
    frames = w->relay.frames + w->gateway.frames - frames;
    assert_true(frames >= 2 * 12 && frames <= 2 * 30);
    session_stats(w->relay.session, &stats);
    assert_true(stats.idle_ms > first_idle);
    assert_true(stats.up);
    w->cut = true; /* The NAT forgets. */
    world_run_ms(w, 330000);
    assert_true(w->relay.closed);
    session_stats(w->relay.session, &stats);
    assert_true(stats.idle_ms < 300000);
    world_run_ms(w, 700000);
    assert_true(w->gateway.closed);
    world_stop(w);
}

static void tells_its_queue(void **state)
{
    struct world *w = world_start();

    (void)state;
    world_connect(w);
    session_set_report(w->relay.session, &(struct session_report){ 12, 3456, 78 }, w->now_ms);
    world_run_ms(w, 1000);
    assert_int_equal(w->gateway.report.messages, 12);
    assert_int_equal(w->gateway.report.oldest_age_s, 78);
    session_set_report(w->relay.session, &(struct session_report){ 13, 3500, 80 }, w->now_ms);
    world_run_ms(w, 1000);
    assert_int_equal(w->gateway.report.messages, 12); /* Not each change: once a minute. */
    world_run_ms(w, 60000);
    assert_int_equal(w->gateway.report.messages, 13);
    world_stop(w);
}

static void receive_at_gateway(struct world *w, const char *bytes, size_t length)
{
    (void)session_receive(w->gateway.session, slice_of(bytes, length), w->now_ms);
    world_drain(w, &w->gateway);
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
        world_run_ms(w, 1000);
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
    world_add_row(&w->relay, LANE_CHAT, 20);
    world_connect(w);
    world_run_ms(w, 1000);
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
        world_add_row(&w->relay, LANE_CHAT, 100);
        world_add_row(&w->relay, LANE_URGENT, 30);
        world_add_row(&w->relay, LANE_DOCUMENT, seed % 7 ? 40 : 40000);
        world_connect(w);
        if (seed % 3)
            world_run_ms(w, 21);
        if (w->gateway.inbox_head != w->gateway.inbox_tail) {
            f = &w->gateway.inbox[(w->gateway.inbox_tail - 1) % FRAMES_MAX];
            for (flips = 0; flips < 1 + (int)(seed % 4); flips++)
                f->bytes[(size_t)rand() % f->length] = (uint8_t)rand();
        }
        w->gateway.got_wrong = false;
        w->refuse_commits = true; /* What the store would hold is not this test's question. */
        world_run_ms(w, 25);
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
