/* SPDX-License-Identifier: Apache-2.0 */
/* Tagged binary JSON: any JSON value as a stream of tokens, small on the link and equal when it comes back.
 * This file declares the token stream; PROTOCOL.md section "Tagged JSON" gives the bytes. */
#ifndef ZAJEL_PROTOCOL_TAGGED_H
#define ZAJEL_PROTOCOL_TAGGED_H

#include "sync/protocol/bytes.h"
#include "sync/protocol/compact.h"
#include "sync/protocol/vocabulary.h"

/* Deeper values are refused by the writer and the reader alike: WhatsApp's own bodies stay under 16. */
#define TAGGED_DEPTH_MAX 64u

enum token_kind {
    TOKEN_NULL,
    TOKEN_TRUE,
    TOKEN_FALSE,
    TOKEN_INTEGER,
    TOKEN_REAL,
    TOKEN_STRING,
    TOKEN_KEY,
    TOKEN_ARRAY,  /* Begins an array; TOKEN_END ends it. */
    TOKEN_OBJECT, /* Begins an object of KEY, value pairs; TOKEN_END ends it. */
    TOKEN_END
};

struct token {
    enum token_kind kind;
    int64_t integer;   /* TOKEN_INTEGER */
    double real;       /* TOKEN_REAL: finite. Comes back bit for bit. */
    struct slice text; /* TOKEN_STRING, TOKEN_KEY: UTF-8, NUL bytes allowed. */
};

/* Writes one JSON value token by token. The writer's room is the caller's. */
struct tagged_writer {
    struct writer out;
    uint32_t depth;
    int status;
    uint8_t expects[TAGGED_DEPTH_MAX + 1];
    struct compact_memory memory;
    uint8_t symbol;    /* The last byte written, when a phrase may grow from it; else 0. */
    bool array_begins; /* An array was begun and not written yet: "[{" has a byte of its own. */
    uint8_t ends;      /* Ends not written yet: a run of them has one byte. */
    bool ends_as_key;  /* The first of them stands where a key might. */
};

struct tagged_writer tagged_writer_of(void *at, size_t room);
/* STATUS_TOO_LARGE: no room, or too deep. STATUS_INVALID: tokens in an order that is no JSON, or text that is
 * no UTF-8. Sticky. */
int tagged_put(struct tagged_writer *w, const struct token *token);
/* The finished value, in the caller's room. STATUS_INVALID when it is not whole. */
int tagged_finish(const struct tagged_writer *w, struct slice *out);

/* Reads a value back, token by token. */
struct tagged_reader {
    struct reader in;
    uint32_t depth;
    int status;
    uint8_t expects[TAGGED_DEPTH_MAX + 1];
    struct compact_memory memory;
    uint8_t phrase[VOCABULARY_PHRASE_BYTES_MAX]; /* What is left of a phrase, read before anything else. */
    uint8_t phrase_at;
    uint8_t phrase_length;
    uint8_t ends;                /* Ends still to be told. */
    bool object_begins;          /* The '{' of "[{" or "},{" is still to be told. */
    char text[COMPACT_TEXT_MAX]; /* Room for strings that are not stored as they read: valid until the next
                                    call. */
};

struct tagged_reader tagged_reader_of(struct slice value);
/* STATUS_END after the last token of the value; STATUS_PEER_MALFORMED for bytes that are no such value
 * (trailing bytes included). Text is borrowed from the value or from the reader until the next call. */
int tagged_next(struct tagged_reader *r, struct token *out);

#endif
