/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a link that wait to be written: first in, first out, taken in pieces. */
#ifndef ZAJEL_KIT_LINK_QUEUE_H
#define ZAJEL_KIT_LINK_QUEUE_H

#include "sync/protocol/bytes.h"

struct link_queue_message;

/* Starts as {0} but for the first two. */
struct link_queue {
    size_t room_before; /* Writable bytes before each message, for the WebSocket library's header. */
    size_t memory_max;  /* Of all messages with what each costs besides; one message is always taken. */
    struct link_queue_message *first, *last;
    size_t bytes; /* What waits. */
    size_t memory;
    size_t taken; /* Of the first message. */
};

/* A piece of the first message. at is writable, as is the room before it. */
struct link_queue_piece {
    uint8_t *at;
    size_t length;
    bool begins, ends; /* Its message. */
};

int link_queue_add(struct link_queue *q, struct slice message); /* Copied. STATUS_FULL, STATUS_NO_MEMORY */
/* The next piece, of at most max bytes; false when nothing waits. It stays first until link_queue_take(). */
bool link_queue_next(const struct link_queue *q, size_t max, struct link_queue_piece *out);
void link_queue_take(struct link_queue *q, const struct link_queue_piece *piece);
void link_queue_free(struct link_queue *q);

#endif
