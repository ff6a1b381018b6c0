/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sandbox/sandbox_settings.h"

#include <stdio.h>
#include <string.h>

#include "sync/kit/file.h"
#include "sync/protocol/status.h"

#define DELAY_MS_MAX 3600000

static const struct config_key keys[] = {
    { .section = "sandbox",
      .key = "listen",
      .type = CONFIG_ADDRESS,
      .fallback = "127.0.0.1:8088",
      .help = "Where the Cloud API, the phone page and the test controls are; keep it on loopback." },
    { .section = "sandbox",
      .key = "access_token_file",
      .type = CONFIG_PATH,
      .help = "The bearer token that senders must show; without it any token will do." },
    { .section = "sandbox",
      .key = "app_secret_file",
      .type = CONFIG_PATH,
      .required = true,
      .help = "The key that webhooks are signed with." },
    { .section = "sandbox",
      .key = "verify_token_file",
      .type = CONFIG_PATH,
      .help = "What the GET handshake with webhook_url says; without it there is no handshake." },
    { .section = "sandbox",
      .key = "webhook_url",
      .type = CONFIG_TEXT,
      .help = "Where webhooks go: the gateway's /webhook. Without it none are sent." },
    { .section = "sandbox",
      .key = "waba_id",
      .type = CONFIG_TEXT,
      .fallback = "102310231023",
      .help = "The business account that webhooks name." },
    { .section = "sandbox",
      .key = "statuses",
      .type = CONFIG_BOOL,
      .fallback = "yes",
      .help = "Whether sent, delivered and read follow a message." },
    { .section = "sandbox",
      .key = "sent_ms",
      .type = CONFIG_NUMBER,
      .fallback = "150",
      .most = DELAY_MS_MAX,
      .help = "How long after a message its status sent follows." },
    { .section = "sandbox",
      .key = "delivered_ms",
      .type = CONFIG_NUMBER,
      .fallback = "350",
      .most = DELAY_MS_MAX,
      .help = "How long after sent the status delivered follows." },
    { .section = "sandbox",
      .key = "read_ms",
      .type = CONFIG_NUMBER,
      .fallback = "1500",
      .most = DELAY_MS_MAX,
      .help = "How long after delivered the status read follows." },
    { .section = "sandbox",
      .key = "messages_max",
      .type = CONFIG_NUMBER,
      .fallback = "200000",
      .least = 1,
      .most = 10000000,
      .help = "Messages kept in memory; then the oldest are forgotten." },
    { .section = "sandbox",
      .key = "bytes_max",
      .type = CONFIG_NUMBER,
      .fallback = "536870912",
      .least = 1048576,
      .most = INT64_C(1) << 40,
      .help = "Bytes of their bodies kept in memory." },
    { .section = "sandbox",
      .key = "webhooks_max",
      .type = CONFIG_NUMBER,
      .fallback = "200000",
      .least = 1,
      .most = 10000000,
      .help = "Webhooks that may wait for webhook_url; more are dropped and counted." },
    { .section = "sandbox",
      .key = "record_file",
      .type = CONFIG_PATH,
      .help = "Every message taken is appended here before it is answered, and read at start; for tests." },
    { .section = "number *",
      .key = "display_phone_number",
      .type = CONFIG_TEXT,
      .required = true,
      .help = "The business number behind this phone number id." },
    { .section = "link",
      .key = "listen",
      .type = CONFIG_ADDRESS,
      .fallback = "off",
      .help = "Where the link switch takes connections: the port that the relay is told." },
    { .section = "link",
      .key = "target",
      .type = CONFIG_ADDRESS,
      .fallback = "off",
      .help = "Where the link switch leads: the gateway's [sync] listen." },
    { .section = "hook",
      .key = "listen",
      .type = CONFIG_ADDRESS,
      .fallback = "off",
      .help = "Where the sample branch program takes the relay's webhooks." },
    { .section = "hook",
      .key = "secret_file",
      .type = CONFIG_PATH,
      .help = "The key that those webhooks are signed with; needed with listen." },
    { .section = "hook",
      .key = "verify_token_file",
      .type = CONFIG_PATH,
      .help = "What the relay's GET handshake must say; without it any token will do." },
    { .section = "hook",
      .key = "record_file",
      .type = CONFIG_PATH,
      .help =
          "Every webhook that came is appended here before it is answered, and read at start; for tests." },
    { .section = "hook",
      .key = "keep",
      .type = CONFIG_NUMBER,
      .fallback = "20000",
      .least = 50,
      .most = 10000000,
      .help = "Webhooks kept in memory; the page shows the last 50." },
};

static int read_address(struct sandbox_settings *s, const char *section, const char *key,
                        struct sandbox_address *out, struct config_error *error)
{
    const char *text = config_text(s->config, section, key);

    if (!text || strcmp(text, "off") == 0)
        return STATUS_OK;
    out->on = true;
    if (config_address(text, out->host, &out->port) != STATUS_OK)
        return config_complain(s->config, section, key, "it must be HOST:PORT", error);
    return STATUS_OK;
}

static int read_secret(struct sandbox_settings *s, const char *section, const char *key, struct text *out,
                       struct config_error *error)
{
    const char *path = config_text(s->config, section, key);

    if (!path || file_read_secret(path, out) == STATUS_OK)
        return STATUS_OK;
    return config_complain(s->config, section, key,
                           "the file cannot be read or is empty; it must hold one line with the secret",
                           error);
}

static int read_numbers(struct sandbox_settings *s, struct config_error *error)
{
    const char *id;

    while ((id = config_section_name(s->config, "number", s->number_count))) {
        struct sandbox_number *number = &s->numbers[s->number_count];
        char section[64];

        (void)snprintf(section, sizeof section, "number %s", id);
        if (s->number_count == SANDBOX_NUMBERS_MAX)
            return config_complain(s->config, section, "display_phone_number", "there are at most 64 numbers",
                                   error);
        if (!id[0] || id[strspn(id, "0123456789")] || strlen(id) > 24)
            return config_complain(s->config, section, "display_phone_number",
                                   "the section's name must be a phone number id, 1 to 24 digits", error);
        number->id = id;
        number->display = config_text(s->config, section, "display_phone_number");
        s->number_count++;
    }
    if (!s->number_count)
        return config_complain(s->config, "sandbox", "listen",
                               "there is no [number ID] section; at least one is needed", error);
    return STATUS_OK;
}

static int read_all(struct sandbox_settings *s, struct config_error *error)
{
    int status;

    if ((status = read_address(s, "sandbox", "listen", &s->listen, error)) != STATUS_OK ||
        (status = read_address(s, "link", "listen", &s->link, error)) != STATUS_OK ||
        (status = read_address(s, "link", "target", &s->link_target, error)) != STATUS_OK ||
        (status = read_address(s, "hook", "listen", &s->hook, error)) != STATUS_OK ||
        (status = read_secret(s, "sandbox", "access_token_file", &s->access_token, error)) != STATUS_OK ||
        (status = read_secret(s, "sandbox", "app_secret_file", &s->app_secret, error)) != STATUS_OK ||
        (status = read_secret(s, "sandbox", "verify_token_file", &s->verify_token, error)) != STATUS_OK ||
        (status = read_secret(s, "hook", "secret_file", &s->hook_secret, error)) != STATUS_OK ||
        (status = read_secret(s, "hook", "verify_token_file", &s->hook_verify_token, error)) != STATUS_OK ||
        (status = read_numbers(s, error)) != STATUS_OK)
        return status;
    if (s->link.on && !s->link_target.on)
        return config_complain(s->config, "link", "target", "missing; with listen it must be HOST:PORT",
                               error);
    if (s->hook.on && !s->hook_secret.length)
        return config_complain(s->config, "hook", "secret_file", "missing; with listen it must name a file",
                               error);
    s->webhook_url = config_text(s->config, "sandbox", "webhook_url");
    s->waba_id = config_text(s->config, "sandbox", "waba_id");
    s->record_file = config_text(s->config, "sandbox", "record_file");
    s->hook_record_file = config_text(s->config, "hook", "record_file");
    s->statuses = config_bool(s->config, "sandbox", "statuses");
    s->sent_ms = (uint64_t)config_number(s->config, "sandbox", "sent_ms");
    s->delivered_ms = (uint64_t)config_number(s->config, "sandbox", "delivered_ms");
    s->read_ms = (uint64_t)config_number(s->config, "sandbox", "read_ms");
    s->messages_max = (size_t)config_number(s->config, "sandbox", "messages_max");
    s->bytes_max = (size_t)config_number(s->config, "sandbox", "bytes_max");
    s->webhooks_max = (size_t)config_number(s->config, "sandbox", "webhooks_max");
    s->hook_keep = (size_t)config_number(s->config, "hook", "keep");
    return STATUS_OK;
}

int sandbox_settings_load(struct sandbox_settings *s, const char *path, struct config_error *error)
{
    int status;

    memset(s, 0, sizeof *s);
    status = config_load(&s->config, path, keys, sizeof keys / sizeof *keys, error);
    return status == STATUS_OK ? read_all(s, error) : status;
}

void sandbox_settings_free(struct sandbox_settings *s)
{
    text_wipe(&s->access_token);
    text_wipe(&s->app_secret);
    text_wipe(&s->verify_token);
    text_wipe(&s->hook_secret);
    text_wipe(&s->hook_verify_token);
    config_free(s->config);
    s->config = NULL;
}

const struct sandbox_number *sandbox_settings_number(const struct sandbox_settings *s, struct slice id)
{
    for (size_t i = 0; i < s->number_count; i++)
        if (slice_is(id, s->numbers[i].id))
            return &s->numbers[i];
    return NULL;
}

void sandbox_settings_help(struct text *out)
{
    const char *section = "";

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(section, keys[i].section) != 0)
            text_printf(out, "\n[%s]\n", keys[i].section);
        section = keys[i].section;
        text_printf(out, "  %-22s %s", keys[i].key, keys[i].help);
        if (keys[i].fallback)
            text_printf(out, " Default: %s.", keys[i].fallback);
        text_puts(out, keys[i].required ? " Required.\n" : "\n");
    }
}

void sandbox_settings_reference(struct text *out)
{
    config_reference(keys, sizeof keys / sizeof *keys, out);
}
