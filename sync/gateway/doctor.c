/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/doctor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "sync/gateway/office.h"
#include "sync/kit/certificate.h"
#include "sync/kit/clock.h"
#include "sync/kit/control.h"
#include "sync/kit/file.h"
#include "sync/kit/json.h"
#include "sync/protocol/status.h"

#define CERTIFICATE_DAYS_MIN \
    30 /* Renewing the server's certificate takes a visit to the centre, not to branches. */
#define FREE_BYTES_MIN (256u << 20)

struct visit {
    const struct settings *settings;
    struct text lines;
    struct json *findings;
    bool well;
};

static void find(struct visit *v, bool ok, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void find(struct visit *v, bool ok, const char *what, const char *format, ...)
{
    struct json *finding = json_new_object();
    char why[512];
    va_list list;

    va_start(list, format);
    vsnprintf(why, sizeof why, format, list);
    va_end(list);
    v->well &= ok;
    text_printf(&v->lines, "%-8s %-20s %s\n", ok ? "ok" : "TROUBLE", what, why);
    if (json_set(finding, "check", json_new_string(slice_text(what))) != STATUS_OK ||
        json_set(finding, "ok", json_new_bool(ok)) != STATUS_OK ||
        json_set(finding, "why", json_new_string(slice_text(why))) != STATUS_OK) {
        json_free(finding);
        v->well = false;
        return;
    }
    if (json_add(v->findings, finding) != STATUS_OK)
        v->well = false;
}

static void look_at_secrets(struct visit *v, struct settings *s)
{
    struct config_error error;
    int status = settings_secrets(s, &error);

    find(v, status == STATUS_OK, "secrets", "%s", status == STATUS_OK ? "all can be read" : error.text);
    find(v, s->number_count > 0, "numbers", "%zu [number ID] sections", s->number_count);
}

static void look_at_state(struct visit *v)
{
    struct stat there;
    uint64_t free_bytes = file_free_bytes(v->settings->state);

    if (stat(v->settings->state, &there) != 0) {
        find(v, false, "state", "%s is not there; make it with init", v->settings->state);
        return;
    }
    find(v, (there.st_mode & 077) == 0, "state", "%s has mode %04o", v->settings->state,
         (unsigned)there.st_mode & 07777);
    find(v, free_bytes >= FREE_BYTES_MIN, "disk", "%" PRIu64 " MB free", free_bytes >> 20);
}

static void look_at_certificate(struct visit *v, const char *what, const char *certificate_name,
                                const char *key_name)
{
    char *certificate_path = file_join(v->settings->state, certificate_name);
    char *key_path = file_join(v->settings->state, key_name);
    struct text certificate = { 0 }, key = { 0 };
    struct certificate_facts facts;
    int status = certificate_path && key_path ? STATUS_OK : STATUS_NO_MEMORY;

    if (status == STATUS_OK &&
        (status = file_read(certificate_path, FILE_SECRET_BYTES_MAX, &certificate)) == STATUS_OK &&
        (status = file_read(key_path, FILE_SECRET_BYTES_MAX, &key)) == STATUS_OK &&
        (status = certificate_read(certificate.at, &facts)) == STATUS_OK)
        status = certificate_check_key(certificate.at, key.at);
    if (status != STATUS_OK) {
        find(v, false, what, "%s and %s: %s", certificate_name, key_name, status_name(status));
    } else {
        int64_t days = (facts.until_s - clock_wall_ms() / 1000) / 86400;

        find(v, days >= CERTIFICATE_DAYS_MIN, what, "%" PRId64 " days left", days);
    }
    text_wipe(&key);
    text_free(&certificate);
    free(certificate_path);
    free(key_path);
}

static void look_at_status(struct visit *v, const struct json *status)
{
    const struct json *branches = json_get(status, "branches");
    int64_t held = json_integer(json_path(status, "courier.held"), 0);
    int64_t unknown = json_integer(json_path(status, "courier.unknown"), 0);
    int64_t unrouted = json_integer(json_path(status, "webhooks.unrouted"), 0);
    size_t clones = 0;

    for (size_t i = 0; i < json_count(branches); i++)
        clones += json_bool(json_get(json_at(branches, i), "clone_alarm"), false);
    find(v, held == 0, "held", "%" PRId64 " messages wait for somebody to mend something", held);
    find(v, true, "unknown", "%" PRId64 " messages whose outcome WhatsApp has not told", unknown);
    find(v, unrouted == 0, "unrouted", "%" PRId64 " events had no branch to go to; see [routing]", unrouted);
    find(v, clones == 0, "clones", "%zu branches whose identity two boxes seem to use", clones);
    find(v, json_bool(json_path(status, "store.accepting"), false), "store", "%" PRId64 " bytes",
         json_integer(json_path(status, "store.bytes"), 0));
}

static void look_at_daemon(struct visit *v)
{
    static const char *const argv[] = { "status" };
    char *path = file_join(v->settings->state, OFFICE_CONTROL);
    struct text answer = { 0 };
    struct json *status = NULL;
    int code = 1;
    int asked =
        path ? control_request(path, 1, argv, slice_of(NULL, 0), 5000, &code, &answer) : STATUS_NO_MEMORY;

    if (asked != STATUS_OK || code != 0 || json_parse(text_slice(&answer), &status, NULL) != STATUS_OK)
        find(v, false, "gateway", "does not run, or does not answer: %s", status_name(asked));
    else
        look_at_status(v, status);
    json_free(status);
    text_free(&answer);
    free(path);
}

bool doctor_look(struct settings *s, bool json, struct text *out)
{
    struct visit v = { .settings = s, .findings = json_new_array(), .well = true };

    look_at_secrets(&v, s);
    look_at_state(&v);
    look_at_certificate(&v, "certificate authority", OFFICE_CA_CERTIFICATE, OFFICE_CA_KEY);
    look_at_certificate(&v, "server certificate", OFFICE_SERVER_CERTIFICATE, OFFICE_SERVER_KEY);
    look_at_daemon(&v);
    if (json && json_write(v.findings, out) == STATUS_OK)
        text_puts(out, "\n");
    else
        text_add(out, text_slice(&v.lines));
    text_free(&v.lines);
    json_free(v.findings);
    return v.well;
}
