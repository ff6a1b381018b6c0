/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/verbs.h"

int main(int argc, char **argv)
{
    return verbs_run(argc - 1, (const char *const *)argv + 1);
}
