/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/body.h"

#include <stdlib.h>

#include "sync/protocol/status.h"

int body_read(const struct item *item, struct json **out)
{
    int status = STATUS_PEER_MALFORMED;

    *out = NULL;
    switch (item->form) {
    case ITEM_FORM_TEXT: status = json_parse(item->body, out, NULL); break;
    case ITEM_FORM_TAGGED: status = json_from_tagged(item->body, out); break;
    }
    return status == STATUS_INVALID ? STATUS_PEER_MALFORMED : status;
}

static int write_item(const struct item *item, struct text *out)
{
    size_t bound = item_bound(item);
    uint8_t *room = malloc(bound);
    struct slice bytes;
    int status = room ? item_write(item, room, bound, &bytes) : STATUS_NO_MEMORY;

    if (status == STATUS_OK)
        text_add(out, bytes);
    free(room);
    return status == STATUS_OK && out->failed ? STATUS_NO_MEMORY : status;
}

int body_write_text(const struct item *item, struct slice json_text, struct text *out)
{
    struct item whole = *item;

    whole.form = ITEM_FORM_TEXT;
    whole.body = json_text;
    return write_item(&whole, out);
}

int body_write(const struct item *item, const struct json *tree, struct text *out)
{
    struct item whole = *item;
    struct text plain = { 0 };
    uint8_t *room = NULL;
    int status = json_write(tree, &plain);

    if (status == STATUS_OK && !(room = malloc(plain.length + 64)))
        status = STATUS_NO_MEMORY;
    if (status == STATUS_OK) {
        /* The tagged form is the shorter one but for odd cases, which then travel as the text. */
        whole.form = ITEM_FORM_TAGGED;
        status = json_to_tagged(tree, room, plain.length, &whole.body);
        if (status == STATUS_OK)
            status = write_item(&whole, out);
        else if (status == STATUS_TOO_LARGE)
            status = body_write_text(item, text_slice(&plain), out);
    }
    free(room);
    text_free(&plain);
    return status;
}
