/* SPDX-License-Identifier: Apache-2.0 */
/* The address of a link as people write it: wss://host[:port][/path]. */
#ifndef ZAJEL_KIT_LINK_URL_H
#define ZAJEL_KIT_LINK_URL_H

#include <stdint.h>

struct link_url {
    char host[254]; /* A name of the DNS has at most 253 characters. */
    uint16_t port;  /* 443 unless given. */
    char path[128]; /* "/" at least. */
};

/* STATUS_INVALID: not of that form. IPv6 literals are not taken: the TLS library is told the host without
 * brackets and cuts it at its first colon. */
int link_url_read(struct link_url *out, const char *text);

#endif
