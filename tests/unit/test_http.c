/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sync/protocol/status.h"
#include "tests/unit/support_http.h"

static void client_asks(struct httpd *w)
{
    httpd_ask(w, "GET /a%20b/%C3%A9?q=1%262&flag HTTP/1.1\r\nHost: x\r\nX-Ask: 7\r\n\r\n", "|plain");
}

static void hands_over_the_request_decoded(void **state)
{
    struct httpd w = { 0 };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_asks);
    httpd_assert_heard(&w, "HTTP/1.1 200 OK");
    httpd_assert_heard(&w, "X-Test: yes");
    httpd_assert_heard(&w, "GET|/a b/\xc3\xa9|1&2||7|127.0.0.1||plain");
    httpd_close(&w);
}

static void client_asks_for_the_head(struct httpd *w)
{
    httpd_ask(w, "HEAD /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL);
}

static void answers_a_head_request_without_the_body(void **state)
{
    struct httpd w = { 0 };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_asks_for_the_head);
    httpd_assert_heard(&w, "Content-Length: 30");
    httpd_assert_not_heard(&w, "HEAD|");
    httpd_close(&w);
}

static void client_sends_chunks(struct httpd *w)
{
    int fd = httpd_dial(w);

    httpd_say(fd, "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmess\r\n");
    /* Newer libraries refuse what may follow a chunk's length; no client is known to send it. */
    httpd_say(fd, MHD_VERSION < 0x01000000 ? "5;x=y\r\nage 1\r\n0\r\n\r\n" : "5\r\nage 1\r\n0\r\n\r\n");
    (void)httpd_hear(w, fd, "|plain", 1);
    close(fd);
}

static void takes_a_chunked_body_whole(void **state)
{
    struct httpd w = { 0 };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_sends_chunks);
    httpd_assert_heard(&w, "|message 1|plain");
    assert_int_equal(w.asked, 1);
    httpd_close(&w);
}

static void client_waits_for_100(struct httpd *w)
{
    int fd = httpd_dial(w);

    httpd_say(fd, "POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    if (httpd_hear(w, fd, "100 Continue\r\n\r\n", 1))
        httpd_say(fd, "hello");
    (void)httpd_hear(w, fd, "|plain", 1);
    close(fd);
}

static void tells_a_client_that_waits_to_continue(void **state)
{
    struct httpd w = { 0 };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_waits_for_100);
    httpd_assert_heard(&w, "|hello|plain");
    httpd_close(&w);
}

static void client_announces_too_much(struct httpd *w)
{
    httpd_ask(w, "POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n", NULL);
}

static void refuses_an_announced_body_before_it_is_sent(void **state)
{
    struct httpd w = { 0 };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_announces_too_much);
    httpd_assert_heard(&w, "HTTP/1.1 413");
    httpd_assert_not_heard(&w, "100 Continue");
    httpd_close(&w);
}

static void client_sends_too_much(struct httpd *w)
{
    int fd = httpd_dial(w);
    static char part[1001];

    memset(part, 'x', sizeof part - 1);
    httpd_say(fd, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    for (size_t i = 0; i < 1000; i++)
        httpd_say(fd, part);
    (void)httpd_hear(w, fd, "too large", 1);
    httpd_say(fd, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nsmall");
    (void)httpd_hear(w, fd, "|plain", 1);
    close(fd);
}

static void reads_a_body_that_is_too_large_to_its_end_and_keeps_the_connection(void **state)
{
    struct httpd w = { 0 };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_sends_too_much);
    httpd_assert_heard(&w, "HTTP/1.1 413");
    httpd_assert_heard(&w, "|small|plain");
    httpd_close(&w);
}

static void client_sends_without_end(struct httpd *w)
{
    int fd = httpd_dial(w);
    static char part[100001];

    memset(part, 'x', sizeof part - 1);
    httpd_say(fd, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n");
    for (size_t i = 0; i < 200; i++)
        httpd_say(fd, part);
    (void)httpd_hear(w, fd, NULL, 0);
    close(fd);
}

static void hangs_up_on_a_body_without_end(void **state)
{
    struct httpd w = { 0 };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_sends_without_end);
    assert_int_equal(w.heard_bytes, 0);
    assert_int_equal(w.asked, 0);
    assert_int_equal(http_connections(w.server), 0);
    httpd_close(&w);
}

static void client_pipelines(struct httpd *w)
{
    int fd = httpd_dial(w);

    httpd_say(fd, "GET /later/1 HTTP/1.1\r\nHost: x\r\n\r\nGET /later/2 HTTP/1.1\r\nHost: x\r\n\r\n"
                  "POST /later/3 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
    (void)httpd_hear(w, fd, "turn ", 3);
    close(fd);
}

static void answers_pipelined_requests_in_order_a_turn_each(void **state)
{
    struct httpd w = { 0 };
    const char *one, *two, *three;

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_pipelines);
    one = strstr(w.heard, "turn 1");
    two = strstr(w.heard, "turn 2");
    three = strstr(w.heard, "turn 3");
    assert_true(one && two && three && one < two && two < three);
    httpd_close(&w);
}

static void client_is_three(struct httpd *w)
{
    int fds[3];

    for (size_t i = 0; i < 3; i++) {
        fds[i] = httpd_dial(w);
        httpd_say(fds[i], "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
    }
    for (size_t i = 0; i < 3; i++) {
        (void)httpd_hear(w, fds[i], "turn 1", i + 1);
        close(fds[i]);
    }
}

static void answers_all_who_wait_from_one_turn(void **state)
{
    struct httpd w = { .patience = 3 };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_is_three);
    assert_int_equal(httpd_times(w.heard, "turn 1"), 3);
    assert_int_equal(w.answered_turns, 1);
    httpd_close(&w);
}

/* What the library answers by itself says it in its own words; newer ones do so more often. */
#define OURS(words) (MHD_VERSION < 0x01000000 ? (words) : "")

static const char *const bad_heads[][2] = {
    { "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      OURS("Content-Length together with Transfer-Encoding") },
    { "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
      "two different Content-Length headers" },
    { "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "more than one Host header" },
    { "GET / HTTP/1.1\r\n\r\n", "" }, /* The library's own answer. */
    { "GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n", "%00 in the address" },
    { "GET /a?token=b%00c HTTP/1.1\r\nHost: x\r\n\r\n", "%00 in the address" },
    { "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      OURS("a Transfer-Encoding other than chunked") },
    { "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
      "\r\n0\r\n\r\n",
      OURS("a Transfer-Encoding other than chunked") },
    { "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nContent-Length: 50000\r\n"
      "\r\n",
      "two different Content-Length headers" },
};

static size_t bad_head;

static void client_sends_a_bad_head(struct httpd *w)
{
    httpd_ask(w, bad_heads[bad_head][0], NULL);
}

static void refuses_heads_that_two_readers_would_read_differently(void **state)
{
    (void)state;
    for (bad_head = 0; bad_head < sizeof bad_heads / sizeof bad_heads[0]; bad_head++) {
        struct httpd w = { 0 };

        httpd_open(&w);
        httpd_run(&w, client_sends_a_bad_head);
        httpd_assert_heard(&w, "HTTP/1.1 400");
        httpd_assert_heard(&w, "Connection: close");
        httpd_assert_heard(&w, bad_heads[bad_head][1]);
        httpd_close(&w);
    }
}

static void client_leaves(struct httpd *w)
{
    int fd = httpd_dial(w);

    httpd_say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    while (!atomic_load(&w->released))
        usleep(1000);
    close(fd);
}

static void turn_waits_for_the_client_to_leave(struct httpd *w)
{
    atomic_store(&w->released, true);
    if (!atomic_load(&w->client_done))
        return;
    assert_int_equal(w->gone, 0);
    httpd_answer_waiting(w);
    http_close(w->server);
    w->closed = true;
}

static void tells_once_that_a_client_left_while_it_waited(void **state)
{
    struct httpd w = { .turn = turn_waits_for_the_client_to_leave };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_leaves);
    assert_int_equal(w.gone, 1);
    httpd_close(&w);
}

static void client_waits_to_the_end(struct httpd *w)
{
    int fds[3];

    for (size_t i = 0; i < 3; i++) {
        fds[i] = httpd_dial(w);
        httpd_say(fds[i], "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for (size_t i = 0; i < 3; i++) {
        (void)httpd_hear(w, fds[i], NULL, 0);
        close(fds[i]);
    }
}

static void turn_closes(struct httpd *w)
{
    if (w->closed || w->waiting_count < 3)
        return;
    http_close(w->server);
    w->closed = true;
}

static void answers_503_to_all_who_wait_when_it_closes(void **state)
{
    struct httpd w = { .turn = turn_closes };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_waits_to_the_end);
    assert_int_equal(httpd_times(w.heard, "HTTP/1.1 503"), 3);
    assert_int_equal(httpd_times(w.heard, "Connection: close"), 3);
    httpd_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_over_the_request_decoded),
        cmocka_unit_test(answers_a_head_request_without_the_body),
        cmocka_unit_test(takes_a_chunked_body_whole),
        cmocka_unit_test(tells_a_client_that_waits_to_continue),
        cmocka_unit_test(refuses_an_announced_body_before_it_is_sent),
        cmocka_unit_test(reads_a_body_that_is_too_large_to_its_end_and_keeps_the_connection),
        cmocka_unit_test(hangs_up_on_a_body_without_end),
        cmocka_unit_test(answers_pipelined_requests_in_order_a_turn_each),
        cmocka_unit_test(answers_all_who_wait_from_one_turn),
        cmocka_unit_test(refuses_heads_that_two_readers_would_read_differently),
        cmocka_unit_test(tells_once_that_a_client_left_while_it_waited),
        cmocka_unit_test(answers_503_to_all_who_wait_when_it_closes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
