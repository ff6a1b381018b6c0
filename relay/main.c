/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/command_line.h"

int main(int argc, char **argv)
{
    return command_line_run(argc, argv);
}
