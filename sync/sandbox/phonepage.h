/* SPDX-License-Identifier: Apache-2.0 */
/* The phone page, and the JSON endpoints behind it, which tests use too.
 *
 *   GET  /  /phone.js  /phone.css
 *   GET  /phones                       {"numbers":[{id, display_phone_number}],"phones":[{number, received,
 * typed, at_ms}]} GET  /phone/NUMBER/messages        {"number","messages":[..received, oldest
 * first..],"typed":[..]}; the last 500 of each POST /phone/NUMBER/messages        the customer writes:
 * {"text":"..."} or a message object {"type":...}; also "phone_number_id" and "name" -> {"id"} GET
 * /received?after=N[&limit=K]   {"messages":[..],"last":N,"more":bool}: all that was sent to us, in order of
 *                                      arrival, read marks too, n > N; K is 1000 unless told, at most 10000
 *   POST /webhook-raw                  signs the body as it is and posts it to the gateway ->
 * {"queued":true}; in order with others of the same customer (recipient_id or from of its first event) GET
 * /hook/received?after=N[&limit=K]  {"webhooks":[{n, at_ms, signature_ok, body}],"last","more"} GET  /link
 * linkswitch.h; {"state":"off"} without one POST /link                         {"state":"up|2g|down"} GET
 * /control                      {"faults","webhooks","receipts_waiting","hung"} POST /control faults.h; or
 * {"fault":"link","do":"stall|reset|half_close|half_close_target"}
 *
 * A message here is {n, kind: message|read, id, number, phone_number_id, at_ms, statuses:{sent, delivered,
 * read: ms}, body: as JSON, raw: the text as it came}. What is wrong is answered with a Graph error. POSTs of
 * pages of other origins are refused. */
#ifndef ZAJEL_SANDBOX_PHONEPAGE_H
#define ZAJEL_SANDBOX_PHONEPAGE_H

#include "sync/sandbox/sandbox.h"

/* False: the path is none of these. Else the request was answered. */
bool phonepage_handle(struct sandbox *s, struct http_request *r);

#endif
