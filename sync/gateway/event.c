/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/event.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/gateway/request.h"
#include "sync/protocol/status.h"

/* --- Splitting --- */

/* A copy of an object with one of its values replaced by `value`, which moves in; the order of keys stays. */
static struct json *copy_but(const struct json *object, const char *but, struct json *value)
{
    struct json *copy = json_new_object(), *inner;
    struct slice key;
    void *walk = NULL;
    int status = copy ? STATUS_OK : STATUS_NO_MEMORY;
    bool moved = false;

    while (status == STATUS_OK && json_each(object, &walk, &key, &inner)) {
        if (slice_is(key, but)) {
            moved = true;
            status = json_set(copy, but, value);
        } else {
            status = json_set(copy, (const char *)key.at, json_copy(inner));
        }
    }
    if (!moved)
        json_free(value);
    if (status == STATUS_OK)
        return copy;
    json_free(copy);
    return NULL;
}

static struct json *array_of(struct json *value)
{
    struct json *array = json_new_array();

    if (json_add(array, value) == STATUS_OK)
        return array;
    json_free(array);
    return NULL;
}

static struct slice customer_of(const struct json *item, enum event_kind kind)
{
    static const char *const names[][2] = { { "from", "from_user_id" },
                                            { "recipient_id", "recipient_user_id" } };
    struct slice first = json_string(json_get(item, names[kind == EVENT_STATUS][0]));

    return first.length ? first : json_string(json_get(item, names[kind == EVENT_STATUS][1]));
}

/* Of a batch each event keeps the contacts that are its own: the others belong to other customers, and may go
 * to other branches. When none can be told apart all stay. */
static struct json *own_contacts(const struct json *contacts, const struct json *item, enum event_kind kind)
{
    struct slice customer = customer_of(item, kind);
    struct json *own = json_new_array();
    int status = STATUS_OK;

    for (size_t i = 0; own && i < json_count(contacts) && status == STATUS_OK; i++) {
        const struct json *contact = json_at(contacts, i);

        if (customer.length && (slice_equal(json_string(json_get(contact, "wa_id")), customer) ||
                                slice_equal(json_string(json_get(contact, "user_id")), customer)))
            status = json_add(own, json_copy(contact));
    }
    if (own && status == STATUS_OK && json_count(own) > 0)
        return own;
    json_free(own);
    return status == STATUS_OK ? json_copy(contacts) : NULL;
}

/* The value with one message or status alone. */
static struct json *value_of_one(const struct json *value, const struct json *item, enum event_kind kind,
                                 bool alone)
{
    const char *list = kind == EVENT_MESSAGE ? "messages" : "statuses";
    const char *other = kind == EVENT_MESSAGE ? "statuses" : "messages";
    struct json *copy = json_new_object(), *inner;
    struct slice key;
    void *walk = NULL;
    int status = copy ? STATUS_OK : STATUS_NO_MEMORY;

    while (status == STATUS_OK && json_each(value, &walk, &key, &inner)) {
        if (slice_is(key, list))
            status = json_set(copy, list, array_of(json_copy(item)));
        else if (!alone && slice_is(key, "contacts") && json_type(inner) == JSON_ARRAY)
            status = json_set(copy, "contacts", own_contacts(inner, item, kind));
        else if (!slice_is(key, other) || json_type(inner) != JSON_ARRAY)
            status = json_set(copy, (const char *)key.at, json_copy(inner));
    }
    if (status == STATUS_OK)
        return copy;
    json_free(copy);
    return NULL;
}

struct splitting {
    const struct json *webhook, *entry, *change;
    int (*visit)(void *owner, struct event *event);
    void *owner;
};

/* Visits the webhook `whole`, which is freed here; NULL: out of memory on the way to it. */
static int visit_whole(const struct splitting *s, enum event_kind kind, struct json *whole)
{
    struct event e = { .kind = kind, .whole = whole };
    int status;

    if (!whole)
        return STATUS_NO_MEMORY;
    e.entry = json_path(whole, "entry.0");
    if (s->change) {
        e.value = json_path(whole, "entry.0.changes.0.value");
        if (kind != EVENT_OTHER)
            e.item = json_at(json_get(e.value, kind == EVENT_MESSAGE ? "messages" : "statuses"), 0);
    }
    status = s->visit(s->owner, &e);
    json_free(whole);
    return status;
}

/* Puts a change (which moves in) into its entry and its webhook. */
static struct json *wrap(const struct splitting *s, struct json *change)
{
    struct json *changes = array_of(change), *entry, *entries;

    if (!changes || !(entry = copy_but(s->entry, "changes", changes)) || !(entries = array_of(entry)))
        return NULL;
    return copy_but(s->webhook, "entry", entries);
}

static int split_list(const struct splitting *s, const struct json *value, const struct json *list,
                      enum event_kind kind, bool alone)
{
    int status = STATUS_OK;

    for (size_t i = 0; i < json_count(list) && status == STATUS_OK; i++) {
        struct json *own = value_of_one(value, json_at(list, i), kind, alone);
        struct json *change = own ? copy_but(s->change, "value", own) : NULL;

        status = change ? visit_whole(s, kind, wrap(s, change)) : STATUS_NO_MEMORY;
    }
    return status;
}

static bool is_list(const struct json *v)
{
    return json_type(v) == JSON_ARRAY && json_count(v) > 0;
}

static int split_change(const struct splitting *s)
{
    const struct json *value = json_get(s->change, "value");
    const struct json *messages = json_get(value, "messages"), *statuses = json_get(value, "statuses");
    bool alone =
        (is_list(messages) ? json_count(messages) : 0) + (is_list(statuses) ? json_count(statuses) : 0) == 1;
    int status = STATUS_OK;

    if (!is_list(messages) && !is_list(statuses))
        return visit_whole(s, EVENT_OTHER, wrap(s, json_copy(s->change)));
    if (is_list(messages))
        status = split_list(s, value, messages, EVENT_MESSAGE, alone);
    if (status == STATUS_OK && is_list(statuses))
        status = split_list(s, value, statuses, EVENT_STATUS, alone);
    return status;
}

static int split_entry(struct splitting *s)
{
    const struct json *changes = json_get(s->entry, "changes");
    int status = STATUS_OK;

    if (!is_list(changes)) {
        struct json *entries = array_of(json_copy(s->entry));

        s->change = NULL;
        return visit_whole(s, EVENT_OTHER, entries ? copy_but(s->webhook, "entry", entries) : NULL);
    }
    for (size_t i = 0; i < json_count(changes) && status == STATUS_OK; i++) {
        s->change = json_at(changes, i);
        status = split_change(s);
    }
    return status;
}

int event_split(const struct json *webhook, int (*visit)(void *owner, struct event *event), void *owner)
{
    struct splitting s = { .webhook = webhook, .visit = visit, .owner = owner };
    const struct json *entries = json_get(webhook, "entry");
    int status = STATUS_OK;

    if (!is_list(entries))
        return visit_whole(&s, EVENT_OTHER, json_copy(webhook));
    for (size_t i = 0; i < json_count(entries) && status == STATUS_OK; i++) {
        s.entry = json_at(entries, i);
        status = split_entry(&s);
    }
    return status;
}

/* --- What an event says --- */

struct slice event_id(const struct event *e)
{
    return json_string(json_get(e->item, "id"));
}

struct slice event_customer(const struct event *e)
{
    return e->item ? customer_of(e->item, e->kind) : slice_of(NULL, 0);
}

uint64_t event_number(const struct event *e)
{
    return request_number(json_string(json_path(e->value, "metadata.phone_number_id")));
}

bool event_token(const struct event *e, struct message_id *id)
{
    return e->kind == EVENT_STATUS &&
           request_token(json_string(json_get(e->item, "biz_opaque_callback_data")), id);
}

/* Each part with its length, so that no two lists of parts read alike. */
static void add_part(struct text *out, struct slice part)
{
    text_printf(out, "%zu:", part.length);
    text_add(out, part);
}

bool event_repeat_key(const struct event *e, struct text *out)
{
    /* A status is one of (id, status, recipient); of a group each participant has his own, and a payment has
     * its own sequence of states beside the message's. */
    static const char *const parts[] = {
        "id", "status", "recipient_id", "recipient_user_id", "recipient_participant_id", "type"
    };
    static const char *const payment[] = { "reference_id", "transaction.id", "transaction.status" };

    switch (e->kind) {
    case EVENT_MESSAGE:
        if (event_id(e).length == 0)
            return false;
        text_puts(out, "message ");
        add_part(out, event_id(e));
        return true;
    case EVENT_STATUS:
        if (event_id(e).length == 0)
            return false;
        text_puts(out, "status ");
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            add_part(out, json_string(json_get(e->item, parts[i])));
        for (size_t i = 0; i < sizeof payment / sizeof *payment; i++)
            add_part(out, json_string(json_path(json_get(e->item, "payment"), payment[i])));
        return true;
    case EVENT_OTHER:
        /* Without a time two equal ones may be two. */
        if (!json_get(e->entry, "time"))
            return false;
        text_puts(out, "other ");
        return json_write(e->whole, out) == STATUS_OK;
    }
    return false;
}

/* --- Rewriting --- */

static int set_ours(struct json *object, const char *key, const struct event_names *names)
{
    struct slice meta = json_string(json_get(object, key));
    char ours[MESSAGE_ID_TEXT_MAX + 1];

    if (meta.length == 0 || !names->ours(names->owner, meta, ours))
        return STATUS_OK;
    return json_set(object, key, json_new_string(slice_text(ours)));
}

static int set_conversation(struct json *status, const struct event_names *names)
{
    struct json *conversation = json_get(status, "conversation");
    struct slice meta = json_string(json_get(conversation, "id"));
    char text[33];
    uint64_t number;

    if (meta.length == 0 || !names->conversation(names->owner, meta, &number))
        return STATUS_OK;
    snprintf(text, sizeof text, "%032" PRIx64, number);
    return json_set(conversation, "id", json_new_string(slice_text(text)));
}

static int rewrite_status(struct event *e, const struct event_names *names)
{
    struct message_id token;
    int status = set_ours(e->item, "id", names);

    if (status == STATUS_OK)
        status = set_conversation(e->item, names);
    /* Only our own token goes: what another program of the bank put there is its own business. */
    if (status == STATUS_OK && event_token(e, &token))
        status = json_remove(e->item, "biz_opaque_callback_data");
    return status;
}

static int rewrite_message(struct event *e, const struct event_names *names)
{
    int status = set_ours(json_get(e->item, "context"), "id", names);

    if (status == STATUS_OK)
        status = set_ours(json_get(e->item, "reaction"), "message_id", names);
    if (status == STATUS_OK && json_get(e->item, "id"))
        status = json_set(e->item, "id", json_new_string(slice_text("")));
    return status;
}

int event_rewrite(struct event *e, const struct event_names *names)
{
    switch (e->kind) {
    case EVENT_MESSAGE: return rewrite_message(e, names);
    case EVENT_STATUS: return rewrite_status(e, names);
    case EVENT_OTHER: return STATUS_OK;
    }
    return STATUS_OK;
}

int event_set_id(struct event *e, const struct message_id *id)
{
    char text[MESSAGE_ID_TEXT_MAX + 1];
    size_t length = message_id_format(id, text);

    return json_set(e->item, "id", json_new_string(slice_of(text, length)));
}

/* --- Making one --- */

static int set_text(struct json *object, const char *key, struct slice text)
{
    return json_set(object, key, json_new_string(text));
}

static struct json *failed_error(const struct event_failure *f)
{
    struct json *error = json_new_object(), *data = json_new_object();

    if (json_set(error, "code", json_new_integer(f->code)) == STATUS_OK &&
        set_text(error, "title", f->title) == STATUS_OK &&
        set_text(error, "message", f->message) == STATUS_OK &&
        set_text(data, "details", f->details.length ? f->details : f->title) == STATUS_OK) {
        if (json_set(error, "error_data", data) == STATUS_OK)
            return error;
        data = NULL;
    }
    json_free(data);
    json_free(error);
    return NULL;
}

static struct json *failed_status(const struct event_failure *f)
{
    struct json *status = json_new_object();
    char id[MESSAGE_ID_TEXT_MAX + 1], at[24];

    message_id_format(f->id, id);
    snprintf(at, sizeof at, "%" PRId64, f->at_s);
    if (set_text(status, "id", slice_text(id)) == STATUS_OK &&
        set_text(status, "status", slice_text("failed")) == STATUS_OK &&
        set_text(status, "timestamp", slice_text(at)) == STATUS_OK &&
        (f->recipient.length == 0 || set_text(status, "recipient_id", f->recipient) == STATUS_OK) &&
        json_set(status, "errors", array_of(failed_error(f))) == STATUS_OK)
        return status;
    json_free(status);
    return NULL;
}

static struct json *failed_value(const struct event_failure *f)
{
    struct json *value = json_new_object(), *metadata = json_new_object();
    char number[24];

    snprintf(number, sizeof number, "%" PRIu64, f->number);
    if (set_text(value, "messaging_product", slice_text("whatsapp")) != STATUS_OK ||
        set_text(metadata, "display_phone_number", slice_text(f->display_phone_number)) != STATUS_OK ||
        set_text(metadata, "phone_number_id", slice_text(number)) != STATUS_OK)
        goto fail;
    if (json_set(value, "metadata", metadata) != STATUS_OK) {
        metadata = NULL;
        goto fail;
    }
    if (json_set(value, "statuses", array_of(failed_status(f))) == STATUS_OK)
        return value;
    metadata = NULL;
fail:
    json_free(metadata);
    json_free(value);
    return NULL;
}

struct json *event_failed(const struct event_failure *failure)
{
    struct json *whole = json_new_object(), *entry = json_new_object(), *change = json_new_object();

    if (json_set(change, "value", failed_value(failure)) != STATUS_OK ||
        set_text(change, "field", slice_text("messages")) != STATUS_OK ||
        set_text(entry, "id", slice_text(failure->waba_id)) != STATUS_OK ||
        set_text(whole, "object", slice_text("whatsapp_business_account")) != STATUS_OK)
        goto fail;
    if (json_set(entry, "changes", array_of(change)) != STATUS_OK) {
        change = NULL;
        goto fail;
    }
    change = NULL;
    if (json_set(whole, "entry", array_of(entry)) == STATUS_OK)
        return whole;
    entry = NULL;
fail:
    json_free(change);
    json_free(entry);
    json_free(whole);
    return NULL;
}
