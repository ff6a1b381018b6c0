/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/ledger_sql.h"

#include "sync/protocol/status.h"

#define DAY_S 86400

int ledger_seen(struct ledger *l, uint64_t hash, int64_t now_s)
{
    struct ledger_walk walk;
    int64_t day = now_s / DAY_S;
    int status;

    for (int64_t d = day - LEDGER_SEEN_DAYS; d <= day; d++) {
        status = ledger_ask(l, &walk, "SELECT 1 FROM seen WHERE day = ? AND hash = ?",
                            LEDGER_WITH(LEDGER_INT(d), LEDGER_INT(hash)));
        if (status != STATUS_OK)
            return status;
        status = ledger_row(&walk);
        ledger_leave(&walk);
        if (status != STATUS_END)
            return status == STATUS_OK ? STATUS_CONFLICT : status;
    }
    return ledger_run(l, "INSERT INTO seen(day, hash) VALUES(?, ?)",
                      LEDGER_WITH(LEDGER_INT(day), LEDGER_INT(hash)));
}

int ledger_forget_seen(struct ledger *l, int64_t now_s, size_t rows_max)
{
    struct ledger_walk walk;
    int64_t least = now_s / DAY_S - LEDGER_SEEN_DAYS;
    int status =
        ledger_ask(l, &walk, "SELECT 1 FROM seen WHERE day < ? LIMIT 1", LEDGER_WITH(LEDGER_INT(least)));

    if (status == STATUS_OK)
        status = ledger_row(&walk);
    ledger_leave(&walk);
    if (status != STATUS_OK)
        return status == STATUS_END ? STATUS_OK : status;
    return ledger_run(l,
                      "DELETE FROM seen WHERE (day, hash) IN (SELECT day, hash FROM seen WHERE day < ?"
                      " ORDER BY day, hash LIMIT ?)",
                      LEDGER_WITH(LEDGER_INT(least), LEDGER_INT(rows_max)));
}

int ledger_last_served(struct ledger *l, uint64_t customer, uint32_t *branch)
{
    struct ledger_walk walk;
    int status = ledger_ask(l, &walk, "SELECT branch FROM served WHERE customer = ?",
                            LEDGER_WITH(LEDGER_INT(customer)));

    if (status != STATUS_OK || (status = ledger_row(&walk)) != STATUS_OK)
        return status;
    *branch = (uint32_t)ledger_integer(&walk, 0);
    ledger_leave(&walk);
    return STATUS_OK;
}

int ledger_served(struct ledger *l, uint64_t customer, uint32_t branch)
{
    uint32_t before;
    int status = ledger_last_served(l, customer, &before);

    if (status == STATUS_OK && before == branch)
        return STATUS_OK;
    if (status != STATUS_OK && status != STATUS_END)
        return status;
    return ledger_run(l,
                      "INSERT INTO served(customer, branch) VALUES(?, ?) ON CONFLICT(customer)"
                      " DO UPDATE SET branch = excluded.branch",
                      LEDGER_WITH(LEDGER_INT(customer), LEDGER_INT(branch)));
}

int ledger_unrouted(struct ledger *l, struct slice item, int64_t now_s)
{
    uint64_t row = ledger_new_row(l);
    struct slice sealed;
    int status = ledger_seal(l, ROW_LEDGER_DOWN, LANE_CHAT, row, slice_text("unrouted"), item, &sealed);

    if (status != STATUS_OK)
        return status;
    return ledger_run(l, "INSERT INTO unrouted(row, at_s, body) VALUES(?, ?, ?)",
                      LEDGER_WITH(LEDGER_INT(row), LEDGER_INT(now_s), LEDGER_BLOB(sealed)));
}
