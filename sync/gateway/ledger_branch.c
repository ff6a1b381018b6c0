/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/ledger_sql.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sync/protocol/status.h"

bool ledger_branch_id_is_good(const char *id)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    static const char later[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t length = strlen(id);

    return length >= 1 && length <= LEDGER_BRANCH_ID_MAX && strchr(first, id[0]) &&
           strspn(id, later) == length;
}

struct ledger_branch_more *ledger_branch_own(const struct ledger *l, uint32_t number)
{
    return number >= 1 && number <= l->branch_count ? l->branches[number - 1] : NULL;
}

const struct ledger_branch *ledger_branch(const struct ledger *l, uint32_t number)
{
    const struct ledger_branch_more *b = ledger_branch_own(l, number);

    return b ? &b->shown : NULL;
}

const struct ledger_branch *ledger_branch_find(const struct ledger *l, const char *id)
{
    for (uint32_t i = 0; i < l->branch_count; i++)
        if (strcmp(l->branches[i]->shown.id, id) == 0)
            return &l->branches[i]->shown;
    return NULL;
}

uint32_t ledger_branch_count(const struct ledger *l)
{
    return l->branch_count;
}

/* Room for one more, given by append(). */
static struct ledger_branch_more *append(struct ledger *l)
{
    struct ledger_branch_more *b = calloc(1, sizeof *b);

    if (b && l->branch_count == l->branch_room) {
        uint32_t room = l->branch_room ? 2 * l->branch_room : 16;
        struct ledger_branch_more **grown = reallocarray(l->branches, room, sizeof *grown);

        uint32_t *touched = grown ? reallocarray(l->touched, room, sizeof *touched) : NULL;

        if (grown)
            l->branches = grown;
        if (!touched) {
            free(b);
            return NULL;
        }
        l->touched = touched;
        l->branch_room = room;
    }
    if (!b)
        return NULL;
    l->branches[l->branch_count++] = b;
    b->shown.number = l->branch_count;
    return b;
}

static void fill_branch(struct ledger_branch *b, const struct ledger_walk *walk)
{
    struct slice id = ledger_bytes(walk, 1), fingerprint = ledger_bytes(walk, 3);
    size_t length = id.length < LEDGER_BRANCH_ID_MAX ? id.length : LEDGER_BRANCH_ID_MAX;

    memcpy(b->id, id.at, length);
    b->revoked = ledger_integer(walk, 2) != 0;
    b->certified = fingerprint.length == sizeof b->fingerprint;
    if (b->certified)
        memcpy(b->fingerprint, fingerprint.at, sizeof b->fingerprint);
    b->until_s = ledger_integer(walk, 4);
    b->added_s = ledger_integer(walk, 5);
    b->seen_s = ledger_integer(walk, 6);
    b->store_id = ledger_unsigned(walk, 7);
    b->boot = ledger_unsigned(walk, 8);
    b->queue_messages = ledger_unsigned(walk, 9);
    b->queue_bytes = ledger_unsigned(walk, 10);
    b->queue_oldest_s = ledger_unsigned(walk, 11);
}

int ledger_read_received(struct ledger *l)
{
    struct ledger_walk walk;
    int status = ledger_ask(l, &walk, "SELECT branch, SUM(received) FROM mark GROUP BY branch", NULL, 0);

    while (status == STATUS_OK && (status = ledger_row(&walk)) == STATUS_OK) {
        struct ledger_branch_more *b = ledger_branch_own(l, (uint32_t)ledger_integer(&walk, 0));

        if (b)
            b->shown.received = ledger_unsigned(&walk, 1);
    }
    return status == STATUS_END ? STATUS_OK : status;
}

int ledger_read_branches(struct ledger *l)
{
    struct ledger_walk walk;
    int status =
        ledger_ask(l, &walk,
                   "SELECT number, id, revoked, fingerprint, until_s, added_s, seen_s, store_id, boot,"
                   " queue_messages, queue_bytes, queue_oldest_s FROM branch ORDER BY number",
                   NULL, 0);

    while (status == STATUS_OK && (status = ledger_row(&walk)) == STATUS_OK) {
        struct ledger_branch_more *b = append(l);

        if (!b)
            status = STATUS_NO_MEMORY;
        else if (ledger_integer(&walk, 0) != b->shown.number)
            status = STATUS_CORRUPT; /* Branches are never deleted: their numbers have no gaps. */
        else
            fill_branch(&b->shown, &walk);
    }
    ledger_leave(&walk);
    return status == STATUS_END ? ledger_read_received(l) : status;
}

int ledger_branch_add(struct ledger *l, const char *id, int64_t now_s, uint32_t *number)
{
    struct ledger_branch_more *b;
    int status;

    if (!ledger_branch_id_is_good(id))
        return STATUS_INVALID;
    if (ledger_branch_find(l, id))
        return STATUS_CONFLICT;
    status = ledger_run(
        l,
        "INSERT INTO branch(number, id, revoked, until_s, added_s, seen_s, store_id, boot,"
        " queue_messages, queue_bytes, queue_oldest_s) VALUES(?, ?, 0, 0, ?, 0, 0, 0, 0, 0, 0)",
        LEDGER_WITH(LEDGER_INT(l->branch_count + 1), LEDGER_BLOB(slice_text(id)), LEDGER_INT(now_s)));
    if (status != STATUS_OK)
        return status;
    if (!(b = append(l)))
        return STATUS_NO_MEMORY;
    memcpy(b->shown.id, id, strlen(id));
    b->shown.added_s = now_s;
    *number = b->shown.number;
    return STATUS_OK;
}

int ledger_branch_certify(struct ledger *l, uint32_t number, const uint8_t fingerprint[32], int64_t until_s)
{
    struct ledger_branch_more *b = ledger_branch_own(l, number);
    int status;

    if (!b)
        return STATUS_END;
    status = ledger_run(
        l, "UPDATE branch SET fingerprint = ?, until_s = ? WHERE number = ?",
        LEDGER_WITH(LEDGER_BLOB(slice_of(fingerprint, 32)), LEDGER_INT(until_s), LEDGER_INT(number)));
    if (status != STATUS_OK)
        return status;
    memcpy(b->shown.fingerprint, fingerprint, sizeof b->shown.fingerprint);
    b->shown.certified = true;
    b->shown.until_s = until_s;
    return STATUS_OK;
}

int ledger_branch_revoke(struct ledger *l, uint32_t number)
{
    struct ledger_branch_more *b = ledger_branch_own(l, number);
    int status;

    if (!b)
        return STATUS_END;
    status = ledger_run(l, "UPDATE branch SET revoked = 1 WHERE number = ?", LEDGER_WITH(LEDGER_INT(number)));
    if (status == STATUS_OK)
        b->shown.revoked = true;
    return status;
}

int ledger_branch_hello(struct ledger *l, uint32_t number, uint64_t store_id, uint64_t boot, int64_t now_s)
{
    struct ledger_branch_more *b = ledger_branch_own(l, number);
    int status;

    assert(b);
    status = ledger_run(
        l, "UPDATE branch SET store_id = ?, boot = ?, seen_s = ? WHERE number = ?",
        LEDGER_WITH(LEDGER_INT(store_id), LEDGER_INT(boot), LEDGER_INT(now_s), LEDGER_INT(number)));
    if (status != STATUS_OK)
        return status;
    b->shown.store_id = store_id;
    b->shown.boot = boot;
    b->shown.seen_s = now_s;
    return STATUS_OK;
}

int ledger_branch_report(struct ledger *l, uint32_t number, uint64_t messages, uint64_t bytes,
                         uint64_t oldest_s, int64_t now_s)
{
    struct ledger_branch_more *b = ledger_branch_own(l, number);
    int status;

    assert(b);
    status =
        ledger_run(l,
                   "UPDATE branch SET queue_messages = ?, queue_bytes = ?, queue_oldest_s = ?, seen_s = ?"
                   " WHERE number = ?",
                   LEDGER_WITH(LEDGER_INT(messages), LEDGER_INT(bytes), LEDGER_INT(oldest_s),
                               LEDGER_INT(now_s), LEDGER_INT(number)));
    if (status != STATUS_OK)
        return status;
    b->shown.queue_messages = messages;
    b->shown.queue_bytes = bytes;
    b->shown.queue_oldest_s = oldest_s;
    b->shown.seen_s = now_s;
    return STATUS_OK;
}
