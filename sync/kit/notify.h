/* SPDX-License-Identifier: Apache-2.0 */
/* What the service manager is told while a daemon runs: that it is ready, how it goes in words, and that it
 * is alive (the datagrams of sd_notify(3)). Where nobody asks to be told, as on a terminal, nothing is sent.
 */
#ifndef ZAJEL_KIT_NOTIFY_H
#define ZAJEL_KIT_NOTIFY_H

#include "sync/kit/loop.h"
#include "sync/kit/text.h"

/* How old the words may be. */
#define NOTIFY_WORDS_MS 5000u
/* How long a store may take to be opened: one that proves damaged is read through and copied. */
#define NOTIFY_STORE_MS 1800000u

struct notify;

struct notify_options {
    /* How it goes, added to words: one line. Where probe, the store is asked too: anything but STATUS_OK, and
     * no sign of life is given. */
    int (*look)(void *owner, bool probe, struct text *words);
    void *owner;
};

/* Reads NOTIFY_SOCKET and WATCHDOG_USEC. Signs of life come from a timer of the loop, twice in the watchdog's
 * time: a turn that hangs gives none. STATUS_NO_MEMORY */
int notify_open(struct notify **out, struct loop *l, const struct notify_options *options);
void notify_close(struct notify *n); /* NULL is fine. */
void notify_ready(struct notify *n); /* The daemon accepts. */
/* It is about to end. */
void notify_stopping(struct notify *n);
/* The loop is about to do what may take NOTIFY_STORE_MS (true), or has done it (false). NULL is fine. */
void notify_busy(struct notify *n, bool busy);

/* "45 s", "3 min", "2 h", "4 d": an age for people, added to out. */
void notify_age(struct text *out, uint64_t seconds);

#endif
