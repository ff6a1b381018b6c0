/* SPDX-License-Identifier: Apache-2.0 */
/* Hearing: what the peer's frames say, record by record, row by row. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sync/protocol/item.h"
#include "sync/protocol/session_state.h"
#include "sync/protocol/status.h"

static int fail(struct session *s, int status)
{
    if (!s->closing) {
        s->closing = true;
        s->reason = status == STATUS_PEER_VERSION ? SESSION_REASON_VERSION
                    : status == STATUS_PEER_LIMIT ? SESSION_REASON_LIMIT
                                                  : SESSION_REASON_MALFORMED;
    }
    return status;
}

static int take_hello(struct session *s, struct reader *r, uint64_t now_ms)
{
    bool named =
        s->role == SESSION_GATEWAY; /* A relay names the epoch of its marks; a gateway answers in order. */
    size_t i;
    int lane;
    int status;

    if (s->greeted)
        return STATUS_PEER_MALFORMED;
    s->peer_epochs = calloc(SESSION_EPOCHS_MAX, sizeof *s->peer_epochs);
    s->peer_taken = calloc(SESSION_EPOCHS_MAX, sizeof *s->peer_taken);
    if (!s->peer_epochs || !s->peer_taken)
        return STATUS_NO_MEMORY;
    if ((status = wire_take_hello(r, named, &s->peer, s->peer_epochs, s->peer_taken)) != STATUS_OK)
        return status;
    if (s->peer.epoch_count == 0 || (named && s->peer.taken_count > 1) ||
        (!named && (s->peer.epoch_count != 1 || s->peer.taken_count != s->out_count)))
        return STATUS_PEER_MALFORMED;
    s->in_count = s->peer.epoch_count;
    s->in = calloc(s->in_count, sizeof *s->in);
    if (!s->in)
        return STATUS_NO_MEMORY;
    for (i = 0; i < s->in_count; i++)
        s->in[i].id = s->peer_epochs[i].epoch;
    s->greeted = true;
    s->credit_limit = s->peer.room_bytes;
    if (s->role == SESSION_GATEWAY)
        return STATUS_OK;
    pace_round_trip(&s->pace, now_ms - s->waiting_since_ms, now_ms);
    for (i = 0; i < s->out_count; i++)
        for (lane = 0; lane < LANE_COUNT; lane++)
            session_settle(s, i, (enum lane)lane, s->peer_taken[i].mark[lane]);
    if (s->own.taken_count && s->own_taken[0].epoch == s->in[0].id)
        for (lane = 0; lane < LANE_COUNT; lane++) {
            struct in_lane *in = &s->in[0].lane[lane];

            in->taken = in->stored = in->acked = s->own_taken[0].mark[lane];
        }
    return STATUS_OK;
}

static int take_mark(struct session *s, const struct wire_mark *m)
{
    struct out_lane *o;

    if (m->epoch_index >= s->out_count)
        return STATUS_PEER_MALFORMED;
    o = &s->out[m->epoch_index].lane[m->lane];
    /* A mark beyond what was sent would make us forget what nobody holds. */
    if (m->mark > o->sent || m->mark < o->settled)
        return STATUS_PEER_MALFORMED;
    session_settle(s, (size_t)m->epoch_index, m->lane, m->mark);
    if (m->rewind)
        session_flight_rewind(s, (size_t)m->epoch_index, m->lane, m->mark);
    s->useful = true;
    return STATUS_OK;
}

static int take_receipt(struct session *s, uint64_t frames, uint64_t now_ms)
{
    if (frames > s->frames_out || frames < s->frames_acked)
        return STATUS_PEER_MALFORMED;
    while (s->frames_acked < frames) {
        const struct pace_sample *sample = &s->frames[s->frames_acked++ % FLIGHT_FRAMES].sample;

        s->unacked_bytes -= sample->bytes;
        pace_acked(&s->pace, sample, now_ms);
        s->useful = true;
    }
    return STATUS_OK;
}

static int take_ack(struct session *s, uint8_t flags, struct reader *r, uint64_t now_ms)
{
    uint64_t frames = reader_varint(r);
    uint64_t credit = flags & WIRE_ACK_CREDIT ? reader_varint(r) : 0;
    uint64_t marks = flags & WIRE_ACK_MARKS ? reader_varint(r) : 0;
    int status;

    if (r->failed || flags > (WIRE_ACK_CREDIT | WIRE_ACK_MARKS) || marks > MARKS_IN_ONE_ACK || !s->greeted)
        return STATUS_PEER_MALFORMED;
    if ((status = take_receipt(s, frames, now_ms)) != STATUS_OK)
        return status;
    if (credit > s->credit_limit)
        s->credit_limit = credit;
    while (marks--) {
        struct wire_mark m;

        if ((status = wire_take_mark(r, &m)) != STATUS_OK || (status = take_mark(s, &m)) != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* Rows of an epoch and lane begin: which lane it is, and whether they may be taken. */
static int open_rows(struct session *s, const struct wire_rows *rows, struct in_lane **out)
{
    struct in_lane *in;

    *out = NULL;
    if (!s->greeted || !s->welcomed || rows->epoch_index >= s->in_count)
        return STATUS_PEER_MALFORMED;
    in = &s->in[rows->epoch_index].lane[rows->lane];
    if (rows->prev > in->taken) {
        in->rewind = true;
        s->ack_now = true;
        return STATUS_OK;
    }
    *out = in;
    return STATUS_OK;
}

/* Every row costs the peer credit, repeats too; urgent ones are free. The slack is what may go before our
 * hello is heard, and one row or piece past the limit. */
static int count_taken(struct session *s, enum lane lane, uint64_t bytes)
{
    if (lane == LANE_URGENT)
        return STATUS_OK;
    s->taken_bytes += bytes;
    return s->taken_bytes > s->credit_told + CREDIT_BEFORE_HELLO + 2 * PART_BYTES_MAX ? STATUS_PEER_LIMIT
                                                                                      : STATUS_OK;
}

static int take_batch(struct session *s, uint8_t bits, struct reader *r)
{
    struct in_lane *in;
    struct slice plain;
    int status;

    if ((status = wire_take_batch(r, bits, &s->batch_in)) != STATUS_OK ||
        (status = open_rows(s, &s->batch_in, &in)) != STATUS_OK)
        return status;
    status = unpack(s->batch_in.packed, s->room->rows_in, sizeof s->room->rows_in, &plain);
    if (status != STATUS_OK || plain.length == 0)
        return STATUS_PEER_MALFORMED;
    s->rows_in = reader_of(plain);
    s->row_prev = s->batch_in.first - 1;
    s->batch_open = true;
    s->batch_refused = !in;
    return STATUS_OK;
}

static void note_taken(struct session *s, const struct wire_rows *rows, uint64_t seq, uint64_t bytes)
{
    s->in[rows->epoch_index].lane[rows->lane].taken = seq;
    s->rows_unacked++;
    s->bytes_unacked += bytes;
    if (rows->lane == LANE_URGENT)
        s->marks_now = true;
}

static void give_row(struct session *s, const struct wire_rows *rows, uint64_t seq, struct slice bytes,
                     struct session_action *out)
{
    note_taken(s, rows, seq, bytes.length);
    *out = (struct session_action){ .kind = ACTION_STORE,
                                    .lane = rows->lane,
                                    .epoch = s->in[rows->epoch_index].id,
                                    .seq = seq,
                                    .bytes = bytes };
}

/* The next row of the open batch that is new. True with *out filled; false when the batch ended (or the peer
 * failed). */
static bool next_row(struct session *s, struct session_action *out)
{
    struct in_lane *in = &s->in[s->batch_in.epoch_index].lane[s->batch_in.lane];

    while (reader_left(&s->rows_in)) {
        uint64_t skipped, seq;
        struct slice row;

        if (wire_take_row(&s->rows_in, &skipped, &row) != STATUS_OK || row.length == 0 ||
            skipped >= UINT64_MAX - s->row_prev - 1) {
            (void)fail(s, STATUS_PEER_MALFORMED);
            return false;
        }
        seq = s->row_prev + 1 + skipped;
        s->row_prev = seq;
        if (count_taken(s, s->batch_in.lane, row.length) != STATUS_OK) {
            (void)fail(s, STATUS_PEER_LIMIT);
            return false;
        }
        if (s->batch_refused)
            continue;
        if (seq <= in->taken) /* A repeat: sent before our hello told the mark. */
            continue;
        give_row(s, &s->batch_in, seq, row, out);
        return true;
    }
    s->batch_open = false;
    return false;
}

void session_drop_assembly(struct session *s)
{
    free(s->assembly.at);
    s->assembly = (struct assembly){ 0 };
}

static bool assembly_fits(const struct assembly *a, const struct wire_rows *part)
{
    return a->at && a->epoch == part->epoch_index && a->lane == part->lane && a->seq == part->first &&
           a->length == part->total && a->have == part->offset;
}

/* A piece of a long row. *whole: it was the last one, and the row stands in s->assembly. */
static int take_part(struct session *s, uint8_t bits, struct reader *r, bool *whole)
{
    struct assembly *a = &s->assembly;
    struct wire_rows *part = &s->batch_in;
    struct in_lane *in;
    struct slice plain;
    int status;

    *whole = false;
    if ((status = wire_take_part(r, bits, part)) != STATUS_OK ||
        (status = open_rows(s, part, &in)) != STATUS_OK)
        return status;
    if (part->total > ITEM_BYTES_MAX)
        return STATUS_PEER_LIMIT;
    status = unpack(part->packed, s->room->rows_in, sizeof s->room->rows_in, &plain);
    if (status != STATUS_OK || plain.length == 0 || plain.length > part->total - part->offset)
        return STATUS_PEER_MALFORMED;
    if ((status = count_taken(s, part->lane, plain.length)) != STATUS_OK)
        return status;
    if (!in || part->first <= in->taken)
        return STATUS_OK;
    if (part->offset == 0) {
        session_drop_assembly(s);
        a->at = malloc((size_t)part->total);
        if (!a->at)
            return STATUS_NO_MEMORY;
        a->length = part->total;
        a->epoch = (size_t)part->epoch_index;
        a->lane = part->lane;
        a->seq = part->first;
    } else if (!assembly_fits(a, part)) {
        return STATUS_PEER_MALFORMED;
    }
    memcpy(a->at + a->have, plain.at, plain.length);
    a->have += plain.length;
    *whole = a->have == a->length;
    return STATUS_OK;
}

static int take_ping(struct session *s, struct reader *r)
{
    uint64_t next_s = reader_varint(r);

    if (r->failed)
        return STATUS_PEER_MALFORMED;
    s->peer_idle_ms = next_s < IDLE_MS_MOST / 1000 ? next_s * 1000 : IDLE_MS_MOST;
    s->pong_due = true;
    return STATUS_OK;
}

static void take_pong(struct session *s)
{
    if (!s->probing)
        return;
    s->probing = s->second_ping_sent = false;
    /* The NAT kept this silence: try a quarter longer next time. */
    s->idle_ms += s->idle_ms / 4;
    if (s->idle_ms > IDLE_MS_MOST)
        s->idle_ms = IDLE_MS_MOST;
}

/* One record. True with *out filled when it gave a row; else false, and s->closing tells of an error. */
static bool take_record(struct session *s, uint64_t now_ms, struct session_action *out)
{
    struct reader *r = &s->frame_in;
    uint8_t head = reader_u8(r);
    uint8_t bits = head & 0x0f;
    bool whole = false;
    int status = STATUS_OK;

    switch (head >> 4) {
    case WIRE_HELLO: status = take_hello(s, r, now_ms); break;
    case WIRE_BATCH: status = take_batch(s, bits, r); break;
    case WIRE_PART: status = take_part(s, bits, r, &whole); break;
    case WIRE_ACK: status = take_ack(s, bits, r, now_ms); break;
    case WIRE_PING: status = take_ping(s, r); break;
    case WIRE_PONG: take_pong(s); break;
    case WIRE_REPORT:
        wire_take_report(r, &s->peer_report);
        s->peer_report_due = true;
        break;
    default: status = STATUS_PEER_MALFORMED; break; /* A byte, no enum: anything may come. */
    }
    if (status != STATUS_OK || r->failed) {
        (void)fail(s, status != STATUS_OK ? status : STATUS_PEER_MALFORMED);
        return false;
    }
    if (!whole)
        return false;
    give_row(s, &s->batch_in, s->assembly.seq, slice_of(s->assembly.at, (size_t)s->assembly.length), out);
    return true;
}

int session_receive(struct session *s, struct slice frame, uint64_t now_ms)
{
    uint8_t head;

    if (s->closing)
        return STATUS_PEER_MALFORMED;
    assert(s->started && !s->frame_open); /* The last frame's actions were all taken. */
    if (frame.length == 0 || frame.length > sizeof s->room->frame_in)
        return fail(s, frame.length ? STATUS_PEER_LIMIT : STATUS_PEER_MALFORMED);
    s->received_bytes += frame.length;
    s->heard_ms = now_ms;
    if (s->silent) {
        s->silent = false;
        s->alive_due = s->silent_told;
        s->silent_told = false;
    }
    memcpy(s->room->frame_in, frame.at, frame.length);
    s->frame_in = reader_of(slice_of(s->room->frame_in, frame.length));
    head = reader_u8(&s->frame_in);
    if ((head & 0xf0) != WIRE_FRAME_FORMAT || (head & 0x0f) > (WIRE_FRAME_LAST | WIRE_FRAME_DATA))
        return fail(s, STATUS_PEER_MALFORMED);
    s->receiving = true;
    s->frame_open = true;
    s->frame_last = head & WIRE_FRAME_LAST;
    if (head & WIRE_FRAME_DATA) {
        s->frames_in++;
        s->ack_now = true;
        s->marks_now |= s->frame_last;
    }
    return STATUS_OK;
}

bool session_take_next(struct session *s, uint64_t now_ms, struct session_action *out)
{
    while (!s->closing && !(s->greeted && !s->hello_told)) {
        if (s->batch_open) {
            if (next_row(s, out))
                return true;
        } else if (s->frame_open && reader_left(&s->frame_in)) {
            if (take_record(s, now_ms, out))
                return true;
        } else {
            s->frame_open = false;
            break;
        }
    }
    return false;
}
