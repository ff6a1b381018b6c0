/* SPDX-License-Identifier: Apache-2.0 */
/* The body of an item as a JSON tree, whichever of the forms it is written in. */
#ifndef ZAJEL_GATEWAY_BODY_H
#define ZAJEL_GATEWAY_BODY_H

#include "sync/kit/json.h"
#include "sync/protocol/item.h"

/* STATUS_PEER_MALFORMED: the body is no JSON in its form. STATUS_NO_MEMORY */
int body_read(const struct item *item, struct json **out);

/* Writes an item whose body is the tree, in the smallest form that holds it: its bytes are added to out. item
 * says the rest; its body and form are ignored. STATUS_TOO_LARGE, STATUS_NO_MEMORY */
int body_write(const struct item *item, const struct json *tree, struct text *out);
/* The same for a body that is text already. */
int body_write_text(const struct item *item, struct slice json_text, struct text *out);

#endif
