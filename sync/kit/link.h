/* SPDX-License-Identifier: Apache-2.0 */
/* Links: WebSockets that carry whole binary messages, subprotocol zajel.1, over TLS with client certificates.
 * A server takes them at /sync alone; every other request there is answered 404. */
#ifndef ZAJEL_KIT_LINK_H
#define ZAJEL_KIT_LINK_H

#include "sync/kit/loop.h"
#include "sync/protocol/bytes.h"

#define LINK_SUBPROTOCOL "zajel.1"

struct link;

struct link_events {
    /* Server only, before the upgrade: peer is the client certificate's common name, fingerprint its SHA-256.
     * Return the owner of the new link, or NULL to refuse. */
    void *(*admit)(void *server_owner, const char *peer, const uint8_t fingerprint[32],
                   int64_t certificate_until_s);
    void (*up)(void *owner, struct link *link);
    /* One whole message; borrowed for the call. */
    void (*message)(void *owner, struct link *link, struct slice bytes);
    /* Never called from within link_connect() or link_close(). The link is gone, or never came up; called
     * exactly once per link_connect() or admitted link, after which the handle is no more. close_code: the
     * peer's WebSocket close code, 0 when it gave none. */
    void (*down)(void *owner, struct link *link, uint16_t close_code, const char *why);
};

struct link_server_options {
    const char *host; /* A numeric address; 0.0.0.0 and :: are every one. */
    uint16_t port;    /* 0: any */
    const char *certificate_file, *key_file, *client_ca_file;
    size_t message_bytes_max;
    unsigned links_max;
    /* Strangers, who are on their way to a link: 128 may be at a time. When all these places are taken, who
     * has been a stranger longest, and for over two seconds, is hung up on for a newcomer. */
    unsigned strangers_per_address_max; /* As per_address_max in http.h. */
    const struct link_events *events;
    void *owner;
};
struct link_server;
/* Copies the file names; events stay the caller's and must outlive it. STATUS_BUSY: the port is taken.
 * STATUS_INVALID: the host is no address, or the files are no certificate, key and CA. STATUS_IO: the address
 * cannot be listened on. */
int link_server_open(struct link_server **out, struct loop *l, const struct link_server_options *options);
uint16_t link_server_port(const struct link_server *s);
/* The certificate files were replaced: new handshakes use the new ones, links stay. STATUS_INVALID: they are
 * bad. */
int link_server_reload(struct link_server *s);
/* `down` of each of its links runs first, in this call. Not from within an event. NULL is fine. */
void link_server_close(struct link_server *s);

struct link_client_options {
    const char *url;     /* wss://host[:port]/path; the server's certificate is checked against host. */
    const char *ca_file; /* Nothing else is trusted. */
    const char *certificate_file, *key_file; /* NULL both: none is shown. */
    size_t message_bytes_max;
    uint64_t connect_ms_max; /* TCP, TLS and upgrade together; then it counts as down. */
    /* The time (Unix seconds) by which the server's certificates are judged. *is_sure = false: it is at least
     * so late, and whether a certificate is good already is not asked. NULL: the machine's clock. */
    int64_t (*time_s)(void *owner, bool *is_sure);
    const struct link_events *events;
    void *owner;
};
/* A client holds the TLS identity and what resumption needs; each link_connect() makes one link with it. */
struct link_client;
/* Reads the files now and keeps their bytes; events must outlive it. STATUS_INVALID: the url, or what is in a
 * file. STATUS_END: a file is missing. */
int link_client_open(struct link_client **out, struct loop *l, const struct link_client_options *options);
/* Fails at once, or `down` or `up` follows. Names are resolved off the loop. */
int link_connect(struct link_client *c, struct link **out);
/* As link_server_close(); link_connect() from its `down` gives STATUS_UNAVAILABLE. */
void link_client_close(struct link_client *c);

/* Queues one message (copied), also from within `up` and `message`. STATUS_FULL: four messages of the largest
 * size wait already, counting some 50 bytes besides for each. STATUS_TOO_LARGE: larger than
 * message_bytes_max. STATUS_UNAVAILABLE: not up, or being closed. */
int link_send(struct link *link, struct slice bytes);
size_t link_queued_bytes(const struct link *link); /* Not yet given to the kernel. */
/* Closes with a WebSocket code (0: 1000) and a reason of at most 123 bytes, after what is queued; at the
 * latest after two seconds `down` follows, from the loop. No more messages come. May be called from the
 * events; again does nothing. */
void link_close(struct link *link, uint16_t code, const char *reason);
void link_set_owner(struct link *link, void *owner);
void link_pause(struct link *link, bool paused); /* Stops reading, so that the peer waits. */

#endif
