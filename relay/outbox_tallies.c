/* SPDX-License-Identifier: Apache-2.0 */
/* The counters of what waits, without counting it: kept in memory, saved with each transaction that deletes,
 * and at opening brought up to date by the few rows that came after. */
#include <sqlite3.h>
#include <stddef.h>

#include "relay/outbox_store.h"
#include "sync/protocol/status.h"

/* Bounds what an opening must count: 1000 rows a lane and epoch take a millisecond. */
#define TALLY_ROWS_MAX 1000u

static int tally_read(struct outbox *o, struct outbox_epoch *epoch, int lane)
{
    static const char sql[] = "SELECT n, bytes, accepted, snap FROM tally WHERE lane=? AND epoch=?";
    struct outbox_tally *tally = &epoch->tally[lane];
    struct sqlite3_stmt *statement;
    int status = db_statement(o->db, sql, &statement);

    if (status != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, lane);
    sqlite3_bind_int64(statement, 2, epoch->index);
    if ((status = outbox_store_row(statement)) == STATUS_OK) {
        tally->messages = (uint64_t)sqlite3_column_int64(statement, 0);
        tally->bytes = (uint64_t)sqlite3_column_int64(statement, 1);
        tally->accepted = (uint64_t)sqlite3_column_int64(statement, 2);
        tally->snap = tally->last = (uint64_t)sqlite3_column_int64(statement, 3);
    }
    sqlite3_reset(statement);
    return status == STATUS_END ? STATUS_OK : status;
}

int outbox_tallies_load(struct outbox *o, struct outbox_epoch *epoch)
{
    static const char sql[] = "SELECT seq, length(body), flags FROM msg WHERE lane=? AND epoch=? AND seq>?";
    struct sqlite3_stmt *statement;
    int status;

    for (int lane = 0; lane < LANE_COUNT; lane++) {
        struct outbox_tally *tally = &epoch->tally[lane];

        if ((status = tally_read(o, epoch, lane)) != STATUS_OK ||
            (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
            return status;
        sqlite3_bind_int64(statement, 1, lane);
        sqlite3_bind_int64(statement, 2, epoch->index);
        sqlite3_bind_int64(statement, 3, (int64_t)tally->snap);
        while ((status = outbox_store_row(statement)) == STATUS_OK) {
            uint64_t token = (uint64_t)sqlite3_column_int64(statement, 2) >> 1;

            tally->messages++;
            tally->accepted++;
            tally->last = (uint64_t)sqlite3_column_int64(statement, 0);
            tally->bytes += (uint64_t)sqlite3_column_int64(statement, 1);
            if (token <= OUTBOX_TOKENS_MAX)
                o->waiting_of[token]++;
        }
        if (status != STATUS_END)
            return status;
        tally->committed = tally->last;
    }
    return STATUS_OK;
}

static int tally_save(struct outbox *o, const struct outbox_epoch *epoch, int lane)
{
    static const char sql[] =
        "INSERT INTO tally(lane, epoch, n, bytes, accepted, snap) VALUES(?, ?, ?, ?, ?, ?)"
        " ON CONFLICT(lane, epoch) DO UPDATE SET n=excluded.n, bytes=excluded.bytes,"
        " accepted=excluded.accepted, snap=excluded.snap";
    const struct outbox_tally *tally = &epoch->tally[lane];
    struct sqlite3_stmt *statement;
    int status = db_statement(o->db, sql, &statement);

    if (status != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, lane);
    sqlite3_bind_int64(statement, 2, epoch->index);
    sqlite3_bind_int64(statement, 3, (int64_t)tally->messages);
    sqlite3_bind_int64(statement, 4, (int64_t)tally->bytes);
    sqlite3_bind_int64(statement, 5, (int64_t)tally->accepted);
    sqlite3_bind_int64(statement, 6, (int64_t)tally->last);
    return db_step(o->db, statement);
}

static int shares_save(struct outbox *o)
{
    static const char sql[] =
        "INSERT INTO share(token, n) VALUES(?, ?) ON CONFLICT(token) DO UPDATE SET n=excluded.n";
    struct sqlite3_stmt *statement;
    int status;

    for (unsigned token = 0; token <= OUTBOX_TOKENS_MAX; token++) {
        if (o->waiting_of[token] == 0 && token > 0 && o->waiting_of[token] == o->shares_saved[token])
            continue;
        if ((status = db_statement(o->db, sql, &statement)) != STATUS_OK)
            return status;
        sqlite3_bind_int64(statement, 1, (int64_t)token);
        sqlite3_bind_int64(statement, 2, (int64_t)o->waiting_of[token]);
        if ((status = db_step(o->db, statement)) != STATUS_OK)
            return status;
        o->shares_saved[token] = o->waiting_of[token];
    }
    return STATUS_OK;
}

/* All tallies with rows after their snap go together: the shares of the tokens are one snap for all of them.
 */
int outbox_tallies_save(struct outbox *o)
{
    bool due = false;
    int status;

    for (size_t i = 0; i < o->epoch_count && !due; i++) {
        for (int lane = 0; lane < LANE_COUNT && !due; lane++) {
            const struct outbox_tally *tally = &o->epochs[i].tally[lane];

            due = tally->shrunk || tally->last >= tally->snap + TALLY_ROWS_MAX;
        }
    }
    if (!due)
        return STATUS_OK;
    for (size_t i = 0; i < o->epoch_count; i++) {
        for (int lane = 0; lane < LANE_COUNT; lane++) {
            struct outbox_tally *tally = &o->epochs[i].tally[lane];

            if (!tally->shrunk && tally->last == tally->snap)
                continue;
            if ((status = tally_save(o, &o->epochs[i], lane)) != STATUS_OK)
                return status;
            tally->snap = tally->last;
            tally->shrunk = false;
        }
    }
    return shares_save(o);
}

void outbox_tallies_committed(struct outbox *o)
{
    struct outbox_epoch *current;

    if (o->epoch_count == 0)
        return; /* Opened by a verb: no epoch was ever begun. */
    current = outbox_store_current(o);
    for (int lane = 0; lane < LANE_COUNT; lane++)
        current->tally[lane].committed = current->tally[lane].last;
}

struct outbox_waiting outbox_waiting(const struct outbox *o, enum lane lane)
{
    struct outbox_waiting waiting = { 0 };

    for (size_t i = 0; i < o->epoch_count; i++) {
        if (o->epochs[i].keyless)
            continue;
        waiting.messages += o->epochs[i].tally[lane].messages;
        waiting.bytes += o->epochs[i].tally[lane].bytes;
    }
    return waiting;
}

uint64_t outbox_waiting_of_token(const struct outbox *o, unsigned token)
{
    return token <= OUTBOX_TOKENS_MAX ? o->waiting_of[token] : 0;
}
