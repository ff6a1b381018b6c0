/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/link_url.h"

#include <stdbool.h>
#include <string.h>

#include "sync/protocol/status.h"

static bool is_host_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

/* Reads ":1234" at *at, if it is there. */
static bool read_port(const char **at, uint16_t *port)
{
    unsigned value = 0;
    const char *digit = *at;

    if (*digit != ':')
        return true;
    for (digit++; *digit >= '0' && *digit <= '9' && value <= UINT16_MAX; digit++)
        value = value * 10 + (unsigned)(*digit - '0');
    *at = digit;
    *port = (uint16_t)value;
    return value > 0 && value <= UINT16_MAX;
}

int link_url_read(struct link_url *out, const char *text)
{
    static const char scheme[] = "wss://";
    const char *at = text;
    size_t length;

    *out = (struct link_url){ .port = 443, .path = "/" };
    if (strncmp(at, scheme, sizeof scheme - 1) != 0)
        return STATUS_INVALID;
    at += sizeof scheme - 1;
    for (length = 0; is_host_character(at[length]); length++) {
        if (length == sizeof out->host - 1)
            return STATUS_INVALID;
        out->host[length] = at[length];
    }
    at += length;
    if (length == 0 || !read_port(&at, &out->port))
        return STATUS_INVALID;
    if (*at == '\0')
        return STATUS_OK;
    if (*at != '/' || strlen(at) >= sizeof out->path)
        return STATUS_INVALID;
    for (length = 0; at[length]; length++) {
        if (at[length] <= ' ' || at[length] > '~')
            return STATUS_INVALID;
        out->path[length] = at[length];
    }
    return STATUS_OK;
}
