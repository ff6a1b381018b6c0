/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/outbox_tokens.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "relay/outbox_store.h"
#include "sync/protocol/status.h"

#define TOKEN_RANDOM_BYTES 32u

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* "zj_" and base64url: it passes through every shell, header and file unquoted. */
static void token_text(const uint8_t random[TOKEN_RANDOM_BYTES], char text[TOKEN_TEXT_BYTES])
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t at = 3;

    memcpy(text, "zj_", 3);
    for (size_t i = 0; i < TOKEN_RANDOM_BYTES; i++) {
        bits = bits << 8 | random[i];
        for (held += 8; held >= 6; held -= 6)
            text[at++] = alphabet[bits >> (held - 6) & 0x3f];
    }
    if (held)
        text[at++] = alphabet[bits << (6 - held) & 0x3f];
    assert(at < TOKEN_TEXT_BYTES);
    text[at] = '\0';
}

static int token_hash(const struct outbox *o, struct slice text, uint8_t hash[SEAL_HASH_BYTES])
{
    struct slice parts[] = { outbox_salt(o), text };

    return seal_sha256_parts(parts, 2, hash);
}

static bool token_name_is_fine(struct slice name)
{
    if (name.length < 1 || name.length > TOKEN_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.length; i++)
        if (name.at[i] <= ' ' || name.at[i] > '~' || name.at[i] == '"' || name.at[i] == '\\')
            return false;
    return true;
}

int outbox_tokens_load(struct outbox *o)
{
    static const char sql[] = "SELECT number, name, hash, created_ms FROM token ORDER BY name";
    struct sqlite3_stmt *statement;
    struct outbox_token *tokens = calloc(OUTBOX_TOKENS_MAX, sizeof *tokens);
    size_t count = 0;
    int status = tokens ? db_statement(o->db, sql, &statement) : STATUS_NO_MEMORY;

    while (status == STATUS_OK && count < OUTBOX_TOKENS_MAX &&
           (status = outbox_store_row(statement)) == STATUS_OK) {
        struct outbox_token *token = &tokens[count++];
        const char *name = (const char *)sqlite3_column_text(statement, 1);

        if (sqlite3_column_bytes(statement, 2) != SEAL_HASH_BYTES || !name) {
            status = STATUS_CORRUPT;
            break;
        }
        token->number = (unsigned)sqlite3_column_int(statement, 0);
        strncpy(token->name, name, sizeof token->name - 1);
        memcpy(token->hash, sqlite3_column_blob(statement, 2), SEAL_HASH_BYTES);
        token->created_ms = (uint64_t)sqlite3_column_int64(statement, 3);
        if (token->number < 1 || token->number > OUTBOX_TOKENS_MAX)
            status = STATUS_CORRUPT;
    }
    if (status != STATUS_OK && status != STATUS_END) {
        free(tokens);
        return status;
    }
    free(o->tokens);
    o->tokens = tokens;
    o->token_count = count;
    return STATUS_OK;
}

static const struct outbox_token *token_named(const struct outbox *o, struct slice name)
{
    for (size_t i = 0; i < o->token_count; i++)
        if (slice_is(name, o->tokens[i].name))
            return &o->tokens[i];
    return NULL;
}

/* The least number that neither a token nor a waiting row of a revoked one has; 0: none. */
static unsigned token_free_number(const struct outbox *o)
{
    for (unsigned number = 1; number <= OUTBOX_TOKENS_MAX; number++) {
        bool taken = o->waiting_of[number] > 0;

        for (size_t i = 0; i < o->token_count; i++)
            taken = taken || o->tokens[i].number == number;
        if (!taken)
            return number;
    }
    return 0;
}

int outbox_token_add(struct outbox *o, struct slice name, uint64_t now_ms, char text[TOKEN_TEXT_BYTES])
{
    static const char sql[] = "INSERT INTO token(number, name, hash, created_ms) VALUES(?, ?, ?, ?)";
    uint8_t random[TOKEN_RANDOM_BYTES], hash[SEAL_HASH_BYTES];
    unsigned number = token_free_number(o);
    struct sqlite3_stmt *statement;
    int status;

    if (!token_name_is_fine(name))
        return STATUS_INVALID;
    if (token_named(o, name))
        return STATUS_CONFLICT;
    if (number == 0 || o->token_count == OUTBOX_TOKENS_MAX)
        return STATUS_FULL;
    if ((status = seal_random(random, sizeof random)) != STATUS_OK)
        return status;
    token_text(random, text);
    explicit_bzero(random, sizeof random);
    if ((status = token_hash(o, slice_text(text), hash)) != STATUS_OK ||
        (status = outbox_write(o)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_int64(statement, 1, number);
    sqlite3_bind_text(statement, 2, (const char *)name.at, (int)name.length, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 3, hash, sizeof hash, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 4, (int64_t)now_ms);
    if ((status = db_step(o->db, statement)) != STATUS_OK)
        return status;
    return outbox_tokens_load(o);
}

int outbox_token_revoke(struct outbox *o, struct slice name)
{
    static const char sql[] = "DELETE FROM token WHERE name=?";
    struct sqlite3_stmt *statement;
    int status;

    if (!token_named(o, name))
        return STATUS_END;
    if ((status = outbox_write(o)) != STATUS_OK ||
        (status = db_statement(o->db, sql, &statement)) != STATUS_OK)
        return status;
    sqlite3_bind_text(statement, 1, (const char *)name.at, (int)name.length, SQLITE_STATIC);
    if ((status = db_step(o->db, statement)) != STATUS_OK)
        return status;
    return outbox_tokens_load(o);
}

int outbox_token_check(struct outbox *o, struct slice text, unsigned *number, struct slice *name)
{
    uint8_t hash[SEAL_HASH_BYTES];
    int status = token_hash(o, text, hash);

    if (status != STATUS_OK)
        return status;
    status = STATUS_DENIED;
    /* All are compared, so that the time tells nothing of which one it was. */
    for (size_t i = 0; i < o->token_count; i++) {
        if (!seal_equal(hash, o->tokens[i].hash, sizeof hash))
            continue;
        *number = o->tokens[i].number;
        *name = slice_text(o->tokens[i].name);
        status = STATUS_OK;
    }
    return status;
}

int outbox_token_at(struct outbox *o, size_t i, struct slice *name, uint64_t *created_ms)
{
    if (i >= o->token_count)
        return STATUS_END;
    *name = slice_text(o->tokens[i].name);
    *created_ms = o->tokens[i].created_ms;
    return STATUS_OK;
}
