/* SPDX-License-Identifier: Apache-2.0 */
/* The sample of traffic, tests/fixtures/corpus.jsonl.gz: 3,400 lines, one JSON object each, made up.
 * Of 20,000 lines in time order it has every sixth run of 100, so that conversations stay together. */
#ifndef ZAJEL_TESTS_SUPPORT_CORPUS_H
#define ZAJEL_TESTS_SUPPORT_CORPUS_H

#include "sync/protocol/bytes.h"

#define CORPUS_PATH "tests/fixtures/corpus.jsonl.gz" /* Tests run at the root of the repository. */

struct corpus;

/* NULL: it cannot be opened. */
struct corpus *corpus_open(const char *path);
/* The next line without its end, valid until the next call; false after the last. */
bool corpus_next(struct corpus *c, struct slice *line);
/* Begins again. */
void corpus_rewind(struct corpus *c);
void corpus_close(struct corpus *c);

#endif
