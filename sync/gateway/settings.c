/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/gateway/ledger.h"
#include "sync/gateway/request.h"
#include "sync/kit/file.h"
#include "sync/protocol/status.h"

#define TIB ((int64_t)1 << 40)

static const struct config_key keys[] = {
    { .section = "gateway",
      .key = "state",
      .type = CONFIG_PATH,
      .fallback = "/var/lib/zajel-gateway",
      .help = "The folder of the ledger, the keys and the control socket." },
    { .section = "limits",
      .key = "store_bytes_max",
      .type = CONFIG_NUMBER,
      .fallback = "0",
      .most = 64 * TIB,
      .help = "How large the ledger may grow; 0: as the disk allows." },
    { .section = "limits",
      .key = "reserve_bytes",
      .type = CONFIG_NUMBER,
      .fallback = "16777216",
      .most = TIB,
      .help = "Kept free beside the ledger, so that a full disk can still be drained." },
    { .section = "sync",
      .key = "listen",
      .type = CONFIG_ADDRESS,
      .fallback = "0.0.0.0:8443",
      .help = "Where the branches' links come in." },
    { .section = "sync",
      .key = "url",
      .type = CONFIG_TEXT,
      .help = "What branches are told to call; its host is a name in the server's certificate. By default "
              "wss://127.0.0.1:PORT/sync with the port of listen." },
    { .section = "sync",
      .key = "links_max",
      .type = CONFIG_NUMBER,
      .fallback = "2048",
      .least = 1,
      .most = 100000,
      .help = "How many links may be open at a time." },
    { .section = "sync",
      .key = "strangers_per_address_max",
      .type = CONFIG_NUMBER,
      .fallback = "64",
      .least = 1,
      .most = 128,
      .help =
          "How many connections of one address, other than 127.0.0.1 and ::1, may be on their way to a link; "
          "128 may in all. Links do not count." },
    { .section = "whatsapp",
      .key = "api_base",
      .type = CONFIG_TEXT,
      .fallback = "https://graph.facebook.com",
      .help = "The Cloud API; plain http only on loopback." },
    { .section = "whatsapp",
      .key = "api_version",
      .type = CONFIG_TEXT,
      .fallback = "v25.0",
      .help = "The version that requests name." },
    { .section = "whatsapp",
      .key = "app_secret_file",
      .type = CONFIG_PATH,
      .help = "Holds the app's secret, with which WhatsApp signs its webhooks." },
    { .section = "whatsapp",
      .key = "verify_token_file",
      .type = CONFIG_PATH,
      .help = "Holds the token of the webhook's handshake." },
    { .section = "whatsapp",
      .key = "timeout_s",
      .type = CONFIG_NUMBER,
      .fallback = "30",
      .least = 1,
      .most = 600,
      .help = "How long WhatsApp may take to answer before the outcome counts as unknown." },
    { .section = "whatsapp",
      .key = "connections",
      .type = CONFIG_NUMBER,
      .fallback = "16",
      .least = 1,
      .most = 256,
      .help = "Requests to WhatsApp at a time." },
    /* Both are what WhatsApp's limit of one message in 6 s to a customer was read to allow; it may grant
       more. */
    { .section = "whatsapp",
      .key = "pair_burst",
      .type = CONFIG_NUMBER,
      .fallback = "10",
      .least = 1,
      .most = 1000,
      .help = "Messages to one customer that may follow each other at once." },
    { .section = "whatsapp",
      .key = "pair_interval_ms",
      .type = CONFIG_NUMBER,
      .fallback = "6000",
      .least = 0,
      .most = 3600000,
      .help = "Then one message to him in this time; 0: no such limit." },
    { .section = "number *",
      .key = "provider",
      .type = CONFIG_CHOICE,
      .fallback = "meta",
      .choices = "meta",
      .help = "Who carries the number's messages." },
    { .section = "number *",
      .key = "waba_id",
      .type = CONFIG_TEXT,
      .fallback = "",
      .help = "The WhatsApp Business account of the number." },
    { .section = "number *",
      .key = "display_phone_number",
      .type = CONFIG_TEXT,
      .fallback = "",
      .help = "The phone number as webhooks name it." },
    { .section = "number *",
      .key = "access_token_file",
      .type = CONFIG_PATH,
      .required = true,
      .help = "Holds the token with which its messages are sent." },
    { .section = "number *",
      .key = "mps",
      .type = CONFIG_NUMBER,
      .fallback = "80",
      .least = 1,
      .most = 10000,
      .help = "Messages a second that WhatsApp grants the number." },
    { .section = "webhook",
      .key = "listen",
      .type = CONFIG_ADDRESS,
      .fallback = "127.0.0.1:8444",
      .help = "Where WhatsApp's webhooks come in, as /webhook." },
    { .section = "webhook",
      .key = "tls_certificate_file",
      .type = CONFIG_PATH,
      .help = "Certificate for HTTPS." },
    { .section = "webhook", .key = "tls_key_file", .type = CONFIG_PATH, .help = "Its key." },
    { .section = "webhook",
      .key = "behind_proxy",
      .type = CONFIG_BOOL,
      .fallback = "no",
      .help = "A proxy in front ends TLS: plain HTTP is then allowed off loopback." },
    { .section = "webhook",
      .key = "connections_per_address_max",
      .type = CONFIG_NUMBER,
      .fallback = "128",
      .least = 1,
      .most = 256,
      .help =
          "Open connections of one address other than 127.0.0.1 and ::1, of 256 in all; no limit behind a "
          "proxy." },
    { .section = "board",
      .key = "listen",
      .type = CONFIG_ADDRESS,
      .fallback = "127.0.0.1:8090",
      .help = "Where head office's page, /status and /metrics are." },
    { .section = "board",
      .key = "tls_certificate_file",
      .type = CONFIG_PATH,
      .help = "Certificate for HTTPS." },
    { .section = "board", .key = "tls_key_file", .type = CONFIG_PATH, .help = "Its key." },
    { .section = "board",
      .key = "behind_proxy",
      .type = CONFIG_BOOL,
      .fallback = "no",
      .help = "A proxy in front ends TLS: plain HTTP is then allowed off loopback." },
    { .section = "board",
      .key = "token_file",
      .type = CONFIG_PATH,
      .help = "Holds the bearer token that /status, /metrics and the page ask for off loopback." },
    { .section = "branch *",
      .key = "numbers",
      .type = CONFIG_TEXT,
      .help =
          "Phone number ids the branch may send from, with commas; the first is its default. Not set: all." },
    { .section = "routing",
      .key = "order",
      .type = CONFIG_TEXT,
      .fallback = "last_served, prefix, default",
      .help = "By which rules, in this order, a customer's message finds its branch." },
    { .section = "routing",
      .key = "prefix_*",
      .type = CONFIG_TEXT,
      .help = "prefix_DIGITS = BRANCH: customers whose number begins so; the longest wins." },
    { .section = "routing", .key = "default", .type = CONFIG_TEXT, .help = "The branch of all others." },
};

#define KEYS (sizeof keys / sizeof *keys)

static const char *text_of(const struct settings *s, const char *section, const char *key)
{
    return config_text(s->config, section, key);
}

static int complain(const struct settings *s, const char *section, const char *key, const char *what,
                    struct config_error *error)
{
    return config_complain(s->config, section, key, what, error);
}

/* --- Listeners --- */

static int read_listen(const struct settings *s, const char *section, bool has_tls,
                       struct settings_listen *out, struct config_error *error)
{
    if (config_address(text_of(s, section, "listen"), out->host, &out->port) != STATUS_OK)
        return complain(s, section, "listen", "is not HOST:PORT, for example 127.0.0.1:8090", error);
    if (!has_tls)
        return STATUS_OK;
    out->certificate_file = text_of(s, section, "tls_certificate_file");
    out->key_file = text_of(s, section, "tls_key_file");
    if (!out->certificate_file != !out->key_file)
        return complain(s, section, out->key_file ? "tls_key_file" : "tls_certificate_file",
                        "tls_certificate_file and tls_key_file go together", error);
    if (!config_is_loopback(out->host) && !out->certificate_file &&
        !config_bool(s->config, section, "behind_proxy"))
        return complain(s, section, "listen",
                        "off loopback needs tls_certificate_file and tls_key_file, or behind_proxy = yes",
                        error);
    return STATUS_OK;
}

/* --- URLs --- */

/* Takes SCHEME://HOST[:PORT] off the front; *rest is what follows. */
static bool url_host(const char *url, const char *scheme, char host[256], const char **rest)
{
    size_t length = strlen(scheme), host_length;
    const char *at;

    if (strncmp(url, scheme, length) != 0)
        return false;
    at = url + length;
    if (*at == '[') {
        host_length = strcspn(++at, "]");
        *rest = at + host_length + (at[host_length] == ']');
    } else {
        host_length = strcspn(at, ":/?#");
        *rest = at + host_length;
    }
    if (host_length == 0 || host_length >= 256)
        return false;
    memcpy(host, at, host_length);
    host[host_length] = '\0';
    if (**rest == ':')
        *rest += 1 + strspn(*rest + 1, "0123456789");
    return **rest == '\0' || **rest == '/';
}

static int read_sync_url(struct settings *s, struct config_error *error)
{
    static char fallback[64];
    const char *rest;

    s->sync_url = text_of(s, "sync", "url");
    if (!s->sync_url) {
        snprintf(fallback, sizeof fallback, "wss://127.0.0.1:%u/sync", s->sync.port);
        s->sync_url = fallback;
    }
    if (!url_host(s->sync_url, "wss://", s->sync_host, &rest) || strcmp(rest, "/sync") != 0)
        return complain(s, "sync", "url", "is not wss://HOST:PORT/sync", error);
    return STATUS_OK;
}

static int read_whatsapp(struct settings *s, struct config_error *error)
{
    char host[256];
    const char *rest;

    s->api_base = text_of(s, "whatsapp", "api_base");
    s->api_version = text_of(s, "whatsapp", "api_version");
    if (!url_host(s->api_base, "https://", host, &rest)) {
        if (!url_host(s->api_base, "http://", host, &rest))
            return complain(s, "whatsapp", "api_base", "is not https://HOST[:PORT]", error);
        if (!config_is_loopback(host))
            return complain(s, "whatsapp", "api_base", "plain http is allowed on loopback only; use https://",
                            error);
    }
    if (s->api_version[0] != 'v' || s->api_version[strspn(s->api_version, "v0123456789.")] != '\0')
        return complain(s, "whatsapp", "api_version", "is not a version such as v25.0", error);
    s->timeout_ms = (uint64_t)config_number(s->config, "whatsapp", "timeout_s") * 1000;
    s->connections = (unsigned)config_number(s->config, "whatsapp", "connections");
    s->pair_burst = (uint32_t)config_number(s->config, "whatsapp", "pair_burst");
    s->pair_interval_us = (uint64_t)config_number(s->config, "whatsapp", "pair_interval_ms") * 1000;
    return STATUS_OK;
}

/* --- Sections with names --- */

static int read_number(struct settings *s, const char *name, struct config_error *error)
{
    struct settings_number *n = &s->numbers[s->number_count];
    char section[64];

    snprintf(section, sizeof section, "number %s", name);
    *n = (struct settings_number){ .id = request_number(slice_text(name)), .text = name };
    if (n->id == 0)
        return complain(s, section, NULL,
                        "the section's name is not a phone number id, which is digits alone", error);
    n->waba_id = text_of(s, section, "waba_id");
    n->display_phone_number = text_of(s, section, "display_phone_number");
    n->token_file = text_of(s, section, "access_token_file");
    n->mps = (uint32_t)config_number(s->config, section, "mps");
    s->number_count++;
    return STATUS_OK;
}

static int read_branch_numbers(struct settings *s, struct settings_branch *b, const char *section,
                               const char *text, struct config_error *error)
{
    if (!(b->numbers = calloc(strlen(text) / 2 + 1, sizeof *b->numbers)))
        return STATUS_NO_MEMORY;
    while (*(text += strspn(text, " \t,"))) {
        size_t length = strcspn(text, " \t,");
        uint64_t id = request_number(slice_of(text, length));

        if (id == 0 || !settings_number(s, id))
            return complain(s, section, "numbers", "names a phone number id that has no section [number ID]",
                            error);
        b->numbers[b->number_count++] = id;
        text += length;
    }
    return STATUS_OK;
}

static int read_branch(struct settings *s, const char *name, struct config_error *error)
{
    struct settings_branch *b = &s->branches[s->branch_count];
    const char *numbers;
    char section[96];

    snprintf(section, sizeof section, "branch %s", name);
    *b = (struct settings_branch){ .id = name };
    s->branch_count++;
    if (!ledger_branch_id_is_good(name))
        return complain(s, section, NULL,
                        "the section's name is not a branch's id: letters, digits, - _ and .", error);
    numbers = text_of(s, section, "numbers");
    return numbers ? read_branch_numbers(s, b, section, numbers, error) : STATUS_OK;
}

static size_t count_sections(const struct settings *s, const char *kind)
{
    size_t count = 0;

    while (config_section_name(s->config, kind, count))
        count++;
    return count;
}

static int read_sections(struct settings *s, struct config_error *error)
{
    size_t numbers = count_sections(s, "number"), branches = count_sections(s, "branch");
    int status = STATUS_OK;

    if (!(s->numbers = calloc(numbers + 1, sizeof *s->numbers)) ||
        !(s->branches = calloc(branches + 1, sizeof *s->branches)))
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < numbers && status == STATUS_OK; i++)
        status = read_number(s, config_section_name(s->config, "number", i), error);
    for (size_t i = 0; i < branches && status == STATUS_OK; i++)
        status = read_branch(s, config_section_name(s->config, "branch", i), error);
    return status;
}

/* --- Routing --- */

static int read_routing(struct settings *s, struct config_error *error)
{
    struct routing_prefix *prefixes;
    const char *ending, *branch;
    size_t count = 0;

    if (routing_parse_order(text_of(s, "routing", "order"), &s->routing) != STATUS_OK)
        return complain(s, "routing", "order",
                        "takes last_served, prefix and default, each once, with commas", error);
    while (config_key_ending(s->config, "routing", "prefix_*", count, &branch))
        count++;
    if (!(prefixes = calloc(count + 1, sizeof *prefixes)))
        return STATUS_NO_MEMORY;
    s->routing.prefixes = prefixes;
    s->routing.prefix_count = count;
    for (size_t i = 0; i < count; i++) {
        ending = config_key_ending(s->config, "routing", "prefix_*", i, &branch);
        if (*ending == '\0' || ending[strspn(ending, "0123456789")] != '\0')
            return complain(s, "routing", NULL,
                            "a prefix_ is followed by the first digits of numbers, as prefix_254", error);
        prefixes[i] = (struct routing_prefix){ .digits = ending, .branch = branch };
    }
    s->routing.default_branch = text_of(s, "routing", "default");
    return STATUS_OK;
}

/* --- Loading --- */

static int read_all(struct settings *s, struct config_error *error)
{
    int status;

    s->state = text_of(s, "gateway", "state");
    s->store_bytes_max = (uint64_t)config_number(s->config, "limits", "store_bytes_max");
    s->reserve_bytes = (uint64_t)config_number(s->config, "limits", "reserve_bytes");
    s->links_max = (unsigned)config_number(s->config, "sync", "links_max");
    s->strangers_per_address_max = (unsigned)config_number(s->config, "sync", "strangers_per_address_max");
    if (!config_bool(s->config, "webhook", "behind_proxy"))
        s->webhooks_per_address_max =
            (unsigned)config_number(s->config, "webhook", "connections_per_address_max");
    if (s->store_bytes_max && s->store_bytes_max < (1 << 20))
        return complain(s, "limits", "store_bytes_max", "is less than 1048576, a ledger's least", error);
    if ((status = read_listen(s, "sync", false, &s->sync, error)) != STATUS_OK ||
        (status = read_listen(s, "webhook", true, &s->webhook, error)) != STATUS_OK ||
        (status = read_listen(s, "board", true, &s->board, error)) != STATUS_OK ||
        (status = read_sync_url(s, error)) != STATUS_OK || (status = read_whatsapp(s, error)) != STATUS_OK ||
        (status = read_sections(s, error)) != STATUS_OK)
        return status;
    return read_routing(s, error);
}

int settings_load(struct settings **out, const char *path, struct config_error *error)
{
    struct settings *s = calloc(1, sizeof *s);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    *error = (struct config_error){ "out of memory" };
    if (!s || (status = config_load(&s->config, path, keys, KEYS, error)) != STATUS_OK ||
        (status = read_all(s, error)) != STATUS_OK) {
        settings_free(s);
        return status;
    }
    *out = s;
    return STATUS_OK;
}

void settings_free(struct settings *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->number_count; i++)
        text_wipe(&s->numbers[i].token);
    for (size_t i = 0; i < s->branch_count; i++)
        free(s->branches[i].numbers);
    free(s->numbers);
    free(s->branches);
    free((void *)s->routing.prefixes);
    text_wipe(&s->app_secret);
    text_wipe(&s->verify_token);
    text_wipe(&s->board_token);
    config_free(s->config);
    free(s);
}

/* --- Secrets --- */

/* Reads one in place of the old. */
static int read_secret(const struct settings *s, const char *section, const char *key, bool required,
                       struct text *secret, struct config_error *error)
{
    const char *path = text_of(s, section, key);
    struct text fresh = { 0 };
    char what[400];
    int status;

    if (!path)
        return required ? complain(s, section, key, "must be set: the file that holds the secret", error)
                        : STATUS_OK;
    status = file_read_secret(path, &fresh);
    if (status == STATUS_OK) {
        text_wipe(secret);
        *secret = fresh;
        return STATUS_OK;
    }
    text_wipe(&fresh);
    snprintf(what, sizeof what, "%.256s %s", path,
             status == STATUS_END       ? "does not exist"
             : status == STATUS_INVALID ? "is empty"
                                        : "cannot be read");
    return complain(s, section, key, what, error);
}

int settings_secrets(struct settings *s, struct config_error *error)
{
    char section[64];
    int status;

    if ((status = read_secret(s, "whatsapp", "app_secret_file", true, &s->app_secret, error)) != STATUS_OK ||
        (status = read_secret(s, "whatsapp", "verify_token_file", true, &s->verify_token, error)) !=
            STATUS_OK ||
        (status = read_secret(s, "board", "token_file", false, &s->board_token, error)) != STATUS_OK)
        return status;
    for (size_t i = 0; i < s->number_count; i++) {
        snprintf(section, sizeof section, "number %s", s->numbers[i].text);
        status = read_secret(s, section, "access_token_file", true, &s->numbers[i].token, error);
        if (status != STATUS_OK)
            return status;
        if (strpbrk(s->numbers[i].token.at, "\r\n"))
            return complain(s, section, "access_token_file", "holds more than one line", error);
    }
    return STATUS_OK;
}

/* --- Questions --- */

const struct settings_number *settings_number(const struct settings *s, uint64_t id)
{
    for (size_t i = 0; i < s->number_count; i++)
        if (s->numbers[i].id == id)
            return &s->numbers[i];
    return NULL;
}

const struct settings_branch *settings_branch(const struct settings *s, const char *id)
{
    for (size_t i = 0; i < s->branch_count; i++)
        if (strcmp(s->branches[i].id, id) == 0)
            return &s->branches[i];
    return NULL;
}

bool settings_branch_has(const struct settings_branch *b, uint64_t number)
{
    if (!b || b->number_count == 0)
        return true;
    for (size_t i = 0; i < b->number_count; i++)
        if (b->numbers[i] == number)
            return true;
    return false;
}

const struct settings_number *settings_branch_default(const struct settings *s,
                                                      const struct settings_branch *b)
{
    if (b && b->number_count)
        return settings_number(s, b->numbers[0]);
    return s->number_count ? &s->numbers[0] : NULL;
}

void settings_describe(struct text *out)
{
    const char *section = "";

    for (size_t i = 0; i < KEYS; i++) {
        if (strcmp(keys[i].section, section) != 0)
            text_printf(out, "\n[%s]\n", section = keys[i].section);
        text_printf(out, "  %s = %s\n      %s\n", keys[i].key, keys[i].fallback ? keys[i].fallback : "",
                    keys[i].help);
    }
}

void settings_reference(struct text *out)
{
    config_reference(keys, KEYS, out);
}
