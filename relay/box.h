/* SPDX-License-Identifier: Apache-2.0 */
/* The running relay: its parts, and the turn in which they act together. */
#ifndef ZAJEL_RELAY_BOX_H
#define ZAJEL_RELAY_BOX_H

#include "relay/branch.h"
#include "relay/options.h"
#include "sync/kit/loop.h"

struct intake;
struct uplink;
struct herald;
struct calls;
struct notify;

struct box {
    struct loop *loop;
    struct options *options;
    struct outbox *outbox; /* NULL while the store cannot be opened: everything is answered 503 then. */
    struct branch *branch;
    struct intake *intake;
    struct uplink *uplink;
    struct herald *herald;
    struct calls *calls;
    struct notify *notify;
    struct loop_timer tick; /* Once a second: what falls due by time alone. */
    bool tick_due;
    bool store_damaged;      /* It proved corrupt in service: open it with a salvage. */
    uint64_t started_ms;     /* Elapsed time. */
    uint64_t turns;          /* With work. */
    uint64_t syncs, commits; /* Of stores closed before; the open one counts its own. */
    uint64_t reopened;
    int64_t certificate_until_s; /* 0: unknown. */
};

/* Runs until SIGTERM. Returns the exit code of `run`. */
int box_run(struct options *options);

void box_now(struct branch_time *now);
uint64_t box_turns(const struct box *b);
uint64_t box_syncs(const struct box *b);
uint64_t box_commits(const struct box *b);

#endif
