/* SPDX-License-Identifier: Apache-2.0 */
/* What WhatsApp's Cloud API does and the relay does not: a program that asks for it is told so by name, in
 * Graph's own shape, so that it neither hangs nor shows a page that nobody understands. Pure. */
#ifndef ZAJEL_RELAY_REFUSAL_H
#define ZAJEL_RELAY_REFUSAL_H

#include <stdbool.h>
#include <stddef.h>

#define REFUSAL_DETAILS_MAX 256u /* Room for the longest words and the sentence around them. */

/* Knows a path of the Cloud API, with or without a version, other than .../messages: writes into details
 * (cut at room) what is not supported yet. false: no such path is known there either. */
bool refusal_explain(const char *method, const char *path, char *details, size_t room);

#endif
