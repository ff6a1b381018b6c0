/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of each message that a phone got: sent, delivered and read, in this order, each some time
 * later. */
#ifndef ZAJEL_SANDBOX_RECEIPTS_H
#define ZAJEL_SANDBOX_RECEIPTS_H

#include "sync/kit/loop.h"
#include "sync/sandbox/phones.h"

struct receipts;

struct receipts_message {
    uint64_t n; /* Of phones. */
    struct slice opaque;
    bool is_user_id, is_template;
    bool is_reaction; /* Only sent follows one. */
};

/* due: once per status, in the loop. opaque is borrowed for the call. */
typedef void receipts_due(void *owner, const struct receipts_message *message, enum phones_status status);

/* after_ms: of sent after the message, of each other after the one before. waiting_max: beyond it a message
 * gets none (STATUS_FULL). */
int receipts_open(struct receipts **out, struct loop *l, const uint64_t after_ms[PHONES_STATUSES],
                  size_t waiting_max, receipts_due *due, void *owner);
void receipts_close(struct receipts *r); /* NULL is fine. */
int receipts_add(struct receipts *r, const struct receipts_message *message);
size_t receipts_waiting(const struct receipts *r);

#endif
