/* SPDX-License-Identifier: Apache-2.0 */
/* Events: a webhook's body comes with any number of entries, changes, messages and statuses; each becomes a
 * webhook of its own, whole in its envelope, and gets the branch's ids in place of Meta's (design section 4,
 * "Ids"). Pure over JSON trees: what the ledger knows is asked through the caller's functions. */
#ifndef ZAJEL_GATEWAY_EVENT_H
#define ZAJEL_GATEWAY_EVENT_H

#include "sync/kit/json.h"
#include "sync/protocol/message_id.h"

enum event_kind {
    EVENT_MESSAGE, /* One customer's message. */
    EVENT_STATUS,  /* One status of one message or call. */
    EVENT_OTHER    /* One call, echo or preference; or any other change, whole. */
};

struct event {
    enum event_kind kind;
    struct json *whole;            /* The webhook with this one event. */
    struct json *entry;            /* Inside it; NULL when the webhook is of no shape that we know. */
    struct json *value;            /* The change's value, or NULL. */
    struct json *item;             /* The message, status, call ...; NULL when the change is whole. */
    const struct event_list *list; /* Whose element item is; event.c's own. */
};

/* Calls visit for each event, in the order of the body. The event's tree is freed afterwards. Ends at once
 * with what visit returned if that is not STATUS_OK. STATUS_NO_MEMORY */
int event_split(const struct json *webhook, int (*visit)(void *owner, struct event *event), void *owner);

/* What of the event is borrowed here is empty where it does not say. */
struct slice event_id(const struct event *e);       /* messages[].id or the status's id. */
struct slice event_customer(const struct event *e); /* Number, else BSUID, of the customer. */
struct slice event_field(const struct event *e);    /* "messages", "account_update" ... */
/* It speaks of the account as a whole: of no customer, and of no number that branches serve. */
bool event_is_of_account(const struct event *e);
/* Our own token, put there by request_rewrite(): false when the status carries none. */
bool event_token(const struct event *e, struct message_id *id);

/* Adds the key by which repeats are known: nothing else of two events is compared. False: the event has none,
 * and each coming of it counts. */
bool event_repeat_key(const struct event *e, struct text *out);

struct event_names {
    /* Our id for one of Meta's, as text; false: not known to us, it stays. */
    bool (*ours)(void *owner, struct slice meta, char out[MESSAGE_ID_TEXT_MAX + 1]);
    /* The branch's number for a conversation; false: it stays. */
    bool (*conversation)(void *owner, struct slice meta, uint64_t *number);
    void *owner;
};
/* Rewrites the event as the branch will see it. A message's own id becomes "": it follows from the row it
 * travels in. */
int event_rewrite(struct event *e, const struct event_names *names);
/* Puts our id into a status. */
int event_set_id(struct event *e, const struct message_id *id);

/* A status "failed" of our own making. */
struct event_failure {
    const char *waba_id, *display_phone_number; /* "" where unknown */
    uint64_t number;
    const struct message_id *id;
    struct slice recipient; /* May be empty. */
    int64_t at_s;
    int code;
    struct slice title, message, details; /* details may be empty */
};
struct json *event_failed(const struct event_failure *failure); /* NULL when out of memory. */

#endif
