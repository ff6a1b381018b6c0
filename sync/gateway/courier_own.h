/* SPDX-License-Identifier: Apache-2.0 */
/* What the courier's files share. A job is a pending message. Jobs of one number, customer and lane form a
 * line; the lines of one number and customer a pair. A line is in one of three places: ready (in its number's
 * heap, the oldest message first), later (in the courier's heap, by time), or nowhere while its first message
 * is in flight. */
#ifndef ZAJEL_GATEWAY_COURIER_OWN_H
#define ZAJEL_GATEWAY_COURIER_OWN_H

#include "sync/gateway/courier.h"
#include "sync/gateway/courier_rules.h"
#include "sync/gateway/departures.h"
#include "sync/gateway/heap.h"
#include "sync/gateway/map.h"
#include "sync/gateway/request.h"
#include "sync/kit/fetch.h"

enum job_state { JOB_WAITING, JOB_FLYING, JOB_UNKNOWN, JOB_DOOMED };

struct job {
    struct ledger_job of;
    enum job_state state;
    unsigned tries;
    int doom;                  /* JOB_DOOMED: the code it will be told with. */
    struct job *next, *before; /* In its line, or in the list of the unknown or doomed. */
    struct line *line;         /* JOB_WAITING, JOB_FLYING */
    struct flight *flight;     /* JOB_FLYING */
    struct heap_node deadline;
    uint64_t not_before_ms;
    uint64_t waits_since_ms; /* For its target; 0: not. */
    uint64_t healthy_ms;     /* JOB_UNKNOWN: courier.healthy_ms when that began. */
};

struct job_list {
    struct job *first, *last;
    uint64_t count;
};

/* A pause of a pair, a number or the account: nothing goes until then, and after it one at a time until one
 * succeeds. */
struct pause {
    uint64_t until_ms;
    unsigned tries; /* 0: no pause. */
    bool held;      /* Somebody has to mend something. */
    int code;
    char why[96];
};

struct line {
    struct pair *pair;
    enum lane lane;
    bool aside; /* Holds one message that was overtaken. */
    bool flying;
    struct job_list jobs;
    struct heap_node place; /* In number->ready[lane] or courier->later. */
    struct heap *heap;      /* Which of them; NULL: in none. */
};

struct pair {
    uint64_t key, customer;
    struct number *number;
    struct line *lines[LANE_COUNT];
    unsigned line_count; /* Those aside included. */
    bool flying[LANE_COUNT];
    struct courier_bucket bucket;
    struct pause pause;
    struct heap_node idle; /* In courier->idle while it has no lines and its bucket fills. */
};

struct number {
    struct number *next;
    uint64_t id;
    const struct settings_number *settings; /* NULL: no such section. */
    struct heap ready[LANE_COUNT];
    struct courier_bucket bucket;
    uint32_t slow; /* How many times the interval is doubled. */
    uint64_t slow_at_ms;
    struct pause pause;
    uint64_t waiting; /* Jobs in its lines, in flight too. */
    unsigned in_flight;
};

struct flight {
    struct courier *courier;
    struct flight *next;
    struct job *job;     /* NULL: a webhook ended it. */
    struct fetch *fetch; /* NULL: done. */
    bool wants_release, journaled, done, noted;
    bool departed;      /* Noted in departures, at ... */
    unsigned departure; /* ... this place. */
    bool ended;         /* It is over, but for the commit. */
    bool is_read;
    char recipient[REQUEST_CUSTOMER_MAX + 1];
    enum fetch_outcome outcome;
    long status;
    uint64_t retry_after_s;
    struct text body;
    char why[96];
};

struct courier {
    struct loop *loop;
    const struct settings *settings;
    struct ledger *ledger;
    struct fetcher *fetcher;
    struct loop_timer timer;
    struct map jobs;  /* By id. */
    struct map pairs; /* By number and customer. */
    struct number *numbers;
    struct pause account;
    struct heap later, deadlines, idle;
    struct job_list unknown, doomed;
    struct departures *departures;
    struct flight *flights;
    unsigned in_flight;
    uint64_t pending[LANE_COUNT];
    uint64_t random;
    uint64_t healthy_ms, heard_ms;
    uint64_t wake_ms; /* When a rate allows more; found while choosing. */
    bool news;
    bool quiet; /* Nothing begins any more. */
};

/* --- Jobs and lines (courier_line.c) --- */
void courier_add(struct courier *c, const struct ledger_job *of); /* At the end of its line. */
struct job *courier_find(const struct courier *c, const struct message_id *id);
/* Takes the job out of its line (and its line out of the world when it is empty). */
void courier_leave_line(struct courier *c, struct job *job);
/* Gives its message a line of its own: those behind it go on. */
void courier_set_aside(struct courier *c, struct job *job);
/* Puts the line where it belongs now. */
void courier_place(struct courier *c, struct line *line, uint64_t now_ms);
void courier_land(struct courier *c, struct job *job,
                  uint64_t now_ms); /* It flies no more, and waits again. */
void courier_park(struct courier *c, struct job *job, int64_t since_s); /* It is unknown. */
void courier_doom(struct courier *c, struct job *job,
                  int code);                             /* It is to be told as failed in the next turn. */
void courier_forget(struct courier *c, struct job *job); /* It has ended. */
void courier_wake(struct courier *c, uint64_t now_ms);   /* Lines whose time has come are ready. */
/* The line whose first message goes next; NULL: none may now. */
struct line *courier_choose(struct courier *c, uint64_t now_ms);
void courier_took_off(struct courier *c, struct line *line, uint64_t now_ms); /* The rates are charged. */
void courier_free_lines(struct courier *c);
void courier_must(int status); /* Ends the process when there is no memory for what must be remembered. */

/* --- Flights (courier_flight.c) --- */
void courier_start(struct courier *c, struct line *line, uint64_t now_ms, int64_t now_s);
/* Its request is over. It stays among the flights until the turn's commit, when its departure may be
 * forgotten. */
void courier_flight_end(struct courier *c, struct flight *f);
void courier_flight_free(struct courier *c, struct flight *f);

/* --- Outcomes (courier_outcome.c) --- */
int courier_settle(struct courier *c, struct flight *f, uint64_t now_ms, int64_t now_s);
int courier_taken(struct courier *c, struct job *job, struct slice meta);
/* The message ends as failed, told unless it is a read mark. */
int courier_fail(struct courier *c, struct job *job, int code, struct slice title, struct slice details,
                 const char *recipient, int64_t now_s);
/* Whom the message is for, read from its row; "" when that cannot be read. */
void courier_recipient(struct courier *c, const struct job *job, char out[REQUEST_CUSTOMER_MAX + 1]);
void courier_pause(struct pause *p, const struct courier_rule *rule, int code, const char *why,
                   uint64_t retry_after_s, uint64_t random, uint64_t now_ms);
uint64_t courier_random(struct courier *c);

#endif
