/* SPDX-License-Identifier: Apache-2.0 */
/* The epochs of the outbox: one for each start, its key with it, kept until no row needs it. */
#include <assert.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "relay/outbox_store.h"
#include "sync/protocol/status.h"

#define INDEX_MAX 65535u /* keyring.h */
/* History rows last 30 days and webhooks 7, each from the day in which it was sealed. */
#define EPOCH_DAYS 32u

struct outbox_epoch *outbox_store_current(const struct outbox *o)
{
    assert(o->epoch_count > 0);
    return &o->epochs[o->epoch_count - 1];
}

struct outbox_epoch *outbox_store_epoch(const struct outbox *o, epoch_id id)
{
    /* From the end: the current one is asked for most. */
    for (size_t i = o->epoch_count; i > 0; i--)
        if (o->epochs[i - 1].id == id)
            return &o->epochs[i - 1];
    return NULL;
}

struct outbox_epoch *outbox_store_epoch_at(const struct outbox *o, uint32_t index)
{
    for (size_t i = o->epoch_count; i > 0; i--)
        if (o->epochs[i - 1].index == index)
            return &o->epochs[i - 1];
    return NULL;
}

/* --- Opening --- */

static int outbox_add_epoch(struct outbox *o, const struct outbox_epoch *epoch)
{
    if (o->epoch_count == o->epoch_room) {
        size_t room = o->epoch_room ? 2 * o->epoch_room : 8;
        struct outbox_epoch *grown = reallocarray(o->epochs, room, sizeof *grown);

        if (!grown)
            return STATUS_NO_MEMORY;
        o->epochs = grown;
        o->epoch_room = room;
    }
    o->epochs[o->epoch_count++] = *epoch;
    return STATUS_OK;
}

int outbox_epochs_load(struct outbox *o)
{
    static const char sql[] =
        "SELECT idx, id, born, boot, base_ms, sealed_day, linked FROM epoch ORDER BY born";
    struct sqlite3_stmt *statement;
    int status;

    if ((status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    while ((status = outbox_store_row(statement)) == STATUS_OK) {
        struct outbox_epoch epoch = {
            .index = (uint32_t)sqlite3_column_int64(statement, 0),
            .id = (epoch_id)sqlite3_column_int64(statement, 1),
            .born = (uint64_t)sqlite3_column_int64(statement, 2),
            .base_ms = (uint64_t)sqlite3_column_int64(statement, 4),
            .sealed_day = (uint64_t)sqlite3_column_int64(statement, 5),
            .linked = sqlite3_column_int(statement, 6) != 0,
        };

        if (sqlite3_column_bytes(statement, 3) != CLOCK_BOOT_BYTES)
            return STATUS_CORRUPT;
        memcpy(epoch.boot, sqlite3_column_blob(statement, 3), CLOCK_BOOT_BYTES);
        if (keyring_bind(o->keys, epoch.index, epoch.id) != STATUS_OK)
            return STATUS_CORRUPT;
        if ((status = outbox_add_epoch(o, &epoch)) != STATUS_OK)
            return status;
    }
    if (status != STATUS_END)
        return status;
    for (size_t i = 0; i < o->epoch_count; i++)
        if ((status = outbox_tallies_load(o, &o->epochs[i])) != STATUS_OK)
            return status;
    return STATUS_OK;
}

static int outbox_bind_one(struct outbox *o, const char *sql, int64_t value)
{
    struct sqlite3_stmt *statement;
    int status = db_statement(o->db, sql, &statement);

    if (status != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, value);
    return db_step(o->db, statement);
}

/* Rows put aside name their epoch by its index, which must not go to another. */
static int outbox_is_in_quarantine(struct outbox *o, uint32_t index, bool *found)
{
    static const char sql[] = "SELECT 1 FROM quarantine WHERE epoch=? LIMIT 1";
    struct sqlite3_stmt *statement;
    int status = o->quarantined > 0 ? db_statement(o->db, sql, &statement) : STATUS_END;

    if (status == STATUS_OK) {
        sqlite3_bind_int64(statement, 1, index);
        status = outbox_store_row(statement);
        sqlite3_reset(statement);
    }
    *found = status == STATUS_OK;
    return status == STATUS_END ? STATUS_OK : status;
}

/* Drops the epochs that no row needs any more, rows and keys: tallies are folded into the totals first. */
int outbox_epochs_drop(struct outbox *o, uint64_t now_ms)
{
    static const char epoch_sql[] = "DELETE FROM epoch WHERE idx=?";
    static const char tally_sql[] = "DELETE FROM tally WHERE epoch=?";
    uint64_t day = now_ms / OUTBOX_DAY_MS;
    size_t kept = 0;
    int status = STATUS_OK;

    for (size_t i = 0; i < o->epoch_count; i++) {
        struct outbox_epoch *epoch = &o->epochs[i];
        uint64_t messages = 0;
        bool needed;

        for (int lane = 0; lane < LANE_COUNT; lane++)
            messages += epoch->tally[lane].messages;
        needed = messages > 0 || epoch->sealed_day + EPOCH_DAYS > day;
        if (!needed && (status = outbox_is_in_quarantine(o, epoch->index, &needed)) != STATUS_OK)
            return status;
        if (needed) {
            o->epochs[kept++] = *epoch;
            continue;
        }
        if ((status = outbox_bind_one(o, epoch_sql, epoch->index)) != STATUS_OK ||
            (status = outbox_bind_one(o, tally_sql, epoch->index)) != STATUS_OK)
            return status;
        /* A key file that outlives a failed commit is dropped at the next start: its epoch has no rows. */
        (void)keyring_drop(o->keys, epoch->index);
    }
    o->epoch_count = kept;
    return STATUS_OK;
}

static uint32_t outbox_free_index(const struct outbox *o)
{
    uint32_t index = 1;

    while (index <= INDEX_MAX && outbox_store_epoch_at(o, index))
        index++;
    return index;
}

int outbox_epochs_begin(struct outbox *o, uint64_t elapsed_ms)
{
    static const char sql[] = "INSERT INTO epoch(idx, id, born, boot, base_ms, sealed_day, linked)"
                              " VALUES(?, ?, ?, ?, ?, 0, 0)";
    struct outbox_epoch epoch = { .index = outbox_free_index(o), .born = o->boot_counter, .cleared = true };
    struct sqlite3_stmt *statement;
    uint64_t now_ms = logical_clock_now(&o->clock, elapsed_ms);
    int status;

    if (epoch.index > INDEX_MAX)
        return STATUS_FULL;
    memcpy(epoch.boot, o->boot, CLOCK_BOOT_BYTES);
    epoch.base_ms = now_ms > elapsed_ms ? now_ms - elapsed_ms : 0;
    if ((status = keyring_make(o->keys, epoch.index, &epoch.id)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, epoch.index);
    sqlite3_bind_int64(statement, 2, (int64_t)epoch.id);
    sqlite3_bind_int64(statement, 3, (int64_t)epoch.born);
    sqlite3_bind_blob(statement, 4, epoch.boot, CLOCK_BOOT_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 5, (int64_t)epoch.base_ms);
    if ((status = db_step(o->db, statement)) != STATUS_OK)
        return status;
    return outbox_add_epoch(o, &epoch);
}

static uint64_t moved(uint64_t from, int64_t by)
{
    return by < 0 && from < (uint64_t)-by ? 0 : from + (uint64_t)by;
}

int outbox_epochs_move(struct outbox *o, int64_t by_ms, uint64_t after_ms)
{
    static const char sql[] = "UPDATE epoch SET base_ms=?, sealed_day=? WHERE idx=?";
    int64_t days = by_ms / (int64_t)OUTBOX_DAY_MS;
    struct sqlite3_stmt *statement;
    int status = STATUS_OK;

    for (size_t i = 0; i < o->epoch_count && status == STATUS_OK; i++) {
        struct outbox_epoch *epoch = &o->epochs[i];

        if (after_ms > 0 && epoch->base_ms <= after_ms)
            continue;
        epoch->base_ms = moved(epoch->base_ms, by_ms);
        epoch->sealed_day = moved(epoch->sealed_day, days);
        if ((status = db_statement(o->db, sql, &statement)) != STATUS_OK)
            return status;
        sqlite3_bind_int64(statement, 1, (int64_t)epoch->base_ms);
        sqlite3_bind_int64(statement, 2, (int64_t)epoch->sealed_day);
        sqlite3_bind_int64(statement, 3, epoch->index);
        status = db_step(o->db, statement);
    }
    return status;
}

/* --- Epochs --- */

epoch_id outbox_current_epoch(const struct outbox *o)
{
    return outbox_store_current(o)->id;
}

static bool outbox_epoch_waits(const struct outbox_epoch *epoch)
{
    uint64_t messages = 0;

    for (int lane = 0; lane < LANE_COUNT; lane++)
        messages += epoch->tally[lane].messages;
    return messages > 0 && !epoch->keyless;
}

int outbox_epoch(const struct outbox *o, size_t i, epoch_id *out)
{
    for (size_t at = 0; at < o->epoch_count; at++) {
        bool is_current = at + 1 == o->epoch_count;

        if (!is_current && !outbox_epoch_waits(&o->epochs[at]))
            continue;
        if (i-- == 0) {
            *out = o->epochs[at].id;
            return STATUS_OK;
        }
    }
    return STATUS_END;
}

int outbox_link(struct outbox *o)
{
    static const char sql[] = "UPDATE epoch SET linked=1 WHERE linked=0";
    struct sqlite3_stmt *statement;
    bool all = true;
    int status;

    for (size_t i = 0; i < o->epoch_count; i++)
        all = all && o->epochs[i].linked;
    if (all)
        return STATUS_OK;
    if ((status = db_write(o->db)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK ||
        (status = db_step(o->db, statement)) != STATUS_OK)
        return status;
    for (size_t i = 0; i < o->epoch_count; i++)
        o->epochs[i].linked = true;
    return STATUS_OK;
}

void outbox_clear(struct outbox *o, epoch_id epoch)
{
    struct outbox_epoch *found = outbox_store_epoch(o, epoch);

    if (!found)
        return;
    found->cleared = true;
    for (int lane = 0; lane < LANE_COUNT; lane++)
        if (o->offered[lane].epoch == epoch)
            o->offered[lane] = (struct outbox_place){ 0 };
}

uint64_t outbox_unreadable(const struct outbox *o)
{
    uint64_t rows = 0;

    for (size_t i = 0; i < o->epoch_count; i++)
        for (int lane = 0; lane < LANE_COUNT && o->epochs[i].keyless; lane++)
            rows += o->epochs[i].tally[lane].messages;
    return rows;
}
