/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/bytes.h"

#include <assert.h>
#include <string.h>

struct slice slice_of(const void *at, size_t length)
{
    return (struct slice){ .at = at, .length = length };
}

struct slice slice_text(const char *text)
{
    return text ? slice_of(text, strlen(text)) : slice_of(NULL, 0);
}

bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.at, b.at, a.length) == 0);
}

bool slice_is(struct slice a, const char *text)
{
    return slice_equal(a, slice_text(text));
}

struct reader reader_of(struct slice bytes)
{
    /* An empty slice may be NULL, and adding to NULL is undefined. */
    return (struct reader){ .at = bytes.at, .end = bytes.length ? bytes.at + bytes.length : bytes.at };
}

struct slice reader_take(struct reader *r, uint64_t length)
{
    struct slice taken = { 0 };

    if (r->failed || length > reader_left(r)) {
        r->failed = true;
        return taken;
    }
    taken = slice_of(r->at, (size_t)length);
    if (length)
        r->at += taken.length;
    return taken;
}

/* A big-endian integer of up to 8 bytes; 0 when they are not there. */
static uint64_t reader_fixed(struct reader *r, size_t length)
{
    struct slice bytes = reader_take(r, length);
    uint64_t value = 0;

    for (size_t i = 0; i < bytes.length; i++)
        value = value << 8 | bytes.at[i];
    return value;
}

uint8_t reader_u8(struct reader *r)
{
    return (uint8_t)reader_fixed(r, 1);
}

uint16_t reader_u16(struct reader *r)
{
    return (uint16_t)reader_fixed(r, 2);
}

uint32_t reader_u32(struct reader *r)
{
    return (uint32_t)reader_fixed(r, 4);
}

uint64_t reader_u64(struct reader *r)
{
    return reader_fixed(r, 8);
}

uint64_t reader_varint(struct reader *r)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = reader_u8(r);

        /* The tenth byte holds the one bit that is left of 64. */
        if (r->failed || (shift == 63 && byte > 1) || (shift > 0 && byte == 0))
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    r->failed = true;
    return 0;
}

struct slice reader_rest(struct reader *r)
{
    return reader_take(r, reader_left(r));
}

size_t reader_left(const struct reader *r)
{
    return r->at == r->end ? 0 : (size_t)(r->end - r->at);
}

bool reader_done(const struct reader *r)
{
    return !r->failed && reader_left(r) == 0;
}

struct writer writer_of(void *at, size_t room)
{
    return (struct writer){ .at = at, .room = room };
}

void writer_bytes(struct writer *w, struct slice bytes)
{
    assert(w->length <= w->room);
    if (w->failed || bytes.length > w->room - w->length) {
        w->failed = true;
        return;
    }
    if (bytes.length)
        memcpy(w->at + w->length, bytes.at, bytes.length);
    w->length += bytes.length;
}

/* The low length bytes of value, big-endian. */
static void writer_fixed(struct writer *w, uint64_t value, size_t length)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(value >> 8 * (length - 1 - i));
    writer_bytes(w, slice_of(bytes, length));
}

void writer_u8(struct writer *w, uint8_t value)
{
    writer_fixed(w, value, 1);
}

void writer_u16(struct writer *w, uint16_t value)
{
    writer_fixed(w, value, 2);
}

void writer_u32(struct writer *w, uint32_t value)
{
    writer_fixed(w, value, 4);
}

void writer_u64(struct writer *w, uint64_t value)
{
    writer_fixed(w, value, 8);
}

void writer_varint(struct writer *w, uint64_t value)
{
    uint8_t bytes[VARINT_BYTES_MAX];
    size_t length = 0;

    while (value >= 0x80) {
        bytes[length++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[length++] = (uint8_t)value;
    writer_bytes(w, slice_of(bytes, length));
}

struct slice writer_slice(const struct writer *w)
{
    return slice_of(w->at, w->length);
}

size_t varint_size(uint64_t value)
{
    size_t size = 1;

    for (; value >= 0x80; value >>= 7)
        size++;
    return size;
}

uint64_t zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0);
}

int64_t unzigzag(uint64_t value)
{
    uint64_t half = value >> 1;

    /* Half is at most INT64_MAX, so neither branch can overflow. */
    return value & 1 ? -(int64_t)half - 1 : (int64_t)half;
}
