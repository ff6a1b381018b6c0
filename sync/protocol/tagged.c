/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/tagged.h"

#include <assert.h>
#include <string.h>

#include "sync/protocol/status.h"
#include "sync/protocol/utf8.h"

/* Where a value may stand; strings have the other bytes (compact.h). */
enum value_tag {
    VALUE_NULL = 0x00,
    VALUE_TRUE = 0x01,
    VALUE_FALSE = 0x02,
    VALUE_REAL = 0x03,     /* The 8 bytes of the double, big-endian. */
    VALUE_POSITIVE = 0x04, /* Varint. */
    VALUE_NEGATIVE = 0x05, /* Varint of -1 - value. */
    VALUE_ARRAY = 0x06,
    VALUE_OBJECT = 0x07,
    VALUE_ARRAY_OBJECT = 0x08, /* "[{" */
    VALUE_DECIMAL =
        0x1e,          /* A double that is an integer over a power of ten: places (1 byte), zigzag varint. */
    VALUE_SMALL = 0x28 /* 0x28 to 0x37: 0 to 15. */
};

#define SMALL_MAX 15

/* Where a key may stand. Phrases are vocabulary.h's. */
enum key_tag {
    KEY_LONG = 0x00,  /* Length as a varint, the bytes. */
    KEY_SHORT = 0x01, /* 0x01 to 0x1e: a key of 1 to 30 bytes. */
    KEY_WORD = 0x1f,  /* A word of the second table of keys. */
    KEY_WORD_ONE = 0x20,
    KEY_NEXT = 0xf7 /* "},{": the object ends and the array's next one begins. */
};

#define KEY_SHORT_MAX 30u

/* Where a value or a key may stand in an array or object: 0xf8 to 0xff end 1 to 8 of them. */
#define TAG_ENDS 0xf8u
#define ENDS_MAX 8u

/* Decimal places of VALUE_DECIMAL, and the largest integer that a double holds exactly: then the quotient is
 * the one double nearest to the decimal number, whoever divides. */
#define PLACES_MAX 15u
#define EXACT_MAX ((int64_t)1 << 53)

/* What may stand next, per depth. */
enum expects { EXPECTS_ROOT, EXPECTS_NOTHING, EXPECTS_ELEMENT, EXPECTS_KEY, EXPECTS_VALUE };

static bool expects_value(uint8_t expects)
{
    return expects == EXPECTS_ROOT || expects == EXPECTS_ELEMENT || expects == EXPECTS_VALUE;
}

/* What may stand after a value. */
static uint8_t expects_after(uint8_t expects)
{
    assert(expects_value(expects));
    if (expects == EXPECTS_ELEMENT)
        return EXPECTS_ELEMENT;
    return expects == EXPECTS_ROOT ? EXPECTS_NOTHING : EXPECTS_KEY;
}

static double power_of_ten(unsigned places)
{
    double power = 1;

    for (unsigned i = 0; i < places; i++)
        power *= 10;
    return power;
}

static bool same_double(double a, double b)
{
    uint64_t left, right;

    memcpy(&left, &a, sizeof left);
    memcpy(&right, &b, sizeof right);
    return left == right;
}

static bool is_finite(double real)
{
    uint64_t bits;

    memcpy(&bits, &real, sizeof bits);
    return (bits >> 52 & 0x7ff) != 0x7ff;
}

/* The integer and places that give this very double, if there are any. */
static bool find_decimal(double real, unsigned *places, int64_t *integer)
{
    for (*places = 0; *places <= PLACES_MAX; ++*places) {
        double scaled = real * power_of_ten(*places);

        if (scaled > (double)EXACT_MAX || scaled < -(double)EXACT_MAX)
            return false;
        *integer = (int64_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
        if (*integer <= EXACT_MAX && *integer >= -EXACT_MAX &&
            same_double((double)*integer / power_of_ten(*places), real))
            return true;
    }
    return false;
}

struct tagged_writer tagged_writer_of(void *at, size_t room)
{
    return (struct tagged_writer){ .out = writer_of(at, room) };
}

/* Writes a simple byte: one that stands for itself, or grows the phrase before it by one. */
static void put_simple(struct tagged_writer *w, uint8_t byte, bool as_key)
{
    int phrase = w->symbol ? vocabulary_phrase(w->symbol, byte) : -1;

    if (phrase >= 0) {
        assert(w->out.failed || w->out.length > 0);
        if (!w->out.failed)
            w->out.at[w->out.length - 1] = (uint8_t)phrase;
        w->symbol = (uint8_t)phrase;
        return;
    }
    writer_u8(&w->out, byte);
    w->symbol = as_key ? byte : 0;
}

/* Writes what was held back. */
static void put_held(struct tagged_writer *w)
{
    if (w->array_begins)
        put_simple(w, VALUE_ARRAY, false);
    if (w->ends)
        put_simple(w, (uint8_t)(TAG_ENDS + w->ends - 1), w->ends_as_key);
    w->array_begins = false;
    w->ends = 0;
}

static void put_key(struct tagged_writer *w, struct slice key)
{
    int word = vocabulary_find(VOCABULARY_KEYS, key);

    if (word >= 0) {
        put_simple(w, (uint8_t)(KEY_WORD_ONE + word), true);
        return;
    }
    w->symbol = 0;
    word = vocabulary_find(VOCABULARY_MORE_KEYS, key);
    if (word >= 0) {
        writer_u8(&w->out, KEY_WORD);
        writer_u8(&w->out, (uint8_t)word);
        return;
    }
    if (key.length >= 1 && key.length <= KEY_SHORT_MAX) {
        writer_u8(&w->out, (uint8_t)(KEY_SHORT + key.length - 1));
    } else {
        writer_u8(&w->out, KEY_LONG);
        writer_varint(&w->out, key.length);
    }
    writer_bytes(&w->out, key);
}

static void put_string(struct tagged_writer *w, struct slice text)
{
    uint8_t word = compact_write(&w->out, &w->memory, text);

    if (word)
        put_simple(w, word, false);
    else
        w->symbol = 0;
}

static void put_integer(struct tagged_writer *w, int64_t integer)
{
    if (integer >= 0 && integer <= SMALL_MAX) {
        put_simple(w, (uint8_t)(VALUE_SMALL + integer), false);
        return;
    }
    w->symbol = 0;
    writer_u8(&w->out, integer < 0 ? VALUE_NEGATIVE : VALUE_POSITIVE);
    writer_varint(&w->out, integer < 0 ? ~(uint64_t)integer : (uint64_t)integer);
}

static void put_real(struct tagged_writer *w, double real)
{
    unsigned places;
    int64_t integer;
    uint64_t bits;

    w->symbol = 0;
    if (find_decimal(real, &places, &integer) && varint_size(zigzag(integer)) + 1 < sizeof bits) {
        writer_u8(&w->out, VALUE_DECIMAL);
        writer_u8(&w->out, (uint8_t)places);
        writer_varint(&w->out, zigzag(integer));
        return;
    }
    memcpy(&bits, &real, sizeof bits);
    writer_u8(&w->out, VALUE_REAL);
    writer_u64(&w->out, bits);
}

static void put_scalar(struct tagged_writer *w, const struct token *token)
{
    switch (token->kind) {
    case TOKEN_NULL: put_simple(w, VALUE_NULL, false); break;
    case TOKEN_TRUE: put_simple(w, VALUE_TRUE, false); break;
    case TOKEN_FALSE: put_simple(w, VALUE_FALSE, false); break;
    case TOKEN_INTEGER: put_integer(w, token->integer); break;
    case TOKEN_REAL: put_real(w, token->real); break;
    case TOKEN_STRING: put_string(w, token->text); break;
    case TOKEN_KEY:
    case TOKEN_ARRAY:
    case TOKEN_OBJECT:
    case TOKEN_END: assert(false);
    }
}

static void begin_array(struct tagged_writer *w)
{
    put_held(w);
    w->array_begins = true;
    w->expects[++w->depth] = EXPECTS_ELEMENT;
}

static void begin_object(struct tagged_writer *w)
{
    if (w->array_begins) {
        w->array_begins = false;
        put_simple(w, VALUE_ARRAY_OBJECT, false);
    } else if (w->ends == 1 && w->ends_as_key) {
        /* An object right after another one is the next of their array: else a key would come first. */
        w->ends = 0;
        put_simple(w, KEY_NEXT, true);
    } else {
        put_held(w);
        put_simple(w, VALUE_OBJECT, false);
    }
    w->expects[++w->depth] = EXPECTS_KEY;
}

static void end(struct tagged_writer *w)
{
    if (w->array_begins || w->ends == ENDS_MAX)
        put_held(w);
    if (w->ends == 0)
        w->ends_as_key = w->expects[w->depth] == EXPECTS_KEY;
    w->ends++;
    if (--w->depth == 0)
        put_held(w);
}

/* Whether the token may stand here, and is one we can write. */
static int check(const struct tagged_writer *w, const struct token *token)
{
    uint8_t expects = w->expects[w->depth];

    switch (token->kind) {
    case TOKEN_KEY: return expects == EXPECTS_KEY && utf8_valid(token->text) ? STATUS_OK : STATUS_INVALID;
    case TOKEN_END: return expects == EXPECTS_KEY || expects == EXPECTS_ELEMENT ? STATUS_OK : STATUS_INVALID;
    case TOKEN_ARRAY:
    case TOKEN_OBJECT:
        if (!expects_value(expects))
            return STATUS_INVALID;
        return w->depth < TAGGED_DEPTH_MAX ? STATUS_OK : STATUS_TOO_LARGE;
    case TOKEN_STRING: return expects_value(expects) && utf8_valid(token->text) ? STATUS_OK : STATUS_INVALID;
    case TOKEN_REAL: return expects_value(expects) && is_finite(token->real) ? STATUS_OK : STATUS_INVALID;
    case TOKEN_NULL:
    case TOKEN_TRUE:
    case TOKEN_FALSE:
    case TOKEN_INTEGER: return expects_value(expects) ? STATUS_OK : STATUS_INVALID;
    }
    return STATUS_INVALID;
}

static void put_checked(struct tagged_writer *w, const struct token *token)
{
    uint8_t *expects = &w->expects[w->depth];

    switch (token->kind) {
    case TOKEN_KEY:
        put_held(w);
        put_key(w, token->text);
        *expects = EXPECTS_VALUE;
        break;
    case TOKEN_END: end(w); break;
    case TOKEN_ARRAY:
        *expects = expects_after(*expects);
        begin_array(w);
        break;
    case TOKEN_OBJECT:
        *expects = expects_after(*expects);
        begin_object(w);
        break;
    case TOKEN_NULL:
    case TOKEN_TRUE:
    case TOKEN_FALSE:
    case TOKEN_INTEGER:
    case TOKEN_REAL:
    case TOKEN_STRING:
        *expects = expects_after(*expects);
        put_held(w);
        put_scalar(w, token);
        break;
    }
}

int tagged_put(struct tagged_writer *w, const struct token *token)
{
    if (w->status == STATUS_OK)
        w->status = check(w, token);
    if (w->status == STATUS_OK) {
        put_checked(w, token);
        if (w->out.failed)
            w->status = STATUS_TOO_LARGE;
    }
    return w->status;
}

int tagged_finish(const struct tagged_writer *w, struct slice *out)
{
    if (w->status != STATUS_OK)
        return w->status;
    if (w->expects[0] != EXPECTS_NOTHING || w->depth != 0)
        return STATUS_INVALID;
    *out = writer_slice(&w->out);
    return STATUS_OK;
}

struct tagged_reader tagged_reader_of(struct slice value)
{
    return (struct tagged_reader){ .in = reader_of(value) };
}

/* The next simple byte, out of a phrase or the value. */
static uint8_t take_simple(struct tagged_reader *r, bool as_key)
{
    uint8_t byte;

    if (r->phrase_at < r->phrase_length)
        return r->phrase[r->phrase_at++];
    byte = reader_u8(&r->in);
    if (!as_key || !vocabulary_is_phrase(byte))
        return byte;
    r->phrase_length = (uint8_t)vocabulary_expand(byte, r->phrase);
    r->phrase_at = 1;
    return r->phrase[0];
}

static int take_container(struct tagged_reader *r, struct token *out, bool object)
{
    uint8_t *expects = &r->expects[r->depth];

    if (r->depth == TAGGED_DEPTH_MAX)
        return STATUS_PEER_MALFORMED;
    *expects = expects_after(*expects);
    r->expects[++r->depth] = object ? EXPECTS_KEY : EXPECTS_ELEMENT;
    out->kind = object ? TOKEN_OBJECT : TOKEN_ARRAY;
    return STATUS_OK;
}

static int take_end(struct tagged_reader *r, struct token *out)
{
    uint8_t expects = r->expects[r->depth];

    if (expects != EXPECTS_KEY && expects != EXPECTS_ELEMENT)
        return STATUS_PEER_MALFORMED;
    r->depth--;
    out->kind = TOKEN_END;
    return STATUS_OK;
}

static int take_ends(struct tagged_reader *r, uint8_t byte, struct token *out)
{
    r->ends = (uint8_t)(byte - TAG_ENDS);
    return take_end(r, out);
}

static int take_key(struct tagged_reader *r, struct token *out)
{
    uint8_t byte = take_simple(r, true);
    uint64_t length = 0;

    if (r->in.failed)
        return STATUS_PEER_MALFORMED;
    if (byte >= TAG_ENDS)
        return take_ends(r, byte, out);
    if (byte == KEY_NEXT) {
        r->object_begins = true;
        return r->depth > 1 && r->expects[r->depth - 1] == EXPECTS_ELEMENT ? take_end(r, out)
                                                                           : STATUS_PEER_MALFORMED;
    }
    out->kind = TOKEN_KEY;
    r->expects[r->depth] = EXPECTS_VALUE;
    if (byte >= KEY_WORD_ONE)
        return vocabulary_word(VOCABULARY_KEYS, byte - (unsigned)KEY_WORD_ONE, &out->text)
                   ? STATUS_OK
                   : STATUS_PEER_MALFORMED;
    if (byte == KEY_WORD)
        return vocabulary_word(VOCABULARY_MORE_KEYS, reader_u8(&r->in), &out->text) ? STATUS_OK
                                                                                    : STATUS_PEER_MALFORMED;
    length = byte == KEY_LONG ? reader_varint(&r->in) : byte;
    if (length > reader_left(&r->in))
        return STATUS_PEER_MALFORMED;
    out->text = reader_take(&r->in, (size_t)length);
    return utf8_valid(out->text) ? STATUS_OK : STATUS_PEER_MALFORMED;
}

static int take_decimal(struct tagged_reader *r, struct token *out)
{
    uint8_t places = reader_u8(&r->in);
    int64_t integer = unzigzag(reader_varint(&r->in));

    if (places > PLACES_MAX || integer > EXACT_MAX || integer < -EXACT_MAX)
        return STATUS_PEER_MALFORMED;
    out->kind = TOKEN_REAL;
    out->real = (double)integer / power_of_ten(places);
    return STATUS_OK;
}

/* A number; false when the byte begins none. */
static bool take_number(struct tagged_reader *r, uint8_t byte, struct token *out, int *status)
{
    uint64_t bits;

    *status = STATUS_OK;
    if (byte >= VALUE_SMALL && byte <= VALUE_SMALL + SMALL_MAX) {
        out->kind = TOKEN_INTEGER;
        out->integer = byte - VALUE_SMALL;
    } else if (byte == VALUE_POSITIVE || byte == VALUE_NEGATIVE) {
        bits = reader_varint(&r->in);
        if (bits > INT64_MAX)
            *status = STATUS_PEER_MALFORMED;
        out->kind = TOKEN_INTEGER;
        out->integer =
            byte == VALUE_NEGATIVE ? -1 - (int64_t)(bits & INT64_MAX) : (int64_t)(bits & INT64_MAX);
    } else if (byte == VALUE_REAL) {
        bits = reader_u64(&r->in);
        out->kind = TOKEN_REAL;
        memcpy(&out->real, &bits, sizeof bits);
        if (!is_finite(out->real))
            *status = STATUS_PEER_MALFORMED;
    } else if (byte == VALUE_DECIMAL) {
        *status = take_decimal(r, out);
    } else {
        return false;
    }
    return true;
}

static int take_value(struct tagged_reader *r, struct token *out)
{
    uint8_t *expects = &r->expects[r->depth];
    uint8_t byte = take_simple(r, false);
    int status = STATUS_OK;

    if (r->in.failed)
        return STATUS_PEER_MALFORMED;
    if (byte >= TAG_ENDS)
        return *expects == EXPECTS_ELEMENT ? take_ends(r, byte, out) : STATUS_PEER_MALFORMED;
    if (byte == VALUE_ARRAY || byte == VALUE_OBJECT || byte == VALUE_ARRAY_OBJECT) {
        r->object_begins = byte == VALUE_ARRAY_OBJECT;
        return take_container(r, out, byte == VALUE_OBJECT);
    }
    *expects = expects_after(*expects);
    if (byte <= VALUE_FALSE) {
        static const enum token_kind kinds[] = { TOKEN_NULL, TOKEN_TRUE, TOKEN_FALSE };

        out->kind = kinds[byte];
    } else if (!take_number(r, byte, out, &status)) {
        out->kind = TOKEN_STRING;
        status = compact_read(&r->in, &r->memory, byte, r->text, &out->text);
    }
    return r->in.failed ? STATUS_PEER_MALFORMED : status;
}

static int take(struct tagged_reader *r, struct token *out)
{
    if (r->ends) {
        r->ends--;
        return take_end(r, out);
    }
    if (r->object_begins) {
        r->object_begins = false;
        return take_container(r, out, true);
    }
    switch ((enum expects)r->expects[r->depth]) {
    case EXPECTS_NOTHING:
        return r->phrase_at == r->phrase_length && reader_done(&r->in) ? STATUS_END : STATUS_PEER_MALFORMED;
    case EXPECTS_KEY: return take_key(r, out);
    case EXPECTS_ROOT:
    case EXPECTS_ELEMENT:
    case EXPECTS_VALUE: return take_value(r, out);
    }
    return STATUS_PEER_MALFORMED;
}

int tagged_next(struct tagged_reader *r, struct token *out)
{
    *out = (struct token){ 0 };
    if (r->status == STATUS_OK)
        r->status = take(r, out);
    return r->status;
}
