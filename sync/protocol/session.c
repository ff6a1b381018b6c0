/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sync/protocol/item.h"
#include "sync/protocol/session_state.h"
#include "sync/protocol/status.h"

#define NEVER UINT64_MAX

/* Marks are told at once for urgent rows and at the end of a backlog, else by these (design section 6): an
 * ack costs some 70 bytes on the link and a delete at the sender. */
#define MARKS_ROWS 32u
#define MARKS_BYTES 8192u
#define MARKS_MS 12000u
#define MARKS_IN_ONE_ACK 64u /* More wait for the next ack: an ack stays a small frame. */

/* With something unacked the link counts as silent after max(this, 4 x RTT), and is given up so much later.
 */
#define SILENT_MS 5000u
#define SILENT_KEPT_MS 10000u
#define HELLO_WAIT_MS 30000u /* A peer whose TLS came up says hello within this. */

/* Idle pings: the first guess, and how far the learnt interval may go. Carrier NATs forget after 30 s at the
 * worst. */
#define IDLE_MS_FIRST 120000u
#define IDLE_MS_LEAST 30000u
#define IDLE_MS_MOST 300000u

#define REPORT_EVERY_MS 60000u /* A queue that changes is told to the board about once a minute. */

int session_room_open(struct session_room **out, enum pack_level level)
{
    struct session_room *room = calloc(1, sizeof *room);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!room)
        return status;
    if ((status = packer_open(&room->packer, level)) != STATUS_OK) {
        session_room_close(room);
        return status;
    }
    *out = room;
    return STATUS_OK;
}

void session_room_close(struct session_room *room)
{
    if (!room)
        return;
    packer_close(room->packer);
    free(room);
}

int session_open(struct session **out, const struct session_options *options, struct session_room *room)
{
    struct session *s = calloc(1, sizeof *s);
    int lane;

    *out = NULL;
    if (!s)
        return STATUS_NO_MEMORY;
    s->role = options->role;
    s->room = room;
    s->idle_ms = options->idle_ms ? options->idle_ms : IDLE_MS_FIRST;
    s->peer_idle_ms = IDLE_MS_MOST;
    s->credit_limit = CREDIT_BEFORE_HELLO;
    for (lane = 0; lane < LANE_COUNT; lane++)
        s->shrink[lane] = 0.5;
    *out = s;
    return STATUS_OK;
}

void session_close(struct session *s)
{
    if (!s)
        return;
    if (s->room->builder == s)
        s->room->builder = NULL;
    free(s->own_epochs);
    free(s->own_taken);
    free(s->peer_epochs);
    free(s->peer_taken);
    free(s->out);
    free(s->in);
    free(s->assembly.at);
    free(s);
}

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

static struct session_marks *copy_marks(const struct session_marks *from, size_t count)
{
    struct session_marks *to = calloc(count ? count : 1, sizeof *to);

    if (to && count)
        memcpy(to, from, count * sizeof *to);
    return to;
}

static int keep_own(struct session *s, const struct session_hello *own)
{
    size_t i;

    assert(own->epoch_count <= SESSION_EPOCHS_MAX && own->taken_count <= SESSION_EPOCHS_MAX);
    s->own = *own;
    s->own_epochs = copy_marks(own->epochs, own->epoch_count);
    s->own_taken = copy_marks(own->taken, own->taken_count);
    s->out = calloc(own->epoch_count ? own->epoch_count : 1, sizeof *s->out);
    if (!s->own_epochs || !s->own_taken || !s->out)
        return STATUS_NO_MEMORY;
    s->own.epochs = s->own_epochs;
    s->own.taken = s->own_taken;
    s->out_count = own->epoch_count;
    for (i = 0; i < s->out_count; i++)
        s->out[i].id = own->epochs[i].epoch;
    s->room_bytes = own->room_bytes;
    s->credit_told = own->room_bytes;
    s->hello_due = true;
    s->welcomed = true;
    return STATUS_OK;
}

int session_start(struct session *s, const struct session_hello *own, uint64_t now_ms)
{
    assert(!s->started && (own != NULL) == (s->role == SESSION_RELAY));
    s->started = true;
    s->heard_ms = s->spoke_ms = s->waiting_since_ms = now_ms;
    return own ? keep_own(s, own) : STATUS_OK;
}

/* The peer holds everything up to mark: of what we send, epoch number i of our hello. */
static void settle(struct session *s, size_t i, enum lane lane, uint64_t mark)
{
    struct out_lane *o = &s->out[i].lane[lane];

    if (mark > o->sent)
        o->sent = mark;
    if (mark <= o->settled)
        return;
    o->settled = mark;
    s->settle_due = true;
    session_flight_settle(s, i, lane, mark);
}

int session_welcome(struct session *s, const struct session_hello *own, uint64_t now_ms)
{
    size_t i;
    int lane;
    int status;

    assert(s->role == SESSION_GATEWAY && s->greeted && !s->welcomed);
    assert(own->epoch_count == 1 && own->taken_count == s->in_count);
    if ((status = keep_own(s, own)) != STATUS_OK)
        return status;
    for (i = 0; i < s->in_count; i++)
        for (lane = 0; lane < LANE_COUNT; lane++) {
            struct in_lane *in = &s->in[i].lane[lane];

            in->taken = in->stored = in->acked = own->taken[i].mark[lane];
        }
    if (s->peer.taken_count && s->peer_taken[0].epoch == s->out[0].id)
        for (lane = 0; lane < LANE_COUNT; lane++)
            settle(s, 0, (enum lane)lane, s->peer_taken[0].mark[lane]);
    s->spoke_ms = now_ms;
    return STATUS_OK;
}

/* --- Hearing ---------------------------------------------------------------------------------------- */

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
            settle(s, i, (enum lane)lane, s->peer_taken[i].mark[lane]);
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
    settle(s, (size_t)m->epoch_index, m->lane, m->mark);
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

static void drop_assembly(struct session *s)
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
        drop_assembly(s);
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

static uint64_t unacked_since(const struct session *s)
{
    if (s->frames_acked == s->frames_out)
        return 0;
    return s->frames[s->frames_acked % FLIGHT_FRAMES].sample.sent_ms;
}

void session_committed(struct session *s, uint64_t now_ms)
{
    size_t i;
    int lane;

    s->receiving = false;
    if (s->rows_unacked && !s->ack_by_ms)
        s->ack_by_ms = now_ms + MARKS_MS;
    for (i = 0; i < s->in_count; i++)
        for (lane = 0; lane < LANE_COUNT; lane++)
            s->in[i].lane[lane].stored = s->in[i].lane[lane].taken;
    if (s->assembly.at && s->assembly.have == s->assembly.length)
        drop_assembly(s);
}

/* --- Control records ---------------------------------------------------------------------------------- */

static bool marks_due(const struct session *s, uint64_t now_ms)
{
    if (s->marks_now || s->rows_unacked >= MARKS_ROWS || s->bytes_unacked >= MARKS_BYTES)
        return true;
    return s->ack_by_ms && now_ms >= s->ack_by_ms;
}

/* The peer may be out of credit although there is room again. */
static bool credit_due(const struct session *s)
{
    uint64_t limit = s->taken_bytes + s->room_bytes;

    return limit > s->credit_told &&
           (limit - s->credit_told >= s->room_bytes / 2 || s->taken_bytes >= s->credit_told);
}

static bool ack_due(const struct session *s, uint64_t now_ms)
{
    return s->greeted && s->welcomed &&
           (s->ack_now || marks_due(s, now_ms) || (credit_due(s) && s->taken_bytes >= s->credit_told));
}

static size_t count_marks(const struct session *s)
{
    size_t count = 0;
    size_t i;
    int lane;

    for (i = 0; i < s->in_count; i++)
        for (lane = 0; lane < LANE_COUNT; lane++)
            count += s->in[i].lane[lane].rewind || s->in[i].lane[lane].stored > s->in[i].lane[lane].acked;
    return count < MARKS_IN_ONE_ACK ? count : MARKS_IN_ONE_ACK;
}

static void put_marks(struct session *s, size_t count)
{
    struct writer *w = &s->room->frame;
    size_t i;
    int lane;

    for (i = 0; i < s->in_count; i++)
        for (lane = 0; lane < LANE_COUNT && count; lane++) {
            struct in_lane *in = &s->in[i].lane[lane];

            if (!in->rewind && in->stored <= in->acked)
                continue;
            wire_put_mark(
                w, &(struct wire_mark){
                       .epoch_index = i, .lane = (enum lane)lane, .rewind = in->rewind, .mark = in->stored });
            in->acked = in->stored;
            in->rewind = false;
            count--;
        }
}

static bool rewind_due(const struct session *s)
{
    size_t i;
    int lane;

    for (i = 0; i < s->in_count; i++)
        for (lane = 0; lane < LANE_COUNT; lane++)
            if (s->in[i].lane[lane].rewind)
                return true;
    return false;
}

static void put_ack(struct session *s, uint64_t now_ms)
{
    size_t marks = marks_due(s, now_ms) || rewind_due(s) ? count_marks(s) : 0;
    bool credit = credit_due(s);

    if (credit)
        s->credit_told = s->taken_bytes + s->room_bytes;
    wire_put_ack(&s->room->frame, (uint8_t)((credit ? WIRE_ACK_CREDIT : 0) | (marks ? WIRE_ACK_MARKS : 0)),
                 s->frames_in, s->credit_told, marks);
    put_marks(s, marks);
    s->frames_told = s->frames_in;
    s->ack_now = false;
    if (count_marks(s))
        return; /* The rest goes with the next ack, at once. */
    s->marks_now = false;
    s->rows_unacked = s->bytes_unacked = s->ack_by_ms = 0;
}

static bool report_due(const struct session *s, uint64_t now_ms)
{
    if (!s->report_set || !s->greeted || s->role != SESSION_RELAY)
        return false;
    if (!s->report_told)
        return true;
    return (s->report.messages != s->report_sent.messages || s->report.bytes != s->report_sent.bytes) &&
           now_ms - s->report_sent_ms >= REPORT_EVERY_MS;
}

bool session_control_due(const struct session *s)
{
    return !s->receiving && (s->hello_due || s->ping_due || s->pong_due || s->report_due || s->ack_now);
}

void session_put_control(struct session *s, uint64_t now_ms)
{
    struct writer *w = &s->room->frame;

    if (s->hello_due) {
        wire_put_hello(w, &s->own, s->role == SESSION_RELAY);
        s->hello_due = false;
        return;
    }
    if (ack_due(s, now_ms) || s->frames_told < s->frames_in)
        put_ack(s, now_ms);
    if (s->ping_due) {
        writer_u8(w, WIRE_PING << 4);
        writer_varint(w, s->idle_ms / 1000);
        s->ping_due = false;
    }
    if (s->pong_due) {
        writer_u8(w, WIRE_PONG << 4);
        s->pong_due = false;
    }
    if (s->report_due) {
        wire_put_report(w, &s->report);
        s->report_sent = s->report;
        s->report_sent_ms = now_ms;
        s->report_told = true;
        s->report_due = false;
    }
}

/* --- Time --------------------------------------------------------------------------------------------- */

static uint64_t silent_after_ms(const struct session *s)
{
    uint64_t four = 4 * pace_rtt_ms(&s->pace);

    return four > SILENT_MS ? four : SILENT_MS;
}

/* Since when an answer is awaited (a receipt, a hello, a pong) and nothing at all was heard; 0: nothing is.
 */
static uint64_t awaiting_since(const struct session *s)
{
    uint64_t since = unacked_since(s);

    if (!s->greeted || s->probing)
        since = s->waiting_since_ms;
    if (!since)
        return 0;
    return since > s->heard_ms ? since : s->heard_ms;
}

static uint64_t silence_ms_max(const struct session *s)
{
    if (s->role == SESSION_GATEWAY && !s->greeted)
        return HELLO_WAIT_MS;
    return silent_after_ms(s);
}

static void give_up(struct session *s)
{
    s->closing = true;
    s->reason = SESSION_REASON_SILENT;
    if (s->probing && s->idle_ms > IDLE_MS_LEAST) {
        /* The NAT forgot us: half the silence next time. */
        s->idle_ms /= 2;
        if (s->idle_ms < IDLE_MS_LEAST)
            s->idle_ms = IDLE_MS_LEAST;
    }
}

static void probe(struct session *s, uint64_t now_ms)
{
    uint64_t last = s->heard_ms > s->spoke_ms ? s->heard_ms : s->spoke_ms;

    if (s->role == SESSION_GATEWAY) {
        /* The relay pings; two of its pings and half of a third missed is an end. */
        if (now_ms - s->heard_ms >= s->peer_idle_ms * 5 / 2 + SILENT_KEPT_MS)
            give_up(s);
        return;
    }
    if (!s->probing && now_ms - last >= s->idle_ms) {
        s->probing = s->ping_due = true;
        s->waiting_since_ms = now_ms;
    } else if (s->probing && !s->second_ping_sent && now_ms - s->waiting_since_ms >= silent_after_ms(s) / 2) {
        s->second_ping_sent = s->ping_due = true;
    }
}

static void look_at_clock(struct session *s, uint64_t now_ms)
{
    uint64_t since = awaiting_since(s);

    if (s->ack_by_ms && now_ms >= s->ack_by_ms && !s->receiving)
        s->ack_now = true;
    if (s->greeted && !s->receiving && (marks_due(s, now_ms) || credit_due(s)))
        s->ack_now |= ack_due(s, now_ms);
    s->report_due |= report_due(s, now_ms);
    if (since && now_ms - since >= silence_ms_max(s)) {
        s->silent = true;
        if (now_ms - since >= silence_ms_max(s) + SILENT_KEPT_MS)
            give_up(s);
    }
    if (s->greeted)
        probe(s, now_ms);
}

uint64_t session_due_ms(const struct session *s)
{
    uint64_t due = NEVER;
    uint64_t since = awaiting_since(s);
    uint64_t last = s->heard_ms > s->spoke_ms ? s->heard_ms : s->spoke_ms;
    uint64_t at;

    if (!s->started || s->closed)
        return NEVER;
    if (since) {
        at = since + silence_ms_max(s) + (s->silent ? SILENT_KEPT_MS : 0);
        due = at < due ? at : due;
    }
    if (s->ack_by_ms && s->ack_by_ms < due)
        due = s->ack_by_ms;
    if (s->greeted && s->role == SESSION_GATEWAY) {
        at = s->heard_ms + s->peer_idle_ms * 5 / 2 + SILENT_KEPT_MS;
        due = at < due ? at : due;
    } else if (s->greeted) {
        at = !s->probing           ? last + s->idle_ms
             : s->second_ping_sent ? NEVER
                                   : s->waiting_since_ms + silent_after_ms(s) / 2;
        due = at < due ? at : due;
        if (s->report_told &&
            (s->report.messages != s->report_sent.messages || s->report.bytes != s->report_sent.bytes)) {
            at = s->report_sent_ms + REPORT_EVERY_MS;
            due = at < due ? at : due;
        }
    }
    return due;
}

/* --- Actions ------------------------------------------------------------------------------------------ */

static bool next_settle(struct session *s, struct session_action *out)
{
    size_t i;
    int lane;

    if (!s->settle_due || (s->role == SESSION_RELAY && !s->hello_told))
        return false;
    for (i = 0; i < s->out_count; i++)
        for (lane = 0; lane < LANE_COUNT; lane++) {
            struct out_lane *o = &s->out[i].lane[lane];

            if (o->told == o->settled)
                continue;
            o->told = o->settled;
            *out = (struct session_action){
                .kind = ACTION_SETTLE, .lane = (enum lane)lane, .epoch = s->out[i].id, .seq = o->settled
            };
            return true;
        }
    s->settle_due = false;
    return false;
}

static void tell_hello(struct session *s, struct session_action *out)
{
    s->hello_told = true;
    *out = (struct session_action){ .kind = ACTION_HELLO,
                                    .hello = { .store_id = s->peer.store_id,
                                               .boot_counter = s->peer.boot_counter,
                                               .clock_ms = s->peer.clock_ms,
                                               .room_bytes = s->peer.room_bytes,
                                               .epochs = s->peer_epochs,
                                               .epoch_count = s->peer.epoch_count,
                                               .taken = s->peer_taken,
                                               .taken_count = s->peer.taken_count } };
}

/* What the peer's frames gave, in their order. */
static bool next_heard(struct session *s, uint64_t now_ms, struct session_action *out)
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
    if (s->greeted && !s->hello_told) {
        tell_hello(s, out);
        return true;
    }
    if (next_settle(s, out))
        return true;
    if (s->peer_report_due) {
        s->peer_report_due = false;
        *out = (struct session_action){ .kind = ACTION_REPORT, .report = s->peer_report };
        return true;
    }
    return false;
}

static bool next_liveness(struct session *s, struct session_action *out)
{
    if (s->alive_due) {
        s->alive_due = false;
        *out = (struct session_action){ .kind = ACTION_ALIVE };
        return true;
    }
    if (s->silent && !s->silent_told) {
        s->silent_told = true;
        *out = (struct session_action){ .kind = ACTION_SILENT };
        return true;
    }
    return false;
}

bool session_next(struct session *s, uint64_t now_ms, struct session_action *out)
{
    assert(!s->wanting); /* An ACTION_WANT is answered first. */
    if (!s->started || s->closed)
        return false;
    if (!s->building) {
        if (next_heard(s, now_ms, out))
            return true;
        if (!s->closing)
            look_at_clock(s, now_ms);
        if (next_liveness(s, out))
            return true;
        if (s->closing) {
            s->closed = true;
            s->frame_open = s->batch_open = false;
            *out = (struct session_action){ .kind = ACTION_CLOSE, .reason = s->reason };
            return true;
        }
    }
    return session_build(s, now_ms, out);
}

static uint64_t least_served(const struct session *s)
{
    uint64_t least = UINT64_MAX;
    int lane;

    for (lane = LANE_ALERT; lane < LANE_COUNT; lane++)
        if (s->lane[lane].unsent_messages && s->lane[lane].served < least)
            least = s->lane[lane].served;
    return least == UINT64_MAX ? 0 : least;
}

void session_waiting(struct session *s, enum lane lane, uint64_t messages, uint64_t bytes)
{
    struct lane_cursor *c = &s->lane[lane];
    uint64_t unsent = messages > c->flying_rows ? messages - c->flying_rows : 0;

    /* A lane that comes back has no claim on what it did not use. */
    if (unsent && !c->unsent_messages && c->served < least_served(s))
        c->served = least_served(s);
    c->unsent_messages = unsent;
    c->unsent_bytes = bytes > c->flying_bytes ? bytes - c->flying_bytes : 0;
}

void session_set_room(struct session *s, uint64_t room_bytes)
{
    s->room_bytes = room_bytes;
}

void session_set_report(struct session *s, const struct session_report *report, uint64_t now_ms)
{
    s->report = *report;
    s->report_set = true;
    s->report_due |= report_due(s, now_ms);
}

void session_stats(const struct session *s, struct session_stats *out)
{
    *out = (struct session_stats){ .rtt_ms = pace_rtt_ms(&s->pace),
                                   .goodput_bytes_per_s = pace_goodput_bytes_per_s(&s->pace),
                                   .sent_bytes = s->sent_bytes,
                                   .received_bytes = s->received_bytes,
                                   .unacked_bytes = s->unacked_bytes,
                                   .idle_ms = s->idle_ms,
                                   .up = s->greeted && s->welcomed && !s->silent && !s->closing,
                                   .useful = s->useful };
}

const char *session_reason_name(enum session_reason reason)
{
    switch (reason) {
    case SESSION_REASON_NONE: return "none";
    case SESSION_REASON_MALFORMED: return "malformed";
    case SESSION_REASON_VERSION: return "version";
    case SESSION_REASON_LIMIT: return "limit";
    case SESSION_REASON_SILENT: return "silent";
    }
    return "none";
}

uint16_t session_close_code(enum session_reason reason)
{
    return (uint16_t)(4000u + (unsigned)reason);
}
