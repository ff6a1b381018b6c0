/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/graph_content.h"

#include "sync/protocol/status.h"

/* Limits: whatsapp-cloud-api.md section 1, "Interactive". */
enum {
    HEADER_TEXT_MAX = 60,
    FOOTER_TEXT_MAX = 60,
    BODY_MAX = 1024,
    LIST_BODY_MAX = 4096,
    BUTTONS_MAX = 3,
    BUTTON_ID_MAX = 256,
    BUTTON_TITLE_MAX = 20,
    LIST_BUTTON_MAX = 20,
    SECTIONS_MAX = 10,
    ROWS_MAX = 10, /* In all sections together. */
    SECTION_TITLE_MAX = 24,
    ROW_ID_MAX = 200,
    ROW_TITLE_MAX = 24,
    ROW_DESCRIPTION_MAX = 72,
    URL_LABEL_MAX = 20,
    FLOW_LABEL_MAX = 30
};

/* No two elements (objects, or the objects `inner` in them) have the same text at `name`. At most ten of
 * them. */
static int check_unique(const struct json *array, const struct graph_place *place, const char *inner,
                        const char *name, struct graph_error *error)
{
    for (size_t i = 0; i < json_count(array); i++) {
        const struct json *a = inner ? json_get(json_at(array, i), inner) : json_at(array, i);
        const struct graph_place element = { .within = place, .index = i };
        const struct graph_place object = { .within = &element, .name = inner };
        const struct graph_place field = { .within = inner ? &object : &element, .name = name };

        for (size_t j = 0; j < i; j++) {
            const struct json *b = inner ? json_get(json_at(array, j), inner) : json_at(array, j);

            if (slice_equal(json_string(json_get(a, name)), json_string(json_get(b, name))))
                return graph_field_wrong(&field, error,
                                         "the same as that of element %zu; each must be another", j);
        }
    }
    return STATUS_OK;
}

static int check_buttons(const struct json *buttons, const struct graph_place *place,
                         struct graph_error *error)
{
    int status = check_unique(buttons, place, "reply", "id", error);

    return status == STATUS_OK ? check_unique(buttons, place, "reply", "title", error) : status;
}

/* The id of a row is the customer's answer: it says nothing when a row of another section has it too. */
static int check_row_ids(const struct json *sections, size_t section, const struct graph_place *place,
                         struct graph_error *error)
{
    const struct json *rows = json_get(json_at(sections, section), "rows");
    const struct graph_place list = { .within = place, .name = "rows" };

    for (size_t i = 0; i < json_count(rows); i++) {
        const struct graph_place row = { .within = &list, .index = i };
        const struct graph_place id = { .within = &row, .name = "id" };

        for (size_t s = 0; s < section; s++) {
            const struct json *others = json_get(json_at(sections, s), "rows");

            for (size_t j = 0; j < json_count(others); j++)
                if (slice_equal(json_string(json_get(json_at(rows, i), "id")),
                                json_string(json_get(json_at(others, j), "id"))))
                    return graph_field_wrong(
                        &id, error, "the same as that of row %zu of section %zu; each must be another", j, s);
        }
    }
    return STATUS_OK;
}

static int check_sections(const struct json *sections, const struct graph_place *place,
                          struct graph_error *error)
{
    size_t rows = 0;
    int status = STATUS_OK;

    for (size_t i = 0; i < json_count(sections); i++) {
        const struct json *section = json_at(sections, i);
        const struct graph_place element = { .within = place, .index = i };
        const struct graph_place title = { .within = &element, .name = "title" };

        if (json_count(sections) > 1 && !json_string(json_get(section, "title")).length)
            return graph_field_missing(&title, error,
                                       "missing; with several sections each has one, 1 to %d characters",
                                       SECTION_TITLE_MAX);
        rows += json_count(json_get(section, "rows"));
    }
    if (rows > ROWS_MAX)
        return graph_field_invalid(place, error, "%zu rows in all sections; at most %d", rows, ROWS_MAX);
    for (size_t i = 1; i < json_count(sections) && status == STATUS_OK; i++) {
        const struct graph_place element = { .within = place, .index = i };

        status = check_row_ids(sections, i, &element, error);
    }
    return status;
}

static int check_rows(const struct json *rows, const struct graph_place *place, struct graph_error *error)
{
    if (json_count(rows) > ROWS_MAX)
        return graph_field_invalid(place, error, "%zu rows; at most %d", json_count(rows), ROWS_MAX);
    return check_unique(rows, place, NULL, "id", error);
}

static int check_flow_name(const struct json *parameters, const struct graph_place *place,
                           struct graph_error *error)
{
    bool id = graph_field_is_there(parameters, "flow_id"),
         name = graph_field_is_there(parameters, "flow_name");

    if (id && name)
        return graph_field_wrong(place, error,
                                 "flow_id and flow_name are both there; only one of them is taken");
    if (!id && !name)
        return graph_field_missing(place, error,
                                   "neither flow_id nor flow_name is there; one of them is needed");
    return STATUS_OK;
}

static int check_header(const struct json *header, const struct graph_place *place, struct graph_error *error)
{
    static const struct graph_field text[] = {
        { .name = "text", .form = GRAPH_FORM_STRING, .required = true, .most = HEADER_TEXT_MAX },
        { 0 },
    };
    static const char *const kinds[] = { "image", "video", "document" };

    if (graph_field_is(json_get(header, "type"), "text"))
        return graph_field_check(header, place, text, error);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct graph_field media[] = {
            { .name = kinds[i],
              .form = GRAPH_FORM_OBJECT,
              .required = true,
              .rule = graph_field_one_source,
              .fields = graph_field_media },
            { 0 },
        };

        if (graph_field_is(json_get(header, "type"), kinds[i]))
            return graph_field_check(header, place, media, error);
    }
    return STATUS_OK;
}

static const struct graph_field any_header[] = {
    { .name = "type", .form = GRAPH_FORM_STRING, .required = true, .choices = "text|image|video|document" },
    { 0 },
};
static const struct graph_field text_header[] = {
    { .name = "type", .form = GRAPH_FORM_STRING, .required = true, .choices = "text" },
    { 0 },
};
static const struct graph_field body[] = {
    { .name = "text", .form = GRAPH_FORM_STRING, .required = true, .most = BODY_MAX },
    { 0 },
};
static const struct graph_field list_body[] = {
    { .name = "text", .form = GRAPH_FORM_STRING, .required = true, .most = LIST_BODY_MAX },
    { 0 },
};
static const struct graph_field footer[] = {
    { .name = "text", .form = GRAPH_FORM_STRING, .required = true, .most = FOOTER_TEXT_MAX },
    { 0 },
};

static const struct graph_field reply[] = {
    { .name = "id", .form = GRAPH_FORM_STRING, .required = true, .most = BUTTON_ID_MAX },
    { .name = "title", .form = GRAPH_FORM_STRING, .required = true, .most = BUTTON_TITLE_MAX },
    { 0 },
};
static const struct graph_field button[] = {
    { .name = "type", .form = GRAPH_FORM_STRING, .required = true, .choices = "reply" },
    { .name = "reply", .form = GRAPH_FORM_OBJECT, .required = true, .fields = reply },
    { 0 },
};
static const struct graph_field button_action[] = {
    { .name = "buttons",
      .form = GRAPH_FORM_ARRAY,
      .required = true,
      .most = BUTTONS_MAX,
      .rule = check_buttons,
      .fields = button },
    { 0 },
};

static const struct graph_field row[] = {
    { .name = "id", .form = GRAPH_FORM_STRING, .required = true, .most = ROW_ID_MAX },
    { .name = "title", .form = GRAPH_FORM_STRING, .required = true, .most = ROW_TITLE_MAX },
    { .name = "description", .form = GRAPH_FORM_STRING, .empty_is_fine = true, .most = ROW_DESCRIPTION_MAX },
    { 0 },
};
static const struct graph_field section[] = {
    { .name = "title", .form = GRAPH_FORM_STRING, .empty_is_fine = true, .most = SECTION_TITLE_MAX },
    { .name = "rows", .form = GRAPH_FORM_ARRAY, .required = true, .rule = check_rows, .fields = row },
    { 0 },
};
static const struct graph_field list_action[] = {
    { .name = "button", .form = GRAPH_FORM_STRING, .required = true, .most = LIST_BUTTON_MAX },
    { .name = "sections",
      .form = GRAPH_FORM_ARRAY,
      .required = true,
      .most = SECTIONS_MAX,
      .rule = check_sections,
      .fields = section },
    { 0 },
};

static const struct graph_field url_parameters[] = {
    { .name = "display_text", .form = GRAPH_FORM_STRING, .required = true, .most = URL_LABEL_MAX },
    { .name = "url", .form = GRAPH_FORM_STRING, .required = true, .rule = graph_field_url },
    { 0 },
};
static const struct graph_field url_action[] = {
    { .name = "name", .form = GRAPH_FORM_STRING, .required = true, .choices = "cta_url" },
    { .name = "parameters", .form = GRAPH_FORM_OBJECT, .required = true, .fields = url_parameters },
    { 0 },
};

static const struct graph_field location_action[] = {
    { .name = "name", .form = GRAPH_FORM_STRING, .required = true, .choices = "send_location" },
    { 0 },
};

static const struct graph_field flow_payload[] = {
    { .name = "screen", .form = GRAPH_FORM_STRING },
    { .name = "data", .form = GRAPH_FORM_OBJECT },
    { 0 },
};
static const struct graph_field flow_parameters[] = {
    { .name = "flow_message_version", .form = GRAPH_FORM_ID, .required = true },
    { .name = "flow_id", .form = GRAPH_FORM_ID },
    { .name = "flow_name", .form = GRAPH_FORM_STRING },
    { .name = "flow_cta", .form = GRAPH_FORM_STRING, .required = true, .most = FLOW_LABEL_MAX },
    { .name = "flow_token", .form = GRAPH_FORM_STRING, .empty_is_fine = true },
    { .name = "flow_action", .form = GRAPH_FORM_STRING, .choices = "navigate|data_exchange" },
    { .name = "flow_action_payload", .form = GRAPH_FORM_OBJECT, .fields = flow_payload },
    { .name = "mode", .form = GRAPH_FORM_STRING, .choices = "draft|published" },
    { 0 },
};
static const struct graph_field flow_action[] = {
    { .name = "name", .form = GRAPH_FORM_STRING, .required = true, .choices = "flow" },
    { .name = "parameters",
      .form = GRAPH_FORM_OBJECT,
      .required = true,
      .rule = check_flow_name,
      .fields = flow_parameters },
    { 0 },
};

#define INTERACTIVE(header_fields, body_fields, action_fields) \
    { \
        { .name = "header", .form = GRAPH_FORM_OBJECT, .rule = check_header, .fields = header_fields }, \
            { .name = "body", .form = GRAPH_FORM_OBJECT, .required = true, .fields = body_fields }, \
            { .name = "footer", .form = GRAPH_FORM_OBJECT, .fields = footer }, \
            { .name = "action", .form = GRAPH_FORM_OBJECT, .required = true, .fields = action_fields }, \
            { 0 }, \
    }

static const struct graph_field button_fields[] = INTERACTIVE(any_header, body, button_action);
static const struct graph_field list_fields[] = INTERACTIVE(text_header, list_body, list_action);
static const struct graph_field url_fields[] = INTERACTIVE(any_header, body, url_action);
static const struct graph_field location_fields[] = INTERACTIVE(any_header, body, location_action);
static const struct graph_field flow_fields[] = INTERACTIVE(any_header, body, flow_action);

static const struct {
    const char *type;
    const struct graph_field *fields;
} known[] = {
    { "button", button_fields }, { "list", list_fields },
    { "cta_url", url_fields },   { "location_request_message", location_fields },
    { "flow", flow_fields },
};

int graph_interactive_check(const struct json *value, const struct graph_place *place,
                            struct graph_error *error)
{
    static const struct graph_field envelope[] = {
        { .name = "type", .form = GRAPH_FORM_STRING, .required = true },
        { 0 },
    };
    int status = graph_field_check(value, place, envelope, error);

    for (size_t i = 0; status == STATUS_OK && i < sizeof known / sizeof *known; i++)
        if (graph_field_is(json_get(value, "type"), known[i].type))
            return graph_field_check(value, place, known[i].fields, error);
    return status;
}
