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

/* The lists of a change whose elements are events, each by itself, and where an element names its customer:
 * by number, else by BSUID. */
static const struct event_list {
    const char *name;
    enum event_kind kind;
    const char *number, *user;
} lists[] = {
    { "messages", EVENT_MESSAGE, "from", "from_user_id" },
    { "statuses", EVENT_STATUS, "recipient_id", "recipient_user_id" },
    { "calls", EVENT_OTHER, "from", "from_user_id" },
    { "message_echoes", EVENT_OTHER, "to", "to_user_id" },
    { "user_preferences", EVENT_OTHER, "wa_id", "user_id" },
};
#define LISTS (sizeof lists / sizeof *lists)

static bool is_list(const struct json *v)
{
    return json_type(v) == JSON_ARRAY && json_count(v) > 0;
}

static struct slice first_string(const struct json *object, const char *one, const char *other)
{
    struct slice found = json_string(json_get(object, one));

    return found.length ? found : json_string(json_get(object, other));
}

static struct slice customer_of(const struct json *item, const struct event_list *list)
{
    if (slice_is(json_string(json_get(item, "direction")), "BUSINESS_INITIATED"))
        return first_string(item, "to", "to_user_id");
    return first_string(item, list->number, list->user);
}

/* Of a batch each event keeps the contacts that are its own: the others belong to other customers, and may go
 * to other branches. When none can be told apart all stay. */
static struct json *own_contacts(const struct json *contacts, const struct json *item,
                                 const struct event_list *list)
{
    struct slice customer = customer_of(item, list);
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

static bool is_name_of_list(struct slice key)
{
    for (size_t i = 0; i < LISTS; i++)
        if (slice_is(key, lists[i].name))
            return true;
    return false;
}

/* The value with one element of its lists alone. */
static struct json *value_of_one(const struct json *value, const struct json *item,
                                 const struct event_list *list, bool alone)
{
    struct json *copy = json_new_object(), *inner;
    struct slice key;
    void *walk = NULL;
    int status = copy ? STATUS_OK : STATUS_NO_MEMORY;

    while (status == STATUS_OK && json_each(value, &walk, &key, &inner)) {
        if (slice_is(key, list->name))
            status = json_set(copy, list->name, array_of(json_copy(item)));
        else if (!alone && slice_is(key, "contacts") && json_type(inner) == JSON_ARRAY)
            status = json_set(copy, "contacts", own_contacts(inner, item, list));
        else if (!is_list(inner) || !is_name_of_list(key))
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

/* Visits the webhook `whole`, which is freed here; NULL: out of memory on the way to it. list: the one of
 * which it holds one element; NULL: none. */
static int visit_whole(const struct splitting *s, const struct event_list *list, struct json *whole)
{
    struct event e = { .kind = list ? list->kind : EVENT_OTHER, .whole = whole, .list = list };
    int status;

    if (!whole)
        return STATUS_NO_MEMORY;
    e.entry = json_path(whole, "entry.0");
    if (s->change) {
        e.value = json_path(whole, "entry.0.changes.0.value");
        if (list)
            e.item = json_at(json_get(e.value, list->name), 0);
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

static int split_list(const struct splitting *s, const struct json *value, const struct event_list *list,
                      bool alone)
{
    const struct json *elements = json_get(value, list->name);
    int status = STATUS_OK;

    for (size_t i = 0; i < json_count(elements) && status == STATUS_OK; i++) {
        struct json *own = value_of_one(value, json_at(elements, i), list, alone);
        struct json *change = own ? copy_but(s->change, "value", own) : NULL;

        status = change ? visit_whole(s, list, wrap(s, change)) : STATUS_NO_MEMORY;
    }
    return status;
}

static int split_change(const struct splitting *s)
{
    const struct json *value = json_get(s->change, "value");
    size_t count = 0;
    int status = STATUS_OK;

    for (size_t i = 0; i < LISTS; i++)
        if (is_list(json_get(value, lists[i].name)))
            count += json_count(json_get(value, lists[i].name));
    if (count == 0)
        return visit_whole(s, NULL, wrap(s, json_copy(s->change)));
    for (size_t i = 0; i < LISTS && status == STATUS_OK; i++)
        if (is_list(json_get(value, lists[i].name)))
            status = split_list(s, value, &lists[i], count == 1);
    return status;
}

static int split_entry(struct splitting *s)
{
    const struct json *changes = json_get(s->entry, "changes");
    int status = STATUS_OK;

    if (!is_list(changes)) {
        struct json *entries = array_of(json_copy(s->entry));

        s->change = NULL;
        return visit_whole(s, NULL, entries ? copy_but(s->webhook, "entry", entries) : NULL);
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
        return visit_whole(&s, NULL, json_copy(webhook));
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
    const struct json *contacts = json_get(e->value, "contacts");

    if (e->item)
        return customer_of(e->item, e->list);
    /* A change of a kind to come says by its one contact whom it is about. */
    return json_count(contacts) == 1 ? first_string(json_at(contacts, 0), "wa_id", "user_id")
                                     : slice_of(NULL, 0);
}

struct slice event_field(const struct event *e)
{
    return json_string(json_path(e->whole, "entry.0.changes.0.field"));
}

bool event_is_of_account(const struct event *e)
{
    return e->kind == EVENT_OTHER && event_customer(e).length == 0 &&
           json_string(json_path(e->value, "metadata.phone_number_id")).length == 0;
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
    static const char *const parts[] = { "id",
                                         "status",
                                         "recipient_id",
                                         "recipient_user_id",
                                         "recipient_participant_id",
                                         "recipient_participant_user_id",
                                         "type" };
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
        if (event_id(e).length) {
            text_puts(out, "item ");
            add_part(out, slice_text(e->list->name));
            return json_write(e->item, out) == STATUS_OK;
        }
        /* Without an id or a time two equal ones may be two. */
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
    static const struct {
        const char *object, *key;
    } places[] = {
        { "context", "id" },
        { "reaction", "message_id" },
        { "edit", "original_message_id" },
        { "edit.message.context", "id" },
        { "revoke", "original_message_id" },
    };
    int status = STATUS_OK;

    for (size_t i = 0; i < sizeof places / sizeof *places && status == STATUS_OK; i++)
        status = set_ours(json_path(e->item, places[i].object), places[i].key, names);
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

/* Only BSUIDs have a point in them. */
static const char *recipient_key(struct slice recipient)
{
    return recipient.length && memchr(recipient.at, '.', recipient.length) ? "recipient_user_id"
                                                                           : "recipient_id";
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
        (f->recipient.length == 0 ||
         set_text(status, recipient_key(f->recipient), f->recipient) == STATUS_OK) &&
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
