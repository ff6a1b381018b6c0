/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sandbox/linkswitch.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sync/kit/log.h"
#include "sync/protocol/status.h"

#define CHUNK_BYTES 16384u
#define SLOW_CHUNK_BYTES 512u /* 64 ms of the slow link: connections share it in turns of that. */
#define EVENTS_MAX 64
#define ROUNDS_MAX 16u /* Chunks read from one side before the others have their turn. */

struct chunk {
    TAILQ_ENTRY(chunk) link;
    uint64_t due_ms;
    size_t taken, length;
    uint8_t bytes[];
};

/* One direction of a connection. */
struct pipe {
    TAILQ_HEAD(, chunk) chunks;
    size_t held;
    bool from_ended; /* The source has said its last. */
    bool told_end;   /* And so have we, to the other side. */
    uint64_t end_due_ms;
};

enum side { SIDE_CLIENT, SIDE_TARGET };

struct connection;

struct socket {
    struct connection *connection;
    enum side side;
    int fd;            /* -1: none (yet). */
    uint32_t interest; /* What epoll was told; 0: not watched. */
    bool gone;         /* Whoever was there has hung up while the link was silent. */
};

struct connection {
    TAILQ_ENTRY(connection) link;
    struct linkswitch *owner;
    struct socket sockets[2];
    struct pipe pipes[2]; /* By the side they read from. */
    bool connecting, stalled;
};

struct linkswitch {
    struct loop_watch *watch;
    struct loop_timer timer;
    enum linkswitch_state state;
    int epoll_fd, listen_fd;
    uint16_t port;
    struct sockaddr_storage target;
    socklen_t target_length;
    TAILQ_HEAD(, connection) connections;
    size_t count;
    uint64_t accepted, bytes[2];
    uint64_t line_free_ms[2]; /* When the slow line has sent all it was given. */
};

static const char *const state_words[] = { "up", "2g", "down" };
static const char *const blow_words[] = { "stall", "reset", "half_close", "half_close_target" };

/* --- Sockets ---------------------------------------------------------------------------------------- */

static int address_of(const struct sandbox_address *a, struct sockaddr_storage *out, socklen_t *length)
{
    struct sockaddr_in *four = (void *)out;
    struct sockaddr_in6 *six = (void *)out;
    const char *host = strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;

    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(a->port);
        *length = sizeof *four;
    } else if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(a->port);
        *length = sizeof *six;
    } else {
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static void watch(struct socket *s, uint32_t interest)
{
    struct epoll_event event = { .events = interest, .data.ptr = s };
    int epoll_fd = s->connection->owner->epoll_fd;

    if (s->fd < 0 || interest == s->interest)
        return;
    /* Unwatched altogether while nothing is wanted: a hang-up would else be told again and again. */
    if (!interest)
        (void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    else
        (void)epoll_ctl(epoll_fd, s->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, s->fd, &event);
    s->interest = interest;
}

static void socket_close(struct socket *s, bool reset)
{
    static const struct linger at_once = { .l_onoff = 1 };

    if (s->fd < 0)
        return;
    if (reset)
        (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(s->fd);
    s->fd = -1;
    s->interest = 0;
}

static void pipe_clear(struct pipe *p)
{
    struct chunk *chunk;

    while ((chunk = TAILQ_FIRST(&p->chunks))) {
        TAILQ_REMOVE(&p->chunks, chunk, link);
        free(chunk);
    }
    p->held = 0;
}

static void connection_close(struct connection *c, bool reset)
{
    struct linkswitch *s = c->owner;

    socket_close(&c->sockets[SIDE_CLIENT], reset);
    socket_close(&c->sockets[SIDE_TARGET], reset);
    pipe_clear(&c->pipes[SIDE_CLIENT]);
    pipe_clear(&c->pipes[SIDE_TARGET]);
    TAILQ_REMOVE(&s->connections, c, link);
    s->count--;
    free(c);
}

/* --- Moving bytes ----------------------------------------------------------------------------------- */

static bool is_silent(const struct connection *c)
{
    return c->stalled || c->owner->state == LINKSWITCH_DOWN;
}

static size_t held_max(const struct linkswitch *s)
{
    return s->state == LINKSWITCH_2G ? LINKSWITCH_SLOW_BYTES_MAX : LINKSWITCH_BYTES_MAX;
}

/* When what was just read arrives at the other end. */
static uint64_t due_of(struct linkswitch *s, enum side from, size_t length, uint64_t now_ms)
{
    uint64_t *free_ms = &s->line_free_ms[from];

    if (s->state != LINKSWITCH_2G)
        return now_ms;
    if (*free_ms < now_ms)
        *free_ms = now_ms;
    *free_ms += length * 1000 / LINKSWITCH_SLOW_BYTES_PER_S;
    return *free_ms + LINKSWITCH_SLOW_DELAY_MS;
}

/* Reads one chunk. False: nothing more for now. STATUS of a broken connection is told through *broken. */
static bool pipe_fill_once(struct connection *c, enum side from, uint64_t now_ms, bool *broken)
{
    struct linkswitch *s = c->owner;
    struct pipe *p = &c->pipes[from];
    size_t room = s->state == LINKSWITCH_2G ? SLOW_CHUNK_BYTES : CHUNK_BYTES;
    struct chunk *chunk;
    ssize_t got;

    if (p->held >= held_max(s) || !(chunk = malloc(sizeof *chunk + room)))
        return false;
    got = recv(c->sockets[from].fd, chunk->bytes, room, MSG_DONTWAIT);
    if (got <= 0) {
        free(chunk);
        *broken = got < 0 && errno != EAGAIN && errno != EINTR;
        if (got == 0) {
            p->from_ended = true;
            p->end_due_ms = due_of(s, from, 0, now_ms);
        }
        return false;
    }
    chunk->taken = 0;
    chunk->length = (size_t)got;
    chunk->due_ms = due_of(s, from, chunk->length, now_ms);
    TAILQ_INSERT_TAIL(&p->chunks, chunk, link);
    p->held += chunk->length;
    return chunk->length == room || s->state != LINKSWITCH_2G;
}

static void pipe_fill(struct connection *c, enum side from, uint64_t now_ms, bool *broken)
{
    struct pipe *p = &c->pipes[from];

    for (unsigned i = 0; i < ROUNDS_MAX && c->sockets[from].fd >= 0 && !p->from_ended; i++)
        if (!pipe_fill_once(c, from, now_ms, broken))
            return;
}

/* Hands over what is due. True: the other side takes no more for now. */
static bool pipe_drain(struct connection *c, enum side from, uint64_t now_ms, bool *broken)
{
    struct pipe *p = &c->pipes[from];
    int fd = c->sockets[1 - from].fd;
    struct chunk *chunk;

    while (fd >= 0 && !c->connecting && (chunk = TAILQ_FIRST(&p->chunks)) && chunk->due_ms <= now_ms) {
        ssize_t put =
            send(fd, chunk->bytes + chunk->taken, chunk->length - chunk->taken, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (put < 0) {
            *broken = errno != EAGAIN && errno != EINTR;
            return true;
        }
        chunk->taken += (size_t)put;
        p->held -= (size_t)put;
        c->owner->bytes[from] += (uint64_t)put;
        if (chunk->taken == chunk->length) {
            TAILQ_REMOVE(&p->chunks, chunk, link);
            free(chunk);
        }
    }
    if (p->from_ended && !p->told_end && fd >= 0 && !c->connecting && TAILQ_EMPTY(&p->chunks) &&
        p->end_due_ms <= now_ms) {
        p->told_end = true;
        (void)shutdown(fd, SHUT_WR);
    }
    return false;
}

/* Watches for what can be done next. */
static void connection_watch(struct connection *c, const bool blocked[2])
{
    for (int side = 0; side < 2; side++) {
        const struct pipe *in = &c->pipes[side];
        uint32_t interest = 0;

        if (!is_silent(c) && !in->from_ended && in->held < held_max(c->owner) &&
            !(side == SIDE_TARGET && c->connecting))
            interest |= EPOLLIN;
        if (!is_silent(c) && (blocked[1 - side] || (side == SIDE_TARGET && c->connecting)))
            interest |= EPOLLOUT;
        if (is_silent(c))
            interest = EPOLLRDHUP | EPOLLET;
        watch(&c->sockets[side], interest);
    }
}

static void connection_move(struct connection *c, uint64_t now_ms)
{
    bool broken = false, blocked[2] = { false, false };

    for (int from = 0; from < 2 && !is_silent(c); from++) {
        if (!(from == SIDE_TARGET && c->connecting))
            pipe_fill(c, (enum side)from, now_ms, &broken);
        if (!broken)
            blocked[from] = pipe_drain(c, (enum side)from, now_ms, &broken);
    }
    if (broken || (c->pipes[0].told_end && c->pipes[1].told_end)) {
        connection_close(c, broken);
        return;
    }
    connection_watch(c, blocked);
}

static void arm(struct linkswitch *s)
{
    uint64_t at = UINT64_MAX;
    struct connection *c;

    TAILQ_FOREACH(c, &s->connections, link)
    for (int from = 0; from < 2 && !is_silent(c); from++) {
        const struct pipe *p = &c->pipes[from];
        const struct chunk *chunk = TAILQ_FIRST(&p->chunks);

        if (c->connecting || c->sockets[SIDE_TARGET].fd < 0)
            continue;
        /* What is due already waits for the other side, not for the time. */
        if (chunk && chunk->due_ms > loop_now_ms() && chunk->due_ms < at)
            at = chunk->due_ms;
        else if (!chunk && p->from_ended && !p->told_end && p->end_due_ms < at)
            at = p->end_due_ms;
    }
    loop_timer_set(&s->timer, at);
}

static void move_all(void *owner)
{
    struct linkswitch *s = owner;
    struct connection *c, *next;

    for (c = TAILQ_FIRST(&s->connections); c; c = next) {
        next = TAILQ_NEXT(c, link);
        connection_move(c, loop_now_ms());
    }
    arm(s);
}

/* --- Connections ------------------------------------------------------------------------------------ */

/* Starts the connection to the target, unless the link is down: then it waits for it. */
static void connection_lead(struct connection *c)
{
    struct linkswitch *s = c->owner;
    struct socket *target = &c->sockets[SIDE_TARGET];
    int on = 1;

    if (is_silent(c))
        connection_watch(c, (const bool[2]){ false, false });
    if (target->fd >= 0 || is_silent(c))
        return;
    target->fd = socket(s->target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (target->fd < 0) {
        connection_close(c, true);
        return;
    }
    (void)setsockopt(target->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(target->fd, (const struct sockaddr *)&s->target, s->target_length) != 0 &&
        errno != EINPROGRESS) {
        connection_close(c, true);
        return;
    }
    c->connecting = true;
    connection_move(c, loop_now_ms());
}

static void accept_one(struct linkswitch *s)
{
    int on = 1, fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct connection *c;

    if (fd < 0)
        return;
    c = s->count < LINKSWITCH_CONNECTIONS_MAX ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        close(fd);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->owner = s;
    for (int side = 0; side < 2; side++) {
        c->sockets[side] = (struct socket){ .connection = c, .side = (enum side)side, .fd = -1 };
        TAILQ_INIT(&c->pipes[side].chunks);
    }
    c->sockets[SIDE_CLIENT].fd = fd;
    TAILQ_INSERT_TAIL(&s->connections, c, link);
    s->count++;
    s->accepted++;
    connection_lead(c);
}

/* A silent connection tells neither side that the other has left; when both have, nobody is there to be told.
 */
static void connection_abandoned(struct connection *c, enum side side)
{
    c->sockets[side].gone = true;
    for (int i = 0; i < 2; i++)
        if (c->sockets[i].fd >= 0 && !c->sockets[i].gone)
            return;
    connection_close(c, true);
}

static void connection_ready(struct connection *c, enum side side)
{
    int error = 0;
    socklen_t length = sizeof error;

    if (is_silent(c)) {
        connection_abandoned(c, side);
        return;
    }
    if (c->connecting && side == SIDE_TARGET) {
        if (getsockopt(c->sockets[SIDE_TARGET].fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error) {
            connection_close(c, true);
            return;
        }
        c->connecting = false;
    }
    connection_move(c, loop_now_ms());
}

static void readable(void *owner)
{
    struct linkswitch *s = owner;
    struct epoll_event event;

    /* One at a time: handling one may close a connection that a second event is about. */
    for (int i = 0; i < EVENTS_MAX && epoll_wait(s->epoll_fd, &event, 1, 0) == 1; i++) {
        struct socket *socket = event.data.ptr;

        if (!socket)
            accept_one(s);
        else
            connection_ready(socket->connection, socket->side);
    }
    arm(s);
}

/* --- Switching -------------------------------------------------------------------------------------- */

void linkswitch_set(struct linkswitch *s, enum linkswitch_state state)
{
    struct connection *c, *next;

    log_event(LOG_LEVEL_INFO, "link_switched", "state=%s", linkswitch_state_word(state));
    s->state = state;
    for (c = TAILQ_FIRST(&s->connections); c; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->sockets[SIDE_TARGET].fd < 0)
            connection_lead(c);
    }
    move_all(s);
}

static void strike_one(struct connection *c, enum linkswitch_blow blow)
{
    switch (blow) {
    case LINKSWITCH_STALL: c->stalled = true; break;
    case LINKSWITCH_RESET: connection_close(c, true); break;
    case LINKSWITCH_HALF_CLOSE:
        pipe_clear(&c->pipes[SIDE_TARGET]);
        c->pipes[SIDE_TARGET].from_ended = c->pipes[SIDE_TARGET].told_end = true;
        (void)shutdown(c->sockets[SIDE_CLIENT].fd, SHUT_WR);
        break;
    case LINKSWITCH_HALF_CLOSE_TARGET:
        if (c->sockets[SIDE_TARGET].fd < 0 || c->connecting)
            break;
        pipe_clear(&c->pipes[SIDE_CLIENT]);
        c->pipes[SIDE_CLIENT].from_ended = c->pipes[SIDE_CLIENT].told_end = true;
        (void)shutdown(c->sockets[SIDE_TARGET].fd, SHUT_WR);
        break;
    }
}

void linkswitch_strike(struct linkswitch *s, enum linkswitch_blow blow)
{
    struct connection *c, *next;

    for (c = TAILQ_FIRST(&s->connections); c; c = next) {
        next = TAILQ_NEXT(c, link);
        strike_one(c, blow);
    }
    move_all(s);
}

const char *linkswitch_state_word(enum linkswitch_state state)
{
    return state_words[state];
}

bool linkswitch_read_state(struct slice word, enum linkswitch_state *out)
{
    for (size_t i = 0; i < sizeof state_words / sizeof *state_words; i++)
        if (slice_is(word, state_words[i])) {
            *out = (enum linkswitch_state)i;
            return true;
        }
    return false;
}

bool linkswitch_read_blow(struct slice word, enum linkswitch_blow *out)
{
    for (size_t i = 0; i < sizeof blow_words / sizeof *blow_words; i++)
        if (slice_is(word, blow_words[i])) {
            *out = (enum linkswitch_blow)i;
            return true;
        }
    return false;
}

void linkswitch_write(const struct linkswitch *s, struct text *out)
{
    text_printf(out, "{\"state\":\"%s\",\"connections\":%zu,\"accepted\":%" PRIu64 ",", state_words[s->state],
                s->count, s->accepted);
    text_printf(out, "\"up_bytes\":%" PRIu64 ",\"down_bytes\":%" PRIu64 "}", s->bytes[SIDE_CLIENT],
                s->bytes[SIDE_TARGET]);
}

/* --- Opening and closing ---------------------------------------------------------------------------- */

static int start_listening(struct linkswitch *s, const struct sandbox_address *listen_at)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    struct sockaddr_storage address;
    struct sockaddr_in *four = (void *)&address;
    socklen_t length;
    int on = 1, status = address_of(listen_at, &address, &length);

    if (status != STATUS_OK)
        return status;
    s->listen_fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->listen_fd < 0 || s->epoll_fd < 0 ||
        setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return STATUS_IO;
    if (bind(s->listen_fd, (const struct sockaddr *)&address, length) != 0)
        return errno == EADDRINUSE ? STATUS_BUSY : STATUS_INVALID;
    if (listen(s->listen_fd, SOMAXCONN) != 0 ||
        getsockname(s->listen_fd, (struct sockaddr *)&address, &length) != 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->listen_fd, &event) != 0)
        return STATUS_IO;
    s->port = ntohs(four->sin_port); /* At the same place in both families. */
    return STATUS_OK;
}

int linkswitch_open(struct linkswitch **out, struct loop *l, const struct sandbox_address *listen_at,
                    const struct sandbox_address *target)
{
    struct linkswitch *s = calloc(1, sizeof *s);
    int status;

    *out = NULL;
    if (!s)
        return STATUS_NO_MEMORY;
    s->epoll_fd = s->listen_fd = -1;
    TAILQ_INIT(&s->connections);
    if ((status = loop_timer_open(&s->timer, l, move_all, s)) != STATUS_OK ||
        (status = address_of(target, &s->target, &s->target_length)) != STATUS_OK ||
        (status = start_listening(s, listen_at)) != STATUS_OK ||
        (status = loop_watch_open(&s->watch, l, s->epoll_fd, readable, s)) != STATUS_OK) {
        linkswitch_close(s);
        return status;
    }
    *out = s;
    return STATUS_OK;
}

void linkswitch_close(struct linkswitch *s)
{
    if (!s)
        return;
    while (!TAILQ_EMPTY(&s->connections))
        connection_close(TAILQ_FIRST(&s->connections), true);
    loop_watch_close(s->watch);
    loop_timer_close(&s->timer);
    if (s->epoll_fd >= 0)
        close(s->epoll_fd);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    free(s);
}

uint16_t linkswitch_port(const struct linkswitch *s)
{
    return s->port;
}
