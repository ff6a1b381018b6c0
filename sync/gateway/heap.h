/* SPDX-License-Identifier: Apache-2.0 */
/* A heap gives the least key first: what is due next, what is oldest. Its nodes lie in their owners' structs,
 * so that one may be moved or taken out wherever it stands. All calls cost the logarithm of what is in it. */
#ifndef ZAJEL_GATEWAY_HEAP_H
#define ZAJEL_GATEWAY_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed at first. */
struct heap_node {
    uint64_t key;
    size_t place; /* 1 + its index; 0: in no heap. */
    void *owner;
};

struct heap {
    struct heap_node **nodes;
    size_t count, room;
};

/* Puts the node in, or moves one that is in already. STATUS_NO_MEMORY: it is in no heap then. */
int heap_put(struct heap *h, struct heap_node *node, uint64_t key);
void heap_remove(struct heap *h, struct heap_node *node); /* One that is in no heap is fine. */
/* The owner of the node with the least key, and that key; NULL when the heap is empty. */
void *heap_first(const struct heap *h, uint64_t *key);
void heap_free(struct heap *h); /* Forgets the nodes; they are their owners'. */

#endif
