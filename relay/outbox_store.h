/* SPDX-License-Identifier: Apache-2.0 */
/* What the outbox's own files share: the handle. Nobody else includes this. */
#ifndef ZAJEL_RELAY_OUTBOX_STORE_H
#define ZAJEL_RELAY_OUTBOX_STORE_H

#include "relay/outbox_rows.h"
#include "relay/outbox_tokens.h"
#include "sync/kit/db.h"
#include "sync/kit/keyring.h"
#include "sync/kit/text.h"
#include "sync/protocol/pack.h"

#define OUTBOX_SALT_BYTES 16u
#define OUTBOX_DAY_MS 86400000u

/* Counters of one lane of one epoch. On disk they are as of number `snap`; rows after it are counted at
 * opening. */
struct outbox_tally {
    uint64_t messages;
    uint64_t bytes;
    uint64_t accepted;
    uint64_t last;      /* The highest number given, burnt ones included. */
    uint64_t committed; /* The highest that is surely on disk: only these may be offered. */
    uint64_t snap;
    bool shrunk; /* Rows were deleted in this turn: it must be saved with them. */
};

struct outbox_epoch {
    uint32_t index; /* The small number that rows name. */
    epoch_id id;
    uint64_t born; /* The boot counter of its start: its place in the order. */
    uint8_t boot[CLOCK_BOOT_BYTES];
    uint64_t base_ms;             /* Unix ms at elapsed 0 of that machine boot, as best known. */
    uint64_t sealed_day;          /* The last day on which it sealed a history row; 0 none. */
    bool linked;                  /* Rows of it may have left. */
    bool cleared;                 /* The peer told its marks since this opening. */
    bool keyless;                 /* Its key is missing: its rows cannot be read. */
    uint64_t settled[LANE_COUNT]; /* The peer holds all up to here ... */
    uint64_t drained[LANE_COUNT]; /* ... and up to here no row of it is left. */
    struct outbox_tally tally[LANE_COUNT];
};

struct outbox_hold {
    bool held;
    uint64_t born; /* Of the epoch, */
    uint64_t seq;  /* from this number on. */
};

struct outbox_token {
    unsigned number;
    char name[TOKEN_NAME_MAX + 1];
    uint8_t hash[SEAL_HASH_BYTES];
    uint64_t created_ms;
};

struct outbox {
    struct db *db;
    struct keyring *keys;
    struct packer *packer;
    char *path;
    char *reserve_path;
    uint64_t reserve_bytes;
    uint32_t branch;
    uint64_t store_id, boot_counter;
    uint8_t salt[OUTBOX_SALT_BYTES];
    uint8_t boot[CLOCK_BOOT_BYTES];
    struct logical_clock clock;
    uint64_t clock_saved_ms; /* Logical time of the last save. */
    bool clock_moved;        /* A trusted time moved it: save it. */
    bool drains_only;
    struct outbox_epoch *epochs; /* By birth; the last is the current one. */
    size_t epoch_count, epoch_room;
    struct outbox_place
        offered[LANE_COUNT]; /* The last row given to the session since the last hello; seq 0: none. */
    struct outbox_hold holds[LANE_COUNT];
    uint64_t waiting_of[OUTBOX_TOKENS_MAX + 1];
    uint64_t shares_saved[OUTBOX_TOKENS_MAX + 1];
    struct outbox_token *tokens; /* By name. */
    size_t token_count;
    uint64_t totals[OUTBOX_TOTALS];
    uint64_t totals_saved[OUTBOX_TOTALS];
    uint64_t quarantined;
    uint64_t webhooks;     /* Waiting for the branch's program. */
    uint64_t sealed_count; /* History rows and webhooks sealed in this epoch: a part of their nonce. */
    struct outbox_tally undo_tally[LANE_COUNT]; /* Of the current epoch, as outbox_mark() found it. */
    uint64_t undo_waiting_of[OUTBOX_TOKENS_MAX + 1];
    struct text packed, sealed, plain, unpacked; /* Working room. */
};

struct outbox_epoch *outbox_store_current(const struct outbox *o);
struct outbox_epoch *outbox_store_epoch(const struct outbox *o, epoch_id id);       /* NULL: unknown. */
struct outbox_epoch *outbox_store_epoch_at(const struct outbox *o, uint32_t index); /* NULL: unknown. */

/* Makes *room at least length bytes long. STATUS_NO_MEMORY */
int outbox_store_room(struct text *room, size_t length);
/* Packs plain into o->packed. */
int outbox_store_pack(struct outbox *o, struct slice plain, struct slice *out);
/* Unpacks into o->unpacked, or borrows from packed. STATUS_CORRUPT */
int outbox_store_unpack(struct outbox *o, struct slice packed, struct slice *out);
/* Seals plain under the current epoch into o->sealed. */
int outbox_store_seal(struct outbox *o, enum row_table table, enum lane lane, uint64_t seq, struct slice aad,
                      struct slice plain, struct slice *out);
/* Opens a row into o->plain. STATUS_CORRUPT, STATUS_UNAVAILABLE */
int outbox_store_unseal(struct outbox *o, enum row_table table, enum lane lane, uint64_t seq,
                        struct slice aad, struct slice sealed, struct slice *out);
/* The number of a row that is neither in a lane nor ever repeated; notes that this epoch's key is in use
 * today. */
int outbox_store_number(struct outbox *o, uint64_t now_ms, uint64_t *out);
/* Steps a statement that may give one row; resets nothing. STATUS_END: no row. */
int outbox_store_row(struct sqlite3_stmt *statement);

/* outbox_epochs.c: reads all with their tallies; drops those that no row needs, keys too; begins a new one.
 */
int outbox_epochs_load(struct outbox *o);
int outbox_epochs_drop(struct outbox *o, uint64_t now_ms);
int outbox_epochs_begin(struct outbox *o, uint64_t elapsed_ms);
/* The clock of those after after_ms was wrong by so much. In an open turn. */
int outbox_epochs_move(struct outbox *o, int64_t by_ms, uint64_t after_ms);
/* outbox_tallies.c */
int outbox_tallies_load(struct outbox *o, struct outbox_epoch *epoch);
int outbox_tallies_save(struct outbox *o);
void outbox_tallies_committed(struct outbox *o);
/* outbox_tokens.c */
int outbox_tokens_load(struct outbox *o);
/* outbox_salvage.c: copies what can be read from the database at path into o's, which is new and empty. */
int outbox_salvage(struct outbox *o, const char *path);

#endif
