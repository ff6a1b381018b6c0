/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "sync/protocol/status.h"

/* Meta's trace ids are "A" and some 22 characters of base64url. They serve to find a request in logs. */
#define TRACE_RANDOM_BYTES 22u

void graph_error_set(struct graph_error *error, unsigned http, int code, const char *title,
                     const char *format, ...)
{
    va_list list;

    error->http = http;
    error->code = code;
    snprintf(error->message, sizeof error->message, "(#%d) %s", code, title);
    va_start(list, format);
    vsnprintf(error->details, sizeof error->details, format, list);
    va_end(list);
}

static void make_trace_id(char out[TRACE_RANDOM_BYTES + 2])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t random[TRACE_RANDOM_BYTES] = { 0 };

    /* An id that repeats because the machine has no randomness yet does no harm. */
    if (getrandom(random, sizeof random, GRND_NONBLOCK) < 0)
        memset(random, 0, sizeof random);
    out[0] = 'A';
    for (size_t i = 0; i < sizeof random; i++)
        out[i + 1] = alphabet[random[i] & 63];
    out[TRACE_RANDOM_BYTES + 1] = '\0';
}

/* Details are cut where they are too long: a character cut in half must not make them unwritable. */
static struct slice whole_characters(const char *text)
{
    size_t length = strlen(text), start = length;

    while (start && ((uint8_t)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start && (uint8_t)text[start - 1] >= 0xc0) {
        uint8_t lead = (uint8_t)text[start - 1];
        size_t wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;

        if (length - (start - 1) < wanted)
            length = start - 1;
    }
    return slice_of(text, length);
}

int graph_error_write(const struct graph_error *error, struct text *out)
{
    struct json *root = json_new_object(), *inner = json_new_object(), *data = json_new_object();
    char trace[TRACE_RANDOM_BYTES + 2];
    int status;

    make_trace_id(trace);
    status = json_set(inner, "message", json_new_string(whole_characters(error->message)));
    if (status == STATUS_OK)
        status = json_set(inner, "type", json_new_string(slice_text("OAuthException")));
    if (status == STATUS_OK)
        status = json_set(inner, "code", json_new_integer(error->code));
    if (status == STATUS_OK)
        status = json_set(data, "messaging_product", json_new_string(slice_text("whatsapp")));
    if (status == STATUS_OK)
        status = json_set(data, "details", json_new_string(whole_characters(error->details)));
    if (status == STATUS_OK) {
        status = json_set(inner, "error_data", data);
        data = NULL;
    }
    if (status == STATUS_OK)
        status = json_set(inner, "fbtrace_id", json_new_string(slice_text(trace)));
    if (status == STATUS_OK) {
        status = json_set(root, "error", inner);
        inner = NULL;
    }
    if (status == STATUS_OK)
        status = json_write_ascii(root, out);
    json_free(data);
    json_free(inner);
    json_free(root);
    return status;
}
