/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing, signing, hashing, randomness: the PSA API behind our own few words. Call seal_start() once per
 * process. */
#ifndef ZAJEL_KIT_SEAL_H
#define ZAJEL_KIT_SEAL_H

#include "sync/protocol/bytes.h"

#define SEAL_KEY_BYTES 32u   /* AES-256 */
#define SEAL_NONCE_BYTES 12u /* GCM's own length */
#define SEAL_TAG_BYTES 16u
#define SEAL_HASH_BYTES 32u /* SHA-256 */

int seal_start(void); /* psa_crypto_init. STATUS_UNAVAILABLE */
int seal_random(void *out, size_t length);
bool seal_equal(const void *a, const void *b, size_t length); /* Constant time. */
int seal_sha256(struct slice bytes, uint8_t out[SEAL_HASH_BYTES]);
/* The hash of several parts, each preceded by its length (u32): no two lists of parts hash alike. */
int seal_sha256_parts(const struct slice *parts, size_t count, uint8_t out[SEAL_HASH_BYTES]);
int seal_hmac_sha256(struct slice key, struct slice bytes, uint8_t out[SEAL_HASH_BYTES]);

/* An AES-256-GCM key. */
struct seal_key;
int seal_key_make(struct seal_key **out); /* Random. */
/* The caller wipes its copy. */
int seal_key_import(struct seal_key **out, const uint8_t bytes[SEAL_KEY_BYTES]);
int seal_key_export(const struct seal_key *key, uint8_t out[SEAL_KEY_BYTES]);
void seal_key_close(struct seal_key *key); /* Wipes. NULL is fine. */

/* out gets plain.length + SEAL_TAG_BYTES. A nonce serves once per key. */
int seal(const struct seal_key *key, const uint8_t nonce[SEAL_NONCE_BYTES], struct slice aad,
         struct slice plain, uint8_t *out);
/* out gets sealed.length - SEAL_TAG_BYTES. STATUS_CORRUPT: altered, or another key. */
int unseal(const struct seal_key *key, const uint8_t nonce[SEAL_NONCE_BYTES], struct slice aad,
           struct slice sealed, uint8_t *out);

#endif
