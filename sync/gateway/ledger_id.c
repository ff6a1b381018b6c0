/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/ledger_sql.h"

#include <assert.h>

#include "sync/protocol/status.h"

static struct slice id_aad(const struct message_id *id, uint8_t room[MESSAGE_ID_BINARY_MAX])
{
    return slice_of(room, message_id_pack(id, room));
}

int ledger_id_put(struct ledger *l, const struct message_id *ours, struct slice meta)
{
    uint8_t room[MESSAGE_ID_BINARY_MAX];
    uint64_t row = ledger_new_row(l);
    struct slice sealed;
    int status;

    if (meta.length == 0 || meta.length > LEDGER_META_ID_MAX)
        return STATUS_INVALID;
    status = ledger_seal(l, ROW_LEDGER_UP, ours->lane, row, id_aad(ours, room), meta, &sealed);
    if (status == STATUS_OK)
        status =
            ledger_run(l,
                       "INSERT INTO identity(branch, epoch, lane, seq, row, meta) VALUES(?, ?, ?, ?, ?, ?)"
                       " ON CONFLICT(branch, epoch, lane, seq) DO NOTHING",
                       LEDGER_WITH(LEDGER_ID(ours), LEDGER_INT(row), LEDGER_BLOB(sealed)));
    if (status != STATUS_OK)
        return status;
    return ledger_run(l,
                      "INSERT INTO wamid(hash, branch, epoch, lane, seq) VALUES(?, ?, ?, ?, ?)"
                      " ON CONFLICT(hash, branch, epoch, lane, seq) DO NOTHING",
                      LEDGER_WITH(LEDGER_INT(ledger_hash(l, "wamid", meta)), LEDGER_ID(ours)));
}

int ledger_id_to_meta(struct ledger *l, const struct message_id *ours, struct text *out)
{
    uint8_t room[MESSAGE_ID_BINARY_MAX];
    struct ledger_walk walk;
    int status = ledger_ask(
        l, &walk, "SELECT row, meta FROM identity WHERE branch = ? AND epoch = ? AND lane = ? AND seq = ?",
        LEDGER_WITH(LEDGER_ID(ours)));

    if (status != STATUS_OK || (status = ledger_row(&walk)) != STATUS_OK)
        return status;
    status = ledger_unseal(l, ROW_LEDGER_UP, ours->lane, ledger_unsigned(&walk, 0), id_aad(ours, room),
                           ledger_bytes(&walk, 1), out);
    ledger_leave(&walk);
    return status;
}

int ledger_id_from_meta(struct ledger *l, struct slice meta, struct message_id *out)
{
    struct ledger_walk walk;
    int status;

    if (meta.length == 0 || meta.length > LEDGER_META_ID_MAX)
        return STATUS_END;
    /* 64 keyed bits: two of a billion ids share them in one gateway of fifty, and then only as a wrong guess
     * of which of the two is meant; Meta's texts are not compared for that. */
    status = ledger_ask(l, &walk, "SELECT branch, epoch, lane, seq FROM wamid WHERE hash = ?",
                        LEDGER_WITH(LEDGER_INT(ledger_hash(l, "wamid", meta))));
    if (status != STATUS_OK || (status = ledger_row(&walk)) != STATUS_OK)
        return status;
    *out = (struct message_id){ .branch = (uint32_t)ledger_integer(&walk, 0),
                                .epoch = ledger_unsigned(&walk, 1),
                                .lane = (enum lane)ledger_integer(&walk, 2),
                                .seq = ledger_unsigned(&walk, 3) };
    ledger_leave(&walk);
    return STATUS_OK;
}

static int read_conversations(struct ledger *l, struct ledger_branch_more *b)
{
    struct ledger_walk walk;
    int status = ledger_ask(l, &walk, "SELECT COUNT(*) FROM conversation WHERE branch = ?",
                            LEDGER_WITH(LEDGER_INT(b->shown.number)));

    if (status == STATUS_OK && (status = ledger_row(&walk)) == STATUS_OK) {
        b->conversations = ledger_unsigned(&walk, 0);
        b->conversations_read = true;
        ledger_leave(&walk);
    }
    return status;
}

int ledger_conversation(struct ledger *l, uint32_t branch, struct slice meta, uint64_t *number)
{
    struct ledger_branch_more *b = ledger_branch_own(l, branch);
    uint64_t hash = ledger_hash(l, "conversation", meta);
    struct ledger_walk walk;
    int status;

    assert(b);
    status = ledger_ask(l, &walk, "SELECT number FROM conversation WHERE branch = ? AND hash = ?",
                        LEDGER_WITH(LEDGER_INT(branch), LEDGER_INT(hash)));
    if (status == STATUS_OK && (status = ledger_row(&walk)) == STATUS_OK) {
        *number = ledger_unsigned(&walk, 0);
        ledger_leave(&walk);
        return STATUS_OK;
    }
    if (status != STATUS_END)
        return status;
    if (!b->conversations_read && (status = read_conversations(l, b)) != STATUS_OK)
        return status;
    *number = ++b->conversations; /* One given to an event that is undone stays unused. */
    return ledger_run(l, "INSERT INTO conversation(branch, hash, number) VALUES(?, ?, ?)",
                      LEDGER_WITH(LEDGER_INT(branch), LEDGER_INT(hash), LEDGER_INT(*number)));
}
