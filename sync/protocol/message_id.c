/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/message_id.h"

#include <assert.h>
#include <string.h>

#include "sync/protocol/status.h"

#define MESSAGE_ID_VERSION 1u

static const char prefix[] = "wamid.";
#define PREFIX_LENGTH (sizeof prefix - 1)

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t message_id_pack(const struct message_id *id, uint8_t out[MESSAGE_ID_BINARY_MAX])
{
    struct writer w = writer_of(out, MESSAGE_ID_BINARY_MAX);

    assert(id->lane < LANE_COUNT);
    writer_u8(&w, MESSAGE_ID_VERSION);
    writer_u32(&w, id->branch);
    writer_u64(&w, id->epoch);
    writer_u8(&w, (uint8_t)id->lane);
    writer_varint(&w, id->seq);
    assert(!w.failed);
    return w.length;
}

int message_id_unpack(struct slice bytes, struct message_id *out)
{
    struct reader r = reader_of(bytes);
    uint8_t version = reader_u8(&r);
    struct message_id id = { .branch = reader_u32(&r), .epoch = reader_u64(&r) };
    uint8_t lane = reader_u8(&r);

    id.seq = reader_varint(&r);
    if (!reader_done(&r) || version != MESSAGE_ID_VERSION || lane >= LANE_COUNT)
        return STATUS_INVALID;
    id.lane = (enum lane)lane;
    *out = id;
    return STATUS_OK;
}

size_t message_id_format(const struct message_id *id, char out[MESSAGE_ID_TEXT_MAX + 1])
{
    uint8_t binary[MESSAGE_ID_BINARY_MAX];
    size_t length = message_id_pack(id, binary);
    size_t at = PREFIX_LENGTH;
    uint32_t bits = 0;
    unsigned held = 0;

    memcpy(out, prefix, PREFIX_LENGTH);
    for (size_t i = 0; i < length; i++) {
        bits = bits << 8 | binary[i];
        for (held += 8; held >= 6; held -= 6)
            out[at++] = alphabet[bits >> (held - 6) & 0x3f];
    }
    if (held)
        out[at++] = alphabet[bits << (6 - held) & 0x3f];
    assert(at <= MESSAGE_ID_TEXT_MAX);
    out[at] = '\0';
    return at;
}

/* The bytes that a base64url text stands for. False for other characters, an impossible length, spare bits
 * that are not zero, or more than room. */
static bool decode(struct slice text, uint8_t *out, size_t room, size_t *length)
{
    uint32_t bits = 0;
    unsigned held = 0;

    *length = 0;
    if (text.length % 4 == 1)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        const char *found = memchr(alphabet, text.at[i], sizeof alphabet - 1);

        if (!found)
            return false;
        bits = bits << 6 | (uint32_t)(found - alphabet);
        held += 6;
        if (held < 8)
            continue;
        if (*length == room)
            return false;
        held -= 8;
        out[(*length)++] = (uint8_t)(bits >> held);
    }
    return (bits & ((1u << held) - 1)) == 0;
}

int message_id_parse(struct slice text, struct message_id *out)
{
    uint8_t binary[MESSAGE_ID_BINARY_MAX];
    size_t length;

    if (text.length < PREFIX_LENGTH || memcmp(text.at, prefix, PREFIX_LENGTH) != 0)
        return STATUS_INVALID;
    text = slice_of(text.at + PREFIX_LENGTH, text.length - PREFIX_LENGTH);
    if (!decode(text, binary, sizeof binary, &length))
        return STATUS_INVALID;
    return message_id_unpack(slice_of(binary, length), out);
}

bool message_id_equal(const struct message_id *a, const struct message_id *b)
{
    return a->branch == b->branch && a->epoch == b->epoch && a->lane == b->lane && a->seq == b->seq;
}
