/* SPDX-License-Identifier: Apache-2.0 */
/* The relay as a process of its own, spoken to over HTTP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "relay/box.h"
#include "relay/outbox_tokens.h"
#include "sync/kit/log.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define NUMBER "106540352242922"
#define SEND "/v25.0/" NUMBER "/messages"
#define BODY \
    "{\"messaging_product\":\"whatsapp\",\"to\":\"254712345678\"," \
    "\"type\":\"text\",\"text\":{\"body\":\"Habari\"}}"

struct world {
    char folder[64], conf[96];
    char token[TOKEN_TEXT_BYTES];
    uint16_t port;
    pid_t relay;
};

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static int try_connect(const struct world *w)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(w->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static void relay_start(struct world *w)
{
    int fd = -1;

    w->relay = fork();
    assert_true(w->relay >= 0);
    if (w->relay == 0) {
        struct options *options;
        struct config_error error;

        log_set_level(LOG_LEVEL_ERROR);
        if (options_load(&options, w->conf, &error) != STATUS_OK)
            _exit(2);
        _exit(box_run(options));
    }
    for (int tries = 0; tries < 500 && fd < 0; tries++) {
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
        fd = try_connect(w);
    }
    assert_true(fd >= 0);
    close(fd);
}

static int relay_end(struct world *w, int how)
{
    int code = 0;

    kill(w->relay, how);
    assert_int_equal(waitpid(w->relay, &code, 0), w->relay);
    return code;
}

/* The token is made as the verb makes it, while no relay runs. */
static void make_token(struct world *w)
{
    struct outbox_options options = {
        .folder = w->folder, .branch = 7, .wall_ms = clock_wall_ms(), .offline = true
    };
    struct outbox *outbox;

    assert_int_equal(seal_start(), STATUS_OK);
    assert_int_equal(outbox_open(&outbox, &options), STATUS_OK);
    assert_int_equal(outbox_token_add(outbox, slice_text("teller"), 1, w->token), STATUS_OK);
    assert_int_equal(outbox_commit(outbox, 0), STATUS_OK);
    outbox_close(outbox);
}

static void world_start(struct world *w)
{
    FILE *conf;

    snprintf(w->folder, sizeof w->folder, "%s", "/var/tmp/zajel-test-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    w->port = free_port();
    snprintf(w->conf, sizeof w->conf, "%s/relay.conf", w->folder);
    conf = fopen(w->conf, "w");
    assert_non_null(conf);
    fprintf(conf,
            "[relay]\nbranch = nyeri-03\nbranch_number = 7\nstate = .\n[api]\nlisten = 127.0.0.1:%u\n"
            "[numbers]\ndefault = " NUMBER "\n[limits]\nrequest_bytes_max = 4096\nreserve_bytes = 65536\n",
            w->port);
    fclose(conf);
    make_token(w);
    relay_start(w);
}

static int remove_one(const char *path, const struct stat *found, int type, struct FTW *at)
{
    (void)found;
    (void)type;
    (void)at;
    return remove(path);
}

static void world_end(struct world *w)
{
    assert_int_equal(nftw(w->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* One request on a connection of its own; returns the status, and the whole answer in text. */
static int ask(const struct world *w, const char *line, const char *headers, const char *body,
               char text[8192])
{
    int fd = try_connect(w), status = 0;
    size_t length = 0;
    ssize_t got;
    char request[8192];
    int written =
        snprintf(request, sizeof request,
                 "%s HTTP/1.1\r\nHost: relay\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n%s", line,
                 strlen(body), headers, body);

    assert_true(fd >= 0 && written > 0 && (size_t)written < sizeof request);
    assert_int_equal(send(fd, request, (size_t)written, MSG_NOSIGNAL), written);
    while (length < 8191) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };

        assert_int_equal(poll(&ready, 1, 20000), 1);
        if ((got = recv(fd, text + length, 8191 - length, 0)) <= 0)
            break;
        length += (size_t)got;
    }
    text[length] = '\0';
    close(fd);
    assert_int_equal(sscanf(text, "HTTP/1.1 %d", &status), 1);
    return status;
}

/* As a program with the world's token. */
static int post(const struct world *w, const char *more, const char *body, char text[8192])
{
    char headers[512];

    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n%s", w->token, more);
    return ask(w, "POST " SEND, headers, body, text);
}

static void id_of(const char *text, char id[128])
{
    const char *found = strstr(text, "\"messages\":[{\"id\":\"");

    assert_non_null(found);
    assert_int_equal(sscanf(found, "\"messages\":[{\"id\":\"%127[^\"]", id), 1);
}

static void keeps_what_it_accepted_through_a_kill(void **state)
{
    struct world w;
    char text[8192], first[128], again[128], line[256], headers[256];

    (void)state;
    world_start(&w);
    assert_int_equal(post(&w, "Idempotency-Key: k\r\n", BODY, text), 200);
    id_of(text, first);
    relay_end(&w, SIGKILL);
    relay_start(&w);
    assert_int_equal(post(&w, "Idempotency-Key: k\r\n", BODY, text), 200);
    id_of(text, again);
    assert_string_equal(first, again);
    assert_int_equal(post(&w, "Idempotency-Key: k\r\n", "{}", text), 422);
    snprintf(line, sizeof line, "GET /zajel/v1/messages/%s", first);
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", w.token);
    assert_int_equal(ask(&w, line, headers, "", text), 200);
    assert_non_null(strstr(text, "\"state\":\"queued\""));
    relay_end(&w, SIGTERM);
    world_end(&w);
}

static void refuses_as_the_graph_api_does(void **state)
{
    struct world w;
    char text[8192], large[5000];

    (void)state;
    world_start(&w);
    assert_int_equal(ask(&w, "POST " SEND, "", BODY, text), 401);
    assert_non_null(strstr(text, "\"code\":190"));
    assert_int_equal(ask(&w, "POST " SEND, "Authorization: Bearer zj_wrong\r\n", BODY, text), 401);
    assert_int_equal(post(&w, "", "{", text), 400);
    assert_non_null(strstr(text, "\"code\":100"));
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    assert_int_equal(post(&w, "", large, text), 413);
    assert_non_null(strstr(text, "\"code\":100"));
    assert_int_equal(ask(&w, "GET " SEND, "", "", text), 405);
    assert_int_equal(ask(&w, "POST /v25.0/" NUMBER "/nothing", "", "", text), 404);
    assert_non_null(strstr(text, "\"error\""));
    relay_end(&w, SIGTERM);
    world_end(&w);
}

static void tells_monitoring_how_it_is(void **state)
{
    struct world w;
    char text[8192];

    (void)state;
    world_start(&w);
    assert_int_equal(post(&w, "", BODY, text), 200);
    assert_int_equal(ask(&w, "GET /healthz", "", "", text), 200);
    assert_int_equal(ask(&w, "GET /readyz", "", "", text), 200);
    assert_int_equal(ask(&w, "GET /status", "", "", text), 200);
    assert_non_null(strstr(text, "\"accepted\":1"));
    assert_non_null(strstr(text, "\"state\":\"off\""));
    assert_int_equal(ask(&w, "GET /metrics", "", "", text), 200);
    assert_non_null(strstr(text, "\nzajel_relay_accepted_total 1\n"));
    relay_end(&w, SIGTERM);
    world_end(&w);
}

static void stops_within_two_seconds(void **state)
{
    struct world w;
    struct timespec before, after;
    int code;

    (void)state;
    world_start(&w);
    clock_gettime(CLOCK_MONOTONIC, &before);
    code = relay_end(&w, SIGTERM);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(WIFEXITED(code) && WEXITSTATUS(code) == 0);
    assert_true((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 < 2000);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_it_accepted_through_a_kill),
        cmocka_unit_test(refuses_as_the_graph_api_does),
        cmocka_unit_test(tells_monitoring_how_it_is),
        cmocka_unit_test(stops_within_two_seconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
