/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/ledger_sql.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "sync/protocol/item.h"
#include "sync/protocol/status.h"

static int bind(sqlite3_stmt *statement, int at, const struct ledger_value *value)
{
    switch (value->kind) {
    case LEDGER_INTEGER: return sqlite3_bind_int64(statement, at, value->integer);
    case LEDGER_BYTES:
        /* Without bytes SQLite would bind NULL. */
        return sqlite3_bind_blob64(statement, at, value->bytes.at ? (const void *)value->bytes.at : "",
                                   value->bytes.length, SQLITE_STATIC);
    case LEDGER_NULL: return sqlite3_bind_null(statement, at);
    }
    return SQLITE_MISUSE;
}

static int prepare(struct ledger *l, const char *sql, const struct ledger_value *values, size_t count,
                   sqlite3_stmt **out)
{
    int status = db_statement(l->db, sql, out);
    int code = SQLITE_OK;

    if (status != STATUS_OK)
        return status;
    assert(sqlite3_bind_parameter_count(*out) == (int)count);
    for (size_t i = 0; i < count && code == SQLITE_OK; i++)
        code = bind(*out, (int)i + 1, &values[i]);
    return code == SQLITE_OK ? STATUS_OK : db_failure(l->db, code);
}

int ledger_run(struct ledger *l, const char *sql, const struct ledger_value *values, size_t count)
{
    sqlite3_stmt *statement;
    int status = db_write(l->db);

    if (status == STATUS_OK)
        status = prepare(l, sql, values, count, &statement);
    return status == STATUS_OK ? db_step(l->db, statement) : status;
}

uint64_t ledger_changes(struct ledger *l)
{
    return (uint64_t)sqlite3_changes64(db_handle(l->db));
}

int ledger_ask(struct ledger *l, struct ledger_walk *walk, const char *sql, const struct ledger_value *values,
               size_t count)
{
    sqlite3_stmt *statement = NULL;
    int status = prepare(l, sql, values, count, &statement);

    *walk = (struct ledger_walk){ .ledger = l, .statement = statement };
    if (status != STATUS_OK)
        ledger_leave(walk);
    return status;
}

int ledger_row(struct ledger_walk *walk)
{
    int code, status;

    if (!walk->statement)
        return STATUS_END;
    code = sqlite3_step(walk->statement);
    if (code == SQLITE_ROW)
        return STATUS_OK;
    status = code == SQLITE_DONE ? STATUS_END : db_failure(walk->ledger->db, code);
    ledger_leave(walk);
    return status;
}

int64_t ledger_integer(const struct ledger_walk *walk, int column)
{
    return sqlite3_column_int64(walk->statement, column);
}

uint64_t ledger_unsigned(const struct ledger_walk *walk, int column)
{
    return (uint64_t)sqlite3_column_int64(walk->statement, column);
}

struct slice ledger_bytes(const struct ledger_walk *walk, int column)
{
    const void *at = sqlite3_column_blob(walk->statement, column);

    return slice_of(at, at ? (size_t)sqlite3_column_bytes(walk->statement, column) : 0);
}

bool ledger_is_null(const struct ledger_walk *walk, int column)
{
    return sqlite3_column_type(walk->statement, column) == SQLITE_NULL;
}

void ledger_leave(struct ledger_walk *walk)
{
    if (walk->statement)
        sqlite3_reset(walk->statement);
    walk->statement = NULL;
}

uint64_t ledger_new_row(struct ledger *l)
{
    return ++l->row_next;
}

static uint8_t *scratch(struct ledger *l, unsigned which, size_t room)
{
    if (l->scratch_room[which] < room) {
        uint8_t *grown = realloc(l->scratch[which], room);

        if (!grown)
            return NULL;
        l->scratch[which] = grown;
        l->scratch_room[which] = room;
    }
    return l->scratch[which];
}

int ledger_seal(struct ledger *l, enum row_table table, enum lane lane, uint64_t row, struct slice aad,
                struct slice plain, struct slice *out)
{
    struct row_place place = { .index = l->key_index, .table = table, .lane = (uint8_t)lane, .seq = row };
    uint8_t *packed = scratch(l, 0, pack_bound(plain.length));
    struct slice bytes;
    uint8_t *sealed;
    size_t length;
    int status;

    if (!packed)
        return STATUS_NO_MEMORY;
    if ((status = pack(l->packer, plain, packed, l->scratch_room[0], &bytes)) != STATUS_OK)
        return status;
    if (!(sealed = scratch(l, 1, bytes.length + ROW_OVERHEAD_MAX)))
        return STATUS_NO_MEMORY;
    status = row_seal(l->keys, &place, aad, bytes, sealed, &length);
    *out = slice_of(sealed, length);
    return status;
}

int ledger_unseal(struct ledger *l, enum row_table table, enum lane lane, uint64_t row, struct slice aad,
                  struct slice sealed, struct text *out)
{
    struct row_place place = { .table = table, .lane = (uint8_t)lane, .seq = row };
    uint8_t *packed = scratch(l, 0, sealed.length ? sealed.length : 1);
    size_t length, room = 4096;
    struct slice plain;
    uint8_t *opened;
    int status;

    if (!packed)
        return STATUS_NO_MEMORY;
    status = row_unseal(l->keys, place, aad, sealed, packed, &length);
    if (status == STATUS_UNAVAILABLE)
        status = STATUS_CORRUPT;
    if (status != STATUS_OK)
        return status;
    do { /* Most rows are far below a page; the few long ones are tried again with more. */
        if (!(opened = scratch(l, 1, room)))
            return STATUS_NO_MEMORY;
        status = unpack(slice_of(packed, length), opened, room, &plain);
        room *= 8;
    } while (status == STATUS_TOO_LARGE && room <= 8 * (size_t)ITEM_BYTES_MAX);
    if (status != STATUS_OK)
        return STATUS_CORRUPT;
    text_add(out, plain);
    return out->failed ? STATUS_NO_MEMORY : STATUS_OK;
}
