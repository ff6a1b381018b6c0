/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/log.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sync/kit/clock.h"

/* Room kept for the end of a line that is cut. */
#define CUT_MARK "\" cut=yes\n"

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_ERROR] = "error",
};

/* Helper threads log too. */
static _Atomic enum log_level level_least = LOG_LEVEL_INFO;

void log_set_level(enum log_level least)
{
    atomic_store(&level_least, least);
}

static size_t log_head(char *line, size_t room, enum log_level level, const char *event)
{
    int64_t now_ms = clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc = { 0 };
    char date[32] = "";
    int length;

    gmtime_r(&seconds, &utc);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
    length = snprintf(line, room, "ts=%s.%03dZ level=%s event=%s", date, (int)(now_ms % 1000),
                      level_names[level], event);
    assert(length > 0);
    return (size_t)length < room ? (size_t)length : room - 1;
}

/* Ends a line that was cut, so that it still reads as pairs: an open quote is closed first. */
static size_t log_cut(char *line, size_t room)
{
    size_t length = room - sizeof CUT_MARK;
    bool quoted = false;
    const char *mark;

    /* Not between a backslash and what it escapes. */
    for (size_t i = 0; i < length; i++) {
        if (line[i] == '\\' && i + 1 == length)
            length = i;
        else if (line[i] == '\\')
            i++;
        else if (line[i] == '"')
            quoted = !quoted;
    }
    mark = quoted ? CUT_MARK : CUT_MARK + 1;
    memcpy(line + length, mark, strlen(mark) + 1);
    return length + strlen(mark);
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
    char line[LOG_LINE_BYTES_MAX + 1];
    size_t length;
    int more;
    va_list list;

    if (level < atomic_load(&level_least))
        return;
    length = log_head(line, sizeof line - 2, level, event);
    line[length++] = ' ';
    va_start(list, format);
    more = vsnprintf(line + length, sizeof line - length, format, list);
    va_end(list);
    if (more <= 0) {
        more = 0;
        line[--length] = '\0';
    }
    /* One line is one event: nothing that came in a value may begin another. */
    for (char *at = line; at < line + sizeof line && *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    if ((size_t)more < sizeof line - length - 1) {
        length += (size_t)more;
        line[length++] = '\n';
    } else {
        length = log_cut(line, sizeof line);
    }
    /* In one write, so that lines of several threads and programs stay whole. A log that cannot be written
     * stops nothing. */
    while (write(STDERR_FILENO, line, length) < 0 && errno == EINTR)
        continue;
}

/* One byte of a value as it may stand between quotes. Returns its length. */
static size_t quote_byte(uint8_t c, char out[5])
{
    static const char digits[] = "0123456789abcdef";

    out[0] = '\\';
    if (c == '"' || c == '\\') {
        out[1] = (char)c;
        return 2;
    }
    if (c >= ' ' && c < 0x7f) {
        out[0] = (char)c;
        return 1;
    }
    if (c == '\n' || c == '\r' || c == '\t') {
        out[1] = c == '\n' ? 'n' : c == '\r' ? 'r' : 't';
        return 2;
    }
    out[1] = 'x';
    out[2] = digits[c >> 4];
    out[3] = digits[c & 15];
    return 4;
}

const char *log_quote(struct slice text, char *out, size_t room)
{
    size_t n = 0, last = 0;

    assert(room >= LOG_QUOTE_ROOM_MIN);
    out[n++] = '"';
    for (size_t i = 0; i < text.length; i++) {
        char form[5];
        size_t length = quote_byte(text.at[i], form);

        /* `last` is where the mark of a cut still fits: three points, the quote and the NUL. */
        if (n + 5 <= room)
            last = n;
        if (n + length + 2 > room) {
            memcpy(out + last, "...", 3);
            n = last + 3;
            break;
        }
        memcpy(out + n, form, length);
        n += length;
    }
    out[n++] = '"';
    out[n] = '\0';
    return out;
}

const char *log_number(struct slice digits, char out[8])
{
    size_t n = digits.length;
    bool tell = n > 4; /* Of a shorter one, two digits would be half. */

    for (size_t i = 0; i < n; i++)
        tell = tell && (digits.at[i] == '+' || (digits.at[i] >= '0' && digits.at[i] <= '9'));
    snprintf(out, 8, "..%.*s", tell ? 2 : 0, tell ? (const char *)digits.at + n - 2 : "");
    return out;
}
