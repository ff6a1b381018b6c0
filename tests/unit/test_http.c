/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sync/kit/http.h"
#include "sync/protocol/status.h"

#define BODY_BYTES_MAX 1000u
#define WAITING_MAX 8u
#define HEARD_BYTES_MAX 65536u

/* A listener in a real loop, and a client that speaks by hand from a thread of its own. What the client asks
 * for by path decides how it is answered; the turn answers those who wait. */
struct world {
    struct loop *loop;
    struct loop_timer guard;
    struct http_server *server;
    struct http_options options;
    struct http_stream *stream;
    struct http_request *waiting[WAITING_MAX];
    size_t waiting_count, asked, gone, answered_turns;
    size_t patience; /* This many must wait before the turn answers them. */
    void (*turn)(struct world *w);
    void (*client)(struct world *w);
    int stream_status;
    atomic_bool client_done, released;
    bool closed;
    char heard[HEARD_BYTES_MAX];
    size_t heard_bytes;
    char folder[64], certificate[96], key[96];
    double cpu_s;
};

/* --- The server's side ------------------------------------------------------------------------------ */

static void answer_text(struct http_request *r, unsigned status, const char *text)
{
    static const char *const headers[] = { "X-Test: yes", NULL };

    http_answer(r, &(struct http_answer){ .status = status,
                                          .content_type = "text/plain",
                                          .body = slice_text(text),
                                          .headers = headers });
}

static void world_describe(struct http_request *r)
{
    const char *query = http_query(r, "q"), *flag = http_query(r, "flag"), *header = http_header(r, "x-ask");
    char text[2 * BODY_BYTES_MAX];

    snprintf(text, sizeof text, "%s|%s|%s|%s|%s|%s|%.*s|%s", http_method(r), http_path(r),
             query ? query : "-", flag ? flag : "-", header ? header : "-", http_peer(r),
             (int)http_body(r).length, http_body(r).length ? (const char *)http_body(r).at : "",
             http_is_tls(r) ? "tls" : "plain");
    answer_text(r, 200, text);
}

static void world_request(void *owner, struct http_request *r)
{
    struct world *w = owner;

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
        assert_true(w->waiting_count < WAITING_MAX);
        w->waiting[w->waiting_count++] = r;
        loop_note(w->loop);
    } else {
        world_describe(r);
    }
}

static void world_gone(void *owner, struct http_request *r)
{
    struct world *w = owner;

    assert_ptr_equal(http_data(r), w);
    w->gone++;
}

static void world_answer_waiting(struct world *w)
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

static void world_turn(void *owner)
{
    struct world *w = owner;

    if (w->turn)
        w->turn(w);
    else
        world_answer_waiting(w);
    if (atomic_load(&w->client_done))
        loop_stop(w->loop);
}

static void world_overslept(void *owner)
{
    (void)owner;
    fail_msg("the client did not come to its end");
}

static void *world_client(void *owner)
{
    struct world *w = owner;

    w->client(w);
    atomic_store(&w->client_done, true);
    loop_wake(w->loop);
    return NULL;
}

static void world_open(struct world *w)
{
    struct loop_options loop = { .turn = world_turn, .owner = w, .descriptors_max = 16 };

    assert_int_equal(loop_open(&w->loop, &loop), STATUS_OK);
    assert_int_equal(loop_timer_open(&w->guard, w->loop, world_overslept, w), STATUS_OK);
    loop_timer_set(&w->guard, loop_now_ms() + 20000);
    w->options.host = "127.0.0.1";
    w->options.body_bytes_max = BODY_BYTES_MAX;
    w->options.connections_max = 16;
    w->options.timeout_s = 5;
    w->options.request = world_request;
    w->options.gone = world_gone;
    w->options.owner = w;
    assert_int_equal(http_open(&w->server, w->loop, &w->options), STATUS_OK);
    assert_int_not_equal(http_port(w->server), 0);
}

static void world_close(struct world *w)
{
    if (!w->closed)
        http_close(w->server);
    http_stream_close(w->stream);
    loop_timer_close(&w->guard);
    loop_close(w->loop);
    assert_int_equal(w->gone, w->asked);
}

/* Runs until the client has come to its end. */
static void world_run(struct world *w, void (*client)(struct world *w))
{
    pthread_t thread;

    w->client = client;
    assert_int_equal(pthread_create(&thread, NULL, world_client, w), 0);
    assert_int_equal(loop_run(w->loop), STATUS_OK);
    pthread_join(thread, NULL);
}

/* --- The client's side: plain sockets, and no asserts, which belong to the main thread --------------- */

static int dial(const struct world *w)
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

static void say(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static size_t times(const char *text, const char *what)
{
    size_t n = 0;

    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

/* Hears until `what` was heard so many times; NULL: until the server hangs up. */
static bool hear(struct world *w, int fd, const char *what, size_t count)
{
    while (!what || times(w->heard, what) < count) {
        ssize_t n = recv(fd, w->heard + w->heard_bytes, sizeof w->heard - 1 - w->heard_bytes, 0);

        if (n <= 0)
            return n == 0 && !what;
        w->heard_bytes += (size_t)n;
        w->heard[w->heard_bytes] = '\0';
    }
    return true;
}

static void ask_and_hang_up(struct world *w, const char *text, const char *until)
{
    int fd = dial(w);

    say(fd, text);
    (void)hear(w, fd, until, 1);
    close(fd);
}

static void assert_heard(const struct world *w, const char *what)
{
    if (!strstr(w->heard, what))
        fail_msg("\"%s\" is not in what was heard:\n%s", what, w->heard);
}

static void assert_not_heard(const struct world *w, const char *what)
{
    if (strstr(w->heard, what))
        fail_msg("\"%s\" is in what was heard:\n%s", what, w->heard);
}

/* --- Stories ---------------------------------------------------------------------------------------- */

static void client_asks(struct world *w)
{
    ask_and_hang_up(w, "GET /a%20b/%C3%A9?q=1%262&flag HTTP/1.1\r\nHost: x\r\nX-Ask: 7\r\n\r\n", "|plain");
}

static void hands_over_the_request_decoded(void **state)
{
    struct world w = { 0 };

    (void)state;
    world_open(&w);
    world_run(&w, client_asks);
    assert_heard(&w, "HTTP/1.1 200 OK");
    assert_heard(&w, "X-Test: yes");
    assert_heard(&w, "GET|/a b/\xc3\xa9|1&2||7|127.0.0.1||plain");
    world_close(&w);
}

static void client_asks_for_the_head(struct world *w)
{
    ask_and_hang_up(w, "HEAD /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL);
}

static void answers_a_head_request_without_the_body(void **state)
{
    struct world w = { 0 };

    (void)state;
    world_open(&w);
    world_run(&w, client_asks_for_the_head);
    assert_heard(&w, "Content-Length: 30");
    assert_not_heard(&w, "HEAD|");
    world_close(&w);
}

static void client_sends_chunks(struct world *w)
{
    int fd = dial(w);

    say(fd, "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmess\r\n");
    say(fd, "5;x=y\r\nage 1\r\n0\r\n\r\n");
    (void)hear(w, fd, "|plain", 1);
    close(fd);
}

static void takes_a_chunked_body_whole(void **state)
{
    struct world w = { 0 };

    (void)state;
    world_open(&w);
    world_run(&w, client_sends_chunks);
    assert_heard(&w, "|message 1|plain");
    assert_int_equal(w.asked, 1);
    world_close(&w);
}

static void client_waits_for_100(struct world *w)
{
    int fd = dial(w);

    say(fd, "POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    if (hear(w, fd, "100 Continue\r\n\r\n", 1))
        say(fd, "hello");
    (void)hear(w, fd, "|plain", 1);
    close(fd);
}

static void tells_a_client_that_waits_to_continue(void **state)
{
    struct world w = { 0 };

    (void)state;
    world_open(&w);
    world_run(&w, client_waits_for_100);
    assert_heard(&w, "|hello|plain");
    world_close(&w);
}

static void client_announces_too_much(struct world *w)
{
    ask_and_hang_up(w, "POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n",
                    NULL);
}

static void refuses_an_announced_body_before_it_is_sent(void **state)
{
    struct world w = { 0 };

    (void)state;
    world_open(&w);
    world_run(&w, client_announces_too_much);
    assert_heard(&w, "HTTP/1.1 413");
    assert_not_heard(&w, "100 Continue");
    world_close(&w);
}

static void client_sends_too_much(struct world *w)
{
    int fd = dial(w);
    static char part[1001];

    memset(part, 'x', sizeof part - 1);
    say(fd, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    for (size_t i = 0; i < 1000; i++)
        say(fd, part);
    (void)hear(w, fd, "too large", 1);
    say(fd, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nsmall");
    (void)hear(w, fd, "|plain", 1);
    close(fd);
}

static void reads_a_body_that_is_too_large_to_its_end_and_keeps_the_connection(void **state)
{
    struct world w = { 0 };

    (void)state;
    world_open(&w);
    world_run(&w, client_sends_too_much);
    assert_heard(&w, "HTTP/1.1 413");
    assert_heard(&w, "|small|plain");
    world_close(&w);
}

static void client_sends_without_end(struct world *w)
{
    int fd = dial(w);
    static char part[100001];

    memset(part, 'x', sizeof part - 1);
    say(fd, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n");
    for (size_t i = 0; i < 200; i++)
        say(fd, part);
    (void)hear(w, fd, NULL, 0);
    close(fd);
}

static void hangs_up_on_a_body_without_end(void **state)
{
    struct world w = { 0 };

    (void)state;
    world_open(&w);
    world_run(&w, client_sends_without_end);
    assert_int_equal(w.heard_bytes, 0);
    assert_int_equal(w.asked, 0);
    assert_int_equal(http_connections(w.server), 0);
    world_close(&w);
}

static void client_pipelines(struct world *w)
{
    int fd = dial(w);

    say(fd, "GET /later/1 HTTP/1.1\r\nHost: x\r\n\r\nGET /later/2 HTTP/1.1\r\nHost: x\r\n\r\n"
            "POST /later/3 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
    (void)hear(w, fd, "turn ", 3);
    close(fd);
}

static void answers_pipelined_requests_in_order_a_turn_each(void **state)
{
    struct world w = { 0 };
    const char *one, *two, *three;

    (void)state;
    world_open(&w);
    world_run(&w, client_pipelines);
    one = strstr(w.heard, "turn 1");
    two = strstr(w.heard, "turn 2");
    three = strstr(w.heard, "turn 3");
    assert_true(one && two && three && one < two && two < three);
    world_close(&w);
}

static void client_is_three(struct world *w)
{
    int fds[3];

    for (size_t i = 0; i < 3; i++) {
        fds[i] = dial(w);
        say(fds[i], "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
    }
    for (size_t i = 0; i < 3; i++) {
        (void)hear(w, fds[i], "turn 1", i + 1);
        close(fds[i]);
    }
}

static void answers_all_who_wait_from_one_turn(void **state)
{
    struct world w = { .patience = 3 };

    (void)state;
    world_open(&w);
    world_run(&w, client_is_three);
    assert_int_equal(times(w.heard, "turn 1"), 3);
    assert_int_equal(w.answered_turns, 1);
    world_close(&w);
}

static const char *const bad_heads[][2] = {
    { "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "Content-Length together with Transfer-Encoding" },
    { "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
      "two different Content-Length headers" },
    { "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "more than one Host header" },
    { "GET / HTTP/1.1\r\n\r\n", "" }, /* The library's own answer. */
    { "GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n", "%00 in the address" },
    { "GET /a?token=b%00c HTTP/1.1\r\nHost: x\r\n\r\n", "%00 in the address" },
    { "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      "a Transfer-Encoding other than chunked" },
    { "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "a Transfer-Encoding other than chunked" },
    { "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nContent-Length: 50000\r\n\r\n",
      "two different Content-Length headers" },
};

static size_t bad_head;

static void client_sends_a_bad_head(struct world *w)
{
    ask_and_hang_up(w, bad_heads[bad_head][0], NULL);
}

static void refuses_heads_that_two_readers_would_read_differently(void **state)
{
    (void)state;
    for (bad_head = 0; bad_head < sizeof bad_heads / sizeof bad_heads[0]; bad_head++) {
        struct world w = { 0 };

        world_open(&w);
        world_run(&w, client_sends_a_bad_head);
        assert_heard(&w, "HTTP/1.1 400");
        assert_heard(&w, "Connection: close");
        assert_heard(&w, bad_heads[bad_head][1]);
        world_close(&w);
    }
}

static void client_leaves(struct world *w)
{
    int fd = dial(w);

    say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    while (!atomic_load(&w->released))
        usleep(1000);
    close(fd);
}

static void turn_waits_for_the_client_to_leave(struct world *w)
{
    atomic_store(&w->released, true);
    if (!atomic_load(&w->client_done))
        return;
    assert_int_equal(w->gone, 0);
    world_answer_waiting(w);
    http_close(w->server);
    w->closed = true;
}

static void tells_once_that_a_client_left_while_it_waited(void **state)
{
    struct world w = { .turn = turn_waits_for_the_client_to_leave };

    (void)state;
    world_open(&w);
    world_run(&w, client_leaves);
    assert_int_equal(w.gone, 1);
    world_close(&w);
}

static void client_waits_to_the_end(struct world *w)
{
    int fds[3];

    for (size_t i = 0; i < 3; i++) {
        fds[i] = dial(w);
        say(fds[i], "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for (size_t i = 0; i < 3; i++) {
        (void)hear(w, fds[i], NULL, 0);
        close(fds[i]);
    }
}

static void turn_closes(struct world *w)
{
    if (w->closed || w->waiting_count < 3)
        return;
    http_close(w->server);
    w->closed = true;
}

static void answers_503_to_all_who_wait_when_it_closes(void **state)
{
    struct world w = { .turn = turn_closes };

    (void)state;
    world_open(&w);
    world_run(&w, client_waits_to_the_end);
    assert_int_equal(times(w.heard, "HTTP/1.1 503"), 3);
    assert_int_equal(times(w.heard, "Connection: close"), 3);
    world_close(&w);
}

static void client_reads_the_stream(struct world *w)
{
    int fd = dial(w);

    say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    if (hear(w, fd, "data: 1\n\n", 1)) {
        atomic_store(&w->released, true);
        loop_wake(w->loop);
    }
    (void)hear(w, fd, "\r\n0\r\n", 1);
    close(fd);
}

static void turn_streams(struct world *w)
{
    if (!w->stream)
        return;
    if (!atomic_load(&w->released)) {
        assert_int_equal(http_stream_send(w->stream, slice_text("event: e\ndata: 1\n\n")), STATUS_OK);
        return;
    }
    assert_int_equal(http_stream_send(w->stream, slice_text("data: 2\n\n")), STATUS_OK);
    http_stream_close(w->stream);
    w->stream = NULL;
}

static void streams_events_as_they_come(void **state)
{
    struct world w = { .turn = turn_streams };

    (void)state;
    world_open(&w);
    world_run(&w, client_reads_the_stream);
    assert_heard(&w, "Content-Type: text/event-stream");
    assert_heard(&w, "event: e\ndata: 1\n\n");
    assert_heard(&w, "data: 2\n\n");
    world_close(&w);
}

static void client_opens_the_stream_and_leaves(struct world *w)
{
    ask_and_hang_up(w, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", "data: 1");
}

static void turn_streams_until_told(struct world *w)
{
    if (w->stream && w->stream_status == STATUS_OK)
        w->stream_status = http_stream_send(w->stream, slice_text("data: 1\n\n"));
    if (w->stream_status == STATUS_OK) {
        atomic_store(&w->client_done, false);
        loop_note(w->loop);
    } else {
        atomic_store(&w->client_done, true);
    }
}

static void notices_by_sending_that_the_reader_of_a_stream_left(void **state)
{
    struct world w = { .turn = turn_streams_until_told };

    (void)state;
    world_open(&w);
    world_run(&w, client_opens_the_stream_and_leaves);
    assert_int_equal(w.stream_status, STATUS_END);
    assert_int_equal(w.gone, 1);
    world_close(&w);
}

static void client_opens_the_stream_and_sleeps(struct world *w)
{
    int fd = dial(w);

    say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    while (!atomic_load(&w->released))
        usleep(1000);
    close(fd);
}

static void turn_streams_until_full(struct world *w)
{
    static char event[10000];

    memset(event, ':', sizeof event - 1);
    if (w->stream && w->stream_status == STATUS_OK) {
        w->stream_status = http_stream_send(w->stream, slice_text(event));
        loop_note(w->loop);
    }
    if (w->stream_status != STATUS_OK)
        atomic_store(&w->released, true);
}

static void does_not_keep_more_than_a_bound_for_a_stream_that_is_not_read(void **state)
{
    struct world w = { .turn = turn_streams_until_full };

    (void)state;
    world_open(&w);
    world_run(&w, client_opens_the_stream_and_sleeps);
    assert_int_equal(w.stream_status, STATUS_FULL);
    world_close(&w);
}

static void client_waits_for_the_stream_to_end(struct world *w)
{
    ask_and_hang_up(w, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n0\r\n");
}

/* Long enough after the last event for the stream to be suspended. */
static void turn_closes_under_the_stream(struct world *w)
{
    if (!w->stream || w->closed || ++w->answered_turns < 20) {
        loop_note(w->loop);
        return;
    }
    http_close(w->server);
    w->closed = true;
    assert_int_equal(http_stream_send(w->stream, slice_text("data: 1\n\n")), STATUS_END);
}

static void ends_the_streams_when_it_closes(void **state)
{
    struct world w = { .turn = turn_closes_under_the_stream };

    (void)state;
    world_open(&w);
    world_run(&w, client_waits_for_the_stream_to_end);
    assert_heard(&w, "\r\n0\r\n");
    world_close(&w);
}

/* --- TLS -------------------------------------------------------------------------------------------- */

static void world_make_certificate(struct world *w)
{
    char command[512];

    snprintf(w->folder, sizeof w->folder, "%s/zajel-http-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : P_tmpdir);
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->certificate, sizeof w->certificate, "%s/c.pem", w->folder);
    snprintf(w->key, sizeof w->key, "%s/k.pem", w->folder);
    snprintf(
        command, sizeof command,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s 2>%s/log",
        w->key, w->certificate, w->folder);
    assert_int_equal(system(command), 0);
    w->options.certificate_file = w->certificate;
    w->options.key_file = w->key;
}

static void world_remove_certificate(struct world *w)
{
    char path[128];

    snprintf(path, sizeof path, "%s/log", w->folder);
    (void)remove(path);
    (void)remove(w->certificate);
    (void)remove(w->key);
    assert_int_equal(rmdir(w->folder), 0);
}

static void client_speaks_tls(struct world *w)
{
    char command[512];
    FILE *pipe;

    snprintf(command, sizeof command,
             "printf 'GET /later HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET /s HTTP/1.1\\r\\nHost: x\\r\\n"
             "Connection: close\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error -CAfile %s "
             "-connect 127.0.0.1:%u 2>&1",
             w->certificate, http_port(w->server));
    pipe = popen(command, "r");
    if (!pipe)
        return;
    w->heard_bytes = fread(w->heard, 1, sizeof w->heard - 1, pipe);
    pclose(pipe);
}

static void speaks_tls(void **state)
{
    struct world w = { 0 };

    (void)state;
    world_make_certificate(&w);
    world_open(&w);
    world_run(&w, client_speaks_tls);
    assert_heard(&w, "turn 1");
    assert_heard(&w, "GET|/s|-|-|-|127.0.0.1||tls");
    world_close(&w);
    world_remove_certificate(&w);
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void client_falls_silent_in_its_hello(struct world *w)
{
    static const char half_hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    int fds[5];
    double before = cpu_seconds();

    for (size_t i = 0; i < 5; i++) {
        fds[i] = dial(w);
        (void)!send(fds[i], half_hello, sizeof half_hello - 1, MSG_NOSIGNAL);
    }
    usleep(500000);
    w->cpu_s = cpu_seconds() - before;
    for (size_t i = 0; i < 5; i++)
        close(fds[i]);
}

static void does_not_spin_for_handshakes_that_fell_silent(void **state)
{
    struct world w = { 0 };

    (void)state;
    world_make_certificate(&w);
    world_open(&w);
    world_run(&w, client_falls_silent_in_its_hello);
    assert_true(w.cpu_s < 0.25); /* A spin takes all of the 0.5 s; this takes a hundredth. */
    world_close(&w);
    world_remove_certificate(&w);
}

static unsigned descriptors_open(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void refuses_what_it_cannot_open_and_keeps_nothing(void **state)
{
    struct world w = { 0 };
    struct http_options bad;
    struct http_server *none = NULL;
    unsigned before;
    FILE *file;

    (void)state;
    world_make_certificate(&w);
    world_open(&w);
    before = descriptors_open();
    bad = w.options;
    bad.port = http_port(w.server);
    assert_int_equal(http_open(&none, w.loop, &bad), STATUS_BUSY);
    bad.port = 0;
    bad.host = "example.org";
    assert_int_equal(http_open(&none, w.loop, &bad), STATUS_INVALID);
    bad.host = "192.0.2.1";
    assert_int_equal(http_open(&none, w.loop, &bad), STATUS_INVALID);
    bad.host = "localhost";
    bad.key_file = w.certificate;
    assert_int_equal(http_open(&none, w.loop, &bad), STATUS_INVALID);
    bad.key_file = "no such file";
    assert_int_equal(http_open(&none, w.loop, &bad), STATUS_INVALID);
    file = fopen(w.key, "w");
    assert_non_null(file);
    fputs("no key", file);
    fclose(file);
    bad.key_file = w.key;
    assert_int_equal(http_open(&none, w.loop, &bad), STATUS_INVALID);
    assert_null(none);
    assert_int_equal(descriptors_open(), before);
    world_close(&w);
    world_remove_certificate(&w);
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
        cmocka_unit_test(streams_events_as_they_come),
        cmocka_unit_test(notices_by_sending_that_the_reader_of_a_stream_left),
        cmocka_unit_test(does_not_keep_more_than_a_bound_for_a_stream_that_is_not_read),
        cmocka_unit_test(ends_the_streams_when_it_closes),
        cmocka_unit_test(speaks_tls),
        cmocka_unit_test(does_not_spin_for_handshakes_that_fell_silent),
        cmocka_unit_test(refuses_what_it_cannot_open_and_keeps_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
