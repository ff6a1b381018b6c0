/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/routing.h"

#include <string.h>

#include "sync/protocol/status.h"

static const char *const rule_names[ROUTING_RULE_COUNT] = { "last_served", "prefix", "default" };

static int add_rule(struct routing *r, struct slice word)
{
    for (int rule = 0; rule < ROUTING_RULE_COUNT; rule++) {
        if (!slice_is(word, rule_names[rule]))
            continue;
        for (size_t i = 0; i < r->order_count; i++)
            if (r->order[i] == (enum routing_rule)rule)
                return STATUS_INVALID;
        r->order[r->order_count++] = (enum routing_rule)rule;
        return STATUS_OK;
    }
    return STATUS_INVALID;
}

int routing_parse_order(const char *text, struct routing *out)
{
    out->order_count = 0;
    for (;;) {
        size_t length;

        text += strspn(text, " \t");
        length = strcspn(text, ", \t");
        if (add_rule(out, slice_of(text, length)) != STATUS_OK)
            return STATUS_INVALID;
        text += length;
        text += strspn(text, " \t");
        if (*text == '\0')
            return STATUS_OK;
        if (*text++ != ',')
            return STATUS_INVALID;
    }
}

/* The longest prefix that leads to a branch wins. */
static uint32_t by_prefix(const struct routing *r, struct slice customer, const struct routing_known *known)
{
    size_t longest = 0;
    uint32_t chosen = 0;

    for (size_t i = 0; i < r->prefix_count; i++) {
        size_t length = strlen(r->prefixes[i].digits);
        uint32_t branch;

        if (length <= longest || length > customer.length ||
            memcmp(r->prefixes[i].digits, customer.at, length) != 0)
            continue;
        if ((branch = known->branch(known->owner, r->prefixes[i].branch)) == 0)
            continue;
        longest = length;
        chosen = branch;
    }
    return chosen;
}

uint32_t routing_choose(const struct routing *r, struct slice customer, const struct routing_known *known)
{
    uint32_t branch = 0;

    for (size_t i = 0; i < r->order_count && branch == 0; i++) {
        switch (r->order[i]) {
        case ROUTING_LAST_SERVED: branch = known->last_served; break;
        case ROUTING_PREFIX: branch = by_prefix(r, customer, known); break;
        case ROUTING_DEFAULT:
            branch = r->default_branch ? known->branch(known->owner, r->default_branch) : 0;
            break;
        case ROUTING_RULE_COUNT: break;
        }
    }
    return branch ? branch : known->only_branch;
}
