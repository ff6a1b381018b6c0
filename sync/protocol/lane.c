/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/lane.h"

#include <assert.h>

#include "sync/protocol/status.h"

struct lane_rule {
    const char *name;
    uint32_t ttl_s;
    uint32_t weight;
};

/* Design section 5. Chat has its window's end where that is known; a day is what stands in for it. */
static const struct lane_rule rules[LANE_COUNT] = {
    [LANE_URGENT] = { "urgent", 300, 0 }, [LANE_ALERT] = { "alert", 86400, 8 },
    [LANE_CHAT] = { "chat", 86400, 4 },   [LANE_DOCUMENT] = { "document", 604800, 2 },
    [LANE_BULK] = { "bulk", 259200, 1 },
};

static const struct lane_rule *lane_rule(enum lane lane)
{
    assert(lane < LANE_COUNT);
    return &rules[lane];
}

const char *lane_name(enum lane lane)
{
    return lane_rule(lane)->name;
}

int lane_parse(struct slice name, enum lane *out)
{
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        if (slice_is(name, rules[i].name)) {
            *out = (enum lane)i;
            return STATUS_OK;
        }
    }
    return STATUS_INVALID;
}

uint32_t lane_ttl_s(enum lane lane)
{
    return lane_rule(lane)->ttl_s;
}

uint32_t lane_weight(enum lane lane)
{
    return lane_rule(lane)->weight;
}
