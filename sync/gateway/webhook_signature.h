/* SPDX-License-Identifier: Apache-2.0 */
/* The signature of WhatsApp's webhooks: HMAC-SHA256 over the body's raw bytes with the app's secret. */
#ifndef ZAJEL_GATEWAY_WEBHOOK_SIGNATURE_H
#define ZAJEL_GATEWAY_WEBHOOK_SIGNATURE_H

#include "sync/kit/text.h"

/* header: "sha256=HEX", or NULL. Should the raw bytes not match and hold more than ASCII, the form with
 * \uxxxx in their place is tried: WhatsApp documents that it signs that one. STATUS_DENIED: neither;
 * STATUS_NO_MEMORY */
int webhook_signature_check(const char *header, struct slice secret, struct slice body);

/* The body with everything beyond ASCII as lower-case \uxxxx, pairs for what is beyond 0xffff.
 * STATUS_INVALID: no UTF-8. */
int webhook_signature_escape(struct slice body, struct text *out);

#endif
