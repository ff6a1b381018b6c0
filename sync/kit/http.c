/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/http.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "sync/kit/crowd.h"
#include "sync/kit/file.h"
#include "sync/kit/http_head.h"
#include "sync/kit/http_socket.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

#define DISCARD_BYTES_MAX (16u << 20) /* Reading a body to its end lets the client see our 413. */
#define STREAM_BYTES_MAX (256u << 10) /* Some minutes of events for a page that has stopped reading. */
#define STREAM_CHUNK_BYTES 4096u      /* An event or a few. */
#define HEAD_BYTES_MAX 16384u         /* The connection's whole memory: heads up to some 10 KB fit. */
#define PEM_BYTES_MAX (256u << 10)    /* A long chain is 20 KB. */
#define NAME_BYTES_MAX 64u            /* Of a header in an answer. */
#define CLOSE_ROUNDS_MAX 16u          /* The library sends the last answers in two. */
#define BODIES_MAX 32u                /* Unfinished bodies held in all, counted as the largest. */
#define WAITED_MS_MIN 500u            /* TLS and a request take three round trips, from far away this. */
#define FULL_LOOK_MS 100u             /* Somebody may have kept us waiting long enough by then. */

/* While a TLS handshake waits for its client the library asks to be run again at once, for ever. After so
 * many runs in which nothing happened it is run at this distance instead. */
#define IDLE_RUNS_MAX 4u
#define IDLE_WAIT_MS 2u
#define WAIT_FOR_EVER_MS 3600000u /* As good as: then the library is asked once more. */

TAILQ_HEAD(request_list, http_request);

struct http_server {
    struct http_options options; /* Without the texts. */
    struct MHD_Daemon *daemon;
    struct loop_watch *watch;
    struct loop_timer timer;
    struct text certificate, key;
    struct request_list waiting; /* Handed over and suspended. */
    struct request_list waking;  /* Suspended, to be resumed before the next run. */
    struct crowd crowd;          /* Connections; the library keeps one only while it is in here. */
    unsigned leaving;            /* Of them, those that were shut and are not closed yet. */
    size_t body_bytes;           /* Held for all requests together. */
    unsigned idle_runs;
    bool tls, running, closing, was_full;
};

struct connection {
    struct crowd_member member; /* First: the crowd hands back its address. */
    struct MHD_Connection *connection;
    struct http_request *request; /* NULL: none has begun. */
    bool shut;
    char peer[HTTP_SOCKET_PEER_ROOM];
};

struct http_request {
    TAILQ_ENTRY(http_request) link; /* In waiting or waking, while suspended. */
    struct http_server *server;
    struct connection *holder;
    struct MHD_Connection *connection;
    struct MHD_Response *response; /* From the answer until the library has it. */
    struct http_stream *stream;
    const char *method, *path, *malformed;
    struct text body;
    uint64_t received;
    void *data;
    unsigned status;
    bool begun, too_large, delivered, handed_over, answered, suspended, waking;
};

/* Held by its owner and by the library's response, each until it is done with it. */
struct http_stream {
    struct http_request *request; /* NULL: the client left. */
    struct text queue;
    size_t taken;
    unsigned holders;
    bool closed;
};

/* --- Making room ------------------------------------------------------------------------------ */

static void request_forget_body(struct http_request *r)
{
    r->server->body_bytes -= r->body.length;
    text_free(&r->body);
}

/* Nobody is hung up on while he waits for us, or listens to a stream. */
static bool connection_may_go(const struct crowd_member *m)
{
    const struct connection *c = (const void *)m;

    if (c->shut || !c->request || !c->request->delivered)
        return !c->shut;
    return c->request->answered && !c->request->stream;
}

static bool connection_holds_body(const struct crowd_member *m)
{
    const struct connection *c = (const void *)m;

    return connection_may_go(m) && c->request && c->request->body.length > 0;
}

/* The library then reads its end and closes it. */
static void connection_shut(struct http_server *s, struct connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    c->shut = true;
    s->leaving++;
    if (c->request)
        request_forget_body(c->request);
    if (info)
        (void)shutdown(info->connect_fd, SHUT_RDWR);
}

static bool server_is_full(const struct http_server *s)
{
    return s->crowd.count - s->leaving >= s->options.connections_max;
}

/* Connections that ask for nothing, or ask too slowly, must not keep others out: when all are taken, one in
 * eight goes, those first that have kept us waiting longest. */
static void server_make_room(struct http_server *s)
{
    unsigned wanted = s->options.connections_max - s->options.connections_max / 8;
    struct crowd_member *m;

    if (!server_is_full(s))
        return;
    while (s->crowd.count - s->leaving >= wanted &&
           (m = crowd_oldest(&s->crowd, loop_now_ms(), WAITED_MS_MIN, connection_may_go)))
        connection_shut(s, (struct connection *)m);
}

/* Bodies come before anybody knows who sends them. */
static void server_bound_bodies(struct http_server *s)
{
    struct crowd_member *m;

    while (s->body_bytes > BODIES_MAX * s->options.body_bytes_max &&
           (m = crowd_oldest(&s->crowd, loop_now_ms(), 0, connection_holds_body)))
        connection_shut(s, (struct connection *)m);
}

/* --- Suspending and resuming ---------------------------------------------------------------------- */

static void request_suspend(struct http_request *r)
{
    assert(r->server->running && !r->suspended);
    r->suspended = true;
    TAILQ_INSERT_TAIL(&r->server->waiting, r, link);
    MHD_suspend_connection(r->connection);
}

/* The library must not be told to resume while it runs, and one run serves all who were woken in a turn. */
static void request_wake(struct http_request *r)
{
    struct http_server *s = r->server;

    if (!r->suspended || r->waking)
        return;
    r->waking = true;
    TAILQ_REMOVE(&s->waiting, r, link);
    TAILQ_INSERT_TAIL(&s->waking, r, link);
    if (!s->running)
        loop_timer_set(&s->timer, loop_now_ms());
}

static void server_arm(struct http_server *s)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;

    if (TAILQ_EMPTY(&s->waking)) {
        if (MHD_get_timeout(s->daemon, &wait_ms) != MHD_YES)
            wait_ms = WAIT_FOR_EVER_MS;
        if (wait_ms == 0 && s->idle_runs >= IDLE_RUNS_MAX)
            wait_ms = IDLE_WAIT_MS;
        if (wait_ms > FULL_LOOK_MS && server_is_full(s))
            wait_ms = FULL_LOOK_MS;
        /* When it had no place the library stopped listening; it begins again in the run after the one in
         * which it got one, and asks for none. */
        if (s->was_full && s->crowd.count < s->options.connections_max) {
            s->was_full = false;
            wait_ms = 0;
        }
    }
    loop_timer_set(&s->timer, loop_now_ms() + wait_ms);
}

static void server_run(struct http_server *s)
{
    struct http_request *r;

    assert(!s->running);
    while ((r = TAILQ_FIRST(&s->waking))) {
        TAILQ_REMOVE(&s->waking, r, link);
        r->waking = r->suspended = false;
        MHD_resume_connection(r->connection);
    }
    s->running = true;
    (void)MHD_run(s->daemon);
    s->running = false;
    server_make_room(s);
    server_arm(s);
}

static void server_readable(void *owner)
{
    struct http_server *s = owner;

    s->idle_runs = 0;
    server_run(s);
}

static void server_ripe(void *owner)
{
    struct http_server *s = owner;

    s->idle_runs++;
    server_run(s);
}

/* --- Heads ---------------------------------------------------------------------------------------- */

static enum MHD_Result head_look(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    http_head_take(cls, name, value ? value : "");
    return MHD_YES;
}

static void request_check_head(struct http_request *r)
{
    const char *expect = http_header(r, MHD_HTTP_HEADER_EXPECT);
    struct http_head h = { 0 };

    (void)MHD_get_connection_values(r->connection, MHD_HEADER_KIND, head_look, &h);
    if (http_head_malformed(&h))
        r->malformed = http_head_malformed(&h);
    if (h.length && expect && strcasecmp(expect, "100-continue") == 0)
        r->too_large = strtoull(h.length, NULL, 10) > r->server->options.body_bytes_max;
}

/* --- A request's life ----------------------------------------------------------------------------- */

/* The first that is heard of a request: its target before it is decoded, the only place to see a %00. */
static void *request_open(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct http_server *s = cls;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *holder = info ? info->socket_context : NULL;
    struct http_request *r = holder ? calloc(1, sizeof *r) : NULL;

    if (!r)
        return NULL;
    r->server = s;
    r->connection = connection;
    r->holder = holder;
    holder->request = r;
    crowd_renew(&s->crowd, &holder->member, loop_now_ms());
    if (strstr(target, "%00"))
        r->malformed = "%00 in the address";
    return r;
}

static void request_completed(void *cls, struct MHD_Connection *connection, void **slot,
                              enum MHD_RequestTerminationCode why)
{
    struct http_server *s = cls;
    struct http_request *r = *slot;

    (void)connection;
    (void)why;
    *slot = NULL;
    if (!r)
        return;
    assert(!r->suspended);
    if (r->handed_over && s->options.gone)
        s->options.gone(s->options.owner, r);
    if (r->stream)
        r->stream->request = NULL;
    if (r->response)
        MHD_destroy_response(r->response);
    request_forget_body(r);
    r->holder->request = NULL;
    crowd_renew(&s->crowd, &r->holder->member, loop_now_ms());
    free(r);
}

static enum MHD_Result request_proceed(struct http_request *r)
{
    enum MHD_Result result;

    if (!r->answered) {
        request_suspend(r);
        return MHD_YES;
    }
    if (!r->response)
        return MHD_NO;
    result = MHD_queue_response(r->connection, r->status, r->response);
    MHD_destroy_response(r->response);
    r->response = NULL;
    return result;
}

static enum MHD_Result request_deliver(struct http_request *r)
{
    struct http_server *s = r->server;

    r->delivered = true;
    if (s->closing) {
        http_answer(r, &(struct http_answer){ .status = 503 });
    } else {
        r->handed_over = true;
        s->options.request(s->options.owner, r);
    }
    return request_proceed(r);
}

static enum MHD_Result request_begin(struct http_request *r, const char *path, const char *method)
{
    r->begun = true;
    r->path = path;
    r->method = method;
    request_check_head(r);
    /* Nothing may be queued here for others: the library then sends the 100 that a client may wait for. */
    return r->malformed || r->too_large ? request_deliver(r) : MHD_YES;
}

static enum MHD_Result request_take(struct http_request *r, const char *bytes, size_t length)
{
    size_t bound = r->server->options.body_bytes_max;

    r->received += length;
    if (r->received > bound) {
        r->too_large = true;
        request_forget_body(r);
        return r->received > DISCARD_BYTES_MAX ? MHD_NO : MHD_YES;
    }
    text_add(&r->body, slice_of(bytes, length));
    if (r->body.failed)
        return MHD_NO;
    r->server->body_bytes += length;
    server_bound_bodies(r->server);
    return r->holder->shut ? MHD_NO : MHD_YES;
}

/* The library calls this first with the head, then for each part of the body, then at its end; and once more
 * after a resume. */
static enum MHD_Result request_step(void *cls, struct MHD_Connection *connection, const char *path,
                                    const char *method, const char *version, const char *bytes,
                                    size_t *length, void **slot)
{
    struct http_server *s = cls;
    struct http_request *r = *slot;
    size_t given = *length;

    (void)connection;
    (void)version;
    s->idle_runs = 0;
    if (!r || r->holder->shut)
        return MHD_NO;
    if (!r->begun)
        return request_begin(r, path, method);
    if (given > 0) {
        *length = 0;
        return request_take(r, bytes, given);
    }
    return r->delivered ? request_proceed(r) : request_deliver(r);
}

/* --- Answers -------------------------------------------------------------------------------------- */

static bool response_add(struct MHD_Response *response, const char *header)
{
    const char *colon = strchr(header, ':');
    char name[NAME_BYTES_MAX];

    assert(colon && (size_t)(colon - header) < sizeof name);
    memcpy(name, header, (size_t)(colon - header));
    name[colon - header] = '\0';
    return MHD_add_response_header(response, name, colon + 1 + strspn(colon + 1, " ")) == MHD_YES;
}

static bool response_fill(struct MHD_Response *response, const struct http_request *r,
                          const struct http_answer *answer)
{
    if (answer->content_type &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type) != MHD_YES)
        return false;
    for (const char *const *header = answer->headers; header && *header; header++)
        if (!response_add(response, *header))
            return false;
    return (!r->malformed && !r->server->closing) || response_add(response, "Connection: close");
}

static void request_answer(struct http_request *r, unsigned status, struct MHD_Response *response)
{
    assert(r->delivered && !r->answered);
    r->answered = true;
    r->status = status;
    r->response = response;
    crowd_renew(&r->server->crowd, &r->holder->member, loop_now_ms());
    request_wake(r);
}

void http_answer(struct http_request *r, const struct http_answer *answer)
{
    /* The library wants a pointer to write through; it copies and does not. */
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer->body.length, answer->body.length ? (void *)(uintptr_t)answer->body.at : NULL,
        answer->body.length ? MHD_RESPMEM_MUST_COPY : MHD_RESPMEM_PERSISTENT);

    assert(answer->status >= 200 && answer->status <= 599);
    if (response && !response_fill(response, r, answer)) {
        MHD_destroy_response(response);
        response = NULL;
    }
    request_answer(r, answer->status, response);
}

void http_reset(struct http_request *r)
{
    static const struct linger at_once = { .l_onoff = 1 };
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (info)
        (void)setsockopt(info->connect_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    request_answer(r, 0, NULL);
}

/* --- Streams -------------------------------------------------------------------------------------- */

static void stream_release(struct http_stream *s)
{
    if (--s->holders)
        return;
    if (s->request)
        s->request->stream = NULL;
    text_free(&s->queue);
    free(s);
}

static void stream_forget(void *cls)
{
    stream_release(cls);
}

static ssize_t stream_read(void *cls, uint64_t position, char *out, size_t room)
{
    struct http_stream *s = cls;
    size_t left = s->queue.length - s->taken;

    (void)position;
    assert(s->request);
    if (left == 0) {
        if (s->closed || s->request->server->closing)
            return MHD_CONTENT_READER_END_OF_STREAM;
        /* Only suspended, or the library would ask again at once. */
        request_suspend(s->request);
        return 0;
    }
    if (left > room)
        left = room;
    memcpy(out, s->queue.at + s->taken, left);
    s->taken += left;
    s->request->server->idle_runs = 0;
    if (s->taken == s->queue.length) {
        text_free(&s->queue);
        s->taken = 0;
    }
    return (ssize_t)left;
}

int http_answer_stream(struct http_request *r, struct http_stream **out)
{
    static const char *const headers[] = { "Cache-Control: no-store", NULL };
    struct http_stream *s = calloc(1, sizeof *s);
    struct MHD_Response *response;

    *out = NULL;
    if (!s)
        return STATUS_NO_MEMORY;
    response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_CHUNK_BYTES, stream_read, s,
                                                 stream_forget);
    if (!response) {
        free(s);
        return STATUS_NO_MEMORY;
    }
    s->holders = 1;
    if (!response_fill(response, r,
                       &(struct http_answer){ .content_type = "text/event-stream", .headers = headers })) {
        MHD_destroy_response(response);
        return STATUS_NO_MEMORY;
    }
    s->holders = 2;
    s->request = r;
    r->stream = s;
    request_answer(r, MHD_HTTP_OK, response);
    *out = s;
    return STATUS_OK;
}

int http_stream_send(struct http_stream *s, struct slice event_text)
{
    size_t left = s->queue.length - s->taken;

    assert(!s->closed);
    if (!s->request)
        return STATUS_END;
    if (event_text.length > STREAM_BYTES_MAX - left)
        return STATUS_FULL;
    if (s->taken) {
        memmove(s->queue.at, s->queue.at + s->taken, left);
        s->queue.length = left;
        s->taken = 0;
    }
    text_add(&s->queue, event_text);
    if (s->queue.failed) {
        s->queue.failed = false;
        return STATUS_NO_MEMORY;
    }
    request_wake(s->request);
    return STATUS_OK;
}

void http_stream_close(struct http_stream *s)
{
    if (!s)
        return;
    s->closed = true;
    if (s->request)
        request_wake(s->request);
    stream_release(s);
}

/* --- The listener --------------------------------------------------------------------------------- */

/* While it opens the library's words help whoever set it up. Later they may hold what a client sent, which is
 * not for a log: then only the form of the sentence is told. */
static void server_library_says(void *cls, const char *format, va_list list)
{
    const struct http_server *s = cls;
    char line[256], quoted[300];
    bool opening = !s->daemon;

    if (opening)
        (void)vsnprintf(line, sizeof line, format, list);
    else
        (void)snprintf(line, sizeof line, "%s", format);
    line[strcspn(line, "\n")] = '\0';
    log_event(opening ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "library", "name=microhttpd says=%s",
              log_quote(slice_text(line), quoted, sizeof quoted));
}

static enum MHD_Result server_admits(void *cls, const struct sockaddr *from, socklen_t length)
{
    const struct http_server *s = cls;

    (void)length;
    return crowd_admits(&s->crowd, from) ? MHD_YES : MHD_NO;
}

static void connection_begins(struct http_server *s, struct MHD_Connection *connection, void **slot)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct connection *c = calloc(1, sizeof *c);

    *slot = c;
    if (!c)
        return; /* Its requests then find no holder, and it is closed. */
    c->connection = connection;
    http_socket_peer(info ? info->client_addr : NULL, c->peer);
    crowd_join(&s->crowd, &c->member, info ? info->client_addr : NULL, loop_now_ms());
    s->was_full |= s->crowd.count >= s->options.connections_max;
}

static void server_notified(void *cls, struct MHD_Connection *connection, void **slot,
                            enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = cls;
    struct connection *c = *slot;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        connection_begins(s, connection, slot);
    } else if (c) {
        s->leaving -= c->shut;
        crowd_leave(&s->crowd, &c->member);
        free(c);
    }
}

static int server_read_pem(struct http_server *s, const struct http_options *options)
{
    int status;

    assert(!options->certificate_file == !options->key_file);
    s->tls = options->certificate_file != NULL;
    if (!s->tls)
        return STATUS_OK;
    if ((status = file_read(options->certificate_file, PEM_BYTES_MAX, &s->certificate)) != STATUS_OK ||
        (status = file_read(options->key_file, PEM_BYTES_MAX, &s->key)) != STATUS_OK)
        return status == STATUS_NO_MEMORY ? status : STATUS_INVALID;
    return s->certificate.length && s->key.length ? STATUS_OK : STATUS_INVALID;
}

static int server_start(struct http_server *s, int fd)
{
    struct MHD_OptionItem tls[] = {
        { MHD_OPTION_HTTPS_MEM_CERT, 0, s->certificate.at },
        { MHD_OPTION_HTTPS_MEM_KEY, 0, s->key.at },
        { MHD_OPTION_HTTPS_PRIORITIES, 0, (char *)(uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2" },
        { MHD_OPTION_END, 0, NULL },
    };
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

    /* The logger comes first, or the library tells stderr what is wrong with the other options. */
    s->daemon = MHD_start_daemon(
        s->tls ? flags | MHD_USE_TLS : flags, 0, server_admits, s, request_step, s,
        MHD_OPTION_EXTERNAL_LOGGER, server_library_says, s, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, s->options.connections_max, MHD_OPTION_CONNECTION_TIMEOUT,
        s->options.timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_BYTES_MAX,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, request_open, s,
        MHD_OPTION_NOTIFY_COMPLETED, request_completed, s, MHD_OPTION_NOTIFY_CONNECTION, server_notified, s,
        MHD_OPTION_ARRAY, s->tls ? tls : &tls[3], MHD_OPTION_END);
    if (s->daemon)
        return STATUS_OK;
    return s->tls ? STATUS_INVALID : STATUS_IO;
}

int http_open(struct http_server **out, struct loop *l, const struct http_options *options)
{
    struct http_server *s = calloc(1, sizeof *s);
    int fd = -1, status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!s)
        return status;
    s->options = *options;
    s->options.host = s->options.certificate_file = s->options.key_file = NULL;
    crowd_init(&s->crowd, options->per_address_max);
    TAILQ_INIT(&s->waiting);
    TAILQ_INIT(&s->waking);
    if ((status = server_read_pem(s, options)) != STATUS_OK ||
        (status = loop_timer_open(&s->timer, l, server_ripe, s)) != STATUS_OK ||
        (status = http_socket_open(&fd, options->host, &s->options.port)) != STATUS_OK ||
        (status = server_start(s, fd)) != STATUS_OK)
        goto fail;
    status = loop_watch_open(&s->watch, l, MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
                             server_readable, s);
    if (status != STATUS_OK)
        goto fail;
    server_arm(s);
    *out = s;
    return STATUS_OK;
fail:
    http_close(s);
    return status;
}

/* The library may not be stopped while a connection is suspended. */
static void server_dismiss(struct http_server *s)
{
    struct http_request *r;

    s->closing = true;
    for (unsigned round = 0; round < CLOSE_ROUNDS_MAX; round++) {
        MHD_UNSIGNED_LONG_LONG wait_ms = 0;

        while ((r = TAILQ_FIRST(&s->waiting))) {
            if (r->answered)
                request_wake(r);
            else
                http_answer(r, &(struct http_answer){ .status = 503 });
        }
        server_run(s);
        if (TAILQ_EMPTY(&s->waiting) && TAILQ_EMPTY(&s->waking) &&
            (MHD_get_timeout(s->daemon, &wait_ms) != MHD_YES || wait_ms > 0))
            break;
    }
    assert(TAILQ_EMPTY(&s->waiting) && TAILQ_EMPTY(&s->waking));
}

void http_close(struct http_server *s)
{
    if (!s)
        return;
    assert(!s->running);
    loop_watch_close(s->watch);
    if (s->daemon) {
        server_dismiss(s);
        MHD_stop_daemon(s->daemon);
    }
    loop_timer_close(&s->timer);
    text_free(&s->certificate);
    text_wipe(&s->key);
    free(s);
}

/* --- What a handler asks -------------------------------------------------------------------------- */

uint16_t http_port(const struct http_server *s)
{
    return s->options.port;
}

unsigned http_connections(const struct http_server *s)
{
    return s->crowd.count;
}

const char *http_method(const struct http_request *r)
{
    return r->method;
}

const char *http_path(const struct http_request *r)
{
    return r->path;
}

const char *http_query(const struct http_request *r, const char *name)
{
    const char *value = NULL;
    size_t length = 0;

    if (MHD_lookup_connection_value_n(r->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value,
                                      &length) != MHD_YES)
        return NULL;
    return value ? value : "";
}

const char *http_header(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

struct slice http_body(const struct http_request *r)
{
    return text_slice(&r->body);
}

bool http_too_large(const struct http_request *r)
{
    return r->too_large;
}

const char *http_malformed(const struct http_request *r)
{
    return r->malformed;
}

const char *http_peer(const struct http_request *r)
{
    return r->holder->peer;
}

bool http_is_tls(const struct http_request *r)
{
    return r->server->tls;
}

void http_set_data(struct http_request *r, void *data)
{
    r->data = data;
}

void *http_data(const struct http_request *r)
{
    return r->data;
}
