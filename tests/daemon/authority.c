/* SPDX-License-Identifier: Apache-2.0 */
/* A test's own certificate authority: `authority FOLDER NAME...` writes FOLDER/ca.pem, and a server's
 * FOLDER/server.pem and server.key for these DNS names and addresses. Good for a day. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sync/kit/certificate.h"
#include "sync/kit/file.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define DAY_S 86400

static int write_file(const char *folder, const char *name, const struct text *content)
{
    char *path = file_join(folder, name);
    int status = path ? file_write(path, text_slice(content), 0600) : STATUS_NO_MEMORY;

    free(path);
    return status;
}

static int issue(const char *folder, const char *const *names, size_t name_count)
{
    int64_t now_s = (int64_t)time(NULL);
    struct certificate_request ca = {
        .common_name = "Test authority", .is_ca = true, .from_s = now_s - DAY_S, .until_s = now_s + DAY_S
    };
    struct certificate_request server = { .common_name = names[0],
                                          .names = names,
                                          .name_count = name_count,
                                          .is_server = true,
                                          .from_s = now_s - DAY_S,
                                          .until_s = now_s + DAY_S };
    struct text ca_key = { 0 }, ca_pem = { 0 }, key = { 0 }, pem = { 0 };
    int status;

    if ((status = certificate_make_key(&ca_key)) == STATUS_OK &&
        (status = certificate_issue(&ca, ca_key.at, NULL, NULL, &ca_pem)) == STATUS_OK &&
        (status = certificate_make_key(&key)) == STATUS_OK &&
        (status = certificate_issue(&server, key.at, ca_pem.at, ca_key.at, &pem)) == STATUS_OK &&
        (status = write_file(folder, "ca.pem", &ca_pem)) == STATUS_OK &&
        (status = write_file(folder, "server.pem", &pem)) == STATUS_OK)
        status = write_file(folder, "server.key", &key);
    text_wipe(&ca_key);
    text_wipe(&key);
    text_free(&ca_pem);
    text_free(&pem);
    return status;
}

int main(int argc, char **argv)
{
    int status;

    if (argc < 3) {
        fprintf(stderr, "usage: authority FOLDER NAME...\n");
        return 2;
    }
    if ((status = seal_start()) == STATUS_OK)
        status = issue(argv[1], (const char *const *)&argv[2], (size_t)argc - 2);
    if (status == STATUS_OK)
        return 0;
    fprintf(stderr, "authority: %s\n", status_name(status));
    return 1;
}
