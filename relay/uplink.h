/* SPDX-License-Identifier: Apache-2.0 */
/* The way up: one link to the gateway at a time, the session on it, and when to try again. */
#ifndef ZAJEL_RELAY_UPLINK_H
#define ZAJEL_RELAY_UPLINK_H

#include "relay/box.h"

enum uplink_state { UPLINK_OFF, UPLINK_DOWN, UPLINK_CONNECTING, UPLINK_UP };

struct uplink_facts {
    enum uplink_state state;
    uint64_t since_ms; /* Elapsed time at which it became so. */
    uint64_t rtt_ms;
    uint64_t goodput_bytes_per_s;
    uint64_t sent_bytes, received_bytes; /* Frames, since the start. */
    uint64_t connects;                   /* Links that came up. */
};

const char *uplink_state_name(enum uplink_state state);

int uplink_open(struct uplink **out, struct box *box);
void uplink_close(struct uplink *u); /* NULL is fine. */
/* Before the commit: what came from the gateway. Anything but STATUS_OK is the store's trouble. */
int uplink_turn(struct uplink *u, const struct branch_time *now);
/* After it: acks and rows go out. */
int uplink_pump(struct uplink *u, const struct branch_time *now);
/* The store is about to be closed: the link's promises go with it. */
void uplink_drop(struct uplink *u);
void uplink_facts(const struct uplink *u, struct uplink_facts *out);
uint64_t uplink_goodput(const struct uplink *u); /* Bytes per second; 0 unknown. */

#endif
