/* SPDX-License-Identifier: Apache-2.0 */
/* An item: what a row of a lane says, before it is packed, sealed or put in a frame. */
#ifndef ZAJEL_PROTOCOL_ITEM_H
#define ZAJEL_PROTOCOL_ITEM_H

#include "sync/protocol/bytes.h"

/* Frozen: on the link and in stores. */
enum item_kind {
    ITEM_SEND = 1,   /* Up: a program's request for POST .../messages. */
    ITEM_EVENT = 2,  /* Down: one webhook event, body = the whole webhook of one event. */
    ITEM_TAKEN = 3,  /* Down: WhatsApp took a message of ours; identity names it, no body. */
    ITEM_CONTROL = 4 /* Down, urgent lane only: settings, revocations; body by its own rules. */
};

/* How the body is written: three levels, each falling back to the next (design section 6). */
enum item_form { ITEM_FORM_TEXT = 0, ITEM_FORM_TAGGED = 1 };

struct item {
    enum item_kind kind;
    enum item_form form;
    uint64_t number; /* ITEM_SEND: the phone number id, decimal digits as a number; 0 when there is none. */
    uint64_t at_s; /* When it was accepted (up) or received (down), Unix seconds by the sender's clock; 0: not
                      known. */
    uint32_t ttl_s;    /* ITEM_SEND: worth sending for so long after at_s; 0 = the lane's default. */
    struct slice of;   /* ITEM_TAKEN: the message's identity, its binary form; else empty. */
    struct slice body; /* A tagged value or JSON text. */
};

/* The largest item we make or take: a WhatsApp webhook is at most 3 MB, a request [limits] request_bytes_max.
 */
#define ITEM_BYTES_MAX (4u * 1024u * 1024u)

size_t item_bound(const struct item *item);
int item_write(const struct item *item, uint8_t *room, size_t room_length,
               struct slice *out);                   /* STATUS_TOO_LARGE */
int item_read(struct slice bytes, struct item *out); /* Borrowed from bytes. STATUS_PEER_MALFORMED */

#endif
