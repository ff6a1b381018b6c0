/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sandbox/bulletin.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define DAY_S 86400

/* A tree under way: the first failure stays, so that it is asked for once. */
static void put(int *status, struct json *object, const char *key, struct json *value)
{
    int outcome = json_set(object, key, value);

    if (*status == STATUS_OK)
        *status = outcome;
}

static void put_text(int *status, struct json *object, const char *key, const char *text)
{
    put(status, object, key, json_new_string(slice_text(text)));
}

static void put_seconds(int *status, struct json *object, const char *key, int64_t seconds)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRId64, seconds);
    put_text(status, object, key, text);
}

/* Wraps an only child, which is taken, in an array. */
static struct json *only(struct json *child)
{
    struct json *array = json_new_array();

    if (json_add(array, child) == STATUS_OK)
        return array;
    json_free(array);
    return NULL;
}

/* Meta escapes the slash; in JSON one can only stand in a string. */
static int write_escaped(const struct json *root, struct text *out)
{
    struct text plain = { 0 };
    int status = json_write_ascii(root, &plain);
    const char *at = plain.at, *slash;

    if (status == STATUS_OK) {
        while ((slash = strchr(at, '/'))) {
            text_add(out, slice_of(at, (size_t)(slash - at)));
            text_puts(out, "\\/");
            at = slash + 1;
        }
        text_puts(out, at);
        status = out->failed ? STATUS_NO_MEMORY : STATUS_OK;
    }
    text_free(&plain);
    return status;
}

static struct json *make_value(int *status, const struct bulletin_head *head)
{
    struct json *value = json_new_object(), *metadata = json_new_object();

    put_text(status, value, "messaging_product", "whatsapp");
    put_text(status, metadata, "display_phone_number", head->number->display);
    put_text(status, metadata, "phone_number_id", head->number->id);
    put(status, value, "metadata", metadata);
    return value;
}

/* Takes value. */
static int write_webhook(int status, const struct bulletin_head *head, struct json *value, struct text *out)
{
    struct json *root = json_new_object(), *entry = json_new_object(), *change = json_new_object();

    put(&status, change, "value", value);
    put_text(&status, change, "field", "messages");
    put_text(&status, entry, "id", head->waba_id);
    put(&status, entry, "changes", only(change));
    put_text(&status, root, "object", "whatsapp_business_account");
    put(&status, root, "entry", only(entry));
    if (status == STATUS_OK)
        status = write_escaped(root, out);
    json_free(root);
    return status;
}

const char *bulletin_status_word(enum phones_status status)
{
    switch (status) {
    case PHONES_SENT: return "sent";
    case PHONES_DELIVERED: return "delivered";
    case PHONES_READ: return "read";
    }
    return "";
}

/* One conversation lasts a day for a customer and a number: its id follows from them. */
static struct json *make_conversation(int *status, const struct bulletin_head *head,
                                      const struct bulletin_status *s)
{
    struct json *conversation = json_new_object(), *origin = json_new_object();
    const int64_t day = s->at_s / DAY_S;
    const struct slice parts[] = { s->recipient, slice_text(head->number->id), slice_of(&day, sizeof day) };
    uint8_t hash[SEAL_HASH_BYTES] = { 0 };
    char hex[33];

    if (seal_sha256_parts(parts, 3, hash) != STATUS_OK)
        *status = STATUS_UNAVAILABLE;
    text_hex(slice_of(hash, 16), hex);
    put_text(status, conversation, "id", hex);
    if (s->status == PHONES_SENT)
        put_seconds(status, conversation, "expiration_timestamp", (day + 1) * DAY_S);
    put_text(status, origin, "type", s->is_template ? "utility" : "service");
    put(status, conversation, "origin", origin);
    return conversation;
}

static struct json *make_pricing(int *status, const struct bulletin_status *s)
{
    struct json *pricing = json_new_object();

    put(status, pricing, "billable", json_new_bool(s->is_template));
    put_text(status, pricing, "pricing_model", "PMP");
    put_text(status, pricing, "category", s->is_template ? "utility" : "service");
    put_text(status, pricing, "type", s->is_template ? "regular" : "free_customer_service");
    return pricing;
}

int bulletin_status(const struct bulletin_head *head, const struct bulletin_status *s, struct text *out)
{
    int status = STATUS_OK;
    struct json *value = make_value(&status, head), *item = json_new_object();

    put_text(&status, item, "id", s->id);
    put_text(&status, item, "status", bulletin_status_word(s->status));
    put_seconds(&status, item, "timestamp", s->at_s);
    put(&status, item, s->is_user_id ? "recipient_user_id" : "recipient_id", json_new_string(s->recipient));
    if (s->opaque.length)
        put(&status, item, "biz_opaque_callback_data", json_new_string(s->opaque));
    if (s->status != PHONES_READ) {
        put(&status, item, "conversation", make_conversation(&status, head, s));
        put(&status, item, "pricing", make_pricing(&status, s));
    }
    put(&status, value, "statuses", only(item));
    return write_webhook(status, head, value, out);
}

int bulletin_message(const struct bulletin_head *head, const char *from, const char *name, const char *id,
                     int64_t at_s, struct json *message, struct text *out)
{
    int status = STATUS_OK;
    struct json *value = make_value(&status, head), *contact = json_new_object(),
                *profile = json_new_object();

    put_text(&status, profile, "name", name);
    put(&status, contact, "profile", profile);
    put_text(&status, contact, "wa_id", from);
    put(&status, value, "contacts", only(contact));
    put_text(&status, message, "from", from);
    put_text(&status, message, "id", id);
    put_seconds(&status, message, "timestamp", at_s);
    put(&status, value, "messages", only(message));
    return write_webhook(status, head, value, out);
}

struct slice bulletin_customer(const struct json *webhook)
{
    const struct json *value = json_path(webhook, "entry.0.changes.0.value");
    const struct json *message = json_path(value, "messages.0"), *item = json_path(value, "statuses.0");
    static const char *const names[] = { "recipient_id", "recipient_user_id", "from", "from_user_id" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct json *found = json_get(i < 2 ? item : message, names[i]);

        if (json_string(found).length)
            return json_string(found);
    }
    return slice_text("");
}
