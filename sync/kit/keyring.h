/* SPDX-License-Identifier: Apache-2.0 */
/* The epoch keys of a store, and the sealed rows made with them. An epoch is one start of a daemon: its name,
 * its key, its numbering. Keys lie in FOLDER/HEX16.key (32 bytes, 0600). */
#ifndef ZAJEL_KIT_KEYRING_H
#define ZAJEL_KIT_KEYRING_H

#include "sync/kit/seal.h"
#include "sync/protocol/message_id.h"

struct keyring;

/* folder is made (0700) when it is not there. */
int keyring_open(struct keyring **out, const char *folder);
void keyring_close(struct keyring *k); /* Wipes all keys. NULL is fine. */

/* A new epoch: random name and key, written and synced. index: the store's own small number of it (1 to
 * 65535), which rows name. STATUS_IO, STATUS_NO_SPACE */
int keyring_make(struct keyring *k, uint32_t index, epoch_id *out);
/* Binds a stored epoch's index to its name; its key file is read on first use. STATUS_CONFLICT: it has
 * another name. STATUS_INVALID: no index or no epoch. */
int keyring_bind(struct keyring *k, uint32_t index, epoch_id epoch);
/* Forgets the epoch and removes its key file: rows sealed with it are gone for good. STATUS_END: not bound.
 */
int keyring_drop(struct keyring *k, uint32_t index);

/* Which table a row is sealed for: a part of its nonce. Frozen. */
enum row_table {
    ROW_OUTBOX = 1,
    ROW_HISTORY = 2,
    ROW_DELIVERY = 3,
    ROW_LEDGER_UP = 4,
    ROW_LEDGER_DOWN = 5,
    ROW_TOKEN = 6
};

/* The row envelope (frozen by tests/fixtures/row_envelope.bin): epoch index as a varint (1 to 3 B),
 * ciphertext, tag (16 B). Nonce, never stored: table (1 B), lane (1 B), 0 (2 B), seq (8 B), big-endian. AAD:
 * that nonce, then the caller's aad (identity and clear columns). (table, lane, seq) serves once per epoch.
 */
#define ROW_OVERHEAD_MAX (3u + SEAL_TAG_BYTES)

struct row_place {
    uint32_t index; /* The epoch it is sealed under. */
    enum row_table table;
    uint8_t lane;
    uint64_t seq;
};

/* out gets at most plain.length + ROW_OVERHEAD_MAX. STATUS_UNAVAILABLE: no key of that epoch. */
int row_seal(struct keyring *k, const struct row_place *place, struct slice aad, struct slice plain,
             uint8_t *out, size_t *out_length);
/* place without index: it is read from the row. out has room for sealed.length. STATUS_CORRUPT: altered, or
 * of an epoch that was never bound or is dropped. STATUS_UNAVAILABLE: the epoch's key file is not there (or
 * damaged): the row may be whole. */
int row_unseal(struct keyring *k, struct row_place place, struct slice aad, struct slice sealed, uint8_t *out,
               size_t *out_length);

#endif
