/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/link_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sync/protocol/status.h"

struct link_queue_message {
    struct link_queue_message *next;
    size_t length;
    uint8_t at[]; /* The room before, then the bytes. */
};

static size_t message_memory(const struct link_queue *q, size_t length)
{
    return sizeof(struct link_queue_message) + q->room_before + length;
}

int link_queue_add(struct link_queue *q, struct slice message)
{
    size_t memory = message_memory(q, message.length);
    struct link_queue_message *m;

    if (q->first && q->memory + memory > q->memory_max)
        return STATUS_FULL;
    m = malloc(memory);
    if (!m)
        return STATUS_NO_MEMORY;
    m->next = NULL;
    m->length = message.length;
    if (message.length)
        memcpy(m->at + q->room_before, message.at, message.length);
    if (q->first)
        q->last->next = m;
    else
        q->first = m;
    q->last = m;
    q->bytes += message.length;
    q->memory += memory;
    return STATUS_OK;
}

bool link_queue_next(const struct link_queue *q, size_t max, struct link_queue_piece *out)
{
    struct link_queue_message *m = q->first;
    size_t left;

    if (!m)
        return false;
    left = m->length - q->taken;
    out->at = m->at + q->room_before + q->taken;
    out->length = left < max ? left : max;
    out->begins = q->taken == 0;
    out->ends = out->length == left;
    return true;
}

static void queue_drop_first(struct link_queue *q)
{
    struct link_queue_message *m = q->first;

    q->first = m->next;
    q->memory -= message_memory(q, m->length);
    q->bytes -= m->length - q->taken;
    q->taken = 0;
    free(m);
}

void link_queue_take(struct link_queue *q, const struct link_queue_piece *piece)
{
    assert(q->first && piece->length <= q->first->length - q->taken);
    q->taken += piece->length;
    q->bytes -= piece->length;
    if (piece->ends)
        queue_drop_first(q);
}

void link_queue_free(struct link_queue *q)
{
    while (q->first)
        queue_drop_first(q);
}
