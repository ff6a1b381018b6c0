/* SPDX-License-Identifier: Apache-2.0 */
/* A program's request on its last step: whom it is for, what it refers to, and its rewriting into what
 * WhatsApp gets. The relay has checked it already; here nothing is refused that WhatsApp itself can judge.
 * Pure over JSON trees. */
#ifndef ZAJEL_GATEWAY_REQUEST_H
#define ZAJEL_GATEWAY_REQUEST_H

#include "sync/kit/json.h"
#include "sync/protocol/message_id.h"

#define REQUEST_CUSTOMER_MAX 160u /* A BSUID of a parent portfolio is about 140. */

struct request {
    bool is_read; /* A read mark, with or without a typing indicator. */
    bool is_typing;
    /* Digits of `to`, or the group's id there; else the BSUID, cut at the room; "" for a read mark. */
    char customer[REQUEST_CUSTOMER_MAX + 1];
    struct slice about; /* What a read mark or a reaction is about: message_id, reaction.message_id. */
    struct slice
        reply_to; /* context.message_id. Both are borrowed from the tree, empty where there is none. */
};

void request_read(const struct json *tree, struct request *out);

/* The token by which a status says which message of ours it is about: "zj1." and the id's text. */
#define REQUEST_TOKEN_PREFIX "zj1."
bool request_token(struct slice text, struct message_id *id);

/* Meta's ids for what a request refers to; NULL leaves what stands there. */
struct request_targets {
    const char *about, *reply_to;
};

/* Puts Meta's ids in, and our token (not into a read mark); drops a typing indicator when it is stale. */
int request_rewrite(struct json *tree, const struct request_targets *meta, const struct message_id *id,
                    bool typing_is_stale);

/* A phone number id as a number: 1 to 19 digits, no leading zero; 0: it is none. */
uint64_t request_number(struct slice digits);

#endif
