/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sync/protocol/status.h"
#include "tests/unit/support_http.h"

static void client_reads_the_stream(struct httpd *w)
{
    int fd = httpd_dial(w);

    httpd_say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    if (httpd_hear(w, fd, "data: 1\n\n", 1)) {
        atomic_store(&w->released, true);
        loop_wake(w->loop);
    }
    (void)httpd_hear(w, fd, "\r\n0\r\n", 1);
    close(fd);
}

static void turn_streams(struct httpd *w)
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
    struct httpd w = { .turn = turn_streams };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_reads_the_stream);
    httpd_assert_heard(&w, "Content-Type: text/event-stream");
    httpd_assert_heard(&w, "event: e\ndata: 1\n\n");
    httpd_assert_heard(&w, "data: 2\n\n");
    httpd_close(&w);
}

static void client_opens_the_stream_and_leaves(struct httpd *w)
{
    httpd_ask(w, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", "data: 1");
}

static void turn_streams_until_told(struct httpd *w)
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
    struct httpd w = { .turn = turn_streams_until_told };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_opens_the_stream_and_leaves);
    assert_int_equal(w.stream_status, STATUS_END);
    assert_int_equal(w.gone, 1);
    httpd_close(&w);
}

static void client_opens_the_stream_and_sleeps(struct httpd *w)
{
    int fd = httpd_dial(w);

    httpd_say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    while (!atomic_load(&w->released))
        usleep(1000);
    close(fd);
}

static void turn_streams_until_full(struct httpd *w)
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
    struct httpd w = { .turn = turn_streams_until_full };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_opens_the_stream_and_sleeps);
    assert_int_equal(w.stream_status, STATUS_FULL);
    httpd_close(&w);
}

static void client_waits_for_the_stream_to_end(struct httpd *w)
{
    httpd_ask(w, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n0\r\n");
}

/* Long enough after the last event for the stream to be suspended. */
static void turn_closes_under_the_stream(struct httpd *w)
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
    struct httpd w = { .turn = turn_closes_under_the_stream };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_waits_for_the_stream_to_end);
    httpd_assert_heard(&w, "\r\n0\r\n");
    httpd_close(&w);
}

static long process_waits(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

static void client_waits_for_events_in_vain(struct httpd *w)
{
    int fd = httpd_dial(w);
    long before;

    httpd_say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    (void)httpd_hear(w, fd, "\r\n\r\n", 1);
    before = process_waits();
    usleep(300000);
    w->waits = process_waits() - before;
    close(fd);
}

static void turn_keeps_silent(struct httpd *w)
{
    (void)w;
}

static void does_not_spin_for_a_stream_without_events(void **state)
{
    struct httpd w = { .turn = turn_keeps_silent };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_waits_for_events_in_vain);
    assert_true(w.waits < 60); /* Asked again every 2 ms it would be 150. */
    httpd_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_events_as_they_come),
        cmocka_unit_test(notices_by_sending_that_the_reader_of_a_stream_left),
        cmocka_unit_test(does_not_keep_more_than_a_bound_for_a_stream_that_is_not_read),
        cmocka_unit_test(ends_the_streams_when_it_closes),
        cmocka_unit_test(does_not_spin_for_a_stream_without_events),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
