/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/outbox_rows.h"

#include <assert.h>
#include <sqlite3.h>
#include <string.h>

#include "relay/outbox_store.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

/* flags: bit 0 says that the sealed part begins with the program's callback data; the token's number lies
 * above. */
#define FLAG_OPAQUE 1u
#define FLAG_TOKEN_SHIFT 1u

#define AAD_BYTES_MAX (MESSAGE_ID_BINARY_MAX + 3u * VARINT_BYTES_MAX)

/* The clear columns of a row. */
struct columns {
    uint64_t created_s;
    uint64_t ttl_s;
    uint64_t flags;
};

/* Identity and clear columns: a row moved or altered does not open. */
static struct slice row_aad(const struct outbox *o, const struct outbox_place *place,
                            const struct columns *columns, uint8_t room[AAD_BYTES_MAX])
{
    struct message_id id = {
        .branch = o->branch, .epoch = place->epoch, .lane = place->lane, .seq = place->seq
    };
    size_t length = message_id_pack(&id, room);
    struct writer w = writer_of(room + length, AAD_BYTES_MAX - length);

    writer_varint(&w, columns->created_s);
    writer_varint(&w, columns->ttl_s);
    writer_varint(&w, columns->flags);
    assert(!w.failed);
    return slice_of(room, length + w.length);
}

/* --- Putting --- */

/* Plain form: length of the box-only part, that part, the packed item. */
static int row_plain(struct outbox *o, const struct outbox_message *message, struct slice *out)
{
    struct slice packed;
    struct writer w;
    int status = outbox_store_pack(o, message->item, &packed);

    if (status == STATUS_OK)
        status = outbox_store_room(&o->plain, VARINT_BYTES_MAX + message->opaque.length + packed.length);
    if (status != STATUS_OK)
        return status;
    w = writer_of(o->plain.at, o->plain.room);
    writer_varint(&w, message->opaque.length);
    writer_bytes(&w, message->opaque);
    writer_bytes(&w, packed);
    assert(!w.failed);
    *out = writer_slice(&w);
    return STATUS_OK;
}

int outbox_row_put(struct outbox *o, enum lane lane, const struct outbox_message *message,
                   uint64_t elapsed_ms, struct outbox_place *out)
{
    static const char sql[] =
        "INSERT INTO msg(lane, epoch, seq, created, ttl, flags, body) VALUES(?, ?, ?, ?, ?, ?, ?)";
    struct outbox_epoch *current = outbox_store_current(o);
    struct outbox_tally *tally = &current->tally[lane];
    struct outbox_place place = { .lane = lane, .epoch = current->id, .seq = ++tally->last };
    struct columns columns = { .created_s = elapsed_ms / 1000, .ttl_s = message->ttl_s };
    uint8_t room[AAD_BYTES_MAX];
    struct sqlite3_stmt *statement;
    struct slice plain, sealed;
    int status;

    assert(message->token <= OUTBOX_TOKENS_MAX);
    columns.flags = (message->opaque.length > 0 ? FLAG_OPAQUE : 0) | (uint64_t)message->token
                                                                         << FLAG_TOKEN_SHIFT;
    if ((status = outbox_write(o)) != STATUS_OK || (status = row_plain(o, message, &plain)) != STATUS_OK ||
        (status = outbox_store_seal(o, ROW_OUTBOX, lane, place.seq, row_aad(o, &place, &columns, room), plain,
                                    &sealed)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, lane);
    sqlite3_bind_int64(statement, 2, current->index);
    sqlite3_bind_int64(statement, 3, (int64_t)place.seq);
    sqlite3_bind_int64(statement, 4, (int64_t)columns.created_s);
    sqlite3_bind_int64(statement, 5, (int64_t)columns.ttl_s);
    sqlite3_bind_int64(statement, 6, (int64_t)columns.flags);
    sqlite3_bind_blob64(statement, 7, sealed.at, sealed.length, SQLITE_STATIC);
    if ((status = db_step(o->db, statement)) != STATUS_OK)
        return status;
    tally->messages++;
    tally->accepted++;
    tally->bytes += sealed.length;
    o->waiting_of[message->token]++;
    *out = place;
    return STATUS_OK;
}

/* --- Reading --- */

/* Judges a row's age: by elapsed time in the boot it was accepted in; later ones need a trusted clock. */
static void row_age(const struct outbox *o, const struct outbox_epoch *epoch, uint64_t created_s,
                    uint64_t elapsed_ms, struct outbox_row *row)
{
    bool same_boot = memcmp(epoch->boot, o->boot, CLOCK_BOOT_BYTES) == 0;
    uint64_t now_ms = logical_clock_now(&o->clock, elapsed_ms);

    row->at_ms = epoch->base_ms + created_s * 1000;
    row->age_known = same_boot || o->clock.trusted;
    if (same_boot)
        row->age_ms = elapsed_ms > created_s * 1000 ? elapsed_ms - created_s * 1000 : 0;
    else
        row->age_ms = now_ms > row->at_ms ? now_ms - row->at_ms : 0;
}

/* Fills row from a statement that stands on seq, created, ttl, flags, length(body) [, body]. */
static void row_columns(struct outbox *o, const struct outbox_epoch *epoch, struct sqlite3_stmt *statement,
                        enum lane lane, uint64_t elapsed_ms, struct outbox_row *row, struct columns *columns)
{
    *columns = (struct columns){ .created_s = (uint64_t)sqlite3_column_int64(statement, 1),
                                 .ttl_s = (uint64_t)sqlite3_column_int64(statement, 2),
                                 .flags = (uint64_t)sqlite3_column_int64(statement, 3) };
    *row = (struct outbox_row){
        .place = { .lane = lane, .epoch = epoch->id, .seq = (uint64_t)sqlite3_column_int64(statement, 0) },
        .ttl_s = (uint32_t)columns->ttl_s,
        .token = (unsigned)(columns->flags >> FLAG_TOKEN_SHIFT),
        .has_opaque = (columns->flags & FLAG_OPAQUE) != 0,
        .bytes = (size_t)sqlite3_column_int64(statement, 4),
    };
    row_age(o, epoch, columns->created_s, elapsed_ms, row);
}

static int row_open(struct outbox *o, struct sqlite3_stmt *statement, const struct columns *columns,
                    struct outbox_row *row)
{
    struct slice sealed =
        slice_of(sqlite3_column_blob(statement, 5), (size_t)sqlite3_column_bytes(statement, 5));
    uint8_t room[AAD_BYTES_MAX];
    struct slice plain;
    struct reader r;
    int status;

    if (columns->flags >> FLAG_TOKEN_SHIFT > OUTBOX_TOKENS_MAX || columns->ttl_s > UINT32_MAX)
        return STATUS_CORRUPT;
    status = outbox_store_unseal(o, ROW_OUTBOX, row->place.lane, row->place.seq,
                                 row_aad(o, &row->place, columns, room), sealed, &plain);
    if (status != STATUS_OK)
        return status;
    r = reader_of(plain);
    row->opaque = reader_take(&r, reader_varint(&r));
    if (r.failed)
        return STATUS_CORRUPT;
    return outbox_store_unpack(o, reader_rest(&r), &row->item);
}

static const char sql_next[] = "SELECT seq, created, ttl, flags, length(body), body FROM msg"
                               " WHERE lane=? AND epoch=? AND seq>? AND seq<=? ORDER BY seq LIMIT 1";
static const char sql_peek[] = "SELECT seq, created, ttl, flags, length(body) FROM msg"
                               " WHERE lane=? AND epoch=? AND seq>? AND seq<=? ORDER BY seq LIMIT 1";

static int row_next_in(struct outbox *o, const char *sql, const struct outbox_epoch *epoch, enum lane lane,
                       uint64_t after, uint64_t upto, uint64_t elapsed_ms, struct outbox_row *row)
{
    struct sqlite3_stmt *statement;
    struct columns columns;
    int status = db_statement(o->db, sql, &statement);

    if (status != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, lane);
    sqlite3_bind_int64(statement, 2, epoch->index);
    sqlite3_bind_int64(statement, 3, (int64_t)after);
    sqlite3_bind_int64(statement, 4, (int64_t)upto);
    if ((status = outbox_store_row(statement)) == STATUS_OK) {
        row_columns(o, epoch, statement, lane, elapsed_ms, row, &columns);
        if (sql == sql_next)
            status = row_open(o, statement, &columns, row);
    }
    sqlite3_reset(statement);
    return status;
}

static int row_walk(struct outbox *o, const char *sql, enum lane lane, const struct outbox_place *after,
                    uint64_t elapsed_ms, struct outbox_row *row)
{
    const struct outbox_epoch *from = after->epoch ? outbox_store_epoch(o, after->epoch) : NULL;
    int status;

    for (size_t i = from ? (size_t)(from - o->epochs) : 0; i < o->epoch_count; i++) {
        struct outbox_epoch *epoch = &o->epochs[i];

        if (epoch->keyless || epoch->tally[lane].messages == 0)
            continue;
        status = row_next_in(o, sql, epoch, lane, epoch == from ? after->seq : 0,
                             epoch->tally[lane].committed, elapsed_ms, row);
        if (status == STATUS_UNAVAILABLE) {
            epoch->keyless = true;
            log_event(LOG_LEVEL_ERROR, "epoch_key_missing", "epoch=%016llx", (unsigned long long)epoch->id);
        } else if (status != STATUS_END) {
            return status;
        }
    }
    return STATUS_END;
}

int outbox_row_next(struct outbox *o, enum lane lane, const struct outbox_place *after, uint64_t elapsed_ms,
                    struct outbox_row *row)
{
    return row_walk(o, sql_next, lane, after, elapsed_ms, row);
}

int outbox_row_peek(struct outbox *o, enum lane lane, const struct outbox_place *after, uint64_t elapsed_ms,
                    struct outbox_row *row)
{
    return row_walk(o, sql_peek, lane, after, elapsed_ms, row);
}

int outbox_row_find(struct outbox *o, const struct outbox_place *place, uint64_t elapsed_ms,
                    struct outbox_row *row)
{
    const struct outbox_epoch *epoch = outbox_store_epoch(o, place->epoch);

    if (!epoch || place->seq == 0)
        return STATUS_END;
    return row_next_in(o, sql_next, epoch, place->lane, place->seq - 1, place->seq, elapsed_ms, row);
}

/* --- Deleting --- */

static int row_gone(struct outbox *o, struct outbox_epoch *epoch, enum lane lane,
                    struct sqlite3_stmt *statement)
{
    struct outbox_tally *tally = &epoch->tally[lane];
    uint64_t bytes, token;
    int status = outbox_store_row(statement);

    if (status != STATUS_OK) {
        sqlite3_reset(statement);
        return status;
    }
    bytes = (uint64_t)sqlite3_column_int64(statement, 0);
    token = (uint64_t)sqlite3_column_int64(statement, 1) >> FLAG_TOKEN_SHIFT;
    if ((status = db_step(o->db, statement)) != STATUS_OK)
        return status;
    /* Counters that have drifted must not wrap: they would refuse everything. */
    tally->messages -= tally->messages > 0;
    tally->bytes -= bytes < tally->bytes ? bytes : tally->bytes;
    tally->shrunk = true;
    if (token <= OUTBOX_TOKENS_MAX)
        o->waiting_of[token] -= o->waiting_of[token] > 0;
    return STATUS_OK;
}

int outbox_row_delete(struct outbox *o, const struct outbox_place *place)
{
    static const char sql[] =
        "DELETE FROM msg WHERE lane=? AND epoch=? AND seq=? RETURNING length(body), flags";
    struct outbox_epoch *epoch = outbox_store_epoch(o, place->epoch);
    struct sqlite3_stmt *statement;
    int status;

    if (!epoch)
        return STATUS_END;
    if ((status = outbox_write(o)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, place->lane);
    sqlite3_bind_int64(statement, 2, epoch->index);
    sqlite3_bind_int64(statement, 3, (int64_t)place->seq);
    return row_gone(o, epoch, place->lane, statement);
}

int outbox_row_quarantine(struct outbox *o, const struct outbox_place *place)
{
    static const char sql[] =
        "INSERT OR REPLACE INTO quarantine SELECT * FROM msg WHERE lane=? AND epoch=? AND seq=?";
    const struct outbox_epoch *epoch = outbox_store_epoch(o, place->epoch);
    struct sqlite3_stmt *statement;
    int status;

    if (!epoch)
        return STATUS_END;
    if ((status = outbox_write(o)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, place->lane);
    sqlite3_bind_int64(statement, 2, epoch->index);
    sqlite3_bind_int64(statement, 3, (int64_t)place->seq);
    if ((status = db_step(o->db, statement)) != STATUS_OK ||
        (status = outbox_row_delete(o, place)) != STATUS_OK)
        return status;
    o->quarantined++;
    outbox_count(o, OUTBOX_DROPPED_DAMAGED, 1);
    log_event(LOG_LEVEL_ERROR, "row_quarantined", "lane=%s epoch=%016llx seq=%llu", lane_name(place->lane),
              (unsigned long long)place->epoch, (unsigned long long)place->seq);
    return STATUS_OK;
}

bool outbox_row_is_quarantined(struct outbox *o, const struct outbox_place *place)
{
    static const char sql[] = "SELECT 1 FROM quarantine WHERE lane=? AND epoch=? AND seq=?";
    const struct outbox_epoch *epoch = outbox_store_epoch(o, place->epoch);
    struct sqlite3_stmt *statement;
    bool found;

    if (!epoch || db_statement(o->db, sql, &statement) != STATUS_OK)
        return false;
    sqlite3_bind_int64(statement, 1, place->lane);
    sqlite3_bind_int64(statement, 2, epoch->index);
    sqlite3_bind_int64(statement, 3, (int64_t)place->seq);
    found = outbox_store_row(statement) == STATUS_OK;
    sqlite3_reset(statement);
    return found;
}

/* --- What may have left, what is settled --- */

int outbox_place_compare(const struct outbox *o, const struct outbox_place *a, const struct outbox_place *b)
{
    const struct outbox_epoch *left = outbox_store_epoch(o, a->epoch);
    const struct outbox_epoch *right = outbox_store_epoch(o, b->epoch);
    uint64_t left_born = left ? left->born : 0, right_born = right ? right->born : 0;

    if (left_born != right_born)
        return left_born < right_born ? -1 : 1;
    return a->seq < b->seq ? -1 : a->seq > b->seq;
}

bool outbox_row_may_have_left(const struct outbox *o, const struct outbox_place *place)
{
    const struct outbox_epoch *epoch = outbox_store_epoch(o, place->epoch);

    if (!epoch || !epoch->cleared)
        return !epoch || epoch->linked;
    return o->offered[place->lane].seq > 0 && outbox_place_compare(o, place, &o->offered[place->lane]) <= 0;
}

void outbox_row_offered(struct outbox *o, const struct outbox_place *place)
{
    struct outbox_place *offered = &o->offered[place->lane];

    if (offered->seq == 0 || outbox_place_compare(o, place, offered) > 0)
        *offered = *place;
}

void outbox_row_settled(struct outbox *o, const struct outbox_place *upto)
{
    struct outbox_epoch *epoch = outbox_store_epoch(o, upto->epoch);

    if (epoch && upto->seq > epoch->settled[upto->lane])
        epoch->settled[upto->lane] = upto->seq;
}

bool outbox_row_is_settled(const struct outbox *o, const struct outbox_place *place)
{
    const struct outbox_epoch *epoch = outbox_store_epoch(o, place->epoch);

    return epoch && place->seq <= epoch->settled[place->lane];
}

int outbox_row_next_settled(struct outbox *o, uint64_t elapsed_ms, struct outbox_row *row)
{
    int status;

    for (size_t i = 0; i < o->epoch_count; i++) {
        for (int lane = 0; lane < LANE_COUNT; lane++) {
            struct outbox_epoch *epoch = &o->epochs[i];

            if (epoch->settled[lane] == 0 || epoch->tally[lane].messages == 0 ||
                epoch->drained[lane] == epoch->settled[lane])
                continue;
            status =
                row_next_in(o, sql_peek, epoch, (enum lane)lane, 0, epoch->settled[lane], elapsed_ms, row);
            if (status != STATUS_END)
                return status;
            epoch->drained[lane] = epoch->settled[lane];
        }
    }
    return STATUS_END;
}

/* --- Holding --- */

int outbox_hold(struct outbox *o, const struct outbox_place *from)
{
    static const char sql[] =
        "INSERT INTO hold(lane, born, seq) VALUES(?, ?, ?) ON CONFLICT(lane) DO UPDATE SET"
        " born=excluded.born, seq=excluded.seq";
    const struct outbox_epoch *epoch = outbox_store_epoch(o, from->epoch);
    struct outbox_hold hold = { .held = true, .born = epoch ? epoch->born : 0, .seq = from->seq };
    struct sqlite3_stmt *statement;
    int status;

    if ((status = outbox_write(o)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, from->lane);
    sqlite3_bind_int64(statement, 2, (int64_t)hold.born);
    sqlite3_bind_int64(statement, 3, (int64_t)hold.seq);
    if ((status = db_step(o->db, statement)) == STATUS_OK)
        o->holds[from->lane] = hold;
    return status;
}

int outbox_release(struct outbox *o, enum lane lane)
{
    static const char sql[] = "DELETE FROM hold WHERE lane=?";
    struct sqlite3_stmt *statement;
    int status;

    if (!o->holds[lane].held)
        return STATUS_END;
    if ((status = outbox_write(o)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, lane);
    if ((status = db_step(o->db, statement)) == STATUS_OK)
        o->holds[lane].held = false;
    return status;
}

bool outbox_is_held(const struct outbox *o, const struct outbox_place *place)
{
    const struct outbox_hold *hold = &o->holds[place->lane];
    const struct outbox_epoch *epoch = outbox_store_epoch(o, place->epoch);

    if (!hold->held || !epoch)
        return false;
    return epoch->born > hold->born || (epoch->born == hold->born && place->seq >= hold->seq);
}

bool outbox_is_holding(const struct outbox *o, enum lane lane)
{
    return o->holds[lane].held;
}
