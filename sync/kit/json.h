/* SPDX-License-Identifier: Apache-2.0 */
/* JSON trees. Strict reading: duplicate keys, bad UTF-8, NaN, numbers beyond int64 or double are refused. */
#ifndef ZAJEL_KIT_JSON_H
#define ZAJEL_KIT_JSON_H

#include "sync/kit/text.h"

/* The library below exports functions of these names, and calls them itself: for the linker ours have others.
 */
#define json_string kit_json_string
#define json_integer kit_json_integer
#define json_real kit_json_real
#define json_equal kit_json_equal
#define json_copy kit_json_copy

/* Arrays and objects in each other: WhatsApp's own bodies stay under 16. As the tagged form allows. */
#define JSON_DEPTH_MAX 64u

/* A value of a tree. A tree is owned through its root and freed by json_free; inner values are borrowed from
 * it. */
struct json;

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_INTEGER,
    JSON_REAL,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json_error {
    size_t line, column, offset;
    char text[160]; /* What is wrong, for people. Never a part of the text that was read. */
};

/* Any JSON value, and nothing after it. STATUS_INVALID with *error (may be NULL), STATUS_NO_MEMORY. Depth at
 * most JSON_DEPTH_MAX. Refused besides: halves of surrogate pairs, and NUL in a key (in strings it is
 * allowed). The order of keys is kept. 1e-400 is 0.0. */
int json_parse(struct slice text, struct json **out, struct json_error *error);
void json_free(struct json *root); /* NULL is fine. */

enum json_type json_type(const struct json *v);                    /* NULL counts as JSON_NULL */
struct json *json_get(const struct json *object, const char *key); /* NULL: not there, or no object. */
struct json *json_path(const struct json *v,
                       const char *path); /* "entry.0.changes.0.value"; NULL: not there. */
size_t json_count(const struct json *v);  /* Elements or keys; 0 for others. */
struct json *json_at(const struct json *array, size_t i);
/* Walks an object: start with *walk = NULL; false after the last. */
bool json_each(const struct json *object, void **walk, struct slice *key, struct json **value);

bool json_is_string(const struct json *v);
struct slice json_string(
    const struct json *v); /* Empty slice when it is no string. Ends in a NUL beyond its length. */
int64_t json_integer(const struct json *v, int64_t otherwise);
double json_real(const struct json *v, double otherwise); /* An integer too, rounded. */
bool json_bool(const struct json *v, bool otherwise);
bool json_equal(const struct json *a, const struct json *b); /* Key order aside. 1 and 1.0 differ. */

/* Making. Each returns a new tree, or NULL when out of memory (or the text is no UTF-8, the real not finite).
 */
struct json *json_new_object(void);
struct json *json_new_array(void);
struct json *json_new_string(struct slice text);
struct json *json_new_integer(int64_t value);
struct json *json_new_real(double value);
struct json *json_new_bool(bool value);
struct json *json_new_null(void);
struct json *json_copy(const struct json *v); /* Deep. */
/* value (its root) moves into the object or array, and is freed when that fails. STATUS_NO_MEMORY also when
 * either is NULL, so that the result of json_new_... need not be asked twice. STATUS_INVALID: no object, no
 * array, or key is no UTF-8. */
int json_set(struct json *object, const char *key, struct json *value); /* Replaces in place. */
int json_add(struct json *array, struct json *value);
int json_remove(struct json *object, const char *key); /* STATUS_END: was not there. */

/* Compact pure ASCII: everything beyond 0x7e as lower-case \uXXXX, '/' as it is: the one form every verifier
 * of webhook signatures accepts (clients.md). STATUS_NO_MEMORY */
int json_write_ascii(const struct json *v, struct text *out);
int json_write(const struct json *v, struct text *out); /* Compact UTF-8. */

/* To and from the tagged form. STATUS_TOO_LARGE: room, or deeper than JSON_DEPTH_MAX. *out lies in room. */
int json_to_tagged(const struct json *v, uint8_t *room, size_t room_length, struct slice *out);
/* STATUS_PEER_MALFORMED: no tagged value, or what json_parse would refuse too. STATUS_NO_MEMORY */
int json_from_tagged(struct slice tagged, struct json **out);

/* Where the memory of trees comes from: malloc and free, until a test lets an allocation fail. */
void json_set_memory(void *(*give)(size_t), void (*take)(void *));

#endif
