/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/delivery.h"

#include <stdio.h>
#include <string.h>

#include "sync/gateway/arrival.h"
#include "sync/gateway/body.h"
#include "sync/gateway/event.h"
#include "sync/gateway/request.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

/* One event on its way. The functions that event.h asks note here when the ledger fails them. */
struct passage {
    const struct delivery *delivery;
    uint32_t branch; /* 0: not chosen yet. */
    int status;
};

/* --- Routing --- */

static uint32_t usable_branch(void *owner, const char *id)
{
    const struct ledger_branch *b = ledger_branch_find(owner, id);

    return b && !b->revoked ? b->number : 0;
}

static uint32_t only_branch(const struct ledger *l)
{
    uint32_t only = 0;

    for (uint32_t number = 1; number <= ledger_branch_count(l); number++) {
        if (ledger_branch(l, number)->revoked)
            continue;
        if (only)
            return 0;
        only = number;
    }
    return only;
}

static uint32_t last_served(struct passage *p, struct slice customer)
{
    char text[REQUEST_CUSTOMER_MAX + 1];
    uint32_t branch = 0;
    int status;

    if (customer.length == 0 || customer.length > REQUEST_CUSTOMER_MAX)
        return 0;
    snprintf(text, sizeof text, "%.*s", (int)customer.length, (const char *)customer.at);
    status = ledger_last_served(p->delivery->ledger, arrival_customer(p->delivery->ledger, text), &branch);
    explicit_bzero(text, sizeof text);
    if (status != STATUS_OK && status != STATUS_END)
        p->status = status;
    return status == STATUS_OK && !ledger_branch(p->delivery->ledger, branch)->revoked ? branch : 0;
}

static uint32_t route(struct passage *p, const struct event *e)
{
    struct ledger *l = p->delivery->ledger;
    struct slice customer = event_customer(e);
    struct routing_known known = { .branch = usable_branch,
                                   .owner = l,
                                   .last_served = last_served(p, customer),
                                   .only_branch = only_branch(l) };

    return routing_choose(&p->delivery->settings->routing, customer, &known);
}

/* --- Ids --- */

static bool ours(void *owner, struct slice meta, char out[MESSAGE_ID_TEXT_MAX + 1])
{
    struct passage *p = owner;
    struct message_id id;
    int status = ledger_id_from_meta(p->delivery->ledger, meta, &id);

    if (status != STATUS_OK && status != STATUS_END)
        p->status = status;
    /* An id of another branch would say nothing to this one. */
    if (status != STATUS_OK || id.branch != p->branch)
        return false;
    message_id_format(&id, out);
    return true;
}

static bool conversation(void *owner, struct slice meta, uint64_t *number)
{
    struct passage *p = owner;
    int status = ledger_conversation(p->delivery->ledger, p->branch, meta, number);

    if (status != STATUS_OK)
        p->status = status;
    return status == STATUS_OK;
}

/* A status is the branch's whose message it is about: known by Meta's id, or by our token if WhatsApp's own
 * answer never came or is still on its way. */
static int find_owner(struct passage *p, const struct event *e)
{
    struct ledger *l = p->delivery->ledger;
    struct message_id id;
    int status;

    if (e->kind != EVENT_STATUS)
        return STATUS_OK;
    status = ledger_id_from_meta(l, event_id(e), &id);
    if (status == STATUS_END && event_token(e, &id) && ledger_branch(l, id.branch)) {
        status = courier_reconcile(p->delivery->courier, &id, event_id(e));
        if (status == STATUS_INVALID)
            return STATUS_OK; /* An id that no ledger takes: it passes as it is. */
    }
    if (status == STATUS_OK)
        p->branch = id.branch;
    return status == STATUS_END ? STATUS_OK : status;
}

/* --- Taking --- */

static int keep_unrouted(const struct delivery *d, struct slice item)
{
    int status = ledger_unrouted(d->ledger, item, d->now_s);

    log_event(LOG_LEVEL_ERROR, "event_unrouted", "kept=%s", status == STATUS_OK ? "yes" : "no");
    return status == STATUS_OK ? ledger_count(d->ledger, LEDGER_UNROUTED, 1) : status;
}

/* What is about the account as a whole no branch can act on: it is kept for head office. */
static int keep_of_account(const struct delivery *d, const struct event *e)
{
    struct item item = { .kind = ITEM_EVENT, .at_s = (uint64_t)d->now_s };
    char field[80], what[80];
    struct text bytes = { 0 };
    int status = body_write(&item, e->whole, &bytes);

    if (status == STATUS_OK)
        status = ledger_unrouted(d->ledger, text_slice(&bytes), d->now_s);
    text_wipe(&bytes);
    log_event(LOG_LEVEL_WARNING, "account_event", "field=%s what=%s kept=%s",
              log_quote(event_field(e), field, sizeof field),
              log_quote(json_string(json_get(e->value, "event")), what, sizeof what),
              status == STATUS_OK ? "yes" : "no");
    return status == STATUS_OK ? ledger_count(d->ledger, LEDGER_ACCOUNT_EVENTS, 1) : status;
}

static int send_down(struct passage *p, struct event *e)
{
    const struct delivery *d = p->delivery;
    struct item item = { .kind = ITEM_EVENT, .at_s = (uint64_t)d->now_s };
    struct event_names names = { .ours = ours, .conversation = conversation, .owner = p };
    char meta[LEDGER_META_ID_MAX + 1] = "";
    struct slice id = event_id(e);
    struct text bytes = { 0 };
    struct message_id row;
    int status;

    if (e->kind == EVENT_MESSAGE && id.length <= LEDGER_META_ID_MAX)
        snprintf(meta, sizeof meta, "%.*s", (int)id.length, id.at ? (const char *)id.at : "");
    status = event_rewrite(e, &names);
    if (status == STATUS_OK)
        status = p->status;
    if (status == STATUS_OK)
        status = body_write(&item, e->whole, &bytes);
    if (status == STATUS_OK)
        status = ledger_down_put(d->ledger, p->branch, LANE_CHAT, text_slice(&bytes), &row);
    if (status == STATUS_OK && meta[0])
        status = ledger_id_put(d->ledger, &row, slice_text(meta));
    text_wipe(&bytes);
    return status;
}

static int is_repeat(const struct delivery *d, const struct event *e)
{
    struct text key = { 0 };
    int status = STATUS_OK;

    if (event_repeat_key(e, &key))
        status = key.failed
                     ? STATUS_NO_MEMORY
                     : ledger_seen(d->ledger, ledger_hash(d->ledger, "seen", text_slice(&key)), d->now_s);
    text_wipe(&key);
    return status;
}

static int take_event(void *owner, struct event *e)
{
    const struct delivery *d = owner;
    struct passage p = { .delivery = d };
    int status = is_repeat(d, e);

    if (status == STATUS_CONFLICT)
        return ledger_count(d->ledger, LEDGER_WEBHOOK_REPEATS, 1);
    if (status == STATUS_OK)
        status = ledger_count(d->ledger, LEDGER_WEBHOOK_EVENTS, 1);
    if (status == STATUS_OK && event_is_of_account(e))
        return keep_of_account(d, e);
    if (status == STATUS_OK)
        status = find_owner(&p, e);
    if (status == STATUS_OK && p.branch == 0)
        p.branch = route(&p, e);
    if (status == STATUS_OK)
        status = p.status;
    if (status != STATUS_OK)
        return status;
    if (p.branch)
        return send_down(&p, e);
    {
        struct item item = { .kind = ITEM_EVENT, .at_s = (uint64_t)d->now_s };
        struct text bytes = { 0 };

        status = body_write(&item, e->whole, &bytes);
        if (status == STATUS_OK)
            status = keep_unrouted(d, text_slice(&bytes));
        text_wipe(&bytes);
    }
    return status;
}

/* Signed by WhatsApp, and yet no JSON that we read: the branch of all others gets the text. */
static int take_text(const struct delivery *d, struct slice body)
{
    struct item item = { .kind = ITEM_EVENT, .at_s = (uint64_t)d->now_s };
    struct event none = { .kind = EVENT_OTHER };
    struct passage p = { .delivery = d };
    struct text bytes = { 0 };
    struct message_id row;
    uint32_t branch = route(&p, &none);
    int status = body_write_text(&item, body, &bytes);

    log_event(LOG_LEVEL_WARNING, "webhook_unreadable", "bytes=%zu", body.length);
    if (status == STATUS_OK)
        status = branch ? ledger_down_put(d->ledger, branch, LANE_CHAT, text_slice(&bytes), &row)
                        : keep_unrouted(d, text_slice(&bytes));
    text_wipe(&bytes);
    return status == STATUS_OK ? ledger_count(d->ledger, LEDGER_WEBHOOK_EVENTS, 1) : status;
}

int delivery_take(const struct delivery *d, struct slice body)
{
    struct json *webhook;
    int status = json_parse(body, &webhook, NULL);

    if (status == STATUS_INVALID)
        return take_text(d, body);
    if (status == STATUS_OK) {
        status = event_split(webhook, take_event, (void *)d);
        json_free(webhook);
    }
    return status;
}
