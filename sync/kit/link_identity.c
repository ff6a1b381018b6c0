/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/link_identity.h"

#include "sync/kit/file.h"
#include "sync/protocol/status.h"

#define PEM_BYTES_MAX 65536u /* A chain of ten certificates is a third of it. */

int link_identity_read(struct link_identity *i, const char *ca_file, const char *certificate_file,
                       const char *key_file)
{
    int status = file_read(ca_file, PEM_BYTES_MAX, &i->ca);

    if (status != STATUS_OK || !certificate_file)
        return status;
    if ((status = file_read(certificate_file, PEM_BYTES_MAX, &i->certificate)) != STATUS_OK)
        return status;
    return file_read(key_file, PEM_BYTES_MAX, &i->key);
}

void link_identity_free(struct link_identity *i)
{
    text_free(&i->ca);
    text_free(&i->certificate);
    text_wipe(&i->key);
}
