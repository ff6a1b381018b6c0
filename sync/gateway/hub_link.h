/* SPDX-License-Identifier: Apache-2.0 */
/* One link of a branch, as the hub keeps it: its session, and the frames that wait for the turn. For hub*.c
 * alone. */
#ifndef ZAJEL_GATEWAY_HUB_LINK_H
#define ZAJEL_GATEWAY_HUB_LINK_H

#include "sync/gateway/heap.h"
#include "sync/gateway/hub.h"
#include "sync/kit/link.h"
#include "sync/protocol/session.h"

#define HUB_FRAMES_MAX 16u        /* Waiting ones of a link; then its socket is not read. */
#define HUB_ROOM_BYTES (1u << 20) /* Credit of a branch: more than its link carries while we commit. */
#define HUB_TALKING_MS \
    5000u /* Heard within: it is there (design section 6, a dead link is noticed in 5 s). */
#define HUB_HELLO_MS_MAX \
    30000u /* The hello comes with the first frames; a slow link's handshake was before. */
/* Close codes of the range for applications, beyond those of session_close_code(). */
#define HUB_CLOSE_TRY_AGAIN 4100u
#define HUB_CLOSE_REPLACED 4101u
#define HUB_CLOSE_REVOKED 4102u

struct hub_frame {
    struct hub_frame *next;
    size_t length;
    uint8_t bytes[];
};

struct hub_link {
    struct hub *hub;
    struct hub_link *next, **place; /* All links of the hub. */
    struct hub_link *next_dirty, *next_pump;
    bool dirty, pumping;
    struct link *link;       /* NULL before `up` and after `down`. */
    struct session *session; /* NULL once something failed in the middle of its actions. */
    uint32_t branch;
    const struct settings_branch *options;
    struct hub_frame *frames, **frames_end;
    struct hub_frame *in_use; /* Given out by hub_link_next(). */
    unsigned frame_count;
    bool paused;
    bool broken;  /* To be closed when the turn ends. */
    bool closing; /* link_close() was called, or it is gone. */
    bool gone;    /* `down` came: to be freed. */
    bool silent;
    int64_t clock_behind_s;
    uint64_t store_id, boot;
    uint64_t opened_ms, heard_ms;
    struct heap_node due;
};

/* How much was said of a branch lately: a mad box must not fill the log. */
struct hub_voice {
    uint64_t since_ms;
    unsigned lines, muted;
};

struct hub_branch {
    struct hub_voice voice;
    struct hub_link *link; /* The one that said hello, and is used. */
    unsigned links;        /* All of them. */
    uint64_t took_in_turn;
    uint64_t heard_ms;
    bool clone_alarm;
};

struct hub {
    struct loop *loop;
    const struct settings *settings;
    struct ledger *ledger;
    struct link_server *server;
    struct session_room *room;
    struct loop_timer timer;
    struct heap due;
    struct hub_link *links;
    struct hub_link *dirty, **dirty_end; /* Have frames or news for the turn. */
    struct hub_link *pump;               /* Get their second half of the turn. */
    struct hub_branch *branches;         /* By number - 1. */
    uint32_t branch_room;
    struct arrivals *arrivals;
    struct text row;
    uint64_t turn;
    unsigned frames_left;
    uint64_t room_bytes;
    uint64_t damaged;
    uint64_t renewed_ms;
    bool renew_wanted;
    struct hub_totals totals;
    struct hub_voice unknown; /* Of certificates that are of no branch. */
};

struct hub_link *hub_link_open(struct hub *h, uint32_t branch); /* NULL: out of memory. */
void hub_link_free(struct hub_link *k);
/* Copies a frame into the queue, and pauses the link when enough wait. STATUS_FULL: far too many, it did not
 * pause. */
int hub_link_queue(struct hub_link *k, struct slice frame);
bool hub_link_has_frames(const struct hub_link *k);
/* Takes the oldest frame out; borrowed until the next call. */
bool hub_link_next(struct hub_link *k, struct slice *frame);
void hub_link_resume(struct hub_link *k); /* Reads again when there is room. */

#endif
