/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sync/protocol/status.h"
#include "tests/unit/support_fetch.h"

/* --- Our side --------------------------------------------------------------------------------------- */

static void play_story_ready(void *owner, struct fetch *fetch)
{
    struct play_story *s = owner;

    assert_ptr_equal(s->fetch, fetch);
    s->asked++;
    if (s->world->release_at_once)
        fetch_release(fetch);
    if (s->world->asked)
        s->world->asked(s);
    loop_note(s->world->loop);
}

void play_story_end(struct play *w)
{
    w->ended++;
    if (w->ended == w->end)
        loop_stop(w->loop);
}

void play_story_done(void *owner, struct fetch *fetch, const struct fetch_result *result)
{
    struct play_story *s = owner;

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
    play_story_end(s->world);
}

static void play_overslept(void *owner)
{
    (void)owner;
    fail_msg("the fetches did not come to their end");
}

static void play_turn(void *owner)
{
    struct play *w = owner;

    if (w->turn)
        w->turn(w);
}

static void *play_server(void *owner)
{
    struct play *w = owner;

    w->server(w);
    return NULL;
}

void play_open(struct play *w, void (*server)(struct play *w))
{
    struct loop_options loop = { .turn = play_turn, .owner = w, .descriptors_max = 16 };
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof a;

    assert_int_equal(loop_open(&w->loop, &loop), STATUS_OK);
    assert_int_equal(loop_timer_open(&w->guard, w->loop, play_overslept, w), STATUS_OK);
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
    assert_int_equal(pthread_create(&w->thread, NULL, play_server, w), 0);
}

void play_close(struct play *w)
{
    fetcher_close(w->fetcher);
    if (w->server)
        pthread_join(w->thread, NULL);
    close(w->listener);
    loop_timer_close(&w->guard);
    loop_close(w->loop);
}

struct play_story *play_fetch(struct play *w, const char *method, const char *body)
{
    static const char *const headers[] = { "Content-Type: application/json", "Authorization: Bearer x",
                                           NULL };
    struct play_story *s = &w->stories[w->started++];
    char url[64];
    struct fetch_request request = { .method = method,
                                     .url = url,
                                     .headers = headers,
                                     .body = slice_text(body),
                                     .timeout_ms = w->timeout_ms ? w->timeout_ms : 10000,
                                     .body_bytes_max = 20,
                                     .ready = w->held ? play_story_ready : NULL,
                                     .done = play_story_done,
                                     .owner = s };

    assert_true(w->started <= PLAY_FETCHES_MAX);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v23.0/1/messages", w->port);
    s->world = w;
    assert_int_equal(fetch_start(w->fetcher, &request, &s->fetch), STATUS_OK);
    assert_int_equal(s->asked + s->done, 0);
    return s;
}

void play_run(struct play *w, unsigned more)
{
    w->end = w->ended + more;
    assert_int_equal(loop_run(w->loop), STATUS_OK);
}

/* --- The server's side: plain sockets, and no asserts, which belong to the main thread --------------- */

int play_answer_call(struct play *w)
{
    struct timeval patience = { .tv_sec = 10 };
    int fd = accept(w->listener, NULL, NULL);

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

bool play_hear_until(int fd, const char *what)
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

bool play_hear_head(struct play *w, int fd)
{
    bool heard = play_hear_until(fd, "\r\n\r\n");

    atomic_fetch_add(&w->heads, heard);
    return heard;
}

bool play_hear_body(struct play *w, int fd)
{
    bool heard = play_hear_until(fd, PLAY_BODY);

    atomic_fetch_add(&w->bodies, heard);
    return heard;
}

bool play_is_silent(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, 100) == 0;
}

void play_say(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

void play_reset(int fd)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

void play_hang_after_the_body(struct play *w)
{
    int fd = play_answer_call(w);

    (void)play_hear_head(w, fd);
    (void)play_hear_body(w, fd);
    (void)play_hear_until(fd, "never said: until we hang up");
    close(fd);
}
