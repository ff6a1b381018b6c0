/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sync/kit/fetch.h"
#include "sync/protocol/status.h"

#define FETCHES_MAX 4u
#define BODY "{\"text\":\"a message\"}"

/* What one fetch came to. */
struct story {
    struct world *world;
    struct fetch *fetch;
    unsigned asked, done;
    struct fetch_result result;
    char body[256], why[256], retry_after[64];
};

/* Fetches in a real loop, and a server played by hand from a thread of its own. */
struct world {
    struct loop *loop;
    struct loop_timer guard;
    struct fetcher *fetcher;
    struct story stories[FETCHES_MAX];
    unsigned started, ended, end; /* The loop stops when so many have ended. */
    bool held;                    /* Fetches ask before they send their bodies ... */
    bool release_at_once;         /* ... and may at once, or when a test says so in its turn. */
    void (*asked)(struct story *s);
    void (*done)(struct story *s);
    void (*turn)(struct world *w);
    void (*server)(struct world *w);
    pthread_t thread;
    int listener;
    uint16_t port;
    unsigned connections_max;
    uint64_t timeout_ms;
    atomic_uint bodies, heads; /* Heard by the server. */
    atomic_bool checked, early;
};

/* --- Our side --------------------------------------------------------------------------------------- */

static void story_ready(void *owner, struct fetch *fetch)
{
    struct story *s = owner;

    assert_ptr_equal(s->fetch, fetch);
    s->asked++;
    if (s->world->release_at_once)
        fetch_release(fetch);
    if (s->world->asked)
        s->world->asked(s);
    loop_note(s->world->loop);
}

static void story_end(struct world *w)
{
    w->ended++;
    if (w->ended == w->end)
        loop_stop(w->loop);
}

static void story_done(void *owner, struct fetch *fetch, const struct fetch_result *result)
{
    struct story *s = owner;

    assert_ptr_equal(s->fetch, fetch);
    s->done++;
    s->result = *result;
    s->fetch = NULL;
    snprintf(s->body, sizeof s->body, "%.*s", (int)result->body.length,
             result->body.length ? (const char *)result->body.at : "");
    snprintf(s->why, sizeof s->why, "%s", result->why);
    snprintf(s->retry_after, sizeof s->retry_after, "%s", result->retry_after ? result->retry_after : "");
    if (s->world->done)
        s->world->done(s);
    story_end(s->world);
}

static void world_overslept(void *owner)
{
    (void)owner;
    fail_msg("the fetches did not come to their end");
}

static void world_turn(void *owner)
{
    struct world *w = owner;

    if (w->turn)
        w->turn(w);
}

static void *world_server(void *owner)
{
    struct world *w = owner;

    w->server(w);
    return NULL;
}

static void world_open(struct world *w, void (*server)(struct world *w))
{
    struct loop_options loop = { .turn = world_turn, .owner = w, .descriptors_max = 16 };
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof a;

    assert_int_equal(loop_open(&w->loop, &loop), STATUS_OK);
    assert_int_equal(loop_timer_open(&w->guard, w->loop, world_overslept, w), STATUS_OK);
    loop_timer_set(&w->guard, loop_now_ms() + 20000);
    assert_int_equal(fetcher_open(&w->fetcher, w->loop, w->connections_max ? w->connections_max : 4),
                     STATUS_OK);
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(w->listener, (struct sockaddr *)&a, &length), 0);
    w->port = ntohs(a.sin_port);
    w->server = server;
    if (!server)
        return;
    assert_int_equal(listen(w->listener, 8), 0);
    assert_int_equal(pthread_create(&w->thread, NULL, world_server, w), 0);
}

static void world_close(struct world *w)
{
    fetcher_close(w->fetcher);
    if (w->server)
        pthread_join(w->thread, NULL);
    close(w->listener);
    loop_timer_close(&w->guard);
    loop_close(w->loop);
}

static struct story *world_fetch(struct world *w, const char *method, const char *body)
{
    static const char *const headers[] = { "Content-Type: application/json", "Authorization: Bearer x",
                                           NULL };
    struct story *s = &w->stories[w->started++];
    char url[64];
    struct fetch_request request = { .method = method,
                                     .url = url,
                                     .headers = headers,
                                     .body = slice_text(body),
                                     .timeout_ms = w->timeout_ms ? w->timeout_ms : 10000,
                                     .body_bytes_max = 20,
                                     .ready = w->held ? story_ready : NULL,
                                     .done = story_done,
                                     .owner = s };

    assert_true(w->started <= FETCHES_MAX);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v23.0/1/messages", w->port);
    s->world = w;
    assert_int_equal(fetch_start(w->fetcher, &request, &s->fetch), STATUS_OK);
    assert_int_equal(s->asked + s->done, 0);
    return s;
}

static void world_run(struct world *w, unsigned more)
{
    w->end = w->ended + more;
    assert_int_equal(loop_run(w->loop), STATUS_OK);
}

/* --- The server's side: plain sockets, and no asserts, which belong to the main thread --------------- */

static int answer_call(struct world *w)
{
    struct timeval patience = { .tv_sec = 10 };
    int fd = accept(w->listener, NULL, NULL);

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static bool hear_until(int fd, const char *what)
{
    char heard[4096];
    size_t n = 0;

    while (n < sizeof heard - 1) {
        if (recv(fd, heard + n, 1, 0) != 1)
            return false;
        heard[++n] = '\0';
        if (strstr(heard, what))
            return true;
    }
    return false;
}

static bool hear_head(struct world *w, int fd)
{
    bool heard = hear_until(fd, "\r\n\r\n");

    atomic_fetch_add(&w->heads, heard);
    return heard;
}

static bool hear_body(struct world *w, int fd)
{
    bool heard = hear_until(fd, BODY);

    atomic_fetch_add(&w->bodies, heard);
    return heard;
}

static bool is_silent(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, 100) == 0;
}

static void say(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void reset(int fd)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

#define ANSWER_OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

/* --- Stories ---------------------------------------------------------------------------------------- */

static void server_refuses_for_now(struct world *w)
{
    int fd = answer_call(w);

    if (hear_head(w, fd) && hear_body(w, fd))
        say(fd, "HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\nlater");
    close(fd);
}

static void tells_the_answer(void **state)
{
    struct world w = { 0 };
    struct story *s;

    (void)state;
    world_open(&w, server_refuses_for_now);
    s = world_fetch(&w, "POST", BODY);
    assert_int_equal(fetcher_count(w.fetcher), 1);
    world_run(&w, 1);
    assert_int_equal(fetcher_count(w.fetcher), 0);
    assert_int_equal(s->result.outcome, FETCH_ANSWERED);
    assert_int_equal(s->result.status, 429);
    assert_string_equal(s->body, "later");
    assert_string_equal(s->retry_after, "7");
    assert_string_equal(s->why, "");
    assert_int_equal(w.bodies, 1);
    world_close(&w);
}

static void server_redirects(struct world *w)
{
    int fd = answer_call(w);

    if (hear_until(fd, "DELETE /") && hear_until(fd, "\r\n\r\n"))
        say(fd, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n");
    close(fd);
}

static void takes_a_redirect_for_the_answer(void **state)
{
    struct world w = { 0 };
    struct story *s;

    (void)state;
    world_open(&w, server_redirects);
    s = world_fetch(&w, "DELETE", NULL);
    world_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_ANSWERED);
    assert_int_equal(s->result.status, 302);
    world_close(&w);
}

static void server_talks_too_much(struct world *w)
{
    int fd = answer_call(w);

    if (hear_head(w, fd)) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        say(fd, "0123456789012345678901234567890123456789");
    }
    (void)hear_until(fd, "never said: until we hang up");
    close(fd);
}

static void cuts_an_answer_at_the_bound(void **state)
{
    struct world w = { 0 };
    struct story *s;

    (void)state;
    world_open(&w, server_talks_too_much);
    s = world_fetch(&w, "GET", NULL);
    world_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_ANSWERED);
    assert_int_equal(s->result.status, 200);
    assert_string_equal(s->body, "01234567890123456789");
    world_close(&w);
}

static void calls_a_refused_connection_unsent(void **state)
{
    struct world w = { 0 };
    struct story *s;

    (void)state;
    world_open(&w, NULL);
    s = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_UNSENT);
    assert_int_equal(s->result.status, 0);
    assert_non_null(strstr(s->why, "onnect"));
    world_close(&w);
}

static void server_resets_after_the_body(struct world *w)
{
    int fd = answer_call(w);

    if (hear_head(w, fd) && hear_body(w, fd))
        reset(fd);
}

static void calls_a_reset_after_the_body_unknown(void **state)
{
    struct world w = { 0 };
    struct story *s;

    (void)state;
    world_open(&w, server_resets_after_the_body);
    s = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_UNKNOWN);
    assert_true(s->why[0]);
    world_close(&w);
}

static void server_hangs_after_the_body(struct world *w)
{
    int fd = answer_call(w);

    (void)hear_head(w, fd);
    (void)hear_body(w, fd);
    (void)hear_until(fd, "never said: until we hang up");
    close(fd);
}

static void calls_a_post_without_a_body_unknown_once_its_head_has_left(void **state)
{
    struct world w = { .timeout_ms = 200 };
    struct story *s;

    (void)state;
    world_open(&w, server_hangs_after_the_body);
    s = world_fetch(&w, "POST", NULL);
    world_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_UNKNOWN);
    world_close(&w);
}

static void calls_silence_after_the_body_unknown_when_the_time_is_over(void **state)
{
    struct world w = { .timeout_ms = 200 };
    struct story *s;

    (void)state;
    world_open(&w, server_hangs_after_the_body);
    s = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_UNKNOWN);
    world_close(&w);
    assert_int_equal(w.bodies, 1);
}

static void server_answers_half(struct world *w)
{
    int fd = answer_call(w);

    if (hear_head(w, fd) && hear_body(w, fd))
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{");
    close(fd);
}

static void calls_half_an_answer_unknown(void **state)
{
    struct world w = { 0 };
    struct story *s;

    (void)state;
    world_open(&w, server_answers_half);
    s = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_UNKNOWN);
    assert_int_equal(s->result.status, 0);
    assert_string_equal(s->body, "");
    world_close(&w);
}

static void server_heads_without_end(struct world *w)
{
    static const char line[] = "X-More: 01234567890123456789012345678901234567890123456789\r\n";
    int fd = answer_call(w);

    if (hear_head(w, fd) && hear_body(w, fd))
        say(fd, "HTTP/1.1 200 OK\r\n");
    while (send(fd, line, sizeof line - 1, MSG_NOSIGNAL) > 0)
        ;
    close(fd);
}

static void hangs_up_on_a_head_without_end(void **state)
{
    struct world w = { 0 };
    struct story *s;

    (void)state;
    world_open(&w, server_heads_without_end);
    s = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_UNKNOWN);
    world_close(&w);
}

/* --- Held bodies ------------------------------------------------------------------------------------ */

static void server_checks_that_the_body_is_held(struct world *w)
{
    int fd = answer_call(w);

    if (hear_head(w, fd)) {
        atomic_store(&w->early, !is_silent(fd));
        atomic_store(&w->checked, true);
        loop_wake(w->loop);
        if (hear_body(w, fd))
            say(fd, ANSWER_OK);
    }
    close(fd);
}

static void turn_releases_when_checked(struct world *w)
{
    if (atomic_load(&w->checked) && w->stories[0].asked)
        fetch_release(w->stories[0].fetch);
}

static void sends_no_byte_of_a_held_body_before_its_release(void **state)
{
    struct world w = { .held = true, .turn = turn_releases_when_checked };
    struct story *s;

    (void)state;
    world_open(&w, server_checks_that_the_body_is_held);
    s = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(s->asked, 1);
    assert_int_equal(s->result.outcome, FETCH_ANSWERED);
    assert_false(w.early);
    assert_int_equal(w.bodies, 1);
    world_close(&w);
}

static void calls_a_body_that_was_never_released_unsent(void **state)
{
    struct world w = { .held = true, .timeout_ms = 200 };
    struct story *s;

    (void)state;
    world_open(&w, server_hangs_after_the_body);
    s = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(s->asked, 1);
    assert_int_equal(s->result.outcome, FETCH_UNSENT);
    world_close(&w);
    assert_int_equal(w.heads, 1);
    assert_int_equal(w.bodies, 0);
}

static void server_refuses_the_head(struct world *w)
{
    int fd = answer_call(w);

    if (hear_head(w, fd))
        say(fd, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
    atomic_store(&w->early, hear_until(fd, "\""));
    close(fd);
}

static void turn_releases_later(struct world *w)
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
    struct world w = { .held = true, .turn = turn_releases_later };
    struct story *s;

    (void)state;
    world_open(&w, server_refuses_the_head);
    s = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(s->result.outcome, FETCH_ANSWERED);
    assert_int_equal(s->result.status, 401);
    world_close(&w);
    assert_false(w.early);
}

/* --- Connections that are used again ---------------------------------------------------------------- */

static void server_answers_then_closes_idle_and_answers_again(struct world *w)
{
    for (size_t i = 0; i < 2; i++) {
        int fd = answer_call(w);

        if (hear_head(w, fd) && hear_body(w, fd))
            say(fd, ANSWER_OK);
        close(fd);
        atomic_store(&w->checked, true);
    }
}

static void takes_a_new_connection_for_one_that_was_closed_while_idle(void **state)
{
    struct world w = { .held = true, .release_at_once = true };
    struct story *second;

    (void)state;
    world_open(&w, server_answers_then_closes_idle_and_answers_again);
    (void)world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    while (!atomic_load(&w.checked))
        usleep(1000);
    second = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(second->result.outcome, FETCH_ANSWERED);
    assert_int_equal(second->asked, 1);
    world_close(&w);
    assert_int_equal(w.bodies, 2);
}

/* The server takes the second body over the same connection, and then dies without a word: the very case in
 * which curl, left to itself, sends it again. */
static void server_dies_with_the_second_body(struct world *w)
{
    int fd = answer_call(w);

    if (hear_head(w, fd) && hear_body(w, fd))
        say(fd, ANSWER_OK);
    if (hear_head(w, fd) && hear_body(w, fd))
        reset(fd);
    fd = answer_call(w); /* World_close() hangs up on this call: nobody else should make it. */
    if (fd >= 0 && hear_head(w, fd) && hear_body(w, fd))
        say(fd, ANSWER_OK);
    if (fd >= 0)
        close(fd);
}

static void never_sends_a_body_twice(void **state)
{
    for (int held = 0; held < 2; held++) {
        struct world w = { .held = held != 0, .release_at_once = true };
        struct story *second;

        (void)state;
        world_open(&w, server_dies_with_the_second_body);
        (void)world_fetch(&w, "POST", BODY);
        world_run(&w, 1);
        second = world_fetch(&w, "POST", BODY);
        world_run(&w, 1);
        assert_int_equal(second->result.outcome, FETCH_UNKNOWN);
        assert_int_equal(w.bodies, 2);
        (void)shutdown(w.listener, SHUT_RDWR);
        world_close(&w);
        assert_int_equal(w.bodies, 2);
    }
}

/* The connection is reset while the second body is held: its head goes over a new one, and we are not asked
 * twice. */
static void server_resets_at_the_second_head(struct world *w)
{
    int fd = answer_call(w);

    if (hear_head(w, fd) && hear_body(w, fd))
        say(fd, ANSWER_OK);
    if (hear_head(w, fd) && is_silent(fd))
        reset(fd);
    fd = answer_call(w);
    if (hear_head(w, fd)) {
        atomic_store(&w->early, !is_silent(fd));
        atomic_store(&w->checked, true);
        loop_wake(w->loop);
    }
    if (hear_body(w, fd))
        say(fd, ANSWER_OK);
    close(fd);
}

static void turn_releases_the_second_when_checked(struct world *w)
{
    if (w->started == 1 && w->stories[0].asked && !w->stories[0].done)
        fetch_release(w->stories[0].fetch);
    if (atomic_load(&w->checked) && w->stories[1].asked)
        fetch_release(w->stories[1].fetch);
}

static void carries_a_held_body_over_to_a_new_connection(void **state)
{
    struct world w = { .held = true, .turn = turn_releases_the_second_when_checked };
    struct story *second;

    (void)state;
    world_open(&w, server_resets_at_the_second_head);
    (void)world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    second = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(second->result.outcome, FETCH_ANSWERED);
    assert_int_equal(second->asked, 1);
    assert_false(w.early);
    world_close(&w);
    assert_int_equal(w.heads, 3);
    assert_int_equal(w.bodies, 2);
}

/* A quiet end in the same place. */
static void server_hangs_up_at_the_second_head(struct world *w)
{
    int fd = answer_call(w);

    if (hear_head(w, fd) && hear_body(w, fd))
        say(fd, ANSWER_OK);
    if (hear_head(w, fd) && is_silent(fd))
        close(fd);
    atomic_store(&w->checked, true);
    loop_wake(w->loop);
    fd = answer_call(w);
    if (hear_head(w, fd) && hear_body(w, fd))
        say(fd, ANSWER_OK);
    close(fd);
}

static void does_not_send_a_held_body_to_a_server_that_hung_up(void **state)
{
    struct world w = { .held = true, .turn = turn_releases_the_second_when_checked };
    struct story *second, *third;

    (void)state;
    world_open(&w, server_hangs_up_at_the_second_head);
    (void)world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    second = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(second->result.outcome, FETCH_UNSENT);
    assert_true(w.checked);
    w.turn = NULL;
    w.release_at_once = true;
    third = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(third->result.outcome, FETCH_ANSWERED);
    world_close(&w);
    assert_int_equal(w.bodies, 2);
}

static void server_goes_for_good_with_the_second_head(struct world *w)
{
    int fd = answer_call(w);

    if (hear_head(w, fd) && hear_body(w, fd))
        say(fd, ANSWER_OK);
    if (hear_head(w, fd)) {
        (void)shutdown(w->listener, SHUT_RDWR);
        reset(fd);
    }
}

static void calls_a_held_body_unsent_when_the_server_goes_for_good(void **state)
{
    struct world w = { .held = true, .turn = turn_releases_the_second_when_checked };
    struct story *second;

    (void)state;
    world_open(&w, server_goes_for_good_with_the_second_head);
    (void)world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    second = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(second->result.outcome, FETCH_UNSENT);
    world_close(&w);
    assert_int_equal(w.bodies, 1);
}

static void server_serves_three_over_one_connection(struct world *w)
{
    int fd = answer_call(w);

    while (hear_head(w, fd) && hear_body(w, fd))
        say(fd, ANSWER_OK);
    close(fd);
}

static void lets_fetches_wait_for_a_connection(void **state)
{
    struct world w = { .held = true, .release_at_once = true, .connections_max = 1 };

    (void)state;
    world_open(&w, server_serves_three_over_one_connection);
    for (size_t i = 0; i < 3; i++)
        (void)world_fetch(&w, "POST", BODY);
    world_run(&w, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(w.stories[i].result.outcome, FETCH_ANSWERED);
    assert_int_equal(w.bodies, 3);
    world_close(&w);
}

/* --- Cancelling ------------------------------------------------------------------------------------- */

static void asked_cancels(struct story *s)
{
    fetch_cancel(s->fetch);
    s->fetch = NULL;
    story_end(s->world);
}

static void may_be_cancelled_when_it_asks(void **state)
{
    struct world w = { .held = true, .asked = asked_cancels };
    struct story *s;

    (void)state;
    world_open(&w, server_hangs_after_the_body);
    s = world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(s->done, 0);
    assert_int_equal(fetcher_count(w.fetcher), 0);
    world_close(&w);
    assert_int_equal(w.bodies, 0);
}

static void done_cancels_the_others(struct story *s)
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
    struct world w = { .done = done_cancels_the_others };

    (void)state;
    world_open(&w, NULL);
    for (size_t i = 0; i < 3; i++)
        (void)world_fetch(&w, "POST", BODY);
    world_run(&w, 1);
    assert_int_equal(w.stories[0].done + w.stories[1].done + w.stories[2].done, 1);
    assert_int_equal(fetcher_count(w.fetcher), 0);
    world_close(&w);
}

static void ends_all_without_a_word_when_it_closes(void **state)
{
    struct world w = { .held = true };

    (void)state;
    world_open(&w, NULL);
    for (size_t i = 0; i < 3; i++)
        (void)world_fetch(&w, "POST", BODY);
    world_close(&w);
    assert_int_equal(w.ended, 0);
}

/* --- Addresses -------------------------------------------------------------------------------------- */

static int start_at(struct world *w, const char *url)
{
    struct story *s = &w->stories[0];
    struct fetch_request request = {
        .method = "GET", .url = url, .timeout_ms = 1000, .done = story_done, .owner = s
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
    struct world w = { 0 };

    (void)state;
    world_open(&w, NULL);
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
        assert_int_equal(start_at(&w, fine[i]), STATUS_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(start_at(&w, bad[i]), STATUS_INVALID);
    world_close(&w);
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
        cmocka_unit_test(sends_no_byte_of_a_held_body_before_its_release),
        cmocka_unit_test(calls_a_body_that_was_never_released_unsent),
        cmocka_unit_test(takes_an_answer_that_comes_before_the_body_was_sent),
        cmocka_unit_test(takes_a_new_connection_for_one_that_was_closed_while_idle),
        cmocka_unit_test(never_sends_a_body_twice),
        cmocka_unit_test(carries_a_held_body_over_to_a_new_connection),
        cmocka_unit_test(does_not_send_a_held_body_to_a_server_that_hung_up),
        cmocka_unit_test(calls_a_held_body_unsent_when_the_server_goes_for_good),
        cmocka_unit_test(lets_fetches_wait_for_a_connection),
        cmocka_unit_test(may_be_cancelled_when_it_asks),
        cmocka_unit_test(may_be_cancelled_from_the_end_of_another),
        cmocka_unit_test(ends_all_without_a_word_when_it_closes),
        cmocka_unit_test(speaks_plain_http_with_loopback_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
