/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/db.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sync/kit/db_vfs.h"
#include "sync/kit/file.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

#define PAGE_BYTES 4096
#define WAL_PAGES_MAX 1000 /* Then a checkpoint: fewer and more pages both write more bytes per message. */
#define STATEMENTS_MAX 512 /* All SQL is literal text: more would mean that it is made at run time. */

struct cached {
    const char *sql; /* Its address is the key. */
    sqlite3_stmt *statement;
};

struct db {
    sqlite3 *handle;
    sqlite3_file *file; /* For db_vfs_*. */
    char *path;
    char *reserve_path;
    uint64_t reserve_bytes;
    bool reserve_there;
    struct cached *cache;
    size_t cached, cache_room;
    bool writing;        /* A turn is open. */
    bool own_rollback;   /* The rollback being done is ours. */
    bool lost;           /* SQLite rolled the turn back by itself... */
    int lost_why;        /* ... for this status. */
    bool broken;         /* A sync failed: nothing is written any more. */
    unsigned marks;      /* Open savepoints. */
    int wal_pages;       /* Since the last checkpoint. */
    bool committed_work; /* The commit being done wrote pages. */
    uint64_t commits;
};

/* --- Outcomes --- */

int db_status(int sqlite_code)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return STATUS_OK;
    case SQLITE_FULL: return STATUS_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return STATUS_CORRUPT;
    case SQLITE_NOMEM: return STATUS_NO_MEMORY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return STATUS_BUSY;
    case SQLITE_CONSTRAINT: return STATUS_CONFLICT;
    case SQLITE_TOOBIG: return STATUS_TOO_LARGE;
    default: return STATUS_IO;
    }
}

int db_failure(struct db *db, int sqlite_code)
{
    int status = db_status(sqlite_code);
    bool was_full = db->file && db_vfs_was_full(db->file);
    char quoted[256];

    if (status == STATUS_FULL && was_full)
        status = STATUS_NO_SPACE;
    if (status == STATUS_IO || status == STATUS_CORRUPT)
        log_event(LOG_LEVEL_ERROR, "db_failed", "code=%d message=%s", sqlite_code,
                  log_quote(slice_text(sqlite3_errmsg(db->handle)), quoted, sizeof quoted));
    if (db->lost && db->lost_why == STATUS_OK)
        db->lost_why = status;
    return status;
}

/* Why the turn was lost; whoever saw the error first may not have asked db_failure(). */
static int db_lost_why(struct db *db)
{
    if (db->lost_why == STATUS_OK)
        (void)db_failure(db, sqlite3_extended_errcode(db->handle));
    if (db->lost_why == STATUS_OK)
        db->lost_why = STATUS_IO;
    return db->lost_why;
}

static void note_rollback(void *context)
{
    struct db *db = context;

    if (db->writing && !db->own_rollback)
        db->lost = true;
}

static int note_wal(void *context, sqlite3 *handle, const char *name, int pages)
{
    struct db *db = context;

    (void)handle;
    (void)name;
    db->wal_pages = pages;
    db->committed_work = true;
    return SQLITE_OK;
}

/* --- The reserve --- */

static bool reserve_make(const struct db *db)
{
    int fd = open(db->reserve_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int failed = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)db->reserve_bytes);

    if (!failed && fsync(fd) != 0)
        failed = errno;
    if (fd >= 0)
        close(fd);
    if (failed)
        unlink(db->reserve_path);
    return !failed;
}

static bool reserve_is_whole(const struct db *db)
{
    struct stat found;

    return stat(db->reserve_path, &found) == 0 && (uint64_t)found.st_size == db->reserve_bytes &&
           (uint64_t)found.st_blocks * 512 >= db->reserve_bytes;
}

/* Also at a start: it must not take back what was released before it. */
static void reserve_remake(struct db *db)
{
    db->reserve_there = reserve_is_whole(db);
    /* As much again must stay free, or the next message would spend the reserve that was just made. */
    if (db->reserve_there || file_free_bytes(db->path) / 2 < db->reserve_bytes)
        return;
    db->reserve_there = reserve_make(db);
    if (db->reserve_there)
        log_event(LOG_LEVEL_INFO, "db_reserve_made", "bytes=%zu", (size_t)db->reserve_bytes);
}

bool db_release_reserve(struct db *db)
{
    if (!db->reserve_there)
        return false;
    db->reserve_there = false;
    log_event(LOG_LEVEL_WARNING, "db_reserve_released", "bytes=%zu", (size_t)db->reserve_bytes);
    return unlink(db->reserve_path) == 0;
}

bool db_drain_only(const struct db *db)
{
    return db->reserve_bytes > 0 && !db->reserve_there;
}

/* --- Opening --- */

/* The order matters: locking_mode before anything reads the file, or its WAL index would be a file too;
 * page_size and auto_vacuum before the first page exists. */
static const struct {
    const char *set, *get, *expected;
} pragmas[] = {
    { "PRAGMA locking_mode=EXCLUSIVE", "PRAGMA locking_mode", "exclusive" },
    { "PRAGMA page_size=4096", "PRAGMA page_size", "4096" },
    { "PRAGMA auto_vacuum=INCREMENTAL", "PRAGMA auto_vacuum", "2" },
    { "PRAGMA journal_mode=WAL", "PRAGMA journal_mode", "wal" },
    { "PRAGMA synchronous=FULL", "PRAGMA synchronous", "2" },
    { "PRAGMA wal_autocheckpoint=0", "PRAGMA wal_autocheckpoint", "0" },
    { "PRAGMA journal_size_limit=8388608", "PRAGMA journal_size_limit", "8388608" },
    { "PRAGMA cache_size=-2048", "PRAGMA cache_size", "-2048" },
    { "PRAGMA temp_store=MEMORY", "PRAGMA temp_store", "2" },
    { "PRAGMA secure_delete=ON", "PRAGMA secure_delete", "1" },
    { "PRAGMA trusted_schema=OFF", "PRAGMA trusted_schema", "0" },
};

#define PRAGMAS (sizeof pragmas / sizeof *pragmas)

/* The first column of the first row as text of at most room - 1 bytes. */
static int db_ask(struct db *db, const char *sql, char *out, size_t room)
{
    sqlite3_stmt *statement = NULL;
    const char *text;
    int code = sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL);

    out[0] = '\0';
    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        text = (const char *)sqlite3_column_text(statement, 0);
        strncat(out, text ? text : "", room - 1);
        code = SQLITE_OK;
    }
    if (code != SQLITE_OK && code != SQLITE_DONE) {
        int status = db_failure(db, code);

        sqlite3_finalize(statement);
        return status;
    }
    sqlite3_finalize(statement);
    return STATUS_OK;
}

static int set_pragmas(struct db *db)
{
    char found[32];
    int status;

    for (size_t i = 0; i < PRAGMAS; i++)
        if ((status = db_ask(db, pragmas[i].set, found, sizeof found)) != STATUS_OK)
            return status;
    for (size_t i = 0; i < PRAGMAS; i++) {
        if ((status = db_ask(db, pragmas[i].get, found, sizeof found)) != STATUS_OK)
            return status;
        if (strcmp(found, pragmas[i].expected) != 0) {
            log_event(LOG_LEVEL_ERROR, "db_pragma_refused", "setting=\"%s\" found=%s", pragmas[i].set, found);
            return STATUS_CORRUPT;
        }
    }
    return STATUS_OK;
}

static int set_wall(struct db *db, uint64_t bytes_max)
{
    uint64_t pages_max = bytes_max / PAGE_BYTES;
    char sql[64], found[32];
    int status;

    if (bytes_max == 0)
        return STATUS_OK;
    assert(pages_max >= 1 && pages_max < UINT32_MAX - 1);
    sqlite3_snprintf(sizeof sql, sql, "PRAGMA max_page_count=%lld", (sqlite3_int64)pages_max);
    if ((status = db_ask(db, sql, found, sizeof found)) != STATUS_OK)
        return status;
    /* A file that is larger already keeps its size as its wall: deletes still make room in it. */
    return strtoull(found, NULL, 10) >= pages_max ? STATUS_OK : STATUS_IO;
}

/* What only file controls say: the WAL file stays when it is empty, and a commit is padded to a sector's end.
 */
static int set_controls(struct db *db)
{
    int persist = 1, psow = -1;
    int code = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_PERSIST_WAL, &persist);

    if (code != SQLITE_OK)
        return db_failure(db, code);
    /* A VFS that does not know the word makes no promise to withdraw. */
    code = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_POWERSAFE_OVERWRITE, &psow);
    if (code != SQLITE_NOTFOUND && (code != SQLITE_OK || psow != 0)) {
        log_event(LOG_LEVEL_ERROR, "db_pragma_refused", "setting=psow found=%d", psow);
        return STATUS_IO;
    }
    return STATUS_OK;
}

/* "file:" and the path, what a URI would take otherwise escaped, and psow=0. The caller frees. */
static char *db_uri(const char *path)
{
    static const char prefix[] = "file:", authority[] = "//", suffix[] = "?psow=0";
    char *uri = malloc(sizeof prefix + sizeof authority + 3 * strlen(path) + sizeof suffix);
    char *at = uri;

    if (!uri)
        return NULL;
    at = stpcpy(at, prefix);
    if (path[0] == '/') /* An empty authority: two slashes that begin a path would be taken for one. */
        at = stpcpy(at, authority);
    for (const char *c = path; *c; c++) {
        if (strchr("%?#", *c)) {
            *at++ = '%';
            *at++ = "0123456789ABCDEF"[(unsigned char)*c >> 4];
            *at++ = "0123456789ABCDEF"[(unsigned char)*c & 15];
        } else {
            *at++ = *c;
        }
    }
    stpcpy(at, suffix);
    return uri;
}

static int open_handle(struct db *db)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX |
                      SQLITE_OPEN_PRIVATECACHE;
    bool is_new = access(db->path, F_OK) != 0;
    char *uri = db_uri(db->path);
    int code;

    if (!uri)
        return STATUS_NO_MEMORY;
    if ((code = db_vfs_register()) == SQLITE_OK)
        code = sqlite3_open_v2(uri, &db->handle, flags, DB_VFS_NAME);
    free(uri);
    if (code == SQLITE_OK)
        code = sqlite3_extended_result_codes(db->handle, 1);
    if (code == SQLITE_OK)
        code = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_FILE_POINTER, &db->file);
    if (code != SQLITE_OK)
        return db_failure(db, code);
    /* Still empty. SQLite gives the WAL the mode of the database. */
    if (is_new && chmod(db->path, 0600) != 0 && errno != ENOENT)
        return STATUS_IO;
    return STATUS_OK;
}

static int sync_folder_of(const char *path)
{
    char *copy = strdup(path);
    int status = copy ? file_sync_folder(dirname(copy)) : STATUS_NO_MEMORY;

    free(copy);
    return status;
}

static int set_paths(struct db *db, const struct db_options *options)
{
    size_t room = strlen(options->path) + sizeof ".reserve";

    db->reserve_bytes = options->reserve_bytes;
    if (!(db->path = strdup(options->path)) || !(db->reserve_path = malloc(room)))
        return STATUS_NO_MEMORY;
    sqlite3_snprintf((int)room, db->reserve_path, "%s.reserve", options->path);
    return STATUS_OK;
}

int db_open(struct db **out, const struct db_options *options)
{
    struct db *db = calloc(1, sizeof *db);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!db)
        goto fail;
    if ((status = set_paths(db, options)) != STATUS_OK || (status = open_handle(db)) != STATUS_OK ||
        (status = set_pragmas(db)) != STATUS_OK || (status = set_controls(db)) != STATUS_OK ||
        (status = set_wall(db, options->bytes_max)) != STATUS_OK ||
        (status = sync_folder_of(db->path)) != STATUS_OK)
        goto fail;
    sqlite3_wal_hook(db->handle, note_wal, db);
    sqlite3_rollback_hook(db->handle, note_rollback, db);
    if (db->reserve_bytes > 0)
        reserve_remake(db);
    if (db_drain_only(db))
        log_event(LOG_LEVEL_WARNING, "db_reserve_missing", "bytes=%zu", (size_t)db->reserve_bytes);
    *out = db;
    return STATUS_OK;
fail:
    db_close(db);
    return status;
}

void db_close(struct db *db)
{
    int code;

    if (!db)
        return;
    for (size_t i = 0; i < db->cached; i++)
        sqlite3_finalize(db->cache[i].statement);
    /* Closing rolls back by itself. A sync that failed must not be tried again by a last checkpoint. */
    if (db->broken)
        sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
    code = sqlite3_close(db->handle);
    assert(code == SQLITE_OK); /* Else somebody keeps a statement of his own. */
    free(db->cache);
    free(db->reserve_path);
    free(db->path);
    free(db);
}

struct sqlite3 *db_handle(struct db *db)
{
    return db->handle;
}

/* --- Statements --- */

int db_statement(struct db *db, const char *sql, struct sqlite3_stmt **out)
{
    struct cached *grown;
    int code;

    *out = NULL;
    for (size_t i = 0; i < db->cached; i++) {
        if (db->cache[i].sql == sql) {
            *out = db->cache[i].statement;
            sqlite3_reset(*out);
            sqlite3_clear_bindings(*out);
            return STATUS_OK;
        }
    }
    if (db->cached == db->cache_room) {
        db->cache_room = db->cache_room ? 2 * db->cache_room : 32;
        assert(db->cache_room <= STATEMENTS_MAX);
        if (!(grown = reallocarray(db->cache, db->cache_room, sizeof *grown))) {
            db->cache_room = db->cached;
            return STATUS_NO_MEMORY;
        }
        db->cache = grown;
    }
    code = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    if (code != SQLITE_OK)
        return db_failure(db, code);
    db->cache[db->cached++] = (struct cached){ .sql = sql, .statement = *out };
    return STATUS_OK;
}

static int step_to_end(struct db *db, sqlite3_stmt *statement)
{
    int code, status = STATUS_OK;

    do
        code = sqlite3_step(statement);
    while (code == SQLITE_ROW);
    if (code != SQLITE_DONE)
        status = db_failure(db, code);
    sqlite3_reset(statement);
    return status;
}

int db_step(struct db *db, struct sqlite3_stmt *statement)
{
    bool reads = sqlite3_stmt_readonly(statement) != 0;

    assert(reads || db->writing);
    /* With its transaction gone, each writing statement would commit by itself. */
    if (db->lost && !reads) {
        sqlite3_reset(statement);
        return db_lost_why(db);
    }
    return step_to_end(db, statement);
}

/* For the words of the transaction itself. */
static int db_run(struct db *db, const char *sql)
{
    sqlite3_stmt *statement;
    int status = db_statement(db, sql, &statement);

    return status != STATUS_OK ? status : step_to_end(db, statement);
}

int db_exec(struct db *db, const char *sql)
{
    int code;

    if (db->lost)
        return db_lost_why(db);
    code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? STATUS_OK : db_failure(db, code);
}

/* --- The turn --- */

static const char sql_begin[] = "BEGIN IMMEDIATE", sql_commit[] = "COMMIT", sql_rollback[] = "ROLLBACK";
static const char sql_mark[] = "SAVEPOINT mark", sql_keep[] = "RELEASE mark", sql_undo[] = "ROLLBACK TO mark";

static bool db_rolled_back(const struct db *db)
{
    return sqlite3_get_autocommit(db->handle) != 0;
}

static void turn_end(struct db *db)
{
    db->writing = false;
    db->lost = false;
    db->lost_why = STATUS_OK;
    db->marks = 0;
}

/* Ends the turn with nothing kept. */
static void turn_abandon(struct db *db)
{
    db->own_rollback = true;
    if (!db_rolled_back(db))
        (void)db_run(db, sql_rollback);
    db->own_rollback = false;
    turn_end(db);
}

int db_write(struct db *db)
{
    int status;

    if (db->broken)
        return STATUS_IO;
    if (db->lost)
        return db_lost_why(db);
    if (db->writing)
        return STATUS_OK;
    if ((status = db_run(db, sql_begin)) == STATUS_OK)
        db->writing = true;
    return status;
}

bool db_is_writing(const struct db *db)
{
    return db->writing;
}

int db_mark(struct db *db)
{
    int status = db_write(db);

    if (status == STATUS_OK && (status = db_run(db, sql_mark)) == STATUS_OK)
        db->marks++;
    return status;
}

int db_keep(struct db *db)
{
    assert(db->marks > 0);
    db->marks--;
    return db->lost ? db_lost_why(db) : db_run(db, sql_keep);
}

void db_undo(struct db *db)
{
    assert(db->marks > 0);
    db->marks--;
    if (db->lost) {
        (void)db_lost_why(db); /* While SQLite still remembers. */
        return;
    }
    if (db_run(db, sql_undo) != STATUS_OK || db_run(db, sql_keep) != STATUS_OK)
        db->lost = true; /* What should be undone may still be there: then the turn must not commit. */
}

int db_commit(struct db *db)
{
    int status;

    if (!db->writing)
        return STATUS_OK;
    assert(db->lost || db->marks == 0);
    if (db->lost) {
        status = db_lost_why(db);
        turn_abandon(db);
        return status;
    }
    db->committed_work = false;
    if ((status = db_run(db, sql_commit)) != STATUS_OK) {
        if (status == STATUS_IO)
            db->broken = true;
        turn_abandon(db);
        return status;
    }
    if (db->committed_work)
        db->commits++;
    turn_end(db);
    return STATUS_OK;
}

static void checkpoint(struct db *db)
{
    int in_wal = 0, moved = 0;
    int code = sqlite3_wal_checkpoint_v2(db->handle, "main", SQLITE_CHECKPOINT_PASSIVE, &in_wal, &moved);

    /* A full file system is met again, and answered, when the WAL must grow. */
    if (code != SQLITE_OK && db_failure(db, code) == STATUS_IO)
        db->broken = true;
    if (code == SQLITE_OK && moved == in_wal)
        db->wal_pages = 0;
}

void db_tidy(struct db *db)
{
    assert(!db->writing);
    if (db->broken)
        return;
    if (db->wal_pages > WAL_PAGES_MAX) {
        for (size_t i = 0; i < db->cached; i++)
            if (sqlite3_stmt_busy(db->cache[i].statement))
                sqlite3_reset(db->cache[i].statement);
        checkpoint(db);
    }
    if (db_drain_only(db))
        reserve_remake(db);
}

int db_migrate(struct db *db, const char *const *steps, size_t step_count)
{
    char found[32], sql[64];
    size_t version;
    int status;

    assert(!db->writing);
    if ((status = db_ask(db, "PRAGMA user_version", found, sizeof found)) != STATUS_OK)
        return status;
    version = (size_t)strtoull(found, NULL, 10);
    if (version > step_count) {
        log_event(LOG_LEVEL_ERROR, "db_too_new", "version=%zu known=%zu", version, step_count);
        return STATUS_INVALID;
    }
    for (; version < step_count; version++) {
        sqlite3_snprintf(sizeof sql, sql, "PRAGMA user_version=%d", (int)version + 1);
        if ((status = db_write(db)) != STATUS_OK)
            return status;
        if ((status = db_exec(db, steps[version])) != STATUS_OK || (status = db_exec(db, sql)) != STATUS_OK) {
            turn_abandon(db);
            return status;
        }
        if ((status = db_commit(db)) != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* --- Figures --- */

static uint64_t db_pages(struct db *db, const char *sql)
{
    sqlite3_stmt *statement;
    uint64_t pages = 0;

    if (db_statement(db, sql, &statement) != STATUS_OK)
        return 0;
    if (sqlite3_step(statement) == SQLITE_ROW)
        pages = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return pages;
}

uint64_t db_used_bytes(struct db *db)
{
    static const char sql_pages[] = "PRAGMA page_count", sql_free[] = "PRAGMA freelist_count";
    uint64_t pages = db_pages(db, sql_pages), free_pages = db_pages(db, sql_free);

    return pages > free_pages ? (pages - free_pages) * PAGE_BYTES : 0;
}

uint64_t db_syncs(const struct db *db)
{
    return db_vfs_syncs(db->file);
}

uint64_t db_commits(const struct db *db)
{
    return db->commits;
}
