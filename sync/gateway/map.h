/* SPDX-License-Identifier: Apache-2.0 */
/* A map finds a thing by a 64-bit key that is spread well already (a keyed hash). Several things may share a
 * key. */
#ifndef ZAJEL_GATEWAY_MAP_H
#define ZAJEL_GATEWAY_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_entry {
    uint64_t key;
    void *value; /* NULL: empty. */
};

/* Zeroed at first. */
struct map {
    struct map_entry *entries;
    size_t count, room; /* room is a power of two, at most three quarters full. */
};

int map_put(struct map *m, uint64_t key, void *value);           /* STATUS_NO_MEMORY */
void map_remove(struct map *m, uint64_t key, const void *value); /* One that is not there is fine. */
/* Walks what has the key: start with *walk = 0; NULL after the last. The map must stay as it is meanwhile. */
void *map_next(const struct map *m, uint64_t key, size_t *walk);
void map_free(struct map *m); /* The things are their owners'. */

#endif
