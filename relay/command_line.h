/* SPDX-License-Identifier: Apache-2.0 */
/* zajel-relay [--config FILE] VERB [ARGS] */
#ifndef ZAJEL_RELAY_COMMAND_LINE_H
#define ZAJEL_RELAY_COMMAND_LINE_H

/* Exit codes: 0 done, 1 failed, 2 usage or configuration. */
int command_line_run(int argc, char **argv);

#endif
