/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/command_line.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/box.h"
#include "relay/calls.h"
#include "relay/doctor.h"
#include "relay/report.h"
#include "sync/kit/control.h"
#include "sync/kit/json.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define DEFAULT_CONFIG "/etc/zajel/relay.conf"
#define CALL_MS 15000u /* A commit on a slow card may take five seconds. */

static const char help[] =
    "usage: zajel-relay [--config FILE] VERB [ARGS]\n"
    "\n"
    "The relay of one branch: it accepts WhatsApp messages on disk and carries them to the gateway.\n"
    "\n"
    "  run                     in the foreground, until SIGTERM\n"
    "  check-config            reads the configuration and says what is wrong\n"
    "  status [--json]         the link, what waits, what was done\n"
    "  doctor [--json]         looks for what keeps the relay from working\n"
    "  send [--number ID] [--lane LANE] [--expires-in SECONDS] [--to NUMBER --text TEXT]\n"
    "                          sends the JSON on stdin, or a text; prints the message's id\n"
    "  queue list [LANE]       what waits: id, lane, state, age, bytes\n"
    "  queue shape             a line for each lane\n"
    "  queue show ID           where a message is, as JSON\n"
    "  queue hold LANE|ID      holds a lane, whole or from this message on: later messages of a lane are\n"
    "                          never sent before earlier ones, so all after a held message wait too\n"
    "  queue release LANE|ID   lets the lane (the one of that message) go on\n"
    "  queue withdraw ID       takes a message back that surely has not left\n"
    "  token add NAME          makes a token for a program and prints it, this once\n"
    "  token list              names, and when they were made (Unix time)\n"
    "  token revoke NAME       its holder is refused from now on\n"
    "\n"
    "  --config FILE           default " DEFAULT_CONFIG "\n"
    "  --help, --version\n"
    "  --help-config           every section and key of FILE, in Markdown\n"
    "\n"
    "Exit: 0 done, 1 failed, 2 usage or configuration.\n";

static int usage(const char *why)
{
    fprintf(stderr, "zajel-relay: %s (--help tells more)\n", why);
    return 2;
}

static int help_config(void)
{
    struct text out = { 0 };
    size_t count;
    const struct config_key *keys = options_keys(&count);

    config_reference(keys, count, &out);
    fwrite(out.at ? out.at : "", 1, out.length, stdout);
    text_free(&out);
    return 0;
}

static bool wants_json(int argc, char **argv)
{
    return argc > 1 && strcmp(argv[1], "--json") == 0;
}

static int load(struct options **options, const char *path, int argc, char **argv)
{
    struct config_error error = { .text = "" };

    if (options_load(options, path, &error) == STATUS_OK)
        return 0;
    if (strcmp(argv[0], "doctor") == 0)
        return doctor_refuse(error.text, wants_json(argc, argv));
    fprintf(stderr, "zajel-relay: %s\n", error.text);
    return 2;
}

/* --- Verbs that ask the daemon --- */

/* The exit code; -1: no daemon runs. */
static int call(const struct options *o, int argc, const char *const *argv, struct slice input)
{
    struct text answer = { 0 };
    char *path = calls_path(o);
    int exit_code = 1;
    int status =
        path ? control_request(path, argc, argv, input, CALL_MS, &exit_code, &answer) : STATUS_NO_MEMORY;

    free(path);
    if (status == STATUS_UNAVAILABLE) {
        text_free(&answer);
        return -1;
    }
    if (status != STATUS_OK) {
        fprintf(stderr, "zajel-relay: the running relay did not answer: %s\n", status_name(status));
        exit_code = 1;
    } else if (answer.length) {
        fwrite(answer.at, 1, answer.length, exit_code == 0 ? stdout : stderr);
    }
    text_wipe(&answer);
    return exit_code;
}

static int call_or_complain(const struct options *o, int argc, const char *const *argv, struct slice input)
{
    int exit_code = call(o, argc, argv, input);

    if (exit_code >= 0)
        return exit_code;
    fprintf(stderr, "zajel-relay: no relay runs with this configuration (%s/control.sock)\n", o->state);
    return 1;
}

/* --- send --- */

static int read_stdin(struct text *out)
{
    char chunk[4096];
    ssize_t got;

    while ((got = read(STDIN_FILENO, chunk, sizeof chunk)) > 0 || (got < 0 && errno == EINTR)) {
        if (got > 0)
            text_add(out, slice_of(chunk, (size_t)got));
        if (out->failed || out->length > CONTROL_REQUEST_BYTES_MAX)
            return STATUS_TOO_LARGE;
    }
    return got == 0 ? STATUS_OK : STATUS_IO;
}

static int write_text_message(const char *to, const char *body, struct text *out)
{
    struct json *root = json_new_object(), *text = json_new_object();
    int failed = json_set(text, "body", json_new_string(slice_text(body)));
    int status;

    failed |= json_set(root, "messaging_product", json_new_string(slice_text("whatsapp")));
    failed |= json_set(root, "recipient_type", json_new_string(slice_text("individual")));
    failed |= json_set(root, "to", json_new_string(slice_text(to)));
    failed |= json_set(root, "type", json_new_string(slice_text("text")));
    failed |= json_set(root, "text", text);
    status = failed ? STATUS_NO_MEMORY : json_write_ascii(root, out);
    json_free(root);
    return status;
}

static int verb_send(const struct options *o, int argc, char **argv)
{
    static const struct option flags[] = {
        { "number", required_argument, NULL, 'n' },     { "lane", required_argument, NULL, 'l' },
        { "expires-in", required_argument, NULL, 'e' }, { "to", required_argument, NULL, 't' },
        { "text", required_argument, NULL, 'x' },       { NULL, 0, NULL, 0 },
    };
    const char *number = "", *lane = "", *expires_in = "", *to = NULL, *text = NULL;
    struct text body = { 0 };
    int flag, exit_code;

    optind = 1;
    while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
        switch (flag) {
        case 'n': number = optarg; break;
        case 'l': lane = optarg; break;
        case 'e': expires_in = optarg; break;
        case 't': to = optarg; break;
        case 'x': text = optarg; break;
        default: return 2;
        }
    }
    if (optind != argc || !to != !text)
        return usage("send takes --to and --text together, or a message's JSON on stdin");
    if ((to ? write_text_message(to, text, &body) : read_stdin(&body)) != STATUS_OK) {
        fprintf(stderr, "zajel-relay: the message cannot be read, is no UTF-8 or too large\n");
        text_wipe(&body);
        return 1;
    }
    exit_code = call_or_complain(o, 4, (const char *const[]){ "send", number, lane, expires_in, NULL },
                                 text_slice(&body));
    text_wipe(&body);
    return exit_code;
}

/* --- token --- */

/* No daemon: the verb is the one process that may open the store. */
static int token_offline(const struct options *o, int argc, const char *const *argv)
{
    struct outbox_options options = { .folder = o->state,
                                      .branch = o->rules.number,
                                      .bytes_max = o->rules.store_bytes_max,
                                      .elapsed_ms = clock_elapsed_ms(),
                                      .wall_ms = clock_wall_ms(),
                                      .offline = true };
    struct outbox *outbox = NULL;
    struct text out = { 0 };
    int exit_code = 1, status;

    clock_boot_id(options.boot);
    if ((status = seal_start()) == STATUS_OK && (status = outbox_open(&outbox, &options)) == STATUS_OK) {
        exit_code = calls_token(outbox, argc, argv, (uint64_t)options.wall_ms, &out, &status);
        if (status == STATUS_OK)
            status = outbox_commit(outbox, options.elapsed_ms);
    }
    outbox_close(outbox);
    if (status != STATUS_OK) {
        fprintf(stderr, "zajel-relay: the store in %s: %s\n", o->state, status_name(status));
        exit_code = 1;
    } else if (out.length) {
        fwrite(out.at, 1, out.length, exit_code == 0 ? stdout : stderr);
    }
    text_wipe(&out);
    return exit_code;
}

static int verb_token(const struct options *o, int argc, const char *const *argv)
{
    int exit_code = call(o, argc, argv, (struct slice){ 0 });

    return exit_code >= 0 ? exit_code : token_offline(o, argc, argv);
}

/* --- The command line --- */

static int dispatch(struct options *o, int argc, char **argv)
{
    const char *verb = argv[0];

    if (strcmp(verb, "run") == 0)
        return argc == 1 ? box_run(o) : usage("run takes no arguments");
    if (strcmp(verb, "check-config") == 0) {
        printf("the configuration is fine\n");
        return 0;
    }
    if (strcmp(verb, "doctor") == 0)
        return doctor_run(o, wants_json(argc, argv));
    if (strcmp(verb, "send") == 0)
        return verb_send(o, argc, argv);
    if (strcmp(verb, "token") == 0)
        return verb_token(o, argc, (const char *const *)argv);
    if (strcmp(verb, "status") == 0 || strcmp(verb, "queue") == 0)
        return call_or_complain(o, argc, (const char *const *)argv, (struct slice){ 0 });
    return usage("there is no such verb");
}

int command_line_run(int argc, char **argv)
{
    const char *path = DEFAULT_CONFIG;
    struct options *options;
    int at = 1, exit_code;

    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--help") == 0)
            return fputs(help, stdout) >= 0 ? 0 : 1;
        if (strcmp(argv[at], "--help-config") == 0)
            return help_config();
        if (strcmp(argv[at], "--version") == 0)
            return printf("zajel-relay %s\n", REPORT_VERSION) > 0 ? 0 : 1;
        if (strcmp(argv[at], "--config") == 0 && at + 1 < argc)
            path = argv[++at];
        else if (strncmp(argv[at], "--config=", 9) == 0)
            path = argv[at] + 9;
        else
            return usage("an option is --config FILE, --help, --help-config or --version");
    }
    if (at == argc)
        return usage("which verb?");
    if ((exit_code = load(&options, path, argc - at, argv + at)) != 0)
        return exit_code;
    exit_code = dispatch(options, argc - at, argv + at);
    options_free(options);
    return exit_code;
}
