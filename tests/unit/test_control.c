/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sync/kit/control.h"
#include "sync/protocol/status.h"

#define LARGE_BYTES 1500000u

/* A daemon's loop with a control socket, and in a thread the program that calls it. */
struct world {
    struct loop *loop;
    struct loop_timer guard, later;
    struct control_server *server;
    struct control_call *held;
    char folder[64], path[96];
    unsigned calls;

    int argc; /* What the program asks ... */
    const char *const *argv;
    struct slice input;
    unsigned timeout_ms;
    int status, exit_code; /* ... and gets. */
    struct text answer;
};

static void world_overslept(void *owner)
{
    (void)owner;
    fail_msg("the loop did not end by itself");
}

static void world_answers_later(void *owner)
{
    struct world *w = owner;

    control_answer(w->held, 3, slice_text("later"));
    w->held = NULL;
}

static void handle(void *owner, struct control_call *call, int argc, const char *const *argv,
                   struct slice input)
{
    struct world *w = owner;

    w->calls++;
    assert_null(argv[argc]);
    if (strcmp(argv[0], "echo") == 0) {
        assert_int_equal(argc, 3);
        assert_string_equal(argv[1], "");
        assert_string_equal(argv[2], "two words");
        control_answer(call, 0, input);
    } else if (strcmp(argv[0], "later") == 0) {
        w->held = call;
        loop_timer_set(&w->later, loop_now_ms() + 30);
    } else {
        w->held = call; /* Until its caller has gone. */
    }
}

static void world_start(struct world *w)
{
    struct loop_options options = { .owner = w, .descriptors_max = 64 };

    memset(w, 0, sizeof *w);
    w->timeout_ms = 3000;
    strcpy(w->folder, "/var/tmp/zajel-control-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/control.sock", w->folder);
    assert_int_equal(loop_open(&w->loop, &options), STATUS_OK);
    assert_int_equal(loop_timer_open(&w->guard, w->loop, world_overslept, w), STATUS_OK);
    assert_int_equal(loop_timer_open(&w->later, w->loop, world_answers_later, w), STATUS_OK);
    assert_int_equal(control_open(&w->server, w->loop, w->path, handle, w), STATUS_OK);
}

static void world_end(struct world *w)
{
    control_close(w->server);
    loop_timer_close(&w->guard);
    loop_timer_close(&w->later);
    loop_close(w->loop);
    text_free(&w->answer);
    assert_int_equal(access(w->path, F_OK), -1);
    assert_int_equal(rmdir(w->folder), 0);
}

static void *program(void *argument)
{
    struct world *w = argument;

    w->status =
        control_request(w->path, w->argc, w->argv, w->input, w->timeout_ms, &w->exit_code, &w->answer);
    loop_wake(w->loop);
    return NULL;
}

static void stop_on_turn(void *owner)
{
    loop_stop(owner);
}

static void world_call_by(struct world *w, void *(*caller)(void *), int argc, const char *const *argv,
                          struct slice input)
{
    pthread_t thread;
    struct loop_timer poll = { 0 };

    w->argc = argc;
    w->argv = argv;
    w->input = input;
    w->status = -1;
    text_clear(&w->answer);
    loop_timer_set(&w->guard, loop_now_ms() + 10000);
    assert_int_equal(loop_timer_open(&poll, w->loop, stop_on_turn, w->loop), STATUS_OK);
    assert_int_equal(pthread_create(&thread, NULL, caller, w), 0);
    while (pthread_tryjoin_np(thread, NULL) != 0) {
        loop_timer_set(&poll, loop_now_ms() + 5);
        assert_int_equal(loop_run(w->loop), STATUS_OK);
    }
    loop_timer_close(&poll);
    loop_timer_set(&w->guard, UINT64_MAX);
}

static void world_call(struct world *w, int argc, const char *const *argv, struct slice input)
{
    world_call_by(w, program, argc, argv, input);
}

static void carries_arguments_input_and_answer(void **state)
{
    struct world w;
    const char *const argv[] = { "echo", "", "two words" };
    uint8_t *large = malloc(LARGE_BYTES);

    (void)state;
    assert_non_null(large);
    for (size_t i = 0; i < LARGE_BYTES; i++)
        large[i] = (uint8_t)(i * 7u + i / 251u);
    world_start(&w);
    world_call(&w, 3, argv, slice_of(large, LARGE_BYTES));
    assert_int_equal(w.status, STATUS_OK);
    assert_int_equal(w.exit_code, 0);
    assert_int_equal(w.answer.length, LARGE_BYTES);
    assert_memory_equal(w.answer.at, large, LARGE_BYTES);

    world_call(&w, 3, argv, slice_of(NULL, 0));
    assert_int_equal(w.status, STATUS_OK);
    assert_int_equal(w.answer.length, 0);
    assert_int_equal(w.calls, 2);
    world_end(&w);
    free(large);
}

static void carries_an_answer_given_later(void **state)
{
    struct world w;
    const char *const argv[] = { "later" };

    (void)state;
    world_start(&w);
    world_call(&w, 1, argv, slice_of(NULL, 0));
    assert_int_equal(w.status, STATUS_OK);
    assert_int_equal(w.exit_code, 3);
    assert_true(slice_is(text_slice(&w.answer), "later"));
    world_end(&w);
}

static void lets_a_caller_go_before_its_answer(void **state)
{
    struct world w;
    const char *const argv[] = { "hold" }, *const next[] = { "later" };

    (void)state;
    world_start(&w);
    w.timeout_ms = 50;
    world_call(&w, 1, argv, slice_of(NULL, 0));
    assert_int_equal(w.status, STATUS_IO);
    assert_non_null(w.held);
    loop_timer_set(&w.later, loop_now_ms() + 20); /* The answer reaches nobody, and hurts nobody. */
    w.timeout_ms = 3000;
    while (w.held) {
        struct loop_timer poll = { 0 };
        assert_int_equal(loop_timer_open(&poll, w.loop, stop_on_turn, w.loop), STATUS_OK);
        loop_timer_set(&poll, loop_now_ms() + 5);
        assert_int_equal(loop_run(w.loop), STATUS_OK);
        loop_timer_close(&poll);
    }
    world_call(&w, 1, next, slice_of(NULL, 0));
    assert_int_equal(w.status, STATUS_OK);
    world_end(&w);
}

static void refuses_what_is_too_large_or_malformed(void **state)
{
    static const char huge[] = "\xff\xff\xff\xff", empty[] = "\0\0\0\1\0",
                      lying[] = "\0\0\0\3\1\x7f"
                                "a",
                      more[] = "\0\0\0\2\1\0more";
    const struct slice bad[] = { slice_of(huge, 4), slice_of(empty, 5), slice_of(lying, 7),
                                 slice_of(more, 10) };
    struct world w;
    const char *const argv[] = { "echo", "", "two words" };
    uint8_t *large = calloc(1, CONTROL_REQUEST_BYTES_MAX);

    (void)state;
    assert_non_null(large);
    world_start(&w);
    world_call(&w, 3, argv, slice_of(large, CONTROL_REQUEST_BYTES_MAX));
    assert_int_equal(w.status, STATUS_TOO_LARGE);
    free(large);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        char byte;

        memcpy(address.sun_path, w.path, strlen(w.path) + 1);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        assert_int_equal(write(fd, bad[i].at, bad[i].length), bad[i].length);
        world_call(&w, 3, argv, slice_text("others are served meanwhile"));
        assert_int_equal(w.status, STATUS_OK);
        assert_true(recv(fd, &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET); /* Hung up. */
        close(fd);
    }
    assert_int_equal(w.calls, sizeof bad / sizeof *bad);
    world_end(&w);
}

static void keeps_its_socket_to_its_user_and_to_one_daemon(void **state)
{
    struct world w;
    struct control_server *second;
    struct stat found;
    char *name;

    (void)state;
    world_start(&w);
    assert_int_equal(lstat(w.path, &found), 0);
    assert_int_equal(found.st_mode, S_IFSOCK | 0600);
    assert_int_equal(control_open(&second, w.loop, w.path, handle, &w), STATUS_BUSY);
    assert_null(second);
    assert_int_equal(access(w.path, F_OK), 0);

    /* A file of that name that is no socket is somebody's. */
    assert_true(asprintf(&name, "%s/file", w.folder) > 0);
    assert_int_equal(mknod(name, S_IFREG | 0600, 0), 0);
    assert_int_equal(control_open(&second, w.loop, name, handle, &w), STATUS_CONFLICT);
    assert_int_equal(unlink(name), 0);
    free(name);
    world_end(&w);
}

static void replaces_a_socket_that_nobody_listens_on(void **state)
{
    struct world w;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const char *const argv[] = { "echo", "", "two words" };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    world_start(&w);
    control_close(w.server);
    w.server = NULL;
    world_call(&w, 3, argv, slice_of(NULL, 0));
    assert_int_equal(w.status, STATUS_UNAVAILABLE);
    memcpy(address.sun_path, w.path, strlen(w.path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd); /* As after a power cut: the name stays. */
    world_call(&w, 3, argv, slice_of(NULL, 0));
    assert_int_equal(w.status, STATUS_UNAVAILABLE);
    assert_int_equal(control_open(&w.server, w.loop, w.path, handle, &w), STATUS_OK);
    world_call(&w, 3, argv, slice_of(NULL, 0));
    assert_int_equal(w.status, STATUS_OK);
    world_end(&w);
}

static void serves_no_more_than_sixteen_at_a_time(void **state)
{
    struct world w;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const char *const argv[] = { "echo", "", "two words" };
    int fds[16];

    (void)state;
    world_start(&w);
    memcpy(address.sun_path, w.path, strlen(w.path) + 1);
    for (int i = 0; i < 16; i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&address, sizeof address), 0);
    }
    world_call(&w, 3, argv, slice_of(NULL, 0));
    assert_int_equal(w.status, STATUS_IO); /* Hung up on. */
    for (int i = 0; i < 16; i++)
        close(fds[i]);
    world_call(&w, 3, argv, slice_of(NULL, 0));
    assert_int_equal(w.status, STATUS_OK);
    world_end(&w);
}

/* A call of "echo" with so much input that its answer never fits the socket; it is not read. */
static int call_and_never_read(const struct world *w)
{
    static const uint8_t head[] = { 3,   4,   'e', 'c', 'h', 'o', 0,   9,  't',
                                    'w', 'o', ' ', 'w', 'o', 'r', 'd', 's' };
    static uint8_t request[4 + LARGE_BYTES];
    struct writer to = writer_of(request, 4);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    writer_u32(&to, LARGE_BYTES);
    memcpy(request + 4, head, sizeof head);
    memcpy(address.sun_path, w->path, strlen(w->path) + 1);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        (void)!send(fd, request, sizeof request, MSG_NOSIGNAL);
    return fd;
}

static void *sixteen_who_never_read(void *argument)
{
    const struct world *w = argument;
    int fds[16];

    for (int i = 0; i < 16; i++)
        fds[i] = call_and_never_read(w);
    usleep(5200000);
    program(argument);
    for (int i = 0; i < 16; i++)
        close(fds[i]);
    return NULL;
}

static void makes_room_when_sixteen_do_not_read_their_answers(void **state)
{
    struct world w;
    const char *const argv[] = { "echo", "", "two words" };

    (void)state;
    world_start(&w);
    world_call_by(&w, sixteen_who_never_read, 3, argv, slice_of(NULL, 0));
    assert_int_equal(w.status, STATUS_OK);
    assert_int_equal(w.calls, 17);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_arguments_input_and_answer),
        cmocka_unit_test(carries_an_answer_given_later),
        cmocka_unit_test(lets_a_caller_go_before_its_answer),
        cmocka_unit_test(refuses_what_is_too_large_or_malformed),
        cmocka_unit_test(keeps_its_socket_to_its_user_and_to_one_daemon),
        cmocka_unit_test(replaces_a_socket_that_nobody_listens_on),
        cmocka_unit_test(serves_no_more_than_sixteen_at_a_time),
        cmocka_unit_test(makes_room_when_sixteen_do_not_read_their_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
