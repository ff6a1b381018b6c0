/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/heap.h"

#include <assert.h>
#include <stdlib.h>

#include "sync/protocol/status.h"

static void heap_set(struct heap *h, size_t i, struct heap_node *node)
{
    h->nodes[i] = node;
    node->place = i + 1;
}

static void heap_rise(struct heap *h, size_t i)
{
    struct heap_node *node = h->nodes[i];

    while (i > 0 && h->nodes[(i - 1) / 2]->key > node->key) {
        heap_set(h, i, h->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_set(h, i, node);
}

static void heap_sink(struct heap *h, size_t i)
{
    struct heap_node *node = h->nodes[i];

    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < h->count && h->nodes[child + 1]->key < h->nodes[child]->key)
            child++;
        if (child >= h->count || h->nodes[child]->key >= node->key)
            break;
        heap_set(h, i, h->nodes[child]);
        i = child;
    }
    heap_set(h, i, node);
}

int heap_put(struct heap *h, struct heap_node *node, uint64_t key)
{
    if (node->place) {
        assert(node->place <= h->count && h->nodes[node->place - 1] == node);
        node->key = key;
        heap_rise(h, node->place - 1);
        heap_sink(h, node->place - 1);
        return STATUS_OK;
    }
    if (h->count == h->room) {
        size_t room = h->room ? 2 * h->room : 16;
        struct heap_node **nodes = reallocarray(h->nodes, room, sizeof *nodes);

        if (!nodes)
            return STATUS_NO_MEMORY;
        h->nodes = nodes;
        h->room = room;
    }
    node->key = key;
    heap_set(h, h->count++, node);
    heap_rise(h, h->count - 1);
    return STATUS_OK;
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    struct heap_node *last;
    size_t i;

    if (!node->place)
        return;
    i = node->place - 1;
    assert(i < h->count && h->nodes[i] == node);
    node->place = 0;
    last = h->nodes[--h->count];
    if (last == node)
        return;
    heap_set(h, i, last);
    heap_rise(h, i);
    heap_sink(h, last->place - 1);
}

void *heap_first(const struct heap *h, uint64_t *key)
{
    if (h->count == 0)
        return NULL;
    *key = h->nodes[0]->key;
    return h->nodes[0]->owner;
}

void heap_free(struct heap *h)
{
    free(h->nodes);
    *h = (struct heap){ 0 };
}
