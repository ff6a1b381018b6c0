/* SPDX-License-Identifier: Apache-2.0 */
/* What libmicrohttpd takes in a request's head without a word and a careful server does not: two readers of
 * such a head may see two different requests in it. A missing Host the library refuses by itself, being told
 * to be strict. For kit/http.c alone. */
#ifndef ZAJEL_KIT_HTTP_HEAD_H
#define ZAJEL_KIT_HTTP_HEAD_H

/* Starts as {0}; length is borrowed from the head. */
struct http_head {
    const char *length, *malformed;
    unsigned hosts, codings;
};

void http_head_take(struct http_head *h, const char *name, const char *value);
/* Once all headers were taken: what is wrong, for people; NULL: nothing. */
const char *http_head_malformed(const struct http_head *h);

#endif
