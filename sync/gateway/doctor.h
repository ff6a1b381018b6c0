/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor looks for trouble before it hurts: files, certificates, and what the running gateway says of
 * itself. */
#ifndef ZAJEL_GATEWAY_DOCTOR_H
#define ZAJEL_GATEWAY_DOCTOR_H

#include "sync/gateway/settings.h"

/* Adds one line for each thing looked at ("ok" or "TROUBLE", what, and why), or all as JSON. False: some is
 * in trouble. */
bool doctor_look(struct settings *s, bool json, struct text *out);

#endif
