/* SPDX-License-Identifier: Apache-2.0 */
/* Saving what a damaged database still says, with our own code: no tool of SQLite's is there on the box
 * (storage.md section 7). Small tables are read in order as far as they go; waiting messages lane by lane,
 * and where a page is gone the numbers behind it are tried in growing steps. Seals are checked later, when a
 * row is read. */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "relay/outbox_store.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

#define STEP_MAX 64      /* Numbers passed over at once where nothing can be read: about one page of rows. */
#define STEPS_MAX 100000 /* Then the rest of a lane counts as gone: six million numbers without a row. */

struct salvage {
    struct outbox *to;
    sqlite3 *from;
    uint64_t saved, passed_over;
};

/* Every table but the messages and what counts them; the columns are the same on both sides. */
static const struct {
    const char *read, *write;
} tables[] = {
    { "SELECT * FROM meta", "INSERT OR REPLACE INTO meta VALUES(?,?,?,?,?,?,?,?)" },
    { "SELECT * FROM epoch", "INSERT OR REPLACE INTO epoch VALUES(?,?,?,?,?,?,?)" },
    { "SELECT * FROM mark", "INSERT OR REPLACE INTO mark VALUES(?,?,?)" },
    { "SELECT * FROM token", "INSERT OR REPLACE INTO token VALUES(?,?,?,?)" },
    { "SELECT * FROM total", "INSERT OR REPLACE INTO total VALUES(?,?)" },
    { "SELECT * FROM hold", "INSERT OR REPLACE INTO hold VALUES(?,?,?)" },
    { "SELECT * FROM quarantine", "INSERT OR REPLACE INTO quarantine VALUES(?,?,?,?,?,?,?)" },
    { "SELECT * FROM delivery", "INSERT OR REPLACE INTO delivery VALUES(?,?,?,?)" },
    { "SELECT * FROM idem", "INSERT OR REPLACE INTO idem VALUES(?,?,?,?,?,?)" },
    { "SELECT * FROM history", "INSERT OR REPLACE INTO history VALUES(?,?,?,?,?,?)" },
};

static int salvage_copy(struct salvage *s, struct sqlite3_stmt *from, const char *write)
{
    struct sqlite3_stmt *to;
    int status = db_statement(s->to->db, write, &to);

    if (status != STATUS_OK)
        return status;
    for (int i = 0; i < sqlite3_column_count(from); i++)
        sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i));
    /* A row that does not even fit its table is damage too. */
    status = db_step(s->to->db, to);
    return status == STATUS_CONFLICT ? STATUS_OK : status;
}

static int salvage_table(struct salvage *s, const char *read, const char *write)
{
    sqlite3_stmt *from = NULL;
    int status = STATUS_OK;

    if (sqlite3_prepare_v2(s->from, read, -1, &from, NULL) != SQLITE_OK)
        return STATUS_OK;
    while (status == STATUS_OK && sqlite3_step(from) == SQLITE_ROW)
        status = salvage_copy(s, from, write);
    sqlite3_finalize(from);
    return status;
}

/* The rows of a lane and epoch after *seq, until the end (true) or a place that cannot be read (false). */
static int salvage_run(struct salvage *s, int lane, int64_t epoch, int64_t *seq, bool *ended)
{
    sqlite3_stmt *from = NULL;
    int code = sqlite3_prepare_v2(
        s->from, "SELECT * FROM msg WHERE lane=? AND epoch=? AND seq>? ORDER BY seq", -1, &from, NULL);
    int status = STATUS_OK;

    *ended = code != SQLITE_OK;
    if (code == SQLITE_OK) {
        sqlite3_bind_int(from, 1, lane);
        sqlite3_bind_int64(from, 2, epoch);
        sqlite3_bind_int64(from, 3, *seq);
        while (status == STATUS_OK && (code = sqlite3_step(from)) == SQLITE_ROW) {
            *seq = sqlite3_column_int64(from, 2);
            status = salvage_copy(s, from, "INSERT OR REPLACE INTO msg VALUES(?,?,?,?,?,?,?)");
            s->saved++;
        }
        *ended = code == SQLITE_DONE;
    }
    sqlite3_finalize(from);
    return status;
}

static int salvage_lane(struct salvage *s, int lane, int64_t epoch)
{
    int64_t seq = 0, step = 1;
    bool ended = false;
    int status = STATUS_OK;

    for (int tries = 0; tries < STEPS_MAX && !ended && status == STATUS_OK; tries++) {
        int64_t before = seq;

        if ((status = salvage_run(s, lane, epoch, &seq, &ended)) != STATUS_OK || ended)
            break;
        step = seq > before ? 1 : step < STEP_MAX ? step * 2 : STEP_MAX;
        seq += step;
        s->passed_over += (uint64_t)step;
    }
    return status;
}

/* The next epoch by index, of those that were saved. STATUS_END: none. */
static int salvage_epoch(struct salvage *s, int64_t *epoch)
{
    static const char sql[] = "SELECT idx FROM epoch WHERE idx>? ORDER BY idx LIMIT 1";
    struct sqlite3_stmt *statement;
    int status = db_statement(s->to->db, sql, &statement);

    if (status != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, *epoch);
    if ((status = outbox_store_row(statement)) == STATUS_OK)
        *epoch = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return status;
}

static int salvage_messages(struct salvage *s)
{
    int64_t epoch = 0;
    int status = STATUS_OK;

    while (status == STATUS_OK && (status = salvage_epoch(s, &epoch)) == STATUS_OK)
        for (int lane = 0; lane < LANE_COUNT && status == STATUS_OK; lane++)
            status = salvage_lane(s, lane, epoch);
    return status == STATUS_END ? STATUS_OK : status;
}

int outbox_salvage(struct outbox *o, const char *path)
{
    struct salvage s = { .to = o };
    int status;

    /* Read and write: what its log holds is a part of it. A file that is no database opens, and then has no
     * tables. */
    if (sqlite3_open_v2(path, &s.from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        sqlite3_close(s.from);
        return STATUS_OK;
    }
    sqlite3_exec(s.from, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL);
    status = db_write(o->db);
    for (size_t i = 0; i < sizeof tables / sizeof *tables && status == STATUS_OK; i++)
        status = salvage_table(&s, tables[i].read, tables[i].write);
    if (status == STATUS_OK)
        status = salvage_messages(&s);
    if (status == STATUS_OK)
        status = db_commit(o->db);
    sqlite3_close(s.from);
    log_event(LOG_LEVEL_WARNING, "store_salvaged", "messages=%llu numbers_passed_over=%llu result=%s",
              (unsigned long long)s.saved, (unsigned long long)s.passed_over, status_name(status));
    return status;
}
