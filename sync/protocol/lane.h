/* SPDX-License-Identifier: Apache-2.0 */
/* The five lanes (design section 5). Their numbers are on disk and on the link: frozen. */
#ifndef ZAJEL_PROTOCOL_LANE_H
#define ZAJEL_PROTOCOL_LANE_H

#include "sync/protocol/bytes.h"

enum lane {
    LANE_URGENT = 0,
    LANE_ALERT = 1,
    LANE_CHAT = 2,
    LANE_DOCUMENT = 3,
    LANE_BULK = 4,
    LANE_COUNT = 5
};

const char *lane_name(enum lane lane); /* "urgent", "alert", "chat", "document", "bulk". */

/* The lane of that name. STATUS_INVALID when there is none. */
int lane_parse(struct slice name, enum lane *out);

/* How long a message of the lane is worth sending, in seconds, when nobody said otherwise. */
uint32_t lane_ttl_s(enum lane lane);

/* The lane's share of the link beside the others; 0 for urgent, which goes strictly first. */
uint32_t lane_weight(enum lane lane);

#endif
