/* SPDX-License-Identifier: Apache-2.0 */
/* Outgoing HTTP requests (libcurl in the loop): the courier's and the webhook senders'. A request is never
 * repeated behind its caller's back: one whose body has begun to leave can only be answered or unknown. */
#ifndef ZAJEL_KIT_FETCH_H
#define ZAJEL_KIT_FETCH_H

#include "sync/kit/loop.h"
#include "sync/kit/text.h"

struct fetcher;
struct fetch;

/* connections_max: at a time, idle ones included; further fetches wait for one, within their timeout. Open
 * the first before any thread starts. */
int fetcher_open(struct fetcher **out, struct loop *l, unsigned connections_max);
/* Ends every fetch without telling. Not from within ready or done. NULL is fine. */
void fetcher_close(struct fetcher *f);
unsigned fetcher_count(const struct fetcher *f); /* Fetches under way or waiting for a connection. */

enum fetch_outcome {
    FETCH_ANSWERED, /* status and body are the server's. */
    FETCH_UNSENT,   /* Failed before any byte of the request's body left: safe to try again. */
    FETCH_UNKNOWN   /* Failed after that: nobody knows whether the server acted. */
};

struct fetch_result {
    enum fetch_outcome outcome;
    long status;             /* 0 unless answered. */
    struct slice body;       /* Borrowed for the call; cut at body_bytes_max. Empty unless answered. */
    const char *retry_after; /* Header value or NULL. */
    const char *why;         /* For logs: curl's words; never a body. "" when answered. */
};

/* For servers with a CA of their own, and a client certificate: PEM files. */
struct fetch_identity {
    const char *ca_file; /* Nothing else is trusted. */
    const char *certificate_file, *key_file;
};

struct fetch_request {
    const char *method;         /* GET, POST, DELETE */
    const char *url;            /* http only on loopback: else STATUS_INVALID. */
    const char *const *headers; /* "Name: value", NULL at the end; or NULL. Copied. */
    /* Copied. Of GET and DELETE it is not sent. A POST without one has left when its head has. */
    struct slice body;
    uint64_t timeout_ms;   /* From the start to the whole answer; time in which the body is held counts. */
    size_t body_bytes_max; /* Of the answer. */
    const struct fetch_identity *identity; /* NULL: none is shown, and the system's CAs are trusted. */
    /* Held: the connection is made and the head is sent, but no body byte before fetch_release(). `ready`
     * (may be NULL: release right away) is called when the body is wanted: journal, commit, then release. At
     * most once; never for a request without a body; never called from fetch_start(). */
    void (*ready)(void *owner, struct fetch *fetch);
    /* Once, never from within fetch_start(); the handle ends with it. */
    void (*done)(void *owner, struct fetch *fetch, const struct fetch_result *result);
    void *owner;
};

/* STATUS_INVALID: the URL; STATUS_NO_MEMORY. Redirects are not followed: they are answers. A proxy named by
 * the environment is used for hosts elsewhere, never for loopback. */
int fetch_start(struct fetcher *f, const struct fetch_request *request, struct fetch **out);
int fetch_check_url(const char *url); /* STATUS_INVALID: fetch_start() would refuse it. For configurations. */
void fetch_release(struct fetch *fetch); /* Once, at any time after the start. */
/* done is not called; the handle ends. Whether a body was sent is then for the caller to judge. Fine at any
 * time before its own done, also from within ready or from done of another. */
void fetch_cancel(struct fetch *fetch);

#endif
