/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/arrival.h"

#include <stdlib.h>

#include "sync/gateway/body.h"
#include "sync/gateway/request.h"
#include "sync/gateway/tell.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

uint64_t arrival_customer(const struct ledger *l, const char *customer)
{
    return ledger_hash(l, "customer", slice_text(customer));
}

static int add_job(struct arrivals *a, const struct ledger_job *job)
{
    if (a->count == a->room) {
        size_t room = a->room ? 2 * a->room : 64;
        struct ledger_job *jobs = reallocarray(a->jobs, room, sizeof *jobs);

        if (!jobs)
            return STATUS_NO_MEMORY;
        a->jobs = jobs;
        a->room = room;
    }
    a->jobs[a->count++] = *job;
    return STATUS_OK;
}

/* Passes the mark over it and says why it will not be sent. */
static int refuse(struct ledger *l, const struct settings *s, const struct message_id *id, uint64_t number,
                  const char *recipient, int code, int64_t now_s)
{
    struct tell_failure failure = { .id = *id, .number = number, .recipient = recipient, .code = code };
    int status = ledger_pass(l, id);

    log_event(LOG_LEVEL_WARNING, "message_refused", "branch=%s code=%d", ledger_branch(l, id->branch)->id,
              code);
    if (status == STATUS_OK)
        status = ledger_count(l, code == TELL_MALFORMED ? LEDGER_MALFORMED : LEDGER_FAILED, 1);
    return status == STATUS_OK ? tell_failed(l, s, &failure, now_s) : status;
}

/* When it was accepted by our clock. 0 is a box that does not know the time yet; the future says nothing
 * either. */
static int64_t accepted_s(const struct arrival *arrival, const struct item *item, int64_t now_s)
{
    int64_t at_s = item->at_s > INT32_MAX * 2ull ? now_s : (int64_t)item->at_s + arrival->clock_behind_s;

    return item->at_s && at_s < now_s ? at_s : now_s;
}

static int take_request(struct arrivals *a, struct ledger *l, const struct settings *s,
                        const struct arrival *arrival, const struct item *item, const struct json *tree,
                        int64_t now_s)
{
    const struct settings_number *fallback =
        item->number ? NULL : settings_branch_default(s, arrival->options);
    uint64_t number = fallback ? fallback->id : item->number;
    int64_t at_s = accepted_s(arrival, item, now_s);
    struct ledger_job job = {
        .id = arrival->id,
        .number = number,
        .at_s = at_s,
        .deadline_s = at_s + (int64_t)(item->ttl_s ? item->ttl_s : lane_ttl_s(arrival->id.lane)),
    };
    struct request request;
    int status;

    request_read(tree, &request);
    if (!settings_branch_has(arrival->options, number))
        return refuse(l, s, &job.id, number, request.customer, TELL_BAD_NUMBER, now_s);
    if (request.is_read)
        job.flags |= LEDGER_JOB_READ;
    /* A read mark has no customer to wait for: each goes by itself. */
    job.customer =
        request.is_read ? ledger_hash(l, "read", request.about) : arrival_customer(l, request.customer);
    if ((status = ledger_take(l, &job, arrival->item)) != STATUS_OK)
        return status;
    return add_job(a, &job);
}

int arrivals_take(struct arrivals *a, struct ledger *l, const struct settings *s,
                  const struct arrival *arrival, int64_t now_s)
{
    struct json *tree = NULL;
    struct item item;
    int status = item_read(arrival->item, &item);

    if (status == STATUS_OK && item.kind != ITEM_SEND)
        status = STATUS_PEER_MALFORMED;
    if (status == STATUS_OK)
        status = body_read(&item, &tree);
    if (status == STATUS_OK)
        status = take_request(a, l, s, arrival, &item, tree, now_s);
    else if (status == STATUS_PEER_MALFORMED)
        status = refuse(l, s, &arrival->id, 0, "", TELL_MALFORMED, now_s);
    json_free(tree);
    return status;
}

void arrivals_free(struct arrivals *a)
{
    free(a->jobs);
    *a = (struct arrivals){ 0 };
}
