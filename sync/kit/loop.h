/* SPDX-License-Identifier: Apache-2.0 */
/* The one thread's loop (libwebsockets' own). Callbacks translate and note; the daemon acts in its turn,
 * which runs after the ready sockets were read and only when something was noted. */
#ifndef ZAJEL_KIT_LOOP_H
#define ZAJEL_KIT_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;

struct loop_options {
    void (*turn)(void *owner);   /* Runs once after each round in which loop_note() was called. */
    void (*stop)(void *owner);   /* SIGTERM or SIGINT: once. The daemon finishes and calls loop_stop(). */
    void (*reload)(void *owner); /* SIGHUP; NULL: ignored. */
    void *owner;
    unsigned descriptors_max; /* Sockets of links: 64 for a relay, fleet + 256 for a gateway. */
    unsigned handshake_s_max; /* For TLS and for the upgrade, each; 0: 10. A relay on 2G takes 60. */
};

/* Ignores SIGPIPE, and blocks the signals above for the calling thread: open it before the first thread
 * starts. */
int loop_open(struct loop **out, const struct loop_options *options);
void loop_close(struct loop *l); /* After everything that was opened on it. NULL is fine. */
int loop_run(struct loop *l);    /* Until loop_stop(). STATUS_OK, STATUS_IO */
void loop_stop(struct loop *l);
void loop_note(struct loop *l);
/* loop_note() from another thread (DNS, media syncs): the only call here that may. */
void loop_wake(struct loop *l);
uint64_t loop_now_ms(void); /* clock_elapsed_ms() */

/* A timer lies in its owner's struct, zeroed at first. ready runs in the loop, outside the turn; it may call
 * loop_note(). */
struct loop_timer {
    struct loop *loop;
    void (*ready)(void *owner);
    void *owner;
    void *own; /* The loop's. */
};
int loop_timer_open(struct loop_timer *t, struct loop *l, void (*ready)(void *owner),
                    void *owner); /* STATUS_NO_MEMORY */
void loop_timer_set(struct loop_timer *t,
                    uint64_t at_ms); /* clock_elapsed_ms() time; replaces the earlier one; UINT64_MAX: off. */
void loop_timer_close(struct loop_timer *t); /* Before loop_close(); a zeroed or closed one is fine. May be
                                                called from ready. */

/* Watches a descriptor for reading (an epoll descriptor counts). It is dup'ed: the caller keeps and closes
 * its own. Ready is told again in each round until it is read. */
struct loop_watch;
int loop_watch_open(struct loop_watch **out, struct loop *l, int fd, void (*readable)(void *owner),
                    void *owner);
void loop_watch_close(struct loop_watch *w); /* NULL is fine. May be called from readable. */

/* For kit/link.c alone: the lws context. */
void *loop_context(struct loop *l);

#endif
