/* SPDX-License-Identifier: Apache-2.0 */
/* What is written down: each message that was taken and each webhook that came, as a JSON object, the same in
 * answers and, a line each, in record_file. A line is in the file before the answer leaves, so it outlives a
 * killed process (not a power cut: nothing is synced). */
#ifndef ZAJEL_SANDBOX_RECORD_H
#define ZAJEL_SANDBOX_RECORD_H

#include "sync/kit/json.h"
#include "sync/sandbox/phones.h"

struct record;
struct sample_webhook;

/* {n, kind: message|read, id, number, phone_number_id, at_ms, statuses:{sent, delivered, read: ms}, body: as
 * JSON, raw: the text as it came} */
void record_write_message(struct text *out, const struct phones_message *message);
/* {n, at_ms, signature_ok, body: the text, or null when it is no UTF-8} */
void record_write_webhook(struct text *out, const struct sample_webhook *webhook);

/* Tells the lines that are there, then appends. A last line cut short by a kill is taken away. path NULL:
 * nothing is there and nothing is written. STATUS_IO, STATUS_NO_MEMORY */
int record_open(struct record **out, const char *path, void (*each)(void *owner, const struct json *line),
                void *owner);
int record_add(struct record *r, struct slice object); /* STATUS_IO */
void record_close(struct record *r);                   /* NULL is fine. */

#endif
