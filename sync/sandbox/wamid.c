/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sandbox/wamid.h"

#include <stdio.h>

#include "sync/kit/seal.h"
#include "sync/kit/text.h"
#include "sync/protocol/status.h"

#define NUMBER_BYTES_MAX 20u
#define PART_BYTES 9u /* 18 hex digits; what comes in has 16 bytes, 32 digits. */
#define PART_INBOUND_BYTES 16u

static void write_base64(struct slice bytes, char *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < bytes.length; i += 3) {
        size_t left = bytes.length - i;
        uint32_t three = (uint32_t)bytes.at[i] << 16;

        if (left > 1)
            three |= (uint32_t)bytes.at[i + 1] << 8;
        if (left > 2)
            three |= bytes.at[i + 2];
        *out++ = alphabet[three >> 18];
        *out++ = alphabet[three >> 12 & 63];
        *out++ = left > 1 ? alphabet[three >> 6 & 63] : '=';
        *out++ = left > 2 ? alphabet[three & 63] : '=';
    }
    *out = '\0';
}

int wamid_make(char out[WAMID_TEXT_MAX], struct slice number, enum wamid_direction direction)
{
    size_t part_length = direction == WAMID_TO_CUSTOMER ? PART_BYTES : PART_INBOUND_BYTES;
    uint8_t room[80], part[PART_INBOUND_BYTES];
    char hex[2 * PART_INBOUND_BYTES + 1];
    struct writer w = writer_of(room, sizeof room);
    int status = seal_random(part, part_length);

    if (status != STATUS_OK)
        return status;
    text_hex(slice_of(part, part_length), hex);
    for (char *c = hex; *c; c++)
        if (*c >= 'a')
            *c = (char)(*c - 'a' + 'A');
    if (number.length > NUMBER_BYTES_MAX)
        number.length = NUMBER_BYTES_MAX;
    writer_bytes(&w, slice_of("\x1c\x18", 2));
    writer_u8(&w, (uint8_t)number.length);
    writer_bytes(&w, number);
    writer_bytes(&w, direction == WAMID_TO_CUSTOMER ? slice_of("\x15\x02\x00\x11\x18", 5)
                                                    : slice_of("\x15\x02\x00\x12\x18", 5));
    writer_u8(&w, (uint8_t)(2 * part_length));
    writer_bytes(&w, slice_text(hex));
    writer_u8(&w, 0);
    (void)snprintf(out, WAMID_TEXT_MAX, "wamid.");
    write_base64(writer_slice(&w), out + 6);
    return STATUS_OK;
}
