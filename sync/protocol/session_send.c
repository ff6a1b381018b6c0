/* SPDX-License-Identifier: Apache-2.0 */
/* Building frames: which lane next, how much, and what stays in flight until it is acked. */
#include <assert.h>
#include <string.h>

#include "sync/protocol/session_state.h"
#include "sync/protocol/status.h"

/* An urgent frame's rows: an OTP is some 100 bytes; so many at once are a burst, and the next frame takes the
 * rest. */
#define URGENT_PLAIN_MAX 4096u
/* Urgent frames may pass the window, but not without end: a dead link must not be filled. */
#define URGENT_UNACKED_MAX 65536u

static bool has_unsent(const struct session *s, enum lane lane)
{
    return s->lane[lane].unsent_messages > 0 && s->out_count > 0;
}

static bool has_credit(const struct session *s)
{
    return s->credit_used < s->credit_limit;
}

static bool urgent_waits(const struct session *s)
{
    return has_unsent(s, LANE_URGENT) && s->unacked_bytes < URGENT_UNACKED_MAX;
}

static bool flight_has_room(const struct session *s)
{
    return s->frames_out - s->frames_acked < FLIGHT_FRAMES &&
           s->batches_in - s->batches_out < FLIGHT_BATCHES / 2;
}

/* Plain bytes that give a packed frame of about the right size, by what packing did lately. */
static size_t plain_goal(const struct session *s, enum lane lane)
{
    double goal = (double)pace_frame_bytes(&s->pace) / s->shrink[lane];

    return goal < FRAME_PLAIN_MAX ? (size_t)goal : FRAME_PLAIN_MAX;
}

bool session_may_begin(const struct session *s)
{
    uint64_t waiting_bytes = 0;
    size_t goal = FRAME_PLAIN_MAX;
    bool waits = false;
    int lane;

    if (!s->welcomed || s->receiving || s->silent || !flight_has_room(s))
        return false;
    if (urgent_waits(s))
        return true;
    if (!has_credit(s))
        return false;
    for (lane = LANE_ALERT; lane < LANE_COUNT; lane++) {
        if (!has_unsent(s, (enum lane)lane))
            continue;
        waits = true;
        waiting_bytes += s->lane[lane].unsent_bytes;
        if (plain_goal(s, (enum lane)lane) < goal)
            goal = plain_goal(s, (enum lane)lane);
    }
    if (!waits)
        return false;
    /* Nagle's rule: alone on the link it goes at once; else it waits for the next ack or for a full frame. */
    if (s->unacked_bytes == 0)
        return true;
    return waiting_bytes >= goal && s->unacked_bytes < pace_window_bytes(&s->pace) && s->greeted;
}

static void begin(struct session *s, uint64_t now_ms)
{
    int lane;

    s->room->builder = s;
    s->room->frame = writer_of(s->room->frame_at, sizeof s->room->frame_at);
    writer_u8(&s->room->frame, WIRE_FRAME_FORMAT);
    s->building = true;
    s->wanting = false;
    s->urgent_frame = urgent_waits(s);
    s->frame_has_rows = false;
    s->batch_rows = 0;
    s->plain_left = s->urgent_frame ? URGENT_PLAIN_MAX : FRAME_PLAIN_MAX;
    for (lane = 0; lane < LANE_COUNT; lane++) {
        s->lane_done[lane] = s->urgent_frame != (lane == LANE_URGENT) || !has_unsent(s, (enum lane)lane);
        if (!s->lane_done[lane] && !s->urgent_frame && plain_goal(s, (enum lane)lane) < s->plain_left)
            s->plain_left = plain_goal(s, (enum lane)lane);
    }
    session_put_control(s, now_ms);
}

/* The lane that has had the least for its weight; LANE_COUNT when all are done. */
static enum lane next_lane(const struct session *s)
{
    enum lane best = LANE_COUNT;
    int lane;

    for (lane = 0; lane < LANE_COUNT; lane++)
        if (!s->lane_done[lane] && (best == LANE_COUNT || s->lane[lane].served < s->lane[best].served))
            best = (enum lane)lane;
    return best;
}

/* The lane's share of what is left of the frame, beside the other lanes that still have something. */
static size_t quantum(const struct session *s, enum lane chosen)
{
    uint64_t weights = 0;
    size_t share;
    int lane;

    if (chosen == LANE_URGENT)
        return s->plain_left;
    for (lane = LANE_ALERT; lane < LANE_COUNT; lane++)
        if (!s->lane_done[lane])
            weights += lane_weight((enum lane)lane);
    share = (size_t)(s->plain_left * lane_weight(chosen) / weights);
    return share < PACE_FRAME_BYTES_LEAST ? PACE_FRAME_BYTES_LEAST : share;
}

static void want(struct session *s, enum lane lane, struct session_action *out)
{
    const struct lane_cursor *c = &s->lane[lane];

    s->wanting = true;
    s->want_lane = lane;
    s->want_room = quantum(s, lane);
    s->room->rows = writer_of(s->room->rows_at, sizeof s->room->rows_at);
    *out = (struct session_action){ .kind = ACTION_WANT,
                                    .lane = lane,
                                    .epoch = s->out[c->epoch].id,
                                    .seq = s->out[c->epoch].lane[lane].sent };
}

/* Raw when it may share nothing with other text (urgent), else packed when that is smaller. */
static struct slice pack_rows(struct session *s, enum lane lane, struct slice plain)
{
    uint8_t *room = s->room->packed_at;
    struct slice packed = { room, plain.length + 1 };

    if (lane != LANE_URGENT && (!s->greeted || s->peer.dictionary) &&
        pack(s->room->packer, plain, room, sizeof s->room->packed_at, &packed) == STATUS_OK)
        return packed;
    room[0] = 0;
    memcpy(room + 1, plain.at, plain.length);
    return packed;
}

static void learn_shrink(struct session *s, enum lane lane, size_t packed, size_t plain)
{
    double now = (double)packed / (double)plain;

    now = now < 0.125 ? 0.125 : now > 1 ? 1 : now;
    s->shrink[lane] += (now - s->shrink[lane]) / 4;
}

static void note_flight(struct session *s, enum lane lane, uint64_t last, uint64_t rows, uint64_t bytes)
{
    struct lane_cursor *c = &s->lane[lane];

    s->batches[s->batches_in++ % FLIGHT_BATCHES] =
        (struct flight_batch){ .lane = lane, .epoch = c->epoch, .last = last, .rows = rows, .bytes = bytes };
    c->flying_rows += rows;
    c->flying_bytes += bytes;
    c->served += bytes / (lane_weight(lane) ? lane_weight(lane) : 1);
    s->frame_has_rows = true;
}

/* Closes the open batch: packs its rows into the frame. */
static void end_batch(struct session *s)
{
    struct slice plain = writer_slice(&s->room->rows);

    if (!s->batch_rows)
        return;
    s->batch.packed = pack_rows(s, s->want_lane, plain);
    learn_shrink(s, s->want_lane, s->batch.packed.length, plain.length);
    wire_put_batch(&s->room->frame, &s->batch);
    assert(!s->room->frame.failed);
    note_flight(s, s->want_lane, s->batch_last, s->batch_rows, plain.length);
    s->batch_rows = 0;
    s->room->rows = writer_of(s->room->rows_at, sizeof s->room->rows_at);
}

static size_t epoch_index(const struct session *s, epoch_id epoch, size_t from)
{
    size_t i = from;

    while (i < s->out_count && s->out[i].id != epoch)
        i++;
    return i;
}

/* bytes of rows count for credit; with their heads they fill the frame. */
static void count_offered(struct session *s, size_t bytes, size_t with_head)
{
    struct lane_cursor *c = &s->lane[s->want_lane];

    if (s->want_lane != LANE_URGENT)
        s->credit_used += bytes;
    s->want_room -= with_head < s->want_room ? with_head : s->want_room;
    s->plain_left -= with_head < s->plain_left ? with_head : s->plain_left;
    c->unsent_bytes -= bytes < c->unsent_bytes ? bytes : c->unsent_bytes;
}

static void count_row(struct session *s, size_t epoch, uint64_t seq)
{
    struct lane_cursor *c = &s->lane[s->want_lane];

    c->epoch = epoch;
    c->part_seq = 0;
    c->part_offset = 0;
    s->out[epoch].lane[s->want_lane].sent = seq;
    if (c->unsent_messages)
        c->unsent_messages--;
}

/* A row too long for a batch: its next piece goes into this frame. */
static int offer_part(struct session *s, size_t epoch, uint64_t seq, struct slice row)
{
    struct lane_cursor *c = &s->lane[s->want_lane];
    struct writer *frame = &s->room->frame;
    size_t length;

    if (s->frame_has_rows || s->batch_rows)
        return STATUS_FULL; /* A piece has a frame of its own. */
    if (c->part_seq != seq)
        c->part_offset = 0;
    c->part_seq = seq;
    length = row.length - (size_t)c->part_offset;
    if (length > PART_BYTES_MAX)
        length = PART_BYTES_MAX;
    s->batch = (struct wire_rows){ .lane = s->want_lane,
                                   .epoch_index = epoch,
                                   .prev = s->out[epoch].lane[s->want_lane].sent,
                                   .first = seq,
                                   .total = row.length,
                                   .offset = c->part_offset };
    s->batch.packed = pack_rows(s, s->want_lane, slice_of(row.at + c->part_offset, length));
    wire_put_part(frame, &s->batch);
    assert(!frame->failed);
    c->epoch = epoch;
    c->part_offset += length;
    count_offered(s, length, length);
    s->plain_left = 0;
    s->frame_has_rows = true;
    if (c->part_offset < row.length)
        return STATUS_FULL;
    count_row(s, epoch, seq);
    note_flight(s, s->want_lane, seq, 1, length);
    return STATUS_OK;
}

int session_offer(struct session *s, epoch_id epoch, uint64_t seq, struct slice row)
{
    struct lane_cursor *c = &s->lane[s->want_lane];
    size_t index = epoch_index(s, epoch, c->epoch);
    size_t before;
    uint64_t prev;

    assert(s->wanting && s->room->builder == s);
    assert(row.length > 0);
    if (index == s->out_count)
        return STATUS_UNAVAILABLE;
    prev = s->out[index].lane[s->want_lane].sent;
    assert(seq > prev); /* A lane is offered in rising order. */
    if ((s->want_lane != LANE_URGENT && !has_credit(s)) ||
        s->batches_in - s->batches_out >= FLIGHT_BATCHES - 2)
        return STATUS_FULL;
    if (row.length > PART_BYTES_MAX)
        return s->plain_left ? offer_part(s, index, seq, row) : STATUS_FULL;
    /* The first row of a frame always goes: a frame may be a little larger, never empty. */
    if (row.length + WIRE_ROW_HEAD_MAX > s->want_room && (s->batch_rows || s->frame_has_rows))
        return STATUS_FULL;
    if (s->batch_rows && s->batch.epoch_index != index)
        end_batch(s); /* Charged to the cursor's epoch, which moves only below. */
    if (!s->batch_rows) {
        s->batch =
            (struct wire_rows){ .lane = s->want_lane, .epoch_index = index, .prev = prev, .first = seq };
        s->batch_last = seq - 1;
    }
    before = s->room->rows.length;
    wire_put_row(&s->room->rows, seq - s->batch_last - 1, row);
    assert(!s->room->rows.failed);
    s->batch_rows++;
    s->batch_last = seq;
    count_offered(s, row.length, s->room->rows.length - before);
    count_row(s, index, seq);
    return STATUS_OK;
}

void session_offer_end(struct session *s, bool at_end)
{
    struct lane_cursor *c = &s->lane[s->want_lane];
    bool got = s->batch_rows > 0;

    assert(s->wanting && s->room->builder == s);
    end_batch(s);
    s->wanting = false;
    if (at_end)
        c->unsent_messages = c->unsent_bytes = 0;
    /* Nothing fitted, or the frame is as full as it should be, or credit is spent: enough of this lane for
     * now. */
    if (at_end || !got || !c->unsent_messages || (s->want_lane != LANE_URGENT && !has_credit(s)))
        s->lane_done[s->want_lane] = true;
}

static bool nothing_unsent(const struct session *s)
{
    int lane;

    for (lane = 0; lane < LANE_COUNT; lane++)
        if (has_unsent(s, (enum lane)lane))
            return false;
    return true;
}

/* Ends the frame: false when it holds nothing worth sending. */
static bool finish(struct session *s, uint64_t now_ms, struct session_action *out)
{
    struct slice frame = writer_slice(&s->room->frame);
    bool last = nothing_unsent(s);

    s->building = false;
    s->room->builder = NULL;
    if (frame.length <= 1)
        return false;
    assert(!s->room->frame.failed);
    if (s->frame_has_rows) {
        s->room->frame_at[0] |= (uint8_t)(WIRE_FRAME_DATA | (last ? WIRE_FRAME_LAST : 0));
        s->frames[s->frames_out++ % FLIGHT_FRAMES].sample = pace_sent(&s->pace, frame.length, last, now_ms);
        s->unacked_bytes += frame.length;
        if (!s->waiting_since_ms)
            s->waiting_since_ms = now_ms;
    }
    s->sent_bytes += frame.length;
    s->spoke_ms = now_ms;
    *out = (struct session_action){ .kind = ACTION_SEND, .bytes = frame };
    return true;
}

bool session_build(struct session *s, uint64_t now_ms, struct session_action *out)
{
    enum lane lane;

    if (!s->building) {
        /* A hello has a frame to itself: with many epochs it is long, and its answer decides what else may
         * go. */
        bool rows = !s->hello_due && session_may_begin(s);

        if (!rows && !session_control_due(s))
            return false;
        begin(s, now_ms);
        if (!rows)
            memset(s->lane_done, true, sizeof s->lane_done);
    }
    assert(!s->wanting && s->room->builder == s);
    lane = s->plain_left >= PACE_FRAME_BYTES_LEAST / 2 || !s->frame_has_rows ? next_lane(s) : LANE_COUNT;
    if (lane < LANE_COUNT && (lane == LANE_URGENT || has_credit(s)) && s->plain_left) {
        want(s, lane, out);
        return true;
    }
    return finish(s, now_ms, out);
}

/* The batches of a lane up to mark left the air: what they counted no longer waits here. */
void session_flight_settle(struct session *s, size_t epoch, enum lane lane, uint64_t mark)
{
    uint64_t i;

    for (i = s->batches_out; i < s->batches_in; i++) {
        struct flight_batch *b = &s->batches[i % FLIGHT_BATCHES];

        if (b->lane != lane || !b->rows || b->epoch != epoch || b->last > mark)
            continue;
        s->lane[lane].flying_rows -= b->rows;
        s->lane[lane].flying_bytes -= b->bytes;
        b->rows = b->bytes = 0;
    }
    while (s->batches_out < s->batches_in && !s->batches[s->batches_out % FLIGHT_BATCHES].rows)
        s->batches_out++;
}

/* The peer did not take what came after mark: the cursor goes back there. */
void session_flight_rewind(struct session *s, size_t epoch, enum lane lane, uint64_t mark)
{
    struct lane_cursor *c = &s->lane[lane];
    uint64_t i;
    size_t e;

    for (i = s->batches_out; i < s->batches_in; i++) {
        struct flight_batch *b = &s->batches[i % FLIGHT_BATCHES];

        if (b->lane != lane || b->epoch < epoch || (b->epoch == epoch && b->last <= mark))
            continue;
        c->flying_rows -= b->rows;
        c->flying_bytes -= b->bytes;
        c->unsent_messages += b->rows; /* Until the owner tells the true count, in this turn. */
        c->unsent_bytes += b->bytes;
        b->rows = b->bytes = 0;
    }
    s->out[epoch].lane[lane].sent = mark;
    for (e = epoch + 1; e < s->out_count; e++)
        s->out[e].lane[lane].sent = s->out[e].lane[lane].settled;
    c->epoch = epoch;
    c->part_seq = 0;
    c->part_offset = 0;
}
