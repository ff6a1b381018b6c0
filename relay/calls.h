/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line asks of the running relay, over its control socket: handled in the turn like a
 * request. */
#ifndef ZAJEL_RELAY_CALLS_H
#define ZAJEL_RELAY_CALLS_H

#include "relay/box.h"

/* STATE/control.sock; the caller frees, NULL: no memory. */
char *calls_path(const struct options *options);

int calls_open(struct calls **out, struct box *box);
void calls_close(struct calls *c); /* NULL is fine. */
int calls_turn(struct calls *c, const struct branch_time *now);
void calls_answer(struct calls *c, int outcome); /* As intake_answer(). */

/* token add|list|revoke [NAME] on an open outbox: what the daemon does, and the verb itself when none runs.
 * Writes what is to be printed; returns the exit code. *status: the store's. */
int calls_token(struct outbox *o, int argc, const char *const *argv, uint64_t now_ms, struct text *out,
                int *status);

#endif
