/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/item.h"

#include <assert.h>

#include "sync/protocol/message_id.h"
#include "sync/protocol/status.h"

/* The first byte: kind in bits 0 to 3, form in bits 4 and 5, then which optional field follows. */
#define KIND_MASK 0x0fu
#define FORM_SHIFT 4u
#define FORM_MASK 0x03u
#define HAS_NUMBER 0x40u
#define HAS_TTL 0x80u

static bool has_body(enum item_kind kind)
{
    return kind != ITEM_TAKEN;
}

size_t item_bound(const struct item *item)
{
    return 1 + 3 * VARINT_BYTES_MAX + 1 + item->of.length + item->body.length;
}

int item_write(const struct item *item, uint8_t *room, size_t room_length, struct slice *out)
{
    struct writer w = writer_of(room, room_length);
    bool send = item->kind == ITEM_SEND;
    unsigned head = (unsigned)item->kind | (unsigned)item->form << FORM_SHIFT;

    assert(item->kind >= ITEM_SEND && item->kind <= ITEM_CONTROL);
    assert(item->form <= ITEM_FORM_TAGGED);
    assert(item->of.length <= MESSAGE_ID_BINARY_MAX);
    assert(send || (item->number == 0 && item->ttl_s == 0));
    assert(item->kind == ITEM_TAKEN ? item->body.length == 0 : item->of.length == 0);
    if (item->number)
        head |= HAS_NUMBER;
    if (item->ttl_s)
        head |= HAS_TTL;
    writer_u8(&w, (uint8_t)head);
    writer_varint(&w, item->at_s);
    if (item->number)
        writer_varint(&w, item->number);
    if (item->ttl_s)
        writer_varint(&w, item->ttl_s);
    writer_bytes(&w, has_body(item->kind) ? item->body : item->of);
    if (w.failed || w.length > ITEM_BYTES_MAX)
        return STATUS_TOO_LARGE;
    *out = writer_slice(&w);
    return STATUS_OK;
}

int item_read(struct slice bytes, struct item *out)
{
    struct reader r = reader_of(bytes);
    uint8_t head = reader_u8(&r);
    uint8_t kind = head & KIND_MASK;
    uint8_t form = head >> FORM_SHIFT & FORM_MASK;
    struct item item = { .at_s = reader_varint(&r) };
    uint64_t ttl_s = 0;

    if (head & HAS_NUMBER)
        item.number = reader_varint(&r);
    if (head & HAS_TTL)
        ttl_s = reader_varint(&r);
    if (r.failed || bytes.length > ITEM_BYTES_MAX || ttl_s > UINT32_MAX)
        return STATUS_PEER_MALFORMED;
    if (kind < ITEM_SEND || kind > ITEM_CONTROL || form > ITEM_FORM_TAGGED)
        return STATUS_PEER_MALFORMED;
    if ((head & HAS_NUMBER && item.number == 0) || (head & HAS_TTL && ttl_s == 0))
        return STATUS_PEER_MALFORMED; /* What is absent has one form. */
    if (kind != ITEM_SEND && head & (HAS_NUMBER | HAS_TTL))
        return STATUS_PEER_MALFORMED;
    item.kind = (enum item_kind)kind;
    item.form = (enum item_form)form;
    item.ttl_s = (uint32_t)ttl_s;
    if (has_body(item.kind))
        item.body = reader_rest(&r);
    else
        item.of = reader_rest(&r);
    if (item.of.length > MESSAGE_ID_BINARY_MAX)
        return STATUS_PEER_MALFORMED;
    *out = item;
    return STATUS_OK;
}
