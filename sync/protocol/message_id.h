/* SPDX-License-Identifier: Apache-2.0 */
/* What a message is called for ever: branch, epoch, lane, number; and the id that programs see, made from it.
 */
#ifndef ZAJEL_PROTOCOL_MESSAGE_ID_H
#define ZAJEL_PROTOCOL_MESSAGE_ID_H

#include "sync/protocol/bytes.h"
#include "sync/protocol/lane.h"

#define EPOCH_BYTES 8u

/* An epoch's name: 8 random bytes, read as one big-endian number. 0 is no epoch. */
typedef uint64_t epoch_id;

struct message_id {
    uint32_t branch; /* The number `branch add` gave. */
    epoch_id epoch;  /* Of the relay for what goes up, of the ledger for what comes down. */
    enum lane lane;
    uint64_t seq; /* 1, 2, 3 ... within branch, epoch and lane. */
};

/* "wamid." + base64url without padding of: version 1 (1 B), branch (4 B), epoch (8 B), lane (1 B), seq
 * (varint). */
#define MESSAGE_ID_BINARY_MAX (1u + 4u + EPOCH_BYTES + 1u + VARINT_BYTES_MAX)
#define MESSAGE_ID_TEXT_MAX (6u + (MESSAGE_ID_BINARY_MAX * 4u + 2u) / 3u)

/* Writes the id's text and a NUL; returns its length without the NUL. */
size_t message_id_format(const struct message_id *id, char out[MESSAGE_ID_TEXT_MAX + 1]);

/* Reads an id that we made. STATUS_INVALID for anything else, Meta's own wamids and non-canonical forms
 * included. */
int message_id_parse(struct slice text, struct message_id *out);

/* The binary form alone (version to seq), for stores and the link; returns its length. */
size_t message_id_pack(const struct message_id *id, uint8_t out[MESSAGE_ID_BINARY_MAX]);
int message_id_unpack(struct slice bytes, struct message_id *out); /* STATUS_INVALID as above. */

bool message_id_equal(const struct message_id *a, const struct message_id *b);

#endif
