/* SPDX-License-Identifier: Apache-2.0 */
/* A growing text (or bytes): for answers, pages and logs being put together. */
#ifndef ZAJEL_KIT_TEXT_H
#define ZAJEL_KIT_TEXT_H

#include "sync/protocol/bytes.h"

/* Starts as {0}. `at` always ends in a NUL beyond `length` once something was added. A failed allocation
 * makes it `failed` and later additions do nothing: ask once, at the end. */
struct text {
    char *at;
    size_t length;
    size_t room;
    bool failed;
};

void text_add(struct text *t, struct slice bytes);
void text_puts(struct text *t, const char *string);
void text_printf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The shortest decimal form that reads back as the same double, as a real: "0.1", "3.0", "-0.0", "1e300".
 * Always with a point or an exponent, the same under every locale. value is finite. */
void text_real(struct text *t, double value);
struct slice text_slice(const struct text *t);
void text_clear(struct text *t); /* Length 0, keeps the room. */
void text_free(struct text *t);  /* Back to {0}. */
void text_wipe(struct text *t);  /* Overwrites, then frees: for secrets. */

/* Lower-case hex; out has room for 2 * length + 1. */
void text_hex(struct slice bytes, char *out);
/* Reads hex of exactly length bytes. STATUS_INVALID otherwise. */
int text_unhex(struct slice hex, void *out, size_t length);

#endif
