/* SPDX-License-Identifier: Apache-2.0 */
/* What a session remembers; shared by session.c, session_take.c and session_send.c.
 */
#ifndef ZAJEL_PROTOCOL_SESSION_STATE_H
#define ZAJEL_PROTOCOL_SESSION_STATE_H

#include "sync/protocol/pace.h"
#include "sync/protocol/session.h"
#include "sync/protocol/wire.h"

/* Frames and batches in flight. A second of goodput each: sixty-four are far more than the window lets out.
 */
#define FLIGHT_FRAMES 64u
#define FLIGHT_BATCHES 256u

/* Plain bytes of rows in one frame: leaves SESSION_FRAME_BYTES_MAX room for heads and for what does not
 * shrink. */
#define FRAME_PLAIN_MAX 61440u
/* A longer row goes in pieces of at most so much: urgent rows slip in between (P4). */
#define PART_BYTES_MAX 16384u
/* Before the peer said how much it takes, so much goes out with our hello. */
#define CREDIT_BEFORE_HELLO 4096u

/* What was sent of one epoch in one lane, and how far the peer holds it for ever. */
struct out_lane {
    uint64_t sent, settled;
    uint64_t told; /* As far as the owner was given ACTION_SETTLE. */
};
struct out_epoch {
    epoch_id id;
    struct out_lane lane[LANE_COUNT];
};

/* What was taken of one of the peer's epochs in one lane. */
struct in_lane {
    uint64_t taken;  /* Given to the owner. */
    uint64_t stored; /* On disk: taken when session_committed() was last called. */
    uint64_t acked;  /* Told to the peer. */
    bool rewind;     /* The peer began past our mark: tell it where we are. */
};
struct in_epoch {
    epoch_id id;
    struct in_lane lane[LANE_COUNT];
};

struct lane_cursor {
    uint64_t unsent_messages, unsent_bytes; /* As far as the owner told. */
    uint64_t flying_rows;                   /* Sent, not settled. */
    uint64_t flying_bytes;
    size_t epoch;         /* Index of the epoch the cursor stands in; its `sent` is the place. */
    uint64_t served;      /* Plain bytes sent over weight: the lane with the least goes next. */
    uint64_t part_seq;    /* A row being sent in pieces: its number (0: none) ... */
    uint64_t part_offset; /* ... and how much of it went. */
};

struct flight_frame {
    struct pace_sample sample;
};

struct flight_batch {
    enum lane lane;
    size_t epoch;
    uint64_t last;
    uint64_t rows, bytes;
};

/* A row arriving in pieces. One at a time per lane would do; one in all is what an honest sender needs. */
struct assembly {
    uint8_t *at;
    uint64_t length, have;
    size_t epoch;
    enum lane lane;
    uint64_t seq;
};

struct session_room {
    struct packer *packer;
    struct session *builder; /* Whose frame stands in `frame`. */
    struct writer rows;      /* The batch being filled, plain. */
    struct writer frame;     /* The frame being built. */
    uint8_t rows_at[SESSION_BATCH_BYTES_MAX];
    uint8_t packed_at[SESSION_FRAME_BYTES_MAX];
    uint8_t frame_at[SESSION_FRAME_BYTES_MAX];
    uint8_t frame_in[SESSION_FRAME_BYTES_MAX]; /* The frame being read ... */
    uint8_t rows_in[SESSION_BATCH_BYTES_MAX];  /* ... and its present batch, unpacked. */
};

struct session {
    enum session_role role;
    struct session_room *room;

    bool started, greeted, welcomed; /* greeted: the peer's hello came; welcomed: ours went. */
    bool closing, closed;
    enum session_reason reason;

    /* Hellos. */
    bool hello_due;
    struct session_hello own;
    struct session_marks *own_epochs, *own_taken;
    struct wire_hello peer;
    struct session_marks *peer_epochs, *peer_taken;
    bool hello_told; /* ACTION_HELLO was given out. */

    /* Out. */
    struct out_epoch *out;
    size_t out_count;
    struct lane_cursor lane[LANE_COUNT];
    bool settle_due;
    uint64_t credit_limit, credit_used;
    struct pace pace;
    uint64_t frames_out, frames_acked;
    struct flight_frame frames[FLIGHT_FRAMES]; /* Frame n at n % FLIGHT_FRAMES. */
    uint64_t unacked_bytes;
    struct flight_batch batches[FLIGHT_BATCHES];
    uint64_t batches_in, batches_out; /* Ring: from batches_out up to batches_in. */
    double shrink[LANE_COUNT];        /* Packed over plain, lately. */

    /* A frame being built, between ACTION_WANT and ACTION_SEND. */
    bool building, wanting, urgent_frame, frame_has_rows;
    enum lane want_lane;
    size_t want_room;  /* Plain bytes still wanted of want_lane. */
    size_t plain_left; /* Plain bytes still wanted in the frame. */
    bool lane_done[LANE_COUNT];
    struct wire_rows batch; /* The open batch; batch_rows 0: none. */
    uint64_t batch_rows, batch_last;

    /* In. */
    struct in_epoch *in;
    size_t in_count;
    bool receiving; /* Frames came whose rows are not committed yet: nothing goes out. */
    struct reader frame_in;
    bool frame_open, frame_last;
    struct reader rows_in;
    struct wire_rows batch_in;
    uint64_t row_prev; /* The number before the next row of batch_in. */
    bool batch_open, batch_refused;
    struct assembly assembly;
    uint64_t frames_in, frames_told;
    uint64_t taken_bytes, room_bytes, credit_told;
    uint64_t rows_unacked, bytes_unacked, ack_by_ms; /* ack_by_ms 0: nothing stored is unacked. */
    bool ack_now, marks_now;

    /* Liveness. */
    uint64_t heard_ms, spoke_ms, waiting_since_ms; /* waiting_since_ms 0: no answer is awaited. */
    bool silent, silent_told, alive_due;
    bool ping_due, pong_due, probing, second_ping_sent;
    uint64_t idle_ms, peer_idle_ms;

    bool report_due, report_set, report_told;
    struct session_report report, report_sent, peer_report;
    uint64_t report_sent_ms;
    bool peer_report_due;

    uint64_t sent_bytes, received_bytes;
    bool useful;
};

#define MARKS_IN_ONE_ACK 64u /* More wait for the next ack: an ack stays a small frame. */

/* Idle pings: the first guess, and how far the learnt interval may go. Carrier NATs forget after 30 s at the
 * worst. */
#define IDLE_MS_FIRST 120000u
#define IDLE_MS_LEAST 30000u
#define IDLE_MS_MOST 300000u

/* session_send.c: builds frames. */
bool session_may_begin(const struct session *s);
bool session_build(struct session *s, uint64_t now_ms,
                   struct session_action *out); /* False: nothing to send. */
void session_flight_settle(struct session *s, size_t epoch, enum lane lane, uint64_t mark);
void session_flight_rewind(struct session *s, size_t epoch, enum lane lane, uint64_t mark);
/* session_take.c: hears. True with *out filled when the frame being read gave a row. */
bool session_take_next(struct session *s, uint64_t now_ms, struct session_action *out);
void session_drop_assembly(struct session *s);
/* session.c: decides. The peer holds everything up to mark of our epoch number i. */
void session_settle(struct session *s, size_t i, enum lane lane, uint64_t mark);
void session_put_control(struct session *s, uint64_t now_ms);
bool session_control_due(const struct session *s);

#endif
