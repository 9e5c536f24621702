/* SPDX-License-Identifier: Apache-2.0 */
/* help — --help, from the tables of commands and options, in 80 columns.
 * Layer: fs/cli. */
#pragma once

#include <stdio.h>

#include "fs/cli/command.h"

#define HELP_WIDTH 80

void help_program(FILE *f);
void help_command(FILE *f, const struct command *c);
