/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/ledger_sql.h"

#include <assert.h>

#include "sync/protocol/status.h"

#define JOB_AAD_MAX (MESSAGE_ID_BINARY_MAX + 8u + 8u + 8u + 8u + 4u)

int ledger_marks(struct ledger *l, uint32_t branch, epoch_id epoch, uint64_t mark[LANE_COUNT])
{
    struct ledger_walk walk;
    int status = ledger_ask(l, &walk, "SELECT lane, mark FROM mark WHERE branch = ? AND epoch = ?",
                            LEDGER_WITH(LEDGER_INT(branch), LEDGER_INT(epoch)));

    for (int lane = 0; lane < LANE_COUNT; lane++)
        mark[lane] = 0;
    while (status == STATUS_OK && (status = ledger_row(&walk)) == STATUS_OK) {
        int64_t lane = ledger_integer(&walk, 0);

        if (lane >= 0 && lane < LANE_COUNT)
            mark[lane] = ledger_unsigned(&walk, 1);
    }
    return status == STATUS_END ? STATUS_OK : status;
}

/* Moves the mark up to id, counting `received` more. STATUS_CONFLICT: it is there already. */
static int move_mark(struct ledger *l, const struct message_id *id, unsigned received)
{
    struct ledger_branch_more *b = ledger_branch_own(l, id->branch);
    int status = ledger_run(l,
                            "INSERT INTO mark(branch, epoch, lane, mark, received) VALUES(?, ?, ?, ?, ?)"
                            " ON CONFLICT(branch, epoch, lane) DO UPDATE SET mark = excluded.mark,"
                            " received = received + excluded.received WHERE mark < excluded.mark",
                            LEDGER_WITH(LEDGER_ID(id), LEDGER_INT(received)));

    assert(b);
    if (status != STATUS_OK)
        return status;
    if (ledger_changes(l) == 0)
        return STATUS_CONFLICT;
    b->shown.received += received;
    return STATUS_OK;
}

/* What a row's clear columns say is sealed with it: none can be altered alone. */
static struct slice job_aad(const struct ledger_job *job, uint8_t room[JOB_AAD_MAX])
{
    size_t length = message_id_pack(&job->id, room);
    struct writer w = writer_of(room + length, JOB_AAD_MAX - length);

    writer_u64(&w, job->number);
    writer_u64(&w, job->customer);
    writer_u64(&w, (uint64_t)job->at_s);
    writer_u64(&w, (uint64_t)job->deadline_s);
    writer_u32(&w, job->flags);
    assert(!w.failed);
    return slice_of(room, length + w.length);
}

int ledger_take(struct ledger *l, struct ledger_job *job, struct slice item)
{
    uint8_t room[JOB_AAD_MAX];
    struct slice sealed;
    int status = move_mark(l, &job->id, 1);

    if (status != STATUS_OK)
        return status;
    job->row = ledger_new_row(l);
    status = ledger_seal(l, ROW_LEDGER_UP, job->id.lane, job->row, job_aad(job, room), item, &sealed);
    if (status != STATUS_OK)
        return status;
    return ledger_run(
        l,
        "INSERT INTO job(branch, epoch, lane, seq, row, number, customer, at_s, deadline_s, flags, body)"
        " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        LEDGER_WITH(LEDGER_ID(&job->id), LEDGER_INT(job->row), LEDGER_INT(job->number),
                    LEDGER_INT(job->customer), LEDGER_INT(job->at_s), LEDGER_INT(job->deadline_s),
                    LEDGER_INT(job->flags), LEDGER_BLOB(sealed)));
}

int ledger_pass(struct ledger *l, const struct message_id *id)
{
    return move_mark(l, id, 1);
}

int ledger_jobs(struct ledger *l,
                void (*visit)(void *owner, const struct ledger_job *job, enum ledger_attempt attempt,
                              int64_t since_s),
                void *owner)
{
    struct ledger_walk walk;
    int status =
        ledger_ask(l, &walk,
                   "SELECT j.branch, j.epoch, j.lane, j.seq, row, number, customer, at_s, deadline_s, flags,"
                   " state, since_s FROM job j LEFT JOIN attempt a ON a.branch = j.branch"
                   " AND a.epoch = j.epoch AND a.lane = j.lane AND a.seq = j.seq",
                   NULL, 0);

    while (status == STATUS_OK && (status = ledger_row(&walk)) == STATUS_OK) {
        struct ledger_job job = {
            .id = { .branch = (uint32_t)ledger_integer(&walk, 0),
                    .epoch = ledger_unsigned(&walk, 1),
                    .lane = (enum lane)ledger_integer(&walk, 2),
                    .seq = ledger_unsigned(&walk, 3) },
            .row = ledger_unsigned(&walk, 4),
            .number = ledger_unsigned(&walk, 5),
            .customer = ledger_unsigned(&walk, 6),
            .at_s = ledger_integer(&walk, 7),
            .deadline_s = ledger_integer(&walk, 8),
            .flags = (unsigned)ledger_integer(&walk, 9),
        };

        visit(owner, &job, (enum ledger_attempt)ledger_integer(&walk, 10), ledger_integer(&walk, 11));
    }
    return status == STATUS_END ? STATUS_OK : status;
}

int ledger_job_item(struct ledger *l, const struct ledger_job *job, struct text *out)
{
    uint8_t room[JOB_AAD_MAX];
    struct ledger_walk walk;
    int status =
        ledger_ask(l, &walk, "SELECT body FROM job WHERE branch = ? AND epoch = ? AND lane = ? AND seq = ?",
                   LEDGER_WITH(LEDGER_ID(&job->id)));

    if (status != STATUS_OK || (status = ledger_row(&walk)) != STATUS_OK)
        return status;
    status = ledger_unseal(l, ROW_LEDGER_UP, job->id.lane, job->row, job_aad(job, room),
                           ledger_bytes(&walk, 0), out);
    ledger_leave(&walk);
    return status;
}

int ledger_job_attempt(struct ledger *l, const struct message_id *id, enum ledger_attempt attempt,
                       int64_t since_s)
{
    if (attempt == LEDGER_WAITING)
        return ledger_run(l, "DELETE FROM attempt WHERE branch = ? AND epoch = ? AND lane = ? AND seq = ?",
                          LEDGER_WITH(LEDGER_ID(id)));
    return ledger_run(l,
                      "INSERT INTO attempt(branch, epoch, lane, seq, state, since_s) VALUES(?, ?, ?, ?, ?, ?)"
                      " ON CONFLICT(branch, epoch, lane, seq) DO UPDATE SET state = excluded.state,"
                      " since_s = excluded.since_s",
                      LEDGER_WITH(LEDGER_ID(id), LEDGER_INT(attempt), LEDGER_INT(since_s)));
}

int ledger_job_end(struct ledger *l, const struct message_id *id)
{
    int status = ledger_run(l, "DELETE FROM job WHERE branch = ? AND epoch = ? AND lane = ? AND seq = ?",
                            LEDGER_WITH(LEDGER_ID(id)));

    return status == STATUS_OK ? ledger_job_attempt(l, id, LEDGER_WAITING, 0) : status;
}
