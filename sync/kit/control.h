/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: how a verb on the command line reaches the running daemon (STATE/control.sock, 0600,
 * Unix stream). */
#ifndef ZAJEL_KIT_CONTROL_H
#define ZAJEL_KIT_CONTROL_H

#include "sync/kit/loop.h"
#include "sync/kit/text.h"

#define CONTROL_REQUEST_BYTES_MAX (2u * 1024u * 1024u)

struct control_server;
struct control_call;

/* Handler of one call: argv[0] is the verb, argv[argc] NULL, input what stood on stdin; all borrowed for the
 * call. Answer now or in a later turn. */
typedef void control_handler(void *owner, struct control_call *call, int argc, const char *const *argv,
                             struct slice input);

/* A socket that nobody listens on is replaced. Callers are this user and root. STATUS_BUSY: a daemon listens
 * there. STATUS_CONFLICT: something else has that name. STATUS_TOO_LARGE: the path has over 107 bytes.
 * STATUS_IO */
int control_open(struct control_server **out, struct loop *l, const char *path, control_handler *handler,
                 void *owner);
/* Removes the socket; calls not answered yet are no more. Not from within a handler. NULL is fine. */
void control_close(struct control_server *s);
/* Once for each call, which is then no more, even if its caller has gone meanwhile. exit_code as the program
 * will give it; text goes to stdout when it is 0, else to stderr. Copied. Sent when the turn has ended. */
void control_answer(struct control_call *call, int exit_code, struct slice text);

/* The command line's side: blocking, at most timeout_ms. The answer's text is added to `answer`.
 * STATUS_UNAVAILABLE: no daemon listens there. STATUS_DENIED: not this user's. STATUS_TOO_LARGE: more than
 * CONTROL_REQUEST_BYTES_MAX or 64 arguments. STATUS_IO: no whole answer came in time. */
int control_request(const char *path, int argc, const char *const *argv, struct slice input,
                    unsigned timeout_ms, int *exit_code, struct text *answer);

#endif
