/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/graph_field.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sync/protocol/status.h"

enum {
    PATH_ROOM = 160, /* "template.components[12].parameters[3].document.filename" is 55. */
    NUMBER_ROOM = 64
};

static void place_write(const struct graph_place *place, char *room, size_t room_length)
{
    size_t used;

    if (!place || (!place->within && !place->name)) {
        room[0] = '\0';
        return;
    }
    place_write(place->within, room, room_length);
    used = strlen(room);
    if (place->name)
        snprintf(room + used, room_length - used, "%s%s", used ? "." : "", place->name);
    else
        snprintf(room + used, room_length - used, "[%zu]", place->index);
}

static int refuse(const struct graph_place *place, struct graph_error *error, int code, const char *title,
                  const char *format, va_list list)
{
    char path[PATH_ROOM], what[sizeof error->details];

    place_write(place, path, sizeof path);
    vsnprintf(what, sizeof what, format, list);
    graph_error_set(error, 400, code, title, "%s: %s", path[0] ? path : "request", what);
    return STATUS_INVALID;
}

int graph_field_missing(const struct graph_place *place, struct graph_error *error, const char *format, ...)
{
    va_list list;
    int status;

    va_start(list, format);
    status = refuse(place, error, 131008, "Required parameter is missing", format, list);
    va_end(list);
    return status;
}

int graph_field_wrong(const struct graph_place *place, struct graph_error *error, const char *format, ...)
{
    va_list list;
    int status;

    va_start(list, format);
    status = refuse(place, error, 131009, "Parameter value is not valid", format, list);
    va_end(list);
    return status;
}

int graph_field_invalid(const struct graph_place *place, struct graph_error *error, const char *format, ...)
{
    va_list list;
    int status;

    va_start(list, format);
    status = refuse(place, error, 100, "Invalid parameter", format, list);
    va_end(list);
    return status;
}

int graph_field_mismatched(const struct graph_place *place, struct graph_error *error, const char *format,
                           ...)
{
    va_list list;
    int status;

    va_start(list, format);
    status = refuse(place, error, 132012, "Parameter format does not match format in the created template",
                    format, list);
    va_end(list);
    return status;
}

bool graph_field_is_there(const struct json *object, const char *name)
{
    return json_type(json_get(object, name)) != JSON_NULL;
}

size_t graph_field_characters(struct slice utf8)
{
    size_t count = 0;

    for (size_t i = 0; i < utf8.length; i++)
        count += (utf8.at[i] & 0xc0) != 0x80;
    return count;
}

bool graph_field_is(const struct json *value, const char *word)
{
    struct slice text = json_string(value);

    return text.length == strlen(word) && strncasecmp((const char *)text.at, word, text.length) == 0;
}

/* Says what a field takes: the second half of its refusals. */
static const char *describe(const struct graph_field *field, char *room, size_t room_length)
{
    switch (field->form) {
    case GRAPH_FORM_STRING:
        if (field->choices)
            snprintf(room, room_length, "one of %s", field->choices);
        else if (field->most)
            snprintf(room, room_length, "a string of %s%zu characters",
                     field->empty_is_fine ? "at most " : "1 to ", field->most);
        else
            snprintf(room, room_length, "a string%s", field->empty_is_fine ? "" : " that is not empty");
        break;
    case GRAPH_FORM_ID: snprintf(room, room_length, "a string that is not empty"); break;
    case GRAPH_FORM_NUMBER: snprintf(room, room_length, "a number"); break;
    case GRAPH_FORM_BOOL: snprintf(room, room_length, "true or false"); break;
    case GRAPH_FORM_OBJECT: snprintf(room, room_length, "an object"); break;
    case GRAPH_FORM_ARRAY:
        if (field->most)
            snprintf(room, room_length, "an array of 1 to %zu objects", field->most);
        else
            snprintf(room, room_length, "an array of objects");
        break;
    }
    return room;
}

static bool reads_as_number(struct slice text)
{
    char room[NUMBER_ROOM], *end;

    if (!text.length || text.length >= sizeof room || isspace(text.at[0]))
        return false;
    memcpy(room, text.at, text.length);
    room[text.length] = '\0';
    return isfinite(strtod(room, &end)) && end == room + text.length && !strpbrk(room, "xXnN");
}

static bool has_form(const struct json *value, enum graph_form form)
{
    enum json_type type = json_type(value);

    switch (form) {
    case GRAPH_FORM_STRING: return type == JSON_STRING;
    case GRAPH_FORM_ID: return type == JSON_STRING || type == JSON_INTEGER;
    case GRAPH_FORM_NUMBER:
        return type == JSON_INTEGER || type == JSON_REAL || reads_as_number(json_string(value));
    case GRAPH_FORM_BOOL: return type == JSON_TRUE || type == JSON_FALSE;
    case GRAPH_FORM_OBJECT: return type == JSON_OBJECT;
    case GRAPH_FORM_ARRAY: return type == JSON_ARRAY;
    }
    return false;
}

static bool is_choice(const struct json *value, const char *choices)
{
    struct slice text = json_string(value);

    while (choices) {
        size_t length = strcspn(choices, "|");

        if (length == text.length && strncasecmp((const char *)text.at, choices, length) == 0)
            return true;
        choices = choices[length] ? choices + length + 1 : NULL;
    }
    return false;
}

static int check_string(const struct json *value, const struct graph_place *place,
                        const struct graph_field *field, struct graph_error *error)
{
    struct slice text = json_string(value);
    char what[PATH_ROOM];
    size_t characters;

    if (!text.length && !field->empty_is_fine)
        return graph_field_missing(place, error, "empty; it must be %s", describe(field, what, sizeof what));
    if (field->choices && !is_choice(value, field->choices))
        return graph_field_wrong(place, error, "it must be %s", describe(field, what, sizeof what));
    characters = field->most ? graph_field_characters(text) : 0;
    if (characters > field->most)
        return graph_field_invalid(place, error, "%zu characters; at most %zu", characters, field->most);
    return STATUS_OK;
}

static int check_array(const struct json *value, const struct graph_place *place,
                       const struct graph_field *field, struct graph_error *error)
{
    size_t count = json_count(value);
    char what[PATH_ROOM];

    if (!count && !field->empty_is_fine)
        return graph_field_missing(place, error, "empty; it must be %s", describe(field, what, sizeof what));
    if (field->most && count > field->most)
        return graph_field_invalid(place, error, "%zu elements; at most %zu", count, field->most);
    for (size_t i = 0; i < count; i++) {
        const struct graph_place element = { .within = place, .index = i };
        const struct json *at = json_at(value, i);
        int status;

        if (json_type(at) != JSON_OBJECT)
            return graph_field_invalid(&element, error, "it must be an object");
        if (field->fields && (status = graph_field_check(at, &element, field->fields, error)) != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static int check_value(const struct json *value, const struct graph_place *place,
                       const struct graph_field *field, struct graph_error *error)
{
    char what[PATH_ROOM];
    int status = STATUS_OK;

    if (!has_form(value, field->form))
        return graph_field_invalid(place, error, "it must be %s", describe(field, what, sizeof what));
    if (json_is_string(value) && (field->form == GRAPH_FORM_STRING || field->form == GRAPH_FORM_ID))
        status = check_string(value, place, field, error);
    else if (field->form == GRAPH_FORM_ARRAY)
        status = check_array(value, place, field, error);
    else if (field->form == GRAPH_FORM_OBJECT && field->fields)
        status = graph_field_check(value, place, field->fields, error);
    if (status == STATUS_OK && field->rule)
        status = field->rule(value, place, error);
    return status;
}

int graph_field_check(const struct json *object, const struct graph_place *place,
                      const struct graph_field *fields, struct graph_error *error)
{
    assert(json_type(object) == JSON_OBJECT);
    for (const struct graph_field *field = fields; field->name; field++) {
        const struct graph_place at = { .within = place, .name = field->name };
        char what[PATH_ROOM];
        int status;

        if (graph_field_is_there(object, field->name)) {
            status = check_value(json_get(object, field->name), &at, field, error);
            if (status != STATUS_OK)
                return status;
        } else if (field->required) {
            return graph_field_missing(&at, error, "missing; it must be %s",
                                       describe(field, what, sizeof what));
        }
    }
    return STATUS_OK;
}

int graph_field_url(const struct json *value, const struct graph_place *place, struct graph_error *error)
{
    struct slice url = json_string(value);

    if ((url.length > 7 && strncasecmp((const char *)url.at, "http://", 7) == 0) ||
        (url.length > 8 && strncasecmp((const char *)url.at, "https://", 8) == 0))
        return STATUS_OK;
    return graph_field_wrong(place, error, "it must be an address that begins with http:// or https://");
}

int graph_field_one_source(const struct json *value, const struct graph_place *place,
                           struct graph_error *error)
{
    bool id = graph_field_is_there(value, "id"), link = graph_field_is_there(value, "link");

    if (id && link)
        return graph_field_wrong(place, error, "id and link are both there; only one of them is taken");
    if (!id && !link)
        return graph_field_missing(place, error, "neither id nor link is there; one of them is needed");
    return STATUS_OK;
}

const struct graph_field graph_field_media[] = {
    { .name = "id", .form = GRAPH_FORM_ID },
    { .name = "link", .form = GRAPH_FORM_STRING, .rule = graph_field_url },
    { 0 },
};

static int check_degrees(const struct json *value, const struct graph_place *place, double most,
                         struct graph_error *error)
{
    double degrees =
        json_is_string(value) ? strtod((const char *)json_string(value).at, NULL) : json_real(value, 0);

    if (degrees >= -most && degrees <= most)
        return STATUS_OK;
    return graph_field_wrong(place, error, "it must be a number of degrees from -%.0f to %.0f", most, most);
}

static int check_latitude(const struct json *value, const struct graph_place *place,
                          struct graph_error *error)
{
    return check_degrees(value, place, 90, error);
}

static int check_longitude(const struct json *value, const struct graph_place *place,
                           struct graph_error *error)
{
    return check_degrees(value, place, 180, error);
}

const struct graph_field graph_field_location[] = {
    { .name = "latitude", .form = GRAPH_FORM_NUMBER, .required = true, .rule = check_latitude },
    { .name = "longitude", .form = GRAPH_FORM_NUMBER, .required = true, .rule = check_longitude },
    { .name = "name", .form = GRAPH_FORM_STRING, .empty_is_fine = true },
    { .name = "address", .form = GRAPH_FORM_STRING, .empty_is_fine = true },
    { 0 },
};
