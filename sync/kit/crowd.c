/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/crowd.h"

#include <netinet/in.h>
#include <string.h>

#define MAPPED_BYTES 12u /* Before the IPv4 address in an IPv6 one that stands for it. */

/* False: an address of this machine's own programs, or none at all. */
static bool address_of(uint8_t out[9], const struct sockaddr *from)
{
    const struct sockaddr_in *four = (const void *)from;
    const struct sockaddr_in6 *six = (const void *)from;
    in_addr_t plain;

    memset(out, 0, 9);
    if (!from)
        return false;
    if (from->sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
        out[0] = 6;
        memcpy(out + 1, &six->sin6_addr, 8);
        return !IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
    }
    if (from->sa_family == AF_INET)
        plain = four->sin_addr.s_addr;
    else if (from->sa_family == AF_INET6)
        memcpy(&plain, six->sin6_addr.s6_addr + MAPPED_BYTES, sizeof plain);
    else
        return false;
    out[0] = 4;
    memcpy(out + 1, &plain, sizeof plain);
    return plain != htonl(INADDR_LOOPBACK);
}

void crowd_init(struct crowd *c, unsigned per_address_max)
{
    TAILQ_INIT(&c->members);
    c->count = 0;
    c->per_address_max = per_address_max;
}

bool crowd_admits(const struct crowd *c, const struct sockaddr *from)
{
    const struct crowd_member *m;
    uint8_t address[9];
    unsigned count = 0;

    if (!address_of(address, from) || !c->per_address_max)
        return true;
    TAILQ_FOREACH(m, &c->members, link)
    count += memcmp(m->address, address, sizeof address) == 0;
    return count < c->per_address_max;
}

void crowd_join(struct crowd *c, struct crowd_member *m, const struct sockaddr *from, uint64_t now_ms)
{
    (void)address_of(m->address, from);
    m->since_ms = now_ms;
    TAILQ_INSERT_TAIL(&c->members, m, link);
    c->count++;
}

void crowd_renew(struct crowd *c, struct crowd_member *m, uint64_t now_ms)
{
    TAILQ_REMOVE(&c->members, m, link);
    m->since_ms = now_ms;
    TAILQ_INSERT_TAIL(&c->members, m, link);
}

void crowd_leave(struct crowd *c, struct crowd_member *m)
{
    TAILQ_REMOVE(&c->members, m, link);
    c->count--;
}

struct crowd_member *crowd_oldest(const struct crowd *c, uint64_t now_ms, uint64_t waited_ms_min,
                                  bool (*may_go)(const struct crowd_member *m))
{
    struct crowd_member *m;

    TAILQ_FOREACH(m, &c->members, link)
    {
        if (now_ms - m->since_ms < waited_ms_min)
            return NULL;
        if (!may_go || may_go(m))
            return m;
    }
    return NULL;
}
