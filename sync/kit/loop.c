/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <libwebsockets.h>

#include "sync/kit/clock.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

#define LOOP_EVENTS_MAX 64         /* Of one look at the watched descriptors; the rest come with the next. */
#define LOOP_SLEEP_MS_MAX 3600000u /* A longer timer looks again hourly: keeps the microseconds in range. */
#define LOOP_HANDSHAKE_S 10u       /* Unless told otherwise. */
#define LOOP_SERVICE_BYTES 16384u  /* lws's read buffer: one TLS record. */
#define LOOP_HEADER_BYTES 4096u    /* The upgrade request needs a few hundred. */
#define LOOP_HEADER_POOL 160u      /* All strangers of a link server (link.h), and links of our own. */
#define LOOP_LARGE_BYTES 131072    /* glibc's own beginning. */

/* All watches hang in one epoll descriptor, and lws polls that. lws would close an adopted descriptor by
 * itself when its peer hangs up, with bytes still unread; an epoll descriptor never hangs up. */
struct loop {
    struct loop_options options;
    struct lws_context *context;
    struct lws_vhost *vhost;
    int epoll_fd;
    int signal_fd;
    struct loop_watch *signals;
    struct loop_watch *watches;
    struct loop_watch *closed; /* Freed when the round's events are through. */
    bool dispatching;
    bool turning;
    bool stopping;
    bool stop_told;
    bool masked;
    sigset_t mask_before;
    atomic_bool noted;
};

struct loop_watch {
    struct loop *loop;
    int fd;
    void (*readable)(void *owner);
    void *owner;
    struct loop_watch *next, **link;
};

struct timer {
    lws_sorted_usec_list_t sul; /* First: lws hands back its address. */
    struct loop_timer *timer;
    uint64_t at_ms;
};

static void watch_unlink(struct loop_watch *w)
{
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
}

static void watch_link(struct loop_watch *w, struct loop_watch **list)
{
    w->next = *list;
    w->link = list;
    if (w->next)
        w->next->link = &w->next;
    *list = w;
}

int loop_watch_open(struct loop_watch **out, struct loop *l, int fd, void (*readable)(void *owner),
                    void *owner)
{
    struct loop_watch *w = calloc(1, sizeof *w);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = w };

    *out = NULL;
    if (!w)
        return STATUS_NO_MEMORY;
    *w = (struct loop_watch){ .loop = l, .readable = readable, .owner = owner };
    w->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (w->fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, w->fd, &event) != 0) {
        if (w->fd >= 0)
            close(w->fd);
        free(w);
        return STATUS_IO;
    }
    watch_link(w, &l->watches);
    *out = w;
    return STATUS_OK;
}

void loop_watch_close(struct loop_watch *w)
{
    if (!w)
        return;
    /* Taken out by hand: the dup's file may live on in the caller's descriptor, and epoll watches files. */
    (void)epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    close(w->fd);
    watch_unlink(w);
    w->readable = NULL;
    if (w->loop->dispatching)
        watch_link(w, &w->loop->closed);
    else
        free(w);
}

static void loop_dispatch(struct loop *l)
{
    struct epoll_event events[LOOP_EVENTS_MAX];
    int n = epoll_wait(l->epoll_fd, events, LOOP_EVENTS_MAX, 0);

    l->dispatching = true;
    for (int i = 0; i < n; i++) {
        struct loop_watch *w = events[i].data.ptr;
        if (w->readable)
            w->readable(w->owner);
    }
    l->dispatching = false;
    while (l->closed) {
        struct loop_watch *w = l->closed;
        watch_unlink(w);
        free(w);
    }
}

static int loop_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                         size_t length)
{
    (void)user;
    (void)in;
    (void)length;
    if (reason == LWS_CALLBACK_RAW_RX_FILE)
        loop_dispatch(lws_context_user(lws_get_context(wsi)));
    return 0;
}

static const struct lws_protocols loop_protocols[] = {
    { .name = "loop", .callback = loop_callback },
    { .name = NULL },
};

static void loop_library_says(int level, const char *line)
{
    char quoted[256];
    size_t length = strlen(line);

    (void)level;
    while (length && line[length - 1] == '\n')
        length--;
    log_event(LOG_LEVEL_WARNING, "library", "name=lws says=%s",
              log_quote(slice_of(line, length), quoted, sizeof quoted));
}

static void loop_take_signal(void *owner)
{
    struct loop *l = owner;
    struct signalfd_siginfo info;

    while (read(l->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            if (l->options.reload)
                l->options.reload(l->options.owner);
        } else if (!l->stop_told) {
            l->stop_told = true;
            if (l->options.stop)
                l->options.stop(l->options.owner);
            else
                loop_stop(l);
        }
    }
}

static int loop_open_signals(struct loop *l)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    (void)signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &set, &l->mask_before) != 0)
        return STATUS_IO;
    l->masked = true;
    l->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (l->signal_fd < 0)
        return STATUS_IO;
    return loop_watch_open(&l->signals, l, l->signal_fd, loop_take_signal, l);
}

static int loop_open_context(struct loop *l)
{
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = loop_protocols,
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
                   LWS_SERVER_OPTION_VALIDATE_UTF8,
        .user = l,
        .vhost_name = "loop",
        .fd_limit_per_thread = l->options.descriptors_max,
        .timeout_secs = l->options.handshake_s_max ? l->options.handshake_s_max : LOOP_HANDSHAKE_S,
        .pt_serv_buf_size = LOOP_SERVICE_BYTES,
        .max_http_header_data = LOOP_HEADER_BYTES,
        .max_http_header_pool = LOOP_HEADER_POOL,
    };
    int fd;

    lws_set_log_level(LLL_ERR, loop_library_says);
    l->context = lws_create_context(&info);
    if (!l->context)
        return STATUS_IO;
    l->vhost = lws_create_vhost(l->context, &info);
    if (!l->vhost)
        return STATUS_IO;
    /* lws closes what it adopts. */
    fd = fcntl(l->epoll_fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return STATUS_IO;
    return lws_adopt_descriptor_vhost(l->vhost, LWS_ADOPT_RAW_FILE_DESC,
                                      (lws_sock_file_fd_type){ .filefd = fd }, "loop", NULL)
               ? STATUS_OK
               : STATUS_IO;
}

int loop_open(struct loop **out, const struct loop_options *options)
{
    struct loop *l = calloc(1, sizeof *l);
    int status;

    *out = NULL;
    if (!l)
        return STATUS_NO_MEMORY;
    /* Said once, it stays so: what is large goes back to the system when it is freed. By itself the allocator
     * learns from the first large body to keep the room of all later ones. */
    (void)mallopt(M_MMAP_THRESHOLD, LOOP_LARGE_BYTES);
    l->options = *options;
    l->signal_fd = -1;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0) {
        status = STATUS_IO;
        goto fail;
    }
    if ((status = loop_open_signals(l)) != STATUS_OK || (status = loop_open_context(l)) != STATUS_OK)
        goto fail;
    *out = l;
    return STATUS_OK;
fail:
    loop_close(l);
    return status;
}

void loop_close(struct loop *l)
{
    if (!l)
        return;
    assert(!l->dispatching);
    loop_watch_close(l->signals);
    if (l->context)
        lws_context_destroy(l->context);
    while (l->watches)
        loop_watch_close(l->watches);
    if (l->signal_fd >= 0)
        close(l->signal_fd);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    if (l->masked)
        (void)pthread_sigmask(SIG_SETMASK, &l->mask_before, NULL);
    free(l);
}

int loop_run(struct loop *l)
{
    l->stopping = false;
    while (!l->stopping) {
        /* What was noted in a turn is owed a turn: then look at the sockets without waiting. */
        if (lws_service(l->context, atomic_load(&l->noted) ? -1 : 0) < 0)
            return STATUS_IO;
        if (atomic_exchange(&l->noted, false) && l->options.turn) {
            l->turning = true;
            l->options.turn(l->options.owner);
            l->turning = false;
        }
    }
    return STATUS_OK;
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
    lws_cancel_service(l->context);
}

void loop_note(struct loop *l)
{
    /* lws runs ripe timers and closes before it polls: what they note must keep the poll from waiting. */
    if (!atomic_exchange(&l->noted, true) && !l->dispatching && !l->turning)
        lws_cancel_service(l->context);
}

void loop_wake(struct loop *l)
{
    atomic_store(&l->noted, true);
    lws_cancel_service(l->context);
}

uint64_t loop_now_ms(void)
{
    return clock_elapsed_ms();
}

void *loop_context(struct loop *l)
{
    return l->context;
}

static void timer_ready(lws_sorted_usec_list_t *sul);

static void timer_arm(struct timer *own)
{
    uint64_t now_ms = clock_elapsed_ms(), wait_ms = own->at_ms > now_ms ? own->at_ms - now_ms : 0;

    if (wait_ms > LOOP_SLEEP_MS_MAX)
        wait_ms = LOOP_SLEEP_MS_MAX;
    /* lws takes 0 for "at once" in some versions and for "never" in others. */
    lws_sul_schedule(own->timer->loop->context, 0, &own->sul, timer_ready,
                     wait_ms ? (lws_usec_t)(wait_ms * 1000u) : 1);
}

static void timer_ready(lws_sorted_usec_list_t *sul)
{
    struct timer *own = (struct timer *)(void *)sul;

    if (own->at_ms == UINT64_MAX)
        return;
    if (clock_elapsed_ms() < own->at_ms) {
        timer_arm(own);
        return;
    }
    own->at_ms = UINT64_MAX;
    own->timer->ready(own->timer->owner);
}

int loop_timer_open(struct loop_timer *t, struct loop *l, void (*ready)(void *owner), void *owner)
{
    struct timer *own = calloc(1, sizeof *own);

    *t = (struct loop_timer){ .loop = l, .ready = ready, .owner = owner, .own = own };
    if (!own)
        return STATUS_NO_MEMORY;
    own->timer = t;
    own->at_ms = UINT64_MAX;
    return STATUS_OK;
}

void loop_timer_set(struct loop_timer *t, uint64_t at_ms)
{
    struct timer *own = t->own;

    own->at_ms = at_ms;
    if (at_ms == UINT64_MAX)
        lws_sul_cancel(&own->sul);
    else
        timer_arm(own);
}

void loop_timer_close(struct loop_timer *t)
{
    struct timer *own = t->own;

    if (!own)
        return;
    lws_sul_cancel(&own->sul);
    free(own);
    t->own = NULL;
}
