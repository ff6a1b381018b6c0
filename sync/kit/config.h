/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration: INI files against a table of keys. Every error names file, line, key, and what would be
 * right. */
#ifndef ZAJEL_KIT_CONFIG_H
#define ZAJEL_KIT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_type {
    CONFIG_TEXT,
    CONFIG_NUMBER,  /* Whole, between least and most. */
    CONFIG_BOOL,    /* yes, no, true, false, on, off, 1, 0 */
    CONFIG_PATH,    /* Made absolute against the file's folder. */
    CONFIG_ADDRESS, /* HOST:PORT, [V6]:PORT; or off where fallback is "off". */
    CONFIG_CHOICE   /* One word of choices ("a|b|c"). */
};

struct config_key {
    const char *section; /* "api"; or "template *": sections with a name, [template otp_login]. */
    const char *key;     /* "listen"; or "prefix_*": keys with a free ending. */
    enum config_type type;
    const char *fallback; /* The documented default in the file's own form; NULL: none. */
    bool required;        /* In a section with a name: required once that section is there. */
    int64_t least, most;  /* CONFIG_NUMBER */
    const char *choices;  /* CONFIG_CHOICE */
    const char *help;     /* One sentence for the manual. */
};

struct text;
/* The manual of a table, in Markdown: a table for each section with key, value, default and help. */
void config_reference(const struct config_key *keys, size_t key_count, struct text *out);

struct config;

struct config_error {
    char text[512]; /* "relay.conf:12: [api] listen: \"80\" is not HOST:PORT, for example 127.0.0.1:8080" */
};

/* keys must outlive the config. STATUS_INVALID: *error says what; STATUS_IO, STATUS_NO_MEMORY (also told in
 * *error). */
int config_load(struct config **out, const char *path, const struct config_key *keys, size_t key_count,
                struct config_error *error);
void config_free(struct config *c); /* NULL is fine. */

/* section as written: "api", "template otp_login". NULL when not set and without a fallback. Borrowed from c.
 */
const char *config_text(const struct config *c, const char *section, const char *key);
int64_t config_number(const struct config *c, const char *section, const char *key); /* Must have a value. */
bool config_bool(const struct config *c, const char *section, const char *key);
bool config_is_set(const struct config *c, const char *section,
                   const char *key); /* By the file, not by the fallback. */
/* Line of the file that set it, 0 for a fallback. For errors found later. */
unsigned config_line(const struct config *c, const char *section, const char *key);
/* The name of the i-th section "KIND name" in file order ("template", 0 -> "otp_login"); NULL after the last.
 */
const char *config_section_name(const struct config *c, const char *kind, size_t i);
/* The i-th key of section that matches a pattern key "prefix_*": its ending, and its value; NULL after the
 * last. */
const char *config_key_ending(const struct config *c, const char *section, const char *pattern, size_t i,
                              const char **value);
/* Fills *error in the form of config_load for a value found wrong by the program itself. Returns
 * STATUS_INVALID. */
int config_complain(const struct config *c, const char *section, const char *key, const char *what,
                    struct config_error *error);

/* Splits HOST:PORT. host gets the part without brackets. STATUS_INVALID. Port 0 is allowed: any free one. */
int config_address(const char *text, char host[256], uint16_t *port);
bool config_is_loopback(const char *host); /* 127.0.0.0/8, ::1, localhost */

#endif
