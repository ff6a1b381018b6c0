/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/webhook_signature.h"

#include <string.h>

#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

/* The length of the sequence that begins with this byte; 0: none begins so. */
static size_t sequence_length(uint8_t first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first < 0xe0)
        return 2;
    if (first >= 0xe0 && first < 0xf0)
        return 3;
    return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

static int escape_one(struct slice sequence, struct text *out)
{
    static const uint8_t first_bits[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    uint32_t point = sequence.at[0] & first_bits[sequence.length];

    for (size_t i = 1; i < sequence.length; i++) {
        if ((sequence.at[i] & 0xc0) != 0x80)
            return STATUS_INVALID;
        point = point << 6 | (sequence.at[i] & 0x3f);
    }
    if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
        return STATUS_INVALID;
    if (point > 0xffff)
        text_printf(out, "\\u%04x\\u%04x", 0xd800 + ((point - 0x10000) >> 10),
                    0xdc00 + ((point - 0x10000) & 0x3ff));
    else
        text_printf(out, "\\u%04x", point);
    return STATUS_OK;
}

int webhook_signature_escape(struct slice body, struct text *out)
{
    size_t plain = 0, i = 0;

    while (i < body.length) {
        size_t length = sequence_length(body.at[i]);

        if (length == 0 || length > body.length - i)
            return STATUS_INVALID;
        if (length > 1) {
            text_add(out, slice_of(body.at + plain, i - plain));
            if (escape_one(slice_of(body.at + i, length), out) != STATUS_OK)
                return STATUS_INVALID;
            plain = i + length;
        }
        i += length;
    }
    text_add(out, slice_of(body.at + plain, i - plain));
    return out->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

static bool matches(const uint8_t claimed[SEAL_HASH_BYTES], struct slice secret, struct slice body)
{
    uint8_t mac[SEAL_HASH_BYTES];

    return seal_hmac_sha256(secret, body, mac) == STATUS_OK && seal_equal(mac, claimed, sizeof mac);
}

static bool is_ascii(struct slice body)
{
    for (size_t i = 0; i < body.length; i++)
        if (body.at[i] >= 0x80)
            return false;
    return true;
}

int webhook_signature_check(const char *header, struct slice secret, struct slice body)
{
    static const char prefix[] = "sha256=";
    uint8_t claimed[SEAL_HASH_BYTES];
    struct text escaped = { 0 };
    int status;

    if (!header || strncmp(header, prefix, sizeof prefix - 1) != 0 ||
        text_unhex(slice_text(header + sizeof prefix - 1), claimed, sizeof claimed) != STATUS_OK)
        return STATUS_DENIED;
    if (matches(claimed, secret, body))
        return STATUS_OK;
    if (is_ascii(body))
        return STATUS_DENIED;
    status = webhook_signature_escape(body, &escaped);
    if (status == STATUS_OK && !matches(claimed, secret, text_slice(&escaped)))
        status = STATUS_DENIED;
    text_free(&escaped);
    return status == STATUS_INVALID ? STATUS_DENIED : status;
}
