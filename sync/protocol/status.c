/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/status.h"

static const char *const names[STATUS_COUNT] = {
    [STATUS_OK] = "ok",
    [STATUS_END] = "end",
    [STATUS_NO_MEMORY] = "no_memory",
    [STATUS_INVALID] = "invalid",
    [STATUS_TOO_LARGE] = "too_large",
    [STATUS_FULL] = "full",
    [STATUS_NO_SPACE] = "no_space",
    [STATUS_IO] = "io",
    [STATUS_CORRUPT] = "corrupt",
    [STATUS_BUSY] = "busy",
    [STATUS_DENIED] = "denied",
    [STATUS_CONFLICT] = "conflict",
    [STATUS_UNAVAILABLE] = "unavailable",
    [STATUS_PEER_MALFORMED] = "peer_malformed",
    [STATUS_PEER_VERSION] = "peer_version",
    [STATUS_PEER_LIMIT] = "peer_limit",
};

const char *status_name(int status)
{
    return status >= 0 && status < STATUS_COUNT ? names[status] : "unknown";
}
