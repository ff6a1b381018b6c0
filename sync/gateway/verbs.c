/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/gateway/doctor.h"
#include "sync/gateway/gateway.h"
#include "sync/gateway/ledger.h"
#include "sync/gateway/monitor.h"
#include "sync/gateway/office.h"
#include "sync/kit/clock.h"
#include "sync/kit/control.h"
#include "sync/kit/file.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define CONTROL_MS_MAX 10000u /* A commit on a slow disk takes up to five seconds. */
#define ARGUMENTS_MAX 8

enum { DONE, FAILED, USAGE };

static const char usage[] =
    "zajel-gateway [--config FILE] VERB [ARGUMENTS]\n"
    "\n"
    "The centre: takes what the branches' relays carry up, gives it to WhatsApp once, and sends answers"
    " down.\n"
    "\n"
    "  init                          makes the state folder: certificate authority, keys, ledger\n"
    "  branch add ID [--out FOLDER]  records a branch; FOLDER gets relay.conf and certificates, ready to"
    " run\n"
    "  branch list | show ID         what is known of the branches\n"
    "  branch revoke ID              its box is not let in any more\n"
    "  run                           in the foreground, until SIGTERM or Ctrl-C\n"
    "  check-config                  says what is wrong with the configuration\n"
    "  status [--json]               of the running gateway\n"
    "  doctor [--json]               looks for trouble\n"
    "  courier release               goes on with what was held, now that its cause is mended\n"
    "  --help, --version\n"
    "  --help-config                 every section and key of FILE, in Markdown\n"
    "\n"
    "FILE is " SETTINGS_FILE
    " unless told otherwise. Exit status: 0 done, 1 failed, 2 usage or configuration.\n"
    "Its sections and keys, with their defaults:\n";

static void print(FILE *to, const struct text *text)
{
    fwrite(text->at ? text->at : "", 1, text->length, to);
}

static void say(const struct text *text, int code)
{
    print(code == DONE ? stdout : stderr, text);
}

/* --- Asking the daemon --- */

static int ask_daemon(const struct settings *s, int argc, const char *const *argv, int *code,
                      struct text *answer)
{
    char *path = file_join(s->state, OFFICE_CONTROL);
    int status = path ? control_request(path, argc, argv, slice_of(NULL, 0), CONTROL_MS_MAX, code, answer)
                      : STATUS_NO_MEMORY;

    free(path);
    return status;
}

static int ask_ledger(const struct settings *s, int argc, const char *const *argv, struct text *answer)
{
    struct ledger_options options = { .folder = s->state, .bytes_max = s->store_bytes_max };
    struct ledger *ledger;
    uint32_t revoked;
    int status = ledger_open(&ledger, &options), code = FAILED;

    if (status == STATUS_OK) {
        code = office_answer(ledger, argc, argv, clock_wall_ms() / 1000, answer, &revoked);
        if (code == DONE)
            status = ledger_commit(ledger);
    }
    if (status != STATUS_OK) {
        code = FAILED;
        text_clear(answer);
        text_printf(
            answer,
            status == STATUS_END ? "%s has no ledger; make it with init\n" : "the ledger in %s: ", s->state);
        if (status != STATUS_END)
            text_printf(answer, "%s\n", status_name(status));
    }
    ledger_close(ledger);
    return code;
}

/* The register's question, to the daemon when one runs, else to the ledger itself. */
static int ask_register(const struct settings *s, int argc, const char *const *argv, struct text *answer)
{
    const char *whole[ARGUMENTS_MAX] = { "branch" };
    int code = FAILED, status;

    for (int i = 0; i < argc; i++)
        whole[i + 1] = argv[i];
    status = ask_daemon(s, argc + 1, whole, &code, answer);
    if (status == STATUS_UNAVAILABLE)
        return ask_ledger(s, argc, argv, answer);
    if (status != STATUS_OK) {
        text_printf(answer, "the gateway does not answer: %s\n", status_name(status));
        return FAILED;
    }
    return code;
}

/* --- Verbs --- */

static int verb_init(const struct settings *s)
{
    struct text out = { 0 };
    int code = office_init(s, &out) == STATUS_OK ? DONE : FAILED;

    say(&out, code);
    text_free(&out);
    return code;
}

static int certify(const struct settings *s, const char *id, const uint8_t fingerprint[32], int64_t until_s,
                   struct text *answer)
{
    char hex[65], until[24];
    const char *const argv[] = { "certify", id, hex, until };

    text_hex(slice_of(fingerprint, 32), hex);
    snprintf(until, sizeof until, "%" PRId64, until_s);
    text_clear(answer);
    return ask_register(s, 4, argv, answer);
}

static int branch_add(const struct settings *s, const char *id, const char *folder)
{
    const char *const argv[] = { "add", id };
    uint8_t fingerprint[32];
    int64_t until_s;
    struct text answer = { 0 };
    uint32_t number;
    int code = ask_register(s, 2, argv, &answer);

    if (code == DONE) {
        number = (uint32_t)strtoul(answer.at, NULL, 10);
        text_clear(&answer);
        if (folder)
            code = office_equip(s, id, number, folder, fingerprint, &until_s, &answer) == STATUS_OK
                       ? certify(s, id, fingerprint, until_s, &answer)
                       : FAILED;
        if (code == DONE)
            text_printf(&answer, "branch %s is number %u\n", id, number);
        if (code == DONE && folder)
            text_printf(&answer, "%s is ready: zajel-relay --config %s/relay.conf run\n", folder, folder);
        else if (code == DONE)
            text_puts(&answer, "give its box a folder with: branch add ID --out FOLDER\n");
    }
    say(&answer, code);
    text_free(&answer);
    return code;
}

static int verb_branch(const struct settings *s, int argc, const char *const *argv)
{
    struct text answer = { 0 };
    int code;

    if (argc == 2 && strcmp(argv[0], "add") == 0)
        return branch_add(s, argv[1], NULL);
    if (argc == 4 && strcmp(argv[0], "add") == 0 && strcmp(argv[2], "--out") == 0)
        return branch_add(s, argv[1], argv[3]);
    if (!((argc == 1 && strcmp(argv[0], "list") == 0) ||
          (argc == 2 && (strcmp(argv[0], "show") == 0 || strcmp(argv[0], "revoke") == 0)))) {
        fprintf(stderr, "usage: zajel-gateway branch add ID [--out FOLDER] | list | show ID | revoke ID\n");
        return USAGE;
    }
    code = ask_register(s, argc, argv, &answer);
    say(&answer, code);
    text_free(&answer);
    return code;
}

static int verb_status(const struct settings *s, bool json)
{
    static const char *const argv[] = { "status" };
    struct text answer = { 0 }, lines = { 0 };
    int code = FAILED;

    if (ask_daemon(s, 1, argv, &code, &answer) != STATUS_OK) {
        fprintf(stderr, "zajel-gateway: no gateway runs with %s\n", s->state);
        code = FAILED;
    } else if (json || code != DONE || monitor_status_lines(text_slice(&answer), &lines) != STATUS_OK) {
        say(&answer, code);
        if (json && code == DONE)
            putchar('\n');
    } else {
        print(stdout, &lines);
    }
    text_free(&answer);
    text_free(&lines);
    return code;
}

static int verb_release(const struct settings *s)
{
    static const char *const argv[] = { "courier", "release" };
    struct text answer = { 0 };
    int code = FAILED;

    if (ask_daemon(s, 2, argv, &code, &answer) != STATUS_OK)
        text_printf(&answer, "zajel-gateway: no gateway runs with %s\n", s->state);
    say(&answer, code);
    text_free(&answer);
    return code;
}

static int verb_doctor(struct settings *s, bool json)
{
    struct text out = { 0 };
    int code = doctor_look(s, json, &out) ? DONE : FAILED;

    print(stdout, &out);
    text_free(&out);
    return code;
}

static int refuse_doctor(const struct config_error *error, bool json)
{
    struct text out = { 0 };

    doctor_refuse(error->text, json, &out);
    print(stdout, &out);
    text_free(&out);
    return FAILED;
}

static int need_secrets(struct settings *s)
{
    struct config_error error;

    if (settings_secrets(s, &error) == STATUS_OK)
        return DONE;
    fprintf(stderr, "zajel-gateway: %s\n", error.text);
    return USAGE;
}

static int help(void)
{
    struct text keys = { 0 };

    settings_describe(&keys);
    fputs(usage, stdout);
    print(stdout, &keys);
    text_free(&keys);
    return DONE;
}

static int help_config(void)
{
    struct text keys = { 0 };

    settings_reference(&keys);
    print(stdout, &keys);
    text_free(&keys);
    return DONE;
}

static int complain_of_usage(void)
{
    fprintf(stderr,
            "usage: zajel-gateway [--config FILE] init | branch ... | run | check-config | status [--json] | "
            "doctor [--json] | courier release | --help | --version\n");
    return USAGE;
}

static int act(struct settings *s, const char *path, int argc, const char *const *argv)
{
    const char *verb = argv[0];
    bool json = argc == 2 && strcmp(argv[1], "--json") == 0;

    if (strcmp(verb, "branch") == 0 && argc > 1 && argc < ARGUMENTS_MAX - 1)
        return verb_branch(s, argc - 1, argv + 1);
    if (strcmp(verb, "status") == 0 && (argc == 1 || json))
        return verb_status(s, json);
    if (strcmp(verb, "doctor") == 0 && (argc == 1 || json))
        return verb_doctor(s, json);
    if (strcmp(verb, "courier") == 0 && argc == 2 && strcmp(argv[1], "release") == 0)
        return verb_release(s);
    if (argc != 1)
        return complain_of_usage();
    if (strcmp(verb, "init") == 0)
        return verb_init(s);
    if (strcmp(verb, "check-config") == 0) {
        int code = need_secrets(s);

        if (code == DONE)
            printf("%s is fine.\n", path);
        return code;
    }
    if (strcmp(verb, "run") == 0) {
        int code = need_secrets(s);

        return code == DONE ? gateway_run(s) == STATUS_OK ? DONE : FAILED : code;
    }
    return complain_of_usage();
}

int verbs_run(int argc, const char *const *argv)
{
    const char *path = SETTINGS_FILE;
    struct settings *settings;
    struct config_error error;
    int code;

    if (argc >= 2 && strcmp(argv[0], "--config") == 0) {
        path = argv[1];
        argc -= 2;
        argv += 2;
    }
    if (argc == 1 && strcmp(argv[0], "--help") == 0)
        return help();
    if (argc == 1 && strcmp(argv[0], "--help-config") == 0)
        return help_config();
    if (argc == 1 && strcmp(argv[0], "--version") == 0) {
        printf("zajel-gateway " ZAJEL_VERSION "\n");
        return DONE;
    }
    if (argc < 1 || argv[0][0] == '-')
        return complain_of_usage();
    if (settings_load(&settings, path, &error) != STATUS_OK) {
        if (strcmp(argv[0], "doctor") == 0)
            return refuse_doctor(&error, argc == 2 && strcmp(argv[1], "--json") == 0);
        fprintf(stderr, "zajel-gateway: %s\n", error.text);
        return USAGE;
    }
    if (seal_start() != STATUS_OK) {
        fprintf(stderr, "zajel-gateway: the cryptographic library does not start\n");
        code = FAILED;
    } else {
        code = act(settings, path, argc, argv);
    }
    settings_free(settings);
    return code;
}
