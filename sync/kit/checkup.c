/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/checkup.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "sync/kit/json.h"
#include "sync/protocol/status.h"

struct checkup {
    struct text lines;
    struct json *findings;
    bool is_ill; /* Or could not say all it found. */
};

static const char *grade_name(enum checkup_grade grade)
{
    switch (grade) {
    case CHECKUP_OK: return "ok";
    case CHECKUP_WARN: return "warn";
    case CHECKUP_FAIL: return "fail";
    }
    return "fail";
}

int checkup_open(struct checkup **out)
{
    struct checkup *c = calloc(1, sizeof *c);

    *out = NULL;
    if (!c || !(c->findings = json_new_array())) {
        free(c);
        return STATUS_NO_MEMORY;
    }
    *out = c;
    return STATUS_OK;
}

void checkup_close(struct checkup *c)
{
    if (!c)
        return;
    text_free(&c->lines);
    json_free(c->findings);
    free(c);
}

void checkup_add(struct checkup *c, enum checkup_grade grade, const char *check, const char *next,
                 const char *format, ...)
{
    const char *word = grade_name(grade);
    struct json *finding = json_new_object();
    char found[512];
    va_list list;
    int failed;

    va_start(list, format);
    vsnprintf(found, sizeof found, format, list);
    va_end(list);
    if (grade == CHECKUP_OK)
        next = NULL;
    text_printf(&c->lines, "%-5s %-16s %s\n", word, check, found);
    if (next)
        text_printf(&c->lines, "%22s -> %s\n", "", next);
    failed = json_set(finding, "check", json_new_string(slice_text(check)));
    failed |= json_set(finding, "grade", json_new_string(slice_text(word)));
    failed |= json_set(finding, "found", json_new_string(slice_text(found)));
    if (next)
        failed |= json_set(finding, "next", json_new_string(slice_text(next)));
    failed |= json_add(c->findings, finding);
    c->is_ill = c->is_ill || failed || grade == CHECKUP_FAIL;
}

bool checkup_write(const struct checkup *c, bool as_json, struct text *out)
{
    if (!as_json) {
        text_add(out, text_slice(&c->lines));
        return !c->is_ill && !c->lines.failed && !out->failed;
    }
    if (json_write_ascii(c->findings, out) != STATUS_OK)
        return false;
    text_puts(out, "\n");
    return !c->is_ill && !out->failed;
}
