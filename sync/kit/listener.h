/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP port, taken and let go at once: lws would keep its own listening socket for seconds after its close.
 */
#ifndef ZAJEL_KIT_LISTENER_H
#define ZAJEL_KIT_LISTENER_H

#include "sync/kit/loop.h"

struct listener;

/* host is a numeric address, port 0 any. accepted gets each connection, non-blocking; the descriptor is its.
 * STATUS_INVALID: host is no address. STATUS_BUSY: the port is taken. STATUS_IO */
int listener_open(struct listener **out, struct loop *l, const char *host, uint16_t port,
                  void (*accepted)(void *owner, int fd), void *owner);
uint16_t listener_port(const struct listener *n);
void listener_close(struct listener *n); /* NULL is fine. */

#endif
