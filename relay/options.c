/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/kit/certificate.h"
#include "sync/kit/fetch.h"
#include "sync/kit/file.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define LANES "urgent|alert|chat|document|bulk"

static const struct config_key keys[] = {
    { .section = "relay",
      .key = "branch",
      .type = CONFIG_TEXT,
      .required = true,
      .help = "The branch's id, as the gateway knows it." },
    { .section = "relay",
      .key = "branch_number",
      .type = CONFIG_NUMBER,
      .least = 1,
      .most = UINT32_MAX,
      .help =
          "The branch's number, given by `zajel-gateway branch add`; a part of every message id. Without it: "
          "the one in the certificate." },
    { .section = "relay",
      .key = "state",
      .type = CONFIG_PATH,
      .fallback = "/var/lib/zajel-relay",
      .help = "The folder of the store, the epoch keys and the control socket." },
    { .section = "api",
      .key = "listen",
      .type = CONFIG_ADDRESS,
      .fallback = "127.0.0.1:8080",
      .help = "Where the branch's programs find the Cloud API; plain HTTP on loopback." },
    { .section = "api",
      .key = "listen_tls",
      .type = CONFIG_ADDRESS,
      .fallback = "off",
      .help = "A second address, for programs that speak only https." },
    { .section = "api", .key = "tls_certificate_file", .type = CONFIG_PATH, .help = "PEM, with its chain." },
    { .section = "api", .key = "tls_key_file", .type = CONFIG_PATH, .help = "PEM." },
    { .section = "api",
      .key = "behind_proxy",
      .type = CONFIG_BOOL,
      .fallback = "no",
      .help = "A proxy in front does the TLS: plain HTTP off loopback is then allowed." },
    { .section = "api",
      .key = "connections_max",
      .type = CONFIG_NUMBER,
      .fallback = "512",
      .least = 8,
      .most = 10000,
      .help = "Open connections of programs; further ones wait." },
    { .section = "api",
      .key = "connections_per_address_max",
      .type = CONFIG_NUMBER,
      .fallback = "256",
      .least = 1,
      .most = 10000,
      .help = "Of them, from one address other than 127.0.0.1 and ::1; no limit behind a proxy." },
    { .section = "api",
      .key = "webhook_url",
      .type = CONFIG_TEXT,
      .help = "Where statuses and customers' messages go; without it they are kept in the history only." },
    { .section = "api",
      .key = "webhook_secret_file",
      .type = CONFIG_PATH,
      .help = "The HMAC key of X-Hub-Signature-256 in the webhooks we send." },
    { .section = "api",
      .key = "webhook_verify_token_file",
      .type = CONFIG_PATH,
      .help = "The hub.verify_token of the handshake tried at start." },
    { .section = "api",
      .key = "webhook_parallel",
      .type = CONFIG_NUMBER,
      .fallback = "8",
      .least = 1,
      .most = 64,
      .help = "Customers whose webhooks are delivered at the same time; each customer's stay in order." },
    { .section = "desk",
      .key = "listen",
      .type = CONFIG_ADDRESS,
      .fallback = "off",
      .help = "The staff's page." },
    { .section = "desk", .key = "tls_certificate_file", .type = CONFIG_PATH, .help = "PEM, with its chain." },
    { .section = "desk", .key = "tls_key_file", .type = CONFIG_PATH, .help = "PEM." },
    { .section = "desk",
      .key = "behind_proxy",
      .type = CONFIG_BOOL,
      .fallback = "no",
      .help = "As in [api]." },
    { .section = "uplink",
      .key = "url",
      .type = CONFIG_TEXT,
      .help = "The gateway, wss://host:port/sync; without it messages only wait." },
    { .section = "uplink",
      .key = "ca_file",
      .type = CONFIG_PATH,
      .help = "The only CA trusted for the gateway, PEM." },
    { .section = "uplink",
      .key = "certificate_file",
      .type = CONFIG_PATH,
      .help = "The box's certificate, PEM." },
    { .section = "uplink", .key = "key_file", .type = CONFIG_PATH, .help = "Its key, PEM." },
    { .section = "numbers",
      .key = "default",
      .type = CONFIG_TEXT,
      .required = true,
      .help = "The PHONE_NUMBER_ID the branch sends from." },
    { .section = "number *",
      .key = "display_phone_number",
      .type = CONFIG_TEXT,
      .fallback = "",
      .help = "A further PHONE_NUMBER_ID of the branch, or the default one: its number as people write it." },
    { .section = "number *",
      .key = "waba_id",
      .type = CONFIG_TEXT,
      .fallback = "",
      .help = "Its WhatsApp account." },
    { .section = "limits",
      .key = "store_bytes_max",
      .type = CONFIG_NUMBER,
      .fallback = "2147483648",
      .least = 1048576,
      .most = INT64_C(1) << 40,
      .help = "The quota of relay.db." },
    { .section = "limits",
      .key = "reserve_bytes",
      .type = CONFIG_NUMBER,
      .fallback = "16777216",
      .least = 0,
      .most = INT64_C(1) << 32,
      .help = "A file given up when the disk is full, so that what was delivered can still be deleted." },
    { .section = "limits",
      .key = "request_bytes_max",
      .type = CONFIG_NUMBER,
      .fallback = "1048576",
      .least = 1024,
      .most = 2097152,
      .help = "The largest request body." },
    { .section = "limits",
      .key = "token_messages_max",
      .type = CONFIG_NUMBER,
      .fallback = "0",
      .least = 0,
      .most = INT64_MAX,
      .help = "Messages of one token that may wait; 0: as many as the store takes." },
    { .section = "template *",
      .key = "lane",
      .type = CONFIG_CHOICE,
      .choices = LANES,
      .help = "The lane of messages made from this template." },
    { .section = "template *",
      .key = "expires_in",
      .type = CONFIG_NUMBER,
      .least = 1,
      .most = BRANCH_EXPIRES_IN_MAX_S,
      .help = "For how many seconds they are worth sending." },
    { .section = "lane *",
      .key = "hours",
      .type = CONFIG_TEXT,
      .help = "Only for bulk: HH:MM-HH:MM of the local day in which it is sent." },
    { .section = "lane *",
      .key = "expires_in",
      .type = CONFIG_NUMBER,
      .least = 1,
      .most = BRANCH_EXPIRES_IN_MAX_S,
      .help = "The lane's usual deadline in seconds." },
};

const struct config_key *options_keys(size_t *count)
{
    *count = sizeof keys / sizeof *keys;
    return keys;
}

static int read_secret(const struct config *c, const char *key, struct text *out, struct config_error *error)
{
    const char *path = config_text(c, "api", key);
    int status = path ? file_read_secret(path, out) : STATUS_OK;

    if (status == STATUS_OK)
        return status;
    return config_complain(c, "api", key, "this file cannot be read, or holds nothing", error);
}

static int read_address(const struct config *c, const char *key, struct options_address *out,
                        struct config_error *error)
{
    const char *text = config_text(c, "api", key);

    out->is_on = strcmp(text, "off") != 0;
    if (out->is_on && config_address(text, out->host, &out->port) != STATUS_OK)
        return config_complain(c, "api", key, "is not HOST:PORT", error);
    return STATUS_OK;
}

static int read_api(struct options *o, struct config_error *error)
{
    const struct config *c = o->config;
    bool has_tls;
    int status;

    if ((status = read_address(c, "listen", &o->api, error)) != STATUS_OK ||
        (status = read_address(c, "listen_tls", &o->api_tls, error)) != STATUS_OK)
        return status;
    if (!o->api.is_on)
        return config_complain(c, "api", "listen", "cannot be off: the relay is there to be spoken to",
                               error);
    o->api_certificate_file = config_text(c, "api", "tls_certificate_file");
    o->api_key_file = config_text(c, "api", "tls_key_file");
    o->api_behind_proxy = config_bool(c, "api", "behind_proxy");
    has_tls = o->api_certificate_file && o->api_key_file;
    if (!config_is_loopback(o->api.host) && !o->api_behind_proxy) {
        o->api_is_tls = has_tls;
        if (!has_tls)
            return config_complain(
                c, "api", "listen",
                "is off loopback: it needs tls_certificate_file and tls_key_file, or behind_proxy = yes",
                error);
    }
    if (o->api_tls.is_on && !has_tls)
        return config_complain(c, "api", "listen_tls", "needs tls_certificate_file and tls_key_file", error);
    o->connections_max = (unsigned)config_number(c, "api", "connections_max");
    if (!o->api_behind_proxy)
        o->connections_per_address_max = (unsigned)config_number(c, "api", "connections_per_address_max");
    o->webhook_url = config_text(c, "api", "webhook_url");
    o->webhook_parallel = (unsigned)config_number(c, "api", "webhook_parallel");
    if (o->webhook_url && fetch_check_url(o->webhook_url) != STATUS_OK)
        return config_complain(
            c, "api", "webhook_url",
            "is no URL of https://, nor of http:// on loopback, for example http://127.0.0.1:9000/hook",
            error);
    if ((status = read_secret(c, "webhook_secret_file", &o->webhook_secret, error)) != STATUS_OK)
        return status;
    return read_secret(c, "webhook_verify_token_file", &o->webhook_verify_token, error);
}

static int read_desk(struct options *o, struct config_error *error)
{
    const struct config *c = o->config;
    const char *text = config_text(c, "desk", "listen");
    char host[256];
    uint16_t port;

    if (strcmp(text, "off") == 0)
        return STATUS_OK;
    if (config_address(text, host, &port) != STATUS_OK)
        return config_complain(c, "desk", "listen", "is not HOST:PORT", error);
    if (!config_is_loopback(host) && !config_bool(c, "desk", "behind_proxy") &&
        !(config_is_set(c, "desk", "tls_certificate_file") && config_is_set(c, "desk", "tls_key_file")))
        return config_complain(
            c, "desk", "listen",
            "is off loopback: it needs tls_certificate_file and tls_key_file, or behind_proxy = yes", error);
    return STATUS_OK;
}

static int read_uplink(struct options *o, struct config_error *error)
{
    static const char *const files[] = { "ca_file", "certificate_file", "key_file" };
    const struct config *c = o->config;

    o->uplink_url = config_text(c, "uplink", "url");
    o->uplink_ca_file = config_text(c, "uplink", "ca_file");
    o->uplink_certificate_file = config_text(c, "uplink", "certificate_file");
    o->uplink_key_file = config_text(c, "uplink", "key_file");
    if (!o->uplink_url)
        return STATUS_OK;
    if (strncmp(o->uplink_url, "wss://", 6) != 0)
        return config_complain(c, "uplink", "url", "is not wss://host:port/sync", error);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!config_text(c, "uplink", files[i]))
            return config_complain(c, "uplink", files[i],
                                   "is missing: the link needs ca_file, certificate_file and key_file",
                                   error);
    return STATUS_OK;
}

static bool is_number_id(const char *text)
{
    size_t length = strlen(text);

    return length >= 1 && length <= 19 && text[0] != '0' && strspn(text, "0123456789") == length;
}

static int read_numbers(struct options *o, struct config_error *error)
{
    const struct config *c = o->config;
    const char *fallback = config_text(c, "numbers", "default"), *name;
    struct branch_number *numbers;
    size_t count = 0;
    char section[300];

    while (config_section_name(c, "number", count))
        count++;
    if (!(numbers = calloc(count + 1, sizeof *numbers)))
        return STATUS_NO_MEMORY;
    o->rules.numbers = numbers;
    if (!is_number_id(fallback))
        return config_complain(c, "numbers", "default", "is not a PHONE_NUMBER_ID: up to 19 digits", error);
    numbers[0] = (struct branch_number){ .id = fallback, .display = "", .waba = "" };
    o->rules.number_count = 1;
    for (size_t i = 0; (name = config_section_name(c, "number", i)); i++) {
        struct branch_number *number =
            strcmp(name, fallback) == 0 ? &numbers[0] : &numbers[o->rules.number_count++];

        snprintf(section, sizeof section, "number %s", name);
        if (!is_number_id(name))
            return config_complain(c, section, "display_phone_number",
                                   "stands in a section whose name is no PHONE_NUMBER_ID", error);
        *number = (struct branch_number){ .id = name,
                                          .display = config_text(c, section, "display_phone_number"),
                                          .waba = config_text(c, section, "waba_id") };
    }
    return STATUS_OK;
}

static int read_templates(struct options *o, struct config_error *error)
{
    const struct config *c = o->config;
    struct branch_template *templates;
    const char *name, *lane;
    char section[300];
    size_t count = 0;

    (void)error;
    while (config_section_name(c, "template", count))
        count++;
    if (!(templates = calloc(count + 1, sizeof *templates)))
        return STATUS_NO_MEMORY;
    o->rules.templates = templates;
    o->rules.template_count = count;
    for (size_t i = 0; (name = config_section_name(c, "template", i)); i++) {
        enum lane found = LANE_ALERT;

        snprintf(section, sizeof section, "template %s", name);
        lane = config_text(c, section, "lane");
        templates[i] = (struct branch_template){ .name = name, .lane = -1 };
        if (lane && lane_parse(slice_text(lane), &found) == STATUS_OK)
            templates[i].lane = (int)found;
        if (config_is_set(c, section, "expires_in"))
            templates[i].expires_in_s = (uint32_t)config_number(c, section, "expires_in");
    }
    return STATUS_OK;
}

/* "20:00-06:00" */
static bool read_hours(const char *text, struct branch_lane *out)
{
    unsigned from_hour, from_minute, until_hour, until_minute;
    char after;

    if (sscanf(text, "%2u:%2u-%2u:%2u%c", &from_hour, &from_minute, &until_hour, &until_minute, &after) != 4)
        return false;
    if (from_hour > 23 || until_hour > 24 || from_minute > 59 || until_minute > 59 ||
        until_hour * 60 + until_minute > BRANCH_MINUTES)
        return false;
    out->from_minute = (int)(from_hour * 60 + from_minute);
    out->until_minute = (int)(until_hour * 60 + until_minute);
    return out->from_minute != out->until_minute;
}

static int read_lanes(struct options *o, struct config_error *error)
{
    const struct config *c = o->config;
    const char *name, *hours;
    char section[300];

    for (int lane = 0; lane < LANE_COUNT; lane++)
        o->rules.lanes[lane].from_minute = -1;
    for (size_t i = 0; (name = config_section_name(c, "lane", i)); i++) {
        enum lane lane = LANE_BULK;

        snprintf(section, sizeof section, "lane %s", name);
        hours = config_text(c, section, "hours");
        if (lane_parse(slice_text(name), &lane) != STATUS_OK)
            return config_complain(
                c, section, hours ? "hours" : "expires_in",
                "stands in a section that names no lane: urgent, alert, chat, document, bulk", error);
        if (hours && lane != LANE_BULK)
            return config_complain(c, section, "hours", "is only for [lane bulk]: nothing else may wait",
                                   error);
        if (hours && !read_hours(hours, &o->rules.lanes[lane]))
            return config_complain(c, section, "hours", "is not HH:MM-HH:MM, for example 20:00-06:00", error);
        if (config_is_set(c, section, "expires_in"))
            o->rules.lanes[lane].expires_in_s = (uint32_t)config_number(c, section, "expires_in");
    }
    return STATUS_OK;
}

/* The number that `branch add` put into the certificate's subject; 0: there is none to be read. */
static uint32_t certified_number(const char *path)
{
    struct certificate_facts facts = { 0 };
    struct text pem = { 0 };
    unsigned long number = 0;
    char *end = NULL;

    if (path && seal_start() == STATUS_OK && file_read(path, FILE_SECRET_BYTES_MAX, &pem) == STATUS_OK &&
        certificate_read(pem.at, &facts) == STATUS_OK)
        number = strtoul(facts.serial_number, &end, 10);
    text_free(&pem);
    return end && *end == 0 && number <= UINT32_MAX ? (uint32_t)number : 0;
}

static int read_identity(struct options *o, struct config_error *error)
{
    const struct config *c = o->config;

    o->branch = config_text(c, "relay", "branch");
    o->state = config_text(c, "relay", "state");
    o->rules.number = config_is_set(c, "relay", "branch_number")
                          ? (uint32_t)config_number(c, "relay", "branch_number")
                          : certified_number(o->uplink_certificate_file);
    if (!o->rules.number)
        return config_complain(
            c, "relay", "branch_number",
            "is missing, and [uplink] certificate_file has none: `zajel-gateway branch show` tells it",
            error);
    return STATUS_OK;
}

static void read_limits(struct options *o)
{
    const struct config *c = o->config;

    o->rules.delivers = o->webhook_url != NULL;
    o->rules.store_bytes_max = (uint64_t)config_number(c, "limits", "store_bytes_max");
    o->rules.token_messages_max = (uint64_t)config_number(c, "limits", "token_messages_max");
    o->reserve_bytes = (uint64_t)config_number(c, "limits", "reserve_bytes");
    o->request_bytes_max = (uint64_t)config_number(c, "limits", "request_bytes_max");
}

int options_load(struct options **out, const char *path, struct config_error *error)
{
    struct options *o = calloc(1, sizeof *o);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!o) {
        snprintf(error->text, sizeof error->text, "out of memory");
        goto fail;
    }
    if ((status = config_load(&o->config, path, keys, sizeof keys / sizeof *keys, error)) != STATUS_OK ||
        (status = read_api(o, error)) != STATUS_OK || (status = read_desk(o, error)) != STATUS_OK ||
        (status = read_uplink(o, error)) != STATUS_OK || (status = read_identity(o, error)) != STATUS_OK ||
        (status = read_numbers(o, error)) != STATUS_OK || (status = read_templates(o, error)) != STATUS_OK ||
        (status = read_lanes(o, error)) != STATUS_OK) {
        if (status == STATUS_NO_MEMORY)
            snprintf(error->text, sizeof error->text, "out of memory");
        goto fail;
    }
    read_limits(o);
    *out = o;
    return STATUS_OK;
fail:
    options_free(o);
    return status;
}

void options_free(struct options *o)
{
    if (!o)
        return;
    text_wipe(&o->webhook_secret);
    text_wipe(&o->webhook_verify_token);
    free((void *)(uintptr_t)o->rules.numbers);
    free((void *)(uintptr_t)o->rules.templates);
    config_free(o->config);
    free(o);
}
