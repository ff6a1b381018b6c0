/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as they stand in configuration files. */
#include "sync/kit/config.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "sync/protocol/status.h"

static bool is_v4(const char *host)
{
    struct in_addr address;

    return inet_pton(AF_INET, host, &address) == 1;
}

/* A name, or four numbers with points: nothing that only looks like them. */
static bool is_host(const char *host)
{
    size_t allowed = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");

    if (host[0] == '\0' || host[allowed] != '\0' || host[0] == '.' || host[0] == '-')
        return false;
    return is_v4(host) || host[strspn(host, "0123456789.")] != '\0';
}

static bool port_of(const char *text, uint16_t *port)
{
    unsigned long value = 0;
    size_t length = strspn(text, "0123456789");

    if (length == 0 || length > 5 || text[length] != '\0')
        return false;
    for (size_t i = 0; i < length; i++)
        value = value * 10 + (unsigned long)(text[i] - '0');
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

int config_address(const char *text, char host[256], uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    struct in6_addr v6;
    size_t length;
    bool bracketed = text[0] == '[';

    if (!colon)
        return STATUS_INVALID;
    length = (size_t)(colon - text);
    if (bracketed) {
        if (length < 2 || colon[-1] != ']')
            return STATUS_INVALID;
        text++;
        length -= 2;
    }
    if (length > 255)
        return STATUS_INVALID;
    memcpy(host, text, length);
    host[length] = '\0';
    if (bracketed ? inet_pton(AF_INET6, host, &v6) != 1 : !is_host(host))
        return STATUS_INVALID;
    return port_of(colon + 1, port) ? STATUS_OK : STATUS_INVALID;
}

bool config_is_loopback(const char *host)
{
    struct in6_addr v6;

    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return is_v4(host) && strncmp(host, "127.", 4) == 0;
}
