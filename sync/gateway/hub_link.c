/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/hub_link.h"

#include <stdlib.h>
#include <string.h>

#include "sync/protocol/status.h"

struct hub_link *hub_link_open(struct hub *h, uint32_t branch)
{
    struct session_options options = { .role = SESSION_GATEWAY };
    struct hub_link *k = calloc(1, sizeof *k);

    if (!k)
        return NULL;
    k->hub = h;
    k->branch = branch;
    k->frames_end = &k->frames;
    k->due.owner = k;
    if (session_open(&k->session, &options, h->room) != STATUS_OK) {
        free(k);
        return NULL;
    }
    return k;
}

void hub_link_free(struct hub_link *k)
{
    struct slice frame;

    while (hub_link_next(k, &frame))
        ;
    session_close(k->session);
    free(k);
}

int hub_link_queue(struct hub_link *k, struct slice frame)
{
    struct hub_frame *copy;

    /* lws may hand over what it had read already when it was told to stop: a few, never many. */
    if (k->frame_count >= 4 * HUB_FRAMES_MAX)
        return STATUS_FULL;
    if (!(copy = malloc(sizeof *copy + frame.length)))
        return STATUS_NO_MEMORY;
    copy->next = NULL;
    copy->length = frame.length;
    memcpy(copy->bytes, frame.at, frame.length);
    *k->frames_end = copy;
    k->frames_end = &copy->next;
    if (++k->frame_count >= HUB_FRAMES_MAX && !k->paused) {
        k->paused = true;
        link_pause(k->link, true);
    }
    return STATUS_OK;
}

bool hub_link_has_frames(const struct hub_link *k)
{
    return k->frames != NULL;
}

bool hub_link_next(struct hub_link *k, struct slice *frame)
{
    free(k->in_use);
    k->in_use = k->frames;
    if (!k->in_use)
        return false;
    k->frames = k->in_use->next;
    if (!k->frames)
        k->frames_end = &k->frames;
    k->frame_count--;
    *frame = slice_of(k->in_use->bytes, k->in_use->length);
    return true;
}

void hub_link_resume(struct hub_link *k)
{
    if (k->paused && k->frame_count < HUB_FRAMES_MAX / 2 && k->link) {
        k->paused = false;
        link_pause(k->link, false);
    }
}
