/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/office.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sync/kit/certificate.h"
#include "sync/kit/clock.h"
#include "sync/kit/file.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define DAY_S 86400
#define CA_DAYS 3650     /* Branches hold the CA's certificate: changing it means visiting them. */
#define SERVER_DAYS 3650 /* Only our own CA vouches for it, and only our own boxes ask. */
#define BOX_DAYS 90      /* Design section 8. */
#define HOOK_SECRET_BYTES 32u

/* --- Files --- */

static int put_file(const char *folder, const char *name, struct slice bytes, mode_t mode)
{
    char *path = file_join(folder, name);
    int status = path ? file_write(path, bytes, mode) : STATUS_NO_MEMORY;

    free(path);
    return status;
}

static int get_file(const char *folder, const char *name, struct text *out)
{
    char *path = file_join(folder, name);
    int status = path ? file_read(path, FILE_SECRET_BYTES_MAX, out) : STATUS_NO_MEMORY;

    free(path);
    return status;
}

static bool has_file(const char *folder, const char *name)
{
    char *path = file_join(folder, name);
    bool has = path && access(path, F_OK) == 0;

    free(path);
    return has;
}

/* --- The CA --- */

struct pair_pem {
    struct text certificate, key;
};

static void pair_wipe(struct pair_pem *p)
{
    text_free(&p->certificate);
    text_wipe(&p->key);
}

static int make_ca(struct pair_pem *ca)
{
    int64_t now_s = clock_wall_ms() / 1000;
    struct certificate_request request = { .common_name = "Zajel gateway CA",
                                           .is_ca = true,
                                           .from_s = now_s - DAY_S,
                                           .until_s = now_s + (int64_t)CA_DAYS * DAY_S };
    int status = certificate_make_key(&ca->key);

    return status == STATUS_OK ? certificate_issue(&request, ca->key.at, NULL, NULL, &ca->certificate)
                               : status;
}

static int make_server(const struct settings *s, const struct pair_pem *ca, struct pair_pem *server)
{
    static const char *const always[] = { "localhost", "127.0.0.1", "::1" };
    int64_t now_s = clock_wall_ms() / 1000;
    const char *names[4] = { s->sync_host };
    struct certificate_request request = { .common_name = "zajel-gateway",
                                           .names = names,
                                           .name_count = 1,
                                           .is_server = true,
                                           .from_s = now_s - DAY_S,
                                           .until_s = now_s + (int64_t)SERVER_DAYS * DAY_S };
    int status = certificate_make_key(&server->key);

    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        if (strcmp(always[i], s->sync_host) != 0)
            names[request.name_count++] = always[i];
    return status == STATUS_OK ? certificate_issue(&request, server->key.at, ca->certificate.at, ca->key.at,
                                                   &server->certificate)
                               : status;
}

static int make_ledger(const struct settings *s)
{
    struct ledger_options options = { .folder = s->state, .make = true, .bytes_max = s->store_bytes_max };
    struct ledger *ledger;
    int status = ledger_open(&ledger, &options);

    ledger_close(ledger);
    return status;
}

/* The CA's key goes last: what an interrupted init left can be made again. */
static int write_state(const struct settings *s, const struct pair_pem *ca, const struct pair_pem *server)
{
    int status = make_ledger(s);

    if (status == STATUS_OK)
        status = put_file(s->state, OFFICE_SERVER_CERTIFICATE, text_slice(&server->certificate), 0644);
    if (status == STATUS_OK)
        status = put_file(s->state, OFFICE_SERVER_KEY, text_slice(&server->key), 0600);
    if (status == STATUS_OK)
        status = put_file(s->state, OFFICE_CA_CERTIFICATE, text_slice(&ca->certificate), 0644);
    return status == STATUS_OK ? put_file(s->state, OFFICE_CA_KEY, text_slice(&ca->key), 0600) : status;
}

int office_init(const struct settings *s, struct text *out)
{
    struct pair_pem ca = { 0 }, server = { 0 };
    int status = file_make_folder(s->state, 0700);

    if (status != STATUS_OK) {
        text_printf(out, "%s cannot be made\n", s->state);
        return status;
    }
    if (has_file(s->state, OFFICE_CA_KEY)) {
        text_printf(out, "%s has a certificate authority already; nothing was changed\n", s->state);
        return STATUS_CONFLICT;
    }
    if ((status = make_ca(&ca)) == STATUS_OK && (status = make_server(s, &ca, &server)) == STATUS_OK)
        status = write_state(s, &ca, &server);
    if (status == STATUS_OK)
        text_printf(
            out,
            "%s is ready:\n"
            "  ca.pem, ca.key          the certificate authority of the branches, for 10 years; keep a copy\n"
            "                          of ca.key where nobody finds it\n"
            "  server.pem, server.key  the gateway's certificate, for %s, localhost, 127.0.0.1 and ::1\n"
            "  ledger.db, keys/        the ledger and its keys\n"
            "Next: zajel-gateway branch add ID --out FOLDER\n",
            s->state, s->sync_host);
    else
        text_printf(out, "%s: %s\n", s->state, status_name(status));
    pair_wipe(&ca);
    pair_wipe(&server);
    return status;
}

/* --- The register --- */

enum { DONE, FAILED, USAGE };

static int answer_failure(struct text *answer, const char *id, int status)
{
    switch ((enum status)status) {
    case STATUS_CONFLICT: text_printf(answer, "there is a branch %s already\n", id); break;
    case STATUS_END: text_printf(answer, "there is no branch %s\n", id); break;
    case STATUS_INVALID:
        text_printf(answer,
                    "%s is no branch id: letters, digits, - _ and ., at most %u, beginning with a letter or "
                    "digit\n",
                    id, LEDGER_BRANCH_ID_MAX);
        break;
    default: text_printf(answer, "the ledger answers %s\n", status_name(status)); break;
    }
    return FAILED;
}

static void describe(const struct ledger_branch *b, struct text *answer)
{
    char until[32] = "no certificate";
    struct tm day;
    time_t at = (time_t)b->until_s;

    if (b->certified && gmtime_r(&at, &day))
        strftime(until, sizeof until, "until %Y-%m-%d", &day);
    text_printf(answer, "%u %s %s, certificate %s, received %" PRIu64 "\n", b->number, b->id,
                b->revoked ? "revoked" : "active", until, b->received);
}

static int add(struct ledger *l, const char *id, int64_t now_s, struct text *answer)
{
    const struct ledger_branch *known = ledger_branch_find(l, id);
    uint32_t number = known ? known->number : 0;
    int status = STATUS_OK;

    /* One that got no certificate yet was never used: adding it again is finishing what was begun. */
    if (known && (known->certified || known->revoked))
        return answer_failure(answer, id, STATUS_CONFLICT);
    if (!known)
        status = ledger_branch_add(l, id, now_s, &number);
    if (status != STATUS_OK)
        return answer_failure(answer, id, status);
    text_printf(answer, "%u\n", number);
    return DONE;
}

static int certify(struct ledger *l, const char *const *argv, struct text *answer)
{
    const struct ledger_branch *b = ledger_branch_find(l, argv[1]);
    uint8_t fingerprint[32];
    int status = STATUS_END;

    if (text_unhex(slice_text(argv[2]), fingerprint, sizeof fingerprint) != STATUS_OK)
        return USAGE;
    if (b)
        status = ledger_branch_certify(l, b->number, fingerprint, strtoll(argv[3], NULL, 10));
    return status == STATUS_OK ? DONE : answer_failure(answer, argv[1], status);
}

static int revoke_branch(struct ledger *l, const char *id, struct text *answer, uint32_t *revoked)
{
    const struct ledger_branch *b = ledger_branch_find(l, id);
    int status = b ? ledger_branch_revoke(l, b->number) : STATUS_END;

    if (status != STATUS_OK)
        return answer_failure(answer, id, status);
    *revoked = b->number;
    text_printf(answer, "branch %s is revoked: its box is not let in any more\n", id);
    return DONE;
}

static int show(struct ledger *l, const char *id, struct text *answer)
{
    const struct ledger_branch *b = ledger_branch_find(l, id);

    if (!b)
        return answer_failure(answer, id, STATUS_END);
    describe(b, answer);
    return DONE;
}

int office_answer(struct ledger *l, int argc, const char *const *argv, int64_t now_s, struct text *answer,
                  uint32_t *revoked)
{
    *revoked = 0;
    if (argc == 2 && strcmp(argv[0], "add") == 0)
        return add(l, argv[1], now_s, answer);
    if (argc == 4 && strcmp(argv[0], "certify") == 0)
        return certify(l, argv, answer);
    if (argc == 2 && strcmp(argv[0], "revoke") == 0)
        return revoke_branch(l, argv[1], answer, revoked);
    if (argc == 2 && strcmp(argv[0], "show") == 0)
        return show(l, argv[1], answer);
    if (argc == 1 && strcmp(argv[0], "list") == 0) {
        for (uint32_t number = 1; number <= ledger_branch_count(l); number++)
            describe(ledger_branch(l, number), answer);
        return DONE;
    }
    return USAGE;
}

/* --- A box's folder --- */

static void write_relay_conf(const struct settings *s, const char *branch, uint32_t number, struct text *out)
{
    const struct settings_branch *options = settings_branch(s, branch);
    const struct settings_number *fallback = settings_branch_default(s, options);

    text_printf(out,
                "; The relay of branch %s. Relative paths are relative to this file.\n"
                "[relay]\nbranch = %s\nbranch_number = %u\nstate = state\n\n"
                "[api]\nlisten = 127.0.0.1:8080\n"
                "; Where statuses and customers' messages go, signed with hook.secret:\n"
                ";webhook_url = http://127.0.0.1:9000/hook\n;webhook_secret_file = hook.secret\n\n"
                "[uplink]\nurl = %s\nca_file = ca.pem\ncertificate_file = box.pem\nkey_file = box.key\n",
                branch, branch, number, s->sync_url);
    if (fallback)
        text_printf(out, "\n[numbers]\ndefault = %s\n", fallback->text);
    for (size_t i = 0; i < s->number_count; i++) {
        if (!settings_branch_has(options, s->numbers[i].id))
            continue;
        text_printf(out, "\n[number %s]\n", s->numbers[i].text);
        if (s->numbers[i].display_phone_number[0])
            text_printf(out, "display_phone_number = %s\n", s->numbers[i].display_phone_number);
        if (s->numbers[i].waba_id[0])
            text_printf(out, "waba_id = %s\n", s->numbers[i].waba_id);
    }
}

static int make_secret(struct text *out)
{
    uint8_t bytes[HOOK_SECRET_BYTES];
    char hex[2 * sizeof bytes + 1];
    int status = seal_random(bytes, sizeof bytes);

    text_hex(slice_of(bytes, sizeof bytes), hex);
    text_puts(out, hex);
    text_puts(out, "\n");
    explicit_bzero(bytes, sizeof bytes);
    explicit_bzero(hex, sizeof hex);
    return status;
}

static int issue_box(const char *branch, uint32_t number, const struct pair_pem *ca, struct pair_pem *box,
                     uint8_t fingerprint[32], int64_t *until_s)
{
    int64_t now_s = clock_wall_ms() / 1000;
    char serial[16];
    struct certificate_request request = { .common_name = branch,
                                           .serial_number = serial,
                                           .from_s = now_s - DAY_S,
                                           .until_s = now_s + (int64_t)BOX_DAYS * DAY_S };
    struct certificate_facts facts;
    int status = certificate_make_key(&box->key);

    snprintf(serial, sizeof serial, "%u", number);
    if (status == STATUS_OK)
        status = certificate_issue(&request, box->key.at, ca->certificate.at, ca->key.at, &box->certificate);
    if (status == STATUS_OK)
        status = certificate_read(box->certificate.at, &facts);
    if (status == STATUS_OK) {
        memcpy(fingerprint, facts.fingerprint, sizeof facts.fingerprint);
        *until_s = facts.until_s;
    }
    return status;
}

static int write_folder(const char *folder, const struct text *conf, const struct text *secret,
                        const struct pair_pem *ca, const struct pair_pem *box)
{
    int status = file_make_folder(folder, 0700);

    if (status == STATUS_OK)
        status = put_file(folder, "ca.pem", text_slice(&ca->certificate), 0644);
    if (status == STATUS_OK)
        status = put_file(folder, "box.pem", text_slice(&box->certificate), 0644);
    if (status == STATUS_OK)
        status = put_file(folder, "box.key", text_slice(&box->key), 0600);
    if (status == STATUS_OK)
        status = put_file(folder, "hook.secret", text_slice(secret), 0600);
    return status == STATUS_OK ? put_file(folder, "relay.conf", text_slice(conf), 0644) : status;
}

int office_equip(const struct settings *s, const char *branch, uint32_t number, const char *folder,
                 uint8_t fingerprint[32], int64_t *until_s, struct text *out)
{
    struct pair_pem ca = { 0 }, box = { 0 };
    struct text conf = { 0 }, secret = { 0 };
    int status;

    if (has_file(folder, "relay.conf")) {
        text_printf(out, "%s has a relay.conf already; nothing was changed\n", folder);
        return STATUS_CONFLICT;
    }
    if ((status = get_file(s->state, OFFICE_CA_CERTIFICATE, &ca.certificate)) != STATUS_OK ||
        (status = get_file(s->state, OFFICE_CA_KEY, &ca.key)) != STATUS_OK)
        text_printf(out, "the certificate authority in %s cannot be read; was it made with init?\n",
                    s->state);
    write_relay_conf(s, branch, number, &conf);
    if (status == STATUS_OK && (status = make_secret(&secret)) == STATUS_OK &&
        (status = issue_box(branch, number, &ca, &box, fingerprint, until_s)) == STATUS_OK) {
        status =
            conf.failed || secret.failed ? STATUS_NO_MEMORY : write_folder(folder, &conf, &secret, &ca, &box);
        if (status != STATUS_OK)
            text_printf(out, "%s cannot be written: %s\n", folder, status_name(status));
    }
    pair_wipe(&ca);
    pair_wipe(&box);
    text_wipe(&secret);
    text_free(&conf);
    return status;
}
