/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the HTTP listener: one in a real loop, and a client that speaks by hand. */
#ifndef ZAJEL_TESTS_SUPPORT_HTTP_H
#define ZAJEL_TESTS_SUPPORT_HTTP_H

#include <stdatomic.h>

#include "sync/kit/http.h"

#define HTTPD_BODY_BYTES_MAX 1000u
#define HTTPD_WAITING_MAX 8u
#define HTTPD_HEARD_BYTES_MAX 65536u

/* A listener in a real loop, and a client that speaks by hand from a thread of its own. What the client asks
 * for by path decides how it is answered; the turn answers those who wait. */
struct httpd {
    struct loop *loop;
    struct loop_timer guard;
    struct http_server *server;
    struct http_options options;
    struct http_stream *stream;
    struct http_request *waiting[HTTPD_WAITING_MAX];
    size_t waiting_count, asked, gone, answered_turns;
    size_t patience; /* This many must wait before the turn answers them. */
    void (*turn)(struct httpd *w);
    void (*client)(struct httpd *w);
    int stream_status;
    atomic_bool client_done, released;
    bool closed;
    char heard[HTTPD_HEARD_BYTES_MAX];
    size_t heard_bytes;
    char folder[64], certificate[96], key[96];
    double cpu_s; /* Used, or waited so often, by all threads while the client looked on. */
    long waits;
};

void httpd_open(struct httpd *w);
void httpd_close(struct httpd *w);
void httpd_run(struct httpd *w, void (*client)(struct httpd *w));
void httpd_answer_waiting(struct httpd *w);
int httpd_dial(const struct httpd *w);
void httpd_say(int fd, const char *text);
size_t httpd_times(const char *text, const char *what);
bool httpd_hear(struct httpd *w, int fd, const char *what, size_t count);
void httpd_ask(struct httpd *w, const char *text, const char *until);
void httpd_assert_heard(const struct httpd *w, const char *what);
void httpd_assert_not_heard(const struct httpd *w, const char *what);

#endif
