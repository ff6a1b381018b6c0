/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of a Graph request, checked against tables. Only the graph files of this folder include this. A
 * value of null counts as absent; fields no table names pass. Every refusal names the field's path and says
 * what would be right. */
#ifndef ZAJEL_KIT_GRAPH_FIELD_H
#define ZAJEL_KIT_GRAPH_FIELD_H

#include "sync/kit/graph.h"

enum graph_form {
    GRAPH_FORM_STRING,
    GRAPH_FORM_ID,     /* A string, or a whole number as some clients write it. */
    GRAPH_FORM_NUMBER, /* A number, or a string that reads as one. */
    GRAPH_FORM_BOOL,
    GRAPH_FORM_OBJECT,
    GRAPH_FORM_ARRAY /* Of objects. */
};

/* Where a value stands: a chain of the callers' own frames. */
struct graph_place {
    const struct graph_place *within; /* NULL: the request itself. */
    const char *name;                 /* NULL: element `index` of an array. */
    size_t index;
};

/* What a table cannot say of a value: told after the table's own checks have passed. */
typedef int graph_field_rule(const struct json *value, const struct graph_place *place,
                             struct graph_error *error);

struct graph_field {
    const char *name; /* NULL ends a table. */
    enum graph_form form;
    bool required;
    bool empty_is_fine; /* Strings and arrays. */
    size_t most;        /* Characters (Unicode code points) of a string, elements of an array; 0: no limit. */
    const char *choices;              /* A string that must be one of these: "a|b". */
    graph_field_rule *rule;           /* Of the value, arrays as a whole; or NULL. */
    const struct graph_field *fields; /* Of the object, or of each element; or NULL. */
};

/* Checks the fields of object. STATUS_INVALID fills *error. */
int graph_field_check(const struct json *object, const struct graph_place *place,
                      const struct graph_field *fields, struct graph_error *error);

/* Refusals for rules; each returns STATUS_INVALID. format goes behind "PATH: ". */
int graph_field_missing(const struct graph_place *place, struct graph_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4))); /* 131008 */
int graph_field_wrong(const struct graph_place *place, struct graph_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4))); /* 131009 */
int graph_field_invalid(const struct graph_place *place, struct graph_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4))); /* 100 */
int graph_field_mismatched(const struct graph_place *place, struct graph_error *error, const char *format,
                           ...) __attribute__((format(printf, 3, 4))); /* 132012 */

bool graph_field_is_there(const struct json *object, const char *name); /* And is not null. */
size_t graph_field_characters(struct slice utf8);
/* Case aside: the Graph API takes "BODY" for "body". */
bool graph_field_is(const struct json *value, const char *word);

/* Rules and tables that several types share. */
int graph_field_url(const struct json *value, const struct graph_place *place, struct graph_error *error);
extern const struct graph_field graph_field_media[]; /* {id | link} */
graph_field_rule graph_field_one_source;             /* Exactly one of id and link. */
extern const struct graph_field graph_field_location[];

#endif
