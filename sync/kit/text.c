/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/text.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/protocol/status.h"

enum {
    ROOM_FIRST = 64,  /* A log value or a header line fits at once. */
    REAL_DIGITS = 17, /* So many decimal digits always name one double. */
    REAL_ROOM = 48    /* Sign, digits, zeros, point, exponent, and a decimal point of several bytes. */
};

/* Makes room for more bytes and the NUL after them. */
static bool text_reserve(struct text *t, size_t more)
{
    size_t room = t->room > ROOM_FIRST ? t->room : ROOM_FIRST;
    char *at;

    if (t->failed)
        return false;
    if (more < t->room - t->length)
        return true;
    if (more > PTRDIFF_MAX - t->length - 1) {
        t->failed = true;
        return false;
    }
    while (room < t->length + more + 1)
        room = room > PTRDIFF_MAX / 2 ? PTRDIFF_MAX : room * 2;
    at = realloc(t->at, room);
    if (!at) {
        t->failed = true;
        return false;
    }
    t->at = at;
    t->room = room;
    return true;
}

void text_add(struct text *t, struct slice bytes)
{
    if (!text_reserve(t, bytes.length))
        return;
    if (bytes.length)
        memcpy(t->at + t->length, bytes.at, bytes.length);
    t->length += bytes.length;
    t->at[t->length] = '\0';
}

void text_puts(struct text *t, const char *string)
{
    text_add(t, slice_text(string));
}

void text_printf(struct text *t, const char *format, ...)
{
    va_list list;
    int length;

    va_start(list, format);
    length = vsnprintf(NULL, 0, format, list);
    va_end(list);
    if (length < 0)
        t->failed = true;
    if (t->failed || !text_reserve(t, (size_t)length))
        return;
    va_start(list, format);
    vsnprintf(t->at + t->length, (size_t)length + 1, format, list);
    va_end(list);
    t->length += (size_t)length;
}

/* A double as its shortest digits, d1 d2 d3 ..., meaning d1.d2d3... times ten to the exponent. */
struct decimal {
    bool negative;
    char digits[REAL_DIGITS + 1];
    size_t count;
    int exponent;
};

static struct decimal decimal_of(double value)
{
    struct decimal d = { .negative = signbit(value) != 0 };
    char form[REAL_ROOM];
    const char *at = form;

    for (int digits = 1; digits <= REAL_DIGITS; digits++) {
        snprintf(form, sizeof form, "%.*e", digits - 1, fabs(value));
        /* Written and read under the same locale: the comparison holds under any. */
        if (strtod(form, NULL) == fabs(value))
            break;
    }
    /* Whatever the locale puts for the point has no ASCII digits in it. */
    for (; *at != 'e'; at++)
        if (*at >= '0' && *at <= '9' && d.count < REAL_DIGITS)
            d.digits[d.count++] = *at;
    d.exponent = atoi(at + 1);
    return d;
}

void text_real(struct text *t, double value)
{
    struct decimal d = decimal_of(value);
    char form[REAL_ROOM];
    size_t n = 0;

    assert(isfinite(value));
    if (d.negative)
        form[n++] = '-';
    if (d.exponent >= 0 && d.exponent < REAL_DIGITS) {
        for (size_t i = 0; i < d.count || i <= (size_t)d.exponent + 1; i++) {
            if (i == (size_t)d.exponent + 1)
                form[n++] = '.';
            form[n++] = i < d.count ? d.digits[i] : '0';
        }
    } else if (d.exponent < 0 && d.exponent >= -4) {
        form[n++] = '0';
        form[n++] = '.';
        for (int i = -1; i > d.exponent; i--)
            form[n++] = '0';
        memcpy(form + n, d.digits, d.count);
        n += d.count;
    } else {
        form[n++] = d.digits[0];
        if (d.count > 1) {
            form[n++] = '.';
            memcpy(form + n, d.digits + 1, d.count - 1);
            n += d.count - 1;
        }
        n += (size_t)snprintf(form + n, sizeof form - n, "e%d", d.exponent);
    }
    text_add(t, slice_of(form, n));
}

struct slice text_slice(const struct text *t)
{
    return slice_of(t->at, t->length);
}

void text_clear(struct text *t)
{
    t->length = 0;
    t->failed = false;
    if (t->at)
        t->at[0] = '\0';
}

void text_free(struct text *t)
{
    free(t->at);
    *t = (struct text){ 0 };
}

void text_wipe(struct text *t)
{
    if (t->at)
        explicit_bzero(t->at, t->room);
    text_free(t);
}

void text_hex(struct slice bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes.length; i++) {
        *out++ = digits[bytes.at[i] >> 4];
        *out++ = digits[bytes.at[i] & 15];
    }
    *out = '\0';
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int text_unhex(struct slice hex, void *out, size_t length)
{
    uint8_t *at = out;

    if (hex.length / 2 != length || hex.length % 2)
        return STATUS_INVALID;
    for (size_t i = 0; i < length; i++) {
        int high = hex_digit(hex.at[2 * i]), low = hex_digit(hex.at[2 * i + 1]);

        if (high < 0 || low < 0)
            return STATUS_INVALID;
        at[i] = (uint8_t)(high << 4 | low);
    }
    return STATUS_OK;
}
