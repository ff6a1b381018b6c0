/* SPDX-License-Identifier: Apache-2.0 */
/* The customers' phones: every message that reached one, every one typed on one, and the read marks, numbered
 * in the order they came. In memory and bounded: beyond the limits the oldest are forgotten. A message that
 * comes twice is there twice. */
#ifndef ZAJEL_SANDBOX_PHONES_H
#define ZAJEL_SANDBOX_PHONES_H

#include <sys/queue.h>

#include "sync/protocol/bytes.h"
#include "sync/sandbox/wamid.h"

#define PHONES_NUMBER_MAX 160u /* Digits, a user id or a group id; with the NUL. */
#define PHONES_NUMBER_ID_MAX 25u

enum phones_kind { PHONES_RECEIVED, PHONES_TYPED, PHONES_READ_MARK };
enum phones_status { PHONES_SENT, PHONES_DELIVERED, PHONES_READ };
#define PHONES_STATUSES 3u

struct phones_limits {
    size_t messages_max, bytes_max;
};

struct phones_message {
    TAILQ_ENTRY(phones_message) link; /* Of its phone's. */
    struct phones_phone *phone;       /* NULL: a read mark. */
    uint64_t n;                       /* 1, 2, 3 ... in order of arrival. */
    enum phones_kind kind;
    char id[WAMID_TEXT_MAX]; /* A read mark's is the message's that it marks. */
    char number_id[PHONES_NUMBER_ID_MAX];
    int64_t at_ms;                         /* Unix ms. */
    int64_t status_at_ms[PHONES_STATUSES]; /* 0: not yet. */
    struct slice body; /* Received: as it came. Typed: the message object of the webhook. */
};

struct phones_phone {
    TAILQ_ENTRY(phones_phone) link; /* Latest first. */
    LIST_ENTRY(phones_phone) bucket;
    TAILQ_HEAD(phones_list, phones_message) messages;
    char number[PHONES_NUMBER_MAX];
    char number_id[PHONES_NUMBER_ID_MAX]; /* Of the business number that was last in touch. */
    size_t kept;
    uint64_t received, typed; /* Since it was first heard of. */
    int64_t at_ms;            /* Of its last message. */
};

struct phones;

int phones_open(struct phones **out, const struct phones_limits *limits);
void phones_close(struct phones *p); /* NULL is fine. */

struct phones_arrival {
    enum phones_kind kind;
    struct slice number; /* Empty for a read mark. */
    struct slice number_id, id, body;
    int64_t at_ms;
};

/* Copies. *out is valid until it is forgotten: keep its n, not the pointer. STATUS_INVALID: a name too long.
 */
int phones_add(struct phones *p, const struct phones_arrival *arrival, const struct phones_message **out);
void phones_note_status(struct phones *p, uint64_t n, enum phones_status status, int64_t at_ms);
const struct phones_message *phones_find(const struct phones *p,
                                         uint64_t n); /* NULL: forgotten, or not yet. */
uint64_t phones_first(const struct phones *p);        /* The least n that is kept; last + 1 when none is. */
uint64_t phones_last(const struct phones *p);         /* 0: none yet. */
const struct phones_phone *phones_phone(const struct phones *p, struct slice number); /* NULL: unknown. */
/* Starts with NULL; latest first; NULL after the last. */
const struct phones_phone *phones_next(const struct phones *p, const struct phones_phone *after);

#endif
