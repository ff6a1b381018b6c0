/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/support_corpus.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

struct corpus {
    gzFile file;
    char line[65536]; /* The longest line has some 2,000 bytes. */
};

struct corpus *corpus_open(const char *path)
{
    struct corpus *c = calloc(1, sizeof *c);

    if (c && !(c->file = gzopen(path, "rb"))) {
        free(c);
        c = NULL;
    }
    return c;
}

bool corpus_next(struct corpus *c, struct slice *line)
{
    size_t length;

    if (!gzgets(c->file, c->line, sizeof c->line))
        return false;
    length = strlen(c->line);
    assert(length > 0 && c->line[length - 1] == '\n');
    *line = slice_of(c->line, length - 1);
    return true;
}

void corpus_rewind(struct corpus *c)
{
    gzrewind(c->file);
}

void corpus_close(struct corpus *c)
{
    gzclose(c->file);
    free(c);
}
