/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sync/protocol/status.h"

#define RESOLVER_ADDRESSES_MAX 4
#define RESOLVER_FRESH_MS 3600000u   /* An address that works is looked up again hourly. */
#define RESOLVER_DOUBTED_MS 60000u   /* One that does not: each lookup costs some 150 bytes of the link. */
#define RESOLVER_STACK_BYTES 262144u /* getaddrinfo and its plugins need some 60 KB. */

/* A lookup is shared by the loop and its thread; who lets go last frees it. A thread may hang in a dead name
 * server for half a minute, and closing must not wait for it. */
struct lookup {
    atomic_int holders;
    int done_fd; /* An eventfd, written when the rest is filled in. */
    unsigned count;
    char addresses[RESOLVER_ADDRESSES_MAX][INET6_ADDRSTRLEN];
    char host[];
};

struct resolver {
    struct loop *loop;
    void (*ready)(void *owner, const char *address);
    void *owner;
    struct lookup *lookup; /* NULL: none is under way. */
    struct loop_watch *watch;
    uint64_t again_ms; /* When the next lookup is due. */
    unsigned count, current;
    char addresses[RESOLVER_ADDRESSES_MAX][INET6_ADDRSTRLEN];
    bool literal;
    char host[];
};

static void lookup_release(struct lookup *k)
{
    if (k && atomic_fetch_sub(&k->holders, 1) == 1) {
        if (k->done_fd >= 0)
            close(k->done_fd);
        free(k);
    }
}

static void *lookup_run(void *argument)
{
    struct lookup *k = argument;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *list = NULL;

    if (getaddrinfo(k->host, NULL, &hints, &list) == 0) {
        for (struct addrinfo *a = list; a && k->count < RESOLVER_ADDRESSES_MAX; a = a->ai_next) {
            if (getnameinfo(a->ai_addr, a->ai_addrlen, k->addresses[k->count], INET6_ADDRSTRLEN, NULL, 0,
                            NI_NUMERICHOST) == 0)
                k->count++;
        }
        freeaddrinfo(list);
    }
    (void)eventfd_write(k->done_fd, 1);
    lookup_release(k);
    return NULL;
}

static bool lookup_start(struct lookup *k)
{
    pthread_attr_t attributes;
    pthread_t thread;
    bool started = false;

    if (pthread_attr_init(&attributes) != 0)
        return false;
    atomic_store(&k->holders, 2);
    if (pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
        pthread_attr_setstacksize(&attributes, RESOLVER_STACK_BYTES) == 0)
        started = pthread_create(&thread, &attributes, lookup_run, k) == 0;
    if (!started)
        atomic_store(&k->holders, 1);
    pthread_attr_destroy(&attributes);
    return started;
}

static void resolver_let_go(struct resolver *r)
{
    loop_watch_close(r->watch);
    lookup_release(r->lookup);
    r->watch = NULL;
    r->lookup = NULL;
}

static void resolver_take(void *owner)
{
    struct resolver *r = owner;
    struct lookup *k = r->lookup;
    uint64_t now_ms = loop_now_ms();

    r->again_ms = now_ms + (k->count ? RESOLVER_FRESH_MS : r->count ? RESOLVER_DOUBTED_MS : 0);
    if (k->count) {
        r->count = k->count;
        r->current = 0;
        memcpy(r->addresses, k->addresses, sizeof r->addresses);
    }
    resolver_let_go(r);
    r->ready(r->owner, r->count ? r->addresses[r->current] : NULL);
}

static int resolver_look(struct resolver *r)
{
    size_t bytes = strlen(r->host) + 1;
    struct lookup *k = calloc(1, sizeof *k + bytes);

    if (!k)
        return STATUS_NO_MEMORY;
    atomic_init(&k->holders, 1);
    memcpy(k->host, r->host, bytes);
    r->lookup = k;
    k->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (k->done_fd < 0 || loop_watch_open(&r->watch, r->loop, k->done_fd, resolver_take, r) != STATUS_OK ||
        !lookup_start(k)) {
        resolver_let_go(r);
        return STATUS_IO;
    }
    return STATUS_OK;
}

int resolver_open(struct resolver **out, struct loop *l, const char *host,
                  void (*ready)(void *owner, const char *address), void *owner)
{
    size_t bytes = strlen(host) + 1;
    struct resolver *r = calloc(1, sizeof *r + bytes);
    struct in6_addr scratch;

    *out = NULL;
    if (!r)
        return STATUS_NO_MEMORY;
    r->loop = l;
    r->ready = ready;
    r->owner = owner;
    memcpy(r->host, host, bytes);
    r->literal = inet_pton(AF_INET, host, &scratch) == 1 || inet_pton(AF_INET6, host, &scratch) == 1;
    *out = r;
    return STATUS_OK;
}

int resolver_address(struct resolver *r, const char **address)
{
    uint64_t now_ms = loop_now_ms();
    int status = STATUS_OK;

    *address = NULL;
    if (r->literal) {
        *address = r->host;
        return STATUS_OK;
    }
    if (!r->lookup && now_ms >= r->again_ms)
        status = resolver_look(r);
    if (r->count) {
        *address = r->addresses[r->current];
        return STATUS_OK;
    }
    return status == STATUS_OK ? STATUS_BUSY : STATUS_UNAVAILABLE;
}

void resolver_doubt(struct resolver *r)
{
    uint64_t soon_ms = loop_now_ms() + RESOLVER_DOUBTED_MS;

    if (!r->count)
        return;
    r->current = (r->current + 1) % r->count;
    if (r->again_ms > soon_ms)
        r->again_ms = soon_ms;
}

void resolver_close(struct resolver *r)
{
    if (!r)
        return;
    resolver_let_go(r);
    free(r);
}
