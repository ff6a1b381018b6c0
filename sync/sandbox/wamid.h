/* SPDX-License-Identifier: Apache-2.0 */
/* Message ids as Meta makes them: "wamid.", then base64 of a few bytes with the customer's number and a
 * random part. */
#ifndef ZAJEL_SANDBOX_WAMID_H
#define ZAJEL_SANDBOX_WAMID_H

#include "sync/protocol/bytes.h"

#define WAMID_TEXT_MAX 128u /* With the NUL. */

enum wamid_direction { WAMID_FROM_CUSTOMER, WAMID_TO_CUSTOMER };

/* number: the customer's, cut at 20 characters; empty is fine. STATUS_UNAVAILABLE: no randomness. */
int wamid_make(char out[WAMID_TEXT_MAX], struct slice number, enum wamid_direction direction);

#endif
