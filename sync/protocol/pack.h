/* SPDX-License-Identifier: Apache-2.0 */
/* Packing: LZ4 raw blocks begun from a trained dictionary. What does not shrink is kept as it is.
 * Form: 1 byte (0 raw, else the dictionary's id), then for an LZ4 block its plain length as a varint, then
 * the bytes. */
#ifndef ZAJEL_PROTOCOL_PACK_H
#define ZAJEL_PROTOCOL_PACK_H

#include "sync/protocol/bytes.h"

/* The dictionary built in. Its id and its bytes are frozen together: a new training is a new id and file. */
#define PACK_DICTIONARY_ID 1u
#define PACK_DICTIONARY_BYTES_MAX 16384u

struct packer; /* Holds the prepared dictionary and LZ4's working memory (some 300 KB at the HC level). One
                  per thread. */

enum pack_level {
    PACK_FAST,
    PACK_HIGH
}; /* LZ4 fast for a busy gateway; HC level 9 where bytes cost money. */

int packer_open(struct packer **out, enum pack_level level);
void packer_close(struct packer *p); /* NULL is fine. */

/* Room enough for any plain text of that length. */
size_t pack_bound(size_t plain_length);

/* Packs plain into room. STATUS_TOO_LARGE when it does not fit (never with pack_bound). */
int pack(struct packer *p, struct slice plain, uint8_t *room, size_t room_length, struct slice *out);

/* Unpacks into room. STATUS_TOO_LARGE: it says it is longer than the room. STATUS_PEER_MALFORMED: no such
 * block; an unknown dictionary id too. A raw block is borrowed from packed, not copied. */
int unpack(struct slice packed, uint8_t *room, size_t room_length, struct slice *out);

#endif
