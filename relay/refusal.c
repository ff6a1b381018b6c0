/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/refusal.h"

#include <stdio.h>
#include <string.h>

#include "sync/kit/graph.h"

/* Edges of a number, an account, a flow or a conversation: those that clients in the field call (the five of
 * tests/clients, Chatwoot, Evolution API, pywa), and what the reference names besides. method NULL: any. */
static const struct {
    const char *edge, *method, *what;
} edges[] = {
    { "messages", NULL, "reading the history of messages" }, /* Sending is no refusal and never comes here. */
    { "media", "POST", "uploading media" },
    { "media", NULL, "listing media" },
    { "whatsapp_business_profile", NULL, "the business profile" },
    { "message_templates", NULL, "managing message templates" },
    { "phone_numbers", NULL, "listing phone numbers" },
    { "subscribed_apps", NULL, "subscribing apps to webhooks" },
    { "register", NULL, "registering a phone number" },
    { "deregister", NULL, "deregistering a phone number" },
    { "request_code", NULL, "verifying a phone number" },
    { "verify_code", NULL, "verifying a phone number" },
    { "settings", NULL, "settings of a phone number" },
    { "whatsapp_business_encryption", NULL, "keys of flows" },
    { "whatsapp_commerce_settings", NULL, "commerce settings" },
    { "conversational_automation", NULL, "conversational automation" },
    { "calls", NULL, "calls" },
    { "call_permissions", NULL, "calls" },
    { "block_users", NULL, "blocking users" },
    { "message_qrdls", NULL, "QR codes and short links" },
    { "marketing_messages", NULL, "the marketing messages API" },
    { "groups", NULL, "groups" },
    { "payments", NULL, "looking up payments" },
    { "flows", NULL, "managing flows" },
    { "assets", NULL, "managing flows" },
    { "publish", NULL, "managing flows" },
    { "deprecate", NULL, "managing flows" },
    { "contacts", NULL, "reading contacts" },
    { "conversations", NULL, "reading conversations" },
    { "assigned_users", NULL, "managing the account's users" },
    { "product_catalogs", NULL, "catalogues" },
    { "analytics", NULL, "analytics" },
    { "conversation_analytics", NULL, "analytics" },
    { "pricing_analytics", NULL, "analytics" },
    { "template_analytics", NULL, "analytics" },
    { "uploads", NULL, "resumable uploads" },
};

/* First words of paths that begin with no id. */
static const struct {
    const char *word, *what;
} roots[] = {
    { "conversations", "reading conversations" }, { "message_template_library", "the template library" },
    { "oauth", "access tokens of Meta's" },       { "debug_token", "access tokens of Meta's" },
    { "me", "reading who a token belongs to" },   { "app", "reading the app" },
};

static bool is_digits(struct slice s)
{
    for (size_t i = 0; i < s.length; i++)
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
    return s.length > 0;
}

static const char *explain_root(struct slice word)
{
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
        if (slice_is(word, roots[i].word))
            return roots[i].what;
    return NULL;
}

static const char *explain_object(const char *method)
{
    if (strcmp(method, "DELETE") == 0)
        return "deleting media (or whatever else this id names)";
    if (strcmp(method, "POST") == 0)
        return "changing a phone number, its PIN, a template or whatever else this id names";
    return "reading media, a phone number, a template or whatever else this id names";
}

static const char *explain_edge(struct slice edge, const char *method)
{
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        if (slice_is(edge, edges[i].edge) && (!edges[i].method || strcmp(method, edges[i].method) == 0))
            return edges[i].what;
    return NULL;
}

bool refusal_explain(const char *method, const char *path, char *details, size_t room)
{
    struct slice id, edge, rest;
    const char *what;

    graph_path_parts(path, &id, &edge, &rest);
    if (!is_digits(id))
        what = explain_root(id);
    else if (edge.length)
        what = explain_edge(edge, method);
    else
        what = rest.length ? NULL : explain_object(method);
    if (!what)
        return false;
    snprintf(details, room,
             "Not supported by the relay yet: %s. It takes POST [/vN.N]/PHONE_NUMBER_ID/messages.", what);
    return true;
}
