/* SPDX-License-Identifier: Apache-2.0 */
/* A message that comes in pieces, until it is whole. For kit/link.c alone. */
#ifndef ZAJEL_KIT_LINK_MESSAGE_H
#define ZAJEL_KIT_LINK_MESSAGE_H

#include <stdbool.h>

#include "sync/protocol/bytes.h"

/* Starts as {0}. */
struct link_message {
    uint8_t *at;
    size_t length, room;
};

/* Copies a piece. The caller has seen that all of them together are at most bytes_max. False: out of memory.
 */
bool link_message_add(struct link_message *m, struct slice piece, size_t bytes_max);
void link_message_free(struct link_message *m); /* Back to {0}. */

#endif
