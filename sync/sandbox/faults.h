/* SPDX-License-Identifier: Apache-2.0 */
/* The faults that POST /control turns on: what goes wrong with the next requests and webhooks. Pure. */
#ifndef ZAJEL_SANDBOX_FAULTS_H
#define ZAJEL_SANDBOX_FAULTS_H

#include "sync/kit/graph.h"

/* Zeroed: none. Counts go down as they strike. */
struct faults {
    struct {
        int code;
        unsigned http;
        uint64_t count;
    } error; /* Refused with this code. */
    struct {
        uint64_t ms, count;
    } delay;        /* Taken at once, answered later. */
    uint64_t hang;  /* Taken, never answered. */
    uint64_t reset; /* Taken, then the connection is reset. */
    bool webhooks_duplicated, webhooks_reordered, webhook_outage;
    bool no_statuses; /* Nothing follows a message. */
    bool hook_down;   /* The sample branch program answers 503. */
};

#define FAULTS_DELAY_MS_MAX 600000
#define FAULTS_COUNT_MAX 1000000000

/* One of these requests:
 *
 * - {"fault":"error","code":N[,"count":K][,"http":N]}
 * - {"fault":"delay","ms":N[,"count":K]}
 * - {"fault":"accept_then_hang"[,"count":K]}, {"fault":"accept_then_reset"[,"count":K]}
 * - {"fault":F[,"on":true|false]}, F one of webhooks_duplicated, webhooks_reordered, webhook_outage,
 *   no_statuses, hook_down
 * - {"fault":"none"}
 *
 * A count left out is 1, of a delay: until "none". on left out is true. STATUS_INVALID: *why says what would
 * be right; nothing was changed. */
int faults_set(struct faults *f, const struct json *request, const char **why);
void faults_write(const struct faults *f, struct text *out); /* A JSON object. */

enum faults_outcome { FAULTS_NONE, FAULTS_ERROR, FAULTS_HANG, FAULTS_RESET, FAULTS_DELAY };
/* What strikes the next valid send; takes it off the counts. FAULTS_ERROR fills *error, FAULTS_DELAY
 * *delay_ms. */
enum faults_outcome faults_strike(struct faults *f, struct graph_error *error, uint64_t *delay_ms);

#endif
