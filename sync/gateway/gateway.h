/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway: its parts, and the turn in which they work (one commit, and only then words to the outside).
 */
#ifndef ZAJEL_GATEWAY_GATEWAY_H
#define ZAJEL_GATEWAY_GATEWAY_H

#include "sync/gateway/settings.h"

/* Runs until SIGTERM or SIGINT. settings have their secrets. Troubles are in the log. */
int gateway_run(struct settings *settings);

#endif
