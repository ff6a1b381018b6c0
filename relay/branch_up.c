/* SPDX-License-Identifier: Apache-2.0 */
/* What the branch decides about the messages that wait: which goes next, which is over. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "relay/branch_parts.h"
#include "relay/inbox.h"
#include "relay/outbox_idempotency.h"
#include "sync/protocol/status.h"

#define SKIP_MAX 1024u  /* Rows passed over in one call of branch_next(): it stays a few milliseconds. */
#define SWEEP_MAX 256u  /* Rows settled or expired a turn (storage.md section 2). */
#define SLICE_MAX 1024u /* Rows looked at behind the heads in a second. */
#define AT_SLACK_S 2u   /* Rounding of two clocks to seconds. */

static const struct branch_end expired = {
    .state = HISTORY_EXPIRED,
    .total = OUTBOX_EXPIRED,
    .code = BRANCH_ERROR_EXPIRED,
    .title = "Message expired",
    .details = "The message's time was over before it could be sent; it was not sent.",
};

bool branch_is_expired(const struct outbox_row *row)
{
    return row->age_known && row->age_ms >= (uint64_t)row->ttl_s * 1000;
}

static bool branch_lane_is_open(const struct branch *b, enum lane lane, const struct branch_time *now)
{
    const struct branch_lane *rule = &b->options.lanes[lane];

    if (rule->from_minute < 0)
        return true;
    if (rule->from_minute <= rule->until_minute)
        return now->minute >= rule->from_minute && now->minute < rule->until_minute;
    return now->minute >= rule->from_minute || now->minute < rule->until_minute;
}

void branch_set_link(struct branch *b, bool is_up)
{
    b->link_is_up = is_up;
}

struct outbox_waiting branch_waiting(struct branch *b, enum lane lane, const struct branch_time *now)
{
    static const struct outbox_place start;
    struct outbox_waiting none = { 0 };
    struct outbox_row head;

    if (!branch_lane_is_open(b, lane, now))
        return none;
    if (outbox_is_holding(b->outbox, lane) &&
        (outbox_row_peek(b->outbox, lane, &start, now->elapsed_ms, &head) != STATUS_OK ||
         outbox_is_held(b->outbox, &head.place)))
        return none;
    return outbox_waiting(b->outbox, lane);
}

/* The item with the time of its acceptance as it is known now: it was written when the clock may have been
 * wrong. While it may still be, the gateway is told none and counts from the arrival. */
static int branch_correct_time(struct branch *b, const struct outbox_row *row, struct slice *out)
{
    uint64_t at_s = outbox_is_trusted(b->outbox) ? row->at_ms / 1000 : 0;
    struct item item;
    int status = item_read(row->item, &item);

    if (status != STATUS_OK)
        return STATUS_CORRUPT;
    *out = row->item;
    if (at_s && item.at_s + AT_SLACK_S >= at_s && item.at_s <= at_s + AT_SLACK_S)
        return STATUS_OK;
    item.at_s = at_s;
    if (!branch_room(&b->item, item_bound(&item)))
        return STATUS_NO_MEMORY;
    return item_write(&item, (uint8_t *)b->item.at, b->item.room, out);
}

int branch_next(struct branch *b, enum lane lane, const struct outbox_place *after,
                const struct branch_time *now, struct outbox_place *place, struct slice *item)
{
    struct outbox_place at = *after;
    struct outbox_row row;
    int status = STATUS_OK;

    if (!branch_lane_is_open(b, lane, now))
        return STATUS_END;
    for (unsigned skipped = 0; skipped < SKIP_MAX && status == STATUS_OK; skipped++) {
        status = outbox_row_next(b->outbox, lane, &at, now->elapsed_ms, &row);
        if (status != STATUS_OK && status != STATUS_CORRUPT)
            return status;
        at = row.place;
        if (outbox_is_held(b->outbox, &at))
            return STATUS_END;
        if (status == STATUS_OK && (outbox_row_is_settled(b->outbox, &at) || branch_is_expired(&row)))
            continue;
        if (status == STATUS_OK && (status = branch_correct_time(b, &row, item)) == STATUS_OK) {
            *place = at;
            return STATUS_OK;
        }
        if (status == STATUS_CORRUPT)
            status = outbox_row_quarantine(b->outbox, &at);
    }
    return status == STATUS_OK ? STATUS_END : status;
}

/* --- The end of a message --- */

/* The status webhook of a message that ended here, as the Cloud API would have sent it. */
static int end_write(struct branch *b, const struct outbox_row *row, const struct item *item, const char *to,
                     const struct branch_end *end, uint64_t now_ms, struct json **out)
{
    const struct branch_number *number = branch_number_of(b, item->number);
    struct message_id id = {
        .branch = b->options.number, .epoch = row->place.epoch, .lane = row->place.lane, .seq = row->place.seq
    };
    struct json *status = json_new_object(), *error = json_new_object(), *data = json_new_object();
    struct json *errors = json_new_array();
    char text[MESSAGE_ID_TEXT_MAX + 1], seconds[24];
    bool failed;

    message_id_format(&id, text);
    snprintf(seconds, sizeof seconds, "%" PRIu64, now_ms / 1000);
    failed = json_set(data, "details", json_new_string(slice_text(end->details)));
    failed |= json_set(error, "code", json_new_integer(end->code));
    failed |= json_set(error, "title", json_new_string(slice_text(end->title)));
    failed |= json_set(error, "message", json_new_string(slice_text(end->title)));
    failed |= json_set(error, "error_data", data);
    failed |= json_add(errors, error);
    failed |= json_set(status, "id", json_new_string(slice_text(text)));
    failed |= json_set(status, "status", json_new_string(slice_text("failed")));
    failed |= json_set(status, "timestamp", json_new_string(slice_text(seconds)));
    /* A user id holds a dot ("KE.AB12"), a phone number none. */
    failed |= json_set(status, strchr(to, '.') ? "recipient_user_id" : "recipient_id",
                       json_new_string(slice_text(to)));
    failed |= json_set(status, "errors", errors);
    if (row->opaque.length)
        failed |= json_set(status, "biz_opaque_callback_data", json_new_string(row->opaque));
    if (failed) {
        json_free(status);
        return STATUS_NO_MEMORY;
    }
    return branch_webhook_of_status(number, item->number, status, out);
}

int branch_webhook_of_status(const struct branch_number *number, uint64_t number_value, struct json *status,
                             struct json **out)
{
    struct json *metadata = json_new_object(), *value = json_new_object(), *change = json_new_object();
    struct json *entry = json_new_object(), *root = json_new_object();
    struct json *statuses = json_new_array(), *changes = json_new_array(), *entries = json_new_array();
    char id[24];
    bool failed;

    snprintf(id, sizeof id, "%" PRIu64, number_value);
    failed = json_add(statuses, status);
    failed |= json_set(metadata, "display_phone_number",
                       json_new_string(slice_text(number ? number->display : "")));
    failed |= json_set(metadata, "phone_number_id", json_new_string(slice_text(id)));
    failed |= json_set(value, "messaging_product", json_new_string(slice_text("whatsapp")));
    failed |= json_set(value, "metadata", metadata);
    failed |= json_set(value, "statuses", statuses);
    failed |= json_set(change, "value", value);
    failed |= json_set(change, "field", json_new_string(slice_text("messages")));
    failed |= json_add(changes, change);
    failed |= json_set(entry, "id", json_new_string(slice_text(number ? number->waba : "")));
    failed |= json_set(entry, "changes", changes);
    failed |= json_add(entries, entry);
    failed |= json_set(root, "object", json_new_string(slice_text("whatsapp_business_account")));
    failed |= json_set(root, "entry", entries);
    if (failed) {
        json_free(root);
        return STATUS_NO_MEMORY;
    }
    *out = root;
    return STATUS_OK;
}

/* The digits of the request's "to", or its "recipient". */
static void end_recipient(const struct json *body, char *out, size_t room)
{
    struct slice to = json_string(json_get(body, "to")), recipient = json_string(json_get(body, "recipient"));
    size_t length = 0;

    for (size_t i = 0; i < to.length && length + 1 < room; i++)
        if (to.at[i] >= '0' && to.at[i] <= '9')
            out[length++] = (char)to.at[i];
    for (size_t i = 0; to.length == 0 && i < recipient.length && length + 1 < room; i++)
        out[length++] = (char)recipient.at[i];
    out[length] = '\0';
}

/* Read marks have no status webhooks, not even at WhatsApp. */
static int end_tell(struct branch *b, const struct outbox_row *row, const struct branch_end *end,
                    uint64_t now_ms)
{
    struct json *body = NULL, *webhook = NULL;
    struct text text = { 0 };
    struct item item;
    inbox_customer customer;
    char to[160], number[24];
    int status;

    if (!b->options.delivers)
        return STATUS_OK;
    if (item_read(row->item, &item) != STATUS_OK ||
        (status = branch_read_body(&item, &body)) == STATUS_PEER_MALFORMED)
        return STATUS_OK;
    if (status == STATUS_OK && !json_get(body, "status")) {
        end_recipient(body, to, sizeof to);
        snprintf(number, sizeof number, "%" PRIu64, item.number);
        if ((status = inbox_customer_of(b->outbox, slice_text(number), slice_text(to), &customer)) ==
                STATUS_OK &&
            (status = end_write(b, row, &item, to, end, now_ms, &webhook)) == STATUS_OK &&
            (status = json_write_ascii(webhook, &text)) == STATUS_OK)
            status = inbox_put(b->outbox, customer, now_ms, text_slice(&text));
    }
    text_wipe(&text);
    json_free(webhook);
    json_free(body);
    return status;
}

int branch_end(struct branch *b, const struct outbox_row *row, const struct branch_end *end, uint64_t now_ms)
{
    struct history_entry entry = { .state = end->state, .at_ms = now_ms, .code = end->code };
    struct history_origin origin = { .accepted_ms = row->at_ms, .opaque = row->opaque };
    int status;

    snprintf(entry.title, sizeof entry.title, "%s", end->title);
    /* The history first: telling uses the room that the row's opaque part is borrowed from. */
    if ((status = outbox_write(b->outbox)) != STATUS_OK ||
        (status = outbox_history_add(b->outbox, &row->place, &entry, &origin)) != STATUS_OK ||
        (status = end_tell(b, row, end, now_ms)) != STATUS_OK ||
        (status = outbox_row_delete(b->outbox, &row->place)) != STATUS_OK)
        return status == STATUS_END ? STATUS_OK : status;
    outbox_count(b->outbox, end->total, 1);
    return STATUS_OK;
}

/* --- Sweeping --- */

static int sweep_settled(struct branch *b, const struct branch_time *now, unsigned *left)
{
    struct history_entry entry = { .state = HISTORY_SYNCED,
                                   .at_ms = outbox_now_ms(b->outbox, now->elapsed_ms) };
    struct outbox_row row;
    int status = STATUS_OK;

    while (*left > 0 && (status = outbox_row_next_settled(b->outbox, now->elapsed_ms, &row)) == STATUS_OK) {
        struct history_origin origin = { .accepted_ms = row.at_ms };

        /* Only a row with callback data must be opened; one that cannot be has lost that, but it is synced.
         */
        if (row.has_opaque &&
            (status = outbox_row_find(b->outbox, &row.place, now->elapsed_ms, &row)) == STATUS_OK)
            origin.opaque = row.opaque;
        if (status != STATUS_OK && status != STATUS_CORRUPT && status != STATUS_UNAVAILABLE)
            return status;
        if ((status = outbox_history_add(b->outbox, &row.place, &entry, &origin)) != STATUS_OK ||
            (status = outbox_row_delete(b->outbox, &row.place)) != STATUS_OK)
            return status;
        outbox_count(b->outbox, OUTBOX_SYNCED, 1);
        --*left;
    }
    return status == STATUS_END ? STATUS_OK : status;
}

/* On its way at this moment: the mark that tells comes within seconds, or the link is found dead. After that
 * it counts as here, and its sender is told in time; should it have arrived after all, the statuses that
 * follow correct it. */
static bool is_leaving(const struct branch *b, const struct outbox_row *row)
{
    return b->link_is_up && outbox_row_may_have_left(b->outbox, &row->place);
}

/* Ends this row if its time is over. *kept: it stays. */
static int sweep_row(struct branch *b, const struct outbox_row *peeked, const struct branch_time *now,
                     bool *kept)
{
    struct outbox_row row;
    int status;

    *kept = true;
    if (!branch_is_expired(peeked) || is_leaving(b, peeked) ||
        outbox_row_is_settled(b->outbox, &peeked->place))
        return STATUS_OK;
    status = outbox_row_find(b->outbox, &peeked->place, now->elapsed_ms, &row);
    if (status == STATUS_UNAVAILABLE)
        return STATUS_OK;
    *kept = false;
    if (status == STATUS_CORRUPT)
        return outbox_row_quarantine(b->outbox, &peeked->place);
    return status != STATUS_OK ? status
                               : branch_end(b, &row, &expired, outbox_now_ms(b->outbox, now->elapsed_ms));
}

/* From the lane's head: expiry follows the order of acceptance where nobody asked for a shorter life. */
static int sweep_head(struct branch *b, enum lane lane, const struct branch_time *now, unsigned *left)
{
    struct outbox_place at = { .lane = lane };
    struct outbox_row row;
    bool kept = false;
    int status = STATUS_OK;

    while (*left > 0 &&
           (status = outbox_row_peek(b->outbox, lane, &at, now->elapsed_ms, &row)) == STATUS_OK) {
        at = row.place;
        if (!branch_is_expired(&row))
            break;
        if ((status = sweep_row(b, &row, now, &kept)) != STATUS_OK)
            return status;
        --*left;
    }
    return status == STATUS_END ? STATUS_OK : status;
}

/* Behind the heads, a slice at a time: rows with a shorter life than their lane's. */
static int sweep_slice(struct branch *b, enum lane lane, const struct branch_time *now, unsigned *left)
{
    struct outbox_place *at = &b->scanned[lane];
    struct outbox_row row;
    bool kept = false;
    int status = STATUS_OK;

    at->lane = lane;
    for (unsigned seen = 0; *left > 0 && seen < SLICE_MAX; seen++) {
        if ((status = outbox_row_peek(b->outbox, lane, at, now->elapsed_ms, &row)) != STATUS_OK)
            break;
        *at = row.place;
        if ((status = sweep_row(b, &row, now, &kept)) != STATUS_OK)
            return status;
        *left -= !kept;
    }
    if (status == STATUS_END)
        *at = (struct outbox_place){ .lane = lane };
    return status == STATUS_END ? STATUS_OK : status;
}

int branch_sweep(struct branch *b, bool slice, const struct branch_time *now, bool *more)
{
    uint64_t now_ms = outbox_now_ms(b->outbox, now->elapsed_ms);
    unsigned left = SWEEP_MAX;
    bool old_keys = false, old_history = false;
    int status = STATUS_OK;

    if (now->synchronised && now->wall_ms > 0 && slice)
        status = outbox_trust(b->outbox, (uint64_t)now->wall_ms, now->elapsed_ms, now->wall_ms);
    if (status == STATUS_OK)
        status = sweep_settled(b, now, &left);
    for (int lane = 0; lane < LANE_COUNT && status == STATUS_OK && slice; lane++) {
        if ((status = sweep_head(b, (enum lane)lane, now, &left)) == STATUS_OK)
            status = sweep_slice(b, (enum lane)lane, now, &left);
    }
    if (status == STATUS_OK && slice)
        status = outbox_idempotency_purge(b->outbox, now_ms, SWEEP_MAX, &old_keys);
    if (status == STATUS_OK && slice)
        status = outbox_history_purge(b->outbox, now_ms, SWEEP_MAX, &old_history);
    *more = left == 0;
    return status;
}
