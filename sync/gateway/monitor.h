/* SPDX-License-Identifier: Apache-2.0 */
/* The monitor: what head office sees. /status, /metrics, /healthz, /readyz, and the board's page. */
#ifndef ZAJEL_GATEWAY_MONITOR_H
#define ZAJEL_GATEWAY_MONITOR_H

#include "sync/gateway/courier.h"
#include "sync/gateway/hub.h"
#include "sync/gateway/ledger.h"
#include "sync/gateway/settings.h"
#include "sync/gateway/webhooks.h"

#ifndef ZAJEL_VERSION
#define ZAJEL_VERSION "0.1.0"
#endif

/* What it reads from; the owner changes it when a part is replaced. NULL parts: not there now. */
struct monitor_sources {
    const struct settings *settings;
    struct ledger *ledger;
    struct courier *courier;
    struct hub *hub;
    struct webhooks *webhooks;
    uint64_t started_ms;   /* loop_now_ms() of the start. */
    bool accepting;        /* The ledger has room. */
    uint64_t syncs, turns; /* Of ledgers closed since the start. */
};

struct monitor;

int monitor_open(struct monitor **out, struct loop *loop,
                 const struct monitor_sources *sources); /* STATUS_BUSY */
void monitor_close(struct monitor *m);                   /* NULL is fine. */
uint16_t monitor_port(const struct monitor *m);

/* The status as JSON (design section 9), and as lines for people, who give it back parsed. STATUS_NO_MEMORY
 */
int monitor_status(const struct monitor_sources *sources, struct text *out);
int monitor_status_lines(struct slice status_json, struct text *out);
/* One line: "accepting; 12 of 20 branches linked; courier: 3 wait, 1 held, 0 unknown". */
void monitor_words(const struct monitor_sources *sources, struct text *out);

#endif
