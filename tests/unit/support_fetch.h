/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of fetching: fetches in a real loop, and a server that is played by hand. */
#ifndef ZAJEL_TESTS_SUPPORT_FETCH_H
#define ZAJEL_TESTS_SUPPORT_FETCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "sync/kit/fetch.h"

#define PLAY_FETCHES_MAX 4u
#define PLAY_BODY "{\"text\":\"a message\"}"
#define PLAY_ANSWER_OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

/* What one fetch came to. */
struct play_story {
    struct play *world;
    struct fetch *fetch;
    unsigned asked, done;
    struct fetch_result result;
    char body[256], why[256], retry_after[64];
};

/* Fetches in a real loop, and a server played by hand from a thread of its own. */
struct play {
    struct loop *loop;
    struct loop_timer guard;
    struct fetcher *fetcher;
    struct play_story stories[PLAY_FETCHES_MAX];
    unsigned started, ended, end; /* The loop stops when so many have ended. */
    bool held;                    /* Fetches ask before they send their bodies ... */
    bool release_at_once;         /* ... and may at once, or when a test says so in its turn. */
    void (*asked)(struct play_story *s);
    void (*done)(struct play_story *s);
    void (*turn)(struct play *w);
    void (*server)(struct play *w);
    pthread_t thread;
    int listener;
    uint16_t port;
    unsigned connections_max;
    uint64_t timeout_ms;
    atomic_uint bodies, heads; /* Heard by the server. */
    atomic_bool checked, early;
};

void play_story_done(void *owner, struct fetch *fetch, const struct fetch_result *result);
void play_story_end(struct play *w);
void play_open(struct play *w, void (*server)(struct play *w));
void play_close(struct play *w);
struct play_story *play_fetch(struct play *w, const char *method, const char *body);
void play_run(struct play *w, unsigned more);
int play_answer_call(struct play *w);
bool play_hear_until(int fd, const char *what);
bool play_hear_head(struct play *w, int fd);
bool play_hear_body(struct play *w, int fd);
bool play_is_silent(int fd);
void play_say(int fd, const char *text);
void play_reset(int fd);
void play_hang_after_the_body(struct play *w);

#endif
