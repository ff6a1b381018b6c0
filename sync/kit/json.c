/* SPDX-License-Identifier: Apache-2.0 */

/* The library has some names that are ours too. Here its types go by others, and its functions json_integer,
 * json_real, json_string, json_equal and json_copy are not to be had: nothing below needs them. */
#define json_type jansson_type
#define json_string jansson_string
#define json_integer jansson_integer
#define json_real jansson_real
#define json_equal jansson_equal
#define json_copy jansson_copy
#define JSON_NULL JANSSON_NULL
#define JSON_FALSE JANSSON_FALSE
#define JSON_TRUE JANSSON_TRUE
#define JSON_INTEGER JANSSON_INTEGER
#define JSON_REAL JANSSON_REAL
#define JSON_STRING JANSSON_STRING
#define JSON_ARRAY JANSSON_ARRAY
#define JSON_OBJECT JANSSON_OBJECT
#include <jansson.h>
#undef json_type
#undef json_string
#undef json_integer
#undef json_real
#undef json_equal
#undef json_copy
#undef json_is_string
#undef JSON_NULL
#undef JSON_FALSE
#undef JSON_TRUE
#undef JSON_INTEGER
#undef JSON_REAL
#undef JSON_STRING
#undef JSON_ARRAY
#undef JSON_OBJECT

#include "sync/kit/json.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sync/protocol/status.h"
#include "sync/protocol/tagged.h"
#include "sync/protocol/utf8.h"

_Static_assert(JSON_DEPTH_MAX == TAGGED_DEPTH_MAX, "what can be read can be sent");

/* --- Memory --- */

static void *(*memory_give)(size_t) = malloc;
static void (*memory_take)(void *) = free;

/* The library's scanner goes on when the room for a token cannot grow, and then runs past its end. So the
 * first allocation that fails while parsing gets this spare instead, no more text is fed, and the parsing
 * counts as failed. */
static _Thread_local struct {
    void *at;
    size_t room;
    bool used;
} spare;

static void *json_memory_give(size_t length)
{
    void *at = memory_give(length);

    if (at || !spare.at || spare.used)
        return at;
    spare.used = true;
    return length <= spare.room ? spare.at : NULL;
}

static void json_memory_take(void *at)
{
    if (!at || at != spare.at)
        memory_take(at);
}

__attribute__((constructor)) static void json_memory_start(void)
{
    json_set_alloc_funcs(json_memory_give, json_memory_take);
}

void json_set_memory(void *(*give)(size_t), void (*take)(void *))
{
    memory_give = give;
    memory_take = take;
}

/* --- Reading --- */

static json_t *in(const struct json *v)
{
    return (json_t *)(uintptr_t)v;
}

static struct json *out_of(json_t *v)
{
    return (struct json *)v;
}

/* The depth is known before the library's recursion begins. In text that is no JSON it may be any number. */
static bool json_is_too_deep(struct slice text, size_t *offset)
{
    size_t depth = 0;
    bool quoted = false;

    for (size_t i = 0; i < text.length; i++) {
        uint8_t c = text.at[i];

        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '[' || c == '{') && ++depth > JSON_DEPTH_MAX) {
            *offset = i;
            return true;
        } else if (!quoted && (c == ']' || c == '}') && depth > 0)
            depth--;
    }
    return false;
}

/* One byte at a time, so that nothing is read after the spare was used. */
static size_t json_feed(void *buffer, size_t room, void *data)
{
    struct slice *left = data;

    if (room == 0 || left->length == 0 || spare.used)
        return 0;
    memcpy(buffer, left->at, 1);
    *left = slice_of(left->at + 1, left->length - 1);
    return 1;
}

static int json_place(struct slice text, size_t offset, const char *what, struct json_error *error)
{
    if (!error)
        return STATUS_INVALID;
    *error = (struct json_error){ .line = 1, .column = 1, .offset = offset };
    for (size_t i = 0; i < offset && i < text.length; i++) {
        error->column = text.at[i] == '\n' ? 1 : error->column + 1;
        error->line += text.at[i] == '\n';
    }
    strncpy(error->text, what, sizeof error->text - 1);
    return STATUS_INVALID;
}

int json_parse(struct slice text, struct json **out, struct json_error *error)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    struct slice left = text;
    json_error_t why = { 0 };
    json_t *root;
    char *near;
    bool failed;
    size_t offset;

    *out = NULL;
    if (json_is_too_deep(text, &offset))
        return json_place(text, offset, "nested too deeply (64 levels are allowed)", error);
    /* The room for a token doubles from 16 bytes: it is never more than this. */
    spare.room = 2 * text.length + 64;
    spare.used = false;
    spare.at = memory_give(spare.room);
    if (!spare.at)
        return STATUS_NO_MEMORY;
    root = json_load_callback(json_feed, &left, flags, &why);
    failed = spare.used;
    if (failed)
        json_decref(root);
    memory_take(spare.at);
    spare.at = NULL;
    if (failed)
        return STATUS_NO_MEMORY;
    if (root) {
        *out = out_of(root);
        return STATUS_OK;
    }
    /* The library adds what it read there, which may be a customer's words. */
    near = strstr(why.text, " near ");
    if (near)
        *near = '\0';
    return json_place(text, why.position > 0 ? (size_t)why.position : 0, why.text, error);
}

void json_free(struct json *root)
{
    json_decref(in(root));
}

enum json_type json_type(const struct json *v)
{
    if (!v)
        return JSON_NULL;
    switch (json_typeof(in(v))) {
    case JANSSON_OBJECT: return JSON_OBJECT;
    case JANSSON_ARRAY: return JSON_ARRAY;
    case JANSSON_STRING: return JSON_STRING;
    case JANSSON_INTEGER: return JSON_INTEGER;
    case JANSSON_REAL: return JSON_REAL;
    case JANSSON_TRUE: return JSON_TRUE;
    case JANSSON_FALSE: return JSON_FALSE;
    case JANSSON_NULL: break;
    }
    return JSON_NULL;
}

struct json *json_get(const struct json *object, const char *key)
{
    return out_of(json_object_get(in(object), key));
}

/* The digits of a path's part as an index; SIZE_MAX when it is none. */
static size_t index_of(const char *at, size_t length)
{
    size_t index = 0;

    if (length == 0 || length > 9)
        return SIZE_MAX;
    for (size_t i = 0; i < length; i++) {
        if (at[i] < '0' || at[i] > '9')
            return SIZE_MAX;
        index = index * 10 + (size_t)(at[i] - '0');
    }
    return index;
}

struct json *json_path(const struct json *v, const char *path)
{
    json_t *at = in(v);

    for (;;) {
        size_t length = strcspn(path, ".");

        if (json_type(out_of(at)) == JSON_ARRAY)
            at = json_array_get(at, index_of(path, length));
        else
            at = json_object_getn(at, path, length);
        if (!at || path[length] == '\0')
            return out_of(at);
        path += length + 1;
    }
}

size_t json_count(const struct json *v)
{
    return json_type(v) == JSON_ARRAY ? json_array_size(in(v)) : json_object_size(in(v));
}

struct json *json_at(const struct json *array, size_t i)
{
    return out_of(json_array_get(in(array), i));
}

bool json_each(const struct json *object, void **walk, struct slice *key, struct json **value)
{
    *walk = *walk ? json_object_iter_next(in(object), *walk) : json_object_iter(in(object));
    if (!*walk)
        return false;
    *key = slice_of(json_object_iter_key(*walk), json_object_iter_key_len(*walk));
    *value = out_of(json_object_iter_value(*walk));
    return true;
}

bool json_is_string(const struct json *v)
{
    return json_type(v) == JSON_STRING;
}

struct slice json_string(const struct json *v)
{
    if (!json_is_string(v))
        return slice_of(NULL, 0);
    return slice_of(json_string_value(in(v)), json_string_length(in(v)));
}

int64_t json_integer(const struct json *v, int64_t otherwise)
{
    return json_type(v) == JSON_INTEGER ? json_integer_value(in(v)) : otherwise;
}

double json_real(const struct json *v, double otherwise)
{
    if (json_type(v) == JSON_INTEGER)
        return (double)json_integer_value(in(v));
    return json_type(v) == JSON_REAL ? json_real_value(in(v)) : otherwise;
}

bool json_bool(const struct json *v, bool otherwise)
{
    enum json_type type = json_type(v);

    return type == JSON_TRUE || (type != JSON_FALSE && otherwise);
}

static bool json_equal_arrays(const struct json *a, const struct json *b)
{
    for (size_t i = 0; i < json_count(a); i++)
        if (!json_equal(json_at(a, i), json_at(b, i)))
            return false;
    return true;
}

static bool json_equal_objects(const struct json *a, const struct json *b)
{
    struct json *value;
    struct slice key;
    void *walk = NULL;

    while (json_each(a, &walk, &key, &value)) {
        json_t *other = json_object_getn(in(b), (const char *)key.at, key.length);

        if (!other || !json_equal(value, out_of(other)))
            return false;
    }
    return true;
}

bool json_equal(const struct json *a, const struct json *b)
{
    if (json_type(a) != json_type(b) || json_count(a) != json_count(b))
        return false;
    switch (json_type(a)) {
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE: break;
    case JSON_INTEGER: return json_integer_value(in(a)) == json_integer_value(in(b));
    case JSON_REAL: return json_real_value(in(a)) == json_real_value(in(b));
    case JSON_STRING: return slice_equal(json_string(a), json_string(b));
    case JSON_ARRAY: return json_equal_arrays(a, b);
    case JSON_OBJECT: return json_equal_objects(a, b);
    }
    return true;
}

/* --- Making --- */

struct json *json_new_object(void)
{
    return out_of(json_object());
}

struct json *json_new_array(void)
{
    return out_of(json_array());
}

struct json *json_new_string(struct slice text)
{
    return out_of(json_stringn(text.at ? (const char *)text.at : "", text.length));
}

struct json *json_new_integer(int64_t value)
{
    return out_of(json_pack("I", (json_int_t)value));
}

struct json *json_new_real(double value)
{
    return isfinite(value) ? out_of(json_pack("f", value)) : NULL;
}

struct json *json_new_bool(bool value)
{
    return out_of(json_boolean(value));
}

struct json *json_new_null(void)
{
    return out_of(json_null());
}

struct json *json_copy(const struct json *v)
{
    return out_of(json_deep_copy(in(v)));
}

int json_set(struct json *object, const char *key, struct json *value)
{
    if (!object || !value) {
        json_free(value);
        return STATUS_NO_MEMORY;
    }
    if (json_type(object) != JSON_OBJECT) {
        json_free(value);
        return STATUS_INVALID;
    }
    if (json_object_set_new(in(object), key, in(value)) == 0)
        return STATUS_OK;
    return utf8_valid(slice_text(key)) ? STATUS_NO_MEMORY : STATUS_INVALID;
}

int json_add(struct json *array, struct json *value)
{
    if (array && value && json_type(array) != JSON_ARRAY) {
        json_free(value);
        return STATUS_INVALID;
    }
    /* The library frees the value when it fails, but not for want of an array. */
    if (!array) {
        json_free(value);
        return STATUS_NO_MEMORY;
    }
    return json_array_append_new(in(array), in(value)) == 0 ? STATUS_OK : STATUS_NO_MEMORY;
}

int json_remove(struct json *object, const char *key)
{
    return json_object_del(in(object), key) == 0 ? STATUS_OK : STATUS_END;
}

/* --- The tagged form --- */

static int tag_value(struct tagged_writer *w, const struct json *v);

static int tag_array(struct tagged_writer *w, const struct json *v)
{
    int status = tagged_put(w, &(struct token){ .kind = TOKEN_ARRAY });

    for (size_t i = 0; i < json_count(v) && status == STATUS_OK; i++)
        status = tag_value(w, json_at(v, i));
    return status == STATUS_OK ? tagged_put(w, &(struct token){ .kind = TOKEN_END }) : status;
}

static int tag_object(struct tagged_writer *w, const struct json *v)
{
    struct json *value;
    struct slice key;
    void *walk = NULL;
    int status = tagged_put(w, &(struct token){ .kind = TOKEN_OBJECT });

    while (status == STATUS_OK && json_each(v, &walk, &key, &value)) {
        status = tagged_put(w, &(struct token){ .kind = TOKEN_KEY, .text = key });
        if (status == STATUS_OK)
            status = tag_value(w, value);
    }
    return status == STATUS_OK ? tagged_put(w, &(struct token){ .kind = TOKEN_END }) : status;
}

static int tag_value(struct tagged_writer *w, const struct json *v)
{
    struct token token = { .kind = TOKEN_NULL };

    switch (json_type(v)) {
    case JSON_NULL: break;
    case JSON_FALSE: token.kind = TOKEN_FALSE; break;
    case JSON_TRUE: token.kind = TOKEN_TRUE; break;
    case JSON_INTEGER:
        token.kind = TOKEN_INTEGER;
        token.integer = json_integer(v, 0);
        break;
    case JSON_REAL:
        token.kind = TOKEN_REAL;
        token.real = json_real(v, 0);
        break;
    case JSON_STRING:
        token.kind = TOKEN_STRING;
        token.text = json_string(v);
        break;
    case JSON_ARRAY: return tag_array(w, v);
    case JSON_OBJECT: return tag_object(w, v);
    }
    return tagged_put(w, &token);
}

int json_to_tagged(const struct json *v, uint8_t *room, size_t room_length, struct slice *out)
{
    struct tagged_writer w = tagged_writer_of(room, room_length);
    int status = tag_value(&w, v);

    return status == STATUS_OK ? tagged_finish(&w, out) : status;
}

/* The next token; the end of the stream inside a value is the peer's mistake. */
static int untag_next(struct tagged_reader *r, struct token *token)
{
    int status = tagged_next(r, token);

    return status == STATUS_END ? STATUS_PEER_MALFORMED : status;
}

static int untag_made(json_t *made, json_t **out)
{
    *out = made;
    return made ? STATUS_OK : STATUS_NO_MEMORY;
}

static int untag_string(struct slice text, json_t **out)
{
    const char *at = text.at ? (const char *)text.at : "";

    if (!utf8_valid(text))
        return STATUS_PEER_MALFORMED;
    return untag_made(json_stringn_nocheck(at, text.length), out);
}

static int untag_value(struct tagged_reader *r, const struct token *token, json_t **out);

static int untag_array(struct tagged_reader *r, json_t *array)
{
    struct token token;
    json_t *value;
    int status;

    while ((status = untag_next(r, &token)) == STATUS_OK && token.kind != TOKEN_END) {
        if ((status = untag_value(r, &token, &value)) != STATUS_OK)
            return status;
        if (json_array_append_new(array, value) != 0)
            return STATUS_NO_MEMORY;
    }
    return status;
}

/* One pair, of which the key is at hand; its text ends with the next token and so is kept. */
static int untag_pair(struct tagged_reader *r, const struct token *key, json_t *object)
{
    struct token token;
    json_t *name = NULL, *value;
    int status;

    if (key->kind != TOKEN_KEY || (key->text.length && memchr(key->text.at, '\0', key->text.length)))
        return STATUS_PEER_MALFORMED;
    if ((status = untag_string(key->text, &name)) != STATUS_OK)
        return status;
    if (json_object_get(object, json_string_value(name)))
        status = STATUS_PEER_MALFORMED;
    else if ((status = untag_next(r, &token)) == STATUS_OK)
        status = untag_value(r, &token, &value);
    if (status == STATUS_OK && json_object_set_new_nocheck(object, json_string_value(name), value) != 0)
        status = STATUS_NO_MEMORY;
    json_decref(name);
    return status;
}

static int untag_object(struct tagged_reader *r, json_t *object)
{
    struct token token;
    int status;

    while ((status = untag_next(r, &token)) == STATUS_OK && token.kind != TOKEN_END)
        if ((status = untag_pair(r, &token, object)) != STATUS_OK)
            return status;
    return status;
}

/* The value that begins with token. Recurses as deep as the reader allows. On failure *out is NULL. */
static int untag_value(struct tagged_reader *r, const struct token *token, json_t **out)
{
    int status = STATUS_PEER_MALFORMED;

    *out = NULL;
    switch (token->kind) {
    case TOKEN_NULL: return untag_made(json_null(), out);
    case TOKEN_TRUE: return untag_made(json_true(), out);
    case TOKEN_FALSE: return untag_made(json_false(), out);
    case TOKEN_INTEGER: return untag_made(in(json_new_integer(token->integer)), out);
    case TOKEN_REAL: return untag_made(in(json_new_real(token->real)), out);
    case TOKEN_STRING: return untag_string(token->text, out);
    case TOKEN_ARRAY:
        if ((status = untag_made(json_array(), out)) == STATUS_OK)
            status = untag_array(r, *out);
        break;
    case TOKEN_OBJECT:
        if ((status = untag_made(json_object(), out)) == STATUS_OK)
            status = untag_object(r, *out);
        break;
    case TOKEN_KEY:
    case TOKEN_END: break;
    }
    if (status != STATUS_OK) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}

int json_from_tagged(struct slice tagged, struct json **out)
{
    struct tagged_reader r = tagged_reader_of(tagged);
    struct token token;
    json_t *root = NULL;
    int status = untag_next(&r, &token);

    *out = NULL;
    if (status == STATUS_OK)
        status = untag_value(&r, &token, &root);
    if (status == STATUS_OK && tagged_next(&r, &token) != STATUS_END)
        status = STATUS_PEER_MALFORMED;
    if (status != STATUS_OK) {
        json_decref(root);
        return status;
    }
    *out = out_of(root);
    return STATUS_OK;
}
