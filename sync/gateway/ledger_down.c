/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/ledger_sql.h"

#include <assert.h>
#include <string.h>

#include "sync/protocol/status.h"

static struct slice down_aad(uint32_t branch, enum lane lane, uint64_t seq, uint8_t room[16])
{
    struct writer w = writer_of(room, 16);

    writer_u32(&w, branch);
    writer_u8(&w, (uint8_t)lane);
    writer_u64(&w, seq);
    assert(!w.failed);
    return writer_slice(&w);
}

static int read_gone(struct ledger *l)
{
    struct ledger_walk walk;
    int status = ledger_ask(l, &walk, "SELECT branch, lane, seq FROM gone", NULL, 0);

    while (status == STATUS_OK && (status = ledger_row(&walk)) == STATUS_OK) {
        struct ledger_branch_more *b = ledger_branch_own(l, (uint32_t)ledger_integer(&walk, 0));
        int64_t lane = ledger_integer(&walk, 1);

        if (b && lane >= 0 && lane < LANE_COUNT && ledger_unsigned(&walk, 2) > b->down_last[lane])
            b->down_last[lane] = b->down_held[lane] = ledger_unsigned(&walk, 2);
    }
    return status == STATUS_END ? STATUS_OK : status;
}

int ledger_read_down(struct ledger *l)
{
    struct ledger_walk walk;
    int status = read_gone(l);

    for (uint32_t i = 0; i < l->branch_count; i++) {
        memset(l->branches[i]->shown.down_messages, 0, sizeof l->branches[i]->shown.down_messages);
        memset(l->branches[i]->shown.down_bytes, 0, sizeof l->branches[i]->shown.down_bytes);
    }
    if (status == STATUS_OK)
        status = ledger_ask(
            l, &walk, "SELECT branch, lane, COUNT(*), SUM(plain), MAX(seq) FROM down GROUP BY branch, lane",
            NULL, 0);
    while (status == STATUS_OK && (status = ledger_row(&walk)) == STATUS_OK) {
        struct ledger_branch_more *b = ledger_branch_own(l, (uint32_t)ledger_integer(&walk, 0));
        int64_t lane = ledger_integer(&walk, 1);

        if (!b || lane < 0 || lane >= LANE_COUNT)
            continue;
        b->shown.down_messages[lane] = ledger_unsigned(&walk, 2);
        b->shown.down_bytes[lane] = ledger_unsigned(&walk, 3);
        if (ledger_unsigned(&walk, 4) > b->down_last[lane])
            b->down_last[lane] = b->down_held[lane] = ledger_unsigned(&walk, 4);
    }
    return status == STATUS_END ? STATUS_OK : status;
}

int ledger_down_put(struct ledger *l, uint32_t branch, enum lane lane, struct slice item,
                    struct message_id *id_out)
{
    struct ledger_branch_more *b = ledger_branch_own(l, branch);
    uint64_t row = ledger_new_row(l), seq;
    struct slice sealed;
    uint8_t room[16];
    int status;

    assert(b);
    seq = b->down_last[lane] + 1;
    status = ledger_seal(l, ROW_LEDGER_DOWN, lane, row, down_aad(branch, lane, seq, room), item, &sealed);
    if (status == STATUS_OK)
        status =
            ledger_run(l, "INSERT INTO down(branch, lane, seq, row, plain, body) VALUES(?, ?, ?, ?, ?, ?)",
                       LEDGER_WITH(LEDGER_INT(branch), LEDGER_INT(lane), LEDGER_INT(seq), LEDGER_INT(row),
                                   LEDGER_INT(item.length), LEDGER_BLOB(sealed)));
    if (status != STATUS_OK)
        return status;
    b->down_last[lane] = seq; /* Burnt, also when the turn comes to nothing. */
    b->shown.down_messages[lane]++;
    b->shown.down_bytes[lane] += item.length;
    if (!b->touched) {
        b->touched = true;
        l->touched[l->touched_count++] = branch;
    }
    *id_out = (struct message_id){ .branch = branch, .epoch = l->epoch, .lane = lane, .seq = seq };
    return STATUS_OK;
}

int ledger_down_next(struct ledger *l, uint32_t branch, enum lane lane, uint64_t after_seq, uint64_t *seq_out,
                     struct text *out)
{
    const struct ledger_branch_more *b = ledger_branch_own(l, branch);
    uint8_t room[16];
    struct ledger_walk walk;
    int status = ledger_ask(l, &walk,
                            "SELECT seq, row, body FROM down WHERE branch = ? AND lane = ? AND seq > ?"
                            " AND seq <= ? ORDER BY seq LIMIT 1",
                            LEDGER_WITH(LEDGER_INT(branch), LEDGER_INT(lane), LEDGER_INT(after_seq),
                                        LEDGER_INT(b->down_held[lane])));

    text_clear(out);
    if (status != STATUS_OK || (status = ledger_row(&walk)) != STATUS_OK)
        return status;
    *seq_out = ledger_unsigned(&walk, 0);
    status = ledger_unseal(l, ROW_LEDGER_DOWN, lane, ledger_unsigned(&walk, 1),
                           down_aad(branch, lane, *seq_out, room), ledger_bytes(&walk, 2), out);
    ledger_leave(&walk);
    return status;
}

/* What is about to be deleted, for the counters. */
static int count_settled(struct ledger *l, uint32_t branch, enum lane lane, uint64_t seq, uint64_t *rows,
                         uint64_t *bytes)
{
    struct ledger_walk walk;
    int status = ledger_ask(l, &walk,
                            "SELECT COUNT(*), COALESCE(SUM(plain), 0) FROM down"
                            " WHERE branch = ? AND lane = ? AND seq <= ?",
                            LEDGER_WITH(LEDGER_INT(branch), LEDGER_INT(lane), LEDGER_INT(seq)));

    if (status == STATUS_OK && (status = ledger_row(&walk)) == STATUS_OK) {
        *rows = ledger_unsigned(&walk, 0);
        *bytes = ledger_unsigned(&walk, 1);
        ledger_leave(&walk);
    }
    return status;
}

int ledger_down_settle(struct ledger *l, uint32_t branch, enum lane lane, uint64_t seq)
{
    struct ledger_branch_more *b = ledger_branch_own(l, branch);
    uint64_t rows, bytes;
    int status;

    assert(b);
    if (seq > b->down_last[lane])
        return STATUS_INVALID;
    if ((status = count_settled(l, branch, lane, seq, &rows, &bytes)) != STATUS_OK || rows == 0)
        return status;
    status = ledger_run(l, "DELETE FROM down WHERE branch = ? AND lane = ? AND seq <= ?",
                        LEDGER_WITH(LEDGER_INT(branch), LEDGER_INT(lane), LEDGER_INT(seq)));
    if (status == STATUS_OK)
        status = ledger_run(l,
                            "INSERT INTO gone(branch, lane, seq) VALUES(?, ?, ?) ON CONFLICT(branch, lane)"
                            " DO UPDATE SET seq = excluded.seq WHERE seq < excluded.seq",
                            LEDGER_WITH(LEDGER_INT(branch), LEDGER_INT(lane), LEDGER_INT(seq)));
    if (status != STATUS_OK)
        return status;
    b->shown.down_messages[lane] -= rows;
    b->shown.down_bytes[lane] -= bytes;
    return STATUS_OK;
}

uint64_t ledger_down_last(const struct ledger *l, uint32_t branch, enum lane lane)
{
    const struct ledger_branch_more *b = ledger_branch_own(l, branch);

    assert(b);
    return b->down_last[lane];
}

void ledger_down_committed(struct ledger *l)
{
    for (uint32_t i = 0; i < l->touched_count; i++) {
        struct ledger_branch_more *b = ledger_branch_own(l, l->touched[i]);

        memcpy(b->down_held, b->down_last, sizeof b->down_held);
    }
}

bool ledger_down_touched(struct ledger *l, uint32_t *branch)
{
    if (l->touched_count == 0)
        return false;
    *branch = l->touched[--l->touched_count];
    ledger_branch_own(l, *branch)->touched = false;
    return true;
}
