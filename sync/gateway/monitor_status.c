/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/monitor.h"

#include <inttypes.h>
#include <stdio.h>

#include "sync/kit/clock.h"
#include "sync/kit/file.h"
#include "sync/kit/json.h"
#include "sync/protocol/status.h"

/* Adds to the object; a failure is remembered in *status and found at the end. */
static void set(struct json *object, const char *key, struct json *value, int *status)
{
    int done = json_set(object, key, value);

    if (*status == STATUS_OK)
        *status = done;
}

static void set_number(struct json *object, const char *key, uint64_t value, int *status)
{
    set(object, key, json_new_integer((int64_t)value), status);
}

static void set_text(struct json *object, const char *key, const char *text, int *status)
{
    set(object, key, json_new_string(slice_text(text)), status);
}

static const char *branch_word(const struct ledger_branch *b, const struct hub_state *state)
{
    if (b->revoked)
        return "revoked";
    if (!b->certified)
        return "added";
    if (state->connected)
        return state->silent ? "silent" : "up";
    return b->seen_s ? "down" : "never_seen";
}

static struct json *branch_json(const struct monitor_sources *s, const struct ledger_branch *b, int *status)
{
    struct json *branch = json_new_object(), *queue = json_new_object();
    struct hub_state state = { 0 };
    uint64_t pending = 0, now_ms = loop_now_ms();
    int64_t seen_s = b->seen_s ? clock_wall_ms() / 1000 - b->seen_s : -1;

    if (s->hub)
        hub_branch_state(s->hub, b->number, &state);
    if (state.heard_ms)
        seen_s = (int64_t)(now_ms - state.heard_ms) / 1000;
    for (int lane = 0; lane < LANE_COUNT; lane++)
        pending += b->down_messages[lane];
    set_text(branch, "id", b->id, status);
    set_number(branch, "number", b->number, status);
    set_text(branch, "state", branch_word(b, &state), status);
    set(branch, "connected", json_new_bool(state.connected), status);
    set(branch, "last_seen_s", seen_s < 0 ? json_new_null() : json_new_integer(seen_s), status);
    set_number(queue, "messages", b->queue_messages, status);
    set_number(queue, "bytes", b->queue_bytes, status);
    set_number(queue, "oldest_age_s", b->queue_oldest_s, status);
    set(branch, "queue", queue, status);
    set_number(branch, "received", b->received, status);
    set_number(branch, "pending_down", pending, status);
    set(branch, "clone_alarm", json_new_bool(state.clone_alarm), status);
    set(branch, "certificate_expires_at", json_new_integer(b->until_s), status);
    return branch;
}

static struct json *holds_json(const struct monitor_sources *s, int *status)
{
    struct json *holds = json_new_array();
    struct courier_hold hold;

    for (size_t i = 0; courier_hold(s->courier, i, &hold); i++) {
        struct json *one = json_new_object();
        char number[24] = "all";

        if (hold.number)
            snprintf(number, sizeof number, "%" PRIu64, hold.number);
        set_text(one, "number", number, status);
        set(one, "code", json_new_integer(hold.code), status);
        set_text(one, "why", hold.why, status);
        set_number(one, "messages", hold.messages, status);
        if (json_add(holds, one) != STATUS_OK)
            *status = STATUS_NO_MEMORY;
    }
    return holds;
}

static struct json *courier_json(const struct monitor_sources *s, int *status)
{
    struct json *courier = json_new_object();
    struct courier_state state;

    courier_state(s->courier, &state);
    set_number(courier, "pending", state.pending, status);
    set_number(courier, "held", state.held, status);
    set_number(courier, "unknown", state.unknown, status);
    set_number(courier, "submitted", ledger_counter(s->ledger, LEDGER_SUBMITTED), status);
    set_number(courier, "failed", ledger_counter(s->ledger, LEDGER_FAILED), status);
    set_number(courier, "in_flight", state.in_flight, status);
    set_number(courier, "expired", ledger_counter(s->ledger, LEDGER_EXPIRED), status);
    set_number(courier, "unknown_told", ledger_counter(s->ledger, LEDGER_UNKNOWN_TOLD), status);
    set_number(courier, "read_marks_dropped", ledger_counter(s->ledger, LEDGER_READ_DROPPED), status);
    set(courier, "holds", holds_json(s, status), status);
    return courier;
}

static struct json *webhooks_json(const struct monitor_sources *s, int *status)
{
    struct json *webhooks = json_new_object();
    struct webhooks_totals totals;

    webhooks_totals(s->webhooks, &totals);
    set_number(webhooks, "posts", totals.posts, status);
    set_number(webhooks, "denied", totals.denied, status);
    set_number(webhooks, "events", ledger_counter(s->ledger, LEDGER_WEBHOOK_EVENTS), status);
    set_number(webhooks, "repeats", ledger_counter(s->ledger, LEDGER_WEBHOOK_REPEATS), status);
    set_number(webhooks, "unrouted", ledger_counter(s->ledger, LEDGER_UNROUTED), status);
    set_number(webhooks, "account", ledger_counter(s->ledger, LEDGER_ACCOUNT_EVENTS), status);
    return webhooks;
}

static struct json *store_json(const struct monitor_sources *s, int *status)
{
    struct json *store = json_new_object();

    set_number(store, "bytes", ledger_used_bytes(s->ledger), status);
    set_number(store, "quota_bytes", s->settings->store_bytes_max, status);
    set_number(store, "free_bytes", file_free_bytes(s->settings->state), status);
    set(store, "accepting", json_new_bool(s->accepting), status);
    return store;
}

int monitor_status(const struct monitor_sources *s, struct text *out)
{
    struct json *root = json_new_object(), *branches = json_new_array();
    int status = root ? STATUS_OK : STATUS_NO_MEMORY;

    set_text(root, "version", ZAJEL_VERSION, &status);
    set_number(root, "uptime_s", (loop_now_ms() - s->started_ms) / 1000, &status);
    for (uint32_t number = 1; number <= ledger_branch_count(s->ledger); number++)
        if (json_add(branches, branch_json(s, ledger_branch(s->ledger, number), &status)) != STATUS_OK)
            status = STATUS_NO_MEMORY;
    set(root, "branches", branches, &status);
    set(root, "courier", courier_json(s, &status), &status);
    set(root, "webhooks", webhooks_json(s, &status), &status);
    set(root, "store", store_json(s, &status), &status);
    if (status == STATUS_OK)
        status = json_write(root, out);
    json_free(root);
    return status;
}

static int64_t number_at(const struct json *v, const char *path)
{
    return json_integer(json_path(v, path), 0);
}

static void branch_line(const struct json *branch, struct text *out)
{
    const struct json *seen = json_get(branch, "last_seen_s");
    char ago[32] = "never";

    if (json_type(seen) == JSON_INTEGER)
        snprintf(ago, sizeof ago, "%" PRId64 " s ago", json_integer(seen, 0));
    text_printf(
        out,
        "  %-24.*s %-10.*s seen %-12s backlog %" PRId64 " (%" PRId64 " bytes, oldest %" PRId64
        " s)  received %" PRId64 "  to go down %" PRId64 "%s\n",
        (int)json_string(json_get(branch, "id")).length, (const char *)json_string(json_get(branch, "id")).at,
        (int)json_string(json_get(branch, "state")).length,
        (const char *)json_string(json_get(branch, "state")).at, ago, number_at(branch, "queue.messages"),
        number_at(branch, "queue.bytes"), number_at(branch, "queue.oldest_age_s"),
        number_at(branch, "received"), number_at(branch, "pending_down"),
        json_bool(json_get(branch, "clone_alarm"), false) ? "  CLONE ALARM" : "");
}

int monitor_status_lines(struct slice status_json, struct text *out)
{
    struct json *root;
    const struct json *branches, *holds;
    int status = json_parse(status_json, &root, NULL);

    if (status != STATUS_OK)
        return status;
    branches = json_get(root, "branches");
    holds = json_path(root, "courier.holds");
    text_printf(out, "zajel-gateway %s, up %" PRId64 " s\n",
                (const char *)json_string(json_get(root, "version")).at, number_at(root, "uptime_s"));
    text_printf(out, "branches: %zu\n", json_count(branches));
    for (size_t i = 0; i < json_count(branches); i++)
        branch_line(json_at(branches, i), out);
    text_printf(out,
                "courier: %" PRId64 " pending, %" PRId64 " held, %" PRId64 " unknown, %" PRId64
                " submitted, %" PRId64 " failed\n",
                number_at(root, "courier.pending"), number_at(root, "courier.held"),
                number_at(root, "courier.unknown"), number_at(root, "courier.submitted"),
                number_at(root, "courier.failed"));
    for (size_t i = 0; i < json_count(holds); i++)
        text_printf(out, "  HELD: number %s, code %" PRId64 ", %" PRId64 " messages: %s\n",
                    (const char *)json_string(json_get(json_at(holds, i), "number")).at,
                    number_at(json_at(holds, i), "code"), number_at(json_at(holds, i), "messages"),
                    (const char *)json_string(json_get(json_at(holds, i), "why")).at);
    text_printf(out,
                "webhooks: %" PRId64 " events, %" PRId64 " repeats, %" PRId64 " without a branch, %" PRId64
                " of the account\n",
                number_at(root, "webhooks.events"), number_at(root, "webhooks.repeats"),
                number_at(root, "webhooks.unrouted"), number_at(root, "webhooks.account"));
    json_free(root);
    return out->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

void monitor_words(const struct monitor_sources *s, struct text *out)
{
    struct courier_state courier;
    struct hub_state branch;
    unsigned linked = 0, branches = 0;

    if (!s->ledger || !s->courier) {
        text_puts(out, "not accepting: the ledger is closed");
        return;
    }
    for (uint32_t number = 1; number <= ledger_branch_count(s->ledger); number++) {
        if (ledger_branch(s->ledger, number)->revoked)
            continue;
        hub_branch_state(s->hub, number, &branch);
        branches++;
        linked += branch.connected && !branch.silent;
    }
    courier_state(s->courier, &courier);
    text_printf(
        out, "%s; %u of %u branches linked; courier: %" PRIu64 " wait, %" PRIu64 " held, %" PRIu64 " unknown",
        s->accepting ? "accepting" : "not accepting: the ledger has no room", linked, branches,
        courier.pending, courier.held, courier.unknown);
}
