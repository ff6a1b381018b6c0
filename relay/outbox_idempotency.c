/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/outbox_idempotency.h"

#include <assert.h>
#include <sqlite3.h>
#include <string.h>

#include "relay/outbox_store.h"
#include "sync/protocol/status.h"

#define HOUR_MS 3600000u
/* Bits of the body's digest that are kept: who finds another body for 128 of them has his own keys to try it
 * with. */
#define DIGEST_BYTES 16u
#define PURGE_MAX 256u

int outbox_idempotency_key(const struct outbox *o, struct slice token, struct slice key, struct slice number,
                           struct slice body, struct idempotency_key *out)
{
    struct slice parts[] = { outbox_salt(o), token, key, number, body };
    int status = seal_sha256_parts(parts, 3, out->key);

    return status != STATUS_OK ? status : seal_sha256_parts(parts, 5, out->digest);
}

/* 63 bits of the key's hash, as in storage.md section 2; the digest beside it catches the rest. */
static int64_t key_hash(const struct idempotency_key *key)
{
    struct reader r = reader_of(slice_of(key->key, sizeof key->key));

    return (int64_t)(reader_u64(&r) >> 1);
}

static int find_in_hour(struct outbox *o, const struct idempotency_key *key, int64_t hour,
                        struct outbox_place *out)
{
    static const char sql[] = "SELECT digest, epoch, lane, seq FROM idem WHERE hour=? AND h=?";
    struct sqlite3_stmt *statement;
    int status = db_statement(o->db, sql, &statement);

    if (status != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, hour);
    sqlite3_bind_int64(statement, 2, key_hash(key));
    if ((status = outbox_store_row(statement)) == STATUS_OK) {
        int64_t lane = sqlite3_column_int64(statement, 2);

        *out = (struct outbox_place){ .epoch = (epoch_id)sqlite3_column_int64(statement, 1),
                                      .lane = (enum lane)(lane >= 0 && lane < LANE_COUNT ? lane : 0),
                                      .seq = (uint64_t)sqlite3_column_int64(statement, 3) };
        if (sqlite3_column_bytes(statement, 0) != DIGEST_BYTES ||
            memcmp(sqlite3_column_blob(statement, 0), key->digest, DIGEST_BYTES) != 0)
            status = STATUS_CONFLICT;
    }
    sqlite3_reset(statement);
    return status;
}

int outbox_idempotency_find(struct outbox *o, const struct idempotency_key *key, uint64_t now_ms,
                            struct outbox_place *out)
{
    int64_t now = (int64_t)(now_ms / HOUR_MS);
    int status = STATUS_END;

    /* One hour more than 24: the first is only partly over. */
    for (int64_t hour = now; hour >= now - (int64_t)IDEMPOTENCY_HOURS && status == STATUS_END; hour--)
        status = find_in_hour(o, key, hour, out);
    return status;
}

int outbox_idempotency_put(struct outbox *o, const struct idempotency_key *key, uint64_t now_ms,
                           const struct outbox_place *place)
{
    static const char sql[] = "INSERT INTO idem(hour, h, digest, epoch, lane, seq) VALUES(?, ?, ?, ?, ?, ?)";
    struct sqlite3_stmt *statement;
    int status;

    if ((status = outbox_write(o)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, (int64_t)(now_ms / HOUR_MS));
    sqlite3_bind_int64(statement, 2, key_hash(key));
    sqlite3_bind_blob(statement, 3, key->digest, DIGEST_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 4, (int64_t)place->epoch);
    sqlite3_bind_int64(statement, 5, place->lane);
    sqlite3_bind_int64(statement, 6, (int64_t)place->seq);
    return db_step(o->db, statement);
}

int outbox_idempotency_purge(struct outbox *o, uint64_t now_ms, unsigned max, bool *left)
{
    static const char find[] = "SELECT hour, h FROM idem WHERE hour<? ORDER BY 1, 2 LIMIT ?";
    static const char drop[] = "DELETE FROM idem WHERE hour=? AND h=?";
    int64_t keys[PURGE_MAX][2];
    struct sqlite3_stmt *statement;
    unsigned count = 0;
    int status = db_statement(o->db, find, &statement);

    assert(max <= PURGE_MAX);
    *left = false;
    if (status != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, (int64_t)(now_ms / HOUR_MS) - (int64_t)IDEMPOTENCY_HOURS);
    sqlite3_bind_int64(statement, 2, max);
    for (; count < max && (status = outbox_store_row(statement)) == STATUS_OK; count++) {
        keys[count][0] = sqlite3_column_int64(statement, 0);
        keys[count][1] = sqlite3_column_int64(statement, 1);
    }
    sqlite3_reset(statement);
    if (status != STATUS_OK && status != STATUS_END)
        return status;
    *left = count == max;
    if (count == 0)
        return STATUS_OK;
    if ((status = outbox_write(o)) != STATUS_OK)
        return status;
    for (unsigned k = 0; k < count; k++) {
        if ((status = db_statement(o->db, drop, &statement)) != STATUS_OK)
            return status;
        sqlite3_bind_int64(statement, 1, keys[k][0]);
        sqlite3_bind_int64(statement, 2, keys[k][1]);
        if ((status = db_step(o->db, statement)) != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}
