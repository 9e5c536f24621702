/* SPDX-License-Identifier: Apache-2.0 */
/* wasmocifs: what is to be done is the first word; as mount.wasmocifs, mount(8)
 * has called; as the archive helper, the program has started itself. */
#include <stdio.h>
#include <string.h>

#include "fs/archive_helper.h"
#include "fs/cli/command.h"
#include "fs/cli/config.h"
#include "fs/cli/help.h"
#include "fs/cli/process.h"
#include "fs/cli/suggest.h"
#include "fs/cli/worker.h"

/* A full disk behind stdout is a failure too. */
static int finish(int status)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		return complain(CLI_FAILED, "cannot write to standard output");
	return status;
}

static int unknown_command(const char *name)
{
	size_t n;
	const struct command *table = commands(&n);
	struct suggest best;
	suggest_init(&best, name);
	/* As umount(8) is spelt: "mount" is as near. */
	if (strcmp(name, "umount") == 0)
		suggest_add(&best, "unmount");
	suggest_add(&best, "help");
	for (size_t i = 0; i < n; i++)
		suggest_add(&best, table[i].name);
	if (suggest_found(&best) != NULL)
		return complain(CLI_USAGE, "unknown command '%s'; did you mean '%s'?", name,
				suggest_found(&best));
	return complain(CLI_USAGE, "unknown command '%s'; see 'wasmocifs --help'", name);
}

/* As mount.fuse3(8) calls it for the type fuse.wasmocifs, which mountinfo has. */
static int unknown_source(const char *source, const char *mountpoint)
{
	return complain(CLI_USAGE,
			"unknown command '%s'; to mount it: wasmocifs mount %s %s (its type in "
			"fstab, and for mount -t, is wasmocifs)",
			source, source, mountpoint);
}

static int run_command(const struct command *c, int argc, char **argv)
{
	struct cli_args args;
	struct err err;
	cli_args_init(&args);
	int status;
	int rc = options_parse(c->id, argc, argv, &args, &err);
	if (rc == 0 && !args.help && options_have(c->id, OPTION_CONFIG))
		rc = config_apply(&args, &err);
	if (rc < 0) {
		status = complain(CLI_USAGE, "%s: %s", c->name, err.text);
	} else if (args.help) {
		help_command(stdout, c);
		status = CLI_DONE;
	} else {
		status = c->run(&args);
	}
	cli_args_release(&args);
	return finish(status);
}

/* Not in the list: a mount starts it by itself. */
static const struct command serve = {.name = "serve", .id = CLI_SERVE, .run = worker_main};

static int help(int argc, char **argv)
{
	if (argc > 2)
		return complain(CLI_USAGE, "help takes one command");
	const struct command *c = argc == 2 ? command_find(argv[1]) : NULL;
	if (argc == 2 && c == NULL)
		return unknown_command(argv[1]);
	if (c != NULL)
		help_command(stdout, c);
	else
		help_program(stdout);
	return finish(CLI_DONE);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

int main(int argc, char **argv)
{
	if (archive_helper_called(argc, argv))
		archive_helper_main(argc, argv);
	process_open_standard();
	if (argc > 0 && strcmp(base_name(argv[0]), "mount.wasmocifs") == 0)
		return helper_main(argc, argv);
	if (argc < 2)
		return complain(CLI_USAGE, "say what to do: mount, unmount, status, pull or why; "
					   "see 'wasmocifs --help'");
	const char *word = argv[1];
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
		return help(argc - 1, argv + 1);
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
		puts("wasmocifs " WASMOCIFS_VERSION);
		return finish(CLI_DONE);
	}
	if (word[0] == '-')
		return complain(CLI_USAGE, "unknown option %s; see 'wasmocifs --help'", word);
	if (strcmp(word, "serve") == 0)
		return run_command(&serve, argc - 1, argv + 1);
	const struct command *c = command_find(word);
	if (c != NULL)
		return run_command(c, argc - 1, argv + 1);
	return argc > 2 && strpbrk(word, ".:/") != NULL ? unknown_source(word, argv[2])
							: unknown_command(word);
}
