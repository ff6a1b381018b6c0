/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/outbox.h"

#include <assert.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/outbox_store.h"
#include "sync/kit/file.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

#define CLOCK_SAVE_MS 60000u /* The clock is saved at least so often while there is traffic. */
#define HOUR_MS INT64_C(3600000)
/* A guessed clock that lags so much had never been set: 1970, or the day of the firmware. */
#define GUESS_WRONG_MS (365 * 24 * HOUR_MS)
#define GUESS_AHEAD_MS INT64_C(-60000) /* Less than a minute ahead is the drift of a good clock. */
#define ROOM_KEPT 262144u              /* Working room that stays allocated. */

/* The schema: storage.md section 2, with the epoch in every key. created is in seconds of the machine boot in
 * which the epoch began: the age of a row of this boot is then right whatever the clock is told later. */
static const char *const steps[] = {
    "CREATE TABLE meta(id INTEGER PRIMARY KEY CHECK(id=0), store INT NOT NULL, boots INT NOT NULL,"
    " clock_ms INT NOT NULL, elapsed_ms INT NOT NULL, boot BLOB NOT NULL, salt BLOB NOT NULL,"
    " ledger INT NOT NULL) STRICT;"
    "CREATE TABLE epoch(idx INTEGER PRIMARY KEY, id INT NOT NULL, born INT NOT NULL, boot BLOB NOT NULL,"
    " base_ms INT NOT NULL, sealed_day INT NOT NULL, linked INT NOT NULL) STRICT;"
    "CREATE TABLE msg(lane INT NOT NULL, epoch INT NOT NULL, seq INT NOT NULL, created INT NOT NULL,"
    " ttl INT NOT NULL, flags INT NOT NULL, body BLOB NOT NULL, PRIMARY KEY(lane, epoch, seq))"
    " STRICT, WITHOUT ROWID;"
    "CREATE TABLE tally(lane INT NOT NULL, epoch INT NOT NULL, n INT NOT NULL, bytes INT NOT NULL,"
    " accepted INT NOT NULL, snap INT NOT NULL, PRIMARY KEY(lane, epoch)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE share(token INTEGER PRIMARY KEY, n INT NOT NULL) STRICT;"
    "CREATE TABLE total(id INTEGER PRIMARY KEY, n INT NOT NULL) STRICT;"
    "CREATE TABLE hold(lane INTEGER PRIMARY KEY, born INT NOT NULL, seq INT NOT NULL) STRICT;"
    "CREATE TABLE quarantine(lane INT NOT NULL, epoch INT NOT NULL, seq INT NOT NULL, created INT NOT NULL,"
    " ttl INT NOT NULL, flags INT NOT NULL, body BLOB NOT NULL, PRIMARY KEY(lane, epoch, seq))"
    " STRICT, WITHOUT ROWID;"
    "CREATE TABLE mark(epoch INT NOT NULL, lane INT NOT NULL, seq INT NOT NULL, PRIMARY KEY(epoch, lane))"
    " STRICT, WITHOUT ROWID;"
    "CREATE TABLE delivery(conv INT NOT NULL, n INT NOT NULL, at INT NOT NULL, body BLOB NOT NULL,"
    " PRIMARY KEY(conv, n)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE idem(hour INT NOT NULL, h INT NOT NULL, digest BLOB NOT NULL, epoch INT NOT NULL,"
    " lane INT NOT NULL, seq INT NOT NULL, PRIMARY KEY(hour, h)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE history(day INT NOT NULL, epoch INT NOT NULL, lane INT NOT NULL, seq INT NOT NULL,"
    " n INT NOT NULL, body BLOB NOT NULL, PRIMARY KEY(day, epoch, lane, seq, n)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE token(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, hash BLOB NOT NULL,"
    " created_ms INT NOT NULL) STRICT;",
};

static const char *const total_names[OUTBOX_TOTALS] = {
    [OUTBOX_ACCEPTED] = "accepted",
    [OUTBOX_SYNCED] = "synced",
    [OUTBOX_REFUSED] = "refused",
    [OUTBOX_EXPIRED] = "expired",
    [OUTBOX_WITHDRAWN] = "withdrawn",
    [OUTBOX_UNKNOWN] = "unknown",
    [OUTBOX_RECEIVED] = "received",
    [OUTBOX_DELIVERED] = "delivered",
    [OUTBOX_DROPPED_DAMAGED] = "damaged",
    [OUTBOX_DROPPED_WEBHOOK] = "undeliverable",
    [OUTBOX_DROPPED_MALFORMED] = "malformed",
};

/* --- Shared with the outbox's other files --- */

int outbox_store_room(struct text *room, size_t length)
{
    char *grown;

    if (room->room >= length && room->at)
        return STATUS_OK;
    length = length < 4096 ? 4096 : length;
    if (!(grown = realloc(room->at, length)))
        return STATUS_NO_MEMORY;
    room->at = grown;
    room->room = length;
    return STATUS_OK;
}

int outbox_store_pack(struct outbox *o, struct slice plain, struct slice *out)
{
    size_t room = pack_bound(plain.length);
    int status = outbox_store_room(&o->packed, room);

    return status != STATUS_OK ? status : pack(o->packer, plain, (uint8_t *)o->packed.at, room, out);
}

int outbox_store_unpack(struct outbox *o, struct slice packed, struct slice *out)
{
    size_t room = 16384;
    int status;

    /* The packed form says its length only to unpack(): the room grows until it does. */
    for (;; room *= 4) {
        if ((status = outbox_store_room(&o->unpacked, room)) != STATUS_OK)
            return status;
        status = unpack(packed, (uint8_t *)o->unpacked.at, o->unpacked.room, out);
        if (status != STATUS_TOO_LARGE || room > 8u * 1024 * 1024)
            break;
    }
    return status == STATUS_PEER_MALFORMED || status == STATUS_TOO_LARGE ? STATUS_CORRUPT : status;
}

int outbox_store_seal(struct outbox *o, enum row_table table, enum lane lane, uint64_t seq, struct slice aad,
                      struct slice plain, struct slice *out)
{
    struct row_place place = {
        .index = outbox_store_current(o)->index, .table = table, .lane = (uint8_t)lane, .seq = seq
    };
    size_t length = 0;
    int status = outbox_store_room(&o->sealed, plain.length + ROW_OVERHEAD_MAX);

    if (status == STATUS_OK)
        status = row_seal(o->keys, &place, aad, plain, (uint8_t *)o->sealed.at, &length);
    *out = slice_of(o->sealed.at, length);
    return status;
}

int outbox_store_unseal(struct outbox *o, enum row_table table, enum lane lane, uint64_t seq,
                        struct slice aad, struct slice sealed, struct slice *out)
{
    struct row_place place = { .table = table, .lane = (uint8_t)lane, .seq = seq };
    size_t length = 0;
    int status = outbox_store_room(&o->plain, sealed.length);

    if (status == STATUS_OK)
        status = row_unseal(o->keys, place, aad, sealed, (uint8_t *)o->plain.at, &length);
    *out = slice_of(o->plain.at, length);
    return status;
}

int outbox_store_row(struct sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);

    return code == SQLITE_ROW ? STATUS_OK : code == SQLITE_DONE ? STATUS_END : db_status(code);
}

int outbox_store_number(struct outbox *o, uint64_t now_ms, uint64_t *out)
{
    static const char sql[] = "UPDATE epoch SET sealed_day=? WHERE idx=?";
    struct outbox_epoch *current = outbox_store_current(o);
    uint64_t day = now_ms / OUTBOX_DAY_MS;
    struct sqlite3_stmt *statement;
    int status;

    /* Boots and rows of one both stay far below 2^31. */
    *out = o->boot_counter << 32 | ++o->sealed_count;
    if (current->sealed_day >= day)
        return STATUS_OK;
    if ((status = outbox_write(o)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, (int64_t)day);
    sqlite3_bind_int64(statement, 2, current->index);
    if ((status = db_step(o->db, statement)) == STATUS_OK)
        current->sealed_day = day;
    return status;
}

/* --- Opening --- */

static int outbox_make_meta(struct outbox *o, const struct outbox_options *options)
{
    static const char sql[] = "INSERT INTO meta(id, store, boots, clock_ms, elapsed_ms, boot, salt, ledger)"
                              " VALUES(0, ?, 0, 0, 0, ?, ?, 0) ON CONFLICT(id) DO NOTHING";
    struct sqlite3_stmt *statement;
    uint64_t store = 0;
    uint8_t salt[OUTBOX_SALT_BYTES];
    int status;

    if ((status = seal_random(&store, sizeof store)) != STATUS_OK ||
        (status = seal_random(salt, sizeof salt)) != STATUS_OK || (status = db_write(o->db)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, (int64_t)(store >> 1));
    sqlite3_bind_blob(statement, 2, options->boot, CLOCK_BOOT_BYTES, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 3, salt, sizeof salt, SQLITE_STATIC);
    return db_step(o->db, statement);
}

/* clock_ms is negative while no trusted time was ever heard. */
static int outbox_read_meta(struct outbox *o, const struct outbox_options *options)
{
    static const char sql[] = "SELECT store, boots, clock_ms, elapsed_ms, boot, salt FROM meta WHERE id=0";
    struct logical_clock_saved saved;
    struct sqlite3_stmt *statement;
    int64_t clock_ms;
    int status;

    if ((status = db_statement(o->db, sql, &statement)) != STATUS_OK ||
        (status = outbox_store_row(statement)) != STATUS_OK)
        return status == STATUS_END ? STATUS_CORRUPT : status;
    if (sqlite3_column_bytes(statement, 4) != CLOCK_BOOT_BYTES ||
        sqlite3_column_bytes(statement, 5) != OUTBOX_SALT_BYTES)
        return STATUS_CORRUPT;
    o->store_id = (uint64_t)sqlite3_column_int64(statement, 0);
    o->boot_counter = (uint64_t)sqlite3_column_int64(statement, 1);
    clock_ms = sqlite3_column_int64(statement, 2);
    saved = (struct logical_clock_saved){
        .at_ms = (uint64_t)(clock_ms < 0 ? -clock_ms : clock_ms),
        .elapsed_ms = (uint64_t)sqlite3_column_int64(statement, 3),
        .same_boot = memcmp(sqlite3_column_blob(statement, 4), options->boot, CLOCK_BOOT_BYTES) == 0,
        .guessed = clock_ms < 0,
    };
    memcpy(o->salt, sqlite3_column_blob(statement, 5), OUTBOX_SALT_BYTES);
    logical_clock_open(&o->clock, &saved, options->elapsed_ms, options->wall_ms);
    sqlite3_reset(statement);
    return STATUS_OK;
}

/* One number per row, by its id; 0 where there is none. */
static int outbox_read_numbers(struct outbox *o, const char *sql, uint64_t *out, size_t count)
{
    struct sqlite3_stmt *statement;
    int status = db_statement(o->db, sql, &statement);

    if (status != STATUS_OK)
        return status;
    while ((status = outbox_store_row(statement)) == STATUS_OK) {
        int64_t id = sqlite3_column_int64(statement, 0);

        if (id >= 0 && (uint64_t)id < count)
            out[id] = (uint64_t)sqlite3_column_int64(statement, 1);
    }
    return status == STATUS_END ? STATUS_OK : status;
}

static int outbox_read_counters(struct outbox *o)
{
    static const char totals[] = "SELECT id, n FROM total";
    static const char quarantine[] = "SELECT 0, count(*) FROM quarantine";
    /* A scan, but a program that is behind by a million webhooks has been away for days. */
    static const char webhooks[] = "SELECT 0, count(*) FROM delivery";
    int status;

    if ((status = outbox_read_numbers(o, totals, o->totals, OUTBOX_TOTALS)) != STATUS_OK ||
        (status = outbox_read_numbers(o, quarantine, &o->quarantined, 1)) != STATUS_OK ||
        (status = outbox_read_numbers(o, webhooks, &o->webhooks, 1)) != STATUS_OK)
        return status;
    memcpy(o->totals_saved, o->totals, sizeof o->totals);
    return STATUS_OK;
}

static int outbox_read_holds(struct outbox *o)
{
    static const char sql[] = "SELECT lane, born, seq FROM hold";
    struct sqlite3_stmt *statement;
    int status = db_statement(o->db, sql, &statement);

    if (status != STATUS_OK)
        return status;
    while ((status = outbox_store_row(statement)) == STATUS_OK) {
        int64_t lane = sqlite3_column_int64(statement, 0);

        if (lane >= 0 && lane < LANE_COUNT)
            o->holds[lane] = (struct outbox_hold){ .held = true,
                                                   .born = (uint64_t)sqlite3_column_int64(statement, 1),
                                                   .seq = (uint64_t)sqlite3_column_int64(statement, 2) };
    }
    return status == STATUS_END ? STATUS_OK : status;
}

static int outbox_save_clock(struct outbox *o, uint64_t elapsed_ms)
{
    static const char sql[] = "UPDATE meta SET boots=?, clock_ms=?, elapsed_ms=?, boot=? WHERE id=0";
    uint64_t now_ms = logical_clock_now(&o->clock, elapsed_ms);
    struct sqlite3_stmt *statement;
    int status = db_statement(o->db, sql, &statement);

    if (status != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, (int64_t)o->boot_counter);
    sqlite3_bind_int64(statement, 2, o->clock.guessed ? -(int64_t)now_ms : (int64_t)now_ms);
    sqlite3_bind_int64(statement, 3, (int64_t)elapsed_ms);
    sqlite3_bind_blob(statement, 4, o->boot, CLOCK_BOOT_BYTES, SQLITE_STATIC);
    if ((status = db_step(o->db, statement)) == STATUS_OK) {
        o->clock_saved_ms = now_ms;
        o->clock_moved = false;
    }
    return status;
}

/* A new start: what the last run's tallies accepted becomes a part of the totals, for epochs come and go. */
static int outbox_begin(struct outbox *o, const struct outbox_options *options)
{
    int status;

    o->boot_counter++;
    for (size_t i = 0; i < o->epoch_count; i++) {
        for (int lane = 0; lane < LANE_COUNT; lane++) {
            struct outbox_tally *tally = &o->epochs[i].tally[lane];

            o->totals[OUTBOX_ACCEPTED] += tally->accepted;
            tally->shrunk = tally->accepted > 0 || tally->last > tally->snap;
            tally->accepted = 0;
        }
    }
    if ((status = db_write(o->db)) != STATUS_OK)
        return status;
    if ((status = outbox_epochs_drop(o, logical_clock_now(&o->clock, options->elapsed_ms))) != STATUS_OK ||
        (status = outbox_epochs_begin(o, options->elapsed_ms)) != STATUS_OK ||
        (status = outbox_save_clock(o, options->elapsed_ms)) != STATUS_OK)
        return status;
    return outbox_commit(o, options->elapsed_ms);
}

static int outbox_load(struct outbox *o, const struct outbox_options *options)
{
    static const char shares[] = "SELECT token, n FROM share";
    int status;

    if ((status = db_migrate(o->db, steps, sizeof steps / sizeof *steps)) != STATUS_OK ||
        (status = outbox_make_meta(o, options)) != STATUS_OK || (status = db_commit(o->db)) != STATUS_OK ||
        (status = outbox_read_meta(o, options)) != STATUS_OK ||
        (status = outbox_read_counters(o)) != STATUS_OK ||
        (status = outbox_read_numbers(o, shares, o->waiting_of, OUTBOX_TOKENS_MAX + 1)) != STATUS_OK ||
        (status = outbox_epochs_load(o)) != STATUS_OK || (status = outbox_read_holds(o)) != STATUS_OK ||
        (status = outbox_tokens_load(o)) != STATUS_OK)
        return status;
    return options->offline ? STATUS_OK : outbox_begin(o, options);
}

/* Renames a database, its log too; files that are not there need no renaming. */
static void outbox_move_files(const char *from, const char *to)
{
    static const char *const suffixes[] = { "", "-wal" };

    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        struct text old = { 0 }, new = { 0 };

        text_printf(&old, "%s%s", from, suffixes[i]);
        text_printf(&new, "%s%s", to, suffixes[i]);
        if (!old.failed && !new.failed)
            (void)rename(old.at, new.at);
        text_free(&old);
        text_free(&new);
    }
}

static int outbox_open_db(struct outbox *o, const struct outbox_options *options)
{
    struct db_options db = { .path = o->path,
                             .bytes_max = options->bytes_max,
                             .reserve_bytes = options->reserve_bytes };

    return db_open(&o->db, &db);
}

static void outbox_forget(struct outbox *o)
{
    db_close(o->db);
    o->db = NULL;
    free(o->epochs);
    o->epochs = NULL;
    o->epoch_count = o->epoch_room = 0;
    memset(o->waiting_of, 0, sizeof o->waiting_of);
    memset(o->totals, 0, sizeof o->totals);
    memset(o->holds, 0, sizeof o->holds);
    keyring_close(o->keys);
    o->keys = NULL;
}

static int outbox_open_keys(struct outbox *o, const struct outbox_options *options)
{
    char *folder = file_join(options->folder, "epochs");
    int status = folder ? keyring_open(&o->keys, folder) : STATUS_NO_MEMORY;

    free(folder);
    return status;
}

/* Where a damaged file goes. Another may lie there already: a disk that dies damages more than one. */
static int outbox_aside(const struct outbox *o, int64_t wall_ms, struct text *out)
{
    int64_t number = wall_ms / 1000;

    do {
        text_clear(out);
        text_printf(out, "%s.damaged-%" PRId64, o->path, number++);
    } while (!out->failed && access(out->at, F_OK) == 0);
    return out->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

/* The damaged file goes aside, a new one takes what can still be read. */
static int outbox_rescue(struct outbox *o, const struct outbox_options *options)
{
    struct text aside = { 0 };
    int status;

    outbox_forget(o);
    if ((status = outbox_aside(o, options->wall_ms, &aside)) != STATUS_OK) {
        text_free(&aside);
        return status;
    }
    log_event(LOG_LEVEL_ERROR, "store_damaged", "action=salvage");
    outbox_move_files(o->path, aside.at);
    if ((status = outbox_open_keys(o, options)) == STATUS_OK &&
        (status = outbox_open_db(o, options)) == STATUS_OK &&
        (status = db_migrate(o->db, steps, sizeof steps / sizeof *steps)) == STATUS_OK &&
        (status = outbox_salvage(o, aside.at)) == STATUS_OK)
        status = outbox_load(o, options);
    if (status != STATUS_OK) {
        /* The next attempt must find the damaged file, not half of what was saved from it. */
        outbox_forget(o);
        outbox_move_files(aside.at, o->path);
    }
    text_free(&aside);
    return status;
}

static int outbox_paths(struct outbox *o, const struct outbox_options *options)
{
    int status = file_make_folder(options->folder, 0700);

    if (status != STATUS_OK)
        return status;
    o->path = file_join(options->folder, "relay.db");
    return o->path ? STATUS_OK : STATUS_NO_MEMORY;
}

/* A row is packed while its sender waits: two bytes longer than PACK_HIGH makes it, in a quarter of the time.
 */
#define ROW_PACKING PACK_FAST

int outbox_open(struct outbox **out, const struct outbox_options *options)
{
    struct outbox *o = calloc(1, sizeof *o);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!o)
        goto fail;
    o->branch = options->branch;
    memcpy(o->boot, options->boot, CLOCK_BOOT_BYTES);
    if ((status = outbox_paths(o, options)) != STATUS_OK ||
        (status = packer_open(&o->packer, ROW_PACKING)) != STATUS_OK ||
        (status = outbox_open_keys(o, options)) != STATUS_OK)
        goto fail;
    if (options->salvage)
        status = STATUS_CORRUPT;
    else if ((status = outbox_open_db(o, options)) == STATUS_OK)
        status = outbox_load(o, options);
    if (status == STATUS_NO_SPACE && o->db && db_release_reserve(o->db)) {
        /* The disk is full: with the reserve there is room to begin, and then to drain. */
        outbox_forget(o);
        if ((status = outbox_open_keys(o, options)) == STATUS_OK &&
            (status = outbox_open_db(o, options)) == STATUS_OK)
            status = outbox_load(o, options);
    }
    if (status == STATUS_CORRUPT)
        status = outbox_rescue(o, options);
    if (status != STATUS_OK)
        goto fail;
    *out = o;
    return STATUS_OK;
fail:
    outbox_close(o);
    return status;
}

void outbox_close(struct outbox *o)
{
    if (!o)
        return;
    db_close(o->db);
    keyring_close(o->keys);
    packer_close(o->packer);
    text_wipe(&o->packed);
    text_wipe(&o->sealed);
    text_wipe(&o->plain);
    text_wipe(&o->unpacked);
    free(o->tokens);
    free(o->epochs);
    free(o->path);
    free(o);
}

/* --- The turn --- */

int outbox_write(struct outbox *o)
{
    return db_write(o->db);
}

bool outbox_is_writing(const struct outbox *o)
{
    return db_is_writing(o->db);
}

int outbox_mark(struct outbox *o)
{
    memcpy(o->undo_tally, outbox_store_current(o)->tally, sizeof o->undo_tally);
    memcpy(o->undo_waiting_of, o->waiting_of, sizeof o->undo_waiting_of);
    return db_mark(o->db);
}

int outbox_keep(struct outbox *o)
{
    return db_keep(o->db);
}

void outbox_undo(struct outbox *o)
{
    struct outbox_tally *tally = outbox_store_current(o)->tally;

    db_undo(o->db);
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        uint64_t last = tally[lane].last; /* A number once sealed under is never sealed under again. */

        tally[lane] = o->undo_tally[lane];
        tally[lane].last = last;
    }
    memcpy(o->waiting_of, o->undo_waiting_of, sizeof o->waiting_of);
}

static int outbox_save_totals(struct outbox *o)
{
    static const char sql[] =
        "INSERT INTO total(id, n) VALUES(?, ?) ON CONFLICT(id) DO UPDATE SET n=excluded.n";
    struct sqlite3_stmt *statement;
    int status;

    for (int i = 0; i < OUTBOX_TOTALS; i++) {
        if (o->totals[i] == o->totals_saved[i])
            continue;
        if ((status = db_statement(o->db, sql, &statement)) != STATUS_OK)
            return status;
        sqlite3_bind_int64(statement, 1, i);
        sqlite3_bind_int64(statement, 2, (int64_t)o->totals[i]);
        if ((status = db_step(o->db, statement)) != STATUS_OK)
            return status;
        o->totals_saved[i] = o->totals[i];
    }
    return STATUS_OK;
}

int outbox_commit(struct outbox *o, uint64_t elapsed_ms)
{
    int status;

    if (!db_is_writing(o->db))
        return STATUS_OK;
    if ((status = outbox_tallies_save(o)) != STATUS_OK || (status = outbox_save_totals(o)) != STATUS_OK)
        return status;
    if ((o->clock_moved || logical_clock_now(&o->clock, elapsed_ms) > o->clock_saved_ms + CLOCK_SAVE_MS) &&
        (status = outbox_save_clock(o, elapsed_ms)) != STATUS_OK)
        return status;
    if ((status = db_commit(o->db)) == STATUS_OK)
        outbox_tallies_committed(o);
    return status;
}

/* What one large message took is given back. */
static void outbox_trim(struct text *room)
{
    if (room->room > ROOM_KEPT)
        text_wipe(room);
}

void outbox_tidy(struct outbox *o)
{
    outbox_trim(&o->packed);
    outbox_trim(&o->sealed);
    outbox_trim(&o->plain);
    outbox_trim(&o->unpacked);
    db_tidy(o->db);
}

void outbox_release_reserve(struct outbox *o)
{
    (void)db_release_reserve(o->db);
}

bool outbox_drains_only(const struct outbox *o)
{
    return db_drain_only(o->db);
}

uint64_t outbox_used_bytes(struct outbox *o)
{
    return db_used_bytes(o->db);
}

uint64_t outbox_syncs(const struct outbox *o)
{
    return db_syncs(o->db);
}

uint64_t outbox_commits(const struct outbox *o)
{
    return db_commits(o->db);
}

/* --- Facts and the clock --- */

uint64_t outbox_store_id(const struct outbox *o)
{
    return o->store_id;
}

uint64_t outbox_boot_counter(const struct outbox *o)
{
    return o->boot_counter;
}

struct slice outbox_salt(const struct outbox *o)
{
    return slice_of(o->salt, sizeof o->salt);
}

uint64_t outbox_now_ms(const struct outbox *o, uint64_t elapsed_ms)
{
    return logical_clock_now(&o->clock, elapsed_ms);
}

bool outbox_is_trusted(const struct outbox *o)
{
    return o->clock.trusted;
}

bool outbox_is_guessing(const struct outbox *o)
{
    return o->clock.guessed;
}

int64_t outbox_clock_offset_ms(const struct outbox *o)
{
    return o->clock.offset_ms;
}

/* Every time of this boot is counted from the boot's begin, which is now known. */
static int outbox_set_begin(struct outbox *o, uint64_t base_ms)
{
    static const char sql[] = "UPDATE epoch SET base_ms=? WHERE boot=?";
    struct sqlite3_stmt *statement;
    int status;

    if ((status = db_write(o->db)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, (int64_t)base_ms);
    sqlite3_bind_blob(statement, 2, o->boot, CLOCK_BOOT_BYTES, SQLITE_STATIC);
    if ((status = db_step(o->db, statement)) != STATUS_OK)
        return status;
    for (size_t i = 0; i < o->epoch_count; i++)
        if (memcmp(o->epochs[i].boot, o->boot, CLOCK_BOOT_BYTES) == 0)
            o->epochs[i].base_ms = base_ms;
    return STATUS_OK;
}

/* A guess that was far off moves what was written under it, so that ages and the hour of an idempotency key
 * stay what they were: all of it when the guess was behind, what lies in the future when it was ahead. A
 * small correction moves nothing: the time the box was switched off is a part of it. */
static int outbox_correct_guess(struct outbox *o, int64_t by_ms, uint64_t trusted_ms)
{
    static const char keys[] = "UPDATE OR REPLACE idem SET hour = hour + ? WHERE hour > ?";
    uint64_t after_ms = by_ms < 0 ? trusted_ms : 0;
    struct sqlite3_stmt *statement;
    int status;

    if (by_ms > GUESS_AHEAD_MS && by_ms < GUESS_WRONG_MS)
        return STATUS_OK;
    if ((status = outbox_epochs_move(o, by_ms, after_ms)) != STATUS_OK ||
        (status = db_statement(o->db, keys, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, by_ms / HOUR_MS);
    sqlite3_bind_int64(statement, 2, (int64_t)after_ms / HOUR_MS);
    log_event(LOG_LEVEL_WARNING, "clock_corrected", "by_s=%" PRId64, by_ms / 1000);
    return db_step(o->db, statement);
}

int outbox_trust(struct outbox *o, uint64_t trusted_ms, uint64_t elapsed_ms, int64_t wall_ms)
{
    uint64_t before_ms = logical_clock_now(&o->clock, elapsed_ms);
    bool guessed = o->clock.guessed;
    int status;

    logical_clock_trust(&o->clock, trusted_ms, elapsed_ms, wall_ms);
    /* Small corrections need no write: they come with every hello. */
    if (!guessed && logical_clock_now(&o->clock, elapsed_ms) < before_ms + 1000)
        return STATUS_OK;
    o->clock_moved = true;
    if ((status = db_write(o->db)) != STATUS_OK ||
        (guessed &&
         (status = outbox_correct_guess(o, (int64_t)(trusted_ms - before_ms), trusted_ms)) != STATUS_OK))
        return status;
    return outbox_set_begin(o, trusted_ms > elapsed_ms ? trusted_ms - elapsed_ms : 0);
}

void outbox_count(struct outbox *o, enum outbox_total total, uint64_t n)
{
    assert(total < OUTBOX_TOTALS);
    o->totals[total] += n;
}

uint64_t outbox_total(const struct outbox *o, enum outbox_total total)
{
    uint64_t n = o->totals[total];

    if (total != OUTBOX_ACCEPTED)
        return n;
    for (size_t i = 0; i < o->epoch_count; i++)
        for (int lane = 0; lane < LANE_COUNT; lane++)
            n += o->epochs[i].tally[lane].accepted;
    return n;
}

const char *outbox_total_name(enum outbox_total total)
{
    assert(total < OUTBOX_TOTALS);
    return total_names[total];
}

uint64_t outbox_quarantined(const struct outbox *o)
{
    return o->quarantined;
}
