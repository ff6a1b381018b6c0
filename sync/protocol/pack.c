/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/pack.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>
#include <lz4hc.h>

#include "sync/protocol/status.h"

/* dictionary-1.bin, which the build puts into the program as it is. */
extern const unsigned char embed_dictionary_1_bin[];
extern const size_t embed_dictionary_1_bin_size;

#define FORM_RAW 0u
#define HIGH_LEVEL 9 /* Beyond it LZ4 takes several times as long for less than a hundredth. */

/* A stream that has read the dictionary costs more to make than to copy, so each block is packed by a copy.
 * The library makes no promise for that, but its streams hold no pointer into themselves, and the tests would
 * tell. */
struct packer {
    enum pack_level level;
    union {
        LZ4_stream_t fast;
        LZ4_streamHC_t high;
    } fresh, work;
};

static int dictionary_size(void)
{
    assert(embed_dictionary_1_bin_size <= PACK_DICTIONARY_BYTES_MAX);
    return (int)embed_dictionary_1_bin_size;
}

static const char *dictionary(void)
{
    return (const char *)embed_dictionary_1_bin;
}

int packer_open(struct packer **out, enum pack_level level)
{
    struct packer *p = calloc(1, sizeof *p);

    *out = p;
    if (!p)
        return STATUS_NO_MEMORY;
    p->level = level;
    if (level == PACK_HIGH) {
        LZ4_initStreamHC(&p->fresh.high, sizeof p->fresh.high);
        LZ4_resetStreamHC_fast(&p->fresh.high, HIGH_LEVEL);
        LZ4_loadDictHC(&p->fresh.high, dictionary(), dictionary_size());
    } else {
        LZ4_initStream(&p->fresh.fast, sizeof p->fresh.fast);
        LZ4_loadDict(&p->fresh.fast, dictionary(), dictionary_size());
    }
    return STATUS_OK;
}

void packer_close(struct packer *p)
{
    if (!p)
        return;
    /* The working memory holds copies of what was packed, messages of customers among it. */
    explicit_bzero(p, sizeof *p);
    free(p);
}

size_t pack_bound(size_t plain_length)
{
    return 1 + VARINT_BYTES_MAX + plain_length;
}

/* An LZ4 block of at most room bytes; 0 when it would be longer. */
static size_t compress(struct packer *p, struct slice plain, uint8_t *at, size_t room)
{
    const char *from = (const char *)plain.at;
    int length = (int)plain.length;
    int written = 0;

    if (p->level == PACK_HIGH) {
        p->work.high = p->fresh.high;
        written = LZ4_compress_HC_continue(&p->work.high, from, (char *)at, length, (int)room);
    } else {
        p->work.fast = p->fresh.fast;
        written = LZ4_compress_fast_continue(&p->work.fast, from, (char *)at, length, (int)room, 1);
    }
    return written > 0 ? (size_t)written : 0;
}

int pack(struct packer *p, struct slice plain, uint8_t *room, size_t room_length, struct slice *out)
{
    struct writer w = writer_of(room, room_length);
    size_t head = 1 + varint_size(plain.length);
    size_t packed = 0;

    /* Only a block that is shorter than the raw form is of use, so it gets no more room than that. */
    if (plain.length > head && plain.length <= LZ4_MAX_INPUT_SIZE && room_length > head) {
        size_t most = plain.length - head;

        if (most > room_length - head)
            most = room_length - head;
        packed = compress(p, plain, room + head, most);
    }
    if (packed) {
        writer_u8(&w, PACK_DICTIONARY_ID);
        writer_varint(&w, plain.length);
        assert(w.length == head && !w.failed);
        *out = slice_of(room, head + packed);
        return STATUS_OK;
    }
    writer_u8(&w, FORM_RAW);
    writer_bytes(&w, plain);
    *out = writer_slice(&w);
    return w.failed ? STATUS_TOO_LARGE : STATUS_OK;
}

int unpack(struct slice packed, uint8_t *room, size_t room_length, struct slice *out)
{
    struct reader r = reader_of(packed);
    uint8_t form = reader_u8(&r);
    uint64_t plain_length;
    int written;

    if (!r.failed && form == FORM_RAW) {
        *out = reader_rest(&r);
        return STATUS_OK;
    }
    plain_length = reader_varint(&r);
    if (r.failed || form != PACK_DICTIONARY_ID || plain_length == 0 || plain_length > LZ4_MAX_INPUT_SIZE ||
        reader_left(&r) > LZ4_MAX_INPUT_SIZE)
        return STATUS_PEER_MALFORMED;
    if (plain_length > room_length)
        return STATUS_TOO_LARGE;
    written = LZ4_decompress_safe_usingDict((const char *)r.at, (char *)room, (int)reader_left(&r),
                                            (int)plain_length, dictionary(), dictionary_size());
    if (written < 0 || (uint64_t)written != plain_length)
        return STATUS_PEER_MALFORMED;
    *out = slice_of(room, (size_t)written);
    return STATUS_OK;
}
