/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/utf8.h"

uint32_t utf8_take(struct reader *r)
{
    static const uint32_t least[UTF8_BYTES_MAX] = { 0, 0x80, 0x800, 0x10000 };
    uint8_t first = reader_u8(r);
    uint32_t character = first;
    size_t more = 0;

    if (first < 0x80)
        return character;
    if (first >= 0xc2 && first < 0xe0) {
        more = 1;
        character = first & 0x1fu;
    } else if (first >= 0xe0 && first < 0xf0) {
        more = 2;
        character = first & 0x0fu;
    } else if (first >= 0xf0 && first < 0xf5) {
        more = 3;
        character = first & 0x07u;
    } else {
        r->failed = true;
        return 0;
    }
    for (size_t i = 0; i < more; i++) {
        uint8_t byte = reader_u8(r);

        if ((byte & 0xc0u) != 0x80)
            r->failed = true;
        character = character << 6 | (byte & 0x3fu);
    }
    if (character < least[more] || character > 0x10ffff || (character >= 0xd800 && character < 0xe000))
        r->failed = true;
    return r->failed ? 0 : character;
}

size_t utf8_format(uint32_t character, uint8_t out[UTF8_BYTES_MAX])
{
    if (character < 0x80) {
        out[0] = (uint8_t)character;
        return 1;
    }
    if (character < 0x800) {
        out[0] = (uint8_t)(0xc0 | character >> 6);
        out[1] = (uint8_t)(0x80 | (character & 0x3f));
        return 2;
    }
    if (character < 0x10000) {
        out[0] = (uint8_t)(0xe0 | character >> 12);
        out[1] = (uint8_t)(0x80 | (character >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (character & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | character >> 18);
    out[1] = (uint8_t)(0x80 | (character >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (character >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (character & 0x3f));
    return 4;
}

bool utf8_valid(struct slice text)
{
    struct reader r = reader_of(text);

    while (reader_left(&r) && !r.failed) {
        /* Most text is ASCII, and needs no more than a look. */
        if (*r.at < 0x80)
            r.at++;
        else
            utf8_take(&r);
    }
    return !r.failed;
}
