/* SPDX-License-Identifier: Apache-2.0 */
/* Departures note which message bodies may have left, in a file that is written and never synced. What was
 * written so outlives a killed process, and not a machine that lost its power: after a restart in the same
 * boot of the machine an attempt that is journaled and not noted here surely never left, and may be made
 * again; after another boot nobody knows. The journal in the ledger alone would leave every attempt unknown
 * that was caught between the two. */
#ifndef ZAJEL_GATEWAY_DEPARTURES_H
#define ZAJEL_GATEWAY_DEPARTURES_H

#include "sync/protocol/message_id.h"

struct departures;

/* At most so many at a time. */
#define DEPARTURES_MAX 256u

/* Reads what the last process noted. A file that cannot be used makes everything doubtful, and is no error.
 */
int departures_open(struct departures **out, const char *path); /* STATUS_NO_MEMORY */
void departures_close(struct departures *d);                    /* NULL is fine. */
/* Whether the last process may have let the message's body go. */
bool departures_doubt(const struct departures *d, const struct message_id *id);
/* From here on notes are of this process. */
void departures_begin(struct departures *d);

/* Right before the body is released. The place is to be given back when the attempt's outcome is committed.
 */
unsigned departures_note(struct departures *d, const struct message_id *id);
void departures_clear(struct departures *d, unsigned place);

#endif
