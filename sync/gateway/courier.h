/* SPDX-License-Identifier: Apache-2.0 */
/* The courier gives messages to WhatsApp: one at a time of each customer, number and lane, within the rates,
 * and never twice. An attempt is journaled before its body leaves; what nobody answered is parked until a
 * webhook tells. */
#ifndef ZAJEL_GATEWAY_COURIER_H
#define ZAJEL_GATEWAY_COURIER_H

#include "sync/gateway/ledger.h"
#include "sync/gateway/settings.h"
#include "sync/kit/loop.h"

struct courier;

/* Reads all that is pending from the ledger. What may have been leaving when the gateway died is unknown now.
 */
int courier_open(struct courier **out, struct loop *loop, const struct settings *settings,
                 struct ledger *ledger, int64_t now_s);
void courier_close(struct courier *c); /* Ends requests in flight: their outcome is unknown. NULL is fine. */

/* The turn, first half: outcomes, journal, deadlines. Any error: the turn must not be committed. */
int courier_take(struct courier *c, uint64_t now_ms, int64_t now_s);
/* After the commit: messages that arrived in the turn (in their order) join, new requests begin. */
void courier_committed(struct courier *c, const struct ledger_job *arrived, size_t count, uint64_t now_ms,
                       int64_t now_s);
/* The last thing of the turn: bodies whose attempts are journaled may leave. */
void courier_depart(struct courier *c);

/* A webhook carried our token: WhatsApp took the message, as meta. Within the turn. */
int courier_reconcile(struct courier *c, const struct message_id *id, struct slice meta);
/* Webhooks arrive: what is unknown after enough of that will stay so. */
void courier_heard_webhook(struct courier *c, uint64_t now_ms);
/* Ends all holds and pauses: somebody has mended it. Returns how many there were. */
unsigned courier_release(struct courier *c);

/* The gateway stops: nothing begins any more. True when no body is out without an answer: then nothing
 * becomes unknown by it. */
bool courier_quiet(struct courier *c);

struct courier_state {
    uint64_t pending; /* Waiting and in flight. */
    uint64_t held;    /* Of those: waiting for somebody to mend something. */
    uint64_t unknown;
    unsigned in_flight;
    uint64_t lanes[LANE_COUNT]; /* Pending. */
};
void courier_state(const struct courier *c, struct courier_state *out);

/* The i-th hold; false after the last. number 0: all numbers. */
struct courier_hold {
    uint64_t number;
    int code;
    const char *why;
    uint64_t messages;
};
bool courier_hold(const struct courier *c, size_t i, struct courier_hold *out);

#endif
