/* SPDX-License-Identifier: Apache-2.0 */
/* Routing: which branch a customer's message goes to (design section 9, [routing]). Pure: what is known comes
 * in. */
#ifndef ZAJEL_GATEWAY_ROUTING_H
#define ZAJEL_GATEWAY_ROUTING_H

#include "sync/protocol/bytes.h"

enum routing_rule { ROUTING_LAST_SERVED, ROUTING_PREFIX, ROUTING_DEFAULT, ROUTING_RULE_COUNT };

struct routing_prefix {
    const char *digits; /* "254" */
    const char *branch;
};

struct routing {
    enum routing_rule order[ROUTING_RULE_COUNT];
    size_t order_count;
    const struct routing_prefix *prefixes;
    size_t prefix_count;
    const char *default_branch; /* NULL: none. */
};

/* Reads "last_served, prefix, default", each at most once. STATUS_INVALID */
int routing_parse_order(const char *text, struct routing *out);

struct routing_known {
    /* The number of the branch of that id, if it may get messages; 0: none. */
    uint32_t (*branch)(void *owner, const char *id);
    void *owner;
    uint32_t last_served; /* 0: nobody yet. */
    uint32_t only_branch; /* The one there is, when there is exactly one; else 0. */
};

/* The branch's number, or 0: no rule knows one. customer: digits, or a BSUID, which has no prefix; empty:
 * none. */
uint32_t routing_choose(const struct routing *r, struct slice customer, const struct routing_known *known);

#endif
