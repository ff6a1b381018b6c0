/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sandbox/record.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sync/protocol/status.h"
#include "sync/sandbox/bulletin.h"
#include "sync/sandbox/sample.h"

struct record {
    int fd; /* -1: nothing is written. */
};

/* What is no UTF-8 is written as null. */
static void put_string(struct text *out, struct slice text)
{
    struct json *string = json_new_string(text);

    (void)json_write_ascii(string, out);
    json_free(string);
}

void record_write_message(struct text *out, const struct phones_message *m)
{
    text_printf(out, "{\"n\":%" PRIu64 ",\"kind\":\"%s\",\"id\":", m->n,
                m->kind == PHONES_READ_MARK ? "read" : "message");
    put_string(out, slice_text(m->id));
    text_puts(out, ",\"number\":");
    put_string(out, slice_text(m->phone ? m->phone->number : ""));
    text_printf(out, ",\"phone_number_id\":\"%s\",\"at_ms\":%" PRId64 ",\"statuses\":{", m->number_id,
                m->at_ms);
    for (unsigned i = 0, shown = 0; i < PHONES_STATUSES; i++)
        if (m->status_at_ms[i])
            text_printf(out, "%s\"%s\":%" PRId64, shown++ ? "," : "",
                        bulletin_status_word((enum phones_status)i), m->status_at_ms[i]);
    text_puts(out, "},\"body\":");
    /* It is JSON, read or written by us; a body on several lines would break the record's line. */
    for (size_t i = 0; i < m->body.length; i++)
        text_add(out, m->body.at[i] < ' ' ? slice_text(" ") : slice_of(m->body.at + i, 1));
    text_puts(out, ",\"raw\":");
    put_string(out, m->body);
    text_puts(out, "}");
}

void record_write_webhook(struct text *out, const struct sample_webhook *w)
{
    text_printf(out, "{\"n\":%" PRIu64 ",\"at_ms\":%" PRId64 ",\"signature_ok\":%s,\"body\":", w->n, w->at_ms,
                w->signature_ok ? "true" : "false");
    put_string(out, w->body);
    text_puts(out, "}");
}

/* Gives the length of the whole lines through *end. */
static int read_lines(int fd, void (*each)(void *owner, const struct json *line), void *owner, off_t *end)
{
    int copy = dup(fd);
    FILE *file = copy < 0 ? NULL : fdopen(copy, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t length;

    *end = 0;
    if (!file) {
        if (copy >= 0)
            close(copy);
        return STATUS_IO;
    }
    while ((length = getline(&line, &room, file)) > 0 && line[length - 1] == '\n') {
        struct json *tree = NULL;

        *end += length;
        if (json_parse(slice_of(line, (size_t)length), &tree, NULL) == STATUS_OK)
            each(owner, tree);
        json_free(tree);
    }
    free(line);
    (void)fclose(file);
    return STATUS_OK;
}

int record_open(struct record **out, const char *path, void (*each)(void *owner, const struct json *line),
                void *owner)
{
    struct record *r = calloc(1, sizeof *r);
    off_t end;
    int status = STATUS_OK;

    *out = NULL;
    if (!r)
        return STATUS_NO_MEMORY;
    r->fd = path ? open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (path && r->fd < 0)
        status = STATUS_IO;
    if (path && status == STATUS_OK)
        status = read_lines(r->fd, each, owner, &end);
    if (path && status == STATUS_OK && ftruncate(r->fd, end) != 0)
        status = STATUS_IO;
    if (status != STATUS_OK) {
        record_close(r);
        return status;
    }
    *out = r;
    return STATUS_OK;
}

int record_add(struct record *r, struct slice object)
{
    struct text line = { 0 };
    bool whole;

    if (r->fd < 0)
        return STATUS_OK;
    text_add(&line, object);
    text_puts(&line, "\n");
    /* In one write, which a kill does not divide. */
    whole = !line.failed && write(r->fd, line.at, line.length) == (ssize_t)line.length;
    text_free(&line);
    return whole ? STATUS_OK : STATUS_IO;
}

void record_close(struct record *r)
{
    if (!r)
        return;
    if (r->fd >= 0)
        close(r->fd);
    free(r);
}
