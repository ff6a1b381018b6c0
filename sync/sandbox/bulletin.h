/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of webhooks, written as Meta writes them: pure ASCII, with "\/" for "/". */
#ifndef ZAJEL_SANDBOX_BULLETIN_H
#define ZAJEL_SANDBOX_BULLETIN_H

#include "sync/kit/json.h"
#include "sync/sandbox/phones.h"
#include "sync/sandbox/sandbox_settings.h"

struct bulletin_head {
    const char *waba_id;
    const struct sandbox_number *number;
};

struct bulletin_status {
    const char *id; /* The message's. */
    enum phones_status status;
    int64_t at_s;
    struct slice recipient; /* Digits of a phone number, or a user id. */
    bool is_user_id;
    bool is_template;
    struct slice opaque; /* biz_opaque_callback_data; empty: none. */
};

int bulletin_status(const struct bulletin_head *head, const struct bulletin_status *status, struct text *out);
const char *bulletin_status_word(enum phones_status status);

/* A customer's message. message, a root, is taken and gets from, id and timestamp. */
int bulletin_message(const struct bulletin_head *head, const char *from, const char *name, const char *id,
                     int64_t at_s, struct json *message, struct text *out);

/* Whose webhook a body is: the customer of its first message or status, borrowed; empty when there is none.
 */
struct slice bulletin_customer(const struct json *webhook);

#endif
