/* SPDX-License-Identifier: Apache-2.0 */
/* Two sessions, one at each end of a pretended link with a rate, a delay and a knife; two stores in memory.
 */
#ifndef ZAJEL_TESTS_SUPPORT_SESSIONS_H
#define ZAJEL_TESTS_SUPPORT_SESSIONS_H

#include "sync/protocol/session.h"

#define EPOCHS 4
#define ROWS_MAX 6000
#define FRAMES_MAX 512

struct row {
    size_t epoch; /* Index into the end's epochs. */
    uint64_t seq;
    uint8_t *bytes;
    size_t length;
    bool gone;
};

struct flying {
    uint8_t *bytes;
    size_t length;
    uint64_t at_ms;
};

struct end {
    struct session *session;
    epoch_id epochs[EPOCHS];
    size_t epoch_count;
    struct row rows[LANE_COUNT][ROWS_MAX];
    size_t row_count[LANE_COUNT];
    uint64_t next_seq[LANE_COUNT]; /* In the newest epoch. */
    /* What came from the other end. */
    struct session_marks taken[EPOCHS];
    struct session_marks pending[EPOCHS]; /* Stored in this turn, not committed. */
    size_t taken_count;
    uint64_t got[LANE_COUNT];
    uint64_t got_ms[LANE_COUNT];
    uint64_t got_order[LANE_COUNT][ROWS_MAX];
    size_t got_longest;
    bool got_wrong;
    /* Frames on their way to this end. */
    struct flying inbox[FRAMES_MAX];
    size_t inbox_head, inbox_tail;
    uint64_t line_free_ms;
    bool closed, silent;
    enum session_reason reason;
    struct session_report report;
    uint64_t frames, longest_frame, hello_bytes;
    uint64_t room_bytes;
};

struct world {
    struct end relay, gateway;
    struct session_room *room;
    uint64_t now_ms, delay_ms, bytes_per_s;
    bool cut, refuse_commits;
};

void world_add_row(struct end *e, enum lane lane, size_t length);
void world_fill_randomly(struct row *r);
void world_new_epoch(struct end *e);
size_t world_waiting(const struct end *e, enum lane lane, uint64_t *bytes);
struct world *world_start(void);
void world_stop(struct world *w);
void world_connect(struct world *w);
void world_drain(struct world *w, struct end *e);
void world_pump(struct world *w, struct end *e);
void world_run_ms(struct world *w, uint64_t ms);
bool world_all_gone(const struct end *e);
void world_assert_in_order(const struct end *e, enum lane lane, size_t count);

#endif
