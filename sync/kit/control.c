/* SPDX-License-Identifier: Apache-2.0 */
/* On the socket: a request is u32 length, then varint argc, argc times varint length and bytes, and the input
 * as the rest; its answer is u8 exit code, u32 length and the text. One request per connection. */
#include "sync/kit/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sync/kit/clock.h"
#include "sync/protocol/status.h"

#define CONTROL_CALLS_MAX 16u                /* People and scripts on one machine. */
#define CONTROL_ARGUMENTS_MAX 64u            /* The longest verb has some ten. */
#define CONTROL_READ_BYTES 65536u            /* A look at one connection. */
#define CONTROL_PATIENCE_MS 5000u            /* Who sends or reads slower may be dropped for a newcomer. */
#define CONTROL_ANSWER_BYTES_MAX (64u << 20) /* A list of a full queue. */
#define CONTROL_HEADER_BYTES 5u              /* Of an answer. */

struct control_call {
    struct control_server *server;
    struct control_call *next, **place;
    int fd;            /* -1: the caller has gone, and the answer is still owed to nobody. */
    uint64_t since_ms; /* Its caller has been due for so long: to send, or to read its answer. */
    bool handled;      /* The whole request is there and its handler has been called. */
    bool answered;
    struct text request; /* The length too. */
    struct text answer;
    size_t written;
};

struct control_server {
    struct loop *loop;
    control_handler *handler;
    void *owner;
    int listen_fd, epoll_fd;
    struct loop_watch *watch;
    struct control_call *calls;
    unsigned call_count;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    struct stat socket; /* Whose name we may take away again. */
};

/* --- Server ----------------------------------------------------------------------------------- */

static void call_hang_up(struct control_call *call)
{
    if (call->fd >= 0)
        close(call->fd);
    call->fd = -1;
}

static void call_free(struct control_call *call)
{
    call_hang_up(call);
    *call->place = call->next;
    if (call->next)
        call->next->place = call->place;
    call->server->call_count--;
    text_wipe(&call->request); /* It may hold a token or a password. */
    text_wipe(&call->answer);
    free(call);
}

/* The handler may still hold a call that it has not answered: that one is freed by its answer. */
static void call_drop(struct control_call *call)
{
    if (call->handled && !call->answered)
        call_hang_up(call);
    else
        call_free(call);
}

static bool call_wants(struct control_call *call, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = call };

    return epoll_ctl(call->server->epoll_fd, EPOLL_CTL_MOD, call->fd, &event) == 0;
}

static void call_write(struct control_call *call)
{
    while (call->written < call->answer.length) {
        ssize_t n = send(call->fd, call->answer.at + call->written, call->answer.length - call->written,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            break;
        call->written += (size_t)n;
    }
    call_free(call);
}

void control_answer(struct control_call *call, int exit_code, struct slice text)
{
    uint8_t header[CONTROL_HEADER_BYTES];
    struct writer w = writer_of(header, sizeof header);

    call->answered = true;
    if (call->fd < 0) {
        call_free(call);
        return;
    }
    call->since_ms = loop_now_ms();
    writer_u8(&w, (uint8_t)exit_code);
    writer_u32(&w, (uint32_t)text.length);
    text_add(&call->answer, writer_slice(&w));
    text_add(&call->answer, text);
    /* Written in a later round: whatever the answer promises is committed by the end of this turn. */
    if (text.length > CONTROL_ANSWER_BYTES_MAX || call->answer.failed || !call_wants(call, EPOLLOUT))
        call_free(call);
}

/* Copies the arguments, each with a NUL, into one block: the pointers first. */
static const char **call_arguments(struct reader *r, int *argc)
{
    uint64_t count = reader_varint(r);
    size_t room = reader_left(r) + CONTROL_ARGUMENTS_MAX; /* For the NULs. */
    const char **argv;
    char *at;

    if (count == 0 || count > CONTROL_ARGUMENTS_MAX)
        return NULL;
    argv = calloc(1, (CONTROL_ARGUMENTS_MAX + 1) * sizeof *argv + room);
    if (!argv)
        return NULL;
    at = (char *)(argv + CONTROL_ARGUMENTS_MAX + 1);
    for (uint64_t i = 0; i < count; i++) {
        struct slice argument = reader_take(r, (size_t)reader_varint(r));
        if (r->failed || (argument.length && memchr(argument.at, '\0', argument.length))) {
            free(argv);
            return NULL;
        }
        argv[i] = at;
        if (argument.length)
            memcpy(at, argument.at, argument.length);
        at += argument.length + 1;
    }
    *argc = (int)count;
    return argv;
}

static void call_handle(struct control_call *call)
{
    struct control_server *s = call->server;
    struct reader r = reader_of(text_slice(&call->request));
    const char **argv;
    int argc = 0;

    reader_take(&r, sizeof(uint32_t));
    argv = call_arguments(&r, &argc);
    if (!argv || !call_wants(call, 0)) {
        free(argv);
        call_free(call);
        return;
    }
    call->handled = true;
    s->handler(s->owner, call, argc, argv, reader_rest(&r));
    free(argv);
}

static void call_read(struct control_call *call)
{
    char bytes[CONTROL_READ_BYTES];
    ssize_t n = recv(call->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    struct reader r;
    uint64_t need;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        text_add(&call->request, slice_of(bytes, (size_t)n));
    explicit_bzero(bytes, n > 0 ? (size_t)n : 0);
    if (n <= 0 || call->request.failed) {
        call_free(call);
        return;
    }
    if (call->request.length < sizeof(uint32_t))
        return;
    r = reader_of(text_slice(&call->request));
    need = (uint64_t)reader_u32(&r) + sizeof(uint32_t);
    if (need > CONTROL_REQUEST_BYTES_MAX || call->request.length > need)
        call_free(call);
    else if (call->request.length == need)
        call_handle(call);
}

static bool peer_may_call(int fd)
{
    struct ucred peer = { .uid = (uid_t)-1 };
    socklen_t length = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

/* Full of callers that neither finish their requests nor read their answers: one of them goes. */
static void control_make_room(struct control_server *s)
{
    uint64_t now_ms = loop_now_ms();

    for (struct control_call *call = s->calls; call && s->call_count >= CONTROL_CALLS_MAX;
         call = call->next) {
        if ((!call->handled || call->answered) && now_ms - call->since_ms > CONTROL_PATIENCE_MS) {
            call_free(call);
            return;
        }
    }
}

static void control_accept(struct control_server *s)
{
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct control_call *call = NULL;
    struct epoll_event event = { .events = EPOLLIN };

    if (fd < 0)
        return;
    control_make_room(s);
    if (s->call_count < CONTROL_CALLS_MAX && peer_may_call(fd))
        call = calloc(1, sizeof *call);
    event.data.ptr = call;
    if (!call || epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        free(call);
        close(fd);
        return;
    }
    *call = (struct control_call){
        .server = s, .fd = fd, .since_ms = loop_now_ms(), .next = s->calls, .place = &s->calls
    };
    if (call->next)
        call->next->place = &call->next;
    s->calls = call;
    s->call_count++;
}

/* One event at a time: each may free any call, and the next is asked for anew. */
static void control_ready(void *owner)
{
    struct control_server *s = owner;
    struct epoll_event event;

    if (epoll_wait(s->epoll_fd, &event, 1, 0) != 1)
        return;
    if (!event.data.ptr) {
        control_accept(s);
        return;
    }
    if (event.events & EPOLLIN)
        call_read(event.data.ptr);
    else if (event.events & EPOLLOUT)
        call_write(event.data.ptr);
    else
        call_drop(event.data.ptr);
}

static int control_dial(const char *path, struct sockaddr_un *address, int *fd)
{
    *fd = -1;
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address->sun_path)
        return STATUS_TOO_LARGE;
    memcpy(address->sun_path, path, strlen(path) + 1);
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0)
        return STATUS_IO;
    if (connect(*fd, (struct sockaddr *)address, sizeof *address) == 0)
        return STATUS_OK;
    switch (errno) {
    case ENOENT:
    case ECONNREFUSED: return STATUS_UNAVAILABLE;
    case EAGAIN: return STATUS_BUSY; /* Its backlog is full: somebody is there. */
    case EACCES:
    case EPERM: return STATUS_DENIED;
    default: return STATUS_IO;
    }
}

/* Leaves the path free for us, or says who has it. */
static int control_clear_path(const char *path, struct sockaddr_un *address)
{
    struct stat found;
    int fd, status = control_dial(path, address, &fd);

    if (fd >= 0)
        close(fd);
    if (status == STATUS_OK)
        return STATUS_BUSY;
    if (status != STATUS_UNAVAILABLE)
        return status;
    if (lstat(path, &found) != 0)
        return errno == ENOENT ? STATUS_OK : STATUS_IO;
    if (!S_ISSOCK(found.st_mode))
        return STATUS_CONFLICT;
    return unlink(path) == 0 ? STATUS_OK : STATUS_IO;
}

static int control_listen(struct control_server *s, const char *path)
{
    struct sockaddr_un address;
    int status = control_clear_path(path, &address);
    mode_t mask;

    if (status != STATUS_OK)
        return status;
    s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd < 0)
        return STATUS_IO;
    mask = umask(0177); /* From its first moment nobody else may connect. */
    status = bind(s->listen_fd, (struct sockaddr *)&address, sizeof address) == 0 ? STATUS_OK : STATUS_IO;
    (void)umask(mask);
    if (status != STATUS_OK || lstat(path, &s->socket) != 0)
        return STATUS_IO;
    memcpy(s->path, address.sun_path, sizeof s->path);
    return listen(s->listen_fd, (int)CONTROL_CALLS_MAX) == 0 ? STATUS_OK : STATUS_IO;
}

int control_open(struct control_server **out, struct loop *l, const char *path, control_handler *handler,
                 void *owner)
{
    struct control_server *s = calloc(1, sizeof *s);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    int status;

    *out = NULL;
    if (!s)
        return STATUS_NO_MEMORY;
    s->loop = l;
    s->handler = handler;
    s->owner = owner;
    s->listen_fd = -1;
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if ((status = control_listen(s, path)) != STATUS_OK)
        goto fail;
    status = STATUS_IO;
    if (s->epoll_fd < 0 || epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->listen_fd, &event) != 0 ||
        (status = loop_watch_open(&s->watch, l, s->epoll_fd, control_ready, s)) != STATUS_OK)
        goto fail;
    *out = s;
    return STATUS_OK;
fail:
    control_close(s);
    return status;
}

void control_close(struct control_server *s)
{
    struct stat found;

    if (!s)
        return;
    while (s->calls)
        call_free(s->calls);
    loop_watch_close(s->watch);
    if (s->path[0] && lstat(s->path, &found) == 0 && found.st_dev == s->socket.st_dev &&
        found.st_ino == s->socket.st_ino)
        (void)unlink(s->path);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    if (s->epoll_fd >= 0)
        close(s->epoll_fd);
    free(s);
}

/* --- The command line's side ------------------------------------------------------------------ */

static bool wait_for(int fd, short events, uint64_t until_ms)
{
    uint64_t now_ms = clock_elapsed_ms();
    struct pollfd p = { .fd = fd, .events = events };
    int n = now_ms < until_ms ? poll(&p, 1, (int)(until_ms - now_ms)) : 0;

    return n > 0 || (n < 0 && errno == EINTR);
}

static int request_write(int fd, struct slice bytes, uint64_t until_ms)
{
    while (bytes.length) {
        ssize_t n = send(fd, bytes.at, bytes.length, MSG_NOSIGNAL);
        if (n > 0)
            bytes = slice_of(bytes.at + n, bytes.length - (size_t)n);
        else if ((errno != EAGAIN && errno != EINTR) || !wait_for(fd, POLLOUT, until_ms))
            return STATUS_IO;
    }
    return STATUS_OK;
}

/* The answer ends with the connection. */
static int request_read(int fd, struct text *answer, uint64_t until_ms)
{
    char bytes[16384];

    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n == 0)
            return STATUS_OK;
        if (n > 0) {
            text_add(answer, slice_of(bytes, (size_t)n));
            explicit_bzero(bytes, (size_t)n);
            if (answer->failed || answer->length > CONTROL_ANSWER_BYTES_MAX + CONTROL_HEADER_BYTES)
                return STATUS_TOO_LARGE;
        } else if ((errno != EAGAIN && errno != EINTR) || !wait_for(fd, POLLIN, until_ms)) {
            return STATUS_IO;
        }
    }
}

static int request_pack(int argc, const char *const *argv, struct slice input, struct text *out)
{
    uint8_t number[VARINT_BYTES_MAX];
    struct text body = { 0 };
    struct writer w = writer_of(number, sizeof number);
    bool fits;

    writer_varint(&w, (uint64_t)argc);
    text_add(&body, writer_slice(&w));
    for (int i = 0; i < argc; i++) {
        w = writer_of(number, sizeof number);
        writer_varint(&w, strlen(argv[i]));
        text_add(&body, writer_slice(&w));
        text_puts(&body, argv[i]);
    }
    text_add(&body, input);
    w = writer_of(number, sizeof number);
    writer_u32(&w, (uint32_t)body.length);
    text_add(out, writer_slice(&w));
    text_add(out, text_slice(&body));
    fits = argc <= (int)CONTROL_ARGUMENTS_MAX && out->length <= CONTROL_REQUEST_BYTES_MAX;
    text_wipe(&body);
    return out->failed ? STATUS_NO_MEMORY : fits ? STATUS_OK : STATUS_TOO_LARGE;
}

static int request_unpack(struct slice bytes, int *exit_code, struct text *answer)
{
    struct reader r = reader_of(bytes);
    uint32_t length;

    *exit_code = reader_u8(&r);
    length = reader_u32(&r);
    if (r.failed || length != reader_left(&r))
        return STATUS_IO; /* The daemon went away, or threw the request out. */
    text_add(answer, reader_rest(&r));
    return answer->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

int control_request(const char *path, int argc, const char *const *argv, struct slice input,
                    unsigned timeout_ms, int *exit_code, struct text *answer)
{
    uint64_t until_ms = clock_elapsed_ms() + timeout_ms;
    struct text request = { 0 }, reply = { 0 };
    struct sockaddr_un address;
    int fd = -1, status = request_pack(argc, argv, input, &request);

    if (status == STATUS_OK)
        status = control_dial(path, &address, &fd);
    if (status == STATUS_OK)
        status = request_write(fd, text_slice(&request), until_ms);
    if (status == STATUS_OK)
        status = request_read(fd, &reply, until_ms);
    if (status == STATUS_OK)
        status = request_unpack(text_slice(&reply), exit_code, answer);
    if (fd >= 0)
        close(fd);
    text_wipe(&request);
    text_wipe(&reply);
    return status;
}
