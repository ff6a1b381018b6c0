/* SPDX-License-Identifier: Apache-2.0 */
/* The Cloud API of the practice WhatsApp: POST [/vN.N]/PHONE_NUMBER_ID/messages. */
#ifndef ZAJEL_SANDBOX_CLOUD_H
#define ZAJEL_SANDBOX_CLOUD_H

#include "sync/sandbox/sandbox.h"

int cloud_open(struct sandbox *s);   /* Reads the record, when there is one. */
void cloud_close(struct sandbox *s); /* Resets what still hangs; answers no more. */
/* False: the path is no Graph path. Else the request was answered, or will be. */
bool cloud_handle(struct sandbox *s, struct http_request *r);
void cloud_refuse(struct http_request *r, const struct graph_error *error);
/* Resets the connections that accept_then_hang keeps waiting. */
void cloud_release(struct sandbox *s);

#endif
