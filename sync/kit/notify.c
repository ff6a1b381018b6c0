/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sync/kit/log.h"
#include "sync/protocol/status.h"

struct notify {
    struct notify_options options;
    struct loop_timer timer;
    struct sockaddr_un address;
    socklen_t address_length; /* 0: nobody asks. */
    uint64_t watchdog_ms;     /* 0: there is none. */
    uint64_t alive_due_ms;    /* Elapsed time. */
    bool was_heard, was_well;
    struct text words, told;
};

/* A path, or "@name" in the abstract space (sd_notify(3)). Others are not asked for by any version. */
static void read_address(struct notify *n)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t length = path ? strlen(path) : 0;

    if (length < 2 || length >= sizeof n->address.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    n->address.sun_family = AF_UNIX;
    memcpy(n->address.sun_path, path, length);
    if (path[0] == '@')
        n->address.sun_path[0] = '\0';
    n->address_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

/* WATCHDOG_PID names the process that is watched; a child of another service inherits what is not meant for
 * it. */
static void read_watchdog(struct notify *n)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (usec && (!pid || strtoll(pid, NULL, 10) == getpid()))
        n->watchdog_ms = strtoull(usec, NULL, 10) / 1000;
}

static void send_state(struct notify *n, const char *state)
{
    bool sent;
    int fd;

    if (!n->address_length)
        return;
    /* Never waits: a manager that does not read must not stop the messages. */
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sent = fd >= 0 && sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&n->address,
                             n->address_length) >= 0;
    if (!sent && n->was_heard)
        log_event(LOG_LEVEL_WARNING, "notify_failed", "%s", "why=\"the service manager takes no word\"");
    n->was_heard = sent;
    if (fd >= 0)
        close(fd);
}

/* Tells the words where they are new ones. */
static void tell_words(struct notify *n)
{
    struct text state = { 0 };

    if (n->words.failed || (n->told.at && strcmp(n->told.at, n->words.at) == 0))
        return;
    text_printf(&state, "STATUS=%s", n->words.at);
    if (!state.failed)
        send_state(n, state.at);
    text_free(&state);
    text_clear(&n->told);
    text_add(&n->told, text_slice(&n->words));
}

static void look(struct notify *n)
{
    uint64_t now_ms = loop_now_ms();
    bool probe = n->watchdog_ms && now_ms >= n->alive_due_ms;
    int status;

    text_clear(&n->words);
    status = n->options.look(n->options.owner, probe, &n->words);
    if (n->words.length)
        tell_words(n);
    if (probe && status == STATUS_OK) {
        send_state(n, "WATCHDOG=1");
        n->alive_due_ms = now_ms + n->watchdog_ms / 2;
    }
    if (status != STATUS_OK && n->was_well)
        log_event(LOG_LEVEL_ERROR, "store_silent", "status=%s then=\"no sign of life until it answers\"",
                  status_name(status));
    n->was_well = status == STATUS_OK;
}

static void notify_tick(void *owner)
{
    struct notify *n = owner;
    uint64_t step_ms = NOTIFY_WORDS_MS;

    look(n);
    if (n->watchdog_ms && n->watchdog_ms / 4 < step_ms)
        step_ms = n->watchdog_ms / 4;
    loop_timer_set(&n->timer, loop_now_ms() + step_ms);
}

int notify_open(struct notify **out, struct loop *l, const struct notify_options *options)
{
    struct notify *n = calloc(1, sizeof *n);
    int status;

    *out = NULL;
    if (!n)
        return STATUS_NO_MEMORY;
    n->options = *options;
    n->was_heard = n->was_well = true;
    read_address(n);
    read_watchdog(n);
    if ((status = loop_timer_open(&n->timer, l, notify_tick, n)) != STATUS_OK) {
        notify_close(n);
        return status;
    }
    *out = n;
    return STATUS_OK;
}

void notify_close(struct notify *n)
{
    if (!n)
        return;
    loop_timer_close(&n->timer);
    text_free(&n->words);
    text_free(&n->told);
    free(n);
}

void notify_ready(struct notify *n)
{
    if (!n->address_length)
        return;
    send_state(n, "READY=1");
    notify_tick(n);
}

void notify_stopping(struct notify *n)
{
    loop_timer_set(&n->timer, UINT64_MAX);
    send_state(n, "STOPPING=1");
}

void notify_busy(struct notify *n, bool busy)
{
    char state[64];

    if (!n || !n->watchdog_ms)
        return;
    snprintf(state, sizeof state, "WATCHDOG_USEC=%" PRIu64,
             1000 * (busy && n->watchdog_ms < NOTIFY_STORE_MS ? NOTIFY_STORE_MS : n->watchdog_ms));
    send_state(n, state);
}

void notify_age(struct text *out, uint64_t seconds)
{
    if (seconds < 60)
        text_printf(out, "%" PRIu64 " s", seconds);
    else if (seconds < 3600)
        text_printf(out, "%" PRIu64 " min", seconds / 60);
    else if (seconds < 2 * 86400)
        text_printf(out, "%" PRIu64 " h", seconds / 3600);
    else
        text_printf(out, "%" PRIu64 " d", seconds / 86400);
}
