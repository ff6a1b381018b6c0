/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/support_http.h"

#define PLACES 16 /* httpd_open() gives so many. */
#define BODIES 48
#define ASK "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static void hang_up(int *fds, int count)
{
    for (int i = 0; i < count; i++)
        close(fds[i]);
}

/* Ended by the other side within a moment. */
static bool is_over(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    char byte;

    return poll(&p, 1, 50) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

static void client_comes_when_all_places_are_held(struct httpd *w)
{
    int fds[PLACES];
    uint64_t began_ms = loop_now_ms();

    for (int i = 0; i < PLACES; i++) {
        fds[i] = httpd_dial(w);
        httpd_say(fds[i], i % 2 ? "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf" : "GET /");
    }
    httpd_ask(w, ASK, "|plain");
    w->waits = (long)(loop_now_ms() - began_ms);
    hang_up(fds, PLACES);
}

static void makes_room_when_all_places_are_held_by_who_does_not_ask(void **state)
{
    struct httpd w = { 0 };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_comes_when_all_places_are_held);
    httpd_assert_heard(&w, "GET|/x|");
    assert_int_equal(w.asked, 1);
    assert_in_range(w.waits, 400, 3000); /* In milliseconds; their time-out would come after five seconds. */
    httpd_close(&w);
}

/* All of them at once, before any could have kept the server waiting for long. */
static void client_comes_when_all_have_left_at_once(struct httpd *w)
{
    int fds[PLACES], next;

    for (int i = 0; i < PLACES; i++)
        fds[i] = httpd_dial(w);
    usleep(50000);
    next = httpd_dial(w);
    httpd_say(next, ASK);
    hang_up(fds, PLACES);
    (void)httpd_hear(w, next, "|plain", 1);
    close(next);
}

static void listens_again_when_all_have_left_at_once(void **state)
{
    struct httpd w = { 0 };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_comes_when_all_have_left_at_once);
    httpd_assert_heard(&w, "GET|/x|");
    httpd_close(&w);
}

/* Each lacks one byte of the largest, and never gets it. */
static void client_sends_bodies_without_end(struct httpd *w)
{
    static char body[HTTPD_BODY_BYTES_MAX];
    int fds[BODIES];

    memset(body, 'x', sizeof body - 1);
    for (int i = 0; i < BODIES; i++) {
        fds[i] = httpd_dial(w);
        httpd_say(fds[i], "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
        httpd_say(fds[i], body);
    }
    httpd_ask(w, ASK, "|plain");
    for (int i = 0; i < BODIES; i++)
        w->waits += is_over(fds[i]);
    hang_up(fds, BODIES);
}

static void holds_unfinished_bodies_of_no_more_than_32_of_the_largest(void **state)
{
    struct httpd w = { .options.connections_max = 2 * BODIES };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, client_sends_bodies_without_end);
    assert_int_equal(w.waits, BODIES - 32);
    httpd_assert_heard(&w, "GET|/x|");
    httpd_close(&w);
}

static int dial_from(const struct httpd *w, const char *address)
{
    struct sockaddr_in own = { .sin_family = AF_INET };
    struct sockaddr_in there = { .sin_family = AF_INET, .sin_port = htons(http_port(w->server)) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)inet_pton(AF_INET, address, &own.sin_addr);
    (void)bind(fd, (struct sockaddr *)&own, sizeof own);
    (void)connect(fd, (struct sockaddr *)&there, sizeof there);
    return fd;
}

static void clients_come_from_three_addresses(struct httpd *w)
{
    static const char *const from[] = { "127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.3",
                                        "127.0.0.1", "127.0.0.1", "127.0.0.1" };
    int fds[7];

    for (int i = 0; i < 7; i++)
        fds[i] = dial_from(w, from[i]);
    for (int i = 0; i < 7; i++)
        w->waits |= (long)is_over(fds[i]) << i;
    hang_up(fds, 7);
}

static void keeps_one_address_to_its_share(void **state)
{
    struct httpd w = { .options.per_address_max = 2 };

    (void)state;
    httpd_open(&w);
    httpd_run(&w, clients_come_from_three_addresses);
    assert_int_equal(w.waits, 1 << 2);
    httpd_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_room_when_all_places_are_held_by_who_does_not_ask),
        cmocka_unit_test(listens_again_when_all_have_left_at_once),
        cmocka_unit_test(holds_unfinished_bodies_of_no_more_than_32_of_the_largest),
        cmocka_unit_test(keeps_one_address_to_its_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
