/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/keyring.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/kit/file.h"
#include "sync/protocol/status.h"

#define INDEX_MAX 65535u /* Three bytes of varint: a row's overhead stays small. */
#define KEYS_OPEN_MAX 8u /* The PSA of mbedTLS 2.28 has 32 key slots for all of the process. */
#define EPOCH_TRIES 8    /* A name of 64 random bits that is 0 or taken does not happen twice. */

struct ring_entry {
    uint32_t index;
    epoch_id epoch;
    struct seal_key *key; /* NULL: in its file only. */
    uint64_t used;        /* When it was used last, counted in uses. */
};

struct keyring {
    char *folder;
    struct ring_entry *entries;
    size_t count, room;
    size_t open_count;
    uint64_t uses;
};

int keyring_open(struct keyring **out, const char *folder)
{
    struct keyring *k = calloc(1, sizeof *k);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!k || !(k->folder = strdup(folder)))
        goto fail;
    if ((status = file_make_folder(folder, 0700)) != STATUS_OK)
        goto fail;
    *out = k;
    return STATUS_OK;
fail:
    keyring_close(k);
    return status;
}

void keyring_close(struct keyring *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->count; i++)
        seal_key_close(k->entries[i].key);
    free(k->entries);
    free(k->folder);
    free(k);
}

static struct ring_entry *ring_find(struct keyring *k, uint32_t index)
{
    for (size_t i = 0; i < k->count; i++)
        if (k->entries[i].index == index)
            return &k->entries[i];
    return NULL;
}

/* The caller frees; NULL when out of memory. */
static char *ring_path(const struct keyring *k, epoch_id epoch)
{
    char name[sizeof "0123456789abcdef.key"];

    snprintf(name, sizeof name, "%016" PRIx64 ".key", epoch);
    return file_join(k->folder, name);
}

static int ring_add(struct keyring *k, uint32_t index, epoch_id epoch)
{
    assert(index >= 1 && index <= INDEX_MAX);
    if (k->count == k->room) {
        size_t room = k->room ? 2 * k->room : 8;
        struct ring_entry *entries = reallocarray(k->entries, room, sizeof *entries);

        if (!entries)
            return STATUS_NO_MEMORY;
        k->entries = entries;
        k->room = room;
    }
    k->entries[k->count++] = (struct ring_entry){ .index = index, .epoch = epoch };
    return STATUS_OK;
}

static void ring_shut(struct keyring *k, struct ring_entry *entry)
{
    if (!entry->key)
        return;
    seal_key_close(entry->key);
    entry->key = NULL;
    k->open_count--;
}

/* Gives up the key unused longest, so that one more may be opened. It can be read from its file again. */
static void ring_make_room(struct keyring *k)
{
    struct ring_entry *oldest = NULL;

    if (k->open_count < KEYS_OPEN_MAX)
        return;
    for (size_t i = 0; i < k->count; i++)
        if (k->entries[i].key && (!oldest || k->entries[i].used < oldest->used))
            oldest = &k->entries[i];
    assert(oldest);
    ring_shut(k, oldest);
}

static int ring_read_key(struct keyring *k, struct ring_entry *entry)
{
    char *path = ring_path(k, entry->epoch);
    struct text bytes = { 0 };
    int status = STATUS_NO_MEMORY;

    if (path)
        status = file_read(path, SEAL_KEY_BYTES, &bytes);
    if (status == STATUS_END)
        status = STATUS_UNAVAILABLE;
    else if (status == STATUS_TOO_LARGE || (status == STATUS_OK && bytes.length != SEAL_KEY_BYTES))
        status = STATUS_CORRUPT;
    if (status == STATUS_OK) {
        ring_make_room(k);
        status = seal_key_import(&entry->key, (const uint8_t *)bytes.at);
        if (status == STATUS_OK)
            k->open_count++;
    }
    text_wipe(&bytes);
    free(path);
    return status;
}

static int ring_key(struct keyring *k, uint32_t index, const struct seal_key **out)
{
    struct ring_entry *entry = ring_find(k, index);
    int status = STATUS_OK;

    if (!entry)
        return STATUS_UNAVAILABLE;
    if (!entry->key)
        status = ring_read_key(k, entry);
    /* A damaged key file says nothing against the row: to the caller the key is simply not there. */
    if (status == STATUS_CORRUPT)
        status = STATUS_UNAVAILABLE;
    if (status != STATUS_OK)
        return status;
    entry->used = ++k->uses;
    *out = entry->key;
    return STATUS_OK;
}

/* Finds a name that no key file has yet; *path is the caller's to free. */
static int ring_new_name(const struct keyring *k, epoch_id *epoch, char **path)
{
    int status = STATUS_CONFLICT;

    *path = NULL;
    for (int tries = 0; tries < EPOCH_TRIES && status == STATUS_CONFLICT; tries++) {
        struct text there = { 0 };

        if ((status = seal_random(epoch, sizeof *epoch)) != STATUS_OK)
            return status;
        if (*epoch == 0) {
            status = STATUS_CONFLICT;
            continue;
        }
        free(*path);
        if (!(*path = ring_path(k, *epoch)))
            return STATUS_NO_MEMORY;
        if (file_read(*path, SEAL_KEY_BYTES, &there) != STATUS_END)
            status = STATUS_CONFLICT;
        text_wipe(&there);
    }
    return status;
}

int keyring_make(struct keyring *k, uint32_t index, epoch_id *out)
{
    uint8_t bytes[SEAL_KEY_BYTES];
    epoch_id epoch = 0;
    char *path = NULL;
    int status;

    assert(!ring_find(k, index));
    if ((status = ring_new_name(k, &epoch, &path)) == STATUS_OK &&
        (status = seal_random(bytes, sizeof bytes)) == STATUS_OK &&
        (status = ring_add(k, index, epoch)) == STATUS_OK) {
        status = file_write(path, slice_of(bytes, sizeof bytes), 0600);
        if (status == STATUS_OK)
            *out = epoch;
        else
            k->count--; /* The entry just added. */
    }
    explicit_bzero(bytes, sizeof bytes);
    free(path);
    return status;
}

int keyring_bind(struct keyring *k, uint32_t index, epoch_id epoch)
{
    const struct ring_entry *entry = ring_find(k, index);

    if (index < 1 || index > INDEX_MAX || epoch == 0)
        return STATUS_INVALID;
    if (entry)
        return entry->epoch == epoch ? STATUS_OK : STATUS_CONFLICT;
    return ring_add(k, index, epoch);
}

int keyring_drop(struct keyring *k, uint32_t index)
{
    struct ring_entry *entry = ring_find(k, index);
    char *path;
    int status;

    if (!entry)
        return STATUS_END;
    if (!(path = ring_path(k, entry->epoch)))
        return STATUS_NO_MEMORY;
    if ((status = file_remove(path)) == STATUS_OK && (status = file_sync_folder(k->folder)) == STATUS_OK) {
        ring_shut(k, entry);
        *entry = k->entries[--k->count];
    }
    free(path);
    return status;
}

/* --- Rows --- */

#define ROW_AAD_STACK 512u /* Clear columns are a few integers; longer ones take the heap. */

/* The nonce and the caller's aad in one piece; *heap is the caller's to free. */
static int row_aad(const struct row_place *place, struct slice aad, uint8_t stack[ROW_AAD_STACK],
                   uint8_t **heap, struct slice *out)
{
    size_t room = SEAL_NONCE_BYTES + aad.length;
    struct writer w;

    *heap = NULL;
    if (room > ROW_AAD_STACK && !(*heap = malloc(room)))
        return STATUS_NO_MEMORY;
    w = writer_of(*heap ? *heap : stack, room);
    writer_u8(&w, (uint8_t)place->table);
    writer_u8(&w, place->lane);
    writer_u16(&w, 0);
    writer_u64(&w, place->seq);
    writer_bytes(&w, aad);
    assert(!w.failed);
    *out = writer_slice(&w);
    return STATUS_OK;
}

int row_seal(struct keyring *k, const struct row_place *place, struct slice aad, struct slice plain,
             uint8_t *out, size_t *out_length)
{
    const struct seal_key *key = NULL;
    struct writer w = writer_of(out, ROW_OVERHEAD_MAX - SEAL_TAG_BYTES);
    uint8_t stack[ROW_AAD_STACK];
    uint8_t *heap = NULL;
    struct slice whole;
    int status;

    if ((status = ring_key(k, place->index, &key)) != STATUS_OK ||
        (status = row_aad(place, aad, stack, &heap, &whole)) != STATUS_OK)
        return status;
    writer_varint(&w, place->index);
    assert(!w.failed);
    status = seal(key, whole.at, whole, plain, out + w.length);
    *out_length = w.length + plain.length + SEAL_TAG_BYTES;
    free(heap);
    return status;
}

int row_unseal(struct keyring *k, struct row_place place, struct slice aad, struct slice sealed, uint8_t *out,
               size_t *out_length)
{
    const struct seal_key *key = NULL;
    struct reader r = reader_of(sealed);
    uint64_t index = reader_varint(&r);
    uint8_t stack[ROW_AAD_STACK];
    uint8_t *heap = NULL;
    struct slice whole;
    int status;

    if (r.failed || index < 1 || index > INDEX_MAX || reader_left(&r) < SEAL_TAG_BYTES)
        return STATUS_CORRUPT;
    place.index = (uint32_t)index;
    if (!ring_find(k, place.index)) /* The store has no such epoch: it is the number that is damaged. */
        return STATUS_CORRUPT;
    if ((status = ring_key(k, place.index, &key)) != STATUS_OK ||
        (status = row_aad(&place, aad, stack, &heap, &whole)) != STATUS_OK)
        return status;
    *out_length = reader_left(&r) - SEAL_TAG_BYTES;
    status = unseal(key, whole.at, whole, reader_rest(&r), out);
    free(heap);
    return status;
}
