/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sync/protocol/status.h"

#define LISTENER_BACKLOG 512
#define LISTENER_BURST_MAX 32 /* A rush of newcomers must not keep the links from being read. */
#define LISTENER_REST_MS 100u /* Out of descriptors or memory: newcomers wait in the backlog. */

struct listener {
    struct loop *loop;
    int fd;
    struct loop_watch *watch;
    struct loop_timer rest;
    void (*accepted)(void *owner, int fd);
    void *owner;
};

static void listener_ready(void *owner)
{
    struct listener *n = owner;

    for (int i = 0; i < LISTENER_BURST_MAX; i++) {
        int fd = accept4(n->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            n->accepted(n->owner, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            loop_watch_close(n->watch);
            n->watch = NULL;
            loop_timer_set(&n->rest, loop_now_ms() + LISTENER_REST_MS);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

static void listener_watch(void *owner)
{
    struct listener *n = owner;

    if (loop_watch_open(&n->watch, n->loop, n->fd, listener_ready, n) != STATUS_OK)
        loop_timer_set(&n->rest, loop_now_ms() + LISTENER_REST_MS);
}

static int listener_bind(struct listener *n, const char *host, uint16_t port)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    char service[8];
    int on = 1, status = STATUS_OK;

    snprintf(service, sizeof service, "%u", (unsigned)port);
    if (getaddrinfo(host, service, &hints, &list) != 0)
        return STATUS_INVALID;
    n->fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (n->fd < 0 || setsockopt(n->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        status = STATUS_IO;
    else if (bind(n->fd, list->ai_addr, list->ai_addrlen) != 0 || listen(n->fd, LISTENER_BACKLOG) != 0)
        status = errno == EADDRINUSE ? STATUS_BUSY : STATUS_IO;
    freeaddrinfo(list);
    return status;
}

int listener_open(struct listener **out, struct loop *l, const char *host, uint16_t port,
                  void (*accepted)(void *owner, int fd), void *owner)
{
    struct listener *n = calloc(1, sizeof *n);
    int status;

    *out = NULL;
    if (!n)
        return STATUS_NO_MEMORY;
    *n = (struct listener){ .loop = l, .fd = -1, .accepted = accepted, .owner = owner };
    if ((status = listener_bind(n, host, port)) != STATUS_OK ||
        (status = loop_timer_open(&n->rest, l, listener_watch, n)) != STATUS_OK ||
        (status = loop_watch_open(&n->watch, l, n->fd, listener_ready, n)) != STATUS_OK) {
        listener_close(n);
        return status;
    }
    *out = n;
    return STATUS_OK;
}

uint16_t listener_port(const struct listener *n)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = { .v6 = { 0 } };
    socklen_t length = sizeof address;

    if (getsockname(n->fd, &address.any, &length) != 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

void listener_close(struct listener *n)
{
    if (!n)
        return;
    loop_watch_close(n->watch);
    loop_timer_close(&n->rest);
    if (n->fd >= 0)
        close(n->fd);
    free(n);
}
