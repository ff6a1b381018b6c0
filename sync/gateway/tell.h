/* SPDX-License-Identifier: Apache-2.0 */
/* Telling a branch what became of a message when WhatsApp will not: a status "failed" of our own making goes
 * down. */
#ifndef ZAJEL_GATEWAY_TELL_H
#define ZAJEL_GATEWAY_TELL_H

#include "sync/gateway/ledger.h"
#include "sync/gateway/settings.h"

/* Our own codes (design section 5), and those of WhatsApp's that we judge ourselves (whatsapp-cloud-api.md
 * section 4). */
enum tell_code {
    TELL_EXPIRED = 990001,
    TELL_UNKNOWN = 990002,
    TELL_BAD_NUMBER = 33,   /* The branch may not send from that phone number id. */
    TELL_MALFORMED = 100,   /* It came up as something that is no request. */
    TELL_NO_TARGET = 131009 /* It refers to a message that WhatsApp never took. */
};

struct tell_failure {
    struct message_id id;
    uint64_t number;
    const char *recipient; /* Digits or BSUID; "" unknown. */
    int code;
    struct slice title, message, details; /* All empty: the code's own words. */
};

/* Puts it into the chat lane of the message's branch; within the turn. */
int tell_failed(struct ledger *l, const struct settings *s, const struct tell_failure *failure,
                int64_t now_s);

#endif
