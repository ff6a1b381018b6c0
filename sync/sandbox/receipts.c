/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sandbox/receipts.h"

#include <stdlib.h>
#include <string.h>

#include "sync/protocol/status.h"

struct receipt {
    TAILQ_ENTRY(receipt) link;
    struct receipts_message message;
    uint64_t due_ms;
};

struct receipts {
    struct loop_timer timer;
    uint64_t after_ms[PHONES_STATUSES];
    size_t waiting, waiting_max;
    /* By the status that comes next. The delay of a status is the same for all, so each queue is in order. */
    TAILQ_HEAD(, receipt) queues[PHONES_STATUSES];
    receipts_due *due;
    void *owner;
};

static void arm(struct receipts *r)
{
    uint64_t at = UINT64_MAX;

    for (size_t i = 0; i < PHONES_STATUSES; i++) {
        const struct receipt *first = TAILQ_FIRST(&r->queues[i]);

        if (first && first->due_ms < at)
            at = first->due_ms;
    }
    loop_timer_set(&r->timer, at);
}

static void queue(struct receipts *r, struct receipt *receipt, enum phones_status status, uint64_t now_ms)
{
    receipt->due_ms = now_ms + r->after_ms[status];
    TAILQ_INSERT_TAIL(&r->queues[status], receipt, link);
}

static void tell(struct receipts *r, struct receipt *receipt, enum phones_status status, uint64_t now_ms)
{
    TAILQ_REMOVE(&r->queues[status], receipt, link);
    r->due(r->owner, &receipt->message, status);
    if (status == PHONES_READ || receipt->message.is_reaction) {
        r->waiting--;
        free(receipt);
        return;
    }
    queue(r, receipt, status == PHONES_SENT ? PHONES_DELIVERED : PHONES_READ, now_ms);
}

static void ripe(void *owner)
{
    struct receipts *r = owner;
    uint64_t now_ms = loop_now_ms();

    /* From the last status to the first: none of a message may follow another in one round. */
    for (size_t i = PHONES_STATUSES; i-- > 0;) {
        struct receipt *receipt;

        while ((receipt = TAILQ_FIRST(&r->queues[i])) && receipt->due_ms <= now_ms)
            tell(r, receipt, (enum phones_status)i, now_ms);
    }
    arm(r);
}

int receipts_open(struct receipts **out, struct loop *l, const uint64_t after_ms[PHONES_STATUSES],
                  size_t waiting_max, receipts_due *due, void *owner)
{
    struct receipts *r = calloc(1, sizeof *r);
    int status;

    *out = NULL;
    if (!r)
        return STATUS_NO_MEMORY;
    memcpy(r->after_ms, after_ms, sizeof r->after_ms);
    r->waiting_max = waiting_max;
    r->due = due;
    r->owner = owner;
    for (size_t i = 0; i < PHONES_STATUSES; i++)
        TAILQ_INIT(&r->queues[i]);
    status = loop_timer_open(&r->timer, l, ripe, r);
    if (status != STATUS_OK) {
        free(r);
        return status;
    }
    *out = r;
    return STATUS_OK;
}

void receipts_close(struct receipts *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < PHONES_STATUSES; i++) {
        struct receipt *receipt;

        while ((receipt = TAILQ_FIRST(&r->queues[i]))) {
            TAILQ_REMOVE(&r->queues[i], receipt, link);
            free(receipt);
        }
    }
    loop_timer_close(&r->timer);
    free(r);
}

int receipts_add(struct receipts *r, const struct receipts_message *message)
{
    struct receipt *receipt;

    if (r->waiting >= r->waiting_max)
        return STATUS_FULL;
    receipt = malloc(sizeof *receipt + message->opaque.length);
    if (!receipt)
        return STATUS_NO_MEMORY;
    receipt->message = *message;
    if (message->opaque.length)
        memcpy(receipt + 1, message->opaque.at, message->opaque.length);
    receipt->message.opaque = slice_of(receipt + 1, message->opaque.length);
    r->waiting++;
    queue(r, receipt, PHONES_SENT, loop_now_ms());
    arm(r);
    return STATUS_OK;
}

size_t receipts_waiting(const struct receipts *r)
{
    return r->waiting;
}
