/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/link.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <libwebsockets.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "sync/kit/crowd.h"
#include "sync/kit/link_identity.h"
#include "sync/kit/link_judge.h"
#include "sync/kit/link_message.h"
#include "sync/kit/link_queue.h"
#include "sync/kit/link_url.h"
#include "sync/kit/listener.h"
#include "sync/kit/resolver.h"
#include "sync/protocol/status.h"

#define LINK_PATH "/sync"
#define LINK_FRAGMENT_BYTES 16370u /* One TLS record less a header; a control frame waits for no more. */
#define LINK_UNSENT_BYTES 16384    /* In the kernel and not sent: what urgent frames can be late by. */
#define LINK_RECEIVE_BYTES 4096u   /* Each connection of a server keeps one such buffer for ever. */
#define LINK_RECORD_BYTES 16384u   /* The most that one TLS record holds. */
#define LINK_QUEUE_MESSAGES 4u     /* Of the largest size; link.h promises it. */
#define LINK_CLOSE_MS_MAX 2000u /* For what is queued and the close frame; a stopping daemon has no more. */
#define LINK_HEADER_IDLE_S 5u   /* A request's head must be whole by then. */
#define LINK_CUTS_MAX 3         /* One for the TLS close, one for TCP's, one to spare. */
#define LINK_STRANGERS_MAX 128u /* Connections that are no links yet; link.h promises it. */
#define LINK_STRANGER_MS_MIN 2000u /* Three round trips of a slow link. */
#define LINK_TICKETS 1u            /* One ticket less to send in each handshake: 700 bytes. */
#define LINK_REASON_BYTES_MAX 123u /* RFC 6455 5.5: of a control frame's 125 bytes two are the code. */

enum link_state {
    LINK_STARTING,   /* A client's, waiting for its first round or for the host's address. */
    LINK_CONNECTING, /* TCP, TLS and upgrade. A server's has no owner before it is admitted. */
    LINK_UP,
    LINK_CLOSING, /* What is queued goes out, then the close frame; or the peer's close is being answered. */
    LINK_GONE,    /* lws has let go of it; `down` is due in the next round. */
};

struct link {
    struct loop *loop;
    struct link_server *server; /* One of the two. */
    struct link_client *client;
    const struct link_events *events;
    void *owner;
    struct link *next, **place; /* In its server's or client's list. */
    struct lws *wsi;            /* NULL when lws has none for it. Its opaque pointer is this link, or NULL. */
    enum link_state state;
    struct loop_timer timer; /* What it is due for follows from the state. */
    uint64_t deadline_ms;
    size_t message_bytes_max;

    struct link_queue queue;
    struct link_message inbound; /* Of which more is to come. */

    struct crowd_member stranger;
    bool is_stranger; /* A server's, and in its crowd. */
    bool admitted;    /* By a server's owner. */
    bool paused;
    bool close_sent;
    uint16_t close_code; /* Ours. */
    char close_reason[LINK_REASON_BYTES_MAX + 1];
    uint16_t peer_code;
    char why[96];
};

struct link_server {
    struct loop *loop;
    struct lws_vhost *vhost;
    struct listener *listener;
    struct link_server_options options;
    char *certificate_file, *key_file, *client_ca_file;
    struct link *links;
    unsigned link_count;
    struct crowd strangers;
};

struct link_client {
    struct loop *loop;
    struct lws_vhost *vhost;
    struct link_client_options options;
    struct link_judge judge;
    struct link_url url;
    struct resolver *resolver;
    struct link *links;
    bool closing;
};

/* The session looks after silence itself, and knows what a byte costs: lws sends no pings. */
static const lws_retry_bo_t link_no_pings = { .secs_since_valid_ping = 0, .secs_since_valid_hangup = 0 };

static int link_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                         size_t length);

static const struct lws_protocols link_server_protocols[] = {
    { .name = LINK_SUBPROTOCOL,
      .callback = link_callback,
      .rx_buffer_size = LINK_RECEIVE_BYTES,
      .tx_packet_size = LINK_RECORD_BYTES },
    { .name = NULL },
};

/* lws 4.1 spins for ever in a client that closes while a TLS record is read in part: it takes records whole.
 */
static const struct lws_protocols link_client_protocols[] = {
    { .name = LINK_SUBPROTOCOL,
      .callback = link_callback,
      .rx_buffer_size = LINK_RECORD_BYTES,
      .tx_packet_size = LINK_RECORD_BYTES },
    { .name = NULL },
};

/* --- A link's life ---------------------------------------------------------------------------- */

static void link_timer_ready(void *owner);

static void link_free(struct link *k)
{
    loop_timer_close(&k->timer);
    link_queue_free(&k->queue);
    link_message_free(&k->inbound);
    free(k);
}

static struct link *link_new(struct loop *l, const struct link_events *events, size_t message_bytes_max)
{
    struct link *k = calloc(1, sizeof *k);

    if (!k)
        return NULL;
    k->loop = l;
    k->events = events;
    k->message_bytes_max = message_bytes_max;
    k->queue.room_before = LWS_PRE;
    k->queue.memory_max = LINK_QUEUE_MESSAGES * message_bytes_max;
    if (loop_timer_open(&k->timer, l, link_timer_ready, k) != STATUS_OK) {
        free(k);
        return NULL;
    }
    return k;
}

static void link_enlist(struct link *k, struct link **list)
{
    k->next = *list;
    k->place = list;
    if (k->next)
        k->next->place = &k->next;
    *list = k;
}

static void link_say_why(struct link *k, const char *why)
{
    if (!k->why[0])
        snprintf(k->why, sizeof k->why, "%s", why);
}

/* lws closes the connection in its own time and no longer knows us. */
static void link_let_go(struct link *k)
{
    if (!k->wsi)
        return;
    lws_set_opaque_user_data(k->wsi, NULL);
    lws_set_timeout(k->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    k->wsi = NULL;
}

static void link_end(struct link *k, const char *why)
{
    if (k->state == LINK_GONE)
        return;
    link_say_why(k, why);
    link_let_go(k);
    k->state = LINK_GONE;
    loop_timer_set(&k->timer, loop_now_ms());
}

static void link_leave_strangers(struct link *k)
{
    if (k->is_stranger)
        crowd_leave(&k->server->strangers, &k->stranger);
    k->is_stranger = false;
}

/* The last act: only from the loop itself, or from the close of its server or client. */
static void link_finish(struct link *k)
{
    assert(k->state == LINK_GONE);
    *k->place = k->next;
    if (k->next)
        k->next->place = k->place;
    link_leave_strangers(k);
    if (k->server && k->admitted)
        k->server->link_count--;
    if (k->client || k->admitted)
        k->events->down(k->owner, k, k->peer_code, k->why);
    link_free(k);
}

/* Not from within an event. lws's first close may only begin to end TLS; it then waits for the peer, but a
 * vhost is gone at once only when nothing of it is left. */
static void link_cut(struct link *k)
{
    for (int tries = 0; k->wsi && tries < LINK_CUTS_MAX; tries++)
        lws_set_timeout(k->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

static void link_finish_all(struct link **list, const char *why)
{
    while (*list) {
        struct link *k = *list;
        link_say_why(k, why);
        link_cut(k);
        link_end(k, why);
        link_finish(k);
    }
}

static void link_start(struct link *k);

static void link_timer_ready(void *owner)
{
    struct link *k = owner;

    switch (k->state) {
    case LINK_STARTING:
        if (loop_now_ms() >= k->deadline_ms)
            link_end(k, "the host's name was not resolved in time");
        else
            link_start(k);
        break;
    case LINK_CONNECTING:
        resolver_doubt(k->client->resolver);
        link_end(k, "not connected in time");
        break;
    case LINK_UP: break;
    case LINK_CLOSING: link_end(k, "not closed in time"); break;
    case LINK_GONE: link_finish(k); break;
    }
}

static void link_begin_closing(struct link *k, const char *why)
{
    link_say_why(k, why);
    k->state = LINK_CLOSING;
    loop_timer_set(&k->timer, loop_now_ms() + LINK_CLOSE_MS_MAX);
}

void link_close(struct link *k, uint16_t code, const char *reason)
{
    switch (k->state) {
    case LINK_STARTING:
    case LINK_CONNECTING: link_end(k, "closed here"); break;
    case LINK_UP:
        k->close_code = code ? code : LWS_CLOSE_STATUS_NORMAL;
        snprintf(k->close_reason, sizeof k->close_reason, "%s", reason ? reason : "");
        link_begin_closing(k, "closed here");
        lws_callback_on_writable(k->wsi);
        break;
    case LINK_CLOSING:
    case LINK_GONE: break;
    }
}

void link_set_owner(struct link *k, void *owner)
{
    k->owner = owner;
}

void link_pause(struct link *k, bool paused)
{
    k->paused = paused;
    if (k->state == LINK_UP)
        lws_rx_flow_control(k->wsi, !paused);
}

/* --- Sending ---------------------------------------------------------------------------------- */

int link_send(struct link *k, struct slice bytes)
{
    int status;

    if (k->state != LINK_UP)
        return STATUS_UNAVAILABLE;
    if (bytes.length > k->message_bytes_max)
        return STATUS_TOO_LARGE;
    status = link_queue_add(&k->queue, bytes);
    if (status == STATUS_OK)
        lws_callback_on_writable(k->wsi);
    return status;
}

size_t link_queued_bytes(const struct link *k)
{
    return k->queue.bytes;
}

static int link_close_now(struct link *k, uint16_t code, const char *reason)
{
    k->close_sent = true;
    lws_close_reason(k->wsi, (enum lws_close_status)code, (unsigned char *)(uintptr_t)reason, strlen(reason));
    return -1;
}

/* One fragment at a time. lws overwrites the bytes before it, which are sent already. */
static int link_write(struct link *k)
{
    struct link_queue_piece piece;
    int flags;

    if (k->close_sent)
        return 0;
    if (!link_queue_next(&k->queue, LINK_FRAGMENT_BYTES, &piece))
        return k->close_code ? link_close_now(k, k->close_code, k->close_reason) : 0;
    flags = lws_write_ws_flags(LWS_WRITE_BINARY, piece.begins, piece.ends);
    if (lws_write(k->wsi, piece.at, piece.length, (enum lws_write_protocol)flags) < (int)piece.length)
        return -1;
    link_queue_take(&k->queue, &piece);
    if (k->queue.first || k->close_code)
        lws_callback_on_writable(k->wsi);
    return 0;
}

/* --- Receiving -------------------------------------------------------------------------------- */

/* Closes at once, before what is queued. Only when lws next lets us write: a receive event that fails makes
 * lws 4.1 write what comes later behind its buffer. */
static void link_refuse(struct link *k, uint16_t code, const char *why)
{
    link_queue_free(&k->queue);
    link_say_why(k, why);
    link_close(k, code, why);
}

/* Between messages a link holds no buffer: thousands are idle at a time. */
static void link_deliver(struct link *k)
{
    struct link_message message = k->inbound;

    k->inbound = (struct link_message){ 0 };
    k->events->message(k->owner, k, slice_of(message.at, message.length));
    link_message_free(&message);
}

static void link_receive(struct link *k, const void *at, size_t length)
{
    bool whole = lws_is_final_fragment(k->wsi);

    if (k->state != LINK_UP)
        return;
    if (!lws_frame_is_binary(k->wsi))
        link_refuse(k, LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE, "not a binary message");
    else if (length > k->message_bytes_max - k->inbound.length)
        link_refuse(k, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE, "message too large");
    else if (whole && !k->inbound.length)
        k->events->message(k->owner, k, slice_of(at, length));
    else if (!link_message_add(&k->inbound, slice_of(at, length), k->message_bytes_max))
        link_refuse(k, LWS_CLOSE_STATUS_UNEXPECTED_CONDITION, "out of memory");
    else if (whole)
        link_deliver(k);
}

static void link_hear_close(struct link *k, const uint8_t *at, size_t length)
{
    if (length >= 2)
        k->peer_code = (uint16_t)(at[0] << 8 | at[1]);
    link_begin_closing(k, "closed by the peer");
}

static void link_tune(struct link *k)
{
    int fd = lws_get_socket_fd(k->wsi), on = 1, unsent = LINK_UNSENT_BYTES;

    /* Both only make it quicker: a kernel without them still carries the link. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
}

static void link_rise(struct link *k)
{
    link_tune(k);
    k->state = LINK_UP;
    loop_timer_set(&k->timer, UINT64_MAX);
    if (k->paused)
        lws_rx_flow_control(k->wsi, 0);
    k->events->up(k->owner, k);
}

/* --- The server's door ------------------------------------------------------------------------ */

static void *link_ask_owner(struct link_server *s, X509 *certificate)
{
    char name[128];
    uint8_t fingerprint[EVP_MAX_MD_SIZE];
    unsigned fingerprint_length = 0;
    struct tm until;

    if (!link_judge_name(certificate, name, sizeof name) ||
        X509_digest(certificate, EVP_sha256(), fingerprint, &fingerprint_length) != 1 ||
        fingerprint_length != 32 || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &until) != 1)
        return NULL;
    return s->options.events->admit(s->options.owner, name, fingerprint, timegm(&until));
}

static bool link_asks_for_us(struct lws *wsi)
{
    char path[sizeof LINK_PATH + 1], protocols[sizeof LINK_SUBPROTOCOL + 1];

    return lws_hdr_copy(wsi, path, sizeof path, WSI_TOKEN_GET_URI) > 0 && strcmp(path, LINK_PATH) == 0 &&
           lws_hdr_copy(wsi, protocols, sizeof protocols, WSI_TOKEN_PROTOCOL) > 0 &&
           strcmp(protocols, LINK_SUBPROTOCOL) == 0;
}

/* Decides on each connection anew: the handshake's own check of the chain is skipped when a TLS session
 * resumes. */
static int link_admit(struct link *k)
{
    struct link_server *s = k->server;
    SSL *tls = lws_get_ssl(k->wsi);
    X509 *certificate;

    if (!link_asks_for_us(k->wsi) || !tls || SSL_get_verify_result(tls) != X509_V_OK ||
        s->link_count >= s->options.links_max)
        return 1;
    certificate = SSL_get1_peer_certificate(tls);
    if (!certificate)
        return 1;
    k->owner = link_ask_owner(s, certificate);
    X509_free(certificate);
    if (!k->owner)
        return 1;
    k->admitted = true;
    link_leave_strangers(k);
    s->link_count++;
    return 0;
}

/* --- What lws tells --------------------------------------------------------------------------- */

/* client NULL: a server's. */
static void link_set_up_tls(SSL_CTX *tls, struct link_client *client)
{
    static const unsigned char context[] = LINK_SUBPROTOCOL;

    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    if (client && client->judge.time_s)
        link_judge_use(tls, &client->judge);
    if (client)
        return;
    SSL_CTX_set_session_id_context(tls, context, sizeof context - 1);
    SSL_CTX_set_num_tickets(tls, LINK_TICKETS);
}

/* Events of one link. The link is looked up again for each: it may have let go of the connection. */
static int link_event(struct link *k, enum lws_callback_reasons reason, void *in, size_t length)
{
    switch ((int)reason) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: return link_admit(k);
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_CLIENT_ESTABLISHED: link_rise(k); return 0;
    case LWS_CALLBACK_RECEIVE:
    case LWS_CALLBACK_CLIENT_RECEIVE: link_receive(k, in, length); return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_CLIENT_WRITEABLE: return link_write(k);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: link_hear_close(k, in, length); return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        if (k->state == LINK_CONNECTING)
            resolver_doubt(k->client->resolver);
        link_say_why(k, in ? in : "not connected");
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        /* The one event that always comes: an error of a connection being made is not always told. */
        k->wsi = NULL;
        link_end(k, k->state == LINK_UP ? "connection lost" : "refused or cut before it was up");
        return 0;
    default: return 0;
    }
}

static bool link_is_event(enum lws_callback_reasons reason)
{
    switch ((int)reason) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
    case LWS_CALLBACK_RECEIVE:
    case LWS_CALLBACK_CLIENT_RECEIVE:
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_CLIENT_WRITEABLE:
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_WSI_DESTROY: return true;
    default: return false;
    }
}

static int link_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                         size_t length)
{
    struct link *k;
    int answer;

    if (link_is_event(reason)) {
        k = lws_get_opaque_user_data(wsi);
        answer = k ? link_event(k, reason, in, length) : -1;
        return reason == LWS_CALLBACK_WSI_DESTROY ? 0 : answer;
    }
    switch ((int)reason) {
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS: link_set_up_tls(user, NULL); return 0;
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_CLIENT_VERIFY_CERTS:
        link_set_up_tls(user, lws_vhost_user(lws_get_vhost(wsi)));
        return 0;
    case LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION: return length ? 0 : 1;
    case LWS_CALLBACK_HTTP: (void)lws_return_http_status(wsi, HTTP_STATUS_NOT_FOUND, NULL); return -1;
    default: return 0;
    }
}

/* --- Server ----------------------------------------------------------------------------------- */

static bool link_has_room(struct link_server *s)
{
    struct crowd_member *m;
    struct link *k;

    if (s->strangers.count < LINK_STRANGERS_MAX)
        return true;
    m = crowd_oldest(&s->strangers, loop_now_ms(), LINK_STRANGER_MS_MIN, NULL);
    if (!m)
        return false;
    k = (struct link *)(void *)((char *)m - offsetof(struct link, stranger));
    link_leave_strangers(k);
    link_end(k, "made room");
    return true;
}

static void link_accepted(void *owner, int fd)
{
    struct link_server *s = owner;
    struct link *k = NULL;
    struct sockaddr_storage from = { 0 };
    socklen_t length = sizeof from;

    if (getpeername(fd, (struct sockaddr *)&from, &length) == 0 &&
        crowd_admits(&s->strangers, (struct sockaddr *)&from) && link_has_room(s))
        k = link_new(s->loop, s->options.events, s->options.message_bytes_max);
    if (!k) {
        close(fd);
        return;
    }
    k->wsi = lws_adopt_socket_vhost(s->vhost, fd); /* On failure it has closed fd. */
    if (!k->wsi) {
        link_free(k);
        return;
    }
    lws_set_opaque_user_data(k->wsi, k);
    k->server = s;
    k->state = LINK_CONNECTING;
    k->is_stranger = true;
    crowd_join(&s->strangers, &k->stranger, (struct sockaddr *)&from, loop_now_ms());
    link_enlist(k, &s->links);
}

static int link_server_prepare(struct link_server *s)
{
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = link_server_protocols,
        .vhost_name = "link-server",
        .ssl_cert_filepath = s->certificate_file,
        .ssl_private_key_filepath = s->key_file,
        .ssl_ca_filepath = s->client_ca_file,
        .alpn = "http/1.1",
        .retry_and_idle_policy = &link_no_pings,
        .timeout_secs_ah_idle = LINK_HEADER_IDLE_S,
        /* A client certificate is asked for, and link_admit() insists on it. */
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
                   LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT |
                   LWS_SERVER_OPTION_PEER_CERT_NOT_REQUIRED,
    };

    s->vhost = lws_create_vhost(loop_context(s->loop), &info);
    return s->vhost ? STATUS_OK : STATUS_INVALID;
}

int link_server_open(struct link_server **out, struct loop *l, const struct link_server_options *options)
{
    struct link_server *s = calloc(1, sizeof *s);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!s)
        return status;
    s->loop = l;
    s->options = *options;
    crowd_init(&s->strangers, options->strangers_per_address_max);
    s->certificate_file = strdup(options->certificate_file);
    s->key_file = strdup(options->key_file);
    s->client_ca_file = strdup(options->client_ca_file);
    if (!s->certificate_file || !s->key_file || !s->client_ca_file)
        goto fail;
    if ((status = link_server_prepare(s)) != STATUS_OK ||
        (status = listener_open(&s->listener, l, options->host, options->port, link_accepted, s)) !=
            STATUS_OK)
        goto fail;
    *out = s;
    return STATUS_OK;
fail:
    link_server_close(s);
    return status;
}

uint16_t link_server_port(const struct link_server *s)
{
    return listener_port(s->listener);
}

int link_server_reload(struct link_server *s)
{
    return lws_tls_cert_updated(loop_context(s->loop), s->certificate_file, s->key_file, NULL, 0, NULL, 0) ==
                   0
               ? STATUS_OK
               : STATUS_INVALID;
}

void link_server_close(struct link_server *s)
{
    if (!s)
        return;
    listener_close(s->listener);
    link_finish_all(&s->links, "closed here");
    if (s->vhost)
        lws_vhost_destroy(s->vhost);
    free(s->certificate_file);
    free(s->key_file);
    free(s->client_ca_file);
    free(s);
}

/* --- Client ----------------------------------------------------------------------------------- */

static void link_connect_to(struct link *k, const char *address)
{
    struct link_client *c = k->client;
    struct lws_client_connect_info info = {
        .context = loop_context(c->loop),
        .vhost = c->vhost,
        .address = address,
        .port = c->url.port,
        .path = c->url.path,
        .host = c->url.host, /* The server's certificate must be for this one. */
        .protocol = LINK_SUBPROTOCOL,
        .local_protocol_name = LINK_SUBPROTOCOL,
        .ssl_connection = LCCSCF_USE_SSL,
        .alpn = "http/1.1",
        .retry_and_idle_policy = &link_no_pings,
        .opaque_user_data = k,
        .ietf_version_or_minus_one = -1,
    };
    struct lws *wsi;

    k->state = LINK_CONNECTING;
    loop_timer_set(&k->timer, k->deadline_ms);
    wsi = lws_client_connect_via_info(&info);
    if (!wsi)
        link_end(k, "no connection could be begun");
    else if (k->state != LINK_GONE)
        k->wsi = wsi;
}

static void link_start(struct link *k)
{
    const char *address;

    switch (resolver_address(k->client->resolver, &address)) {
    case STATUS_OK: link_connect_to(k, address); break;
    case STATUS_BUSY: loop_timer_set(&k->timer, k->deadline_ms); break;
    default: link_end(k, "the host's name could not be looked up"); break;
    }
}

static void link_client_resolved(void *owner, const char *address)
{
    struct link_client *c = owner;

    for (struct link *k = c->links, *next; k; k = next) {
        next = k->next;
        if (k->state != LINK_STARTING)
            continue;
        if (address)
            link_connect_to(k, address);
        else
            link_end(k, "the host's name is not known");
    }
}

/* The identity goes in as bytes: lws shares the TLS state of clients with equal file names, and so would go
 * on with a certificate that has been renewed. */
static int link_client_prepare(struct link_client *c, const struct link_identity *identity)
{
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = link_client_protocols,
        .vhost_name = "link-client",
        .user = c,
        .connect_timeout_secs = (unsigned)(c->options.connect_ms_max / 1000u + 1),
        .alpn = "http/1.1",
        .retry_and_idle_policy = &link_no_pings,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
        .client_ssl_ca_mem = identity->ca.at,
        .client_ssl_ca_mem_len = (unsigned)identity->ca.length,
        .client_ssl_cert_mem = identity->certificate.at,
        .client_ssl_cert_mem_len = (unsigned)identity->certificate.length,
        .client_ssl_key_mem = identity->key.at,
        .client_ssl_key_mem_len = (unsigned)identity->key.length,
    };

    c->vhost = lws_create_vhost(loop_context(c->loop), &info);
    return c->vhost ? STATUS_OK : STATUS_INVALID;
}

int link_client_open(struct link_client **out, struct loop *l, const struct link_client_options *options)
{
    struct link_client *c = calloc(1, sizeof *c);
    struct link_identity identity = { 0 };
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!c)
        return status;
    c->loop = l;
    c->options = *options;
    c->judge = (struct link_judge){ .time_s = options->time_s, .owner = options->owner };
    if ((status = link_url_read(&c->url, options->url)) == STATUS_OK &&
        (status = resolver_open(&c->resolver, l, c->url.host, link_client_resolved, c)) == STATUS_OK &&
        (status = link_identity_read(&identity, options->ca_file, options->certificate_file,
                                     options->key_file)) == STATUS_OK)
        status = link_client_prepare(c, &identity);
    link_identity_free(&identity);
    if (status == STATUS_OK)
        *out = c;
    else
        link_client_close(c);
    return status;
}

int link_connect(struct link_client *c, struct link **out)
{
    struct link *k;

    *out = NULL;
    if (c->closing)
        return STATUS_UNAVAILABLE;
    k = link_new(c->loop, c->options.events, c->options.message_bytes_max);
    if (!k)
        return STATUS_NO_MEMORY;
    k->client = c;
    k->owner = c->options.owner;
    k->deadline_ms = loop_now_ms() + c->options.connect_ms_max;
    link_enlist(k, &c->links);
    /* Begun in the loop: whatever lws calls back at once is then told there too. */
    loop_timer_set(&k->timer, loop_now_ms());
    *out = k;
    return STATUS_OK;
}

void link_client_close(struct link_client *c)
{
    if (!c)
        return;
    c->closing = true;
    link_finish_all(&c->links, "closed here");
    if (c->vhost)
        lws_vhost_destroy(c->vhost);
    resolver_close(c->resolver);
    free(c);
}
