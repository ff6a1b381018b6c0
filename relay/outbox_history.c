/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/outbox_history.h"

#include <assert.h>
#include <sqlite3.h>
#include <string.h>

#include "relay/outbox_store.h"
#include "sync/protocol/status.h"

#define OPAQUE_BYTES_MAX \
    4096u /* 512 characters, by WhatsApp's own limit, of at most 4 bytes; rounded up. \
           */
#define PLAIN_BYTES_MAX (1u + 4u * VARINT_BYTES_MAX + HISTORY_TITLE_MAX + OPAQUE_BYTES_MAX)
#define PURGE_MAX 256u

static const char *const state_names[] = {
    [HISTORY_SYNCED] = "synced",       [HISTORY_SUBMITTED] = "submitted", [HISTORY_SENT] = "sent",
    [HISTORY_DELIVERED] = "delivered", [HISTORY_READ] = "read",           [HISTORY_FAILED] = "failed",
    [HISTORY_EXPIRED] = "expired",     [HISTORY_WITHDRAWN] = "withdrawn", [HISTORY_UNKNOWN] = "unknown",
};

const char *history_state_name(enum history_state state)
{
    assert(state >= HISTORY_SYNCED && state <= HISTORY_UNKNOWN);
    return state_names[state];
}

/* The identity that a history row is about: it can neither be moved to another message nor to another day. */
static struct slice history_aad(const struct outbox *o, const struct outbox_place *message, int64_t day,
                                uint8_t room[MESSAGE_ID_BINARY_MAX + 8])
{
    struct message_id id = {
        .branch = o->branch, .epoch = message->epoch, .lane = message->lane, .seq = message->seq
    };
    size_t length = message_id_pack(&id, room);
    struct writer w = writer_of(room + length, 8);

    writer_u64(&w, (uint64_t)day);
    return slice_of(room, length + w.length);
}

static struct slice history_plain(const struct history_entry *entry, const struct history_origin *origin,
                                  uint8_t *room, size_t length)
{
    struct writer w = writer_of(room, length);
    struct slice title = slice_text(entry->title);

    writer_u8(&w, (uint8_t)entry->state);
    writer_varint(&w, entry->at_ms);
    writer_varint(&w, entry->code);
    writer_varint(&w, title.length);
    writer_bytes(&w, title);
    writer_varint(&w, origin ? origin->accepted_ms : 0);
    if (origin && origin->opaque.length <= OPAQUE_BYTES_MAX)
        writer_bytes(&w, origin->opaque);
    assert(!w.failed);
    return writer_slice(&w);
}

int outbox_history_add(struct outbox *o, const struct outbox_place *message,
                       const struct history_entry *entry, const struct history_origin *origin)
{
    static const char sql[] = "INSERT INTO history(day, epoch, lane, seq, n, body) VALUES(?, ?, ?, ?, ?, ?)";
    int64_t day = (int64_t)(entry->at_ms / OUTBOX_DAY_MS);
    uint8_t room[PLAIN_BYTES_MAX], aad[MESSAGE_ID_BINARY_MAX + 8];
    struct sqlite3_stmt *statement;
    struct slice sealed;
    uint64_t number = 0;
    int status;

    if ((status = outbox_write(o)) != STATUS_OK ||
        (status = outbox_store_number(o, entry->at_ms, &number)) != STATUS_OK ||
        (status = outbox_store_seal(o, ROW_HISTORY, message->lane, number, history_aad(o, message, day, aad),
                                    history_plain(entry, origin, room, sizeof room), &sealed)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, day);
    sqlite3_bind_int64(statement, 2, (int64_t)message->epoch);
    sqlite3_bind_int64(statement, 3, message->lane);
    sqlite3_bind_int64(statement, 4, (int64_t)message->seq);
    sqlite3_bind_int64(statement, 5, (int64_t)number);
    sqlite3_bind_blob64(statement, 6, sealed.at, sealed.length, SQLITE_STATIC);
    return db_step(o->db, statement);
}

/* Reads one row's plain form; opaque data, of the first row that has any, moves to o->unpacked. */
static int history_read(struct outbox *o, struct slice plain, struct history *h)
{
    struct reader r = reader_of(plain);
    struct history_entry *entry = &h->entries[h->count];
    uint8_t state = reader_u8(&r);
    uint64_t accepted_ms;
    struct slice title, opaque;

    *entry = (struct history_entry){ .at_ms = reader_varint(&r), .code = (uint32_t)reader_varint(&r) };
    title = reader_take(&r, reader_varint(&r));
    accepted_ms = reader_varint(&r);
    opaque = reader_rest(&r);
    if (r.failed || state < HISTORY_SYNCED || state > HISTORY_UNKNOWN || title.length >= sizeof entry->title)
        return STATUS_CORRUPT;
    entry->state = (enum history_state)state;
    if (title.length)
        memcpy(entry->title, title.at, title.length);
    if (accepted_ms)
        h->accepted_ms = accepted_ms;
    if (opaque.length && !h->opaque.length) {
        if (outbox_store_room(&o->unpacked, opaque.length) != STATUS_OK)
            return STATUS_NO_MEMORY;
        memcpy(o->unpacked.at, opaque.at, opaque.length);
        h->opaque = slice_of(o->unpacked.at, opaque.length);
    }
    h->count++;
    return STATUS_OK;
}

static int history_find_day(struct outbox *o, const struct outbox_place *message, int64_t day,
                            struct history *h)
{
    static const char sql[] =
        "SELECT n, body FROM history WHERE day=? AND epoch=? AND lane=? AND seq=? ORDER BY n";
    uint8_t aad[MESSAGE_ID_BINARY_MAX + 8];
    struct sqlite3_stmt *statement;
    struct slice plain;
    int status = db_statement(o->db, sql, &statement);

    if (status != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, day);
    sqlite3_bind_int64(statement, 2, (int64_t)message->epoch);
    sqlite3_bind_int64(statement, 3, message->lane);
    sqlite3_bind_int64(statement, 4, (int64_t)message->seq);
    while (h->count < HISTORY_ENTRIES_MAX && (status = outbox_store_row(statement)) == STATUS_OK) {
        struct slice sealed =
            slice_of(sqlite3_column_blob(statement, 1), (size_t)sqlite3_column_bytes(statement, 1));

        status =
            outbox_store_unseal(o, ROW_HISTORY, message->lane, (uint64_t)sqlite3_column_int64(statement, 0),
                                history_aad(o, message, day, aad), sealed, &plain);
        if (status == STATUS_OK)
            status = history_read(o, plain, h);
        if (status != STATUS_OK && status != STATUS_CORRUPT && status != STATUS_UNAVAILABLE)
            break;
    }
    sqlite3_reset(statement);
    return status == STATUS_END || status == STATUS_OK ? STATUS_OK : status;
}

int outbox_history_find(struct outbox *o, const struct outbox_place *message, uint64_t now_ms,
                        struct history *out)
{
    int64_t today = (int64_t)(now_ms / OUTBOX_DAY_MS);
    int status;

    *out = (struct history){ .count = 0 };
    for (int64_t day = today - HISTORY_DAYS; day <= today + 1; day++)
        if ((status = history_find_day(o, message, day, out)) != STATUS_OK)
            return status;
    return out->count > 0 ? STATUS_OK : STATUS_END;
}

enum history_state history_state_of(const struct history *h)
{
    enum history_state state = 0;

    for (size_t i = 0; i < h->count; i++) {
        enum history_state next = h->entries[i].state;

        if (state >= HISTORY_SYNCED && state <= HISTORY_READ && next <= HISTORY_READ && next < state)
            continue;
        state = next;
    }
    return state;
}

int outbox_history_purge(struct outbox *o, uint64_t now_ms, unsigned max, bool *left)
{
    static const char find[] =
        "SELECT day, epoch, lane, seq, n FROM history WHERE day<? ORDER BY 1, 2, 3, 4, 5 LIMIT ?";
    static const char drop[] = "DELETE FROM history WHERE day=? AND epoch=? AND lane=? AND seq=? AND n=?";
    int64_t keys[PURGE_MAX][5];
    struct sqlite3_stmt *statement;
    unsigned count = 0;
    int status = db_statement(o->db, find, &statement);

    assert(max <= PURGE_MAX);
    *left = false;
    if (status != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, (int64_t)(now_ms / OUTBOX_DAY_MS) - HISTORY_DAYS);
    sqlite3_bind_int64(statement, 2, max);
    for (; count < max && (status = outbox_store_row(statement)) == STATUS_OK; count++)
        for (int i = 0; i < 5; i++)
            keys[count][i] = sqlite3_column_int64(statement, i);
    sqlite3_reset(statement);
    if (status != STATUS_OK && status != STATUS_END)
        return status;
    *left = count == max;
    if (count == 0)
        return STATUS_OK;
    if ((status = outbox_write(o)) != STATUS_OK)
        return status;
    for (unsigned k = 0; k < count; k++) {
        if ((status = db_statement(o->db, drop, &statement)) != STATUS_OK)
            return status;
        for (int i = 0; i < 5; i++)
            sqlite3_bind_int64(statement, i + 1, keys[k][i]);
        if ((status = db_step(o->db, statement)) != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}
