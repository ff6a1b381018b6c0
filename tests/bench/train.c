/* SPDX-License-Identifier: Apache-2.0 */
/* Trains the dictionary of sync/protocol/pack.h from traffic, and says what it is worth.
 *
 *     train [CORPUS [OUT]]      CORPUS: JSON lines, gzip or plain (or $CORPUS; the tests' sample otherwise)
 *                               OUT: where the dictionary goes (build/dictionary.bin)
 *
 * It learns from what is really packed: each line as an item with its body in the tagged form, cut into grams
 * of GRAM bytes. The dictionary is made of runs of grams that each were seen in messages to or from
 * CUSTOMERS_MIN customers and hold no byte that is somebody's own: nothing of a number, an id, a hash or a
 * time, no digit of a text, no value filled into a template, no word of any customer's profile name, wherever
 * it stands. So what one customer wrote, is called or owns cannot get in. The dictionary in use stays as it
 * is for ever: a new one becomes dictionary-N.bin with the next id.
 *
 * The report's "held out" is a quarter of the templates, and of the business numbers for what is no template:
 * the dictionary it is measured with has seen neither. */
#include <lz4hc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "sync/kit/json.h"
#include "sync/protocol/item.h"
#include "sync/protocol/pack.h"
#include "sync/protocol/status.h"
#include "sync/protocol/tagged.h"

#define LINE_MAX_BYTES (1u << 20)
#define GRAM 6u          /* LZ4 gains nothing by less than 4 bytes, little by 5. */
#define SEGMENT_MAX 64u  /* Bytes taken at once; longer ones bring along what nobody asks for. */
#define CUSTOMERS_MIN 8u /* Fewer may be one family; with more, the rarer languages get nothing. */
#define SEGMENT_MIN 6u
#define NAMES (1u << 20) /* Bits of the filter of names. */
#define SLOTS (1u << 22) /* Of the table of grams: four times what 20,000 lines hold. */
#define BATCH 64u
#define HELD_OUT 4u /* One group in so many is held out for the report. */

struct sample {
    uint32_t at; /* Into struct corpus's bytes. */
    uint32_t length;
    uint32_t json;     /* Length of the JSON text. */
    uint32_t customer; /* A hash; 0 when the line names none. */
    uint32_t group;    /* A hash of the template's name, else of the business number. */
    uint32_t tagged;
    bool event;
    bool filled; /* A template: its texts are filled in. */
};

struct corpus {
    struct sample *samples;
    size_t count, room;
    uint8_t *bytes;
    bool *own; /* Per byte: of a number, id, hash or time. */
    size_t length, bytes_room;
};

struct gram {
    uint64_t key; /* 0: a free slot. */
    uint32_t customers;
    uint32_t messages;
    uint32_t last_message;
};

static void fail(const char *what)
{
    fprintf(stderr, "train: %s\n", what);
    exit(1);
}

static void *room_for(void *at, size_t bytes)
{
    at = realloc(at, bytes);
    if (!at)
        fail("out of memory");
    return at;
}

static uint32_t hash_of(struct slice bytes)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < bytes.length; i++)
        hash = (hash ^ bytes.at[i]) * 16777619u;
    return hash ? hash : 1;
}

static uint32_t text_hash(const struct json *root, const char *path)
{
    const struct json *v = json_path(root, path);

    return json_is_string(v) ? hash_of(json_string(v)) : 0;
}

static uint32_t customer_of(const struct json *root)
{
    static const char *const paths[] = { "to", "entry.0.changes.0.value.statuses.0.recipient_id",
                                         "entry.0.changes.0.value.messages.0.from" };
    uint32_t customer = 0;

    for (size_t i = 0; !customer && i < sizeof paths / sizeof paths[0]; i++)
        customer = text_hash(root, paths[i]);
    return customer;
}

static uint8_t names[NAMES / 8];

static void walk_words(struct slice text, bool *own)
{
    size_t from = 0;

    for (size_t i = 0; i <= text.length; i++) {
        bool inside =
            i < text.length && (text.at[i] >= 0x80 || strchr(" ,.?!:;\n'\"-()", text.at[i]) == NULL);
        uint32_t bit;

        if (inside)
            continue;
        bit = hash_of(slice_of(text.at + from, i - from)) % NAMES;
        if (i - from >= 2 && own && names[bit / 8] & 1u << bit % 8)
            memset(own + from, true, (i - from) * sizeof *own);
        if (i - from >= 2 && !own)
            names[bit / 8] |= (uint8_t)(1u << bit % 8);
        from = i + 1;
    }
}

/* The bytes of a text as written, given its whole form; empty when the form is no text but a number or an id.
 */
static struct slice text_of(struct slice form)
{
    struct reader r = reader_of(form);
    uint8_t tag = reader_u8(&r);

    if (tag >= COMPACT_SHORT && tag < COMPACT_WORD_ONE)
        return reader_rest(&r);
    if (tag == COMPACT_SCRIPT)
        reader_u8(&r);
    else if (tag != COMPACT_STRING && tag != COMPACT_WIDE && tag != COMPACT_SCRIPT_SAME)
        return slice_of(NULL, 0);
    reader_varint(&r);
    return reader_rest(&r);
}

static void mark_text(struct slice text, bool filled, bool *own)
{
    walk_words(text, own);
    for (size_t i = 0; i < text.length; i++)
        own[i] = own[i] || filled || (text.at[i] >= '0' && text.at[i] <= '9');
}

/* Marks what is somebody's own in a tagged value; with learn, notes the words of names instead. */
static void mark_own(const struct sample *s, struct slice tagged, bool *own, bool learn)
{
    struct tagged_reader r = tagged_reader_of(tagged);
    struct token token;
    bool name = false;
    bool filled = false;

    for (;;) {
        const uint8_t *from = r.in.at;
        struct slice form;
        struct slice text;

        if (tagged_next(&r, &token) != STATUS_OK)
            return;
        if (token.kind == TOKEN_KEY) {
            name = s->event && slice_is(token.text, "name");
            filled = s->filled && slice_is(token.text, "text");
        }
        form = slice_of(from, (size_t)(r.in.at - from));
        if (token.kind == TOKEN_KEY || form.length <= 1)
            continue;
        text = text_of(form);
        if (learn && name)
            walk_words(text, NULL);
        if (!learn && text.length)
            mark_text(text, filled || name, own + (text.at - tagged.at));
        if (!learn && !text.length && *from != COMPACT_WORD)
            memset(own + (from + 1 - tagged.at), true, (form.length - 1) * sizeof *own);
    }
}

static void add_line(struct corpus *c, struct slice line, uint32_t *number, uint64_t *at_s)
{
    static uint8_t body[LINE_MAX_BYTES];
    static uint8_t room[LINE_MAX_BYTES + 64];
    struct item item = { .form = ITEM_FORM_TAGGED };
    struct json *root;
    struct slice tagged;
    struct slice plain;
    size_t head;
    uint32_t seen;
    uint32_t template;
    bool event;

    if (json_parse(line, &root, NULL) != STATUS_OK)
        fail("a line is no JSON");
    event = json_get(root, "object") != NULL;
    seen = text_hash(root, "entry.0.changes.0.value.metadata.phone_number_id");
    template = text_hash(root, "template.name");
    if (seen)
        *number = seen;
    item.kind = event ? ITEM_EVENT : ITEM_SEND;
    item.number = event ? 0 : 100000000000000u + *number;
    item.at_s = ++*at_s;
    if (json_to_tagged(root, body, sizeof body, &tagged) != STATUS_OK)
        fail("a line is too long");
    item.body = tagged;
    if (item_write(&item, room, sizeof room, &plain) != STATUS_OK)
        fail("a line is too long");
    head = plain.length - tagged.length;
    if (c->count == c->room) {
        c->room = c->room ? c->room * 2 : 4096;
        c->samples = room_for(c->samples, c->room * sizeof *c->samples);
    }
    if (c->length + plain.length > c->bytes_room) {
        c->bytes_room = (c->length + plain.length) * 2;
        c->bytes = room_for(c->bytes, c->bytes_room);
        c->own = room_for(c->own, c->bytes_room * sizeof *c->own);
    }
    memcpy(c->bytes + c->length, plain.at, plain.length);
    memset(c->own + c->length, false, plain.length * sizeof *c->own);
    memset(c->own + c->length + 1, true, (head - 1) * sizeof *c->own);
    c->samples[c->count++] = (struct sample){ .at = (uint32_t)c->length,
                                              .length = (uint32_t)plain.length,
                                              .json = (uint32_t)line.length,
                                              .customer = customer_of(root),
                                              .group = template ? template : *number,
                                              .tagged = (uint32_t)tagged.length,
                                              .event = event,
                                              .filled = template != 0 };
    c->length += plain.length;
    json_free(root);
}

static struct corpus read_corpus(const char *path)
{
    static char line[LINE_MAX_BYTES];
    struct corpus c = { 0 };
    gzFile file = gzopen(path, "rb");
    uint32_t number = 0;
    uint64_t at_s = 1700000000;

    if (!file)
        fail("the corpus cannot be opened");
    while (gzgets(file, line, sizeof line))
        add_line(&c, slice_of(line, strcspn(line, "\n")), &number, &at_s);
    gzclose(file);
    for (unsigned learn = 2; learn-- > 0;) {
        for (size_t i = 0; i < c.count; i++) {
            const struct sample *s = &c.samples[i];
            size_t at = s->at + s->length - s->tagged;

            mark_own(s, slice_of(c.bytes + at, s->tagged), c.own + at, learn == 1);
        }
    }
    return c;
}

static uint64_t key_at(const struct corpus *c, size_t at)
{
    uint64_t key = 1;

    for (size_t i = 0; i < GRAM; i++)
        key = key << 8 | c->bytes[at + i];
    return key;
}

static struct gram *gram_of(struct gram *grams, uint64_t key)
{
    size_t slot = (size_t)(key * 0x9e3779b97f4a7c15u >> 42);

    while (grams[slot].key && grams[slot].key != key)
        slot = (slot + 1) % SLOTS;
    return &grams[slot];
}

static bool has_own(const struct corpus *c, size_t at)
{
    return memchr(c->own + at, true, GRAM * sizeof *c->own) != NULL;
}

static bool is_held_out(const struct sample *s, bool hold)
{
    return hold && (s->group ^ s->group >> 15) % HELD_OUT == 0;
}

/* Counts in how many messages and of how many customers each gram is. */
static void count_grams(const struct corpus *c, struct gram *grams, bool hold)
{
    static uint8_t seen[1u << 24];
    size_t used = 0;

    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < c->count; i++) {
        const struct sample *s = &c->samples[i];

        if (is_held_out(s, hold))
            continue;
        for (size_t at = s->at; at + GRAM <= s->at + s->length; at++) {
            uint64_t key;
            struct gram *gram;
            uint64_t pair;

            if (has_own(c, at))
                continue;
            key = key_at(c, at);
            gram = gram_of(grams, key);
            if (!gram->key && ++used > SLOTS / 2)
                fail("the corpus is too large");
            gram->key = key;
            if (gram->last_message != i + 1)
                gram->messages++;
            gram->last_message = (uint32_t)i + 1;
            /* A Bloom filter of (gram, customer): a false "seen before" only makes a gram seem rarer. */
            pair = (key ^ (uint64_t)s->customer << 20) * 0x9e3779b97f4a7c15u;
            pair ^= pair >> 29;
            pair *= 0xbf58476d1ce4e5b9u;
            if (s->customer && !(seen[pair >> 40] & 1u << (pair >> 37 & 7))) {
                seen[pair >> 40] |= (uint8_t)(1u << (pair >> 37 & 7));
                gram->customers++;
            }
        }
    }
}

struct segment {
    size_t at;
    size_t length;
    uint64_t score;
};

/* The best segment of one sample: the window of grams, all common, whose worth is greatest. */
static void best_segment(const struct sample *s, struct gram *const *at_gram, struct segment *best)
{
    size_t grams = s->length < GRAM ? 0 : s->length - GRAM + 1;
    size_t from = 0;
    uint64_t score = 0;

    for (size_t i = 0; i < grams; i++) {
        const struct gram *g = at_gram[s->at + i];

        if (!g) {
            from = i + 1;
            score = 0;
            continue;
        }
        score += g->messages;
        if (i - from + GRAM > SEGMENT_MAX)
            score -= at_gram[s->at + from++]->messages;
        if (score > best->score)
            *best = (struct segment){ .at = s->at + from, .length = i - from + GRAM, .score = score };
    }
}

/* Grams already in the dictionary are worth nothing more; a segment loses those at its ends. */
static void trim(struct gram *const *at_gram, struct segment *s)
{
    while (s->length > SEGMENT_MIN && at_gram[s->at]->messages == 0) {
        s->at++;
        s->length--;
    }
    while (s->length > SEGMENT_MIN && at_gram[s->at + s->length - GRAM]->messages == 0)
        s->length--;
}

static size_t train(const struct corpus *c, bool hold, uint8_t *dictionary)
{
    struct gram *grams = calloc(SLOTS, sizeof *grams);
    struct gram **at_gram = calloc(c->length, sizeof *at_gram);
    size_t left = PACK_DICTIONARY_BYTES_MAX;

    if (!grams || !at_gram)
        fail("out of memory");
    count_grams(c, grams, hold);
    for (size_t i = 0; i < c->count; i++) {
        const struct sample *s = &c->samples[i];

        for (size_t at = s->at; !is_held_out(s, hold) && at + GRAM <= s->at + s->length; at++) {
            struct gram *gram = has_own(c, at) ? NULL : gram_of(grams, key_at(c, at));

            at_gram[at] = gram && gram->customers >= CUSTOMERS_MIN ? gram : NULL;
        }
    }
    /* The best go to the end: nearest to what is packed, and the last to leave LZ4's window. */
    while (left >= SEGMENT_MIN) {
        struct segment best = { 0 };

        for (size_t i = 0; i < c->count; i++) {
            if (!is_held_out(&c->samples[i], hold))
                best_segment(&c->samples[i], at_gram, &best);
        }
        if (best.score == 0)
            break;
        trim(at_gram, &best);
        if (best.length > left)
            best.length = left;
        left -= best.length;
        memcpy(dictionary + left, c->bytes + best.at, best.length);
        for (size_t i = 0; i + GRAM <= best.length; i++)
            at_gram[best.at + i]->messages = 0;
        if (best.length < GRAM)
            break;
    }
    memmove(dictionary, dictionary + left, PACK_DICTIONARY_BYTES_MAX - left);
    free(at_gram);
    free(grams);
    return PACK_DICTIONARY_BYTES_MAX - left;
}

static size_t packed_size(LZ4_streamHC_t *stream, const uint8_t *dictionary, size_t size, struct slice plain)
{
    static char room[1u << 22];
    int length;

    LZ4_resetStreamHC_fast(stream, 9);
    LZ4_loadDictHC(stream, (const char *)dictionary, (int)size);
    length = LZ4_compress_HC_continue(stream, (const char *)plain.at, room, (int)plain.length, sizeof room);
    if (length <= 0 || (size_t)length + varint_size(plain.length) > plain.length)
        return plain.length + 1;
    return 1 + varint_size(plain.length) + (size_t)length;
}

/* What the dictionary does to the samples that it was not made of (hold), or to all. */
static void report(const struct corpus *c, bool hold, const uint8_t *dictionary, size_t size)
{
    static uint8_t batch[1u << 22];
    LZ4_streamHC_t *stream = LZ4_createStreamHC();
    size_t count = 0, json = 0, tagged = 0, packed = 0, batch_length = 0, batched = 0, batches = 0;

    if (!stream)
        fail("out of memory");
    for (size_t i = 0; i < c->count; i++) {
        const struct sample *s = &c->samples[i];

        if (hold && !is_held_out(s, hold))
            continue;
        json += s->json;
        tagged += s->tagged;
        packed += packed_size(stream, dictionary, size, slice_of(c->bytes + s->at, s->length));
        memcpy(batch + batch_length, c->bytes + s->at, s->length);
        batch_length += s->length;
        if (++count % BATCH == 0) {
            batched += packed_size(stream, dictionary, size, slice_of(batch, batch_length));
            batch_length = 0;
            batches++;
        }
    }
    LZ4_freeStreamHC(stream);
    if (count == 0 || batches == 0)
        return;
    printf("%s: %zu messages; bytes each: JSON %.1f, tagged %.1f, item packed %.1f, packed by %u %.1f\n",
           hold ? "held out" : "all", count, (double)json / (double)count, (double)tagged / (double)count,
           (double)packed / (double)count, BATCH, (double)batched / (double)(batches * BATCH));
}

int main(int argc, char **argv)
{
    static uint8_t dictionary[PACK_DICTIONARY_BYTES_MAX];
    const char *corpus = argc > 1 ? argv[1] : getenv("CORPUS");
    const char *out = argc > 2 ? argv[2] : "build/dictionary.bin";
    struct corpus c = read_corpus(corpus && *corpus ? corpus : "tests/fixtures/corpus.jsonl.gz");
    size_t size = train(&c, true, dictionary);
    FILE *file;

    report(&c, true, dictionary, size);
    size = train(&c, false, dictionary);
    report(&c, false, dictionary, size);
    file = fopen(out, "wb");
    if (!file || fwrite(dictionary, 1, size, file) != size || fclose(file) != 0)
        fail("the dictionary cannot be written");
    printf("%s: %zu bytes\n", out, size);
    free(c.samples);
    free(c.bytes);
    free(c.own);
    return 0;
}
