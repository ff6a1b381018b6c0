/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of frames and records (PROTOCOL.md sections 3 and 4). The frame header and the hello are frozen:
 * tests/unit/test_wire.c holds their golden bytes. */
#ifndef ZAJEL_PROTOCOL_WIRE_H
#define ZAJEL_PROTOCOL_WIRE_H

#include "sync/protocol/bytes.h"
#include "sync/protocol/session.h"

/* The first byte of every frame: high nibble the frame format, low nibble what the frame is. */
#define WIRE_FRAME_FORMAT 0x10u
#define WIRE_FRAME_LAST 0x01u /* The sender has nothing more to send now: ack at once. */
#define WIRE_FRAME_DATA 0x02u /* It carries rows and counts for receipts. */

/* The first byte of a record: the kind above, four bits of its own below. Numbers not listed are
 * PROTOCOL.md's reserve. */
enum wire_record {
    WIRE_HELLO = 1,
    WIRE_BATCH = 2,
    WIRE_PART = 3,
    WIRE_ACK = 4,
    WIRE_PING = 5,
    WIRE_PONG = 6,
    WIRE_REPORT = 7
};

/* A hello as it stands on the wire; versions and dictionary beside what the owner says. */
struct wire_hello {
    uint8_t version_least, version_most;
    bool dictionary; /* The peer holds PACK_DICTIONARY_ID. */
    uint64_t store_id, boot_counter, clock_ms, room_bytes;
    size_t epoch_count, taken_count;
};

/* taken_named: each taken entry carries its epoch (a relay's), else it stands in the order of the peer's
 * epochs. */
void wire_put_hello(struct writer *w, const struct session_hello *hello, bool taken_named);
/* epochs and taken have room for SESSION_EPOCHS_MAX entries; marks not told are 0. STATUS_PEER_MALFORMED,
 * STATUS_PEER_LIMIT */
int wire_take_hello(struct reader *r, bool taken_named, struct wire_hello *out, struct session_marks *epochs,
                    struct session_marks *taken);

/* A batch or part: rows of one epoch and lane. */
struct wire_rows {
    enum lane lane;
    uint64_t epoch_index; /* In the sender's hello. */
    uint64_t prev;        /* The sender's last number before the first here; 0: none. */
    uint64_t first;
    uint64_t total, offset; /* Parts only: the row's length, and where this piece begins. */
    struct slice packed;    /* pack() of the rows, or of the piece. */
};

size_t wire_batch_bound(size_t packed_length);
void wire_put_batch(struct writer *w, const struct wire_rows *rows);
void wire_put_part(struct writer *w, const struct wire_rows *rows);
/* lane_bits: the low nibble of the record's first byte. STATUS_PEER_MALFORMED */
int wire_take_batch(struct reader *r, uint8_t lane_bits, struct wire_rows *out);
int wire_take_part(struct reader *r, uint8_t lane_bits, struct wire_rows *out);

/* A row inside a batch: length, and how many numbers it skips after the row before. */
#define WIRE_ROW_HEAD_MAX (2u * VARINT_BYTES_MAX)
void wire_put_row(struct writer *w, uint64_t skipped, struct slice row);
int wire_take_row(struct reader *r, uint64_t *skipped, struct slice *row);

/* An ack: a receipt (how many data frames came in all), then credit and marks when they are told. */
#define WIRE_ACK_CREDIT 0x1u
#define WIRE_ACK_MARKS 0x2u
struct wire_mark {
    uint64_t epoch_index;
    enum lane lane;
    bool rewind; /* A batch began past this mark and was not taken: send again from here. */
    uint64_t mark;
};
void wire_put_ack(struct writer *w, uint8_t flags, uint64_t frames, uint64_t credit, uint64_t mark_count);
void wire_put_mark(struct writer *w, const struct wire_mark *mark);
int wire_take_mark(struct reader *r, struct wire_mark *out);

void wire_put_report(struct writer *w, const struct session_report *report);
void wire_take_report(struct reader *r, struct session_report *out);

#endif
