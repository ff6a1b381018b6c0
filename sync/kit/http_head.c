/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/http_head.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

void http_head_take(struct http_head *h, const char *name, const char *value)
{
    if (strcasecmp(name, "Host") == 0 && ++h->hosts > 1) {
        h->malformed = "more than one Host header";
    } else if (strcasecmp(name, "Content-Length") == 0) {
        if (h->length && strcmp(h->length, value) != 0)
            h->malformed = "two different Content-Length headers";
        h->length = value;
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        if (++h->codings > 1 || strcasecmp(value, "chunked") != 0)
            h->malformed = "a Transfer-Encoding other than chunked";
    }
}

const char *http_head_malformed(const struct http_head *h)
{
    if (h->malformed)
        return h->malformed;
    return h->length && h->codings ? "Content-Length together with Transfer-Encoding" : NULL;
}
