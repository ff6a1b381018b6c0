/* SPDX-License-Identifier: Apache-2.0 */
/* What the branch does with rows from the centre: customers' messages, statuses of its own, and the news that
 * WhatsApp took a message. */
#include <stdio.h>
#include <string.h>

#include "relay/branch_parts.h"
#include "relay/inbox.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

/* --- Statuses of our messages --- */

static const struct {
    const char *name;
    enum history_state state;
} status_names[] = {
    { "sent", HISTORY_SENT },   { "delivered", HISTORY_DELIVERED }, { "read", HISTORY_READ },
    { "played", HISTORY_READ }, { "failed", HISTORY_FAILED },
};

/* What a status says of the message; false: nothing that its history knows (payments, words to come). */
static bool status_entry(const struct json *status, struct history_entry *entry)
{
    struct slice name = json_string(json_get(status, "status"));
    struct slice title = json_string(json_path(status, "errors.0.title"));
    int64_t code = json_integer(json_path(status, "errors.0.code"), 0);

    if (json_get(status, "type") && slice_is(json_string(json_get(status, "type")), "payment"))
        return false;
    for (size_t i = 0; i < sizeof status_names / sizeof *status_names; i++)
        if (slice_is(name, status_names[i].name))
            entry->state = status_names[i].state;
    if (entry->state == HISTORY_FAILED) {
        entry->code = code > 0 && code <= UINT32_MAX ? (uint32_t)code : 0;
        /* A title is cut between bytes; it is only shown. */
        snprintf(entry->title, sizeof entry->title, "%.*s", (int)(title.length < 150 ? title.length : 150),
                 title.at ? (const char *)title.at : "");
        entry->state = entry->code == BRANCH_ERROR_EXPIRED     ? HISTORY_EXPIRED
                       : entry->code == BRANCH_ERROR_UNKNOWN   ? HISTORY_UNKNOWN
                       : entry->code == BRANCH_ERROR_WITHDRAWN ? HISTORY_WITHDRAWN
                                                               : HISTORY_FAILED;
    }
    return entry->state != 0;
}

/* One end of a message counts once, however often it is told. */
static void status_count(struct branch *b, enum history_state before, enum history_state after)
{
    if (before == after)
        return;
    if (after == HISTORY_FAILED)
        outbox_count(b->outbox, OUTBOX_REFUSED, 1);
    if (after == HISTORY_EXPIRED)
        outbox_count(b->outbox, OUTBOX_EXPIRED, 1);
    if (after == HISTORY_WITHDRAWN)
        outbox_count(b->outbox, OUTBOX_WITHDRAWN, 1);
    if (after == HISTORY_UNKNOWN)
        outbox_count(b->outbox, OUTBOX_UNKNOWN, 1);
}

/* The program's own callback data of a message: still with its row, or in its history. */
static int status_opaque(struct branch *b, const struct outbox_place *place, const struct history *h,
                         const struct branch_time *now, struct text *out)
{
    struct outbox_row row;
    int status;

    text_add(out, h->opaque);
    if (h->opaque.length == 0) {
        status = outbox_row_find(b->outbox, place, now->elapsed_ms, &row);
        if (status == STATUS_OK)
            text_add(out, row.opaque);
        else if (status != STATUS_END && status != STATUS_CORRUPT && status != STATUS_UNAVAILABLE)
            return status;
    }
    return out->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

static int take_status(struct branch *b, struct json *told, const struct branch_time *now)
{
    uint64_t now_ms = outbox_now_ms(b->outbox, now->elapsed_ms);
    struct history_entry entry = { .at_ms = now_ms };
    struct outbox_place place;
    struct message_id id;
    struct history h;
    struct text opaque = { 0 };
    int status;

    if (message_id_parse(json_string(json_get(told, "id")), &id) != STATUS_OK ||
        id.branch != b->options.number)
        return STATUS_OK;
    place = branch_place_of(&id);
    status = outbox_history_find(b->outbox, &place, now_ms, &h);
    if (status != STATUS_OK && status != STATUS_END)
        return status;
    status = status_opaque(b, &place, &h, now, &opaque);
    if (status == STATUS_OK && opaque.length)
        status = json_set(told, "biz_opaque_callback_data", json_new_string(text_slice(&opaque)));
    text_wipe(&opaque);
    if (status == STATUS_OK && status_entry(told, &entry) && h.count < HISTORY_ENTRIES_MAX) {
        status_count(b, history_state_of(&h), entry.state);
        status = outbox_history_add(b->outbox, &place, &entry, NULL);
    }
    return status;
}

/* --- Events --- */

static struct slice first_string(const struct json *object, const char *one, const char *other)
{
    struct slice found = json_string(json_get(object, one));

    return found.length ? found : json_string(json_get(object, other));
}

/* Fills in what the row's identity says, and names the customer. */
static int take_parts(struct branch *b, struct json *webhook, const struct message_id *row,
                      const struct branch_time *now, struct slice *customer)
{
    struct json *message = json_path(webhook, "entry.0.changes.0.value.messages.0");
    struct json *told = json_path(webhook, "entry.0.changes.0.value.statuses.0");
    char id[MESSAGE_ID_TEXT_MAX + 1];
    int status = STATUS_OK;

    *customer = (struct slice){ 0 };
    if (message) {
        *customer = first_string(message, "from", "from_user_id");
        if (json_is_string(json_get(message, "id")) && json_string(json_get(message, "id")).length == 0) {
            message_id_format(row, id);
            status = json_set(message, "id", json_new_string(slice_text(id)));
        }
    } else if (told) {
        *customer = first_string(told, "recipient_id", "recipient_user_id");
        status = take_status(b, told, now);
    }
    return status;
}

static int take_event(struct branch *b, const struct item *item, const struct message_id *row,
                      const struct branch_time *now)
{
    struct json *webhook = NULL;
    struct slice customer, number;
    inbox_customer queue;
    struct text text = { 0 };
    int status = branch_read_body(item, &webhook);

    if (status != STATUS_OK)
        return status;
    status = take_parts(b, webhook, row, now, &customer);
    if (status == STATUS_OK && b->options.delivers) {
        number = json_string(json_path(webhook, "entry.0.changes.0.value.metadata.phone_number_id"));
        if ((status = inbox_customer_of(b->outbox, number, customer, &queue)) == STATUS_OK &&
            (status = json_write_ascii(webhook, &text)) == STATUS_OK)
            status =
                inbox_put(b->outbox, queue, outbox_now_ms(b->outbox, now->elapsed_ms), text_slice(&text));
    }
    text_wipe(&text);
    json_free(webhook);
    return status;
}

static int take_taken(struct branch *b, const struct item *item, const struct branch_time *now)
{
    struct history_entry entry = { .state = HISTORY_SUBMITTED,
                                   .at_ms = outbox_now_ms(b->outbox, now->elapsed_ms) };
    struct outbox_place place;
    struct message_id id;

    if (message_id_unpack(item->of, &id) != STATUS_OK || id.branch != b->options.number)
        return STATUS_PEER_MALFORMED;
    place = branch_place_of(&id);
    return outbox_history_add(b->outbox, &place, &entry, NULL);
}

static int take_row(struct branch *b, struct slice row, const struct message_id *id,
                    const struct branch_time *now)
{
    struct item item;
    int status = item_read(row, &item);

    if (status != STATUS_OK)
        return status;
    switch (item.kind) {
    case ITEM_EVENT: return take_event(b, &item, id, now);
    case ITEM_TAKEN: return take_taken(b, &item, now);
    case ITEM_CONTROL: /* None is defined yet: a newer gateway may speak of things we do not have. */
    case ITEM_SEND: break;
    }
    return STATUS_PEER_MALFORMED;
}

int branch_take(struct branch *b, epoch_id epoch, enum lane lane, uint64_t seq, struct slice row,
                const struct branch_time *now)
{
    struct message_id id = { .branch = b->options.number, .epoch = epoch, .lane = lane, .seq = seq };
    uint64_t mark;
    int status = inbox_mark(b->outbox, epoch, lane, &mark);

    if (status != STATUS_OK || seq <= mark)
        return status;
    if ((status = outbox_write(b->outbox)) != STATUS_OK)
        return status;
    status = take_row(b, row, &id, now);
    /* What cannot be read would come again for ever: it is counted and passed over. */
    if (status == STATUS_PEER_MALFORMED) {
        outbox_count(b->outbox, OUTBOX_DROPPED_MALFORMED, 1);
        log_event(LOG_LEVEL_ERROR, "row_malformed", "lane=%s seq=%llu", lane_name(lane),
                  (unsigned long long)seq);
        status = STATUS_OK;
    }
    if (status != STATUS_OK)
        return status;
    outbox_count(b->outbox, OUTBOX_RECEIVED, 1);
    return inbox_set_mark(b->outbox, epoch, lane, seq);
}
