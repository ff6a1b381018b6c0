/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/calls.h"
#include "sync/kit/certificate.h"
#include "sync/kit/control.h"
#include "sync/kit/file.h"
#include "sync/kit/json.h"
#include "sync/protocol/status.h"

#define DAY_S 86400
#define WARN_DAYS \
    14 /* The gateway renews from 60 days on: something has kept it from it for a month and a half. */

struct doctor {
    const struct options *options;
    struct json *findings; /* NULL: lines. */
    bool is_ill;
};

static void find(struct doctor *d, const char *what, bool is_fine, const char *details)
{
    d->is_ill = d->is_ill || !is_fine;
    if (!d->findings) {
        printf("%-5s %-12s %s\n", is_fine ? "ok" : "WRONG", what, details);
        return;
    }
    struct json *one = json_new_object();

    if (json_set(one, "check", json_new_string(slice_text(what))) ||
        json_set(one, "ok", json_new_bool(is_fine)) ||
        json_set(one, "details", json_new_string(slice_text(details))) || json_add(d->findings, one))
        d->is_ill = true;
}

static void look_at_state(struct doctor *d)
{
    char details[160];
    uint64_t free_bytes = file_free_bytes(d->options->state);

    find(d, "state", access(d->options->state, R_OK | W_OK | X_OK) == 0, "the state folder can be written");
    snprintf(details, sizeof details, "%" PRIu64 " bytes are free for the store", free_bytes);
    find(d, "disk", free_bytes > 2 * d->options->reserve_bytes, details);
}

static void look_at_certificate(struct doctor *d)
{
    const struct options *o = d->options;
    struct certificate_facts facts = { .until_s = 0 };
    struct text certificate = { 0 }, key = { 0 };
    int64_t days;
    char details[96];
    bool is_readable;

    if (!o->uplink_url) {
        find(d, "uplink", true, "no [uplink] url: messages only wait");
        return;
    }
    is_readable = file_read(o->uplink_certificate_file, FILE_SECRET_BYTES_MAX, &certificate) == STATUS_OK &&
                  file_read(o->uplink_key_file, FILE_SECRET_BYTES_MAX, &key) == STATUS_OK &&
                  certificate_read(certificate.at, &facts) == STATUS_OK;
    find(d, "certificate", is_readable && certificate_check_key(certificate.at, key.at) == STATUS_OK,
         "the box's certificate and key can be read and belong together");
    if (is_readable) {
        days = (facts.until_s - clock_wall_ms() / 1000) / DAY_S;
        snprintf(details, sizeof details, "the certificate is good for %" PRId64 " days", days);
        find(d, "expiry", days >= WARN_DAYS, details);
    }
    find(d, "ca", access(o->uplink_ca_file, R_OK) == 0, "the gateway's CA can be read");
    text_free(&certificate);
    text_wipe(&key);
}

static void look_at_daemon(struct doctor *d)
{
    static const char *const argv[] = { "status", "--json", NULL };
    struct text answer = { 0 };
    struct json *status = NULL;
    char *path = calls_path(d->options);
    int exit_code = 1;
    bool runs = path &&
                control_request(path, 2, argv, (struct slice){ 0 }, 5000, &exit_code, &answer) == STATUS_OK &&
                exit_code == 0;

    find(d, "daemon", runs,
         runs ? "the relay runs and answers" : "the relay does not run, or does not answer");
    if (runs && json_parse(text_slice(&answer), &status, NULL) == STATUS_OK) {
        struct slice link = json_string(json_path(status, "link.state"));

        find(d, "link", slice_is(link, "up") || slice_is(link, "off"), (const char *)link.at);
        find(d, "accepting", json_bool(json_path(status, "store.ready"), false), "new messages are taken");
        find(d, "rows", json_integer(json_path(status, "store.quarantined"), 0) == 0,
             "no row was found damaged");
    }
    json_free(status);
    text_free(&answer);
    free(path);
}

int doctor_run(const struct options *options, bool as_json)
{
    struct doctor d = { .options = options, .findings = as_json ? json_new_array() : NULL };
    struct text out = { 0 };

    if (as_json && !d.findings)
        return 1;
    look_at_state(&d);
    look_at_certificate(&d);
    look_at_daemon(&d);
    find(&d, "clock", true,
         clock_synchronised() ? "the system's clock is synchronised"
                              : "the system's clock is not synchronised; the gateway's will do");
    if (d.findings && json_write_ascii(d.findings, &out) == STATUS_OK)
        printf("%s\n", out.at);
    text_free(&out);
    json_free(d.findings);
    return d.is_ill ? 1 : 0;
}
