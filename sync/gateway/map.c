/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/map.h"

#include <assert.h>
#include <stdlib.h>

#include "sync/protocol/status.h"

#define MAP_ROOM_FIRST 64u

static void map_insert(struct map *m, uint64_t key, void *value)
{
    size_t i = (size_t)key & (m->room - 1);

    while (m->entries[i].value)
        i = (i + 1) & (m->room - 1);
    m->entries[i] = (struct map_entry){ .key = key, .value = value };
    m->count++;
}

static int map_grow(struct map *m)
{
    struct map grown = { .room = m->room ? 2 * m->room : MAP_ROOM_FIRST };

    if (!(grown.entries = calloc(grown.room, sizeof *grown.entries)))
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < m->room; i++)
        if (m->entries[i].value)
            map_insert(&grown, m->entries[i].key, m->entries[i].value);
    free(m->entries);
    *m = grown;
    return STATUS_OK;
}

int map_put(struct map *m, uint64_t key, void *value)
{
    assert(value);
    if (m->count + 1 > m->room / 4 * 3 && map_grow(m) != STATUS_OK)
        return STATUS_NO_MEMORY;
    map_insert(m, key, value);
    return STATUS_OK;
}

/* Moves back what stands behind the hole, so that no walk ends early. */
static void map_close_hole(struct map *m, size_t hole)
{
    size_t mask = m->room - 1;

    for (size_t i = (hole + 1) & mask; m->entries[i].value; i = (i + 1) & mask) {
        size_t home = (size_t)m->entries[i].key & mask;

        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        m->entries[hole] = m->entries[i];
        hole = i;
    }
    m->entries[hole] = (struct map_entry){ 0 };
}

void map_remove(struct map *m, uint64_t key, const void *value)
{
    if (m->room == 0)
        return;
    for (size_t i = (size_t)key & (m->room - 1); m->entries[i].value; i = (i + 1) & (m->room - 1)) {
        if (m->entries[i].value != value || m->entries[i].key != key)
            continue;
        map_close_hole(m, i);
        m->count--;
        return;
    }
}

void *map_next(const struct map *m, uint64_t key, size_t *walk)
{
    if (m->room == 0)
        return NULL;
    for (size_t i = ((size_t)key + *walk) & (m->room - 1); m->entries[i].value; i = (i + 1) & (m->room - 1)) {
        ++*walk;
        if (m->entries[i].key == key)
            return m->entries[i].value;
    }
    return NULL;
}

void map_free(struct map *m)
{
    free(m->entries);
    *m = (struct map){ 0 };
}
