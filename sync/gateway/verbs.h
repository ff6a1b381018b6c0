/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of zajel-gateway's command line. */
#ifndef ZAJEL_GATEWAY_VERBS_H
#define ZAJEL_GATEWAY_VERBS_H

/* argv after the program's name. Returns the exit status: 0 done, 1 failed, 2 usage or configuration. */
int verbs_run(int argc, const char *const *argv);

#endif
