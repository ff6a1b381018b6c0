/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sync/kit/checkup.h"
#include "sync/kit/config.h"
#include "sync/kit/fetch.h"
#include "sync/kit/resolver.h"
#include "sync/protocol/status.h"

#define LOOK_MS 10000u /* A 2G link resolves and connects in five; who waits at a prompt waits no minute. */
#define GET_MS 15000u
#define ANSWER_BYTES_MAX 16384u

/* One look that takes a loop: until it is done, or its time is over. */
struct look {
    struct loop *loop;
    struct loop_timer timer;
    bool is_done;
    long status;
    struct text *answer;
    char why[256];
};

static void look_turn(void *owner)
{
    (void)owner;
}

static void look_end(void *owner)
{
    struct look *k = owner;

    loop_stop(k->loop);
}

static int look_open(struct look *k)
{
    struct loop_options options = { .turn = look_turn,
                                    .stop = look_end,
                                    .owner = k,
                                    .descriptors_max = 16,
                                    .handshake_s_max = LOOK_MS / 1000 };
    int status = loop_open(&k->loop, &options);

    return status == STATUS_OK ? loop_timer_open(&k->timer, k->loop, look_end, k) : status;
}

static void look_wait(struct look *k, uint64_t wait_ms)
{
    if (k->is_done)
        return;
    loop_timer_set(&k->timer, loop_now_ms() + wait_ms);
    (void)loop_run(k->loop);
}

static void look_close(struct look *k)
{
    loop_timer_close(&k->timer);
    loop_close(k->loop);
}

/* --- The name --- */

int checkup_host(const char *url, struct checkup_host *out)
{
    const char *host = strstr(url, "://");
    char address[300];
    uint16_t port;
    size_t length;

    if (!host)
        return STATUS_INVALID;
    host += 3;
    length = strcspn(host, "/?#");
    if (length == 0 || length >= sizeof address - 8)
        return STATUS_INVALID;
    snprintf(address, sizeof address, "%.*s", (int)length, host);
    if (config_address(address, out->name, &port) != STATUS_OK) {
        snprintf(address, sizeof address, "%.*s:%s", (int)length, host,
                 strncmp(url, "http://", 7) == 0 ? "80" : "443");
        if (config_address(address, out->name, &port) != STATUS_OK)
            return STATUS_INVALID;
    }
    out->port = port;
    return STATUS_OK;
}

static void name_ready(void *owner, const char *address)
{
    struct look *k = owner;

    k->is_done = true;
    if (address)
        text_puts(k->answer, address);
    loop_stop(k->loop);
}

bool checkup_name(struct checkup *c, const char *check, const char *name, struct text *address)
{
    struct look k = { .answer = address };
    struct resolver *resolver = NULL;
    const char *known = NULL;

    text_clear(address);
    if (look_open(&k) == STATUS_OK && resolver_open(&resolver, k.loop, name, name_ready, &k) == STATUS_OK) {
        int status = resolver_address(resolver, &known);

        if (known)
            text_puts(address, known);
        else if (status == STATUS_BUSY)
            look_wait(&k, LOOK_MS);
    }
    resolver_close(resolver);
    look_close(&k);
    if (address->length)
        checkup_add(c, CHECKUP_OK, check, NULL, "%s is %s", name, address->at);
    else
        checkup_add(
            c, CHECKUP_FAIL, check,
            "See the name servers in /etc/resolv.conf (resolvectl status), or put a line into /etc/hosts.",
            "%s: %s", name, k.is_done ? "no such name is known" : "the name server does not answer");
    return address->length > 0;
}

/* --- TCP --- */

static int connect_within(const struct addrinfo *to, int wait_ms)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct pollfd ready = { .fd = fd, .events = POLLOUT };
    socklen_t length = sizeof(int);
    int error = 0;

    if (fd < 0)
        return errno;
    if (connect(fd, to->ai_addr, to->ai_addrlen) != 0) {
        error = errno;
        if (error == EINPROGRESS) {
            error = ETIMEDOUT;
            if (poll(&ready, 1, wait_ms) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
                error = errno;
        }
    }
    close(fd);
    return error;
}

bool checkup_tcp(struct checkup *c, const char *check, const char *address, unsigned port)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST }, *to = NULL;
    char service[8];
    int error = EINVAL;

    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(address, service, &hints, &to) == 0) {
        error = connect_within(to, (int)LOOK_MS);
        freeaddrinfo(to);
    }
    if (error == 0)
        checkup_add(c, CHECKUP_OK, check, NULL, "%s answers on port %u", address, port);
    else
        checkup_add(c, CHECKUP_FAIL, check,
                    error == ECONNREFUSED
                        ? "The machine is there and nothing listens: start the server, or "
                          "correct the port in the configuration."
                        : "See whether this machine is on the network (ip route), and whether a "
                          "firewall lets this port through.",
                    "%s port %u: %s", address, port, strerror(error));
    return error == 0;
}

/* --- HTTP --- */

static void get_done(void *owner, struct fetch *fetch, const struct fetch_result *result)
{
    struct look *k = owner;

    (void)fetch;
    k->is_done = true;
    k->status = result->outcome == FETCH_ANSWERED ? result->status : 0;
    text_add(k->answer, result->body);
    snprintf(k->why, sizeof k->why, "%s", result->why);
    loop_stop(k->loop);
}

long checkup_get(const char *url, const char *header, const struct fetch_identity *identity,
                 struct text *body, char why[256])
{
    struct look k = { .answer = body, .why = "no answer came in time" };
    const char *headers[] = { header, NULL };
    struct fetch_request request = { .method = "GET",
                                     .url = url,
                                     .headers = headers,
                                     .timeout_ms = GET_MS,
                                     .body_bytes_max = ANSWER_BYTES_MAX,
                                     .identity = identity,
                                     .done = get_done,
                                     .owner = &k };
    struct fetcher *fetcher = NULL;
    struct fetch *fetch;
    int status;

    if ((status = look_open(&k)) == STATUS_OK && (status = fetcher_open(&fetcher, k.loop, 1)) == STATUS_OK &&
        (status = fetch_start(fetcher, &request, &fetch)) == STATUS_OK)
        look_wait(&k, GET_MS + 1000);
    fetcher_close(fetcher);
    look_close(&k);
    snprintf(why, 256, "%s", status == STATUS_OK ? k.why : status_name(status));
    return k.status;
}

bool checkup_tls(struct checkup *c, const char *check, const char *url, const struct fetch_identity *identity)
{
    const char *host = strstr(url, "://");
    struct text aside = { 0 }, body = { 0 };
    char why[256] = "the url has no host";
    long status = 0;

    if (host) {
        host += 3;
        text_printf(&aside, "https://%.*s/doctor", (int)strcspn(host, "/?#"), host);
        if (!aside.failed)
            status = checkup_get(aside.at, NULL, identity, &body, why);
    }
    text_free(&aside);
    text_free(&body);
    if (status)
        checkup_add(c, CHECKUP_OK, check, NULL, "both sides take each other's certificate");
    else
        checkup_add(
            c, CHECKUP_FAIL, check,
            "See that ca_file is the gateway's own CA (`branch add` writes it), that the host in url is a "
            "name in its certificate, that the clock is right, and that no proxy opens TLS on the way.",
            "%s", why);
    return status != 0;
}
