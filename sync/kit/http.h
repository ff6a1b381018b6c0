/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP and HTTPS listeners (libmicrohttpd in the loop). A handler gets a request whole, and answers at once
 * or later. */
#ifndef ZAJEL_KIT_HTTP_H
#define ZAJEL_KIT_HTTP_H

#include "sync/kit/loop.h"
#include "sync/kit/text.h"

struct http_server;
struct http_request;

struct http_options {
    const char *host; /* An address of either family, or "localhost", which is 127.0.0.1. */
    uint16_t port;    /* 0: any */
    const char *certificate_file, *key_file; /* PEM. Both NULL: plain HTTP. */
    size_t body_bytes_max; /* A longer body is read and thrown away up to 16 MiB (or to this, if more) and the
                              request comes with too_large; the connection of a still longer one is closed. */
    /* At least 8. More wait in the system's queue; when all are taken, those that have kept us waiting
     * longest for a request or for taking its answer, and for over half a second, are hung up on. The same
     * befalls the oldest unfinished bodies when together they pass 32 of the largest size. */
    unsigned connections_max;
    /* Of one IPv4 address or IPv6 /64 network; more are hung up on. 0: no such limit. This machine's own
     * programs (127.0.0.1, ::1) are not counted. */
    unsigned per_address_max;
    unsigned timeout_s; /* For heads, stalled bodies and idle connections; not for whom we let wait. */
    /* Called in the loop, once per request, with the body whole. Answer with http_answer() now or in a later
     * turn. It comes before the body, with an empty one, when the head is malformed or announces
     * (Expect: 100-continue) a body that is too large. */
    void (*request)(void *owner, struct http_request *request);
    /* The handle ends here: the answer is sent, or could not be. Once for each request that was handed over,
     * and never before it was answered: a client that leaves while it waits is noticed by its answer.
     * Optional. */
    void (*gone)(void *owner, struct http_request *request);
    void *owner;
};

/* STATUS_BUSY: port taken; STATUS_DENIED: not ours to take; STATUS_INVALID: host, certificate or key */
int http_open(struct http_server **out, struct loop *l, const struct http_options *options);
uint16_t http_port(const struct http_server *s);
unsigned http_connections(const struct http_server *s); /* Open now, idle ones too. */
/* Answers 503 to all who wait, ends all streams; gone is called for each. Not from within request or gone.
 * NULL is fine. */
void http_close(struct http_server *s);

/* Borrowed until the answer. */
const char *http_method(const struct http_request *r);
/* Decoded by percent, without the query; never holds a NUL inside. */
const char *http_path(const struct http_request *r);
/* Decoded; NULL: not there; "" also for a name without a value. */
const char *http_query(const struct http_request *r, const char *name);
const char *http_header(const struct http_request *r, const char *name); /* Any case; NULL: not there. */
struct slice http_body(const struct http_request *r);
bool http_too_large(const struct http_request *r);
/* The head is one that no server should take (both lengths, two hosts, %00): answer 400; the connection is
 * then closed. NULL: fine. */
const char *http_malformed(const struct http_request *r);
const char *http_peer(const struct http_request *r); /* Address without the port. */
bool http_is_tls(const struct http_request *r);
void http_set_data(struct http_request *r, void *data); /* One pointer of the handler's own; also in gone. */
void *http_data(const struct http_request *r);

struct http_answer {
    unsigned status; /* 200 to 599 */
    const char *content_type;
    struct slice body;          /* Copied. */
    const char *const *headers; /* "Name: value" texts, NULL at the end; or NULL. */
};
/* Answers; exactly once per request. From a turn all answers of the turn go out together when it ends. When
 * there is no memory for the answer the connection is closed instead. */
void http_answer(struct http_request *r, const struct http_answer *answer);
/* Instead of an answer: the connection is closed, as with a RST. For tests of clients. */
void http_reset(struct http_request *r);

/* Server-sent events: the answer stays open until the client leaves or http_stream_close(). The stream's
 * handle lives until http_stream_close(), also after the request's has ended. A client that has left is
 * noticed by sending: send a comment (": \n\n") now and then. */
struct http_stream;
/* text/event-stream. STATUS_NO_MEMORY: not answered yet. */
int http_answer_stream(struct http_request *r, struct http_stream **out);
/* "event: x\ndata: y\n\n", copied. STATUS_END: the client left; STATUS_FULL: it does not read, 256 KiB wait
 * for it; STATUS_NO_MEMORY. */
int http_stream_send(struct http_stream *s, struct slice event_text);
void http_stream_close(struct http_stream *s); /* After what was sent so far. NULL is fine. */

#endif
