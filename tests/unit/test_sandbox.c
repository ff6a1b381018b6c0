/* SPDX-License-Identifier: Apache-2.0 */
/* The practice WhatsApp as a whole, in a process of its own: its webhooks go to its own sample program, its
 * link switch leads there too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sync/kit/clock.h"
#include "sync/kit/file.h"
#include "sync/kit/json.h"
#include "sync/protocol/status.h"
#include "sync/sandbox/sandbox.h"

#define PATIENCE_MS 10000
#define MESSAGES "/v25.0/106540352242922/messages"
#define TEXT \
    "{\"messaging_product\":\"whatsapp\",\"to\":\"+254 700 000 009\",\"type\":\"text\"," \
    "\"text\":{\"body\":\"x\"}}"

struct world {
    char folder[64];
    uint16_t port, hook_port, link_port;
    pid_t child;
};

/* --- A small HTTP client ---------------------------------------------------------------------------- */

static int dial(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    const struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static void say(int fd, const char *method, const char *path, const char *token, const char *body)
{
    struct text head = { 0 };

    text_printf(&head, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n", method,
                path, strlen(body));
    if (token)
        text_printf(&head, "Authorization: Bearer %s\r\n", token);
    text_printf(&head, "\r\n%s", body);
    assert_int_equal(send(fd, head.at, head.length, MSG_NOSIGNAL), head.length);
    text_free(&head);
}

/* The status; 0: no answer. body gets the body, or NULL. */
static int hear(int fd, struct text *body)
{
    struct text all = { 0 };
    char room[65536];
    ssize_t got;
    const char *end;
    int status = 0;

    while ((got = recv(fd, room, sizeof room, 0)) > 0)
        text_add(&all, slice_of(room, (size_t)got));
    if (all.length && sscanf(all.at, "HTTP/1.1 %d", &status) == 1 && body &&
        (end = strstr(all.at, "\r\n\r\n")))
        text_puts(body, end + 4);
    text_free(&all);
    close(fd);
    return status;
}

static int ask(uint16_t port, const char *method, const char *path, const char *token, const char *body,
               struct text *answer)
{
    int fd = dial(port);

    assert_true(fd >= 0);
    say(fd, method, path, token, body);
    return hear(fd, answer);
}

static struct json *ask_json(const struct world *w, const char *method, const char *path, const char *body)
{
    struct text answer = { 0 };
    struct json *tree = NULL;

    assert_int_equal(ask(w->port, method, path, "tok", body, &answer), 200);
    assert_int_equal(json_parse(text_slice(&answer), &tree, NULL), STATUS_OK);
    text_free(&answer);
    return tree;
}

static void control(const struct world *w, const char *fault)
{
    json_free(ask_json(w, "POST", "/control", fault));
}

static int send_text(const struct world *w)
{
    return ask(w->port, "POST", MESSAGES, "tok", TEXT, NULL);
}

static int64_t ask_number(const struct world *w, const char *path, const char *field)
{
    struct json *tree = ask_json(w, "GET", path, "");
    int64_t value = json_integer(json_path(tree, field), -1);

    json_free(tree);
    return value;
}

static void wait_for(const struct world *w, const char *path, const char *field, int64_t value)
{
    uint64_t until = clock_elapsed_ms() + PATIENCE_MS;

    while (ask_number(w, path, field) != value) {
        assert_true(clock_elapsed_ms() < until);
        (void)poll(NULL, 0, 10);
    }
}

/* --- The world -------------------------------------------------------------------------------------- */

static uint16_t free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void write_file(const struct world *w, const char *name, const char *text)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", w->folder, name);
    assert_int_equal(file_write(path, slice_text(text), 0600), STATUS_OK);
}

static void live(const struct world *w)
{
    struct sandbox_settings settings;
    struct config_error error;
    char path[128];
    int null = open("/dev/null", O_WRONLY), status;

    (void)dup2(null, STDERR_FILENO);
    close(null);
    (void)snprintf(path, sizeof path, "%s/sandbox.conf", w->folder);
    status = sandbox_settings_load(&settings, path, &error);
    if (status == STATUS_OK)
        status = sandbox_run(&settings);
    sandbox_settings_free(&settings);
    exit(status);
}

static void start(struct world *w)
{
    int fd;

    w->child = fork();
    assert_true(w->child >= 0);
    if (w->child == 0)
        live(w);
    for (uint64_t until = clock_elapsed_ms() + PATIENCE_MS; (fd = dial(w->port)) < 0;) {
        assert_true(clock_elapsed_ms() < until);
        (void)poll(NULL, 0, 10);
    }
    close(fd);
}

static int begin(void **state)
{
    static struct world world;
    struct world *w = &world;
    struct text conf = { 0 };

    *w = (struct world){ 0 };
    *state = w;
    (void)snprintf(w->folder, sizeof w->folder, "%s/test_sandbox.XXXXXX", P_tmpdir);
    assert_non_null(mkdtemp(w->folder));
    w->port = free_port();
    w->hook_port = free_port();
    w->link_port = free_port();
    write_file(w, "secret", "s3cret\n");
    write_file(w, "token", "tok\n");
    text_printf(&conf,
                "[sandbox]\nlisten = 127.0.0.1:%u\naccess_token_file = token\napp_secret_file = secret\n",
                w->port);
    text_printf(&conf, "webhook_url = http://127.0.0.1:%u/hook\nsent_ms = 5\ndelivered_ms = 5\nread_ms = 5\n",
                w->hook_port);
    text_puts(&conf, "record_file = record\n[number 106540352242922]\ndisplay_phone_number = 254700000001\n");
    text_printf(&conf, "[link]\nlisten = 127.0.0.1:%u\ntarget = 127.0.0.1:%u\n", w->link_port, w->hook_port);
    text_printf(&conf, "[hook]\nlisten = 127.0.0.1:%u\nsecret_file = secret\nrecord_file = hooks\n",
                w->hook_port);
    write_file(w, "sandbox.conf", conf.at);
    text_free(&conf);
    start(w);
    return 0;
}

static int end(void **state)
{
    static const char *const names[] = { "secret", "token", "sandbox.conf", "record", "hooks" };
    const struct world *w = *state;
    char path[128];
    int status = -1;

    assert_int_equal(kill(w->child, SIGTERM), 0);
    assert_int_equal(waitpid(w->child, &status, 0), w->child);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", w->folder, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(w->folder), 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* The statuses that the sample program has got, in order: "sent delivered read ". */
static void read_statuses(const struct world *w, char *out, size_t room)
{
    struct json *all = ask_json(w, "GET", "/hook/received", ""), *list = json_get(all, "webhooks");

    out[0] = '\0';
    for (size_t i = 0; i < json_count(list); i++) {
        struct json *webhook = NULL;
        struct slice word;

        assert_true(json_bool(json_get(json_at(list, i), "signature_ok"), false));
        assert_int_equal(json_parse(json_string(json_get(json_at(list, i), "body")), &webhook, NULL),
                         STATUS_OK);
        word = json_string(json_path(webhook, "entry.0.changes.0.value.statuses.0.status"));
        (void)snprintf(out + strlen(out), room - strlen(out), "%.*s ", (int)word.length,
                       (const char *)word.at);
        json_free(webhook);
    }
    json_free(all);
}

/* --- Stories ---------------------------------------------------------------------------------------- */

static void takes_a_message_and_tells_what_became_of_it(void **state)
{
    const struct world *w = *state;
    struct json *thread;
    char statuses[128];

    assert_int_equal(send_text(w), 200);
    wait_for(w, "/hook/received", "last", 3);
    read_statuses(w, statuses, sizeof statuses);
    assert_string_equal(statuses, "sent delivered read ");
    thread = ask_json(w, "GET", "/phone/254700000009/messages", "");
    assert_int_equal(json_count(json_get(thread, "messages")), 1);
    assert_true(slice_is(json_string(json_path(thread, "messages.0.body.text.body")), "x"));
    assert_true(slice_is(json_string(json_path(thread, "messages.0.raw")), TEXT));
    assert_true(json_integer(json_path(thread, "messages.0.statuses.read"), 0) > 0);
    json_free(thread);
}

static void refuses_as_whatsapp_does(void **state)
{
    const struct world *w = *state;

    assert_int_equal(ask(w->port, "POST", MESSAGES, NULL, TEXT, NULL), 401);
    assert_int_equal(ask(w->port, "POST", MESSAGES, "other", TEXT, NULL), 401);
    assert_int_equal(ask(w->port, "POST", "/v25.0/7/messages", "tok", TEXT, NULL), 400);
    assert_int_equal(ask(w->port, "POST", MESSAGES, "tok", "{", NULL), 400);
    assert_int_equal(ask(w->port, "POST", MESSAGES, "tok", "{}", NULL), 400);
    assert_int_equal(ask(w->port, "POST", "/v25.0/106540352242922/media", "tok", "{}", NULL), 404);
    assert_int_equal(ask_number(w, "/received", "last"), 0);
}

static void takes_it_and_then_resets_or_hangs(void **state)
{
    const struct world *w = *state;
    int fd;

    control(w, "{\"fault\":\"accept_then_reset\"}");
    assert_int_equal(send_text(w), 0);
    control(w, "{\"fault\":\"accept_then_hang\"}");
    fd = dial(w->port);
    say(fd, "POST", MESSAGES, "tok", TEXT);
    wait_for(w, "/control", "hung", 1);
    assert_int_equal(ask_number(w, "/received", "last"), 2);
    control(w, "{\"fault\":\"none\"}");
    assert_int_equal(hear(fd, NULL), 0);
    assert_int_equal(send_text(w), 200);
    wait_for(w, "/hook/received", "last", 9);
}

static void refuses_and_delays_when_asked(void **state)
{
    const struct world *w = *state;
    uint64_t before;

    control(w, "{\"fault\":\"error\",\"code\":131056}");
    assert_int_equal(send_text(w), 400);
    assert_int_equal(ask_number(w, "/received", "last"), 0);
    control(w, "{\"fault\":\"delay\",\"ms\":200,\"count\":1}");
    before = clock_elapsed_ms();
    assert_int_equal(send_text(w), 200);
    assert_true(clock_elapsed_ms() - before >= 195);
    assert_int_equal(ask(w->port, "POST", "/control", NULL, "{\"fault\":\"fire\"}", NULL), 400);
}

static void holds_doubles_and_swaps_webhooks(void **state)
{
    const struct world *w = *state;
    char statuses[128];

    control(w, "{\"fault\":\"webhook_outage\"}");
    control(w, "{\"fault\":\"webhooks_duplicated\"}");
    assert_int_equal(send_text(w), 200);
    wait_for(w, "/control", "webhooks.waiting", 6);
    assert_int_equal(ask_number(w, "/hook/received", "last"), 0);
    control(w, "{\"fault\":\"webhook_outage\",\"on\":false}");
    wait_for(w, "/hook/received", "last", 6);
    read_statuses(w, statuses, sizeof statuses);
    assert_string_equal(statuses, "sent sent delivered delivered read read ");
    control(w, "{\"fault\":\"none\"}");
    control(w, "{\"fault\":\"webhooks_reordered\"}");
    assert_int_equal(send_text(w), 200);
    wait_for(w, "/hook/received", "last", 9);
    read_statuses(w, statuses, sizeof statuses);
    assert_string_equal(statuses, "sent sent delivered delivered read read delivered sent read ");
}

static void posts_what_a_customer_types(void **state)
{
    const struct world *w = *state;
    struct json *typed, *all;

    typed = ask_json(w, "POST", "/phone/254700000009/messages", "{\"text\":\"Jambo\"}");
    wait_for(w, "/hook/received", "last", 1);
    all = ask_json(w, "GET", "/hook/received", "");
    assert_non_null(strstr((const char *)json_string(json_path(all, "webhooks.0.body")).at,
                           (const char *)json_string(json_get(typed, "id")).at));
    json_free(typed);
    json_free(all);
    assert_int_equal(ask(w->port, "POST", "/phone/25x/messages", NULL, "{\"text\":\"x\"}", NULL), 400);
    assert_int_equal(ask(w->port, "POST", "/phone/254/messages", NULL, "{\"no\":1}", NULL), 400);
    assert_int_equal(
        ask(w->port, "POST", "/phone/254/messages", NULL, "{\"text\":\"x\",\"phone_number_id\":\"7\"}", NULL),
        400);
    assert_int_equal(ask_number(w, "/hook/received", "last"), 1);
}

static void posts_a_raw_webhook_byte_for_byte(void **state)
{
    static const char raw[] = "{ \"entry\" : [ ], \"odd\":\"\\/\\u00e9\" }";
    const struct world *w = *state;
    struct json *all;

    json_free(ask_json(w, "POST", "/webhook-raw", raw));
    wait_for(w, "/hook/received", "last", 1);
    all = ask_json(w, "GET", "/hook/received", "");
    assert_true(slice_is(json_string(json_path(all, "webhooks.0.body")), raw));
    assert_true(json_bool(json_path(all, "webhooks.0.signature_ok"), false));
    json_free(all);
}

static void sample_program_refuses_a_wrong_signature(void **state)
{
    const struct world *w = *state;
    struct json *all;

    assert_int_equal(ask(w->hook_port, "POST", "/hook", NULL, "{}", NULL), 401);
    all = ask_json(w, "GET", "/hook/received", "");
    assert_false(json_bool(json_path(all, "webhooks.0.signature_ok"), true));
    json_free(all);
}

static void remembers_what_it_took_when_it_is_killed(void **state)
{
    struct world *w = *state;
    int status;

    control(w, "{\"fault\":\"no_statuses\"}");
    assert_int_equal(send_text(w), 200);
    assert_int_equal(ask(w->hook_port, "POST", "/hook", NULL, "{}", NULL), 401);
    assert_int_equal(kill(w->child, SIGKILL), 0);
    assert_int_equal(waitpid(w->child, &status, 0), w->child);
    start(w);
    assert_int_equal(ask_number(w, "/received", "last"), 1);
    wait_for(w, "/hook/received", "last", 4); /* What it had not told yet it tells now. */
}

/* --- The link switch -------------------------------------------------------------------------------- */

#define HANDSHAKE "/hook?hub.mode=subscribe&hub.verify_token=any&hub.challenge=77"

static void set_link(const struct world *w, const char *state)
{
    json_free(ask_json(w, "POST", "/link", state));
}

static bool is_silent(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, ms) == 0;
}

static void link_is_slow_on_2g_and_silent_when_down(void **state)
{
    const struct world *w = *state;
    uint64_t before;
    int fd;

    assert_int_equal(ask(w->link_port, "GET", HANDSHAKE, NULL, "", NULL), 200);
    set_link(w, "{\"state\":\"2g\"}");
    before = clock_elapsed_ms();
    assert_int_equal(ask(w->link_port, "GET", HANDSHAKE, NULL, "", NULL), 200);
    assert_true(clock_elapsed_ms() - before >= 600);
    set_link(w, "{\"state\":\"down\"}");
    fd = dial(w->link_port); /* Taken, but nobody hears it. */
    say(fd, "GET", HANDSHAKE, NULL, "");
    assert_true(is_silent(fd, 300));
    set_link(w, "{\"state\":\"up\"}");
    assert_int_equal(hear(fd, NULL), 200);
    assert_int_equal(ask(w->port, "POST", "/link", NULL, "{\"state\":\"sideways\"}", NULL), 400);
}

static void link_carries_64_kbit_on_2g(void **state)
{
    const struct world *w = *state;
    char body[8001];
    uint64_t before;

    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    set_link(w, "{\"state\":\"2g\"}");
    before = clock_elapsed_ms();
    assert_int_equal(ask(w->link_port, "POST", "/hook", NULL, body, NULL), 401);
    assert_in_range(clock_elapsed_ms() - before, 1550, 3500); /* A second of line, twice 300 ms of way. */
}

static void link_stalls_resets_and_half_closes(void **state)
{
    const struct world *w = *state;
    char byte;
    int fd = dial(w->link_port);

    wait_for(w, "/link", "connections", 1);
    control(w, "{\"fault\":\"link\",\"do\":\"stall\"}");
    say(fd, "GET", HANDSHAKE, NULL, "");
    assert_true(is_silent(fd, 200));
    assert_int_equal(ask(w->link_port, "GET", HANDSHAKE, NULL, "", NULL), 200);
    control(w, "{\"fault\":\"link\",\"do\":\"reset\"}");
    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    close(fd);
    wait_for(w, "/link", "connections", 0);
    fd = dial(w->link_port);
    wait_for(w, "/link", "connections", 1);
    control(w, "{\"fault\":\"link\",\"do\":\"half_close\"}");
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    wait_for(w, "/link", "connections", 0);
}

static void link_forgets_who_left_while_it_was_down(void **state)
{
    const struct world *w = *state;

    set_link(w, "{\"state\":\"down\"}");
    for (int i = 0; i < 5; i++)
        close(dial(w->link_port));
    wait_for(w, "/link", "accepted", 5);
    wait_for(w, "/link", "connections", 0);
}

/* --- The page --------------------------------------------------------------------------------------- */

static void serves_the_page_with_a_strict_policy(void **state)
{
    const struct world *w = *state;
    char room[4096] = "";
    int fd = dial(w->port);

    say(fd, "GET", "/", NULL, "");
    assert_true(recv(fd, room, sizeof room - 1, 0) > 0);
    close(fd);
    assert_non_null(strstr(room, "Content-Security-Policy: default-src 'none'; script-src 'self'"));
    assert_int_equal(ask(w->port, "GET", "/phone.js", NULL, "", NULL), 200);
    assert_int_equal(ask(w->port, "GET", "/phone.css", NULL, "", NULL), 200);
    assert_int_equal(ask(w->port, "DELETE", "/phones", NULL, "", NULL), 405);
}

static void pages_of_other_origins_may_not_work_the_switches(void **state)
{
    static const char request[] = "POST /link HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n"
                                  "Connection: close\r\nContent-Length: 16\r\n\r\n{\"state\":\"down\"}";
    const struct world *w = *state;
    struct json *link;
    int fd = dial(w->port);

    assert_int_equal(send(fd, request, sizeof request - 1, 0), sizeof request - 1);
    assert_int_equal(hear(fd, NULL), 403);
    link = ask_json(w, "GET", "/link", "");
    assert_true(slice_is(json_string(json_get(link, "state")), "up"));
    json_free(link);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(takes_a_message_and_tells_what_became_of_it),
        STORY(refuses_as_whatsapp_does),
        STORY(takes_it_and_then_resets_or_hangs),
        STORY(refuses_and_delays_when_asked),
        STORY(holds_doubles_and_swaps_webhooks),
        STORY(posts_what_a_customer_types),
        STORY(posts_a_raw_webhook_byte_for_byte),
        STORY(sample_program_refuses_a_wrong_signature),
        STORY(remembers_what_it_took_when_it_is_killed),
        STORY(link_is_slow_on_2g_and_silent_when_down),
        STORY(link_carries_64_kbit_on_2g),
        STORY(link_stalls_resets_and_half_closes),
        STORY(link_forgets_who_left_while_it_was_down),
        STORY(serves_the_page_with_a_strict_policy),
        STORY(pages_of_other_origins_may_not_work_the_switches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
