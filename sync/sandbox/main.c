/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "sync/protocol/status.h"
#include "sync/sandbox/sandbox.h"

#ifndef ZAJEL_VERSION
#define ZAJEL_VERSION "0.1.0"
#endif

#define CONFIG_DEFAULT "/etc/zajel/sandbox.conf"

enum { DONE, FAILED, USAGE };

static const char usage[] =
    "zajel-sandbox [--config FILE] VERB\n"
    "\n"
    "The practice WhatsApp: takes what the gateway sends as WhatsApp's Cloud API does, shows it on a\n"
    "customer's phone in the browser, and sends back receipts and answers. Not for production: it keeps all\n"
    "in memory.\n"
    "\n"
    "  run           in the foreground, until SIGTERM or Ctrl-C\n"
    "  check-config  says what is wrong with the configuration\n"
    "  --help, --version\n"
    "  --help-config every section and key of FILE, in Markdown\n"
    "\n"
    "FILE is " CONFIG_DEFAULT
    " unless told otherwise. Exit status: 0 done, 1 failed, 2 usage or configuration.\n"
    "Its sections and keys:\n";

static int help(void)
{
    struct text keys = { 0 };

    sandbox_settings_help(&keys);
    printf("%s%s", usage, keys.at ? keys.at : "");
    text_free(&keys);
    return DONE;
}

static int help_config(void)
{
    struct text keys = { 0 };

    sandbox_settings_reference(&keys);
    fputs(keys.at ? keys.at : "", stdout);
    text_free(&keys);
    return DONE;
}

static int act(const char *path, const char *verb)
{
    struct sandbox_settings settings;
    struct config_error error = { "" };
    int status = sandbox_settings_load(&settings, path, &error), code = DONE;

    if (status != STATUS_OK) {
        fprintf(stderr, "zajel-sandbox: %s\n", error.text);
        code = USAGE;
    } else if (strcmp(verb, "run") == 0) {
        code = sandbox_run(&settings) == STATUS_OK ? DONE : FAILED;
    } else {
        printf("%s is fine.\n", path);
    }
    sandbox_settings_free(&settings);
    return code;
}

int main(int argc, char **argv)
{
    const char *path = CONFIG_DEFAULT;
    int at = 1;

    if (at + 1 < argc && strcmp(argv[at], "--config") == 0) {
        path = argv[at + 1];
        at += 2;
    }
    if (argc == at + 1 && strcmp(argv[at], "--help") == 0)
        return help();
    if (argc == at + 1 && strcmp(argv[at], "--help-config") == 0)
        return help_config();
    if (argc == at + 1 && strcmp(argv[at], "--version") == 0) {
        printf("zajel-sandbox " ZAJEL_VERSION "\n");
        return DONE;
    }
    if (argc == at + 1 && (strcmp(argv[at], "run") == 0 || strcmp(argv[at], "check-config") == 0))
        return act(path, argv[at]);
    fprintf(stderr, "usage: zajel-sandbox [--config FILE] run | check-config | --help | --version\n");
    return USAGE;
}
