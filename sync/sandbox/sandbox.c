/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sandbox/sandbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sync/kit/clock.h"
#include "sync/kit/log.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"
#include "sync/sandbox/bulletin.h"
#include "sync/sandbox/cloud.h"
#include "sync/sandbox/phonepage.h"

#define BODY_BYTES_MAX \
    (4u << 20)                /* A raw webhook of 3 MB fits; sends are held to SEND_BYTES_MAX by cloud.c. */
#define CONNECTIONS_MAX 1024u /* A gateway's courier, the page, and tests with 256 clients. */
#define TIMEOUT_S 120u
#define FETCHES_MAX 32u /* The postman's walks, and some. */

/* --- What happens ----------------------------------------------------------------------------------- */

static void handle(void *owner, struct http_request *r)
{
    struct sandbox *s = owner;
    struct graph_error error;

    if (phonepage_handle(s, r) || cloud_handle(s, r))
        return;
    graph_error_set(&error, 404, 100, "Invalid parameter", "There is nothing at this path");
    cloud_refuse(r, &error);
}

/* A status has come due: it is written and posted now, as the time in it says. */
static void status_due(void *owner, const struct receipts_message *due, enum phones_status status)
{
    struct sandbox *s = owner;
    const struct phones_message *m = phones_find(s->phones, due->n);
    struct bulletin_status said;
    struct bulletin_head head = { .waba_id = s->settings->waba_id };
    struct text out = { 0 };
    int64_t now_ms = clock_wall_ms();

    if (!m || s->faults.no_statuses)
        return;
    head.number = sandbox_settings_number(s->settings, slice_text(m->number_id));
    assert(head.number && m->phone);
    said = (struct bulletin_status){
        .id = m->id,
        .status = status,
        .at_s = now_ms / 1000,
        .recipient = slice_text(m->phone->number),
        .is_user_id = due->is_user_id,
        .is_template = due->is_template,
        .opaque = due->opaque,
    };
    phones_note_status(s->phones, due->n, status, now_ms);
    if (bulletin_status(&head, &said, &out) == STATUS_OK)
        (void)postman_post(s->postman, said.recipient, text_slice(&out));
    text_free(&out);
}

static const struct sandbox_number *choose_number(const struct sandbox *s, struct slice customer,
                                                  const char *number_id)
{
    const struct phones_phone *phone = phones_phone(s->phones, customer);

    if (number_id)
        return sandbox_settings_number(s->settings, slice_text(number_id));
    if (phone && phone->number_id[0])
        return sandbox_settings_number(s->settings, slice_text(phone->number_id));
    return &s->settings->numbers[0];
}

static int keep_and_post(struct sandbox *s, const struct bulletin_head *head, struct slice customer,
                         const char *id, struct slice message, struct slice webhook)
{
    const struct phones_message *kept;
    struct phones_arrival arrival = {
        .kind = PHONES_TYPED,
        .number = customer,
        .number_id = slice_text(head->number->id),
        .id = slice_text(id),
        .body = message,
        .at_ms = clock_wall_ms(),
    };
    int status = postman_post(s->postman, customer, webhook);

    return status == STATUS_OK ? phones_add(s->phones, &arrival, &kept) : status;
}

int sandbox_type(struct sandbox *s, struct slice number, const char *name, const char *number_id,
                 struct json *message, char id[WAMID_TEXT_MAX])
{
    struct bulletin_head head = { .waba_id = s->settings->waba_id,
                                  .number = choose_number(s, number, number_id) };
    struct text from = { 0 }, webhook = { 0 }, alone = { 0 };
    int status;

    text_add(&from, number);
    status = head.number ? wamid_make(id, number, WAMID_FROM_CUSTOMER) : STATUS_INVALID;
    if (status == STATUS_OK)
        status = json_write_ascii(message, &alone);
    if (status == STATUS_OK)
        status = bulletin_message(&head, from.at, name ? name : "Customer", id, clock_wall_ms() / 1000,
                                  message, &webhook);
    else
        json_free(message);
    if (status == STATUS_OK)
        status = keep_and_post(s, &head, number, id, text_slice(&alone), text_slice(&webhook));
    text_free(&from);
    text_free(&webhook);
    text_free(&alone);
    return status;
}

void sandbox_apply_faults(struct sandbox *s)
{
    postman_set_faults(s->postman, &(struct postman_faults){ .outage = s->faults.webhook_outage,
                                                             .duplicated = s->faults.webhooks_duplicated,
                                                             .reordered = s->faults.webhooks_reordered });
    if (s->sample)
        sample_set_down(s->sample, s->faults.hook_down);
}

/* --- Opening, running, closing ---------------------------------------------------------------------- */

static int complain(const char *what, const struct sandbox_address *address, int status)
{
    log_event(LOG_LEVEL_ERROR, "cannot_listen", "what=%s address=%s:%u why=%s", what, address->host,
              address->port, status_name(status));
    return status;
}

static void tell_listening(const char *what, const struct sandbox_address *address, uint16_t port)
{
    log_event(LOG_LEVEL_INFO, "listening", "what=%s address=%s:%u", what, address->host, port);
    if (!config_is_loopback(address->host))
        log_event(LOG_LEVEL_WARNING, "not_loopback",
                  "what=%s note=\"anybody who reaches this port can read and write messages\"", what);
}

static int open_doors(struct sandbox *s)
{
    const struct sandbox_settings *settings = s->settings;
    struct http_options options = {
        .host = settings->listen.host,
        .port = settings->listen.port,
        .body_bytes_max = BODY_BYTES_MAX,
        .connections_max = CONNECTIONS_MAX,
        .timeout_s = TIMEOUT_S,
        .request = handle,
        .owner = s,
    };
    int status;

    if (settings->link.on) {
        status = linkswitch_open(&s->linkswitch, s->loop, &settings->link, &settings->link_target);
        if (status != STATUS_OK)
            return complain("link", &settings->link, status);
        tell_listening("link", &settings->link, linkswitch_port(s->linkswitch));
    }
    if (settings->hook.on) {
        status = sample_open(&s->sample, s->loop, settings);
        if (status != STATUS_OK)
            return complain("hook", &settings->hook, status);
        tell_listening("hook", &settings->hook, sample_port(s->sample));
    }
    status = http_open(&s->http, s->loop, &options);
    if (status != STATUS_OK)
        return complain("sandbox", &settings->listen, status);
    tell_listening("sandbox", &settings->listen, http_port(s->http));
    return STATUS_OK;
}

static int open_parts(struct sandbox *s)
{
    const struct sandbox_settings *settings = s->settings;
    const struct phones_limits limits = { settings->messages_max, settings->bytes_max };
    const uint64_t after_ms[PHONES_STATUSES] = { settings->sent_ms, settings->delivered_ms,
                                                 settings->read_ms };
    struct postman_options postman = {
        .url = settings->webhook_url,
        .app_secret = text_slice(&settings->app_secret),
        .verify_token = text_slice(&settings->verify_token),
        .waiting_max = settings->webhooks_max,
    };
    int status = phones_open(&s->phones, &limits);

    if (status == STATUS_OK)
        status = fetcher_open(&s->fetcher, s->loop, FETCHES_MAX);
    postman.loop = s->loop;
    postman.fetcher = s->fetcher;
    if (status == STATUS_OK)
        status = postman_open(&s->postman, &postman);
    if (status == STATUS_OK)
        status = receipts_open(&s->receipts, s->loop, after_ms, settings->messages_max, status_due, s);
    if (status == STATUS_OK)
        status = cloud_open(s);
    return status;
}

static void close_all(struct sandbox *s)
{
    cloud_close(s);
    http_close(s->http);
    sample_close(s->sample);
    linkswitch_close(s->linkswitch);
    receipts_close(s->receipts);
    postman_close(s->postman);
    fetcher_close(s->fetcher);
    phones_close(s->phones);
    loop_close(s->loop);
}

/* Everything here is done when it happens: nothing is on disk, so nothing waits for a commit. */
static void turn(void *owner)
{
    (void)owner;
}

static void stop(void *owner)
{
    struct sandbox *s = owner;

    loop_stop(s->loop);
}

int sandbox_run(struct sandbox_settings *settings)
{
    struct sandbox s = {
        .settings = settings,
        .delayed = TAILQ_HEAD_INITIALIZER(s.delayed),
        .hung = TAILQ_HEAD_INITIALIZER(s.hung),
    };
    struct loop_options options = { .turn = turn, .stop = stop, .owner = &s, .descriptors_max = 64 };
    int status = seal_start();

    log_event(
        LOG_LEVEL_WARNING, "practice_only",
        "note=\"a practice WhatsApp: no message leaves this machine, and none is kept; not for production\"");
    if (status == STATUS_OK)
        status = loop_open(&s.loop, &options);
    if (status == STATUS_OK && (status = open_parts(&s)) != STATUS_OK)
        log_event(LOG_LEVEL_ERROR, "cannot_start", "why=%s", status_name(status));
    if (status == STATUS_OK && (status = open_doors(&s)) == STATUS_OK) {
        log_event(LOG_LEVEL_INFO, "started", "numbers=%zu", settings->number_count);
        status = loop_run(s.loop);
    }
    close_all(&s);
    log_event(LOG_LEVEL_INFO, "stopped", "status=%s", status_name(status));
    return status;
}
