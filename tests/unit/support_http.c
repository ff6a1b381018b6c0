/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sync/protocol/status.h"
#include "tests/unit/support_http.h"

/* --- The server's side ------------------------------------------------------------------------------ */

static void answer_text(struct http_request *r, unsigned status, const char *text)
{
    static const char *const headers[] = { "X-Test: yes", NULL };

    http_answer(r, &(struct http_answer){ .status = status,
                                          .content_type = "text/plain",
                                          .body = slice_text(text),
                                          .headers = headers });
}

static void httpd_describe(struct http_request *r)
{
    const char *query = http_query(r, "q"), *flag = http_query(r, "flag"), *header = http_header(r, "x-ask");
    char text[2 * HTTPD_BODY_BYTES_MAX];

    snprintf(text, sizeof text, "%s|%s|%s|%s|%s|%s|%.*s|%s", http_method(r), http_path(r),
             query ? query : "-", flag ? flag : "-", header ? header : "-", http_peer(r),
             (int)http_body(r).length, http_body(r).length ? (const char *)http_body(r).at : "",
             http_is_tls(r) ? "tls" : "plain");
    answer_text(r, 200, text);
}

static void httpd_request(void *owner, struct http_request *r)
{
    struct httpd *w = owner;

    w->asked++;
    http_set_data(r, w);
    if (http_malformed(r)) {
        answer_text(r, 400, http_malformed(r));
    } else if (http_too_large(r)) {
        assert_int_equal(http_body(r).length, 0);
        answer_text(r, 413, "too large");
    } else if (strcmp(http_path(r), "/stream") == 0) {
        assert_int_equal(http_answer_stream(r, &w->stream), STATUS_OK);
        loop_note(w->loop);
    } else if (strncmp(http_path(r), "/later", 6) == 0) {
        assert_true(w->waiting_count < HTTPD_WAITING_MAX);
        w->waiting[w->waiting_count++] = r;
        loop_note(w->loop);
    } else {
        httpd_describe(r);
    }
}

static void httpd_gone(void *owner, struct http_request *r)
{
    struct httpd *w = owner;

    assert_ptr_equal(http_data(r), w);
    w->gone++;
}

void httpd_answer_waiting(struct httpd *w)
{
    if (w->waiting_count < (w->patience ? w->patience : 1))
        return;
    w->answered_turns++;
    for (size_t i = 0; i < w->waiting_count; i++) {
        char text[32];

        snprintf(text, sizeof text, "turn %zu", w->answered_turns);
        answer_text(w->waiting[i], 200, text);
    }
    w->waiting_count = 0;
}

static void httpd_turn(void *owner)
{
    struct httpd *w = owner;

    if (w->turn)
        w->turn(w);
    else
        httpd_answer_waiting(w);
    if (atomic_load(&w->client_done))
        loop_stop(w->loop);
}

static void httpd_overslept(void *owner)
{
    (void)owner;
    fail_msg("the client did not come to its end");
}

static void *httpd_client(void *owner)
{
    struct httpd *w = owner;

    w->client(w);
    atomic_store(&w->client_done, true);
    loop_wake(w->loop);
    return NULL;
}

void httpd_open(struct httpd *w)
{
    struct loop_options loop = { .turn = httpd_turn, .owner = w, .descriptors_max = 16 };

    assert_int_equal(loop_open(&w->loop, &loop), STATUS_OK);
    assert_int_equal(loop_timer_open(&w->guard, w->loop, httpd_overslept, w), STATUS_OK);
    loop_timer_set(&w->guard, loop_now_ms() + 20000);
    w->options.host = "127.0.0.1";
    w->options.body_bytes_max = HTTPD_BODY_BYTES_MAX;
    if (!w->options.connections_max)
        w->options.connections_max = 16;
    w->options.timeout_s = 5;
    w->options.request = httpd_request;
    w->options.gone = httpd_gone;
    w->options.owner = w;
    assert_int_equal(http_open(&w->server, w->loop, &w->options), STATUS_OK);
    assert_int_not_equal(http_port(w->server), 0);
}

void httpd_close(struct httpd *w)
{
    if (!w->closed)
        http_close(w->server);
    http_stream_close(w->stream);
    loop_timer_close(&w->guard);
    loop_close(w->loop);
    assert_int_equal(w->gone, w->asked);
}

/* Runs until the client has come to its end. */
void httpd_run(struct httpd *w, void (*client)(struct httpd *w))
{
    pthread_t thread;

    w->client = client;
    assert_int_equal(pthread_create(&thread, NULL, httpd_client, w), 0);
    assert_int_equal(loop_run(w->loop), STATUS_OK);
    pthread_join(thread, NULL);
}

/* --- The client's side: plain sockets, and no asserts, which belong to the main thread --------------- */

int httpd_dial(const struct httpd *w)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(http_port(w->server)) };
    struct timeval patience = { .tv_sec = 10 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        perror("connect");
    return fd;
}

void httpd_say(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

size_t httpd_times(const char *text, const char *what)
{
    size_t n = 0;

    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

/* Hears until `what` was heard so many httpd_times; NULL: until the server hangs up. */
bool httpd_hear(struct httpd *w, int fd, const char *what, size_t count)
{
    while (!what || httpd_times(w->heard, what) < count) {
        ssize_t n = recv(fd, w->heard + w->heard_bytes, sizeof w->heard - 1 - w->heard_bytes, 0);

        if (n <= 0)
            return n == 0 && !what;
        w->heard_bytes += (size_t)n;
        w->heard[w->heard_bytes] = '\0';
    }
    return true;
}

void httpd_ask(struct httpd *w, const char *text, const char *until)
{
    int fd = httpd_dial(w);

    httpd_say(fd, text);
    (void)httpd_hear(w, fd, until, 1);
    close(fd);
}

void httpd_assert_heard(const struct httpd *w, const char *what)
{
    if (!strstr(w->heard, what))
        fail_msg("\"%s\" is not in what was heard:\n%s", what, w->heard);
}

void httpd_assert_not_heard(const struct httpd *w, const char *what)
{
    if (strstr(w->heard, what))
        fail_msg("\"%s\" is in what was heard:\n%s", what, w->heard);
}
