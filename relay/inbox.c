/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/inbox.h"

#include <assert.h>
#include <sqlite3.h>

#include "relay/outbox_store.h"
#include "sync/protocol/status.h"

/* A webhook's place in its nonce; it has no lane. */
#define NO_LANE LANE_URGENT

int inbox_mark(struct outbox *o, epoch_id epoch, enum lane lane, uint64_t *out)
{
    static const char sql[] = "SELECT seq FROM mark WHERE epoch=? AND lane=?";
    struct sqlite3_stmt *statement;
    int status = db_statement(o->db, sql, &statement);

    *out = 0;
    if (status != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, (int64_t)epoch);
    sqlite3_bind_int64(statement, 2, lane);
    if ((status = outbox_store_row(statement)) == STATUS_OK)
        *out = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return status == STATUS_END ? STATUS_OK : status;
}

int inbox_set_mark(struct outbox *o, epoch_id epoch, enum lane lane, uint64_t seq)
{
    static const char sql[] = "INSERT INTO mark(epoch, lane, seq) VALUES(?, ?, ?) ON CONFLICT(epoch, lane)"
                              " DO UPDATE SET seq=max(seq, excluded.seq)";
    struct sqlite3_stmt *statement;
    int status;

    if ((status = outbox_write(o)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, (int64_t)epoch);
    sqlite3_bind_int64(statement, 2, lane);
    sqlite3_bind_int64(statement, 3, (int64_t)seq);
    return db_step(o->db, statement);
}

int inbox_ledger(struct outbox *o, epoch_id *epoch, uint64_t marks[LANE_COUNT])
{
    static const char sql[] = "SELECT ledger FROM meta WHERE id=0";
    struct sqlite3_stmt *statement;
    int status = db_statement(o->db, sql, &statement);

    *epoch = 0;
    if (status != STATUS_OK)
        return status;
    if ((status = outbox_store_row(statement)) == STATUS_OK)
        *epoch = (epoch_id)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    for (int lane = 0; lane < LANE_COUNT && status == STATUS_OK; lane++)
        status = inbox_mark(o, *epoch, (enum lane)lane, &marks[lane]);
    return status;
}

int inbox_set_ledger(struct outbox *o, epoch_id epoch)
{
    static const char sql[] = "UPDATE meta SET ledger=? WHERE id=0";
    uint64_t marks[LANE_COUNT];
    struct sqlite3_stmt *statement;
    epoch_id known;
    int status = inbox_ledger(o, &known, marks);

    if (status != STATUS_OK || known == epoch)
        return status;
    if ((status = outbox_write(o)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, (int64_t)epoch);
    return db_step(o->db, statement);
}

int inbox_customer_of(const struct outbox *o, struct slice number, struct slice customer, inbox_customer *out)
{
    struct slice parts[] = { outbox_salt(o), number, customer };
    uint8_t hash[SEAL_HASH_BYTES];
    struct reader r = reader_of(slice_of(hash, sizeof hash));
    int status = seal_sha256_parts(parts, 3, hash);

    /* 63 bits: SQLite's integers have a sign. */
    *out = (inbox_customer)(reader_u64(&r) >> 1);
    return status;
}

static struct slice webhook_aad(const struct inbox_webhook *webhook, uint8_t room[16])
{
    struct writer w = writer_of(room, 16);

    writer_u64(&w, (uint64_t)webhook->customer);
    writer_u64(&w, webhook->at_ms / 1000);
    return writer_slice(&w);
}

int inbox_put(struct outbox *o, inbox_customer customer, uint64_t now_ms, struct slice body)
{
    static const char sql[] = "INSERT INTO delivery(conv, n, at, body) VALUES(?, ?, ?, ?)";
    struct inbox_webhook webhook = { .customer = customer, .at_ms = now_ms };
    struct sqlite3_stmt *statement;
    struct slice packed, sealed;
    uint8_t aad[16];
    uint64_t number = 0;
    int status;

    if ((status = outbox_write(o)) != STATUS_OK ||
        (status = outbox_store_number(o, now_ms, &number)) != STATUS_OK ||
        (status = outbox_store_pack(o, body, &packed)) != STATUS_OK ||
        (status = outbox_store_seal(o, ROW_DELIVERY, NO_LANE, number, webhook_aad(&webhook, aad), packed,
                                    &sealed)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, customer);
    sqlite3_bind_int64(statement, 2, (int64_t)number);
    sqlite3_bind_int64(statement, 3, (int64_t)(now_ms / 1000));
    sqlite3_bind_blob64(statement, 4, sealed.at, sealed.length, SQLITE_STATIC);
    if ((status = db_step(o->db, statement)) == STATUS_OK)
        o->webhooks++;
    return status;
}

int inbox_next(struct outbox *o, inbox_customer after, struct inbox_webhook *out)
{
    static const char sql[] = "SELECT conv, n, at FROM delivery WHERE conv>? ORDER BY conv, n LIMIT 1";
    struct sqlite3_stmt *statement;
    int status = db_statement(o->db, sql, &statement);

    if (status != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, after);
    if ((status = outbox_store_row(statement)) == STATUS_OK)
        *out = (struct inbox_webhook){ .customer = sqlite3_column_int64(statement, 0),
                                       .number = sqlite3_column_int64(statement, 1),
                                       .at_ms = (uint64_t)sqlite3_column_int64(statement, 2) * 1000 };
    sqlite3_reset(statement);
    return status;
}

int inbox_read(struct outbox *o, const struct inbox_webhook *webhook, struct slice *body)
{
    static const char sql[] = "SELECT body FROM delivery WHERE conv=? AND n=?";
    struct sqlite3_stmt *statement;
    struct slice plain;
    uint8_t aad[16];
    int status = db_statement(o->db, sql, &statement);

    if (status != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, webhook->customer);
    sqlite3_bind_int64(statement, 2, webhook->number);
    if ((status = outbox_store_row(statement)) == STATUS_OK) {
        struct slice sealed =
            slice_of(sqlite3_column_blob(statement, 0), (size_t)sqlite3_column_bytes(statement, 0));

        status = outbox_store_unseal(o, ROW_DELIVERY, NO_LANE, (uint64_t)webhook->number,
                                     webhook_aad(webhook, aad), sealed, &plain);
    }
    sqlite3_reset(statement);
    return status == STATUS_OK ? outbox_store_unpack(o, plain, body) : status;
}

int inbox_delete(struct outbox *o, const struct inbox_webhook *webhook)
{
    static const char sql[] = "DELETE FROM delivery WHERE conv=? AND n=?";
    struct sqlite3_stmt *statement;
    int status;

    if ((status = outbox_write(o)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, webhook->customer);
    sqlite3_bind_int64(statement, 2, webhook->number);
    if ((status = db_step(o->db, statement)) == STATUS_OK)
        o->webhooks -= o->webhooks > 0;
    return status;
}

uint64_t inbox_waiting(const struct outbox *o)
{
    return o->webhooks;
}
