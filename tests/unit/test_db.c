/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sync/kit/db.h"
#include "sync/protocol/status.h"

static const char *const steps[] = {
    "CREATE TABLE m(seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT",
    "CREATE TABLE mark(id INTEGER PRIMARY KEY, cum INT NOT NULL) STRICT",
};

static const char sql_put[] = "INSERT INTO m(seq, body) VALUES(?1, zeroblob(?2))";
static const char sql_ack[] = "DELETE FROM m WHERE seq <= ?1";
static const char sql_count[] = "SELECT count(*) FROM m";

/* SQLite's calls end here: the machine can be made to fail. */
static int sync_error, write_error;
static unsigned syncs_called;

int fdatasync(int fd)
{
    syncs_called++;
    if (sync_error == 0)
        return (int)syscall(SYS_fdatasync, fd);
    errno = sync_error;
    return -1;
}

static ssize_t failing_pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    if (write_error == 0)
        return pwrite(fd, bytes, length, offset);
    errno = write_error;
    return -1;
}

/* One folder per test, with one database in it. */
struct world {
    char folder[64];
    char path[96];
    struct db *db;
};

static struct db_options options_of(const struct world *w)
{
    return (struct db_options){ .path = w->path };
}

static void world_open(struct world *w, struct db_options options)
{
    assert_int_equal(db_open(&w->db, &options), STATUS_OK);
    assert_int_equal(db_migrate(w->db, steps, 2), STATUS_OK);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    strcpy(w->folder, "/var/tmp/zajel-db-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/odd ?name%%#.db", w->folder);
    sync_error = write_error = 0;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char name[128];
    static const char *const ends[] = { "", "-wal", ".reserve" };

    db_close(w->db);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        snprintf(name, sizeof name, "%s%s", w->path, ends[i]);
        unlink(name);
    }
    while (umount(w->folder) == 0)
        continue;
    assert_int_equal(rmdir(w->folder), 0); /* Nothing else was made there. */
    free(w);
    return 0;
}

static int put(struct db *db, int64_t seq, int bytes)
{
    sqlite3_stmt *s;

    assert_int_equal(db_statement(db, sql_put, &s), STATUS_OK);
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_int(s, 2, bytes);
    return db_step(db, s);
}

static int ack(struct db *db, int64_t seq)
{
    sqlite3_stmt *s;

    assert_int_equal(db_statement(db, sql_ack, &s), STATUS_OK);
    sqlite3_bind_int64(s, 1, seq);
    return db_step(db, s);
}

static int64_t count(struct db *db)
{
    sqlite3_stmt *s;
    int64_t n;

    assert_int_equal(db_statement(db, sql_count, &s), STATUS_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    n = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    return n;
}

static void turn_of_one(struct db *db, int64_t seq, int bytes)
{
    assert_int_equal(db_write(db), STATUS_OK);
    assert_int_equal(put(db, seq, bytes), STATUS_OK);
    assert_int_equal(db_commit(db), STATUS_OK);
}

static void keeps_what_was_committed_and_nothing_of_an_open_turn(void **state)
{
    struct world *w = *state;

    world_open(w, options_of(w));
    turn_of_one(w->db, 1, 10);
    assert_int_equal(db_write(w->db), STATUS_OK);
    assert_true(db_is_writing(w->db));
    assert_int_equal(put(w->db, 2, 10), STATUS_OK);
    db_close(w->db);

    world_open(w, options_of(w));
    assert_int_equal(count(w->db), 1);
}

static void keeps_what_was_committed_when_the_process_is_killed(void **state)
{
    struct world *w = *state;
    int ended = 0;
    pid_t child = fork();

    if (child == 0) {
        world_open(w, options_of(w));
        turn_of_one(w->db, 1, 10);
        (void)db_write(w->db);
        (void)put(w->db, 2, 10);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_true(WIFSIGNALED(ended));

    world_open(w, options_of(w));
    assert_int_equal(count(w->db), 1);
}

static void is_private_to_its_user(void **state)
{
    struct world *w = *state;
    struct stat found;
    char wal[128];

    world_open(w, options_of(w));
    turn_of_one(w->db, 1, 10);
    assert_int_equal(stat(w->path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    snprintf(wal, sizeof wal, "%s-wal", w->path);
    assert_int_equal(stat(wal, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
}

static void a_bad_event_costs_only_itself(void **state)
{
    struct world *w = *state;

    world_open(w, options_of(w));
    for (int event = 1; event <= 3; event++) {
        assert_int_equal(db_mark(w->db), STATUS_OK);
        assert_int_equal(put(w->db, event, 10), STATUS_OK);
        if (event == 2)
            db_undo(w->db);
        else
            assert_int_equal(db_keep(w->db), STATUS_OK);
    }
    assert_int_equal(db_mark(w->db), STATUS_OK);
    assert_int_equal(put(w->db, 1, 10), STATUS_CONFLICT); /* That number is taken. */
    db_undo(w->db);
    assert_int_equal(db_commit(w->db), STATUS_OK);
    assert_int_equal(count(w->db), 2);
}

static void marks_nest(void **state)
{
    struct world *w = *state;

    world_open(w, options_of(w));
    assert_int_equal(db_mark(w->db), STATUS_OK);
    assert_int_equal(put(w->db, 1, 10), STATUS_OK);
    assert_int_equal(db_mark(w->db), STATUS_OK);
    assert_int_equal(put(w->db, 2, 10), STATUS_OK);
    db_undo(w->db);
    assert_int_equal(db_keep(w->db), STATUS_OK);
    assert_int_equal(db_commit(w->db), STATUS_OK);
    assert_int_equal(count(w->db), 1);
}

static void a_turn_costs_exactly_one_sync(void **state)
{
    struct world *w = *state;
    uint64_t syncs, commits;

    world_open(w, options_of(w));
    turn_of_one(w->db, 1, 100); /* The first one also syncs the header of the new WAL. */
    syncs = db_syncs(w->db);
    commits = db_commits(w->db);
    for (int turn = 0; turn < 50; turn++) {
        for (int i = 0; i < 16; i++) {
            assert_int_equal(db_mark(w->db), STATUS_OK);
            assert_int_equal(put(w->db, 2 + turn * 16 + i, 100), STATUS_OK);
            assert_int_equal(db_keep(w->db), STATUS_OK);
        }
        assert_int_equal(db_commit(w->db), STATUS_OK);
        assert_int_equal(db_syncs(w->db), syncs + (uint64_t)turn + 1);
    }
    assert_int_equal(db_commits(w->db), commits + 50);
}

static void a_turn_without_work_costs_nothing(void **state)
{
    struct world *w = *state;
    uint64_t syncs, commits;

    world_open(w, options_of(w));
    syncs = db_syncs(w->db);
    commits = db_commits(w->db);
    assert_int_equal(db_write(w->db), STATUS_OK);
    assert_int_equal(count(w->db), 0);
    assert_int_equal(db_commit(w->db), STATUS_OK);
    assert_int_equal(db_commit(w->db), STATUS_OK);
    assert_int_equal(db_syncs(w->db), syncs);
    assert_int_equal(db_commits(w->db), commits);
}

static int64_t size_of_wal(const struct world *w)
{
    struct stat found;
    char wal[128];

    snprintf(wal, sizeof wal, "%s-wal", w->path);
    assert_int_equal(stat(wal, &found), 0);
    return found.st_size;
}

static void the_wal_is_reused_after_its_checkpoint_and_never_grows_past_it(void **state)
{
    struct world *w = *state;
    uint64_t syncs;
    int64_t seq = 0;

    world_open(w, options_of(w));
    while (size_of_wal(w) < 1010 * 4096) { /* No checkpoint by itself inside a commit. */
        turn_of_one(w->db, ++seq, 40000);
    }
    syncs = db_syncs(w->db);
    db_tidy(w->db);
    assert_int_equal(db_syncs(w->db), syncs + 2); /* The WAL, then the database. */
    db_tidy(w->db);
    assert_int_equal(db_syncs(w->db), syncs + 2); /* Once is enough. */
    syncs = db_syncs(w->db);
    for (int turn = 0; turn < 400; turn++) { /* Four checkpoints. */
        turn_of_one(w->db, ++seq, 40000);
        db_tidy(w->db);
    }
    assert_true(size_of_wal(w) < 1040 * 4120);
    assert_in_range(db_syncs(w->db) - syncs, 401, 400 * 105 / 100);
    assert_int_equal(count(w->db), seq);
}

static void a_select_left_open_does_not_hold_the_checkpoint_back(void **state)
{
    struct world *w = *state;
    sqlite3_stmt *s;
    static const char sql_all[] = "SELECT seq FROM m";
    int64_t seq = 0, size;

    world_open(w, options_of(w));
    turn_of_one(w->db, ++seq, 10);
    turn_of_one(w->db, ++seq, 10);
    assert_int_equal(db_statement(w->db, sql_all, &s), STATUS_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    while (size_of_wal(w) < 1010 * 4120)
        turn_of_one(w->db, ++seq, 40000);
    db_tidy(w->db);
    size = size_of_wal(w);
    for (int turn = 0; turn < 20; turn++)
        turn_of_one(w->db, ++seq, 10);
    assert_int_equal(size_of_wal(w), size); /* It began again. */
}

static void an_open_database_has_two_files(void **state)
{
    struct world *w = *state;
    char name[128];

    for (int start = 0; start < 2; start++) {
        world_open(w, options_of(w));
        turn_of_one(w->db, 1 + start, 10);
        snprintf(name, sizeof name, "%s-shm", w->path);
        assert_int_not_equal(access(name, F_OK), 0);
        db_close(w->db);
        w->db = NULL;
        snprintf(name, sizeof name, "%s-wal", w->path);
        assert_int_equal(access(name, F_OK), 0); /* Kept: a new name would have to be synced again. */
    }
}

static void two_databases_count_their_own_syncs(void **state)
{
    struct world *w = *state;
    struct db_options options;
    struct db *other = NULL;
    char path[128];
    uint64_t syncs;

    world_open(w, options_of(w));
    snprintf(path, sizeof path, "%s/other.db", w->folder);
    options = (struct db_options){ .path = path };
    assert_int_equal(db_open(&other, &options), STATUS_OK);
    syncs = db_syncs(other);
    turn_of_one(w->db, 1, 10);
    assert_int_equal(db_syncs(other), syncs);
    db_close(other);
    unlink(path);
    snprintf(path, sizeof path, "%s/other.db-wal", w->folder);
    unlink(path);
}

static void refuses_a_second_opener_at_once(void **state)
{
    struct world *w = *state;
    struct db_options options = options_of(w);
    struct db *second = NULL;
    int ended = 0;
    pid_t child;

    world_open(w, options_of(w));
    assert_int_equal(db_open(&second, &options), STATUS_BUSY);
    assert_null(second);
    child = fork();
    if (child == 0) {
        alarm(2);
        _exit(db_open(&second, &options));
    }
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_true(WIFEXITED(ended));
    assert_int_equal(WEXITSTATUS(ended), STATUS_BUSY);
    turn_of_one(w->db, 1, 10);
}

static void write_file(const char *path, const void *bytes, size_t length)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, length, f), length);
    assert_int_equal(fclose(f), 0);
}

static void refuses_what_is_no_database(void **state)
{
    struct world *w = *state;
    struct db_options options = options_of(w);
    char noise[8192];

    memset(noise, 'x', sizeof noise);
    write_file(w->path, noise, sizeof noise);
    assert_int_equal(db_open(&w->db, &options), STATUS_CORRUPT);
    assert_null(w->db);
}

static void refuses_a_database_that_is_not_laid_out_as_ours(void **state)
{
    struct world *w = *state;
    struct db_options options = options_of(w);
    sqlite3 *plain = NULL;

    assert_int_equal(sqlite3_open(w->path, &plain), SQLITE_OK);
    assert_int_equal(sqlite3_exec(plain, "PRAGMA page_size=1024; CREATE TABLE t(a)", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(plain);
    assert_int_equal(db_open(&w->db, &options), STATUS_CORRUPT);
}

static void refuses_a_folder_that_is_not_there(void **state)
{
    struct world *w = *state;
    struct db_options options = { .path = "/nonexistent/folder/x.db" };

    assert_int_equal(db_open(&w->db, &options), STATUS_IO);
}

static void applies_each_step_once_and_refuses_a_newer_file(void **state)
{
    struct world *w = *state;
    struct db_options options = options_of(w);

    assert_int_equal(db_open(&w->db, &options), STATUS_OK);
    assert_int_equal(db_migrate(w->db, steps, 1), STATUS_OK);
    turn_of_one(w->db, 1, 10);
    assert_int_equal(db_migrate(w->db, steps, 2), STATUS_OK);
    assert_int_equal(db_migrate(w->db, steps, 2), STATUS_OK);
    assert_int_equal(count(w->db), 1);
    assert_int_equal(db_migrate(w->db, steps, 1), STATUS_INVALID);
}

static void a_step_that_fails_leaves_nothing(void **state)
{
    static const char *const bad[] = { "CREATE TABLE one(a); CREATE TABLE two(a); CREATE TABLE two(a)" };
    static const char *const good[] = { "CREATE TABLE one(a); CREATE TABLE two(a)" };
    struct world *w = *state;
    struct db_options options = options_of(w);

    assert_int_equal(db_open(&w->db, &options), STATUS_OK);
    assert_int_not_equal(db_migrate(w->db, bad, 1), STATUS_OK);
    assert_int_equal(db_migrate(w->db, good, 1), STATUS_OK);
}

static void at_the_wall_puts_are_refused_and_acks_still_work(void **state)
{
    struct world *w = *state;
    struct db_options options = options_of(w);
    int64_t seq = 0, kept;
    int status;

    options.bytes_max = 64 * 4096;
    world_open(w, options);
    do {
        assert_int_equal(db_mark(w->db), STATUS_OK);
        status = put(w->db, ++seq, 3000);
        if (status == STATUS_OK) {
            assert_int_equal(db_keep(w->db), STATUS_OK);
            assert_int_equal(db_commit(w->db), STATUS_OK);
        }
    } while (status == STATUS_OK);
    assert_int_equal(status, STATUS_FULL);
    /* The turn is gone: what else it tries is told so, until the commit has been. */
    db_undo(w->db);
    assert_true(db_is_writing(w->db));
    assert_int_equal(db_mark(w->db), STATUS_FULL);
    assert_int_equal(ack(w->db, 5), STATUS_FULL);
    assert_int_equal(db_commit(w->db), STATUS_FULL);
    assert_false(db_is_writing(w->db));
    kept = count(w->db);
    assert_int_equal(kept, seq - 1);
    assert_in_range(db_used_bytes(w->db), 60 * 4096, 64 * 4096);

    for (int64_t mark = 1; mark <= kept; mark++) {
        assert_int_equal(db_write(w->db), STATUS_OK);
        assert_int_equal(ack(w->db, mark), STATUS_OK);
        assert_int_equal(db_commit(w->db), STATUS_OK);
    }
    assert_true(db_used_bytes(w->db) < 8 * 4096);
    turn_of_one(w->db, seq, 3000);
}

static void a_file_larger_than_its_new_wall_opens_and_drains(void **state)
{
    struct world *w = *state;
    struct db_options options = options_of(w);

    world_open(w, options);
    for (int64_t seq = 1; seq <= 100; seq++)
        turn_of_one(w->db, seq, 3000);
    db_close(w->db);
    options.bytes_max = 10 * 4096;
    world_open(w, options);
    assert_int_equal(db_write(w->db), STATUS_OK);
    assert_int_equal(ack(w->db, 100), STATUS_OK);
    assert_int_equal(db_commit(w->db), STATUS_OK);
}

static void an_error_seen_only_by_sqlite3_step_loses_the_turn_too(void **state)
{
    struct world *w = *state;
    struct db_options options = options_of(w);
    sqlite3_stmt *s;
    int64_t seq = 0;
    int code;

    options.bytes_max = 32 * 4096;
    world_open(w, options);
    assert_int_equal(db_write(w->db), STATUS_OK);
    do {
        assert_int_equal(db_statement(w->db, sql_put, &s), STATUS_OK);
        sqlite3_bind_int64(s, 1, ++seq);
        sqlite3_bind_int(s, 2, 3000);
        code = sqlite3_step(s);
        sqlite3_reset(s);
    } while (code == SQLITE_DONE);
    assert_int_equal(code & 0xff, SQLITE_FULL);
    assert_int_equal(db_commit(w->db), STATUS_FULL);
    assert_int_equal(count(w->db), 0);
}

static void after_a_failed_sync_nothing_is_written_and_no_sync_tried_again(void **state)
{
    struct world *w = *state;
    unsigned before;

    world_open(w, options_of(w));
    turn_of_one(w->db, 1, 10);
    assert_int_equal(db_write(w->db), STATUS_OK);
    assert_int_equal(put(w->db, 2, 10), STATUS_OK);
    sync_error = EIO;
    assert_int_equal(db_commit(w->db), STATUS_IO);
    sync_error = 0;
    before = syncs_called;
    assert_int_equal(db_write(w->db), STATUS_IO);
    assert_int_equal(db_mark(w->db), STATUS_IO);
    db_tidy(w->db);
    db_close(w->db);
    assert_int_equal(syncs_called, before);
    world_open(w, options_of(w));
    assert_in_range(count(w->db), 1, 2); /* Whether the second is there nobody could know. */
}

static void a_checkpoint_that_cannot_sync_ends_all_writing(void **state)
{
    struct world *w = *state;
    int64_t seq = 0;
    unsigned before;

    world_open(w, options_of(w));
    while (size_of_wal(w) < 1010 * 4120)
        turn_of_one(w->db, ++seq, 40000);
    sync_error = EIO;
    db_tidy(w->db);
    sync_error = 0;
    before = syncs_called;
    assert_int_equal(db_write(w->db), STATUS_IO);
    db_tidy(w->db);
    db_close(w->db);
    assert_int_equal(syncs_called, before);
    world_open(w, options_of(w));
    assert_int_equal(count(w->db), seq);
}

static void a_write_without_room_is_told_from_one_that_failed(void **state)
{
    static const char *const names[] = { "pwrite", "pwrite64" };
    struct world *w = *state;
    sqlite3_vfs *beneath = sqlite3_vfs_find("unix");

    world_open(w, options_of(w));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)beneath->xSetSystemCall(beneath, names[i], (sqlite3_syscall_ptr)failing_pwrite);
    turn_of_one(w->db, 1, 10);
    assert_int_equal(db_write(w->db), STATUS_OK);
    assert_int_equal(put(w->db, 2, 10), STATUS_OK);
    write_error = ENOSPC;
    assert_int_equal(db_commit(w->db), STATUS_NO_SPACE);
    write_error = 0;
    turn_of_one(w->db, 2, 10);
    assert_int_equal(db_write(w->db), STATUS_OK);
    assert_int_equal(put(w->db, 3, 10), STATUS_OK);
    write_error = EIO;
    assert_int_equal(db_commit(w->db), STATUS_IO);
    write_error = 0;
    (void)beneath->xSetSystemCall(beneath, NULL, NULL);
    assert_int_equal(count(w->db), 2);
}

static bool tell_kernel(const char *path, const char *words)
{
    int fd = open(path, O_WRONLY);
    bool told = fd >= 0 && write(fd, words, strlen(words)) == (ssize_t)strlen(words);

    if (fd >= 0)
        close(fd);
    return told;
}

/* An ordinary user is root in a name space of his own, where the machine allows that. */
static bool become_root(void)
{
    const unsigned uid = geteuid(), gid = getegid();
    char uids[32], gids[32];

    if (uid == 0)
        return unshare(CLONE_NEWNS) == 0;
    snprintf(uids, sizeof uids, "0 %u 1", uid);
    snprintf(gids, sizeof gids, "0 %u 1", gid);
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && tell_kernel("/proc/self/uid_map", uids) &&
           tell_kernel("/proc/self/setgroups", "deny") && tell_kernel("/proc/self/gid_map", gids);
}

/* A file system of 40 MB over the world's folder; false where the machine does not allow one. */
static bool small_file_system(const struct world *w)
{
    return become_root() && mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("zajel", w->folder, "tmpfs", 0, "size=40m") == 0;
}

static void on_a_full_file_system_the_reserve_lets_acks_commit(void **state)
{
    struct world *w = *state;
    struct db_options options = options_of(w);
    int64_t seq = 0, kept;
    int status;

    if (!small_file_system(w)) {
        print_message("no file system may be mounted here\n");
        skip();
    }
    options.reserve_bytes = 16 << 20;
    world_open(w, options);
    assert_false(db_drain_only(w->db));
    do {
        assert_int_equal(db_write(w->db), STATUS_OK);
        status = put(w->db, ++seq, 3000);
        if (status == STATUS_OK)
            status = db_commit(w->db);
        if (status == STATUS_OK)
            db_tidy(w->db);
    } while (status == STATUS_OK);
    assert_int_equal(status, STATUS_NO_SPACE); /* No wall was set: it is the file system. */
    (void)db_commit(w->db);
    kept = seq - 1;

    /* Stuck: an ack needs the WAL to grow as well. */
    assert_int_equal(db_write(w->db), STATUS_OK);
    status = ack(w->db, kept / 4);
    if (status == STATUS_OK)
        status = db_commit(w->db);
    else
        (void)db_commit(w->db);
    assert_int_equal(status, STATUS_NO_SPACE);

    assert_true(db_release_reserve(w->db));
    assert_false(db_release_reserve(w->db)); /* There is but one. */
    assert_true(db_drain_only(w->db));
    db_close(w->db);
    world_open(w, options); /* As after any failed commit; it does not take the reserve back. */
    assert_true(db_drain_only(w->db));
    assert_int_equal(count(w->db), kept);
    for (int64_t mark = 1; mark <= kept; mark++) {
        assert_int_equal(db_write(w->db), STATUS_OK);
        assert_int_equal(ack(w->db, mark), STATUS_OK);
        assert_int_equal(db_commit(w->db), STATUS_OK);
        db_tidy(w->db);
    }
    assert_int_equal(count(w->db), 0);
    assert_int_equal(db_write(w->db), STATUS_OK);
    assert_int_equal(db_exec(w->db, "PRAGMA incremental_vacuum"), STATUS_OK);
    assert_int_equal(db_commit(w->db), STATUS_OK);
    db_close(w->db);
    world_open(w, options);
    assert_false(db_drain_only(w->db)); /* There is room for it again. */
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(keeps_what_was_committed_and_nothing_of_an_open_turn),
        STORY(keeps_what_was_committed_when_the_process_is_killed),
        STORY(is_private_to_its_user),
        STORY(a_bad_event_costs_only_itself),
        STORY(marks_nest),
        STORY(a_turn_costs_exactly_one_sync),
        STORY(a_turn_without_work_costs_nothing),
        STORY(the_wal_is_reused_after_its_checkpoint_and_never_grows_past_it),
        STORY(a_select_left_open_does_not_hold_the_checkpoint_back),
        STORY(an_open_database_has_two_files),
        STORY(two_databases_count_their_own_syncs),
        STORY(refuses_a_second_opener_at_once),
        STORY(refuses_what_is_no_database),
        STORY(refuses_a_database_that_is_not_laid_out_as_ours),
        STORY(refuses_a_folder_that_is_not_there),
        STORY(applies_each_step_once_and_refuses_a_newer_file),
        STORY(a_step_that_fails_leaves_nothing),
        STORY(at_the_wall_puts_are_refused_and_acks_still_work),
        STORY(a_file_larger_than_its_new_wall_opens_and_drains),
        STORY(an_error_seen_only_by_sqlite3_step_loses_the_turn_too),
        STORY(after_a_failed_sync_nothing_is_written_and_no_sync_tried_again),
        STORY(a_checkpoint_that_cannot_sync_ends_all_writing),
        STORY(a_write_without_room_is_told_from_one_that_failed),
        /* Last: it changes what the process sees. */
        STORY(on_a_full_file_system_the_reserve_lets_acks_commit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
