/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/config.h"

#include <inttypes.h>
#include <string.h>

#include "sync/kit/text.h"

/* A cell of a table: a bar would end it. */
static void cell(struct text *out, const char *words)
{
    for (; *words; words++)
        text_printf(out, *words == '|' ? "\\%c" : "%c", *words);
}

static void choices(struct text *out, const char *words)
{
    for (; *words; words++) {
        if (*words == '|')
            text_puts(out, ", ");
        else
            text_printf(out, "%c", *words);
    }
}

static void value(struct text *out, const struct config_key *key)
{
    switch (key->type) {
    case CONFIG_TEXT: text_puts(out, "text"); break;
    case CONFIG_NUMBER: text_printf(out, "%" PRId64 " to %" PRId64, key->least, key->most); break;
    case CONFIG_BOOL: text_puts(out, "yes or no"); break;
    case CONFIG_PATH: text_puts(out, "path"); break;
    case CONFIG_ADDRESS:
        text_puts(out, "HOST:PORT");
        if (key->fallback && strcmp(key->fallback, "off") == 0)
            text_puts(out, ", or off");
        break;
    case CONFIG_CHOICE: choices(out, key->choices); break;
    }
}

static void fallback(struct text *out, const struct config_key *key)
{
    if (key->required)
        text_puts(out, "**required**");
    else if (key->fallback && *key->fallback)
        text_printf(out, "`%s`", key->fallback);
}

/* "template *" is written [template NAME], "prefix_*" prefix_NAME. */
static void pattern(struct text *out, const char *name)
{
    const char *star = strchr(name, '*');

    if (star)
        text_printf(out, "%.*sNAME%s", (int)(star - name), name, star + 1);
    else
        text_puts(out, name);
}

void config_reference(const struct config_key *keys, size_t key_count, struct text *out)
{
    const char *section = "";

    for (size_t i = 0; i < key_count; i++) {
        if (strcmp(section, keys[i].section) != 0) {
            section = keys[i].section;
            text_puts(out, "\n### [");
            pattern(out, section);
            text_puts(out, "]\n\n| key | value | default | what |\n|---|---|---|---|\n");
        }
        text_puts(out, "| `");
        pattern(out, keys[i].key);
        text_puts(out, "` | ");
        value(out, &keys[i]);
        text_puts(out, " | ");
        fallback(out, &keys[i]);
        text_puts(out, " | ");
        cell(out, keys[i].help);
        text_puts(out, " |\n");
    }
}
