/* SPDX-License-Identifier: Apache-2.0 */
/* Logs: logfmt lines on stderr, stable event names, no message text and no whole numbers. */
#ifndef ZAJEL_KIT_LOG_H
#define ZAJEL_KIT_LOG_H

#include "sync/protocol/bytes.h"

/* A line with its end: two of the longest events, and still one write to a pipe (PIPE_BUF is 4096). */
#define LOG_LINE_BYTES_MAX 2048u
#define LOG_QUOTE_ROOM_MIN 8u

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

void log_set_level(enum log_level least); /* Until told otherwise: info. */

/* One line: ts=2026-11-24T07:00:00.000Z level=info event=EVENT and then the pairs of format ("branch=%s
 * bytes=%zu"; "%s", "" for none). In one write(2). Values that may hold spaces or come from outside go
 * through log_quote. A line too long is cut and ends in cut=yes; control bytes become '?'. */
void log_event(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Quotes text from outside for a value: control bytes, quotes and non-ASCII escaped, with the quotes around
 * it, cut at the room (then ending in ...). room is at least LOG_QUOTE_ROOM_MIN. Returns out. */
const char *log_quote(struct slice text, char *out, size_t room);
/* A customer's number for logs: the last two digits only ("..84"); nothing of what is short or no
 * number (".."). Returns out. */
const char *log_number(struct slice digits, char out[8]);

#endif
