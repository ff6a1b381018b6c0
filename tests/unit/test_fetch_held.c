/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sync/protocol/status.h"
#include "tests/unit/support_fetch.h"

static void server_checks_that_the_body_is_held(struct play *w)
{
    int fd = play_answer_call(w);

    if (play_hear_head(w, fd)) {
        atomic_store(&w->early, !play_is_silent(fd));
        atomic_store(&w->checked, true);
        loop_wake(w->loop);
        if (play_hear_body(w, fd))
            play_say(fd, PLAY_ANSWER_OK);
    }
    close(fd);
}

static void turn_releases_when_checked(struct play *w)
{
    if (atomic_load(&w->checked) && w->stories[0].asked)
        fetch_release(w->stories[0].fetch);
}

static void sends_no_byte_of_a_held_body_before_its_release(void **state)
{
    struct play w = { .held = true, .turn = turn_releases_when_checked };
    struct play_story *s;

    (void)state;
    play_open(&w, server_checks_that_the_body_is_held);
    s = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(s->asked, 1);
    assert_int_equal(s->result.outcome, FETCH_ANSWERED);
    assert_false(w.early);
    assert_int_equal(w.bodies, 1);
    play_close(&w);
}

static void calls_a_body_that_was_never_released_unsent(void **state)
{
    struct play w = { .held = true, .timeout_ms = 200 };
    struct play_story *s;

    (void)state;
    play_open(&w, play_hang_after_the_body);
    s = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(s->asked, 1);
    assert_int_equal(s->result.outcome, FETCH_UNSENT);
    play_close(&w);
    assert_int_equal(w.heads, 1);
    assert_int_equal(w.bodies, 0);
}

static void server_refuses_the_head(struct play *w)
{
    int fd = play_answer_call(w);

    if (play_hear_head(w, fd))
        play_say(fd, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
    atomic_store(&w->early, play_hear_until(fd, "\""));
    close(fd);
}

static void turn_releases_later(struct play *w)
{
    if (w->stories[0].asked && ++w->stories[0].asked > 50) {
        fetch_release(w->stories[0].fetch);
        return;
    }
    usleep(1000);
    loop_note(w->loop);
}

static void takes_an_answer_that_comes_before_the_body_was_sent(void **state)
{
    struct play w = { .held = true, .turn = turn_releases_later };
    struct play_story *s;

    (void)state;
    play_open(&w, server_refuses_the_head);
    s = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_ANSWERED);
    assert_int_equal(s->result.status, 401);
    play_close(&w);
    assert_false(w.early);
}

/* --- Connections that are used again ---------------------------------------------------------------- */

static void server_answers_then_closes_idle_and_answers_again(struct play *w)
{
    for (size_t i = 0; i < 2; i++) {
        int fd = play_answer_call(w);

        if (play_hear_head(w, fd) && play_hear_body(w, fd))
            play_say(fd, PLAY_ANSWER_OK);
        close(fd);
        atomic_store(&w->checked, true);
    }
}

static void takes_a_new_connection_for_one_that_was_closed_while_idle(void **state)
{
    struct play w = { .held = true, .release_at_once = true };
    struct play_story *second;

    (void)state;
    play_open(&w, server_answers_then_closes_idle_and_answers_again);
    (void)play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    while (!atomic_load(&w.checked))
        usleep(1000);
    second = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(second->result.outcome, FETCH_ANSWERED);
    assert_int_equal(second->asked, 1);
    play_close(&w);
    assert_int_equal(w.bodies, 2);
}

/* The server takes the second body over the same connection, and then dies without a word: the very case in
 * which curl, left to itself, sends it again. */
static void server_dies_with_the_second_body(struct play *w)
{
    int fd = play_answer_call(w);

    if (play_hear_head(w, fd) && play_hear_body(w, fd))
        play_say(fd, PLAY_ANSWER_OK);
    if (play_hear_head(w, fd) && play_hear_body(w, fd))
        play_reset(fd);
    fd = play_answer_call(w); /* Closing hangs up on this call: nobody else should make it. */
    if (fd >= 0 && play_hear_head(w, fd) && play_hear_body(w, fd))
        play_say(fd, PLAY_ANSWER_OK);
    if (fd >= 0)
        close(fd);
}

static void never_sends_a_body_twice(void **state)
{
    for (int held = 0; held < 2; held++) {
        struct play w = { .held = held != 0, .release_at_once = true };
        struct play_story *second;

        (void)state;
        play_open(&w, server_dies_with_the_second_body);
        (void)play_fetch(&w, "POST", PLAY_BODY);
        play_run(&w, 1);
        second = play_fetch(&w, "POST", PLAY_BODY);
        play_run(&w, 1);
        assert_int_equal(second->result.outcome, FETCH_UNKNOWN);
        assert_int_equal(w.bodies, 2);
        (void)shutdown(w.listener, SHUT_RDWR);
        play_close(&w);
        assert_int_equal(w.bodies, 2);
    }
}

/* The connection is reset while the second body is held: its head goes over a new one, and we are not asked
 * twice. Curl 8 gives the fetch up instead: nothing had left, and it may be tried again. */
static void server_resets_at_the_second_head(struct play *w)
{
    int fd = play_answer_call(w);

    if (play_hear_head(w, fd) && play_hear_body(w, fd))
        play_say(fd, PLAY_ANSWER_OK);
    if (play_hear_head(w, fd) && play_is_silent(fd))
        play_reset(fd);
    fd = play_answer_call(w);
    if (play_hear_head(w, fd)) {
        atomic_store(&w->early, !play_is_silent(fd));
        atomic_store(&w->checked, true);
        loop_wake(w->loop);
    }
    if (play_hear_body(w, fd))
        play_say(fd, PLAY_ANSWER_OK);
    close(fd);
}

static void turn_releases_the_second_when_checked(struct play *w)
{
    if (w->started == 1 && w->stories[0].asked && !w->stories[0].done)
        fetch_release(w->stories[0].fetch);
    if (atomic_load(&w->checked) && w->stories[1].asked && !w->stories[1].done)
        fetch_release(w->stories[1].fetch);
    if (atomic_load(&w->checked) && w->stories[2].asked && !w->stories[2].done)
        fetch_release(w->stories[2].fetch);
}

static void carries_a_held_body_over_to_a_new_connection(void **state)
{
    struct play w = { .held = true, .turn = turn_releases_the_second_when_checked };
    struct play_story *second;

    (void)state;
    play_open(&w, server_resets_at_the_second_head);
    (void)play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    second = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    if (second->result.outcome == FETCH_UNSENT) {
        second = play_fetch(&w, "POST", PLAY_BODY);
        play_run(&w, 1);
    }
    assert_int_equal(second->result.outcome, FETCH_ANSWERED);
    assert_int_equal(second->asked, 1);
    assert_false(w.early);
    play_close(&w);
    assert_int_equal(w.heads, 3);
    assert_int_equal(w.bodies, 2);
}

/* A quiet end in the same place. */
static void server_hangs_up_at_the_second_head(struct play *w)
{
    int fd = play_answer_call(w);

    if (play_hear_head(w, fd) && play_hear_body(w, fd))
        play_say(fd, PLAY_ANSWER_OK);
    if (play_hear_head(w, fd) && play_is_silent(fd))
        close(fd);
    atomic_store(&w->checked, true);
    loop_wake(w->loop);
    fd = play_answer_call(w);
    if (play_hear_head(w, fd) && play_hear_body(w, fd))
        play_say(fd, PLAY_ANSWER_OK);
    close(fd);
}

static void does_not_send_a_held_body_to_a_server_that_hung_up(void **state)
{
    struct play w = { .held = true, .turn = turn_releases_the_second_when_checked };
    struct play_story *second, *third;

    (void)state;
    play_open(&w, server_hangs_up_at_the_second_head);
    (void)play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    second = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(second->result.outcome, FETCH_UNSENT);
    assert_true(w.checked);
    w.turn = NULL;
    w.release_at_once = true;
    third = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(third->result.outcome, FETCH_ANSWERED);
    play_close(&w);
    assert_int_equal(w.bodies, 2);
}

/* Here curl thinks that nothing was sent: there was no body to send. */
static void never_sends_a_post_without_a_body_twice(void **state)
{
    struct play w = { 0 };
    struct play_story *second;

    (void)state;
    play_open(&w, server_resets_at_the_second_head);
    (void)play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    second = play_fetch(&w, "POST", NULL);
    play_run(&w, 1);
    assert_int_equal(second->result.outcome, FETCH_UNKNOWN);
    (void)shutdown(w.listener, SHUT_RDWR);
    play_close(&w);
    assert_int_equal(w.heads, 2);
}

static void server_goes_for_good_with_the_second_head(struct play *w)
{
    int fd = play_answer_call(w);

    if (play_hear_head(w, fd) && play_hear_body(w, fd))
        play_say(fd, PLAY_ANSWER_OK);
    if (play_hear_head(w, fd)) {
        (void)shutdown(w->listener, SHUT_RDWR);
        play_reset(fd);
    }
}

static void calls_a_held_body_unsent_when_the_server_goes_for_good(void **state)
{
    struct play w = { .held = true, .turn = turn_releases_the_second_when_checked };
    struct play_story *second;

    (void)state;
    play_open(&w, server_goes_for_good_with_the_second_head);
    (void)play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    second = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(second->result.outcome, FETCH_UNSENT);
    play_close(&w);
    assert_int_equal(w.bodies, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_no_byte_of_a_held_body_before_its_release),
        cmocka_unit_test(calls_a_body_that_was_never_released_unsent),
        cmocka_unit_test(takes_an_answer_that_comes_before_the_body_was_sent),
        cmocka_unit_test(takes_a_new_connection_for_one_that_was_closed_while_idle),
        cmocka_unit_test(never_sends_a_body_twice),
        cmocka_unit_test(carries_a_held_body_over_to_a_new_connection),
        cmocka_unit_test(does_not_send_a_held_body_to_a_server_that_hung_up),
        cmocka_unit_test(never_sends_a_post_without_a_body_twice),
        cmocka_unit_test(calls_a_held_body_unsent_when_the_server_goes_for_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
