/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sync/protocol/session_state.h"
#include "sync/protocol/status.h"

#define NEVER UINT64_MAX

/* Marks are told at once for urgent rows and at the end of a backlog, else by these (design section 6): an
 * ack costs some 70 bytes on the link and a delete at the sender. */
#define MARKS_ROWS 32u
#define MARKS_BYTES 8192u
#define MARKS_MS 12000u

/* With something unacked the link counts as silent after max(this, 4 x RTT), and is given up so much later.
 */
#define SILENT_MS 5000u
#define SILENT_KEPT_MS 10000u
#define HELLO_WAIT_MS 30000u /* A peer whose TLS came up says hello within this. */

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
void session_settle(struct session *s, size_t i, enum lane lane, uint64_t mark)
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
            session_settle(s, 0, (enum lane)lane, s->peer_taken[0].mark[lane]);
    s->spoke_ms = now_ms;
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
        session_drop_assembly(s);
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
    if (session_take_next(s, now_ms, out))
        return true;
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
