/* SPDX-License-Identifier: Apache-2.0 */
/* What the branch's own files share. Nobody else includes this. */
#ifndef ZAJEL_RELAY_BRANCH_PARTS_H
#define ZAJEL_RELAY_BRANCH_PARTS_H

#include "relay/branch.h"
#include "relay/outbox_history.h"
#include "sync/kit/json.h"
#include "sync/protocol/item.h"

struct branch {
    struct branch_options options;
    struct outbox *outbox;
    bool link_is_up;
    struct text tagged, item;                /* Working room. */
    struct outbox_place scanned[LANE_COUNT]; /* How far the slices behind the heads came. */
};

/* Why a message ended here, as the sender is told. */
struct branch_end {
    enum history_state state;
    enum outbox_total total;
    uint32_t code;
    const char *title;
    const char *details;
};

/* Makes working room of at least that length; false: no memory. Trimming gives back what one large message
 * took. */
bool branch_room(struct text *room, size_t length);
void branch_trim(struct text *room);
/* The digits of a phone number id as an item carries them; 0: none. */
uint64_t branch_number_value(struct slice digits);
/* NULL: not one of the branch's. */
const struct branch_number *branch_number_of(const struct branch *b, uint64_t value);
/* The item's body as a tree; the caller frees. STATUS_PEER_MALFORMED, STATUS_NO_MEMORY */
int branch_read_body(const struct item *item, struct json **out);
bool branch_is_expired(const struct outbox_row *row);
/* Ends a message that waits here: tells its sender, keeps its history, deletes its row. The row is opened. */
int branch_end(struct branch *b, const struct outbox_row *row, const struct branch_end *end, uint64_t now_ms);
/* The webhook of one status (which moves into it). number NULL: what it would say is left empty. */
int branch_webhook_of_status(const struct branch_number *number, uint64_t number_value, struct json *status,
                             struct json **out);
/* A Graph-shaped error. */
int branch_refuse(struct branch_answer *answer, unsigned status, int code, const char *title,
                  const char *details);
struct outbox_place branch_place_of(const struct message_id *id);

#endif
