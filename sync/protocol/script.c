/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/script.h"

#include "sync/protocol/utf8.h"

/* SUB: no text holds it; one that does is left as it is. */
#define ESCAPE 0x1au
#define WIDE_END 0x8000u
/* What the forms cost more than a plain text's own tag: tag and block, or tag. */
#define HEAD_BYTES 2u

static uint32_t block_of(uint32_t character)
{
    return character >> 7;
}

/* How many bytes a character takes. */
static size_t cost(uint8_t block, uint32_t character)
{
    uint8_t utf8[UTF8_BYTES_MAX];

    if (character < 0x80)
        return 1;
    if (block && block_of(character) == block)
        return 1;
    if (!block && character < WIDE_END)
        return 2;
    return 1 + utf8_format(character, utf8);
}

/* The block that most of the characters beyond ASCII lie in, if most lie in one (Boyer and Moore's vote);
 * else any. */
static uint8_t likely_block(struct slice text)
{
    struct reader r = reader_of(text);
    uint32_t block = 0;
    size_t votes = 0;

    while (reader_left(&r) && !r.failed) {
        uint32_t character = utf8_take(&r);

        if (character < 0x80 || block_of(character) > UINT8_MAX)
            continue;
        if (votes == 0)
            block = block_of(character);
        votes = block_of(character) == block ? votes + 1 : votes - 1;
    }
    return (uint8_t)block;
}

bool script_choose(struct slice text, struct script *out)
{
    struct script one = { .block = likely_block(text) };
    struct script wide = { 0 };
    struct reader r = reader_of(text);

    while (reader_left(&r) && !r.failed) {
        uint32_t character = utf8_take(&r);

        if (character == ESCAPE)
            return false;
        one.length += cost(one.block, character);
        wide.length += cost(0, character);
    }
    *out = one.block && one.length <= wide.length ? one : wide;
    return !r.failed && out->length + HEAD_BYTES < text.length;
}

void script_write(struct writer *w, const struct script *script, struct slice text)
{
    struct reader r = reader_of(text);

    while (reader_left(&r) && !r.failed) {
        uint32_t character = utf8_take(&r);
        uint8_t utf8[UTF8_BYTES_MAX];

        if (character < 0x80) {
            writer_u8(w, (uint8_t)character);
        } else if (script->block && block_of(character) == script->block) {
            writer_u8(w, (uint8_t)(0x80 | (character & 0x7f)));
        } else if (!script->block && character < WIDE_END) {
            writer_u16(w, (uint16_t)(0x8000 | character));
        } else {
            writer_u8(w, ESCAPE);
            writer_bytes(w, slice_of(utf8, utf8_format(character, utf8)));
        }
    }
}

static uint32_t take(struct reader *r, uint8_t block)
{
    uint8_t byte = reader_u8(r);
    uint32_t character;

    if (byte == ESCAPE)
        return utf8_take(r);
    if (byte < 0x80)
        return byte;
    if (block)
        return (uint32_t)block << 7 | (byte & 0x7fu);
    character = (byte & 0x7fu) << 8;
    character |= reader_u8(r);
    if (character < 0x80)
        r->failed = true;
    return character;
}

bool script_read(struct slice bytes, uint8_t block, struct writer *w)
{
    struct reader r = reader_of(bytes);

    while (reader_left(&r) && !r.failed) {
        uint32_t character = take(&r, block);
        uint8_t utf8[UTF8_BYTES_MAX];

        writer_bytes(w, slice_of(utf8, utf8_format(character, utf8)));
        if (w->failed)
            return false;
    }
    return !r.failed;
}
