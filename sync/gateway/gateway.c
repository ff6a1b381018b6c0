/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sync/gateway/courier.h"
#include "sync/gateway/hub.h"
#include "sync/gateway/monitor.h"
#include "sync/gateway/office.h"
#include "sync/gateway/webhooks.h"
#include "sync/kit/clock.h"
#include "sync/kit/control.h"
#include "sync/kit/file.h"
#include "sync/kit/log.h"
#include "sync/kit/notify.h"
#include "sync/protocol/status.h"

#define TICK_MS 5000u       /* Old traces go, room is looked at. */
#define STOP_MS_MAX 1500u   /* For answers on their way; a stop may take two seconds. */
#define FORGET_A_TICK 2000u /* Rows of a day that is over; a million go in an hour. */
#define CALL_ARGUMENTS_MAX 8

/* A question from the command line that waits for the turn. */
struct call {
    struct call *next;
    struct control_call *control;
    int argc;
    char *argv[CALL_ARGUMENTS_MAX];
    int exit_code;
    struct text answer;
};

struct gateway {
    struct settings *settings;
    struct loop *loop;
    struct ledger *ledger;
    struct courier *courier;
    struct hub *hub;
    struct webhooks *webhooks;
    struct monitor *monitor;
    struct control_server *control;
    struct notify *notify;
    struct loop_timer tick;
    bool tick_due;
    struct monitor_sources sources;
    struct arrivals arrivals;
    struct call *calls, **calls_end;
    bool stopping;
    uint64_t stop_by_ms;
    int status;
};

/* --- The store --- */

static int open_ledger(struct gateway *g)
{
    struct ledger_options options = { .folder = g->settings->state,
                                      .bytes_max = g->settings->store_bytes_max,
                                      .reserve_bytes = g->settings->reserve_bytes };
    int status;

    notify_busy(g->notify, true);
    status = ledger_open(&g->ledger, &options);
    notify_busy(g->notify, false);
    if (status == STATUS_OK)
        status = courier_open(&g->courier, g->loop, g->settings, g->ledger, clock_wall_ms() / 1000);
    g->sources.ledger = g->ledger;
    g->sources.courier = g->courier;
    g->sources.accepting = status == STATUS_OK && ledger_has_room(g->ledger);
    return status;
}

static void close_ledger(struct gateway *g)
{
    if (g->ledger) {
        g->sources.syncs += ledger_syncs(g->ledger);
        g->sources.turns += ledger_commits(g->ledger);
    }
    g->sources.ledger = NULL;
    g->sources.courier = NULL;
    courier_close(g->courier);
    ledger_close(g->ledger);
    g->courier = NULL;
    g->ledger = NULL;
}

/* --- The turn --- */

static void take_call(struct gateway *g, struct call *call)
{
    uint32_t revoked = 0;
    int status = ledger_mark(g->ledger);

    if (status == STATUS_OK) {
        call->exit_code = office_answer(g->ledger, call->argc - 1, (const char *const *)call->argv + 1,
                                        clock_wall_ms() / 1000, &call->answer, &revoked);
        if (call->exit_code == 0)
            status = ledger_keep(g->ledger);
        else
            ledger_undo(g->ledger);
    }
    if (status != STATUS_OK) {
        call->exit_code = 1;
        text_printf(&call->answer, "the ledger answers %s\n", status_name(status));
    } else if (revoked) {
        hub_drop_branch(g->hub, revoked);
    }
}

static void answer_calls(struct gateway *g, bool committed)
{
    static const char failed[] = "the ledger could not be written\n";
    struct call *call;

    while ((call = g->calls) != NULL) {
        g->calls = call->next;
        control_answer(call->control, committed ? call->exit_code : 1,
                       committed ? text_slice(&call->answer) : slice_text(failed));
        for (int i = 0; i < call->argc; i++)
            free(call->argv[i]);
        text_free(&call->answer);
        free(call);
    }
    g->calls_end = &g->calls;
}

static int housekeep(struct gateway *g, int64_t now_s)
{
    g->tick_due = false;
    if (!g->stopping)
        loop_timer_set(&g->tick, loop_now_ms() + TICK_MS);
    g->sources.accepting = ledger_has_room(g->ledger);
    hub_set_room(g->hub, g->sources.accepting);
    return ledger_forget_seen(g->ledger, now_s, FORGET_A_TICK);
}

/* The outcome of a commit is unknown: nothing in memory is believed any more. */
static void begin_anew(struct gateway *g, int why)
{
    log_event(LOG_LEVEL_ERROR, "commit_failed", "why=%s", status_name(why));
    webhooks_committed(g->webhooks, false);
    answer_calls(g, false);
    hub_drop(g->hub, "store");
    g->arrivals.count = 0;
    if (why == STATUS_NO_SPACE)
        ledger_release_reserve(g->ledger);
    close_ledger(g);
    if ((g->status = open_ledger(g)) != STATUS_OK) {
        log_event(LOG_LEVEL_ERROR, "ledger_lost", "why=%s", status_name(g->status));
        g->stopping = true;
        loop_stop(g->loop);
        return;
    }
    hub_use_ledger(g->hub, g->ledger);
    hub_set_room(g->hub, g->sources.accepting);
}

static void gateway_turn(void *owner)
{
    struct gateway *g = owner;
    uint64_t now_ms = loop_now_ms();
    int64_t now_s = clock_wall_ms() / 1000;
    int status, committed;

    if (!g->ledger)
        return;
    hub_take(g->hub, &g->arrivals, now_ms, now_s);
    webhooks_take(g->webhooks, g->ledger, g->courier, now_ms, now_s);
    status = courier_take(g->courier, now_ms, now_s);
    for (struct call *call = g->calls; call; call = call->next)
        take_call(g, call);
    if (status == STATUS_OK && g->tick_due)
        status = housekeep(g, now_s);
    /* A turn whose half failed is closed uncommitted, with the ledger. */
    committed = status == STATUS_OK ? ledger_commit(g->ledger) : status;
    if (committed != STATUS_OK) {
        begin_anew(g, committed);
        return;
    }
    webhooks_committed(g->webhooks, true);
    hub_committed(g->hub, now_ms, now_s);
    courier_committed(g->courier, g->arrivals.jobs, g->arrivals.count, now_ms, now_s);
    g->arrivals.count = 0;
    answer_calls(g, true);
    ledger_tidy(g->ledger);
    courier_depart(g->courier);
    if (g->stopping && (courier_quiet(g->courier) || now_ms >= g->stop_by_ms))
        loop_stop(g->loop);
}

/* --- Events --- */

static void gateway_tick(void *owner)
{
    struct gateway *g = owner;

    g->tick_due = true;
    loop_note(g->loop);
}

static int gateway_look(void *owner, bool probe, struct text *words)
{
    struct gateway *g = owner;

    monitor_words(&g->sources, words);
    if (!probe)
        return STATUS_OK;
    return g->ledger && ledger_used_bytes(g->ledger) ? file_probe(g->settings->state) : STATUS_IO;
}

static void gateway_stop(void *owner)
{
    struct gateway *g = owner;

    log_event(LOG_LEVEL_INFO, "stopping", "pid=%d", (int)getpid());
    g->stopping = true;
    g->stop_by_ms = loop_now_ms() + STOP_MS_MAX;
    loop_timer_set(&g->tick, g->stop_by_ms);
    loop_note(g->loop);
}

static void gateway_reload(void *owner)
{
    struct gateway *g = owner;
    struct config_error error;
    char quoted[600];

    if (settings_secrets(g->settings, &error) != STATUS_OK)
        log_event(LOG_LEVEL_ERROR, "reload_failed", "why=%s",
                  log_quote(slice_text(error.text), quoted, sizeof quoted));
    else
        log_event(LOG_LEVEL_INFO, "reloaded",
                  "what=\"secrets, certificates of the links\" not=\"all other settings\"");
    if (hub_reload(g->hub) != STATUS_OK)
        log_event(LOG_LEVEL_ERROR, "reload_failed", "why=\"certificates of the links\"");
    courier_release(g->courier); /* What was held may have been a token. */
}

static void answer_now(struct control_call *call, int exit_code, const char *text)
{
    control_answer(call, exit_code, slice_text(text));
}

static void answer_status(struct gateway *g, struct control_call *control)
{
    struct text out = { 0 };
    int status = monitor_status(&g->sources, &out);

    control_answer(control, status == STATUS_OK ? 0 : 1, text_slice(&out));
    text_free(&out);
}

static void queue_call(struct gateway *g, struct control_call *control, int argc, const char *const *argv)
{
    struct call *call = calloc(1, sizeof *call);

    if (!call) {
        answer_now(control, 1, "out of memory\n");
        return;
    }
    call->control = control;
    for (int i = 0; i < argc; i++)
        if ((call->argv[i] = strdup(argv[i])) != NULL)
            call->argc++;
    *g->calls_end = call;
    g->calls_end = &call->next;
    loop_note(g->loop);
}

static void gateway_call(void *owner, struct control_call *control, int argc, const char *const *argv,
                         struct slice input)
{
    struct gateway *g = owner;
    char text[64];

    (void)input;
    if (!g->ledger) {
        answer_now(control, 1, "the ledger is closed\n");
    } else if (argc == 1 && strcmp(argv[0], "status") == 0) {
        answer_status(g, control);
    } else if (argc == 2 && strcmp(argv[0], "courier") == 0 && strcmp(argv[1], "release") == 0) {
        snprintf(text, sizeof text, "%u released\n", courier_release(g->courier));
        answer_now(control, 0, text);
    } else if (argc >= 2 && argc <= CALL_ARGUMENTS_MAX && strcmp(argv[0], "branch") == 0) {
        queue_call(g, control, argc, argv);
    } else {
        answer_now(control, 2, "the gateway does not know that\n");
    }
}

/* --- Running --- */

static int open_hub(struct gateway *g)
{
    const char *state = g->settings->state;
    char *certificate = file_join(state, OFFICE_SERVER_CERTIFICATE),
         *key = file_join(state, OFFICE_SERVER_KEY);
    char *ca = file_join(state, OFFICE_CA_CERTIFICATE);
    struct hub_options options = { .loop = g->loop,
                                   .settings = g->settings,
                                   .certificate_file = certificate,
                                   .key_file = key,
                                   .client_ca_file = ca };
    int status = certificate && key && ca ? hub_open(&g->hub, &options, g->ledger) : STATUS_NO_MEMORY;

    free(certificate);
    free(key);
    free(ca);
    return status;
}

static int open_control(struct gateway *g)
{
    char *path = file_join(g->settings->state, OFFICE_CONTROL);
    int status = path ? control_open(&g->control, g->loop, path, gateway_call, g) : STATUS_NO_MEMORY;

    free(path);
    return status;
}

static int complain(const char *what, int status)
{
    log_event(LOG_LEVEL_ERROR, "start_failed", "what=%s why=%s", what, status_name(status));
    return status;
}

static int gateway_open(struct gateway *g)
{
    struct loop_options options = { .turn = gateway_turn,
                                    .stop = gateway_stop,
                                    .reload = gateway_reload,
                                    .owner = g,
                                    .descriptors_max = g->settings->links_max + 256 };
    struct notify_options told = { .look = gateway_look, .owner = g };
    int status;

    if ((status = loop_open(&g->loop, &options)) != STATUS_OK ||
        (status = notify_open(&g->notify, g->loop, &told)) != STATUS_OK)
        return complain("loop", status);
    if ((status = open_ledger(g)) != STATUS_OK)
        return complain(status == STATUS_END ? "ledger_missing_run_init_first" : "ledger", status);
    if ((status = open_hub(g)) != STATUS_OK)
        return complain("sync_listen", status);
    if ((status = webhooks_open(&g->webhooks, g->loop, g->settings)) != STATUS_OK)
        return complain("webhook_listen", status);
    g->sources.hub = g->hub;
    g->sources.webhooks = g->webhooks;
    if ((status = monitor_open(&g->monitor, g->loop, &g->sources)) != STATUS_OK)
        return complain("board_listen", status);
    if ((status = open_control(g)) != STATUS_OK)
        return complain("control_socket", status);
    if ((status = loop_timer_open(&g->tick, g->loop, gateway_tick, g)) != STATUS_OK)
        return complain("timer", status);
    gateway_tick(g);
    return STATUS_OK;
}

static void gateway_close(struct gateway *g)
{
    control_close(g->control);
    answer_calls(g, false);
    monitor_close(g->monitor);
    webhooks_close(g->webhooks);
    hub_close(g->hub);
    close_ledger(g);
    notify_close(g->notify);
    loop_timer_close(&g->tick);
    loop_close(g->loop);
    arrivals_free(&g->arrivals);
}

int gateway_run(struct settings *settings)
{
    struct gateway g = { .settings = settings };
    int status;

    g.calls_end = &g.calls;
    g.sources.settings = settings;
    g.sources.started_ms = loop_now_ms();
    status = gateway_open(&g);
    if (status == STATUS_OK) {
        log_event(LOG_LEVEL_INFO, "started", "version=" ZAJEL_VERSION " branches=%u",
                  ledger_branch_count(g.ledger));
        log_event(LOG_LEVEL_INFO, "listening", "sync=%u webhook=%u board=%u", hub_port(g.hub),
                  webhooks_port(g.webhooks), monitor_port(g.monitor));
        notify_ready(g.notify);
        status = loop_run(g.loop);
        if (status == STATUS_OK)
            status = g.status;
        log_event(LOG_LEVEL_INFO, "stopped", "status=%s", status_name(status));
    }
    gateway_close(&g);
    return status;
}
