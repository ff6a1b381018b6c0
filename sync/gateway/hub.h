/* SPDX-License-Identifier: Apache-2.0 */
/* The hub: the branches' links. It admits boxes by their certificates, runs a session on each link, gives
 * what comes up to the ledger and takes from it what goes down. */
#ifndef ZAJEL_GATEWAY_HUB_H
#define ZAJEL_GATEWAY_HUB_H

#include "sync/gateway/arrival.h"
#include "sync/gateway/ledger.h"
#include "sync/gateway/settings.h"
#include "sync/kit/loop.h"

struct hub;

struct hub_options {
    struct loop *loop;
    const struct settings *settings;
    const char *certificate_file, *key_file, *client_ca_file;
};

/* ledger may be replaced by hub_use_ledger() while no link is open. STATUS_BUSY: the port is taken. */
int hub_open(struct hub **out, const struct hub_options *options, struct ledger *ledger);
void hub_close(struct hub *h); /* NULL is fine. */
void hub_use_ledger(struct hub *h, struct ledger *ledger);
uint16_t hub_port(const struct hub *h);
int hub_reload(struct hub *h); /* New certificate files. */

/* The turn, first half: what came in goes to the ledger; messages are added to arrivals. */
void hub_take(struct hub *h, struct arrivals *arrivals, uint64_t now_ms, int64_t now_s);
/* Second half, after the commit: acks, and what waits for the branches, go out. */
void hub_committed(struct hub *h, uint64_t now_ms, int64_t now_s);
/* The commit failed: all links are closed, and nothing that came in is acked. */
void hub_drop(struct hub *h, const char *why);
/* Closes a branch's links: it was revoked. */
void hub_drop_branch(struct hub *h, uint32_t branch);
/* How many bytes of rows each branch may send us; 0: the disk is full. */
void hub_set_room(struct hub *h, bool has_room);

struct hub_state {
    bool connected;
    bool silent;       /* Connected, but overdue. */
    bool clone_alarm;  /* Two boxes seem to use the branch's identity. */
    uint64_t heard_ms; /* loop time; 0: not since the start. */
};
void hub_branch_state(const struct hub *h, uint32_t branch, struct hub_state *out);

struct hub_totals {
    unsigned links;
    uint64_t links_total, refused_total, received_bytes, sent_bytes, frames_total;
};
void hub_totals(const struct hub *h, struct hub_totals *out);

#endif
