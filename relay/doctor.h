/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for what keeps a relay from working: its files, disk and clock, the way to the gateway step by step,
 * the program that wants its webhooks, and what a running relay says of itself. Works without one, too. */
#ifndef ZAJEL_RELAY_DOCTOR_H
#define ZAJEL_RELAY_DOCTOR_H

#include "relay/options.h"

/* Prints the findings (checkup.h). Exit code 0: nothing failed. Takes 15 s for each peer that is silent. */
int doctor_run(const struct options *options, bool as_json);
/* The one finding when the configuration cannot be read. Exit code 1. */
int doctor_refuse(const char *why, bool as_json);

#endif
