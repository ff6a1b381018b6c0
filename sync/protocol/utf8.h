/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8, one character at a time, strictly. */
#ifndef ZAJEL_PROTOCOL_UTF8_H
#define ZAJEL_PROTOCOL_UTF8_H

#include "sync/protocol/bytes.h"

#define UTF8_BYTES_MAX 4u

/* Takes the next character. Overlong forms, surrogates, what lies beyond U+10FFFF and cut characters fail the
 * reader. */
uint32_t utf8_take(struct reader *r);
/* Writes a character; returns its length of 1 to 4 bytes. */
size_t utf8_format(uint32_t character, uint8_t out[UTF8_BYTES_MAX]);
bool utf8_valid(struct slice text);

#endif
