/* SPDX-License-Identifier: Apache-2.0 */
/* The one list of outcomes. Zero is success everywhere; everything else says whose fault it is. */
#ifndef ZAJEL_PROTOCOL_STATUS_H
#define ZAJEL_PROTOCOL_STATUS_H

enum status {
    STATUS_OK = 0,
    STATUS_END,            /* Nothing (more) there: the end of a walk, a row that does not exist. */
    STATUS_NO_MEMORY,      /* An allocation failed; nothing was changed. */
    STATUS_INVALID,        /* The caller's or the user's input is wrong. */
    STATUS_TOO_LARGE,      /* A bound was met: the input or the answer does not fit. */
    STATUS_FULL,           /* The store (or a queue) is at its limit; try later. */
    STATUS_NO_SPACE,       /* The file system has no room left. */
    STATUS_IO,             /* The operating system refused a read, a write or a sync. */
    STATUS_CORRUPT,        /* Stored bytes are not what was written. */
    STATUS_BUSY,           /* Somebody else holds it. */
    STATUS_DENIED,         /* Not allowed: wrong token, wrong certificate, wrong key. */
    STATUS_CONFLICT,       /* It exists already, with other content. */
    STATUS_UNAVAILABLE,    /* Not now: no link, no key, not started. */
    STATUS_PEER_MALFORMED, /* The peer's bytes do not follow the protocol. */
    STATUS_PEER_VERSION,   /* The peer speaks no version that we speak. */
    STATUS_PEER_LIMIT,     /* The peer went past a limit it was told. */
    STATUS_COUNT
};

/* A short stable word for logs ("ok", "no_memory", ...). Never NULL. */
const char *status_name(int status);

#endif
