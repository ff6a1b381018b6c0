/* SPDX-License-Identifier: Apache-2.0 */
/* Trees as text. The library's own writer is not used: its reals are not the shortest, and its escapes are
 * upper-case. */
#include "sync/kit/json.h"

#include <assert.h>

#include "sync/protocol/status.h"
#include "sync/protocol/utf8.h"

static void write_unit(struct text *out, uint32_t unit)
{
    static const char digits[] = "0123456789abcdef";
    const char form[6] = {
        '\\', 'u', digits[unit >> 12 & 15], digits[unit >> 8 & 15], digits[unit >> 4 & 15], digits[unit & 15]
    };

    text_add(out, slice_of(form, sizeof form));
}

/* Escapes the character with which rest begins; strings in a tree are always whole UTF-8. Returns its length.
 */
static size_t write_escaped(struct text *out, struct slice rest)
{
    static const char named[] = "b\bt\tn\nf\fr\r\"\"\\\\";
    struct reader r = reader_of(rest);
    uint32_t c = utf8_take(&r);

    assert(!r.failed);
    for (size_t i = 0; i + 1 < sizeof named; i += 2)
        if (c == (uint8_t)named[i + 1]) {
            text_add(out, slice_of("\\", 1));
            text_add(out, slice_of(named + i, 1));
            return 1;
        }
    if (c >= 0x10000) {
        write_unit(out, 0xd800 + ((c - 0x10000) >> 10));
        write_unit(out, 0xdc00 + ((c - 0x10000) & 0x3ff));
    } else {
        write_unit(out, c);
    }
    return rest.length - reader_left(&r);
}

static void write_string(struct text *out, struct slice string, bool ascii)
{
    size_t from = 0, i = 0;

    text_add(out, slice_of("\"", 1));
    while (i < string.length) {
        uint8_t c = string.at[i];

        if (c >= ' ' && c != '"' && c != '\\' && (!ascii || c < 0x7f)) {
            i++;
            continue;
        }
        text_add(out, slice_of(string.at + from, i - from));
        i += write_escaped(out, slice_of(string.at + i, string.length - i));
        from = i;
    }
    if (i > from)
        text_add(out, slice_of(string.at + from, i - from));
    text_add(out, slice_of("\"", 1));
}

static void write_value(struct text *out, const struct json *v, bool ascii);

static void write_array(struct text *out, const struct json *v, bool ascii)
{
    text_puts(out, "[");
    for (size_t i = 0; i < json_count(v); i++) {
        if (i > 0)
            text_puts(out, ",");
        write_value(out, json_at(v, i), ascii);
    }
    text_puts(out, "]");
}

static void write_object(struct text *out, const struct json *v, bool ascii)
{
    struct json *value;
    struct slice key;
    void *walk = NULL;
    const char *between = "{";

    while (json_each(v, &walk, &key, &value)) {
        text_puts(out, between);
        write_string(out, key, ascii);
        text_puts(out, ":");
        write_value(out, value, ascii);
        between = ",";
    }
    text_puts(out, *between == '{' ? "{}" : "}");
}

static void write_value(struct text *out, const struct json *v, bool ascii)
{
    switch (json_type(v)) {
    case JSON_NULL: text_puts(out, "null"); break;
    case JSON_FALSE: text_puts(out, "false"); break;
    case JSON_TRUE: text_puts(out, "true"); break;
    case JSON_INTEGER: text_printf(out, "%lld", (long long)json_integer(v, 0)); break;
    case JSON_REAL: text_real(out, json_real(v, 0)); break;
    case JSON_STRING: write_string(out, json_string(v), ascii); break;
    case JSON_ARRAY: write_array(out, v, ascii); break;
    case JSON_OBJECT: write_object(out, v, ascii); break;
    }
}

int json_write_ascii(const struct json *v, struct text *out)
{
    write_value(out, v, true);
    return out->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

int json_write(const struct json *v, struct text *out)
{
    write_value(out, v, false);
    return out->failed ? STATUS_NO_MEMORY : STATUS_OK;
}
