/* SPDX-License-Identifier: Apache-2.0 */
/* The bare store's rate: the outbox with nothing around it, so many rows a commit. What HTTP reaches is set
 * beside it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "relay/outbox.h"
#include "relay/outbox_rows.h"
#include "sync/kit/file.h"
#include "sync/kit/seal.h"
#include "sync/protocol/item.h"
#include "sync/protocol/status.h"

#define ITEM_BYTES 150u /* A text of the sample traffic in its tagged form, before packing. */

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fill(uint8_t *room, size_t length)
{
    size_t i;

    for (i = 0; i < length; i++)
        room[i] = (uint8_t)("balance account payment received "[i % 33] + (rand() % 3 == 0));
}

static int put_group(struct outbox *o, size_t rows)
{
    uint8_t body[ITEM_BYTES], room[ITEM_BYTES + 64];
    struct item item = {
        .kind = ITEM_SEND, .form = ITEM_FORM_TEXT, .number = 106540352242922u, .at_s = 1764000000u
    };
    struct outbox_message message = { .ttl_s = 86400 };
    struct outbox_place place;
    size_t i;
    int status = outbox_write(o);

    for (i = 0; i < rows && status == STATUS_OK; i++) {
        fill(body, sizeof body);
        item.body = slice_of(body, sizeof body);
        if ((status = item_write(&item, room, sizeof room, &message.item)) == STATUS_OK)
            status = outbox_row_put(o, (enum lane)(1 + i % 2), &message, clock_elapsed_ms(), &place);
    }
    return status == STATUS_OK ? outbox_commit(o, clock_elapsed_ms()) : status;
}

static int measure(const char *folder, size_t group)
{
    struct outbox_options options = { .folder = folder,
                                      .branch = 1,
                                      .bytes_max = 4096ull * 1024 * 1024,
                                      .elapsed_ms = clock_elapsed_ms(),
                                      .wall_ms = clock_wall_ms() };
    struct outbox *o;
    double began, took;
    size_t rows = 0;
    int status = outbox_open(&o, &options);

    if (status != STATUS_OK)
        return status;
    began = now_s();
    while ((took = now_s() - began) < 2 && status == STATUS_OK) {
        status = put_group(o, group);
        outbox_tidy(o);
        rows += group;
    }
    printf("store: %3zu a commit %8.0f rows/s %6.2f syncs a commit\n", group, (double)rows / took,
           (double)outbox_syncs(o) / (double)outbox_commits(o));
    outbox_close(o);
    return status;
}

int main(void)
{
    static const size_t groups[] = { 1, 16, 256 };
    char folder[] = "build/bench-XXXXXX"; /* On the disk of the checkout. */
    char *remove;
    size_t i;
    int status = mkdtemp(folder) ? seal_start() : STATUS_IO;

    for (i = 0; i < sizeof groups / sizeof groups[0] && status == STATUS_OK; i++)
        status = measure(folder, groups[i]);
    if (status != STATUS_OK)
        fprintf(stderr, "bench_store: %s\n", status_name(status));
    if (asprintf(&remove, "rm -rf '%s'", folder) > 0)
        status |= system(remove);
    return status != STATUS_OK;
}
