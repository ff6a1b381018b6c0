/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sync/kit/notify.h"
#include "sync/protocol/status.h"

#define WATCHDOG_US "80000" /* Signs of life each 40 ms, looked for each 20 ms. */

/* A service manager, and a daemon that says what it is told to. */
struct world {
    struct loop *loop;
    struct notify *notify;
    struct loop_timer end;
    int manager;
    const char *words;
    int well;
    unsigned probes;
    char heard[4096]; /* All datagrams, each with a line end. */
};

static void nothing(void *owner)
{
    (void)owner;
}

static void world_over(void *owner)
{
    struct world *w = owner;

    loop_stop(w->loop);
}

static int world_look(void *owner, bool probe, struct text *words)
{
    struct world *w = owner;

    text_puts(words, w->words);
    w->probes += probe;
    return probe ? w->well : STATUS_OK;
}

/* The abstract name is the kernel's choice: no file is left, whatever happens. */
static void world_listen(struct world *w)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    socklen_t length = sizeof(sa_family_t);

    w->manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w->manager, (const struct sockaddr *)&address, length), 0);
    length = sizeof address;
    assert_int_equal(getsockname(w->manager, (struct sockaddr *)&address, &length), 0);
    address.sun_path[0] = '@';
    address.sun_path[length - offsetof(struct sockaddr_un, sun_path)] = '\0';
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
}

static void world_start(struct world *w)
{
    struct loop_options options = { .turn = nothing, .stop = world_over, .owner = w, .descriptors_max = 64 };
    struct notify_options told = { .look = world_look, .owner = w };

    w->words = "accepting";
    assert_int_equal(loop_open(&w->loop, &options), STATUS_OK);
    assert_int_equal(notify_open(&w->notify, w->loop, &told), STATUS_OK);
    assert_int_equal(loop_timer_open(&w->end, w->loop, world_over, w), STATUS_OK);
}

static void world_run(struct world *w, unsigned ms)
{
    char datagram[512];
    ssize_t length;

    loop_timer_set(&w->end, loop_now_ms() + ms);
    assert_int_equal(loop_run(w->loop), STATUS_OK);
    w->heard[0] = '\0';
    while ((length = recv(w->manager, datagram, sizeof datagram - 1, 0)) > 0) {
        datagram[length] = '\0';
        snprintf(w->heard + strlen(w->heard), sizeof w->heard - strlen(w->heard), "%s\n", datagram);
    }
}

static void world_end(struct world *w)
{
    loop_timer_close(&w->end);
    notify_close(w->notify);
    loop_close(w->loop);
    close(w->manager);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

static unsigned times(const struct world *w, const char *line)
{
    unsigned count = 0;

    for (const char *at = w->heard; (at = strstr(at, line)) != NULL; at++)
        count++;
    return count;
}

static void tells_that_it_is_ready_and_alive_and_how_it_goes(void **state)
{
    struct world w = { 0 };

    (void)state;
    setenv("WATCHDOG_USEC", WATCHDOG_US, 1);
    world_listen(&w);
    world_start(&w);
    notify_ready(w.notify);
    world_run(&w, 300);
    assert_ptr_equal(strstr(w.heard, "READY=1\nSTATUS=accepting\nWATCHDOG=1\n"), w.heard);
    assert_true(times(&w, "WATCHDOG=1\n") >= 3);
    assert_int_equal(times(&w, "STATUS="), 1); /* The same words are told once. */
    w.words = "full";
    world_run(&w, 100);
    assert_int_equal(times(&w, "STATUS=full\n"), 1);
    notify_stopping(w.notify);
    world_run(&w, 100);
    assert_string_equal(w.heard, "STOPPING=1\n");
    world_end(&w);
}

static void gives_no_sign_of_life_while_the_store_does_not_answer(void **state)
{
    struct world w = { 0 };

    (void)state;
    setenv("WATCHDOG_USEC", WATCHDOG_US, 1);
    world_listen(&w);
    world_start(&w);
    notify_ready(w.notify);
    w.well = STATUS_IO;
    w.words = "the store is silent";
    world_run(&w, 100);
    world_run(&w, 200);
    assert_int_equal(times(&w, "WATCHDOG=1"), 0);
    w.well = STATUS_OK;
    world_run(&w, 200);
    assert_true(times(&w, "WATCHDOG=1") >= 1);
    world_end(&w);
}

static void asks_for_patience_while_it_opens_a_store(void **state)
{
    struct world w = { 0 };

    (void)state;
    setenv("WATCHDOG_USEC", "60000000", 1);
    world_listen(&w);
    world_start(&w);
    notify_busy(w.notify, true);
    notify_busy(w.notify, false);
    notify_busy(NULL, true);
    world_run(&w, 20);
    assert_string_equal(w.heard, "WATCHDOG_USEC=1800000000\nWATCHDOG_USEC=60000000\n");
    world_end(&w);
}

static void leaves_another_process_watchdog_alone(void **state)
{
    struct world w = { 0 };

    (void)state;
    setenv("WATCHDOG_USEC", WATCHDOG_US, 1);
    setenv("WATCHDOG_PID", "1", 1);
    world_listen(&w);
    world_start(&w);
    notify_ready(w.notify);
    world_run(&w, 200);
    assert_string_equal(w.heard, "READY=1\nSTATUS=accepting\n");
    assert_int_equal(w.probes, 0);
    world_end(&w);
}

static void is_silent_where_nobody_asks(void **state)
{
    static const char *const nobody[] = { NULL, "", "/", "vsock:2:1", "@" };

    (void)state;
    for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++) {
        struct world w = { 0 };

        world_listen(&w);
        unsetenv("NOTIFY_SOCKET");
        if (nobody[i])
            setenv("NOTIFY_SOCKET", nobody[i], 1);
        world_start(&w);
        notify_ready(w.notify);
        notify_stopping(w.notify);
        world_run(&w, 10);
        assert_string_equal(w.heard, "");
        world_end(&w);
    }
}

static void goes_on_when_the_manager_is_gone(void **state)
{
    struct world w = { 0 };

    (void)state;
    world_listen(&w);
    world_start(&w);
    close(w.manager);
    notify_ready(w.notify);
    notify_stopping(w.notify);
    w.manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    world_end(&w);
}

static void says_ages_as_people_do(void **state)
{
    static const struct {
        uint64_t seconds;
        const char *words;
    } cases[] = { { 0, "0 s" },    { 59, "59 s" },     { 60, "1 min" },   { 3599, "59 min" },
                  { 3600, "1 h" }, { 172799, "47 h" }, { 172800, "2 d" }, { 8640000, "100 d" } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text out = { 0 };

        notify_age(&out, cases[i].seconds);
        assert_string_equal(out.at, cases[i].words);
        text_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_that_it_is_ready_and_alive_and_how_it_goes),
        cmocka_unit_test(gives_no_sign_of_life_while_the_store_does_not_answer),
        cmocka_unit_test(asks_for_patience_while_it_opens_a_store),
        cmocka_unit_test(leaves_another_process_watchdog_alone),
        cmocka_unit_test(is_silent_where_nobody_asks),
        cmocka_unit_test(goes_on_when_the_manager_is_gone),
        cmocka_unit_test(says_ages_as_people_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
