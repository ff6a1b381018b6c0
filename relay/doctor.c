/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/calls.h"
#include "sync/kit/checkup.h"
#include "sync/kit/control.h"
#include "sync/kit/fetch.h"
#include "sync/kit/json.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define ANSWER_MS 5000u
/* The gateway renews from 60 days on: something has kept it from it for a month and a half. */
#define DAYS_WARN 14
#define SPACE_BYTES_MIN (64u << 20) /* And twice the reserve: with less no message is taken before long. */
#define BACKLOG_AGE_S 3600          /* With the link up, nothing waits so long but bulk outside its hours. */

/* --- The running daemon --- */

/* NULL: none runs, or it does not answer. */
static struct json *ask_status(struct checkup *c, const struct options *o)
{
    static const char *const argv[] = { "status", "--json", NULL };
    struct text answer = { 0 };
    struct json *status = NULL;
    char *path = calls_path(o);
    int exit_code = 1;
    int asked = path ? control_request(path, 2, argv, (struct slice){ 0 }, ANSWER_MS, &exit_code, &answer)
                     : STATUS_NO_MEMORY;

    if (asked == STATUS_UNAVAILABLE)
        checkup_add(c, CHECKUP_FAIL, "daemon", "Start it: systemctl start zajel-relay, then see its log.",
                    "no relay runs with %s", o->state);
    else if (asked != STATUS_OK)
        checkup_add(c, CHECKUP_FAIL, "daemon",
                    "Run the doctor as root; if it still says so, restart the relay.",
                    "the relay cannot be asked: %s", status_name(asked));
    else if (exit_code != 0 || json_parse(text_slice(&answer), &status, NULL) != STATUS_OK)
        checkup_add(
            c, CHECKUP_FAIL, "daemon",
            "Its store is closed: the lines above about state and space, and its log, say why. It tries "
            "again each second.",
            "the relay runs and cannot tell its state");
    else
        checkup_add(c, CHECKUP_OK, "daemon", NULL, "the relay runs, up %" PRId64 " s",
                    json_integer(json_get(status, "uptime_s"), 0));
    text_free(&answer);
    free(path);
    return status;
}

static void look_at_accepting(struct checkup *c, const struct json *status)
{
    struct slice why = json_string(json_path(status, "store.why"));
    int64_t damaged = json_integer(json_path(status, "store.quarantined"), 0);
    int64_t unreadable = json_integer(json_path(status, "store.unreadable"), 0);

    if (json_bool(json_path(status, "store.ready"), false))
        checkup_add(c, CHECKUP_OK, "accepting", NULL, "new messages are taken, %" PRId64 " wait",
                    json_integer(json_path(status, "queue.messages"), 0));
    else
        checkup_add(
            c, CHECKUP_FAIL, "accepting",
            "Get the link up so that the store drains, free disk space, or raise [limits] store_bytes_max.",
            "new messages are refused: %.*s", (int)why.length, (const char *)why.at);
    checkup_add(c, damaged ? CHECKUP_WARN : CHECKUP_OK, "damaged rows",
                "Their senders were told (990004). Check the disk (dmesg) and replace a card that fails.",
                "%" PRId64 " put aside, each alone", damaged);
    if (unreadable)
        checkup_add(c, CHECKUP_WARN, "unreadable rows",
                    "Put the key files back into STATE/epochs if there is a copy of them.",
                    "%" PRId64 " wait for a key that is missing", unreadable);
}

static void look_at_link(struct checkup *c, const struct json *status)
{
    struct slice state = json_string(json_path(status, "link.state"));
    int64_t since_s = json_integer(json_path(status, "link.since_s"), 0);
    int64_t oldest_s = json_integer(json_path(status, "queue.oldest_age_s"), 0);

    if (!slice_is(state, "up"))
        checkup_add(
            c, CHECKUP_FAIL, "hello",
            "The lines above say where it ends. If all are ok, ask the centre whether the branch is revoked "
            "or its box runs twice (zajel-gateway branch show).",
            "no greeting from the gateway: the link is %.*s for %" PRId64 " s", (int)state.length,
            (const char *)state.at, since_s);
    else
        checkup_add(c, oldest_s < BACKLOG_AGE_S ? CHECKUP_OK : CHECKUP_WARN, "hello",
                    "The link may be slow, or a lane is held: see zajel-relay queue shape.",
                    "the gateway greets; up for %" PRId64 " s, oldest message %" PRId64 " s", since_s,
                    oldest_s);
}

static void look_at_time(struct checkup *c, const struct json *status)
{
    int64_t offset_s = json_integer(json_path(status, "clock.offset_ms"), 0) / 1000;
    bool trusted = json_bool(json_path(status, "clock.trusted"), false);

    if (!trusted)
        checkup_add(
            c, CHECKUP_WARN, "trusted time",
            "It comes with the link, or with NTP; until then what an earlier start took does not expire.",
            "none heard since the relay's start");
    else
        checkup_add(c, offset_s > -60 && offset_s < 60 ? CHECKUP_OK : CHECKUP_WARN, "trusted time",
                    "Set the machine's clock; the relay goes by the trusted one meanwhile.",
                    "%" PRId64 " s from the machine's clock", offset_s);
}

/* --- The way to the gateway --- */

static void look_at_name_of_branch(struct checkup *c, const struct options *o, const char *name)
{
    if (!name[0])
        return;
    checkup_add(c, strcmp(name, o->branch) == 0 ? CHECKUP_OK : CHECKUP_FAIL, "branch",
                "Correct [relay] branch, or take the certificate that `branch add` made for this branch.",
                "the certificate is of %s, the configuration of %s", name, o->branch);
}

static void look_at_uplink(struct checkup *c, const struct options *o)
{
    const struct fetch_identity identity = { .ca_file = o->uplink_ca_file,
                                             .certificate_file = o->uplink_certificate_file,
                                             .key_file = o->uplink_key_file };
    struct checkup_host host;
    struct text address = { 0 };
    char name[128];

    checkup_certificate(c, "certificate", o->uplink_certificate_file, o->uplink_key_file, DAYS_WARN, name);
    look_at_name_of_branch(c, o, name);
    if (checkup_host(o->uplink_url, &host) != STATUS_OK)
        checkup_add(c, CHECKUP_FAIL, "name", "Correct [uplink] url.", "%s has no host", o->uplink_url);
    else if (checkup_name(c, "name", host.name, &address) && checkup_tcp(c, "tcp", address.at, host.port))
        (void)checkup_tls(c, "tls", o->uplink_url, &identity);
    text_free(&address);
}

/* --- The branch's program --- */

static void add_escaped(struct text *out, struct slice value)
{
    for (size_t i = 0; i < value.length; i++)
        text_printf(out, "%%%02X", value.at[i]);
}

static void look_at_answer(struct checkup *c, const struct options *o, long status, struct slice body,
                           const char *challenge, const char *why)
{
    if (status == 0)
        checkup_add(c, CHECKUP_FAIL, "webhook",
                    "Start the program, or correct [api] webhook_url. What it should hear waits for 7 days.",
                    "%s: %s", o->webhook_url, why);
    else if (!o->webhook_verify_token.length)
        checkup_add(c, CHECKUP_OK, "webhook", NULL, "somebody answers (HTTP %ld); no verify token is set",
                    status);
    else if (status == 200 && slice_is(body, challenge))
        checkup_add(c, CHECKUP_OK, "webhook", NULL, "the program answers the handshake");
    else
        checkup_add(
            c, CHECKUP_WARN, "webhook",
            "Compare webhook_verify_token_file with the program's own verify token. Webhooks are posted "
            "all the same.",
            "the program does not answer the handshake (HTTP %ld)", status);
}

static void look_at_webhook(struct checkup *c, const struct options *o)
{
    char challenge[24], why[256];
    struct text url = { 0 }, body = { 0 };
    uint32_t random = 0;
    long status;

    if (!o->webhook_url) {
        checkup_add(c, CHECKUP_WARN, "webhook",
                    "Set [api] webhook_url if a program wants statuses and answers.",
                    "no webhook_url: what customers write is kept in the history only");
        return;
    }
    (void)seal_random(&random, sizeof random);
    snprintf(challenge, sizeof challenge, "%" PRIu32, random);
    text_printf(&url, "%s%chub.mode=subscribe&hub.challenge=%s&hub.verify_token=", o->webhook_url,
                strchr(o->webhook_url, '?') ? '&' : '?', challenge);
    add_escaped(&url, text_slice(&o->webhook_verify_token));
    if (!url.failed) {
        status = checkup_get(url.at, NULL, NULL, &body, why);
        look_at_answer(c, o, status, text_slice(&body), challenge, why);
    }
    text_wipe(&url);
    text_free(&body);
}

/* --- All of it --- */

static int doctor_say(const struct checkup *c, bool as_json)
{
    struct text out = { 0 };
    bool is_well = checkup_write(c, as_json, &out);

    fwrite(out.at, 1, out.length, stdout);
    text_free(&out);
    return is_well ? 0 : 1;
}

int doctor_refuse(const char *why, bool as_json)
{
    struct checkup *c;

    if (checkup_open(&c) != STATUS_OK)
        return 1;
    checkup_add(c, CHECKUP_FAIL, "configuration",
                "Correct this line; zajel-relay --help-config lists every key.", "%s", why);
    (void)doctor_say(c, as_json);
    checkup_close(c);
    return 1;
}

int doctor_run(const struct options *o, bool as_json)
{
    uint64_t room = 2 * o->reserve_bytes > SPACE_BYTES_MIN ? 2 * o->reserve_bytes : SPACE_BYTES_MIN;
    struct json *status;
    struct checkup *c;
    int exit_code;

    if (seal_start() != STATUS_OK || checkup_open(&c) != STATUS_OK)
        return 1;
    checkup_add(c, CHECKUP_OK, "configuration", NULL, "read; branch %s, number %" PRIu32, o->branch,
                o->rules.number);
    checkup_store(c, o->state, "relay.db", room);
    checkup_clock(c);
    if (o->uplink_url)
        look_at_uplink(c, o);
    else
        checkup_add(c, CHECKUP_WARN, "uplink",
                    "Set [uplink] url; the gateway's `branch add --out` writes it.",
                    "no url: messages only wait");
    status = ask_status(c, o);
    if (status) {
        look_at_accepting(c, status);
        look_at_time(c, status);
        if (o->uplink_url)
            look_at_link(c, status);
    }
    look_at_webhook(c, o);
    exit_code = doctor_say(c, as_json);
    json_free(status);
    checkup_close(c);
    return exit_code;
}
