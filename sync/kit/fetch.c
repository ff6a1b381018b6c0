/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/fetch.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#include "sync/protocol/status.h"

#define EVENTS_MAX 64         /* Of one look; the rest come with the next. */
#define HEAD_BYTES_MAX 65536u /* Of an answer. Meta's have 1 to 2 KB. */
#define IDLE_S_MAX 30L        /* Servers hang up after a minute or more; a body sent just then is unknown. */
#define CONNECT_MS_MAX 10000u /* A server that takes longer to greet us has other worries: try later. */

TAILQ_HEAD(fetch_list, fetch);

struct fetcher {
    CURLM *multi;
    int epoll_fd;
    struct loop_watch *watch;
    struct loop_timer timer;
    struct fetch_list fetches;
    unsigned count;
    bool asking;  /* Some fetch may be in HOLD_ASKING. */
    bool calling; /* ready or done is being called. */
};

enum hold { HOLD_CLOSED, HOLD_ASKING, HOLD_ASKED, HOLD_OPEN };

struct fetch {
    TAILQ_ENTRY(fetch) link;
    struct fetcher *fetcher;
    CURL *easy;
    CURLU *url;
    struct curl_slist *headers;
    void (*ready)(void *owner, struct fetch *fetch);
    void (*done)(void *owner, struct fetch *fetch, const struct fetch_result *result);
    void *owner;
    struct text body, answer;
    size_t answer_bytes_max, head_bytes;
    int fd;        /* The last that curl had watched for it; -1: none. */
    size_t handed; /* Of the body, to curl: whether they left nobody can say. */
    enum hold hold;
    bool post;
    bool left; /* It may have reached the server, to the point where the server acts on it. */
    bool cut, ended;
    char why[CURL_ERROR_SIZE];
};

/* --- Curl's callbacks ------------------------------------------------------------------------------- */

/* Curl does not look up from a held body when the server hangs up meanwhile, and would then send it into the
 * void: unknown, where nothing has left. */
static bool fetch_is_hung_up(const struct fetch *f)
{
    ssize_t n;
    char byte;

    if (f->fd < 0)
        return false;
    n = recv(f->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* Curl reads the body from here and, lacking a seek function, cannot read it twice. */
static size_t fetch_read(char *out, size_t size, size_t count, void *owner)
{
    struct fetch *f = owner;
    size_t length = f->body.length - f->handed;

    if (f->hold != HOLD_OPEN) {
        if (f->hold == HOLD_CLOSED) {
            f->hold = HOLD_ASKING;
            f->fetcher->asking = true;
        }
        return CURL_READFUNC_PAUSE;
    }
    if (!f->left && fetch_is_hung_up(f))
        return CURL_READFUNC_ABORT;
    if (length > size * count)
        length = size * count;
    memcpy(out, f->body.at + f->handed, length);
    f->handed += length;
    f->left = true;
    return length;
}

/* Called when a connection is there, before the head is sent; again when curl, having found that connection
 * dead, is about to send all of it over another one. That is right as long as nothing has left. It is the
 * only safeguard where curl thinks that of bytes it has taken none were sent. */
static int fetch_prerequest(void *owner, char *peer, char *local, int peer_port, int local_port)
{
    struct fetch *f = owner;

    (void)peer;
    (void)local;
    (void)peer_port;
    (void)local_port;
    if (f->left)
        return CURL_PREREQFUNC_ABORT;
    if (f->post && !f->body.length)
        f->left = true;
    return CURL_PREREQFUNC_OK;
}

static size_t fetch_write(char *bytes, size_t size, size_t count, void *owner)
{
    struct fetch *f = owner;
    size_t length = size * count, room = f->answer_bytes_max - f->answer.length;

    f->cut = length > room;
    text_add(&f->answer, slice_of(bytes, f->cut ? room : length));
    return f->cut || f->answer.failed ? 0 : length;
}

static size_t fetch_head(char *bytes, size_t size, size_t count, void *owner)
{
    struct fetch *f = owner;

    (void)bytes;
    f->head_bytes += size * count;
    return f->head_bytes > HEAD_BYTES_MAX ? 0 : size * count;
}

static struct fetch *fetch_of(CURL *easy)
{
    char *private = NULL;

    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    return (struct fetch *)(void *)private;
}

static int fetcher_socket(CURL *easy, curl_socket_t fd, int what, void *owner, void *known)
{
    struct fetcher *f = owner;
    struct fetch *fetch = fetch_of(easy);
    struct epoll_event event = { .data.fd = fd };

    (void)known;
    if (fetch && what != CURL_POLL_REMOVE)
        fetch->fd = fd;
    else if (fetch && fetch->fd == fd)
        fetch->fd = -1;
    event.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    /* A descriptor that cannot be watched is no reason to fail all others: its fetch runs into its timeout.
     */
    if (what == CURL_POLL_REMOVE)
        (void)epoll_ctl(f->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    else if (epoll_ctl(f->epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0 && errno == ENOENT)
        (void)epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &event);
    return 0;
}

static int fetcher_timer(CURLM *multi, long wait_ms, void *owner)
{
    struct fetcher *f = owner;

    (void)multi;
    loop_timer_set(&f->timer, wait_ms < 0 ? UINT64_MAX : loop_now_ms() + (uint64_t)wait_ms);
    return 0;
}

/* --- What became of them ---------------------------------------------------------------------------- */

static void fetch_free(struct fetch *f)
{
    if (f->easy) {
        (void)curl_multi_remove_handle(f->fetcher->multi, f->easy);
        curl_easy_cleanup(f->easy);
    }
    curl_url_cleanup(f->url);
    curl_slist_free_all(f->headers);
    text_free(&f->body);
    text_free(&f->answer);
    free(f);
}

static void fetch_unlink(struct fetch *f)
{
    TAILQ_REMOVE(&f->fetcher->fetches, f, link);
    f->fetcher->count--;
}

static void fetch_end(struct fetch *f, CURLcode code)
{
    struct fetch_result result = { .why = "" };
    struct curl_header *header;

    fetch_unlink(f);
    f->ended = true;
    /* A body cut at our bound is an answer all the same; so is one that came before our body was sent. */
    if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && f->cut)) {
        result.outcome = FETCH_ANSWERED;
        result.body = text_slice(&f->answer);
        (void)curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &result.status);
        if (curl_easy_header(f->easy, "Retry-After", 0, CURLH_HEADER, -1, &header) == CURLHE_OK)
            result.retry_after = header->value;
    } else {
        result.outcome = f->left ? FETCH_UNKNOWN : FETCH_UNSENT;
        result.why = f->why[0] ? f->why : curl_easy_strerror(code);
    }
    f->done(f->owner, f, &result);
    fetch_free(f);
}

static struct fetch *fetcher_next_asking(struct fetcher *f)
{
    struct fetch *fetch;

    TAILQ_FOREACH(fetch, &f->fetches, link)
    if (fetch->hold == HOLD_ASKING)
        return fetch;
    return NULL;
}

/* After curl has run, outside its callbacks: those called here may start and cancel whatever they like. */
static void fetcher_tell(struct fetcher *f)
{
    struct CURLMsg *message;
    struct fetch *fetch;
    int left;

    f->calling = true;
    while ((message = curl_multi_info_read(f->multi, &left))) {
        assert(message->msg == CURLMSG_DONE);
        fetch_end(fetch_of(message->easy_handle), message->data.result);
    }
    while (f->asking && (fetch = fetcher_next_asking(f))) {
        fetch->hold = HOLD_ASKED;
        fetch->ready(fetch->owner, fetch);
    }
    f->asking = false;
    f->calling = false;
}

static void fetcher_readable(void *owner)
{
    struct fetcher *f = owner;
    struct epoll_event events[EVENTS_MAX];
    int running, n = epoll_wait(f->epoll_fd, events, EVENTS_MAX, 0);

    for (int i = 0; i < n; i++) {
        int what = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

        (void)curl_multi_socket_action(f->multi, events[i].data.fd, what, &running);
    }
    fetcher_tell(f);
}

static void fetcher_ripe(void *owner)
{
    struct fetcher *f = owner;
    int running;

    (void)curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    fetcher_tell(f);
}

/* --- The fetcher ------------------------------------------------------------------------------------ */

static int fetcher_set_up(struct fetcher *f, unsigned connections_max)
{
    long max = (long)connections_max;

    if (curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, fetcher_socket) != CURLM_OK ||
        curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f) != CURLM_OK ||
        curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, fetcher_timer) != CURLM_OK ||
        curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f) != CURLM_OK ||
        curl_multi_setopt(f->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, max) != CURLM_OK ||
        curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, max) != CURLM_OK)
        return STATUS_NO_MEMORY;
    return STATUS_OK;
}

int fetcher_open(struct fetcher **out, struct loop *l, unsigned connections_max)
{
    struct fetcher *f = calloc(1, sizeof *f);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!f)
        return status;
    assert(connections_max > 0);
    TAILQ_INIT(&f->fetches);
    f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (f->epoll_fd < 0) {
        status = STATUS_IO;
        goto fail;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        goto fail;
    f->multi = curl_multi_init();
    if (!f->multi) {
        curl_global_cleanup();
        goto fail;
    }
    if ((status = loop_timer_open(&f->timer, l, fetcher_ripe, f)) != STATUS_OK ||
        (status = fetcher_set_up(f, connections_max)) != STATUS_OK ||
        (status = loop_watch_open(&f->watch, l, f->epoll_fd, fetcher_readable, f)) != STATUS_OK)
        goto fail;
    *out = f;
    return STATUS_OK;
fail:
    fetcher_close(f);
    return status;
}

void fetcher_close(struct fetcher *f)
{
    struct fetch *fetch;

    if (!f)
        return;
    assert(!f->calling);
    while ((fetch = TAILQ_FIRST(&f->fetches)))
        fetch_cancel(fetch);
    if (f->multi) {
        (void)curl_multi_cleanup(f->multi);
        curl_global_cleanup();
    }
    loop_watch_close(f->watch);
    loop_timer_close(&f->timer);
    if (f->epoll_fd >= 0)
        close(f->epoll_fd);
    free(f);
}

unsigned fetcher_count(const struct fetcher *f)
{
    return f->count;
}

/* --- One fetch -------------------------------------------------------------------------------------- */

static bool host_is_loopback(const char *host)
{
    struct in_addr four;

    if (inet_pton(AF_INET, host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

/* Reads url into u; STATUS_INVALID when it is none that may be fetched. */
static int url_read(CURLU *u, const char *url, bool *loopback)
{
    char *scheme = NULL, *host = NULL;
    int status = STATUS_INVALID;

    if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
        *loopback = host_is_loopback(host);
        if (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && *loopback))
            status = STATUS_OK;
    }
    curl_free(scheme);
    curl_free(host);
    return status;
}

int fetch_check_url(const char *url)
{
    CURLU *u = curl_url();
    bool loopback;
    int status = u ? url_read(u, url, &loopback) : STATUS_NO_MEMORY;

    curl_url_cleanup(u);
    return status;
}

/* Curl fetches the very URL that was looked at here, not a second reading of its text. */
static int fetch_set_url(struct fetch *f, const char *url)
{
    bool loopback = false;
    int status;

    f->url = curl_url();
    if (!f->url)
        return STATUS_NO_MEMORY;
    status = url_read(f->url, url, &loopback);
    if (status == STATUS_OK && loopback && curl_easy_setopt(f->easy, CURLOPT_PROXY, "") != CURLE_OK)
        status = STATUS_NO_MEMORY;
    return status;
}

static bool fetch_add_header(struct fetch *f, const char *header)
{
    struct curl_slist *longer = curl_slist_append(f->headers, header);

    if (!longer)
        return false;
    f->headers = longer;
    return true;
}

static int fetch_set_headers(struct fetch *f, const char *const *headers)
{
    /* Curl would wait for a 100 before a body, and name a type that is not ours. */
    if (f->post && (!fetch_add_header(f, "Expect:") || !fetch_add_header(f, "Content-Type:")))
        return STATUS_NO_MEMORY;
    for (; headers && *headers; headers++)
        if (!fetch_add_header(f, *headers))
            return STATUS_NO_MEMORY;
    return STATUS_OK;
}

static bool fetch_set_method(struct fetch *f, const char *method)
{
    if (f->post)
        return curl_easy_setopt(f->easy, CURLOPT_POST, 1L) == CURLE_OK &&
               curl_easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body.length) ==
                   CURLE_OK &&
               curl_easy_setopt(f->easy, CURLOPT_READFUNCTION, fetch_read) == CURLE_OK &&
               curl_easy_setopt(f->easy, CURLOPT_READDATA, f) == CURLE_OK;
    return strcmp(method, "GET") == 0 || curl_easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;
}

/* HTTP/1.1 alone: one request per connection at a time, so that a connection's death is the matter of one
 * message and a body that is held holds up nobody else. */
static bool fetch_set_rules(struct fetch *f, uint64_t timeout_ms)
{
    long timeout = timeout_ms > INT32_MAX ? INT32_MAX : (long)timeout_ms;
    long connect = timeout > (long)CONNECT_MS_MAX ? (long)CONNECT_MS_MAX : timeout;

    return curl_easy_setopt(f->easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(f->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(f->easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(f->easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(f->easy, CURLOPT_MAXAGE_CONN, IDLE_S_MAX) == CURLE_OK &&
           curl_easy_setopt(f->easy, CURLOPT_TIMEOUT_MS, timeout) == CURLE_OK &&
           curl_easy_setopt(f->easy, CURLOPT_CONNECTTIMEOUT_MS, connect) == CURLE_OK;
}

static bool fetch_set_identity(struct fetch *f, const struct fetch_identity *identity)
{
    return !identity || (curl_easy_setopt(f->easy, CURLOPT_CAINFO, identity->ca_file) == CURLE_OK &&
                         curl_easy_setopt(f->easy, CURLOPT_CAPATH, NULL) == CURLE_OK &&
                         curl_easy_setopt(f->easy, CURLOPT_SSLCERT, identity->certificate_file) == CURLE_OK &&
                         curl_easy_setopt(f->easy, CURLOPT_SSLKEY, identity->key_file) == CURLE_OK);
}

static bool fetch_set_callbacks(struct fetch *f)
{
    return curl_easy_setopt(f->easy, CURLOPT_PRIVATE, f) == CURLE_OK &&
           curl_easy_setopt(f->easy, CURLOPT_ERRORBUFFER, f->why) == CURLE_OK &&
           curl_easy_setopt(f->easy, CURLOPT_PREREQFUNCTION, fetch_prerequest) == CURLE_OK &&
           curl_easy_setopt(f->easy, CURLOPT_PREREQDATA, f) == CURLE_OK &&
           curl_easy_setopt(f->easy, CURLOPT_HEADERFUNCTION, fetch_head) == CURLE_OK &&
           curl_easy_setopt(f->easy, CURLOPT_HEADERDATA, f) == CURLE_OK &&
           curl_easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, fetch_write) == CURLE_OK &&
           curl_easy_setopt(f->easy, CURLOPT_WRITEDATA, f) == CURLE_OK;
}

static int fetch_set_up(struct fetch *f, const struct fetch_request *request)
{
    int status;

    f->post = strcmp(request->method, "POST") == 0;
    text_add(&f->body, request->body);
    f->easy = curl_easy_init();
    if (!f->easy || f->body.failed)
        return STATUS_NO_MEMORY;
    if ((status = fetch_set_url(f, request->url)) != STATUS_OK ||
        (status = fetch_set_headers(f, request->headers)) != STATUS_OK)
        return status;
    if (!fetch_set_rules(f, request->timeout_ms) || !fetch_set_callbacks(f) ||
        !fetch_set_identity(f, request->identity) || !fetch_set_method(f, request->method) ||
        curl_easy_setopt(f->easy, CURLOPT_CURLU, f->url) != CURLE_OK ||
        curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers) != CURLE_OK)
        return STATUS_NO_MEMORY;
    return STATUS_OK;
}

int fetch_start(struct fetcher *f, const struct fetch_request *request, struct fetch **out)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!fetch)
        return status;
    assert(request->timeout_ms > 0 && request->done);
    fetch->fetcher = f;
    fetch->ready = request->ready;
    fetch->done = request->done;
    fetch->owner = request->owner;
    fetch->answer_bytes_max = request->body_bytes_max;
    fetch->fd = -1;
    fetch->hold = request->ready ? HOLD_CLOSED : HOLD_OPEN;
    status = fetch_set_up(fetch, request);
    if (status == STATUS_OK && curl_multi_add_handle(f->multi, fetch->easy) != CURLM_OK)
        status = STATUS_NO_MEMORY;
    if (status != STATUS_OK) {
        fetch_free(fetch);
        return status;
    }
    TAILQ_INSERT_TAIL(&f->fetches, fetch, link);
    f->count++;
    *out = fetch;
    return STATUS_OK;
}

void fetch_release(struct fetch *fetch)
{
    bool paused = fetch->hold == HOLD_ASKING || fetch->hold == HOLD_ASKED;

    assert(!fetch->ended);
    fetch->hold = HOLD_OPEN;
    /* Curl then asks its timer to run at once: nothing is sent, and nobody called, from in here. */
    if (paused)
        (void)curl_easy_pause(fetch->easy, CURLPAUSE_CONT);
}

void fetch_cancel(struct fetch *fetch)
{
    assert(!fetch->ended);
    fetch_unlink(fetch);
    fetch_free(fetch);
}
