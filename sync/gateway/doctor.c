/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/gateway/office.h"
#include "sync/kit/checkup.h"
#include "sync/kit/control.h"
#include "sync/kit/file.h"
#include "sync/kit/json.h"
#include "sync/protocol/status.h"

#define DAYS_WARN 30 /* Replacing the server's certificate takes a visit to the centre, not to branches. */
#define FREE_BYTES_MIN (256u << 20)
#define ANSWER_MS 5000u
#define TOKEN_CODE 190 /* Graph's code of every trouble with an access token. */

static void look_at_secrets(struct checkup *c, struct settings *s)
{
    struct config_error error;

    if (settings_secrets(s, &error) == STATUS_OK)
        checkup_add(c, CHECKUP_OK, "secrets", NULL, "all can be read");
    else
        checkup_add(c, CHECKUP_FAIL, "secrets",
                    "Write the secret into that file, readable by the gateway's user.", "%s", error.text);
    checkup_add(c, s->number_count > 0 ? CHECKUP_OK : CHECKUP_FAIL, "numbers",
                "Add a [number PHONE_NUMBER_ID] section with its access_token_file.", "%zu [number] sections",
                s->number_count);
}

static void look_at_certificate(struct checkup *c, const struct settings *s, const char *check,
                                const char *certificate_name, const char *key_name)
{
    char *certificate = file_join(s->state, certificate_name), *key = file_join(s->state, key_name);
    char name[128];

    if (certificate && key)
        checkup_certificate(c, check, certificate, key, DAYS_WARN, name);
    free(certificate);
    free(key);
}

/* --- WhatsApp --- */

static void look_at_answer(struct checkup *c, const char *check, const struct settings_number *n, long status,
                           struct slice body)
{
    struct json *answer = NULL;
    struct slice message;
    int64_t code;

    (void)json_parse(body, &answer, NULL);
    message = json_string(json_path(answer, "error.message"));
    code = json_integer(json_path(answer, "error.code"), 0);
    if (status == 200 && slice_is(json_string(json_get(answer, "id")), n->text))
        checkup_add(c, CHECKUP_OK, check, NULL, "WhatsApp knows %s and takes its token", n->text);
    else if (code == TOKEN_CODE || status == 401)
        checkup_add(
            c, CHECKUP_FAIL, check,
            "Put a valid system user token into access_token_file, then SIGHUP the gateway: what is held "
            "goes out.",
            "WhatsApp refuses the token of %s (%" PRId64 ")", n->text, code);
    else if (status >= 400 && status < 500)
        checkup_add(
            c, CHECKUP_FAIL, check,
            "Compare the section's name with WhatsApp Manager's Phone number ID, and give the token's user "
            "access to it.",
            "WhatsApp does not show %s: HTTP %ld, %" PRId64 " %.*s", n->text, status, code,
            (int)(message.length < 120 ? message.length : 120), (const char *)message.at);
    else
        checkup_add(c, CHECKUP_WARN, check,
                    "Try again; if it stays, see WhatsApp's status page and api_base.",
                    "HTTP %ld, not what WhatsApp would answer", status);
    json_free(answer);
}

static void look_at_number(struct checkup *c, const struct settings *s, const struct settings_number *n)
{
    struct text url = { 0 }, header = { 0 }, body = { 0 };
    char check[32], why[256] = "";
    long status = 0;

    snprintf(check, sizeof check, "number ..%.2s", n->text + (strlen(n->text) > 2 ? strlen(n->text) - 2 : 0));
    text_printf(&url, "%s/%s/%s", s->api_base, s->api_version, n->text);
    text_printf(&header, "Authorization: Bearer %.*s", (int)n->token.length, n->token.at);
    if (!url.failed && !header.failed)
        status = checkup_get(url.at, header.at, NULL, &body, why);
    if (status)
        look_at_answer(c, check, n, status, text_slice(&body));
    else
        checkup_add(c, CHECKUP_FAIL, check,
                    "See the lines above about WhatsApp's name and TCP, and the proxy.", "no answer: %s",
                    why);
    text_wipe(&header);
    text_free(&url);
    text_free(&body);
}

static void look_at_whatsapp(struct checkup *c, const struct settings *s)
{
    struct checkup_host host;
    struct text address = { 0 };

    if (checkup_host(s->api_base, &host) != STATUS_OK) {
        checkup_add(c, CHECKUP_FAIL, "name", "Correct [whatsapp] api_base.", "%s has no host", s->api_base);
        return;
    }
    if (checkup_name(c, "name", host.name, &address) && checkup_tcp(c, "tcp", address.at, host.port))
        for (size_t i = 0; i < s->number_count; i++)
            if (s->numbers[i].token.length)
                look_at_number(c, s, &s->numbers[i]);
    text_free(&address);
}

/* --- The running gateway --- */

static void look_at_courier(struct checkup *c, const struct json *status)
{
    int64_t held = json_integer(json_path(status, "courier.held"), 0);
    int64_t unrouted = json_integer(json_path(status, "webhooks.unrouted"), 0);
    struct slice why = json_string(json_path(status, "courier.holds.0.why"));

    checkup_add(c, held == 0 ? CHECKUP_OK : CHECKUP_FAIL, "held",
                "Mend what WhatsApp names (token, payment, policy), then zajel-gateway courier release.",
                "%" PRId64 " messages held %.*s", held, (int)(why.length < 120 ? why.length : 120),
                (const char *)why.at);
    checkup_add(c, CHECKUP_OK, "unknown", NULL, "%" PRId64 " messages whose outcome WhatsApp has not told",
                json_integer(json_path(status, "courier.unknown"), 0));
    checkup_add(c, unrouted == 0 ? CHECKUP_OK : CHECKUP_WARN, "unrouted",
                "Give [routing] a default; these events are kept in the ledger.",
                "%" PRId64 " events had no branch to go to", unrouted);
}

static void look_at_branches(struct checkup *c, const struct json *status)
{
    const struct json *branches = json_get(status, "branches");
    size_t clones = 0, up = 0, down = 0;

    for (size_t i = 0; i < json_count(branches); i++) {
        const struct json *b = json_at(branches, i);

        clones += json_bool(json_get(b, "clone_alarm"), false);
        up += slice_is(json_string(json_get(b, "state")), "up");
        down += slice_is(json_string(json_get(b, "state")), "down");
    }
    checkup_add(c, down == 0 ? CHECKUP_OK : CHECKUP_WARN, "hello",
                "Run zajel-relay doctor at a branch that is down; zajel-gateway branch list names them.",
                "%zu of %zu branches greeted and are up, %zu are down", up, json_count(branches), down);
    if (clones)
        checkup_add(c, CHECKUP_FAIL, "clones", "Find the second box; revoke the branch if it is not yours.",
                    "%zu branches whose identity two boxes seem to use", clones);
}

static void look_at_status(struct checkup *c, const struct json *status)
{
    bool accepting = json_bool(json_path(status, "store.accepting"), false);

    checkup_add(c, accepting ? CHECKUP_OK : CHECKUP_FAIL, "accepting",
                "Free disk space or raise the ledger's quota; branches keep what they have meanwhile.",
                "%" PRId64 " MB of %" PRId64 " MB used",
                json_integer(json_path(status, "store.bytes"), 0) >> 20,
                json_integer(json_path(status, "store.quota_bytes"), 0) >> 20);
    look_at_branches(c, status);
    look_at_courier(c, status);
}

static void look_at_daemon(struct checkup *c, const struct settings *s)
{
    static const char *const argv[] = { "status", NULL };
    char *path = file_join(s->state, OFFICE_CONTROL);
    struct text answer = { 0 };
    struct json *status = NULL;
    int code = 1;
    int asked = path ? control_request(path, 1, argv, slice_of(NULL, 0), ANSWER_MS, &code, &answer)
                     : STATUS_NO_MEMORY;

    if (asked == STATUS_UNAVAILABLE)
        checkup_add(c, CHECKUP_FAIL, "daemon", "Start it: systemctl start zajel-gateway, then see its log.",
                    "no gateway runs with %s", s->state);
    else if (asked != STATUS_OK || code != 0 || json_parse(text_slice(&answer), &status, NULL) != STATUS_OK)
        checkup_add(c, CHECKUP_FAIL, "daemon",
                    "Run the doctor as root; if it still says so, see the log and restart.",
                    "the gateway cannot tell its state: %s", status_name(asked));
    else
        checkup_add(c, CHECKUP_OK, "daemon", NULL, "the gateway runs, up %" PRId64 " s",
                    json_integer(json_get(status, "uptime_s"), 0));
    if (status)
        look_at_status(c, status);
    json_free(status);
    text_free(&answer);
    free(path);
}

bool doctor_look(struct settings *s, bool json, struct text *out)
{
    struct checkup *c;
    bool is_well;

    if (checkup_open(&c) != STATUS_OK)
        return false;
    checkup_add(c, CHECKUP_OK, "configuration", NULL, "read; links come to %s", s->sync_url);
    look_at_secrets(c, s);
    checkup_store(c, s->state, "ledger.db", FREE_BYTES_MIN);
    checkup_clock(c);
    look_at_certificate(c, s, "ca certificate", OFFICE_CA_CERTIFICATE, OFFICE_CA_KEY);
    look_at_certificate(c, s, "certificate", OFFICE_SERVER_CERTIFICATE, OFFICE_SERVER_KEY);
    look_at_whatsapp(c, s);
    look_at_daemon(c, s);
    is_well = checkup_write(c, json, out);
    checkup_close(c);
    return is_well;
}

void doctor_refuse(const char *why, bool json, struct text *out)
{
    struct checkup *c;

    if (checkup_open(&c) != STATUS_OK)
        return;
    checkup_add(c, CHECKUP_FAIL, "configuration",
                "Correct this line; zajel-gateway --help-config lists every key.", "%s", why);
    (void)checkup_write(c, json, out);
    checkup_close(c);
}
