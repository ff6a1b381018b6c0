/* SPDX-License-Identifier: Apache-2.0 */
/* The bearer tokens of the branch's programs: named, revocable, stored as salted SHA-256 only. */
#ifndef ZAJEL_RELAY_OUTBOX_TOKENS_H
#define ZAJEL_RELAY_OUTBOX_TOKENS_H

#include "relay/outbox_rows.h"

#define TOKEN_NAME_MAX 64u
#define TOKEN_TEXT_BYTES 48u /* "zj_" and 43 characters of base64url: 256 random bits. */

/* Makes a token; its text is shown this once. STATUS_INVALID: the name; STATUS_CONFLICT: there is one of that
 * name; STATUS_FULL: OUTBOX_TOKENS_MAX exist. Needs a turn. */
int outbox_token_add(struct outbox *o, struct slice name, uint64_t now_ms, char text[TOKEN_TEXT_BYTES]);
int outbox_token_revoke(struct outbox *o, struct slice name); /* STATUS_END: none of that name. */
/* The token that reads like this: its number and name (borrowed until tokens change). STATUS_DENIED. */
int outbox_token_check(struct outbox *o, struct slice text, unsigned *number, struct slice *name);
/* The i-th token by name; STATUS_END after the last. */
int outbox_token_at(struct outbox *o, size_t i, struct slice *name, uint64_t *created_ms);

#endif
