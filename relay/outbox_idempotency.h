/* SPDX-License-Identifier: Apache-2.0 */
/* Idempotency keys: for 24 hours the same key of the same token finds the message it made, also after a power
 * cut. */
#ifndef ZAJEL_RELAY_OUTBOX_IDEMPOTENCY_H
#define ZAJEL_RELAY_OUTBOX_IDEMPOTENCY_H

#include "relay/outbox_rows.h"

#define IDEMPOTENCY_HOURS 24u
#define IDEMPOTENCY_KEY_MAX 255u

struct idempotency_key {
    uint8_t key[32];    /* SHA-256(store salt, token name, key) */
    uint8_t digest[32]; /* SHA-256(store salt, token name, key, phone number id, raw body) */
};

int outbox_idempotency_key(const struct outbox *o, struct slice token, struct slice key, struct slice number,
                           struct slice body, struct idempotency_key *out);
/* STATUS_OK: seen, with this body, and it made the message at *out. STATUS_CONFLICT: seen with another body.
 * STATUS_END: not seen. */
int outbox_idempotency_find(struct outbox *o, const struct idempotency_key *key, uint64_t now_ms,
                            struct outbox_place *out);
int outbox_idempotency_put(struct outbox *o, const struct idempotency_key *key, uint64_t now_ms,
                           const struct outbox_place *place);
int outbox_idempotency_purge(struct outbox *o, uint64_t now_ms, unsigned max, bool *left);

#endif
