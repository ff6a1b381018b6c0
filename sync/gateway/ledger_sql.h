/* SPDX-License-Identifier: Apache-2.0 */
/* SQL for the ledger's files: statements run with their values, rows walked, and the ledger's own struct.
 * Only ledger*.c include this; what knows SQLite stops here and in ledger_sql.c. */
#ifndef ZAJEL_GATEWAY_LEDGER_SQL_H
#define ZAJEL_GATEWAY_LEDGER_SQL_H

#include "sync/gateway/ledger.h"
#include "sync/kit/db.h"
#include "sync/kit/keyring.h"
#include "sync/protocol/pack.h"

#define LEDGER_SALT_BYTES 32u
#define LEDGER_ARGUMENTS_MAX 16u

struct ledger_branch_more {
    struct ledger_branch shown;
    uint64_t down_last[LANE_COUNT];
    uint64_t down_held[LANE_COUNT]; /* As down_last, of what is committed: no more may leave. */
    bool touched;                   /* In ledger.touched. */
    uint64_t conversations;         /* Numbers given; read on first use. */
    bool conversations_read;
};

struct ledger {
    struct db *db;
    struct keyring *keys;
    struct packer *packer;
    uint64_t bytes_max;
    uint64_t store_id, boot;
    uint32_t key_index;
    epoch_id epoch;
    uint8_t salt[LEDGER_SALT_BYTES];
    uint64_t row_next; /* boot in the upper half: a sealing nonce serves once, whatever was lost. */
    struct ledger_branch_more **branches; /* By number - 1. */
    uint32_t branch_count, branch_room;
    uint32_t
        *touched; /* Numbers of branches that got rows since they were asked for. Room as for branches. */
    uint32_t touched_count;
    uint64_t counters[LEDGER_COUNTER_COUNT];
    bool counter_changed[LEDGER_COUNTER_COUNT];
    uint8_t *scratch[2]; /* Packed bytes, sealed bytes. */
    size_t scratch_room[2];
};

struct ledger_value {
    enum { LEDGER_INTEGER, LEDGER_BYTES, LEDGER_NULL } kind;
    int64_t integer;
    struct slice bytes;
};

#define LEDGER_INT(x) ((struct ledger_value){ .kind = LEDGER_INTEGER, .integer = (int64_t)(x) })
#define LEDGER_BLOB(x) ((struct ledger_value){ .kind = LEDGER_BYTES, .bytes = (x) })
#define LEDGER_ID(m) \
    LEDGER_INT((m)->branch), LEDGER_INT((m)->epoch), LEDGER_INT((m)->lane), LEDGER_INT((m)->seq)
/* ledger_run(l, sql, LEDGER_WITH(LEDGER_INT(1), ...)); sql is a literal. */
#define LEDGER_WITH(...) \
    (const struct ledger_value[]){ __VA_ARGS__ }, \
        sizeof((const struct ledger_value[]){ __VA_ARGS__ }) / sizeof(struct ledger_value)

/* Runs a statement that gives no rows. Begins the turn if need be. */
int ledger_run(struct ledger *l, const char *sql, const struct ledger_value *values, size_t count);
uint64_t ledger_changes(struct ledger *l); /* Rows touched by the last ledger_run. */

/* A walk over rows; its values are valid until the next call on it. One walk of a statement at a time. */
struct ledger_walk {
    struct ledger *ledger;
    void *statement;
};
int ledger_ask(struct ledger *l, struct ledger_walk *walk, const char *sql, const struct ledger_value *values,
               size_t count);
int ledger_row(
    struct ledger_walk *walk); /* STATUS_OK: a row; STATUS_END: none, the walk is over, as after any error. */
int64_t ledger_integer(const struct ledger_walk *walk, int column);
uint64_t ledger_unsigned(const struct ledger_walk *walk, int column);
struct slice ledger_bytes(const struct ledger_walk *walk, int column); /* Empty for NULL. */
bool ledger_is_null(const struct ledger_walk *walk, int column);
void ledger_leave(struct ledger_walk *walk); /* Ends it early; fine after its end. */

uint64_t ledger_new_row(struct ledger *l);
/* Packs and seals plain; *out lies in the ledger's scratch until the next seal or unseal. */
int ledger_seal(struct ledger *l, enum row_table table, enum lane lane, uint64_t row, struct slice aad,
                struct slice plain, struct slice *out);
/* Adds the plain bytes to out. STATUS_CORRUPT also when the key is gone. */
int ledger_unseal(struct ledger *l, enum row_table table, enum lane lane, uint64_t row, struct slice aad,
                  struct slice sealed, struct text *out);

int ledger_read_branches(struct ledger *l);
int ledger_read_received(struct ledger *l);
int ledger_read_down(struct ledger *l);
void ledger_down_committed(struct ledger *l);
struct ledger_branch_more *ledger_branch_own(const struct ledger *l, uint32_t number);
int ledger_write_counters(struct ledger *l);
int ledger_read_counters(struct ledger *l);

#endif
