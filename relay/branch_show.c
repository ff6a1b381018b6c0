/* SPDX-License-Identifier: Apache-2.0 */
/* Where a message is, and taking one back. */
#include <stdio.h>
#include <string.h>

#include "relay/branch_parts.h"
#include "sync/kit/graph.h"
#include "sync/protocol/status.h"

static const struct branch_end withdrawn = {
    .state = HISTORY_WITHDRAWN,
    .total = OUTBOX_WITHDRAWN,
    .code = BRANCH_ERROR_WITHDRAWN,
    .title = "Message withdrawn",
    .details = "The message was withdrawn at the branch before it was sent.",
};

/* Where a message stands. */
struct standing {
    struct outbox_place place;
    bool waits; /* In the outbox, as row (opened). */
    struct outbox_row row;
    bool damaged;
    struct history history;
};

static int standing_find(struct branch *b, struct slice text, const struct branch_time *now,
                         struct standing *out)
{
    struct message_id id;
    int status;

    *out = (struct standing){ .waits = false };
    if (message_id_parse(text, &id) != STATUS_OK || id.branch != b->options.number)
        return STATUS_END;
    out->place = branch_place_of(&id);
    status =
        outbox_history_find(b->outbox, &out->place, outbox_now_ms(b->outbox, now->elapsed_ms), &out->history);
    if (status != STATUS_OK && status != STATUS_END)
        return status;
    out->damaged = outbox_row_is_quarantined(b->outbox, &out->place);
    status = outbox_row_find(b->outbox, &out->place, now->elapsed_ms, &out->row);
    out->waits = status == STATUS_OK || status == STATUS_UNAVAILABLE || status == STATUS_CORRUPT;
    if (!out->waits && status != STATUS_END)
        return status;
    return out->waits || out->damaged || out->history.count > 0 ? STATUS_OK : STATUS_END;
}

static const char *standing_state(const struct branch *b, const struct standing *s)
{
    enum history_state state = history_state_of(&s->history);

    if (state)
        return history_state_name(state);
    if (s->damaged)
        return "failed";
    if (outbox_row_is_settled(b->outbox, &s->place))
        return "synced";
    return outbox_is_held(b->outbox, &s->place) ? "held" : "queued";
}

static int add_state(struct json *list, const char *state, uint64_t at_ms, uint32_t code, const char *title)
{
    struct json *entry = json_new_object();
    int failed = json_set(entry, "state", json_new_string(slice_text(state)));

    failed |= json_set(entry, "at", json_new_integer((int64_t)(at_ms / 1000)));
    if (code) {
        struct json *error = json_new_object();

        failed |= json_set(error, "code", json_new_integer(code));
        failed |= json_set(error, "title", json_new_string(slice_text(title)));
        failed |= json_set(entry, "error", error);
    }
    return json_add(list, entry) | failed;
}

/* The states in their order, and the last one's time and error at the top. */
static int show_history(struct json *root, const struct standing *s)
{
    struct json *list = json_new_array();
    const struct history *h = &s->history;
    uint64_t accepted_ms = s->waits ? s->row.at_ms : h->accepted_ms;
    uint64_t at_ms = accepted_ms;
    int failed = 0;

    if (accepted_ms)
        failed |= add_state(list, "queued", accepted_ms, 0, "");
    for (size_t i = 0; i < h->count; i++) {
        const struct history_entry *entry = &h->entries[i];

        failed |= add_state(list, history_state_name(entry->state), entry->at_ms, entry->code, entry->title);
        if (entry->state == history_state_of(h))
            at_ms = entry->at_ms;
    }
    failed |= json_set(root, "at", json_new_integer((int64_t)(at_ms / 1000)));
    for (size_t i = h->count; i > 0; i--) {
        const struct history_entry *entry = &h->entries[i - 1];

        if (entry->state != history_state_of(h) || !entry->code)
            continue;
        struct json *error = json_new_object();

        failed |= json_set(error, "code", json_new_integer(entry->code));
        failed |= json_set(error, "title", json_new_string(slice_text(entry->title)));
        failed |= json_set(root, "error", error);
        break;
    }
    if (s->damaged && !h->count) {
        struct json *error = json_new_object();

        failed |= json_set(error, "code", json_new_integer(BRANCH_ERROR_DAMAGED));
        failed |= json_set(error, "title", json_new_string(slice_text("Message damaged on the box's disk")));
        failed |= json_set(root, "error", error);
    }
    return json_set(root, "history", list) | failed;
}

/* All that goes first, at the speed seen lately. */
static uint64_t show_eta_s(const struct branch *b, enum lane lane, uint64_t goodput)
{
    uint64_t bytes = 0;

    for (int before = 0; before <= (int)lane; before++)
        bytes += outbox_waiting(b->outbox, (enum lane)before).bytes;
    return (bytes + goodput - 1) / goodput;
}

static int answer_json(struct json *root, int failed, struct branch_answer *answer)
{
    int status = failed || !root ? STATUS_NO_MEMORY : json_write_ascii(root, &answer->body);

    json_free(root);
    answer->status = 200;
    return status;
}

static int refuse_unknown(struct branch_answer *answer)
{
    return branch_refuse(answer, 404, 100, "Invalid parameter",
                         "No such message: it is not one of this branch's, or older than 30 days.");
}

int branch_show(struct branch *b, struct slice id, uint64_t goodput, const struct branch_time *now,
                struct branch_answer *answer)
{
    struct standing s;
    struct json *root;
    int failed, status = standing_find(b, id, now, &s);

    if (status == STATUS_END)
        return refuse_unknown(answer);
    if (status != STATUS_OK)
        return status;
    root = json_new_object();
    failed = json_set(root, "id", json_new_string(id));
    failed |= json_set(root, "lane", json_new_string(slice_text(lane_name(s.place.lane))));
    failed |= json_set(root, "state", json_new_string(slice_text(standing_state(b, &s))));
    if (s.waits && goodput)
        failed |= json_set(root, "eta_s", json_new_integer((int64_t)show_eta_s(b, s.place.lane, goodput)));
    failed |= show_history(root, &s);
    return answer_json(root, failed, answer);
}

int branch_withdraw(struct branch *b, struct slice id, const struct branch_time *now,
                    struct branch_answer *answer)
{
    struct standing s;
    struct json *root;
    int failed, status = standing_find(b, id, now, &s);

    if (status == STATUS_END)
        return refuse_unknown(answer);
    if (status != STATUS_OK)
        return status;
    if (!s.waits || s.row.item.length == 0)
        return branch_refuse(
            answer, 409, 100, "Invalid parameter",
            "The message does not wait at the branch any more; it cannot be withdrawn here.");
    if (outbox_row_is_settled(b->outbox, &s.place) || outbox_row_may_have_left(b->outbox, &s.place))
        return branch_refuse(
            answer, 409, 100, "Invalid parameter",
            "The message may have left the branch already; that is known when the link is next up.");
    status = branch_end(b, &s.row, &withdrawn, outbox_now_ms(b->outbox, now->elapsed_ms));
    if (status != STATUS_OK)
        return status;
    root = json_new_object();
    failed = json_set(root, "id", json_new_string(id));
    failed |= json_set(root, "state", json_new_string(slice_text("withdrawn")));
    return answer_json(root, failed, answer);
}

int branch_hold(struct branch *b, struct slice id, const struct branch_time *now)
{
    struct standing s;
    int status = standing_find(b, id, now, &s);

    if (status == STATUS_OK && !s.waits)
        status = STATUS_END;
    return status == STATUS_OK ? outbox_hold(b->outbox, &s.place) : status;
}
