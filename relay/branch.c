/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/branch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "relay/branch_parts.h"
#include "relay/outbox_idempotency.h"
#include "sync/kit/graph.h"
#include "sync/protocol/status.h"

/* When a full store takes no more of a lane, in percent of its quota (storage.md section 6): what can wait
 * longest is refused first, and an OTP finds room until the wall. */
static const unsigned level_percent[LANE_COUNT] = {
    [LANE_URGENT] = 100, [LANE_ALERT] = 97, [LANE_CHAT] = 90, [LANE_DOCUMENT] = 80, [LANE_BULK] = 70,
};

/* Nobody fills the last pages: a turn that hits the wall is lost whole, with all who wait in it. */
#define WALL_BYTES 131072u

#define ROOM_KEPT 65536u /* Working room that stays allocated: more than any usual message needs. */
#define RETRY_AFTER_S \
    30u /* A token's share drains with the link; sooner than this nothing will have changed. */

int branch_open(struct branch **out, const struct branch_options *options, struct outbox *outbox)
{
    struct branch *b = calloc(1, sizeof *b);

    *out = b;
    if (!b)
        return STATUS_NO_MEMORY;
    b->options = *options;
    b->outbox = outbox;
    return STATUS_OK;
}

void branch_close(struct branch *b)
{
    if (!b)
        return;
    text_wipe(&b->tagged);
    text_wipe(&b->item);
    free(b);
}

/* --- Shared --- */

bool branch_room(struct text *room, size_t length)
{
    char *grown;

    if (room->at && room->room >= length)
        return true;
    if (!(grown = realloc(room->at, length)))
        return false;
    room->at = grown;
    room->room = length;
    return true;
}

void branch_trim(struct text *room)
{
    if (room->room > ROOM_KEPT)
        text_wipe(room);
}

uint64_t branch_number_value(struct slice digits)
{
    uint64_t value = 0;

    if (digits.length < 1 || digits.length > 19 || digits.at[0] == '0')
        return 0;
    for (size_t i = 0; i < digits.length; i++) {
        if (digits.at[i] < '0' || digits.at[i] > '9')
            return 0;
        value = value * 10 + (uint64_t)(digits.at[i] - '0');
    }
    return value;
}

const struct branch_number *branch_number_of(const struct branch *b, uint64_t value)
{
    for (size_t i = 0; value && i < b->options.number_count; i++)
        if (branch_number_value(slice_text(b->options.numbers[i].id)) == value)
            return &b->options.numbers[i];
    return NULL;
}

int branch_read_body(const struct item *item, struct json **out)
{
    int status = item->form == ITEM_FORM_TAGGED ? json_from_tagged(item->body, out)
                                                : json_parse(item->body, out, NULL);

    return status == STATUS_INVALID ? STATUS_PEER_MALFORMED : status;
}

int branch_refuse(struct branch_answer *answer, unsigned status, int code, const char *title,
                  const char *details)
{
    struct graph_error error;

    graph_error_set(&error, status, code, title, "%s", details);
    answer->status = status;
    return graph_error_write(&error, &answer->body);
}

struct outbox_place branch_place_of(const struct message_id *id)
{
    return (struct outbox_place){ .lane = id->lane, .epoch = id->epoch, .seq = id->seq };
}

/* --- Accepting --- */

/* One request on its way through the checks. */
struct intake {
    const struct branch_request *request;
    const struct branch_time *now;
    struct branch_answer *answer;
    struct json *tree;
    struct graph_send send;
    struct idempotency_key key;
    bool has_key;
    enum lane lane;
    uint32_t ttl_s;
    bool done; /* It is answered. */
};

static int intake_refuse(struct intake *in, unsigned status, int code, const char *title, const char *details)
{
    in->done = true;
    return branch_refuse(in->answer, status, code, title, details);
}

static int intake_check_number(struct branch *b, struct intake *in)
{
    if (branch_number_of(b, branch_number_value(in->request->number)))
        return STATUS_OK;
    return intake_refuse(
        in, 400, 33, "Unsupported post request",
        "This PHONE_NUMBER_ID is not one of this branch's numbers; [numbers] in relay.conf has them.");
}

static const struct branch_template *intake_template(const struct branch *b, const struct intake *in)
{
    for (size_t i = 0; in->send.template_name.length && i < b->options.template_count; i++)
        if (slice_is(in->send.template_name, b->options.templates[i].name))
            return &b->options.templates[i];
    return NULL;
}

/* Design section 5: templates are alerts, documents have their lane, all else is talk. */
static enum lane intake_usual_lane(const struct intake *in)
{
    if (in->send.template_name.length)
        return LANE_ALERT;
    return slice_is(in->send.type, "document") ? LANE_DOCUMENT : LANE_CHAT;
}

static int intake_choose_lane(struct branch *b, struct intake *in)
{
    const struct branch_template *rule = intake_template(b, in);

    in->lane = rule && rule->lane >= 0 ? (enum lane)rule->lane : intake_usual_lane(in);
    if (in->request->lane && lane_parse(slice_text(in->request->lane), &in->lane) != STATUS_OK)
        return intake_refuse(in, 400, 100, "Invalid parameter",
                             "Zajel-Lane must be urgent, alert, chat, document or bulk.");
    in->ttl_s = b->options.lanes[in->lane].expires_in_s ? b->options.lanes[in->lane].expires_in_s
                                                        : lane_ttl_s(in->lane);
    if (rule && rule->expires_in_s)
        in->ttl_s = rule->expires_in_s;
    if (in->request->expires_in) {
        uint64_t seconds = branch_number_value(slice_text(in->request->expires_in));

        if (seconds < 1 || seconds > BRANCH_EXPIRES_IN_MAX_S)
            return intake_refuse(in, 400, 100, "Invalid parameter",
                                 "Zajel-Expires-In must be a whole number of seconds from 1 to 2592000.");
        in->ttl_s = (uint32_t)seconds;
    }
    return STATUS_OK;
}

static int intake_check_body(struct intake *in)
{
    struct json_error broken;
    struct graph_error error;
    struct text details = { 0 };
    int status = json_parse(in->request->body, &in->tree, &broken);

    if (status == STATUS_INVALID) {
        text_printf(&details, "The body is not valid JSON: line %zu, column %zu: %s", broken.line,
                    broken.column, broken.text);
        status =
            details.failed ? STATUS_NO_MEMORY : intake_refuse(in, 400, 100, "Invalid parameter", details.at);
        text_free(&details);
        return status;
    }
    if (status == STATUS_OK && graph_check_send(in->tree, &in->send, &error) != STATUS_OK) {
        in->done = true;
        in->answer->status = error.http;
        status = graph_error_write(&error, &in->answer->body);
    }
    return status;
}

static int intake_write_answer(struct branch *b, struct intake *in, const struct outbox_place *place)
{
    struct message_id id = {
        .branch = b->options.number, .epoch = place->epoch, .lane = place->lane, .seq = place->seq
    };

    in->done = true;
    in->answer->status = 200;
    message_id_format(&id, in->answer->id);
    return graph_send_answer(&in->send, in->answer->id, &in->answer->body);
}

/* STATUS_OK with *found: this key made a message before. */
static int intake_find_key(struct branch *b, struct intake *in, struct outbox_place *place, bool *found)
{
    const struct branch_request *request = in->request;
    size_t length = request->key ? strlen(request->key) : 0;
    int status;

    *found = false;
    if (!request->key)
        return STATUS_OK;
    if (length < 1 || length > IDEMPOTENCY_KEY_MAX)
        return intake_refuse(in, 400, 100, "Invalid parameter",
                             "Idempotency-Key must have 1 to 255 characters.");
    in->has_key = true;
    status = outbox_idempotency_key(b->outbox, request->token_name, slice_of(request->key, length),
                                    request->number, request->body, &in->key);
    if (status == STATUS_OK)
        status = outbox_idempotency_find(b->outbox, &in->key, outbox_now_ms(b->outbox, in->now->elapsed_ms),
                                         place);
    *found = status == STATUS_OK;
    if (status == STATUS_CONFLICT)
        return intake_refuse(
            in, 422, 100, "Invalid parameter",
            "This Idempotency-Key was used with another body in the last 24 hours; use a new key.");
    return status == STATUS_END ? STATUS_OK : status;
}

static uint64_t branch_level(const struct branch *b, enum lane lane)
{
    uint64_t level = b->options.store_bytes_max / 100 * level_percent[lane];
    uint64_t wall = b->options.store_bytes_max - WALL_BYTES;

    return level < wall ? level : wall;
}

static int intake_check_room(struct branch *b, struct intake *in)
{
    uint64_t level = branch_level(b, in->lane);

    if (outbox_drains_only(b->outbox))
        return intake_refuse(in, 507, 2, "Service temporarily unavailable",
                             "The box's disk is full; messages are accepted again once there is room.");
    if (outbox_used_bytes(b->outbox) >= level)
        return intake_refuse(
            in, 507, 2, "Service temporarily unavailable",
            "The branch's store is too full for messages of this lane; it empties over the link.");
    if (b->options.token_messages_max && in->request->token &&
        outbox_waiting_of_token(b->outbox, in->request->token) >= b->options.token_messages_max) {
        in->answer->retry_after_s = RETRY_AFTER_S;
        return intake_refuse(in, 429, 4, "Application request limit reached",
                             "As many messages of this token wait as [limits] token_messages_max allows.");
    }
    return STATUS_OK;
}

/* The request as it goes to the centre: without what must not leave the box. *opaque is a copy of that. */
static int intake_make_item(struct branch *b, struct intake *in, struct text *opaque, struct slice *out)
{
    struct item item = { .kind = ITEM_SEND,
                         .form = ITEM_FORM_TAGGED,
                         .number = branch_number_value(in->request->number),
                         .at_s = outbox_now_ms(b->outbox, in->now->elapsed_ms) / 1000,
                         .ttl_s = in->ttl_s == lane_ttl_s(in->lane) ? 0 : in->ttl_s };
    int status;

    text_clear(&b->tagged);
    text_clear(&b->item);
    text_add(opaque, in->send.opaque);
    if (in->send.opaque.length)
        (void)json_remove(in->tree, "biz_opaque_callback_data");
    /* The tagged form is shorter than the text but for numbers, of which even "1" may take nine bytes. */
    if (opaque->failed || !branch_room(&b->tagged, 8 * in->request->body.length + 64))
        return STATUS_NO_MEMORY;
    status = json_to_tagged(in->tree, (uint8_t *)b->tagged.at, b->tagged.room, &item.body);
    if (status != STATUS_OK) {
        item.form = ITEM_FORM_TEXT;
        if ((status = json_write(in->tree, &b->tagged)) != STATUS_OK)
            return status;
        item.body = text_slice(&b->tagged);
    }
    if (!branch_room(&b->item, item_bound(&item)))
        return STATUS_NO_MEMORY;
    return item_write(&item, (uint8_t *)b->item.at, b->item.room, out);
}

static int intake_put(struct branch *b, struct intake *in)
{
    struct text opaque = { 0 };
    struct outbox_message message = { .ttl_s = in->ttl_s, .token = in->request->token };
    struct outbox_place place;
    int status = intake_make_item(b, in, &opaque, &message.item);

    message.opaque = text_slice(&opaque);
    if (status == STATUS_OK)
        status = outbox_mark(b->outbox);
    if (status == STATUS_OK) {
        status = outbox_row_put(b->outbox, in->lane, &message, in->now->elapsed_ms, &place);
        if (status == STATUS_OK && in->has_key)
            status = outbox_idempotency_put(b->outbox, &in->key,
                                            outbox_now_ms(b->outbox, in->now->elapsed_ms), &place);
        if (status == STATUS_OK)
            status = intake_write_answer(b, in, &place);
        if (status == STATUS_OK)
            status = outbox_keep(b->outbox);
        else
            outbox_undo(b->outbox);
    }
    text_wipe(&opaque);
    return status;
}

int branch_accept(struct branch *b, const struct branch_request *request, const struct branch_time *now,
                  struct branch_answer *answer)
{
    struct intake in = { .request = request, .now = now, .answer = answer };
    struct outbox_place before;
    bool found = false;
    int status = intake_check_number(b, &in);

    if (status == STATUS_OK && !in.done)
        status = intake_find_key(b, &in, &before, &found);
    if (status == STATUS_OK && !in.done)
        status = intake_check_body(&in);
    if (status == STATUS_OK && !in.done && found)
        status = intake_write_answer(b, &in, &before);
    if (status == STATUS_OK && !in.done)
        status = intake_choose_lane(b, &in);
    if (status == STATUS_OK && !in.done)
        status = intake_check_room(b, &in);
    if (status == STATUS_OK && !in.done)
        status = intake_put(b, &in);
    json_free(in.tree);
    branch_trim(&b->tagged);
    branch_trim(&b->item);
    return status;
}

bool branch_is_ready(struct branch *b, const char **why)
{
    *why = NULL;
    if (outbox_drains_only(b->outbox))
        *why = "disk_full";
    else if (outbox_used_bytes(b->outbox) >= branch_level(b, LANE_ALERT))
        *why = "store_full";
    return *why == NULL;
}
