/* SPDX-License-Identifier: Apache-2.0 */
/* The address of one host, looked up by a thread of its own: the loop never waits for a name server. */
#ifndef ZAJEL_KIT_RESOLVER_H
#define ZAJEL_KIT_RESOLVER_H

#include "sync/kit/loop.h"

struct resolver;

/* ready runs in the loop whenever a lookup has ended; address is NULL when none is known. host is copied. */
int resolver_open(struct resolver **out, struct loop *l, const char *host,
                  void (*ready)(void *owner, const char *address), void *owner);

/* A numeric address to try now, valid until the loop's next round. An old one is looked up again but handed
 * out meanwhile: a name server that is away must not keep a branch off the link. STATUS_BUSY: none is known
 * yet, `ready` follows. STATUS_UNAVAILABLE: no thread could be had. */
int resolver_address(struct resolver *r, const char **address);

/* The address just given could not be reached: try the host's next one, and look the name up again soon. */
void resolver_doubt(struct resolver *r);

void resolver_close(struct resolver *r); /* Does not wait for the thread. NULL is fine. */

#endif
