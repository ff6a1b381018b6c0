/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for what keeps a gateway from working: its files, disk and clock, its certificates, WhatsApp's answer
 * to each number's token, and what the running gateway says of itself. Works without one, too. */
#ifndef ZAJEL_GATEWAY_DOCTOR_H
#define ZAJEL_GATEWAY_DOCTOR_H

#include "sync/gateway/settings.h"

/* Adds the findings (checkup.h) to out. False: something failed. Takes 15 s for each peer that is silent. */
bool doctor_look(struct settings *s, bool json, struct text *out);
/* The one finding when the configuration cannot be read. */
void doctor_refuse(const char *why, bool json, struct text *out);

#endif
