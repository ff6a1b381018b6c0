/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for what keeps a relay from working, from outside of it: files, disk, clock, the running daemon. */
#ifndef ZAJEL_RELAY_DOCTOR_H
#define ZAJEL_RELAY_DOCTOR_H

#include "relay/options.h"

/* Prints one line (or JSON entry) per finding; exit code 0: nothing is wrong. */
int doctor_run(const struct options *options, bool as_json);

#endif
