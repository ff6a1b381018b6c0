/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/wire.h"

#include <assert.h>
#include <string.h>

#include "sync/protocol/status.h"

#define HEAD(kind, bits) ((uint8_t)((unsigned)(kind) << 4 | (unsigned)(bits)))

/* A hello of SESSION_EPOCHS_MAX epochs and marks stays under this. */
#define HELLO_BYTES_MAX 32768u

static void put_marks(struct writer *w, const struct session_marks *marks)
{
    uint8_t lanes = 0;
    int lane;

    for (lane = 0; lane < LANE_COUNT; lane++)
        if (marks->mark[lane])
            lanes = (uint8_t)(lanes | 1u << lane);
    writer_u8(w, lanes);
    for (lane = 0; lane < LANE_COUNT; lane++)
        if (marks->mark[lane])
            writer_varint(w, marks->mark[lane]);
}

static int take_marks(struct reader *r, struct session_marks *marks)
{
    uint8_t lanes = reader_u8(r);
    int lane;

    if (lanes >> LANE_COUNT)
        return STATUS_PEER_MALFORMED;
    for (lane = 0; lane < LANE_COUNT; lane++) {
        marks->mark[lane] = lanes >> lane & 1 ? reader_varint(r) : 0;
        if ((lanes >> lane & 1) && marks->mark[lane] == 0)
            return STATUS_PEER_MALFORMED;
    }
    return STATUS_OK;
}

static size_t hello_size(const struct session_hello *hello, bool taken_named)
{
    size_t size = 2 + 2 + varint_size(hello->room_bytes) + 8 + varint_size(hello->boot_counter) +
                  varint_size(hello->clock_ms) + varint_size(hello->epoch_count) +
                  EPOCH_BYTES * hello->epoch_count + varint_size(hello->taken_count);
    size_t i;
    int lane;

    for (i = 0; i < hello->taken_count; i++) {
        size += 1 + (taken_named ? EPOCH_BYTES : 0);
        for (lane = 0; lane < LANE_COUNT; lane++)
            if (hello->taken[i].mark[lane])
                size += varint_size(hello->taken[i].mark[lane]);
    }
    return size;
}

void wire_put_hello(struct writer *w, const struct session_hello *hello, bool taken_named)
{
    size_t i;

    writer_u8(w, HEAD(WIRE_HELLO, 0));
    writer_varint(w, hello_size(hello, taken_named));
    writer_u8(w, SESSION_VERSION);
    writer_u8(w, SESSION_VERSION);
    writer_u8(w, 1); /* One dictionary is known: */
    writer_u8(w, PACK_DICTIONARY_ID);
    writer_varint(w, hello->room_bytes);
    writer_u64(w, hello->store_id);
    writer_varint(w, hello->boot_counter);
    writer_varint(w, hello->clock_ms);
    writer_varint(w, hello->epoch_count);
    for (i = 0; i < hello->epoch_count; i++)
        writer_u64(w, hello->epochs[i].epoch);
    writer_varint(w, hello->taken_count);
    for (i = 0; i < hello->taken_count; i++) {
        if (taken_named)
            writer_u64(w, hello->taken[i].epoch);
        put_marks(w, &hello->taken[i]);
    }
}

static bool take_dictionaries(struct reader *r)
{
    uint8_t count = reader_u8(r);
    bool ours = false;

    while (count--)
        ours |= reader_u8(r) == PACK_DICTIONARY_ID;
    return ours;
}

static int take_hello_body(struct reader *r, bool taken_named, struct wire_hello *out,
                           struct session_marks *epochs, struct session_marks *taken)
{
    size_t i;

    out->version_least = reader_u8(r);
    out->version_most = reader_u8(r);
    /* Only these two bytes are the same in every version there will ever be. */
    if (r->failed || out->version_least > out->version_most)
        return STATUS_PEER_MALFORMED;
    if (out->version_least > SESSION_VERSION || out->version_most < SESSION_VERSION)
        return STATUS_PEER_VERSION;
    out->dictionary = take_dictionaries(r);
    out->room_bytes = reader_varint(r);
    out->store_id = reader_u64(r);
    out->boot_counter = reader_varint(r);
    out->clock_ms = reader_varint(r);
    out->epoch_count = (size_t)reader_varint(r);
    if (out->epoch_count > SESSION_EPOCHS_MAX)
        return STATUS_PEER_LIMIT;
    for (i = 0; i < out->epoch_count; i++) {
        epochs[i] = (struct session_marks){ .epoch = reader_u64(r) };
        if (epochs[i].epoch == 0)
            return STATUS_PEER_MALFORMED;
    }
    out->taken_count = (size_t)reader_varint(r);
    if (out->taken_count > SESSION_EPOCHS_MAX)
        return STATUS_PEER_LIMIT;
    for (i = 0; i < out->taken_count; i++) {
        taken[i].epoch = taken_named ? reader_u64(r) : 0;
        if (take_marks(r, &taken[i]) != STATUS_OK)
            return STATUS_PEER_MALFORMED;
    }
    return reader_done(r) ? STATUS_OK : STATUS_PEER_MALFORMED;
}

int wire_take_hello(struct reader *r, bool taken_named, struct wire_hello *out, struct session_marks *epochs,
                    struct session_marks *taken)
{
    uint64_t length = reader_varint(r);
    struct reader body;

    if (r->failed || length > HELLO_BYTES_MAX)
        return STATUS_PEER_MALFORMED;
    body = reader_of(reader_take(r, (size_t)length));
    if (r->failed)
        return STATUS_PEER_MALFORMED;
    return take_hello_body(&body, taken_named, out, epochs, taken);
}

static size_t rows_head_size(const struct wire_rows *rows)
{
    return varint_size(rows->epoch_index) + varint_size(rows->prev) + varint_size(rows->first - rows->prev);
}

static void put_rows_head(struct writer *w, const struct wire_rows *rows)
{
    writer_varint(w, rows->epoch_index);
    writer_varint(w, rows->prev);
    writer_varint(w, rows->first - rows->prev);
}

size_t wire_batch_bound(size_t packed_length)
{
    return 1 + 6 * VARINT_BYTES_MAX + packed_length;
}

void wire_put_batch(struct writer *w, const struct wire_rows *rows)
{
    assert(rows->first > rows->prev);
    writer_u8(w, HEAD(WIRE_BATCH, rows->lane));
    writer_varint(w, rows_head_size(rows) + rows->packed.length);
    put_rows_head(w, rows);
    writer_bytes(w, rows->packed);
}

void wire_put_part(struct writer *w, const struct wire_rows *rows)
{
    assert(rows->first > rows->prev);
    writer_u8(w, HEAD(WIRE_PART, rows->lane));
    writer_varint(w, rows_head_size(rows) + varint_size(rows->total) + varint_size(rows->offset) +
                         rows->packed.length);
    put_rows_head(w, rows);
    writer_varint(w, rows->total);
    writer_varint(w, rows->offset);
    writer_bytes(w, rows->packed);
}

/* The rows of one record, as a reader that ends with it; fills the head. */
static int take_rows_head(struct reader *r, uint8_t lane_bits, struct wire_rows *out, struct reader *body)
{
    uint64_t length = reader_varint(r);
    uint64_t ahead;

    if (r->failed || length > reader_left(r) || lane_bits >= LANE_COUNT)
        return STATUS_PEER_MALFORMED;
    *out = (struct wire_rows){ .lane = (enum lane)lane_bits };
    *body = reader_of(reader_take(r, (size_t)length));
    out->epoch_index = reader_varint(body);
    out->prev = reader_varint(body);
    ahead = reader_varint(body);
    if (body->failed || ahead == 0 || ahead > UINT64_MAX - out->prev)
        return STATUS_PEER_MALFORMED;
    out->first = out->prev + ahead;
    return STATUS_OK;
}

int wire_take_batch(struct reader *r, uint8_t lane_bits, struct wire_rows *out)
{
    struct reader body;

    if (take_rows_head(r, lane_bits, out, &body) != STATUS_OK)
        return STATUS_PEER_MALFORMED;
    out->packed = reader_rest(&body);
    return STATUS_OK;
}

int wire_take_part(struct reader *r, uint8_t lane_bits, struct wire_rows *out)
{
    struct reader body;

    if (take_rows_head(r, lane_bits, out, &body) != STATUS_OK)
        return STATUS_PEER_MALFORMED;
    out->total = reader_varint(&body);
    out->offset = reader_varint(&body);
    out->packed = reader_rest(&body);
    return body.failed || out->offset >= out->total ? STATUS_PEER_MALFORMED : STATUS_OK;
}

void wire_put_row(struct writer *w, uint64_t skipped, struct slice row)
{
    writer_varint(w, (uint64_t)row.length << 1 | (skipped != 0));
    if (skipped)
        writer_varint(w, skipped);
    writer_bytes(w, row);
}

int wire_take_row(struct reader *r, uint64_t *skipped, struct slice *row)
{
    uint64_t head = reader_varint(r);

    *skipped = head & 1 ? reader_varint(r) : 0;
    if (r->failed || ((head & 1) && *skipped == 0) || head >> 1 > reader_left(r))
        return STATUS_PEER_MALFORMED;
    *row = reader_take(r, (size_t)(head >> 1));
    return STATUS_OK;
}

void wire_put_ack(struct writer *w, uint8_t flags, uint64_t frames, uint64_t credit, uint64_t mark_count)
{
    writer_u8(w, HEAD(WIRE_ACK, flags));
    writer_varint(w, frames);
    if (flags & WIRE_ACK_CREDIT)
        writer_varint(w, credit);
    if (flags & WIRE_ACK_MARKS)
        writer_varint(w, mark_count);
}

void wire_put_mark(struct writer *w, const struct wire_mark *mark)
{
    writer_varint(w, mark->epoch_index << 4 | (uint64_t)mark->rewind << 3 | (uint64_t)mark->lane);
    writer_varint(w, mark->mark);
}

int wire_take_mark(struct reader *r, struct wire_mark *out)
{
    uint64_t head = reader_varint(r);

    out->epoch_index = head >> 4;
    out->rewind = head >> 3 & 1;
    out->mark = reader_varint(r);
    if (r->failed || (head & 7) >= LANE_COUNT)
        return STATUS_PEER_MALFORMED;
    out->lane = (enum lane)(head & 7);
    return STATUS_OK;
}

void wire_put_report(struct writer *w, const struct session_report *report)
{
    writer_u8(w, HEAD(WIRE_REPORT, 0));
    writer_varint(w, report->messages);
    writer_varint(w, report->bytes);
    writer_varint(w, report->oldest_age_s);
}

void wire_take_report(struct reader *r, struct session_report *out)
{
    out->messages = reader_varint(r);
    out->bytes = reader_varint(r);
    out->oldest_age_s = reader_varint(r);
}
