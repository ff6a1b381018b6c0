/* SPDX-License-Identifier: Apache-2.0 */
/* The phone page, and the JSON endpoints behind it, which tests use too.
 *
 * GET / /phone.js /phone.css
 *
 * GET /phones
 *     {"numbers":[{id, display_phone_number}], "phones":[{number, received, typed, at_ms}]}, latest first.
 *
 * GET /phone/NUMBER/messages
 *     {"number", "messages":[what it received, oldest first], "typed":[...]}: the last 500 of each.
 *
 * POST /phone/NUMBER/messages
 *     The customer writes: {"text":"..."} or a message object {"type":...}; beside it "phone_number_id" and
 *     "name" may stand. {"id"}
 *
 * GET /received?after=N[&limit=K]
 *     {"messages":[...], "last", "more"}: all that was sent to us, read marks too, in order of arrival, from
 *     N + 1 on. K is 1000 unless told, at most 10000. Go on with after=last while more is true.
 *
 * POST /webhook-raw
 *     Signs the body as it is and posts it to the gateway, in order with others of the same customer
 *     (recipient_id or from of its first event). {"queued":true}
 *
 * GET /hook/received?after=N[&limit=K]
 *     {"webhooks":[{n, at_ms, signature_ok, body: the text}], "last", "newest", "more"}
 *
 * GET /link, POST /link {"state":"up|2g|down"}
 *     linkswitch.h; {"state":"off"} without one.
 *
 * GET /control, POST /control
 *     faults.h, and {"fault":"link","do":"stall|reset|half_close|half_close_target"}. Any POST lets webhooks
 *     that wait for their next try go at once. {"faults", "webhooks", "receipts_waiting", "hung"}
 *
 * A message is as record.h says. What is wrong is answered with a Graph error. POSTs of pages of other
 * origins are refused. */
#ifndef ZAJEL_SANDBOX_PHONEPAGE_H
#define ZAJEL_SANDBOX_PHONEPAGE_H

#include "sync/sandbox/sandbox.h"

/* False: the path is none of these. Else the request was answered. */
bool phonepage_handle(struct sandbox *s, struct http_request *r);

#endif
