/* SPDX-License-Identifier: Apache-2.0 */
/* The PEM texts of who a client of a link is, and whom it trusts. For kit/link.c alone. */
#ifndef ZAJEL_KIT_LINK_IDENTITY_H
#define ZAJEL_KIT_LINK_IDENTITY_H

#include "sync/kit/text.h"

/* Starts as {0}. */
struct link_identity {
    struct text ca, certificate, key;
};

/* certificate_file and key_file NULL: nobody, these stay empty. As file_read(); what was read so far is still
 * to be freed. */
int link_identity_read(struct link_identity *i, const char *ca_file, const char *certificate_file,
                       const char *key_file);
void link_identity_free(struct link_identity *i); /* Wipes the key. */

#endif
