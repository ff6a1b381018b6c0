/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP side of [api]: WhatsApp's Cloud API for the branch's programs, and what monitoring asks. A request
 * is noted when it came whole, handled in the turn, answered when the turn is on disk. */
#ifndef ZAJEL_RELAY_INTAKE_H
#define ZAJEL_RELAY_INTAKE_H

#include "relay/box.h"

int intake_open(struct intake **out, struct box *box);
void intake_close(struct intake *i); /* Answers 503 to all who wait. NULL is fine. */
/* Handles what was noted, at most 256 requests. Anything but STATUS_OK is the store's trouble. */
int intake_turn(struct intake *i, const struct branch_time *now);
/* The turn's outcome: STATUS_OK sends the answers, anything else 503 (507 when there was no room). */
void intake_answer(struct intake *i, int outcome);

#endif
