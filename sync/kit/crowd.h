/* SPDX-License-Identifier: Apache-2.0 */
/* The crowd at a listener: its connections, where each comes from, and who keeps us waiting longest. With it
 * a listener refuses more from one address than it should have, and makes room when it is full. */
#ifndef ZAJEL_KIT_CROWD_H
#define ZAJEL_KIT_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

/* One connection; lies in its owner's struct. */
struct crowd_member {
    TAILQ_ENTRY(crowd_member) link;
    uint64_t since_ms;  /* We wait for it since then. */
    uint8_t address[9]; /* Family, then IPv4 in full or the first 64 bits of IPv6: one customer's network. */
};

struct crowd {
    TAILQ_HEAD(, crowd_member) members; /* The one that keeps us waiting longest first. */
    unsigned count;
    unsigned per_address_max; /* 0: any number. */
};

void crowd_init(struct crowd *c, unsigned per_address_max);
/* False: that address has as many as it may. This machine's own programs, which come from 127.0.0.1 or ::1,
 * are never too many: they have only the listener's whole room as their limit. */
bool crowd_admits(const struct crowd *c, const struct sockaddr *from);
void crowd_join(struct crowd *c, struct crowd_member *m, const struct sockaddr *from, uint64_t now_ms);
/* It did what we waited for; the wait begins anew. */
void crowd_renew(struct crowd *c, struct crowd_member *m, uint64_t now_ms);
void crowd_leave(struct crowd *c, struct crowd_member *m);
/* The one that has kept us waiting longest, and for at least that long, of those that may go (may_go NULL:
 * all); NULL: none. */
struct crowd_member *crowd_oldest(const struct crowd *c, uint64_t now_ms, uint64_t waited_ms_min,
                                  bool (*may_go)(const struct crowd_member *m));

#endif
