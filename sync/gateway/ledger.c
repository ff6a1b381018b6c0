/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/ledger_sql.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sync/kit/file.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

/* Whole numbers and bytes alone, own keys, no triggers: the portable subset of storage.md section 10.
 * wamid finds ours by a hash of Meta's; identity holds Meta's own text, sealed. */
static const char *const steps[] = {
    "CREATE TABLE meta(id INTEGER PRIMARY KEY CHECK(id=0), store_id INTEGER NOT NULL, boot INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL, key_index INTEGER NOT NULL, salt BLOB NOT NULL) STRICT;"
    "CREATE TABLE epoch(key_index INTEGER PRIMARY KEY, epoch INTEGER NOT NULL) STRICT;"
    "CREATE TABLE branch(number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, revoked INTEGER NOT NULL,"
    " fingerprint BLOB, until_s INTEGER NOT NULL, added_s INTEGER NOT NULL, seen_s INTEGER NOT NULL,"
    " store_id INTEGER NOT NULL, boot INTEGER NOT NULL, queue_messages INTEGER NOT NULL,"
    " queue_bytes INTEGER NOT NULL, queue_oldest_s INTEGER NOT NULL) STRICT;"
    "CREATE TABLE mark(branch INTEGER NOT NULL, epoch INTEGER NOT NULL, lane INTEGER NOT NULL, mark"
    " INTEGER NOT NULL,"
    " received INTEGER NOT NULL, PRIMARY KEY(branch, epoch, lane)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE job(branch INTEGER NOT NULL, epoch INTEGER NOT NULL, lane INTEGER NOT NULL, seq INTEGER"
    " NOT NULL,"
    " row INTEGER NOT NULL, number INTEGER NOT NULL, customer INTEGER NOT NULL, at_s INTEGER NOT NULL,"
    " deadline_s INTEGER NOT NULL, flags INTEGER NOT NULL, body BLOB NOT NULL,"
    " PRIMARY KEY(branch, epoch, lane, seq)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE attempt(branch INTEGER NOT NULL, epoch INTEGER NOT NULL, lane INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, state INTEGER NOT NULL, since_s INTEGER NOT NULL,"
    " PRIMARY KEY(branch, epoch, lane, seq)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE identity(branch INTEGER NOT NULL, epoch INTEGER NOT NULL, lane INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, row INTEGER NOT NULL, meta BLOB NOT NULL,"
    " PRIMARY KEY(branch, epoch, lane, seq)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE wamid(hash INTEGER NOT NULL, branch INTEGER NOT NULL, epoch INTEGER NOT NULL,"
    " lane INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(hash, branch, epoch, lane, seq)) STRICT,"
    " WITHOUT ROWID;"
    "CREATE TABLE conversation(branch INTEGER NOT NULL, hash INTEGER NOT NULL, number INTEGER NOT NULL,"
    " PRIMARY KEY(branch, hash)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE down(branch INTEGER NOT NULL, lane INTEGER NOT NULL, seq INTEGER NOT NULL, row INTEGER"
    " NOT NULL,"
    " plain INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY(branch, lane, seq)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE gone(branch INTEGER NOT NULL, lane INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " PRIMARY KEY(branch, lane)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE seen(day INTEGER NOT NULL, hash INTEGER NOT NULL, PRIMARY KEY(day, hash)) STRICT,"
    " WITHOUT ROWID;"
    "CREATE TABLE served(customer INTEGER NOT NULL, branch INTEGER NOT NULL, PRIMARY KEY(customer))"
    " STRICT, WITHOUT ROWID;"
    "CREATE TABLE unrouted(row INTEGER PRIMARY KEY, at_s INTEGER NOT NULL, body BLOB NOT NULL) STRICT;"
    "CREATE TABLE counter(counter INTEGER PRIMARY KEY, value INTEGER NOT NULL) STRICT;",
};

/* --- Opening --- */

static int write_meta(struct ledger *l)
{
    int status = ledger_run(
        l,
        "INSERT INTO meta(id, store_id, boot, epoch, key_index, salt) VALUES(0, ?, ?, ?, ?, ?) ON"
        " CONFLICT(id)"
        " DO UPDATE SET boot = excluded.boot, epoch = excluded.epoch, key_index = excluded.key_index",
        LEDGER_WITH(LEDGER_INT(l->store_id), LEDGER_INT(l->boot), LEDGER_INT(l->epoch),
                    LEDGER_INT(l->key_index), LEDGER_BLOB(slice_of(l->salt, sizeof l->salt))));

    return status == STATUS_OK ? db_commit(l->db) : status;
}

static int new_epoch(struct ledger *l)
{
    uint32_t index = l->key_index + 1;
    epoch_id epoch;
    int status = keyring_make(l->keys, index, &epoch);

    if (status == STATUS_OK)
        status = ledger_run(l, "INSERT INTO epoch(key_index, epoch) VALUES(?, ?)",
                            LEDGER_WITH(LEDGER_INT(index), LEDGER_INT(epoch)));
    if (status != STATUS_OK)
        return status;
    l->key_index = index;
    l->epoch = epoch;
    return STATUS_OK;
}

static int make_meta(struct ledger *l)
{
    int status = seal_random(l->salt, sizeof l->salt);

    if (status == STATUS_OK)
        status = seal_random(&l->store_id, sizeof l->store_id);
    return status == STATUS_OK ? new_epoch(l) : status;
}

static int read_meta(struct ledger *l)
{
    struct ledger_walk walk;
    struct slice salt;
    int status = ledger_ask(l, &walk, "SELECT store_id, boot, epoch, key_index, salt FROM meta", NULL, 0);

    if (status != STATUS_OK || (status = ledger_row(&walk)) != STATUS_OK)
        return status;
    l->store_id = ledger_unsigned(&walk, 0);
    l->boot = ledger_unsigned(&walk, 1);
    l->epoch = ledger_unsigned(&walk, 2);
    l->key_index = (uint32_t)ledger_integer(&walk, 3);
    salt = ledger_bytes(&walk, 4);
    if (salt.length == sizeof l->salt)
        memcpy(l->salt, salt.at, sizeof l->salt);
    else
        status = STATUS_CORRUPT;
    ledger_leave(&walk);
    return status;
}

static int bind_epochs(struct ledger *l)
{
    struct ledger_walk walk;
    int status = ledger_ask(l, &walk, "SELECT key_index, epoch FROM epoch", NULL, 0);

    while (status == STATUS_OK && (status = ledger_row(&walk)) == STATUS_OK)
        status = keyring_bind(l->keys, (uint32_t)ledger_integer(&walk, 0), ledger_unsigned(&walk, 1));
    ledger_leave(&walk);
    return status == STATUS_END ? STATUS_OK : status;
}

/* The boot counter stands in a file beside the database too: one that is ahead says that the database is a
 * backup. */
static int check_boot_file(struct ledger *l, const char *path)
{
    struct text kept = { 0 };
    char line[32];
    int status = file_read(path, sizeof line - 1, &kept);

    if (status == STATUS_OK && strtoull(kept.at, NULL, 10) > l->boot) {
        log_event(LOG_LEVEL_WARNING, "ledger_restored", "boot=%" PRIu64, l->boot);
        l->boot = strtoull(kept.at, NULL, 10);
        status = new_epoch(l);
    }
    text_free(&kept);
    if (status != STATUS_OK && status != STATUS_END)
        return status;
    l->boot++;
    if ((status = write_meta(l)) != STATUS_OK)
        return status;
    snprintf(line, sizeof line, "%" PRIu64 "\n", l->boot);
    return file_write(path, slice_text(line), 0600);
}

static int count_boot(struct ledger *l, const char *folder)
{
    char *path = file_join(folder, "ledger.boot");
    int status = path ? check_boot_file(l, path) : STATUS_NO_MEMORY;

    free(path);
    assert(l->boot < UINT32_MAX); /* A start a second for a century is fewer. */
    l->row_next = l->boot << 32;
    return status;
}

static int open_store(struct ledger *l, const struct ledger_options *options)
{
    char *path = file_join(options->folder, "ledger.db"), *keys = file_join(options->folder, "keys");
    struct db_options store = { .path = path,
                                .bytes_max = options->bytes_max,
                                .reserve_bytes = options->reserve_bytes };
    int status = path && keys ? STATUS_OK : STATUS_NO_MEMORY;

    if (status == STATUS_OK && !options->make && access(path, F_OK) != 0)
        status = STATUS_END;
    if (status == STATUS_OK && (status = db_open(&l->db, &store)) == STATUS_OK &&
        (status = db_migrate(l->db, steps, sizeof steps / sizeof *steps)) == STATUS_OK)
        status = keyring_open(&l->keys, keys);
    free(path);
    free(keys);
    return status;
}

int ledger_open(struct ledger **out, const struct ledger_options *options)
{
    struct ledger *l = calloc(1, sizeof *l);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!l)
        goto fail;
    l->bytes_max = options->bytes_max;
    if ((status = packer_open(&l->packer, PACK_FAST)) != STATUS_OK ||
        (status = open_store(l, options)) != STATUS_OK)
        goto fail;
    if ((status = read_meta(l)) == STATUS_OK)
        status = bind_epochs(l);
    else if (status == STATUS_END)
        status = make_meta(l);
    if (status != STATUS_OK || (status = count_boot(l, options->folder)) != STATUS_OK ||
        (status = ledger_read_counters(l)) != STATUS_OK || (status = ledger_read_branches(l)) != STATUS_OK ||
        (status = ledger_read_down(l)) != STATUS_OK)
        goto fail;
    *out = l;
    return STATUS_OK;
fail:
    ledger_close(l);
    return status;
}

void ledger_close(struct ledger *l)
{
    if (!l)
        return;
    db_close(l->db);
    keyring_close(l->keys);
    packer_close(l->packer);
    for (uint32_t i = 0; i < l->branch_count; i++)
        free(l->branches[i]);
    free(l->branches);
    free(l->touched);
    free(l->scratch[0]);
    free(l->scratch[1]);
    explicit_bzero(l->salt, sizeof l->salt);
    free(l);
}

int ledger_renew(struct ledger *l)
{
    int status = new_epoch(l);

    return status == STATUS_OK ? write_meta(l) : status;
}

uint64_t ledger_store_id(const struct ledger *l)
{
    return l->store_id;
}

uint64_t ledger_boot(const struct ledger *l)
{
    return l->boot;
}

epoch_id ledger_epoch(const struct ledger *l)
{
    return l->epoch;
}

bool ledger_is_own_epoch(struct ledger *l, epoch_id epoch)
{
    struct ledger_walk walk;
    int status = ledger_ask(l, &walk, "SELECT 1 FROM epoch WHERE epoch = ?", LEDGER_WITH(LEDGER_INT(epoch)));

    if (status == STATUS_OK)
        status = ledger_row(&walk);
    ledger_leave(&walk);
    return status == STATUS_OK;
}

uint64_t ledger_hash(const struct ledger *l, const char *domain, struct slice text)
{
    struct slice parts[] = { slice_of(l->salt, sizeof l->salt), slice_text(domain), text };
    uint8_t hash[SEAL_HASH_BYTES];
    uint64_t value;

    /* The salt is secret, its length fixed, and every part's length is hashed too: nothing can be appended.
     */
    if (seal_sha256_parts(parts, sizeof parts / sizeof *parts, hash) != STATUS_OK)
        abort(); /* The library cannot hash any more: no key and no seal can be trusted then. */
    memcpy(&value, hash, sizeof value);
    return value;
}

/* --- The turn --- */

int ledger_mark(struct ledger *l)
{
    return db_mark(l->db);
}

int ledger_keep(struct ledger *l)
{
    return db_keep(l->db);
}

void ledger_undo(struct ledger *l)
{
    int status;

    db_undo(l->db);
    /* What was counted in memory on the way is counted again. It costs a walk, and hardly ever happens. */
    status = ledger_read_down(l);
    if (status == STATUS_OK)
        status = ledger_read_received(l);
    if (status != STATUS_OK)
        log_event(LOG_LEVEL_ERROR, "ledger_recount_failed", "status=%s", status_name(status));
}

int ledger_commit(struct ledger *l)
{
    int status = db_is_writing(l->db) ? ledger_write_counters(l) : STATUS_OK;
    int committed = db_commit(l->db);

    if (committed == STATUS_OK && status == STATUS_OK)
        ledger_down_committed(l);
    return committed != STATUS_OK ? committed : status;
}

void ledger_tidy(struct ledger *l)
{
    db_tidy(l->db);
}

uint64_t ledger_syncs(const struct ledger *l)
{
    return db_syncs(l->db);
}

uint64_t ledger_commits(const struct ledger *l)
{
    return db_commits(l->db);
}

uint64_t ledger_used_bytes(struct ledger *l)
{
    return db_used_bytes(l->db);
}

bool ledger_has_room(struct ledger *l)
{
    if (db_drain_only(l->db))
        return false;
    /* A twentieth is left for what ends: journal rows and what is told. */
    return l->bytes_max == 0 || db_used_bytes(l->db) < l->bytes_max / 20 * 19;
}

void ledger_release_reserve(struct ledger *l)
{
    (void)db_release_reserve(l->db);
}

/* --- Counters --- */

int ledger_count(struct ledger *l, enum ledger_counter counter, uint64_t by)
{
    assert(counter < LEDGER_COUNTER_COUNT);
    l->counters[counter] += by;
    l->counter_changed[counter] = true;
    return db_write(l->db);
}

uint64_t ledger_counter(const struct ledger *l, enum ledger_counter counter)
{
    assert(counter < LEDGER_COUNTER_COUNT);
    return l->counters[counter];
}

int ledger_write_counters(struct ledger *l)
{
    int status = STATUS_OK;

    for (int i = 0; i < LEDGER_COUNTER_COUNT && status == STATUS_OK; i++) {
        if (!l->counter_changed[i])
            continue;
        l->counter_changed[i] = false;
        status = ledger_run(l,
                            "INSERT INTO counter(counter, value) VALUES(?, ?) ON CONFLICT(counter)"
                            " DO UPDATE SET value = excluded.value",
                            LEDGER_WITH(LEDGER_INT(i), LEDGER_INT(l->counters[i])));
    }
    return status;
}

int ledger_read_counters(struct ledger *l)
{
    struct ledger_walk walk;
    int status = ledger_ask(l, &walk, "SELECT counter, value FROM counter", NULL, 0);

    while (status == STATUS_OK && (status = ledger_row(&walk)) == STATUS_OK) {
        int64_t counter = ledger_integer(&walk, 0);

        if (counter >= 0 && counter < LEDGER_COUNTER_COUNT)
            l->counters[counter] = ledger_unsigned(&walk, 1);
    }
    return status == STATUS_END ? STATUS_OK : status;
}
