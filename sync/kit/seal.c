/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/seal.h"

#include <psa/crypto.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sync/protocol/status.h"

#define HMAC_BLOCK_BYTES 64u /* SHA-256's block: a longer HMAC key stands for its hash (RFC 2104). */

struct seal_key {
    psa_key_id_t id; /* 0: none yet. */
};

static int seal_status(psa_status_t code)
{
    switch (code) {
    case PSA_SUCCESS: return STATUS_OK;
    case PSA_ERROR_INVALID_SIGNATURE: return STATUS_CORRUPT;
    case PSA_ERROR_INSUFFICIENT_MEMORY: return STATUS_NO_MEMORY;
    case PSA_ERROR_INVALID_ARGUMENT: return STATUS_INVALID;
    default: return STATUS_UNAVAILABLE;
    }
}

/* The library may refuse a NULL pointer even where the length is 0. */
static const uint8_t *seal_pointer(struct slice bytes)
{
    static const uint8_t nothing;

    return bytes.length > 0 ? bytes.at : &nothing;
}

int seal_start(void)
{
    return psa_crypto_init() == PSA_SUCCESS ? STATUS_OK : STATUS_UNAVAILABLE;
}

int seal_random(void *out, size_t length)
{
    return length == 0 ? STATUS_OK : seal_status(psa_generate_random(out, length));
}

bool seal_equal(const void *a, const void *b, size_t length)
{
    const volatile uint8_t *left = a;
    const volatile uint8_t *right = b;
    uint8_t difference = 0;

    for (size_t i = 0; i < length; i++)
        difference = (uint8_t)(difference | (left[i] ^ right[i]));
    return difference == 0;
}

int seal_sha256(struct slice bytes, uint8_t out[SEAL_HASH_BYTES])
{
    size_t length = 0;

    return seal_status(
        psa_hash_compute(PSA_ALG_SHA_256, seal_pointer(bytes), bytes.length, out, SEAL_HASH_BYTES, &length));
}

int seal_sha256_parts(const struct slice *parts, size_t count, uint8_t out[SEAL_HASH_BYTES])
{
    psa_hash_operation_t operation = psa_hash_operation_init();
    psa_status_t code = psa_hash_setup(&operation, PSA_ALG_SHA_256);
    size_t length = 0;

    for (size_t i = 0; i < count && code == PSA_SUCCESS; i++) {
        uint8_t prefix[4];
        struct writer w = writer_of(prefix, sizeof prefix);

        assert(parts[i].length <= UINT32_MAX);
        writer_u32(&w, (uint32_t)parts[i].length);
        code = psa_hash_update(&operation, prefix, sizeof prefix);
        if (code == PSA_SUCCESS)
            code = psa_hash_update(&operation, seal_pointer(parts[i]), parts[i].length);
    }
    if (code == PSA_SUCCESS)
        code = psa_hash_finish(&operation, out, SEAL_HASH_BYTES, &length);
    psa_hash_abort(&operation);
    return seal_status(code);
}

int seal_hmac_sha256(struct slice key, struct slice bytes, uint8_t out[SEAL_HASH_BYTES])
{
    psa_key_attributes_t attributes = psa_key_attributes_init();
    uint8_t block[HMAC_BLOCK_BYTES] = { 0 };
    psa_key_id_t id = 0;
    psa_status_t code;
    size_t length = 0;
    int status = STATUS_OK;

    /* The standard pads a key with zeros to one block. Doing it here admits every length: the library itself
     * takes neither an empty key nor a very long one. */
    if (key.length > sizeof block)
        status = seal_sha256(key, block);
    else
        memcpy(block, seal_pointer(key), key.length);
    if (status == STATUS_OK) {
        psa_set_key_type(&attributes, PSA_KEY_TYPE_HMAC);
        psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_HASH | PSA_KEY_USAGE_SIGN_MESSAGE);
        psa_set_key_algorithm(&attributes, PSA_ALG_HMAC(PSA_ALG_SHA_256));
        code = psa_import_key(&attributes, block, sizeof block, &id);
        if (code == PSA_SUCCESS)
            code = psa_mac_compute(id, PSA_ALG_HMAC(PSA_ALG_SHA_256), seal_pointer(bytes), bytes.length, out,
                                   SEAL_HASH_BYTES, &length);
        psa_destroy_key(id);
        status = seal_status(code);
    }
    explicit_bzero(block, sizeof block);
    return status;
}

int seal_key_import(struct seal_key **out, const uint8_t bytes[SEAL_KEY_BYTES])
{
    psa_key_attributes_t attributes = psa_key_attributes_init();
    struct seal_key *key = calloc(1, sizeof *key);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!key)
        goto fail;
    psa_set_key_type(&attributes, PSA_KEY_TYPE_AES);
    psa_set_key_bits(&attributes, 8 * SEAL_KEY_BYTES);
    psa_set_key_algorithm(&attributes, PSA_ALG_GCM);
    psa_set_key_usage_flags(&attributes,
                            PSA_KEY_USAGE_ENCRYPT | PSA_KEY_USAGE_DECRYPT | PSA_KEY_USAGE_EXPORT);
    status = seal_status(psa_import_key(&attributes, bytes, SEAL_KEY_BYTES, &key->id));
    if (status != STATUS_OK)
        goto fail;
    *out = key;
    return STATUS_OK;
fail:
    seal_key_close(key);
    return status;
}

int seal_key_make(struct seal_key **out)
{
    uint8_t bytes[SEAL_KEY_BYTES];
    int status = seal_random(bytes, sizeof bytes);

    *out = NULL;
    if (status == STATUS_OK)
        status = seal_key_import(out, bytes);
    explicit_bzero(bytes, sizeof bytes);
    return status;
}

int seal_key_export(const struct seal_key *key, uint8_t out[SEAL_KEY_BYTES])
{
    size_t length = 0;

    return seal_status(psa_export_key(key->id, out, SEAL_KEY_BYTES, &length));
}

void seal_key_close(struct seal_key *key)
{
    if (!key)
        return;
    psa_destroy_key(key->id);
    free(key);
}

int seal(const struct seal_key *key, const uint8_t nonce[SEAL_NONCE_BYTES], struct slice aad,
         struct slice plain, uint8_t *out)
{
    size_t length = 0;

    return seal_status(psa_aead_encrypt(key->id, PSA_ALG_GCM, nonce, SEAL_NONCE_BYTES, seal_pointer(aad),
                                        aad.length, seal_pointer(plain), plain.length, out,
                                        plain.length + SEAL_TAG_BYTES, &length));
}

int unseal(const struct seal_key *key, const uint8_t nonce[SEAL_NONCE_BYTES], struct slice aad,
           struct slice sealed, uint8_t *out)
{
    uint8_t nothing;
    size_t length = 0;

    if (sealed.length < SEAL_TAG_BYTES)
        return STATUS_CORRUPT;
    return seal_status(psa_aead_decrypt(key->id, PSA_ALG_GCM, nonce, SEAL_NONCE_BYTES, seal_pointer(aad),
                                        aad.length, sealed.at, sealed.length,
                                        sealed.length > SEAL_TAG_BYTES ? out : &nothing,
                                        sealed.length - SEAL_TAG_BYTES, &length));
}
