/* SPDX-License-Identifier: Apache-2.0 */
/* One SQLite database, opened so that a commit survives a power cut (WAL, FULL, psow=0, EXCLUSIVE, one
 * connection), and the turn's transaction in it. Only files that hold SQL include this together with
 * sqlite3.h. */
#ifndef ZAJEL_KIT_DB_H
#define ZAJEL_KIT_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sqlite3;
struct sqlite3_stmt;
struct db;

struct db_options {
    const char *path;
    uint64_t bytes_max; /* max_page_count in bytes; 0: no wall. */
    /* Size of the preallocated file path.reserve, given up when the file system is full; 0: none. Twice the
     * WAL's limit, 16 MiB, is enough: the WAL and what its checkpoint adds to the database. */
    uint64_t reserve_bytes;
};

/* Opens or creates (0600), sets and reads back every pragma, syncs the folder: a file that an earlier start
 * made may not have got that far. A reserve that finds no room is done without (db_drain_only).
 * STATUS_CORRUPT: not a database of ours; STATUS_BUSY: another process has it; STATUS_IO, STATUS_NO_SPACE. */
int db_open(struct db **out, const struct db_options *options);
/* Rolls an open turn back, finalises what db_statement() gave. Statements prepared otherwise must be
 * finalised before. NULL is fine. */
void db_close(struct db *db);
struct sqlite3 *db_handle(struct db *db);

/* Runs the steps not yet applied (PRAGMA user_version counts them), each in its own transaction. Steps are
 * only ever appended. STATUS_INVALID (and a log line): the file has had more steps than there are, a newer
 * program made it. */
int db_migrate(struct db *db, const char *const *steps, size_t step_count);

/* Prepares a persistent statement; finalised by db_close. Ask for it once per use: it is cached by the
 * address of sql (a literal or a static), and comes reset and without bindings. */
int db_statement(struct db *db, const char *sql, struct sqlite3_stmt **out);
/* Steps a statement to its end, passing over any rows, then resets it. One that writes needs an open turn. */
int db_step(struct db *db, struct sqlite3_stmt *statement);
int db_exec(struct db *db, const char *sql);
/* SQLITE_FULL -> STATUS_FULL; CORRUPT, NOTADB -> STATUS_CORRUPT; NOMEM -> STATUS_NO_MEMORY; BUSY, LOCKED ->
 * STATUS_BUSY; CONSTRAINT -> STATUS_CONFLICT; TOOBIG -> STATUS_TOO_LARGE; else STATUS_IO. OK, ROW and DONE
 * are STATUS_OK. */
int db_status(int sqlite_code);
/* The same for a call on this database that has just failed: it also tells a full file system
 * (STATUS_NO_SPACE) from the wall (STATUS_FULL), and logs what only a fault of ours or of the machine
 * explains. For those who call sqlite3_step(). */
int db_failure(struct db *db, int sqlite_code);

/* The turn: db_write() begins the transaction (BEGIN IMMEDIATE) unless it is open already; any SQL of the
 * turn runs in it. Each noted event is one db_mark() ... db_keep() or db_undo() (SAVEPOINT), so that one bad
 * event costs only itself. The exception: at the wall, on a full file system and after an I/O error SQLite
 * throws the whole turn away. Such a turn is lost: db_write, db_mark, db_keep and db_step answer why until
 * db_commit() has said it too; nothing of it is kept. */
int db_write(struct db *db);
bool db_is_writing(const struct db *db);
int db_mark(struct db *db); /* Begins the turn too, if need be. Marks nest. */
int db_keep(struct db *db);
void db_undo(struct db *db);
/* Commits the turn if one is open. After a failure the outcome is unknown: db_close, open again, read again.
 * (Only STATUS_FULL is certain: the turn was lost at the wall, the database is as before it and may be used
 * on.) */
int db_commit(struct db *db);
/* After the replies: a passive checkpoint when the WAL passed 1000 pages; remakes the reserve when
 * there is room. Not within a turn; resets statements left open, which would hold the checkpoint
 * back. When a checkpoint's sync failed, every later db_write() is STATUS_IO: a sync is never tried twice. */
void db_tidy(struct db *db);
/* STATUS_NO_SPACE: gives the reserve up so that deletes can commit. True when there was one to give. */
bool db_release_reserve(struct db *db);
/* The reserve is wanted and not there: take nothing in, until db_tidy() has remade it. */
bool db_drain_only(const struct db *db);

uint64_t db_used_bytes(struct db *db);  /* (page_count - freelist_count) * page_size */
uint64_t db_syncs(const struct db *db); /* Data syncs (fsync, fdatasync) since opening, counted at the VFS. */
uint64_t db_commits(const struct db *db); /* Turns committed that had work. */

#endif
