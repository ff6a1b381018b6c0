/* SPDX-License-Identifier: Apache-2.0 */
/* The string forms of the tagged form: how one JSON string is written in few bytes. A special form is used
 * only when reading it gives the same bytes again. PROTOCOL.md, "Tagged JSON", gives the bytes of each. */
#ifndef ZAJEL_PROTOCOL_COMPACT_H
#define ZAJEL_PROTOCOL_COMPACT_H

#include "sync/protocol/bytes.h"

/* First bytes of strings, where a value may stand. Frozen. */
enum compact_tag {
    COMPACT_STRING = 0x09,      /* Any text: length as a varint, the bytes. */
    COMPACT_NIBBLES = 0x0a,     /* Decimal digits that are no plain number: count, half a byte each. */
    COMPACT_HEX = 0x0b,         /* Lower-case hex: count of bytes, the bytes. */
    COMPACT_HEX_16 = 0x0c,      /* The same for exactly 16 bytes, such as a conversation's id. */
    COMPACT_BASE64 = 0x0d,      /* Canonical base64: count of bytes, the bytes. */
    COMPACT_WAMID = 0x0e,       /* A wamid of Meta's usual make, taken apart. */
    COMPACT_WAMID_OTHER = 0x0f, /* "wamid." and canonical base64. */
    COMPACT_MESSAGE_ID = 0x10,  /* A wamid that we made. */
    COMPACT_WORD = 0x11,        /* A word of the second table of values. */
    COMPACT_DIGITS = 0x12,      /* 0x12 to 0x19: decimal digits as a number of 1 to 8 bytes. */
    COMPACT_SCRIPT = 0x1a,      /* One byte per character: block, length, bytes. */
    COMPACT_WIDE = 0x1b,        /* Two bytes per character beyond ASCII: length, bytes. */
    COMPACT_NEAR = 0x1c,        /* A time near the one before: the difference. */
    COMPACT_SCRIPT_SAME = 0x1d, /* As COMPACT_SCRIPT, of the same block as the last one. */
    COMPACT_AGAIN = 0x20,       /* 0x20 to 0x27: one of the last long numbers. */
    COMPACT_SHORT = 0x38,       /* 0x38 to 0x57: a text of 0 to 31 bytes. */
    COMPACT_WORD_ONE = 0x58     /* 0x58 to 0xf7: a word of the first table of values. */
};

#define COMPACT_NUMBERS 8u
/* The longest text that a special form may stand for: enough for 700 characters of three bytes, and for a
 * bounded reader. Longer texts are written as they are. */
#define COMPACT_TEXT_MAX 2048u

/* What was written earlier in the same value and may be referred to. */
struct compact_memory {
    uint64_t numbers[COMPACT_NUMBERS]; /* Ring of numbers of 5 to 8 bytes; 0 is none. */
    uint64_t time;                     /* The last number of 4 bytes: a time in seconds, mostly. 0 is none. */
    uint8_t next;                      /* Where in the ring the next one goes. */
    uint8_t block;                     /* Of the last script; 0 is none. */
};

/* Writes a string, which is UTF-8, in the best form we know. Returns the byte when that form is a single byte
 * of the vocabulary's first table, which is then left to the caller to write; else 0. */
uint8_t compact_write(struct writer *w, struct compact_memory *memory, struct slice text);

/* Reads the string whose tag was taken from r already. The text is borrowed from r's bytes, the vocabulary or
 * room. STATUS_PEER_MALFORMED: no such string. */
int compact_read(struct reader *r, struct compact_memory *memory, uint8_t tag, char room[COMPACT_TEXT_MAX],
                 struct slice *out);

#endif
