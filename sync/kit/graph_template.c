/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/graph_content.h"

#include "sync/protocol/status.h"

/* Limits: whatsapp-cloud-api.md section 1, "Template". */
enum {
    NAME_MAX_CHARACTERS = 512, /* Meta's limit for a template's name. */
    COPY_CODE_MAX = 20,
    BUTTON_INDEX_MAX = 9, /* Up to ten buttons. */
    SPACES_MAX = 4
};

/* A value stands inside the template's text: Meta refuses what would break that apart. */
static int check_text(const struct json *value, const struct graph_place *place, struct graph_error *error)
{
    struct slice text = json_string(value);
    size_t spaces = 0;

    for (size_t i = 0; i < text.length; i++) {
        spaces = text.at[i] == ' ' ? spaces + 1 : 0;
        if (text.at[i] == '\n' || text.at[i] == '\r' || text.at[i] == '\t' || spaces > SPACES_MAX)
            return graph_field_mismatched(
                place, error, "it may not hold new lines, tabs or more than %d spaces in a row", SPACES_MAX);
    }
    return STATUS_OK;
}

static const struct graph_field currency[] = {
    { .name = "fallback_value", .form = GRAPH_FORM_STRING, .required = true },
    { .name = "code", .form = GRAPH_FORM_STRING, .required = true },
    { .name = "amount_1000", .form = GRAPH_FORM_NUMBER, .required = true },
    { 0 },
};
static const struct graph_field date_time[] = {
    { .name = "fallback_value", .form = GRAPH_FORM_STRING, .required = true },
    { 0 },
};

/* What each parameter type holds under its own name. Others pass. */
static const struct graph_field text_parameter[] = {
    { .name = "text", .form = GRAPH_FORM_STRING, .required = true, .rule = check_text },
    { .name = "parameter_name", .form = GRAPH_FORM_STRING },
    { 0 },
};
static const struct graph_field currency_parameter[] = {
    { .name = "currency", .form = GRAPH_FORM_OBJECT, .required = true, .fields = currency },
    { 0 },
};
static const struct graph_field date_time_parameter[] = {
    { .name = "date_time", .form = GRAPH_FORM_OBJECT, .required = true, .fields = date_time },
    { 0 },
};
#define MEDIA_PARAMETER(kind) \
    { \
        { .name = kind, \
          .form = GRAPH_FORM_OBJECT, \
          .required = true, \
          .rule = graph_field_one_source, \
          .fields = graph_field_media }, \
            { 0 }, \
    }
static const struct graph_field image_parameter[] = MEDIA_PARAMETER("image");
static const struct graph_field video_parameter[] = MEDIA_PARAMETER("video");
static const struct graph_field document_parameter[] = MEDIA_PARAMETER("document");
static const struct graph_field location_parameter[] = {
    { .name = "location", .form = GRAPH_FORM_OBJECT, .required = true, .fields = graph_field_location },
    { 0 },
};
static const struct graph_field payload_parameter[] = {
    { .name = "payload", .form = GRAPH_FORM_STRING, .required = true },
    { 0 },
};
static const struct graph_field coupon_parameter[] = {
    { .name = "coupon_code", .form = GRAPH_FORM_STRING, .required = true, .most = COPY_CODE_MAX },
    { 0 },
};

static const struct {
    const char *type;
    const struct graph_field *fields;
} parameters[] = {
    { "text", text_parameter },           { "currency", currency_parameter },
    { "date_time", date_time_parameter }, { "image", image_parameter },
    { "video", video_parameter },         { "document", document_parameter },
    { "location", location_parameter },   { "payload", payload_parameter },
    { "coupon_code", coupon_parameter },
};

static int check_parameters(const struct json *array, const struct graph_place *place,
                            struct graph_error *error)
{
    int status = STATUS_OK;

    for (size_t i = 0; status == STATUS_OK && i < json_count(array); i++) {
        const struct graph_place element = { .within = place, .index = i };
        const struct json *parameter = json_at(array, i);

        for (size_t k = 0; k < sizeof parameters / sizeof *parameters; k++)
            if (graph_field_is(json_get(parameter, "type"), parameters[k].type))
                status = graph_field_check(parameter, &element, parameters[k].fields, error);
    }
    return status;
}

static int check_index(const struct json *value, const struct graph_place *place, struct graph_error *error)
{
    struct slice text = json_string(value);
    int64_t index = json_integer(value, -1);

    if (text.length == 1 && text.at[0] >= '0' && text.at[0] <= '9')
        index = text.at[0] - '0';
    if (index < 0 || index > BUTTON_INDEX_MAX)
        return graph_field_wrong(place, error, "it must be the button's place, 0 to %d", BUTTON_INDEX_MAX);
    return STATUS_OK;
}

static const struct graph_field button[] = {
    { .name = "sub_type", .form = GRAPH_FORM_STRING, .required = true },
    { .name = "index", .form = GRAPH_FORM_ID, .required = true, .rule = check_index },
    { 0 },
};

static int check_components(const struct json *array, const struct graph_place *place,
                            struct graph_error *error)
{
    int status = STATUS_OK;

    for (size_t i = 0; status == STATUS_OK && i < json_count(array); i++) {
        const struct graph_place element = { .within = place, .index = i };

        if (graph_field_is(json_get(json_at(array, i), "type"), "button"))
            status = graph_field_check(json_at(array, i), &element, button, error);
    }
    return status;
}

static const struct graph_field parameter[] = {
    { .name = "type", .form = GRAPH_FORM_STRING, .required = true },
    { 0 },
};
static const struct graph_field component[] = {
    { .name = "type", .form = GRAPH_FORM_STRING, .required = true },
    { .name = "parameters",
      .form = GRAPH_FORM_ARRAY,
      .empty_is_fine = true,
      .rule = check_parameters,
      .fields = parameter },
    { 0 },
};
static const struct graph_field language[] = {
    { .name = "code", .form = GRAPH_FORM_STRING, .required = true },
    { .name = "policy", .form = GRAPH_FORM_STRING, .choices = "deterministic" },
    { 0 },
};

const struct graph_field graph_template_fields[] = {
    { .name = "name", .form = GRAPH_FORM_STRING, .required = true, .most = NAME_MAX_CHARACTERS },
    { .name = "language", .form = GRAPH_FORM_OBJECT, .required = true, .fields = language },
    { .name = "components",
      .form = GRAPH_FORM_ARRAY,
      .empty_is_fine = true,
      .rule = check_components,
      .fields = component },
    { 0 },
};
