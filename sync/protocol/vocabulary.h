/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary of the tagged form: the Cloud API's own names, and the sequences in which they usually
 * follow each other. All of it is frozen: it is on the link and in stores. PROTOCOL.md, "Tagged JSON", says
 * how it is used. */
#ifndef ZAJEL_PROTOCOL_VOCABULARY_H
#define ZAJEL_PROTOCOL_VOCABULARY_H

#include "sync/protocol/bytes.h"

enum vocabulary_table { VOCABULARY_KEYS, VOCABULARY_MORE_KEYS, VOCABULARY_VALUES, VOCABULARY_MORE_VALUES };

#define VOCABULARY_KEYS_MAX 96u
#define VOCABULARY_VALUES_MAX 160u

/* Phrases are bytes that stand where a key may stand. */
#define VOCABULARY_PHRASE_FIRST 0x80
#define VOCABULARY_PHRASES_MAX 119u
#define VOCABULARY_PHRASE_BYTES_MAX 16u

/* The id of a word in a table, or -1. */
int vocabulary_find(enum vocabulary_table table, struct slice text);
/* The word of an id, for ever valid; false when the table has none. */
bool vocabulary_word(enum vocabulary_table table, size_t id, struct slice *out);

/* The phrase byte that means left followed by right, or -1. */
int vocabulary_phrase(uint8_t left, uint8_t right);
bool vocabulary_is_phrase(uint8_t byte);
/* The simple bytes of a phrase, first to last; returns how many. */
size_t vocabulary_expand(uint8_t phrase, uint8_t out[VOCABULARY_PHRASE_BYTES_MAX]);

#endif
