/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/graph.h"

#include <ctype.h>
#include <string.h>

#include "sync/kit/graph_content.h"
#include "sync/protocol/status.h"

/* Limits: whatsapp-cloud-api.md section 1; the number's length is E.164's, and no country has shorter ones.
 */
enum {
    OPAQUE_MAX = 512,
    TEXT_BODY_MAX = 4096,
    CAPTION_MAX = 1024,
    CONTACTS_MAX = 257,
    DIGITS_MIN = 7,
    DIGITS_MAX = 15,
    BSUID_TAIL_MAX = 128
};

/* --- Content of the types ------------------------------------------------------------------------- */

static int no_caption(const struct json *value, const struct graph_place *place, struct graph_error *error)
{
    const struct graph_place caption = { .within = place, .name = "caption" };

    if (graph_field_is_there(value, "caption"))
        return graph_field_invalid(&caption, error, "this type has no caption; leave it out");
    return graph_field_one_source(value, place, error);
}

static const struct graph_field text_fields[] = {
    { .name = "body", .form = GRAPH_FORM_STRING, .required = true, .most = TEXT_BODY_MAX },
    { .name = "preview_url", .form = GRAPH_FORM_BOOL },
    { 0 },
};
static const struct graph_field media_fields[] = {
    { .name = "id", .form = GRAPH_FORM_ID },
    { .name = "link", .form = GRAPH_FORM_STRING, .rule = graph_field_url },
    { .name = "caption", .form = GRAPH_FORM_STRING, .empty_is_fine = true, .most = CAPTION_MAX },
    { .name = "filename", .form = GRAPH_FORM_STRING, .empty_is_fine = true },
    { 0 },
};
static const struct graph_field audio_fields[] = {
    { .name = "id", .form = GRAPH_FORM_ID },
    { .name = "link", .form = GRAPH_FORM_STRING, .rule = graph_field_url },
    { .name = "voice", .form = GRAPH_FORM_BOOL },
    { 0 },
};
static const struct graph_field contact_name[] = {
    { .name = "formatted_name", .form = GRAPH_FORM_STRING, .required = true },
    { .name = "first_name", .form = GRAPH_FORM_STRING, .empty_is_fine = true },
    { .name = "last_name", .form = GRAPH_FORM_STRING, .empty_is_fine = true },
    { 0 },
};
static const struct graph_field contact_fields[] = {
    { .name = "name", .form = GRAPH_FORM_OBJECT, .required = true, .fields = contact_name },
    { .name = "phones", .form = GRAPH_FORM_ARRAY, .empty_is_fine = true },
    { .name = "emails", .form = GRAPH_FORM_ARRAY, .empty_is_fine = true },
    { .name = "addresses", .form = GRAPH_FORM_ARRAY, .empty_is_fine = true },
    { .name = "urls", .form = GRAPH_FORM_ARRAY, .empty_is_fine = true },
    { .name = "org", .form = GRAPH_FORM_OBJECT },
    { .name = "birthday", .form = GRAPH_FORM_STRING, .empty_is_fine = true },
    { 0 },
};
static const struct graph_field reaction_fields[] = {
    { .name = "message_id", .form = GRAPH_FORM_STRING, .required = true },
    { .name = "emoji", .form = GRAPH_FORM_STRING, .required = true, .empty_is_fine = true },
    { 0 },
};

/* The object named after the type. Types that are not here pass with the envelope checked. */
static const struct graph_field contents[] = {
    { .name = "text", .form = GRAPH_FORM_OBJECT, .required = true, .fields = text_fields },
    { .name = "image",
      .form = GRAPH_FORM_OBJECT,
      .required = true,
      .rule = graph_field_one_source,
      .fields = media_fields },
    { .name = "video",
      .form = GRAPH_FORM_OBJECT,
      .required = true,
      .rule = graph_field_one_source,
      .fields = media_fields },
    { .name = "document",
      .form = GRAPH_FORM_OBJECT,
      .required = true,
      .rule = graph_field_one_source,
      .fields = media_fields },
    { .name = "audio",
      .form = GRAPH_FORM_OBJECT,
      .required = true,
      .rule = no_caption,
      .fields = audio_fields },
    { .name = "sticker",
      .form = GRAPH_FORM_OBJECT,
      .required = true,
      .rule = no_caption,
      .fields = graph_field_media },
    { .name = "location", .form = GRAPH_FORM_OBJECT, .required = true, .fields = graph_field_location },
    { .name = "contacts",
      .form = GRAPH_FORM_ARRAY,
      .required = true,
      .most = CONTACTS_MAX,
      .fields = contact_fields },
    { .name = "reaction", .form = GRAPH_FORM_OBJECT, .required = true, .fields = reaction_fields },
    { .name = "interactive", .form = GRAPH_FORM_OBJECT, .required = true, .rule = graph_interactive_check },
    { .name = "template", .form = GRAPH_FORM_OBJECT, .required = true, .fields = graph_template_fields },
};

/* Contacts may come as a string that holds the array: so whatsapp-api-js writes them, and WhatsApp reads it.
 */
static int check_written_contacts(const struct json *request, const struct graph_place *place,
                                  const struct graph_field *content, struct graph_error *error)
{
    struct json *read = json_new_object(), *array = NULL;
    int status = json_parse(json_string(json_get(request, content->name)), &array, NULL);

    if (status == STATUS_OK && (status = json_set(read, content->name, array)) == STATUS_OK) {
        status = graph_field_check(read, place, content, error);
    } else if (status == STATUS_NO_MEMORY) {
        graph_error_set(error, 503, 2, "Service temporarily unavailable", "out of memory; try again");
        status = STATUS_INVALID;
    } else {
        status = graph_field_check(request, place, content, error); /* Says that a string is no array. */
    }
    json_free(read);
    return status;
}

/* Types that only customers' messages have. */
static const char *const inbound_types[] = { "button", "order", "system", "unsupported", "edit", "revoke" };

static int check_type(const struct json *request, const struct graph_place *place, struct graph_send *out,
                      struct graph_error *error)
{
    const struct json *type = json_get(request, "type");

    out->type = json_string(type);
    for (size_t i = 0; i < sizeof inbound_types / sizeof *inbound_types; i++)
        if (graph_field_is(type, inbound_types[i])) {
            graph_error_set(error, 400, 131051, "Unsupported message type",
                            "type: \"%s\" is a type of messages that come in; it cannot be sent",
                            inbound_types[i]);
            return STATUS_INVALID;
        }
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        const struct graph_field content[] = { contents[i], { 0 } };

        if (graph_field_is(type, contents[i].name)) {
            out->type = slice_text(contents[i].name); /* However it was written. */
            if (slice_is(out->type, "contacts") && json_is_string(json_get(request, "contacts")))
                return check_written_contacts(request, place, content, error);
            return graph_field_check(request, place, content, error);
        }
    }
    return STATUS_OK;
}

/* --- Envelope ------------------------------------------------------------------------------------- */

static bool is_group(const struct json *request)
{
    return graph_field_is(json_get(request, "recipient_type"), "group");
}

/* Takes the digits of a phone number written with + - ( ) and spaces. */
static int take_digits(struct slice to, const struct graph_place *place, char digits[24],
                       struct graph_error *error)
{
    size_t count = 0;

    for (size_t i = 0; i < to.length; i++) {
        char c = (char)to.at[i];

        if (c >= '0' && c <= '9') {
            if (count < DIGITS_MAX)
                digits[count] = c;
            count++;
        } else if (!c || !strchr("+-() ", c)) {
            return graph_field_wrong(
                place, error,
                "it must be a phone number with its country code: digits, and + - ( ) or spaces between");
        }
    }
    if (count < DIGITS_MIN || count > DIGITS_MAX)
        return graph_field_wrong(place, error,
                                 "%zu digits; a phone number with its country code has %d to %d", count,
                                 DIGITS_MIN, DIGITS_MAX);
    digits[count] = '\0';
    return STATUS_OK;
}

/* CC.tail or CC.ENT.tail (whatsapp-cloud-api.md section 6). */
static int check_recipient(const struct json *value, const struct graph_place *place,
                           struct graph_error *error)
{
    struct slice id = json_string(value);
    size_t at = 3;
    bool fine = id.length > 3 && isupper(id.at[0]) && isupper(id.at[1]) && id.at[2] == '.';

    if (fine && id.length > 7 && memcmp(id.at + 3, "ENT.", 4) == 0)
        at = 7;
    fine = fine && id.length - at <= BSUID_TAIL_MAX;
    for (size_t i = at; fine && i < id.length; i++)
        fine = isalnum(id.at[i]);
    if (!fine)
        return graph_field_wrong(
            place, error, "it must be a user id: two capital letters, a point, 1 to %d letters and digits",
            BSUID_TAIL_MAX);
    return STATUS_OK;
}

static int check_addressee(const struct json *request, const struct graph_place *root, struct graph_send *out,
                           struct graph_error *error)
{
    const struct graph_place to = { .within = root, .name = "to" };

    out->to = json_string(json_get(request, "to"));
    out->recipient = json_string(json_get(request, "recipient"));
    if (!out->to.length && !out->recipient.length)
        return graph_field_missing(&to, error,
                                   "missing; a phone number in to, or a user id in recipient, is needed");
    if (out->to.length && !is_group(request))
        return take_digits(out->to, &to, out->digits, error);
    return STATUS_OK;
}

static const struct graph_field product[] = {
    { .name = "messaging_product", .form = GRAPH_FORM_STRING, .required = true, .choices = "whatsapp" },
    { 0 },
};
static const struct graph_field context_fields[] = {
    { .name = "message_id", .form = GRAPH_FORM_STRING, .required = true },
    { 0 },
};
static const struct graph_field envelope[] = {
    { .name = "recipient_type", .form = GRAPH_FORM_STRING, .choices = "individual|group" },
    { .name = "to", .form = GRAPH_FORM_STRING },
    { .name = "recipient", .form = GRAPH_FORM_STRING, .rule = check_recipient },
    { .name = "type", .form = GRAPH_FORM_STRING, .required = true },
    { .name = "context", .form = GRAPH_FORM_OBJECT, .fields = context_fields },
    { .name = "biz_opaque_callback_data",
      .form = GRAPH_FORM_STRING,
      .empty_is_fine = true,
      .most = OPAQUE_MAX },
    { 0 },
};

static const struct graph_field typing_fields[] = {
    { .name = "type", .form = GRAPH_FORM_STRING, .required = true, .choices = "text" },
    { 0 },
};
static const struct graph_field read_mark[] = {
    { .name = "status", .form = GRAPH_FORM_STRING, .required = true, .choices = "read" },
    { .name = "message_id", .form = GRAPH_FORM_STRING, .required = true },
    { .name = "typing_indicator", .form = GRAPH_FORM_OBJECT, .fields = typing_fields },
    { 0 },
};

static int check_read(const struct json *request, const struct graph_place *root, struct graph_send *out,
                      struct graph_error *error)
{
    out->kind = GRAPH_SEND_READ;
    out->type = slice_text("read");
    out->refers_to = json_string(json_get(request, "message_id"));
    return graph_field_check(request, root, read_mark, error);
}

static int check_message(const struct json *request, const struct graph_place *root, struct graph_send *out,
                         struct graph_error *error)
{
    const struct json *type = json_get(request, "type");
    int status = graph_field_check(request, root, envelope, error);

    if (status == STATUS_OK)
        status = check_addressee(request, root, out, error);
    if (status == STATUS_OK)
        status = check_type(request, root, out, error);
    if (status != STATUS_OK)
        return status;
    out->kind = GRAPH_SEND_MESSAGE;
    out->opaque = json_string(json_get(request, "biz_opaque_callback_data"));
    out->refers_to = json_string(json_path(request, "context.message_id"));
    if (graph_field_is(type, "reaction"))
        out->refers_to = json_string(json_path(request, "reaction.message_id"));
    if (graph_field_is(type, "template"))
        out->template_name = json_string(json_path(request, "template.name"));
    out->is_free_form = !graph_field_is(type, "template");
    return STATUS_OK;
}

int graph_check_send(const struct json *request, struct graph_send *out, struct graph_error *error)
{
    const struct graph_place root = { 0 };
    int status;

    memset(out, 0, sizeof *out);
    if (json_type(request) != JSON_OBJECT)
        return graph_field_invalid(&root, error, "it must be a JSON object");
    status = graph_field_check(request, &root, product, error);
    if (status != STATUS_OK)
        return status;
    if (graph_field_is_there(request, "status"))
        return check_read(request, &root, out, error);
    return check_message(request, &root, out, error);
}

/* --- Answers and paths ---------------------------------------------------------------------------- */

static struct json *contact_of(const struct graph_send *send)
{
    struct json *contact = json_new_object();
    struct slice wa_id = send->digits[0] ? slice_text(send->digits) : send->to;
    int status;

    if (send->to.length) {
        status = json_set(contact, "input", json_new_string(send->to));
        if (status == STATUS_OK)
            status = json_set(contact, "wa_id", json_new_string(wa_id));
    } else {
        status = json_set(contact, "input", json_new_string(send->recipient));
        if (status == STATUS_OK)
            status = json_set(contact, "user_id", json_new_string(send->recipient));
    }
    if (status == STATUS_OK)
        return contact;
    json_free(contact);
    return NULL;
}

static int write_list(struct json *root, const char *name, struct json *only)
{
    struct json *list = json_new_array();
    int status = json_add(list, only);

    if (status != STATUS_OK) {
        json_free(list);
        return status;
    }
    return json_set(root, name, list);
}

static struct json *message_of(const char *id)
{
    struct json *message = json_new_object();

    if (json_set(message, "id", json_new_string(slice_text(id))) == STATUS_OK)
        return message;
    json_free(message);
    return NULL;
}

int graph_send_answer(const struct graph_send *send, const char *id, struct text *out)
{
    struct json *root = json_new_object();
    int status;

    if (send->kind == GRAPH_SEND_READ) {
        status = json_set(root, "success", json_new_bool(true));
    } else {
        status = json_set(root, "messaging_product", json_new_string(slice_text("whatsapp")));
        if (status == STATUS_OK)
            status = write_list(root, "contacts", contact_of(send));
        if (status == STATUS_OK)
            status = write_list(root, "messages", message_of(id));
    }
    if (status == STATUS_OK)
        status = json_write_ascii(root, out);
    json_free(root);
    return status;
}

/* Passes "/vN.N"; at stays where it is when there is none. */
static const char *pass_version(const char *at)
{
    const char *from = at;

    if (at[0] != '/' || at[1] != 'v' || !isdigit((unsigned char)at[2]))
        return from;
    at += 2;
    while (isdigit((unsigned char)*at))
        at++;
    if (at[0] != '.' || !isdigit((unsigned char)at[1]))
        return from;
    at++;
    while (isdigit((unsigned char)*at))
        at++;
    return *at == '/' ? at : from;
}

/* One part of a path, and its slash. */
static struct slice take_part(const char **at)
{
    struct slice part = slice_of(*at, strcspn(*at, "/"));

    *at += part.length;
    if (**at == '/')
        ++*at;
    return part;
}

void graph_path_parts(const char *path, struct slice *id, struct slice *edge, struct slice *rest)
{
    const char *at = pass_version(path);

    if (*at == '/')
        at++;
    *id = take_part(&at);
    *edge = take_part(&at);
    *rest = slice_text(at);
}

bool graph_path(const char *path, struct slice *id, struct slice *edge)
{
    struct slice rest;

    graph_path_parts(path, id, edge, &rest);
    return path[0] == '/' && id->length && !rest.length;
}
