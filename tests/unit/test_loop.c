/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sync/kit/loop.h"
#include "sync/protocol/status.h"

/* One loop with all that a test may look at; a guard timer ends a test that would hang. */
struct world {
    struct loop *loop;
    struct loop_timer timer, other, guard;
    struct loop_watch *watch, *second;
    int pair[2], more[2];
    unsigned turns, turns_wanted, fired, other_fired, reads, seconds, stops, reloads;
    uint64_t fired_at_ms;
    char bytes[16];
};

static void world_turn(void *owner)
{
    struct world *w = owner;

    if (++w->turns >= w->turns_wanted)
        loop_stop(w->loop);
    else
        loop_note(w->loop);
}

static void world_signalled(void *owner)
{
    struct world *w = owner;

    w->stops++;
    loop_stop(w->loop);
}

static void world_reload(void *owner)
{
    struct world *w = owner;

    w->reloads++;
    loop_stop(w->loop);
}

static void world_overslept(void *owner)
{
    (void)owner;
    fail_msg("the loop did not end by itself");
}

static void world_start(struct world *w)
{
    struct loop_options options = {
        .turn = world_turn, .stop = world_signalled, .reload = world_reload, .owner = w, .descriptors_max = 64
    };

    *w = (struct world){ .turns_wanted = 1 };
    assert_int_equal(loop_open(&w->loop, &options), STATUS_OK);
    assert_int_equal(loop_timer_open(&w->guard, w->loop, world_overslept, w), STATUS_OK);
    loop_timer_set(&w->guard, loop_now_ms() + 5000);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, w->pair), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, w->more), 0);
}

static void world_end(struct world *w)
{
    loop_timer_close(&w->timer);
    loop_timer_close(&w->other);
    loop_timer_close(&w->guard);
    loop_watch_close(w->watch);
    loop_watch_close(w->second);
    for (int i = 0; i < 2; i++) {
        close(w->pair[i]);
        close(w->more[i]);
    }
    loop_close(w->loop);
}

static void world_fired(void *owner)
{
    struct world *w = owner;

    w->fired++;
    w->fired_at_ms = loop_now_ms();
    loop_stop(w->loop);
}

static void world_fired_other(void *owner)
{
    struct world *w = owner;

    w->other_fired++;
}

static void runs_a_turn_for_each_note_and_none_without(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    assert_int_equal(loop_timer_open(&w.timer, w.loop, world_fired, &w), STATUS_OK);
    loop_timer_set(&w.timer, loop_now_ms() + 20);
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.fired, 1);
    assert_int_equal(w.turns, 0);

    /* What a turn notes gets a turn of its own, without anything from outside. */
    w.turns = 0;
    w.turns_wanted = 5;
    loop_note(w.loop);
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.turns, 5);
    world_end(&w);
}

static void fires_a_timer_once_at_its_time(void **state)
{
    struct world w;
    uint64_t start_ms;

    (void)state;
    world_start(&w);
    assert_int_equal(loop_timer_open(&w.timer, w.loop, world_fired, &w), STATUS_OK);
    assert_int_equal(loop_timer_open(&w.other, w.loop, world_fired_other, &w), STATUS_OK);
    start_ms = loop_now_ms();
    loop_timer_set(&w.other, start_ms + 10);
    loop_timer_set(&w.timer, start_ms + 1000000);
    loop_timer_set(&w.timer, start_ms + 60); /* The later call counts. */
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.fired, 1);
    assert_int_equal(w.other_fired, 1);
    assert_in_range(w.fired_at_ms, start_ms + 60, start_ms + 2000);

    /* A time gone by means at once; one switched off does not fire. */
    loop_timer_set(&w.timer, 0);
    loop_timer_set(&w.other, loop_now_ms());
    loop_timer_set(&w.other, UINT64_MAX);
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.fired, 2);
    assert_int_equal(w.other_fired, 1);
    world_end(&w);
}

static void world_notes(void *owner)
{
    struct world *w = owner;

    loop_note(w->loop);
}

static void runs_the_turn_that_a_timer_notes_at_once(void **state)
{
    struct world w;
    uint64_t start_ms = loop_now_ms();

    (void)state;
    world_start(&w);
    assert_int_equal(loop_timer_open(&w.timer, w.loop, world_notes, &w), STATUS_OK);
    loop_timer_set(&w.timer, start_ms + 10);
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.turns, 1);
    assert_in_range(loop_now_ms(), start_ms + 10, start_ms + 2000);
    world_end(&w);
}

static void world_closes_its_timer(void *owner)
{
    struct world *w = owner;

    w->fired++;
    loop_timer_close(&w->timer);
    loop_stop(w->loop);
}

static void lets_a_timer_close_itself(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    assert_int_equal(loop_timer_open(&w.timer, w.loop, world_closes_its_timer, &w), STATUS_OK);
    loop_timer_set(&w.timer, loop_now_ms());
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.fired, 1);
    loop_timer_close(&w.timer);
    world_end(&w);
}

static void world_reads(void *owner)
{
    struct world *w = owner;
    ssize_t n = read(w->pair[0], w->bytes, 1); /* Slowly: the rest must be told again. */

    assert_int_equal(n, 1);
    if (++w->reads == 3)
        loop_stop(w->loop);
}

static void tells_of_a_readable_descriptor_until_it_is_read(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    assert_int_equal(loop_watch_open(&w.watch, w.loop, w.pair[0], world_reads, &w), STATUS_OK);
    assert_int_equal(write(w.pair[1], "abc", 3), 3);
    assert_int_equal(shutdown(w.pair[1], SHUT_RDWR), 0); /* A peer that hung up has still said something. */
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.reads, 3);
    assert_int_equal(w.bytes[0], 'c');
    world_end(&w);
}

static void world_reads_an_epoll(void *owner)
{
    struct world *w = owner;
    struct epoll_event event;

    assert_int_equal(epoll_wait(w->more[0], &event, 1, 0), 1);
    assert_int_equal(event.data.fd, w->pair[0]);
    loop_stop(w->loop);
    w->reads++;
    assert_int_equal(read(w->pair[0], w->bytes, 1), 1);
}

static void watches_an_epoll_descriptor(void **state)
{
    struct world w;
    struct epoll_event event = { .events = EPOLLIN };

    (void)state;
    world_start(&w);
    close(w.more[0]);
    w.more[0] = epoll_create1(0);
    event.data.fd = w.pair[0];
    assert_int_equal(epoll_ctl(w.more[0], EPOLL_CTL_ADD, w.pair[0], &event), 0);
    assert_int_equal(loop_watch_open(&w.watch, w.loop, w.more[0], world_reads_an_epoll, &w), STATUS_OK);
    assert_int_equal(write(w.pair[1], "a", 1), 1);
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.reads, 1);
    world_end(&w);
}

/* Whichever of the two is told first closes both: the other must not be called any more. */
static void world_closes_both(void *owner)
{
    struct world *w = owner;

    w->seconds++;
    loop_watch_close(w->watch);
    loop_watch_close(w->second);
    w->watch = w->second = NULL;
    loop_stop(w->loop);
}

static void lets_a_watch_close_itself_and_another(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    assert_int_equal(loop_watch_open(&w.watch, w.loop, w.pair[0], world_closes_both, &w), STATUS_OK);
    assert_int_equal(loop_watch_open(&w.second, w.loop, w.more[0], world_closes_both, &w), STATUS_OK);
    assert_int_equal(write(w.pair[1], "a", 1), 1);
    assert_int_equal(write(w.more[1], "a", 1), 1);
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.seconds, 1);

    /* The caller's descriptors are still its own. */
    assert_int_equal(read(w.pair[0], w.bytes, 1), 1);
    assert_int_equal(read(w.more[0], w.bytes, 1), 1);
    world_end(&w);
}

static void *thread_wakes(void *owner)
{
    struct world *w = owner;

    usleep(20000); /* So that the loop is asleep: the point of the call. */
    loop_wake(w->loop);
    return NULL;
}

static void wakes_for_another_thread(void **state)
{
    struct world w;
    pthread_t thread;

    (void)state;
    world_start(&w);
    assert_int_equal(pthread_create(&thread, NULL, thread_wakes, &w), 0);
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.turns, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    world_end(&w);
}

static void takes_signals_to_stop_and_to_reload(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    assert_int_equal(kill(getpid(), SIGHUP), 0);
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.reloads, 1);
    assert_int_equal(w.stops, 0);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.stops, 1);

    /* The second is not told: the daemon is stopping already. */
    assert_int_equal(kill(getpid(), SIGINT), 0);
    loop_note(w.loop);
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.stops, 1);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_a_turn_for_each_note_and_none_without),
        cmocka_unit_test(fires_a_timer_once_at_its_time),
        cmocka_unit_test(runs_the_turn_that_a_timer_notes_at_once),
        cmocka_unit_test(lets_a_timer_close_itself),
        cmocka_unit_test(tells_of_a_readable_descriptor_until_it_is_read),
        cmocka_unit_test(watches_an_epoll_descriptor),
        cmocka_unit_test(lets_a_watch_close_itself_and_another),
        cmocka_unit_test(wakes_for_another_thread),
        cmocka_unit_test(takes_signals_to_stop_and_to_reload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
