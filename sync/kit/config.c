/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/config.h"

#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/kit/file.h"
#include "sync/protocol/status.h"

enum {
    FILE_BYTES_MAX = 1 << 20, /* Ten thousand branches with two lines each are half of it. */
    LINE_BYTES_MAX = 190,     /* The INI library cuts lines of 200, silently. */
    NAME_BYTES_MAX = 48       /* It cuts the names of sections and keys at 49, silently. */
};

/* One line of the file. */
struct setting {
    char *key, *value;
    unsigned line;
};

struct section {
    char *name; /* As written: "template otp_login". */
    unsigned line;
    struct setting *settings;
    size_t count;
};

struct config {
    char *path;
    char *folder;
    const struct config_key *keys;
    size_t key_count;
    struct section *sections;
    size_t section_count;
    char **fallback_paths; /* Defaults of the type CONFIG_PATH, made absolute; by the index of the key. */
};

/* What one reading of a file needs. */
struct reading {
    struct config *c;
    struct config_error *error;
    const char *left; /* What was not yet given to the library. */
    unsigned line;
    int status;
};

/* --- Complaints --- */

static int complain(struct config_error *error, const char *path, unsigned line, const char *section,
                    const char *key, const char *format, ...) __attribute__((format(printf, 6, 7)));

/* "FILE:LINE: [SECTION] KEY: WHAT", each part where there is one. */
static int complain(struct config_error *error, const char *path, unsigned line, const char *section,
                    const char *key, const char *format, ...)
{
    char *at = error->text;
    size_t room = sizeof error->text;
    int n = line ? snprintf(at, room, "%s:%u: ", path, line) : snprintf(at, room, "%s: ", path);
    va_list list;

    n = n < (int)room ? n : (int)room - 1;
    if (section && *section)
        n += snprintf(at + n, room - (size_t)n, key ? "[%.64s] " : "[%.64s]: ", section);
    n = n < (int)room ? n : (int)room - 1;
    if (key)
        n += snprintf(at + n, room - (size_t)n, "%.64s: ", key);
    n = n < (int)room ? n : (int)room - 1;
    va_start(list, format);
    vsnprintf(at + n, room - (size_t)n, format, list);
    va_end(list);
    return STATUS_INVALID;
}

static int reading_no_memory(struct reading *r)
{
    complain(r->error, r->c->path, 0, NULL, NULL, "out of memory");
    r->status = STATUS_NO_MEMORY;
    return STATUS_NO_MEMORY;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many letters must change, come or go between two words (Levenshtein). */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_BYTES_MAX + 1], length = strlen(b);

    if (length > NAME_BYTES_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t corner = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < length; j++) {
            size_t above = row[j + 1];

            row[j + 1] = smaller(smaller(above, row[j]) + 1, corner + (a[i] != b[j]));
            corner = above;
        }
    }
    return row[length];
}

/* " (did you mean X?)" for the nearest word if it is near; else "". */
struct guess {
    const char *word;
    size_t distance;
    char text[80];
};

static void guess_try(struct guess *g, const char *written, const char *word)
{
    char first[NAME_BYTES_MAX + 1];
    const char *star = strstr(word, " *");
    size_t d;

    /* Of a section with a name of its own, only the first word can be mistaken. */
    snprintf(first, sizeof first, "%.*s", star ? (int)strcspn(written, " ") : NAME_BYTES_MAX, written);
    if (star) {
        char kind[NAME_BYTES_MAX + 1];

        snprintf(kind, sizeof kind, "%.*s", (int)(star - word), word);
        d = distance(first, kind);
    } else {
        d = distance(first, word);
    }
    if (d > 2 || d >= strlen(word) || (g->word && d >= g->distance))
        return;
    g->word = word;
    g->distance = d;
    if (star)
        snprintf(g->text, sizeof g->text, " (did you mean %.*s NAME?)", (int)(star - word), word);
    else
        snprintf(g->text, sizeof g->text, " (did you mean %.48s?)", word);
}

/* --- The table --- */

/* "prefix_*" matches "prefix_254"; the ending is at least one byte. */
static bool matches(const char *pattern, const char *name)
{
    size_t length = strlen(pattern);

    if (length > 0 && pattern[length - 1] == '*')
        return strncmp(pattern, name, length - 1) == 0 && name[length - 1] != '\0';
    return strcmp(pattern, name) == 0;
}

static const struct config_key *key_find(const struct config *c, const char *section, const char *key)
{
    for (size_t i = 0; i < c->key_count; i++)
        if (matches(c->keys[i].section, section) && matches(c->keys[i].key, key))
            return &c->keys[i];
    return NULL;
}

static bool section_is_known(const struct config *c, const char *section)
{
    for (size_t i = 0; i < c->key_count; i++)
        if (matches(c->keys[i].section, section))
            return true;
    return false;
}

static struct section *section_find(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->section_count; i++)
        if (strcmp(c->sections[i].name, name) == 0)
            return &c->sections[i];
    return NULL;
}

/* NULL as a section has no settings. */
static const struct setting *setting_find(const struct section *s, const char *key)
{
    for (size_t i = 0; s && i < s->count; i++)
        if (strcmp(s->settings[i].key, key) == 0)
            return &s->settings[i];
    return NULL;
}

/* --- Values --- */

static bool number_of(const char *text, int64_t *out)
{
    char *end;
    long long value;

    if (text[0] == '\0' || !strchr("-0123456789", text[0]))
        return false;
    errno = 0;
    value = strtoll(text, &end, 10);
    *out = value;
    return errno == 0 && *end == '\0' && end != text;
}

static bool bool_of(const char *text, bool *out)
{
    static const char *const words[][2] = {
        { "no", "yes" }, { "false", "true" }, { "off", "on" }, { "0", "1" }
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        for (int value = 0; value <= 1; value++)
            if (strcasecmp(text, words[i][value]) == 0) {
                *out = value;
                return true;
            }
    return false;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);

    for (const char *at = choices; *at;) {
        size_t word = strcspn(at, "|");

        if (word == length && memcmp(at, text, word) == 0)
            return true;
        at += word + (at[word] == '|');
    }
    return false;
}

/* NULL when value is right, else what is wrong with it, in room. */
static const char *value_wrong(const struct config_key *k, const char *value, char room[320])
{
    char host[256];
    uint16_t port;
    int64_t number;
    bool flag;
    bool may_be_off = k->fallback && strcmp(k->fallback, "off") == 0;

    switch (k->type) {
    case CONFIG_TEXT:
    case CONFIG_PATH:
        if (*value)
            return NULL;
        snprintf(room, 320, "has no value");
        return room;
    case CONFIG_NUMBER:
        if (number_of(value, &number) && number >= k->least && number <= k->most)
            return NULL;
        snprintf(room, 320, "\"%.100s\" is not a whole number from %lld to %lld", value, (long long)k->least,
                 (long long)k->most);
        return room;
    case CONFIG_BOOL:
        if (bool_of(value, &flag))
            return NULL;
        snprintf(room, 320, "\"%.100s\" is neither yes nor no", value);
        return room;
    case CONFIG_ADDRESS:
        if ((may_be_off && strcmp(value, "off") == 0) || config_address(value, host, &port) == STATUS_OK)
            return NULL;
        snprintf(room, 320, "\"%.100s\" is not HOST:PORT, for example 127.0.0.1:8080%s", value,
                 may_be_off ? ", nor off" : "");
        return room;
    case CONFIG_CHOICE:
        if (is_choice(k->choices, value))
            return NULL;
        snprintf(room, 320, "\"%.100s\" is none of %.150s", value, k->choices);
        return room;
    }
    return NULL;
}

/* --- Reading --- */

static int section_begin(struct reading *r, const char *name)
{
    struct config *c = r->c;
    struct section *had = section_find(c, name), *more;
    struct guess guess = { 0 };

    if (had)
        return complain(r->error, c->path, r->line, name, NULL,
                        "this section is there already, in line %u: put its keys together", had->line);
    if (!section_is_known(c, name)) {
        for (size_t i = 0; i < c->key_count; i++)
            guess_try(&guess, name, c->keys[i].section);
        return complain(r->error, c->path, r->line, name, NULL, "there is no such section%s", guess.text);
    }
    more = realloc(c->sections, (c->section_count + 1) * sizeof *more);
    if (!more)
        return reading_no_memory(r);
    c->sections = more;
    more[c->section_count] = (struct section){ .name = strdup(name), .line = r->line };
    if (!more[c->section_count].name)
        return reading_no_memory(r);
    c->section_count++;
    return STATUS_OK;
}

/* The section that is being read is the last one. */
static int setting_check(struct reading *r, const char *section, const char *key, const char *value)
{
    struct config *c = r->c;
    const struct config_key *k = key_find(c, section, key);
    const struct setting *had = setting_find(&c->sections[c->section_count - 1], key);
    struct guess guess = { 0 };
    char room[320];
    const char *wrong;

    if (!k) {
        for (size_t i = 0; i < c->key_count; i++)
            if (matches(c->keys[i].section, section))
                guess_try(&guess, key, c->keys[i].key);
        return complain(r->error, c->path, r->line, section, key, "there is no such key in this section%s",
                        guess.text);
    }
    if (had)
        return complain(r->error, c->path, r->line, section, key, "is set already, in line %u", had->line);
    wrong = value_wrong(k, value, room);
    return wrong ? complain(r->error, c->path, r->line, section, key, "%s", wrong) : STATUS_OK;
}

static int setting_add(struct reading *r, const char *section, const char *key, const char *value)
{
    struct section *s = &r->c->sections[r->c->section_count - 1];
    struct setting *more = realloc(s->settings, (s->count + 1) * sizeof *more), *made;
    const struct config_key *k = key_find(r->c, section, key);

    if (!more)
        return reading_no_memory(r);
    s->settings = more;
    made = &more[s->count];
    *made = (struct setting){ .key = strdup(key), .line = r->line };
    made->value = k->type == CONFIG_PATH ? file_join(r->c->folder, value) : strdup(value);
    if (!made->key || !made->value) {
        free(made->key);
        free(made->value);
        return reading_no_memory(r);
    }
    s->count++;
    return STATUS_OK;
}

/* Called by the library for each "key = value". Its answer means "go on". */
static int reading_take(void *user, const char *section, const char *key, const char *value)
{
    struct reading *r = user;

    assert(r->status != STATUS_OK || !*section || r->c->section_count > 0);
    if (r->status == STATUS_OK && !*section)
        r->status = complain(r->error, r->c->path, r->line, NULL, key, "stands before the first [section]");
    if (r->status == STATUS_OK)
        r->status = setting_check(r, section, key, value);
    if (r->status == STATUS_OK)
        r->status = setting_add(r, section, key, value);
    return r->status == STATUS_OK;
}

/* A line "[name]", with perhaps a comment after it. */
static int reading_heading(struct reading *r, const char *line, size_t length)
{
    const char *end = memchr(line, ']', length);
    char name[LINE_BYTES_MAX + 1];
    const char *after;

    if (!end)
        return complain(r->error, r->c->path, r->line, NULL, NULL,
                        "a section begins as [name]: the ] is missing");
    for (after = end + 1; after < line + length && (*after == ' ' || *after == '\t'); after++)
        continue;
    if (after < line + length && *after != ';' && *after != '#')
        return complain(r->error, r->c->path, r->line, NULL, NULL,
                        "after [section] only a comment may follow: put the key on a line of its own");
    snprintf(name, sizeof name, "%.*s", (int)(end - line - 1), line + 1);
    if (end - line - 1 > NAME_BYTES_MAX)
        return complain(r->error, r->c->path, r->line, name, NULL,
                        "the name of a section has at most %d bytes", NAME_BYTES_MAX);
    return section_begin(r, name);
}

/* What the library would take wrongly without a word is refused before it sees it. */
static int reading_line(struct reading *r, const char *line, size_t length)
{
    const char *path = r->c->path;
    size_t blank = strspn(line, " \t"), key;

    if (length > LINE_BYTES_MAX)
        return complain(r->error, path, r->line, NULL, NULL, "the line has %zu bytes; at most %d are allowed",
                        length, LINE_BYTES_MAX);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < ' ' && line[i] != '\t')
            return complain(r->error, path, r->line, NULL, NULL, "byte %zu is the control character 0x%02x",
                            i + 1, (unsigned char)line[i]);
    if (blank >= length)
        return STATUS_OK;
    if (blank > 0)
        return complain(r->error, path, r->line, NULL, NULL,
                        "the line is indented: begin it in the first column");
    if (line[0] == ';' || line[0] == '#')
        return STATUS_OK;
    if (line[0] == '[')
        return reading_heading(r, line, length);
    key = strcspn(line, "=\n");
    if (key >= length)
        return complain(r->error, path, r->line, NULL, NULL,
                        "is neither \"key = value\" nor [section] nor a comment (; or #)");
    if (memchr(line, ':', key))
        return complain(r->error, path, r->line, NULL, NULL, "a key has no colon: write key = value");
    if (key > NAME_BYTES_MAX)
        return complain(r->error, path, r->line, NULL, NULL, "a key has at most %d bytes", NAME_BYTES_MAX);
    return STATUS_OK;
}

/* Gives the library its next line, in the manner of fgets. The line that is being read is then known by
 * number. */
static char *reading_give(char *out, int room, void *user)
{
    struct reading *r = user;
    size_t length = strcspn(r->left, "\n");
    bool ends = r->left[length] == '\n';
    size_t shown = length > 0 && r->left[length - 1] == '\r' ? length - 1 : length;

    if (r->status != STATUS_OK || *r->left == '\0')
        return NULL;
    r->line++;
    r->status = reading_line(r, r->left, shown);
    if (r->status != STATUS_OK)
        return NULL;
    assert(shown + 1 < (size_t)room);
    memcpy(out, r->left, shown);
    out[shown] = '\n';
    out[shown + 1] = '\0';
    r->left += length + ends;
    return out;
}

/* --- The whole --- */

/* What must be set and is not. */
static int required_check(const struct config *c, const struct config_key *k, const struct section *s,
                          struct config_error *error)
{
    if (setting_find(s, k->key))
        return STATUS_OK;
    return complain(error, c->path, s ? s->line : 0, s ? s->name : k->section, k->key, "is missing; %s",
                    k->help ? k->help : "it must be set");
}

static int config_check(const struct config *c, struct config_error *error)
{
    int status = STATUS_OK;

    for (size_t i = 0; i < c->key_count && status == STATUS_OK; i++) {
        const struct config_key *k = &c->keys[i];

        if (!k->required)
            continue;
        if (!strchr(k->section, '*'))
            status = required_check(c, k, section_find(c, k->section), error);
        for (size_t j = 0; strchr(k->section, '*') && j < c->section_count && status == STATUS_OK; j++)
            if (matches(k->section, c->sections[j].name))
                status = required_check(c, k, &c->sections[j], error);
    }
    return status;
}

/* The folder of path, without symbolic links. Caller frees. NULL: errno says why. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    char *real = folder ? realpath(folder, NULL) : NULL;

    free(folder);
    return real;
}

static int config_make(struct config **out, const char *path, const struct config_key *keys, size_t key_count)
{
    struct config *c = calloc(1, sizeof *c);

    *out = c;
    if (!c)
        return STATUS_NO_MEMORY;
    c->keys = keys;
    c->key_count = key_count;
    c->path = strdup(path);
    c->fallback_paths = calloc(key_count + 1, sizeof *c->fallback_paths);
    if (!c->path || !c->fallback_paths)
        return STATUS_NO_MEMORY;
    errno = 0;
    c->folder = folder_of(path);
    if (!c->folder)
        return errno == ENOMEM ? STATUS_NO_MEMORY : STATUS_IO;
    for (size_t i = 0; i < key_count; i++) {
        char room[320];

        /* Our own table is right. */
        assert(!keys[i].fallback || !*keys[i].fallback || !value_wrong(&keys[i], keys[i].fallback, room));
        if (keys[i].type != CONFIG_PATH || !keys[i].fallback)
            continue;
        c->fallback_paths[i] = file_join(c->folder, keys[i].fallback);
        if (!c->fallback_paths[i])
            return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

static int config_read(struct config *c, const char *text, struct config_error *error)
{
    struct reading r = { .c = c, .error = error, .left = text };
    int wrong_line;

    /* Editors of another system put this mark in front of UTF-8. */
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
        r.left += 3;
    wrong_line = ini_parse_stream(reading_give, &r, reading_take, &r);
    if (r.status != STATUS_OK)
        return r.status;
    if (wrong_line != 0)
        return complain(error, c->path, wrong_line > 0 ? (unsigned)wrong_line : 0, NULL, NULL,
                        "is neither \"key = value\" nor [section] nor a comment (; or #)");
    return config_check(c, error);
}

int config_load(struct config **out, const char *path, const struct config_key *keys, size_t key_count,
                struct config_error *error)
{
    struct config *c = NULL;
    struct text text = { 0 };
    int status = config_make(&c, path, keys, key_count);

    *out = NULL;
    *error = (struct config_error){ "" };
    if (status == STATUS_OK)
        status = file_read(path, FILE_BYTES_MAX, &text);
    if (status == STATUS_OK)
        text_add(&text, slice_of(NULL, 0));
    if (status == STATUS_OK && text.failed)
        status = STATUS_NO_MEMORY;
    if (status == STATUS_OK && strlen(text.at) != text.length)
        status = complain(error, path, 0, NULL, NULL, "holds a NUL byte: it is no text file");
    else if (status == STATUS_OK)
        status = config_read(c, text.at, error);
    else if (status == STATUS_NO_MEMORY)
        complain(error, path, 0, NULL, NULL, "out of memory");
    else if (status == STATUS_TOO_LARGE)
        status = complain(error, path, 0, NULL, NULL, "is larger than %d bytes", FILE_BYTES_MAX);
    else {
        complain(error, path, 0, NULL, NULL, "cannot be read: %s",
                 status == STATUS_END ? "there is no such file" : strerror(errno));
        status = STATUS_IO;
    }
    text_free(&text);
    if (status == STATUS_OK)
        *out = c;
    else
        config_free(c);
    return status;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->section_count; i++) {
        for (size_t j = 0; j < c->sections[i].count; j++) {
            free(c->sections[i].settings[j].key);
            free(c->sections[i].settings[j].value);
        }
        free(c->sections[i].settings);
        free(c->sections[i].name);
    }
    for (size_t i = 0; c->fallback_paths && i < c->key_count; i++)
        free(c->fallback_paths[i]);
    free(c->fallback_paths);
    free(c->sections);
    free(c->folder);
    free(c->path);
    free(c);
}

/* --- Asking --- */

const char *config_text(const struct config *c, const char *section, const char *key)
{
    const struct setting *set = setting_find(section_find(c, section), key);
    const struct config_key *k = key_find(c, section, key);

    assert(k); /* The program asks for what its table has. */
    if (set)
        return set->value;
    return k->type == CONFIG_PATH ? c->fallback_paths[k - c->keys] : k->fallback;
}

int64_t config_number(const struct config *c, const char *section, const char *key)
{
    const char *text = config_text(c, section, key);
    int64_t value = 0;
    bool read = text && number_of(text, &value);

    assert(read); /* Checked when it was loaded. */
    return value;
}

bool config_bool(const struct config *c, const char *section, const char *key)
{
    const char *text = config_text(c, section, key);
    bool value = false;

    return text && bool_of(text, &value) && value;
}

bool config_is_set(const struct config *c, const char *section, const char *key)
{
    return setting_find(section_find(c, section), key) != NULL;
}

unsigned config_line(const struct config *c, const char *section, const char *key)
{
    const struct setting *set = setting_find(section_find(c, section), key);

    return set ? set->line : 0;
}

const char *config_section_name(const struct config *c, const char *kind, size_t i)
{
    size_t length = strlen(kind);

    for (size_t j = 0; j < c->section_count; j++) {
        const char *name = c->sections[j].name;

        if (strncmp(name, kind, length) == 0 && name[length] == ' ' && i-- == 0)
            return name + length + 1;
    }
    return NULL;
}

const char *config_key_ending(const struct config *c, const char *section, const char *pattern, size_t i,
                              const char **value)
{
    const struct section *s = section_find(c, section);

    for (size_t j = 0; s && j < s->count; j++)
        if (matches(pattern, s->settings[j].key) && i-- == 0) {
            *value = s->settings[j].value;
            return s->settings[j].key + strcspn(pattern, "*");
        }
    return NULL;
}

int config_complain(const struct config *c, const char *section, const char *key, const char *what,
                    struct config_error *error)
{
    const struct section *s = section_find(c, section);
    unsigned line = key ? config_line(c, section, key) : 0;

    return complain(error, c->path, line || !s ? line : s->line, section, key, "%s", what);
}
