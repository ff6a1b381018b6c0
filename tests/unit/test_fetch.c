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

static void server_refuses_for_now(struct play *w)
{
    int fd = play_answer_call(w);

    if (play_hear_head(w, fd) && play_hear_body(w, fd))
        play_say(fd, "HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\nlater");
    close(fd);
}

static void tells_the_answer(void **state)
{
    struct play w = { 0 };
    struct play_story *s;

    (void)state;
    play_open(&w, server_refuses_for_now);
    s = play_fetch(&w, "POST", PLAY_BODY);
    assert_int_equal(fetcher_count(w.fetcher), 1);
    play_run(&w, 1);
    assert_int_equal(fetcher_count(w.fetcher), 0);
    assert_int_equal(s->result.outcome, FETCH_ANSWERED);
    assert_int_equal(s->result.status, 429);
    assert_string_equal(s->body, "later");
    assert_string_equal(s->retry_after, "7");
    assert_string_equal(s->why, "");
    assert_int_equal(w.bodies, 1);
    play_close(&w);
}

static void server_redirects(struct play *w)
{
    int fd = play_answer_call(w);

    if (play_hear_until(fd, "DELETE /") && play_hear_until(fd, "\r\n\r\n"))
        play_say(fd, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n");
    close(fd);
}

static void takes_a_redirect_for_the_answer(void **state)
{
    struct play w = { 0 };
    struct play_story *s;

    (void)state;
    play_open(&w, server_redirects);
    s = play_fetch(&w, "DELETE", NULL);
    play_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_ANSWERED);
    assert_int_equal(s->result.status, 302);
    play_close(&w);
}

static void server_talks_too_much(struct play *w)
{
    int fd = play_answer_call(w);

    if (play_hear_head(w, fd)) {
        play_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        play_say(fd, "0123456789012345678901234567890123456789");
    }
    (void)play_hear_until(fd, "never said: until we hang up");
    close(fd);
}

static void cuts_an_answer_at_the_bound(void **state)
{
    struct play w = { 0 };
    struct play_story *s;

    (void)state;
    play_open(&w, server_talks_too_much);
    s = play_fetch(&w, "GET", NULL);
    play_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_ANSWERED);
    assert_int_equal(s->result.status, 200);
    assert_string_equal(s->body, "01234567890123456789");
    play_close(&w);
}

static void calls_a_refused_connection_unsent(void **state)
{
    struct play w = { 0 };
    struct play_story *s;

    (void)state;
    play_open(&w, NULL);
    s = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_UNSENT);
    assert_int_equal(s->result.status, 0);
    assert_non_null(strstr(s->why, "onnect"));
    play_close(&w);
}

static void server_resets_after_the_body(struct play *w)
{
    int fd = play_answer_call(w);

    if (play_hear_head(w, fd) && play_hear_body(w, fd))
        play_reset(fd);
}

static void calls_a_reset_after_the_body_unknown(void **state)
{
    struct play w = { 0 };
    struct play_story *s;

    (void)state;
    play_open(&w, server_resets_after_the_body);
    s = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_UNKNOWN);
    assert_true(s->why[0]);
    play_close(&w);
}

static void calls_a_post_without_a_body_unknown_once_its_head_has_left(void **state)
{
    struct play w = { .timeout_ms = 200 };
    struct play_story *s;

    (void)state;
    play_open(&w, play_hang_after_the_body);
    s = play_fetch(&w, "POST", NULL);
    play_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_UNKNOWN);
    play_close(&w);
}

static void calls_silence_after_the_body_unknown_when_the_time_is_over(void **state)
{
    struct play w = { .timeout_ms = 200 };
    struct play_story *s;

    (void)state;
    play_open(&w, play_hang_after_the_body);
    s = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_UNKNOWN);
    play_close(&w);
    assert_int_equal(w.bodies, 1);
}

static void server_answers_half(struct play *w)
{
    int fd = play_answer_call(w);

    if (play_hear_head(w, fd) && play_hear_body(w, fd))
        play_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{");
    close(fd);
}

static void calls_half_an_answer_unknown(void **state)
{
    struct play w = { 0 };
    struct play_story *s;

    (void)state;
    play_open(&w, server_answers_half);
    s = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_UNKNOWN);
    assert_int_equal(s->result.status, 0);
    assert_string_equal(s->body, "");
    play_close(&w);
}

static void server_heads_without_end(struct play *w)
{
    static const char line[] = "X-More: 01234567890123456789012345678901234567890123456789\r\n";
    int fd = play_answer_call(w);

    if (play_hear_head(w, fd) && play_hear_body(w, fd))
        play_say(fd, "HTTP/1.1 200 OK\r\n");
    while (send(fd, line, sizeof line - 1, MSG_NOSIGNAL) > 0)
        ;
    close(fd);
}

static void hangs_up_on_a_head_without_end(void **state)
{
    struct play w = { 0 };
    struct play_story *s;

    (void)state;
    play_open(&w, server_heads_without_end);
    s = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_UNKNOWN);
    play_close(&w);
}

static void server_serves_three_over_one_connection(struct play *w)
{
    int fd = play_answer_call(w);

    while (play_hear_head(w, fd) && play_hear_body(w, fd))
        play_say(fd, PLAY_ANSWER_OK);
    close(fd);
}

static void lets_fetches_wait_for_a_connection(void **state)
{
    struct play w = { .held = true, .release_at_once = true, .connections_max = 1 };

    (void)state;
    play_open(&w, server_serves_three_over_one_connection);
    for (size_t i = 0; i < 3; i++)
        (void)play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(w.stories[i].result.outcome, FETCH_ANSWERED);
    assert_int_equal(w.bodies, 3);
    play_close(&w);
}

/* --- Cancelling ------------------------------------------------------------------------------------- */

static void asked_cancels(struct play_story *s)
{
    fetch_cancel(s->fetch);
    s->fetch = NULL;
    play_story_end(s->world);
}

static void may_be_cancelled_when_it_asks(void **state)
{
    struct play w = { .held = true, .asked = asked_cancels };
    struct play_story *s;

    (void)state;
    play_open(&w, play_hang_after_the_body);
    s = play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(s->done, 0);
    assert_int_equal(fetcher_count(w.fetcher), 0);
    play_close(&w);
    assert_int_equal(w.bodies, 0);
}

static void done_cancels_the_others(struct play_story *s)
{
    for (size_t i = 0; i < s->world->started; i++) {
        if (s->world->stories[i].fetch) {
            fetch_cancel(s->world->stories[i].fetch);
            s->world->stories[i].fetch = NULL;
        }
    }
}

static void may_be_cancelled_from_the_end_of_another(void **state)
{
    struct play w = { .done = done_cancels_the_others };

    (void)state;
    play_open(&w, NULL);
    for (size_t i = 0; i < 3; i++)
        (void)play_fetch(&w, "POST", PLAY_BODY);
    play_run(&w, 1);
    assert_int_equal(w.stories[0].done + w.stories[1].done + w.stories[2].done, 1);
    assert_int_equal(fetcher_count(w.fetcher), 0);
    play_close(&w);
}

static void ends_all_without_a_word_when_it_closes(void **state)
{
    struct play w = { .held = true };

    (void)state;
    play_open(&w, NULL);
    for (size_t i = 0; i < 3; i++)
        (void)play_fetch(&w, "POST", PLAY_BODY);
    play_close(&w);
    assert_int_equal(w.ended, 0);
}

/* --- Addresses -------------------------------------------------------------------------------------- */

static int start_at(struct play *w, const char *url)
{
    struct play_story *s = &w->stories[0];
    struct fetch_request request = {
        .method = "GET", .url = url, .timeout_ms = 1000, .done = play_story_done, .owner = s
    };
    int status = fetch_start(w->fetcher, &request, &s->fetch);

    if (status == STATUS_OK)
        fetch_cancel(s->fetch);
    return status;
}

static void speaks_plain_http_with_loopback_alone(void **state)
{
    static const char *const fine[] = { "http://127.0.0.1:9/",   "http://127.255.0.3/x",
                                        "http://localhost/",     "http://LOCALHOST:9/",
                                        "http://[::1]:9/",       "https://example.org/",
                                        "HTTP://127.0.0.1:9000/" };
    static const char *const bad[] = { "http://example.org/",
                                       "http://127.0.0.1.example.org/",
                                       "http://127.0.0.1@example.org/",
                                       "http://localhost.example.org/",
                                       "http://128.0.0.1/",
                                       "http://[::2]/",
                                       "http://192.0.2.1/",
                                       "ftp://127.0.0.1/",
                                       "file:///etc/passwd",
                                       "127.0.0.1",
                                       "https://",
                                       "" };
    struct play w = { 0 };

    (void)state;
    play_open(&w, NULL);
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
        assert_int_equal(start_at(&w, fine[i]), STATUS_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(start_at(&w, bad[i]), STATUS_INVALID);
    play_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_the_answer),
        cmocka_unit_test(takes_a_redirect_for_the_answer),
        cmocka_unit_test(cuts_an_answer_at_the_bound),
        cmocka_unit_test(calls_a_refused_connection_unsent),
        cmocka_unit_test(calls_a_reset_after_the_body_unknown),
        cmocka_unit_test(calls_a_post_without_a_body_unknown_once_its_head_has_left),
        cmocka_unit_test(calls_silence_after_the_body_unknown_when_the_time_is_over),
        cmocka_unit_test(calls_half_an_answer_unknown),
        cmocka_unit_test(hangs_up_on_a_head_without_end),
        cmocka_unit_test(lets_fetches_wait_for_a_connection),
        cmocka_unit_test(may_be_cancelled_when_it_asks),
        cmocka_unit_test(may_be_cancelled_from_the_end_of_another),
        cmocka_unit_test(ends_all_without_a_word_when_it_closes),
        cmocka_unit_test(speaks_plain_http_with_loopback_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
