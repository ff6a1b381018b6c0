/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sandbox/faults.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "sync/protocol/status.h"

/* whatsapp-cloud-api.md section 4: those whose HTTP status is not 400, and the titles of the common ones. */
static const struct {
    int code;
    unsigned http;
    const char *title;
} known[] = {
    { 0, 401, "AuthException" },
    { 1, 400, "API Unknown" },
    { 2, 503, "API Service" },
    { 3, 500, "API Method" },
    { 4, 400, "API Too Many Calls" },
    { 10, 403, "Permission Denied" },
    { 33, 400, "Parameter value is not valid" },
    { 100, 400, "Invalid parameter" },
    { 190, 401, "Access token has expired" },
    { 200, 403, "API Permission" },
    { 368, 403, "Temporarily blocked for policies violations" },
    { 80007, 400, "Rate limit issues" },
    { 130429, 400, "Rate limit hit" },
    { 130472, 400, "User's number is part of an experiment" },
    { 130497, 403, "Business account is restricted from messaging users in this country" },
    { 131000, 500, "Something went wrong" },
    { 131005, 403, "Access denied" },
    { 131008, 400, "Required parameter is missing" },
    { 131009, 400, "Parameter value is not valid" },
    { 131016, 500, "Service unavailable" },
    { 131021, 400, "Recipient cannot be sender" },
    { 131026, 400, "Message undeliverable" },
    { 131031, 403, "Account has been locked" },
    { 131042, 400, "Business eligibility payment issue" },
    { 131045, 500, "Incorrect certificate" },
    { 131047, 400, "Re-engagement message" },
    { 131048, 400, "Spam rate limit hit" },
    { 131049, 400, "This message was not delivered to maintain healthy ecosystem engagement" },
    { 131051, 400, "Unsupported message type" },
    { 131056, 400, "(Business Account, Consumer Account) pair rate limit hit" },
    { 131057, 500, "Account in maintenance mode" },
    { 132000, 400, "Number of parameters does not match the expected number of params" },
    { 132001, 404, "Template name does not exist in the translation" },
    { 132012, 400, "Parameter format does not match format in the created template" },
    { 132015, 400, "Template is paused" },
    { 132016, 400, "Template is disabled" },
    { 133004, 503, "Server temporarily unavailable" },
    { 133010, 400, "Phone number not registered" },
    { 134102, 500, "Template unavailable for use" },
};

static int set_error(struct faults *f, const struct json *request, uint64_t count, const char **why)
{
    int64_t code = json_integer(json_get(request, "code"), -1),
            http = json_integer(json_get(request, "http"), 400);

    if (code < 0 || code > 99999999) {
        *why = "code must be the number of an error of the Graph API, for example 131056";
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == code && !json_get(request, "http"))
            http = known[i].http;
    if (http < 400 || http > 599) {
        *why = "http must be 400 to 599";
        return STATUS_INVALID;
    }
    f->error.code = (int)code;
    f->error.http = (unsigned)http;
    f->error.count = count;
    return STATUS_OK;
}

static int set_delay(struct faults *f, const struct json *request, uint64_t count, const char **why)
{
    int64_t ms = json_integer(json_get(request, "ms"), -1);

    if (ms < 0 || ms > FAULTS_DELAY_MS_MAX) {
        *why = "ms must be 0 to 600000";
        return STATUS_INVALID;
    }
    f->delay.ms = (uint64_t)ms;
    f->delay.count = json_get(request, "count") ? count : UINT64_MAX;
    return STATUS_OK;
}

static bool *find_switch(struct faults *f, struct slice fault)
{
    if (slice_is(fault, "webhooks_duplicated"))
        return &f->webhooks_duplicated;
    if (slice_is(fault, "webhooks_reordered"))
        return &f->webhooks_reordered;
    if (slice_is(fault, "webhook_outage"))
        return &f->webhook_outage;
    if (slice_is(fault, "no_statuses"))
        return &f->no_statuses;
    if (slice_is(fault, "hook_down"))
        return &f->hook_down;
    return NULL;
}

int faults_set(struct faults *f, const struct json *request, const char **why)
{
    struct slice fault = json_string(json_get(request, "fault"));
    int64_t count = json_integer(json_get(request, "count"), json_get(request, "count") ? -1 : 1);
    bool *on = find_switch(f, fault);

    assert(f);
    if (count < 0 || count > FAULTS_COUNT_MAX) {
        *why = "count must be a whole number, 0 to 1000000000";
        return STATUS_INVALID;
    }
    if (on) {
        *on = json_bool(json_get(request, "on"), true);
    } else if (slice_is(fault, "error")) {
        return set_error(f, request, (uint64_t)count, why);
    } else if (slice_is(fault, "delay")) {
        return set_delay(f, request, (uint64_t)count, why);
    } else if (slice_is(fault, "accept_then_hang")) {
        f->hang = (uint64_t)count;
    } else if (slice_is(fault, "accept_then_reset")) {
        f->reset = (uint64_t)count;
    } else if (slice_is(fault, "none")) {
        memset(f, 0, sizeof *f);
    } else {
        *why = "fault must be error, delay, accept_then_hang, accept_then_reset, webhooks_duplicated, "
               "webhooks_reordered, webhook_outage, no_statuses, hook_down, link or none";
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static const char *word(bool on)
{
    return on ? "true" : "false";
}

void faults_write(const struct faults *f, struct text *out)
{
    text_printf(out, "{\"error\":{\"code\":%d,\"http\":%u,\"count\":%" PRIu64 "},", f->error.code,
                f->error.http, f->error.count);
    /* A delay without an end is shown as -1. */
    text_printf(out, "\"delay\":{\"ms\":%" PRIu64 ",\"count\":%" PRId64 "},", f->delay.ms,
                f->delay.count == UINT64_MAX ? -1 : (int64_t)f->delay.count);
    text_printf(out, "\"accept_then_hang\":%" PRIu64 ",\"accept_then_reset\":%" PRIu64 ",", f->hang,
                f->reset);
    text_printf(out, "\"webhooks_duplicated\":%s,\"webhooks_reordered\":%s,\"webhook_outage\":%s,",
                word(f->webhooks_duplicated), word(f->webhooks_reordered), word(f->webhook_outage));
    text_printf(out, "\"no_statuses\":%s,\"hook_down\":%s}", word(f->no_statuses), word(f->hook_down));
}

static void make_error(const struct faults *f, struct graph_error *error)
{
    const char *title = "An error occurred";

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == f->error.code)
            title = known[i].title;
    graph_error_set(error, f->error.http, f->error.code, title, "An error that POST /control asked for.");
}

enum faults_outcome faults_strike(struct faults *f, struct graph_error *error, uint64_t *delay_ms)
{
    if (f->error.count) {
        f->error.count--;
        make_error(f, error);
        return FAULTS_ERROR;
    }
    if (f->reset) {
        f->reset--;
        return FAULTS_RESET;
    }
    if (f->hang) {
        f->hang--;
        return FAULTS_HANG;
    }
    if (f->delay.count) {
        if (f->delay.count != UINT64_MAX)
            f->delay.count--;
        *delay_ms = f->delay.ms;
        return FAULTS_DELAY;
    }
    return FAULTS_NONE;
}
