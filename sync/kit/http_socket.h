/* SPDX-License-Identifier: Apache-2.0 */
/* The socket an HTTP listener listens on, and who comes to it. */
#ifndef ZAJEL_KIT_HTTP_SOCKET_H
#define ZAJEL_KIT_HTTP_SOCKET_H

#include <netinet/in.h>
#include <stdint.h>

#define HTTP_SOCKET_PEER_ROOM INET6_ADDRSTRLEN

/* Our own, not libmicrohttpd's: so a refused one says why, and SO_REUSEPORT, with which two programs could
 * share a port unknowingly, is left out. host is an address of either family, or "localhost", which is
 * 127.0.0.1. *port 0: any; then the one it got. STATUS_BUSY: port taken; STATUS_DENIED: not ours to take;
 * STATUS_INVALID: the host; STATUS_IO */
int http_socket_open(int *out, const char *host, uint16_t *port);
/* The address as text, IPv4 also when it came mapped into IPv6; "" for none. */
void http_socket_peer(const struct sockaddr *from, char out[HTTP_SOCKET_PEER_ROOM]);

#endif
