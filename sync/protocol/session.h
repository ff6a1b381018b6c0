/* SPDX-License-Identifier: Apache-2.0 */
/* The session: the sync protocol on one link, for both roles and both directions. It does no I/O and knows no
 * clock: frames, rows and the time come in, actions are taken out one at a time. PROTOCOL.md gives the bytes
 * and the rules.
 *
 * How an owner drives it, in each turn of its loop:
 *   for each frame that came:  session_receive(); then take actions until there are none
 *   commit the store;          session_committed()  (or, when the commit failed, close the link)
 *   tell what waits:           session_waiting() per lane
 *   take actions until there are none; set a timer for session_due_ms()
 * On ACTION_WANT the owner offers rows of that lane, in order, from after the place named, until STATUS_FULL
 * or the lane is at its end, and says so with session_offer_end(). */
#ifndef ZAJEL_PROTOCOL_SESSION_H
#define ZAJEL_PROTOCOL_SESSION_H

#include "sync/protocol/bytes.h"
#include "sync/protocol/lane.h"
#include "sync/protocol/message_id.h"
#include "sync/protocol/pack.h"

enum session_role { SESSION_RELAY, SESSION_GATEWAY };

#define SESSION_VERSION 1u /* The only version so far; a hello names a range. */
#define SESSION_EPOCHS_MAX \
    256u /* Epochs one hello may announce; an owner with more announces the rest next time. */
#define SESSION_FRAME_BYTES_MAX \
    70000u /* A frame of one incompressible batch of SESSION_BATCH_BYTES_MAX, and its records. */
#define SESSION_BATCH_BYTES_MAX 65536u /* Plain rows in one batch: what LZ4's window reaches. */

/* Marks of one epoch: per lane, the number up to which everything is taken or was never sent. */
struct session_marks {
    epoch_id epoch;
    uint64_t mark[LANE_COUNT];
};

/* What each side says of itself first. */
struct session_hello {
    uint64_t store_id;     /* Random at the store's making, and ... */
    uint64_t boot_counter; /* ... counted up at each start: they only raise the clone alarm. */
    uint64_t clock_ms;     /* Unix time; 0 when the sender does not trust its own. */
    uint64_t room_bytes;   /* Plain row bytes the sender of this hello is ready to take (credit). */
    /* Relay: the epochs with waiting rows, oldest first, the current one last (marks unused).
     * Gateway: one entry, the ledger's epoch. */
    const struct session_marks *epochs;
    size_t epoch_count;
    /* Relay: one entry, the ledger epoch it knows last and its marks in it (none if it knows none).
     * Gateway: its marks for each epoch the relay announced, in the relay's order. */
    const struct session_marks *taken;
    size_t taken_count;
};

enum session_reason {
    SESSION_REASON_NONE,
    SESSION_REASON_MALFORMED, /* The peer's bytes do not follow the protocol. */
    SESSION_REASON_VERSION,   /* No version in common. */
    SESSION_REASON_LIMIT,     /* The peer went past a limit. */
    SESSION_REASON_SILENT     /* Nothing was heard for too long. */
};

enum session_action_kind {
    ACTION_SEND,   /* Write bytes as one binary WebSocket message. Borrowed until the next call. */
    ACTION_WANT,   /* Offer rows of lane after (epoch, seq); epoch 0: from the lane's first row. */
    ACTION_STORE,  /* Take this row: (epoch, lane, seq, bytes) in the turn's transaction. Borrowed until the
                      next receive. */
    ACTION_SETTLE, /* The peer holds everything of (epoch, lane) up to seq for ever: forget it. */
    ACTION_HELLO,  /* The peer introduced itself: see hello. A gateway answers with session_welcome() or
                      closes. */
    ACTION_REPORT, /* The peer told its queue: see report. */
    ACTION_SILENT, /* Something is unacked and nothing was heard: tell people the link is down. */
    ACTION_ALIVE,  /* A frame came after all. */
    ACTION_CLOSE   /* Close the link with reason. The last action. */
};

struct session_report {
    uint64_t messages;
    uint64_t bytes;
    uint64_t oldest_age_s;
};

struct session_action {
    enum session_action_kind kind;
    enum lane lane;
    epoch_id epoch;
    uint64_t seq;
    struct slice bytes;
    struct session_hello hello; /* Borrowed until the next call. */
    struct session_report report;
    enum session_reason reason;
};

/* Working memory (some 500 KB) that all sessions of a thread share; nothing in it outlives a call sequence of
 * one turn. */
struct session_room;
int session_room_open(struct session_room **out, enum pack_level level);
void session_room_close(struct session_room *room); /* NULL is fine. */

struct session_options {
    enum session_role role;
    uint64_t idle_ms; /* Relay: first ping after so long a silence; 0: the default. session_stats() tells the
                         learnt one. */
};

struct session_stats {
    uint64_t rtt_ms;              /* The least seen lately; 0 unknown. */
    uint64_t goodput_bytes_per_s; /* 0 unknown. */
    uint64_t sent_bytes;          /* Frame bytes, as given to ACTION_SEND. */
    uint64_t received_bytes;
    uint64_t unacked_bytes;
    uint64_t idle_ms; /* The ping interval learnt. */
    bool up;          /* Hellos were exchanged and nothing is overdue. */
    bool useful;      /* Something of ours was acked on this link: back-off may be reset. */
};

struct session;

int session_open(struct session **out, const struct session_options *options, struct session_room *room);
void session_close(struct session *s); /* NULL is fine. */

/* The link is up. A relay gives its hello (copied); a gateway gives NULL and waits for the peer's. */
int session_start(struct session *s, const struct session_hello *own, uint64_t now_ms);
/* Gateway, in answer to ACTION_HELLO: its own hello; taken[] in the order of the peer's epochs. Copied. */
int session_welcome(struct session *s, const struct session_hello *own, uint64_t now_ms);

/* One whole frame. An error is also told by ACTION_CLOSE. */
int session_receive(struct session *s, struct slice frame, uint64_t now_ms);
/* All rows handed out by ACTION_STORE so far are on disk, marks included: only now may acks name them. Called
 * in every turn in which a frame was received, also when it held no row: until then nothing goes out. */
void session_committed(struct session *s, uint64_t now_ms);

/* What waits in the store for this peer, sent rows included; 0, 0 when nothing. Cheap: call it each turn. */
void session_waiting(struct session *s, enum lane lane, uint64_t messages, uint64_t bytes);
/* STATUS_FULL: it does not fit any more, offer it again when wanted next. STATUS_UNAVAILABLE: an epoch that
 * the hello did not announce; it goes on the next link. Rows must rise: (announced epoch order, seq). */
int session_offer(struct session *s, epoch_id epoch, uint64_t seq, struct slice row);
/* Ends the answer to ACTION_WANT; at_end: the lane has no row after the last one offered. */
void session_offer_end(struct session *s, bool at_end);

void session_set_room(struct session *s,
                      uint64_t room_bytes); /* Credit for what is to come. 0: none but urgent. */
void session_set_report(struct session *s, const struct session_report *report, uint64_t now_ms); /* Relay */

/* True and *out filled while there is something to do. */
bool session_next(struct session *s, uint64_t now_ms, struct session_action *out);
/* When to look again though nothing came: call session_next() at that time. UINT64_MAX: never. */
uint64_t session_due_ms(const struct session *s);
void session_stats(const struct session *s, struct session_stats *out);

const char *session_reason_name(enum session_reason reason);
/* The WebSocket close code that carries the reason (4000 + reason: the range RFC 6455 section 7.4.2 leaves to
 * applications). */
uint16_t session_close_code(enum session_reason reason);

#endif
