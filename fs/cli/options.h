/* SPDX-License-Identifier: Apache-2.0 */
/* options — what may stand on the command line, in one table. Layer: fs/cli.
 *
 * The table drives the parser (getopt_long), "-o key=value,…", and --help; the
 * tests and the man page are held against it. Each option says which commands
 * take it, what kind of value it has and where in struct cli_args that goes.
 *
 * A flag may be taken back: --offline=false, -o offline=false.
 *
 * -o takes every option of `mount` by its long name ('_' does for '-', as in
 * allow_other), and the words that mount(8) and fstab(5) hand to any file
 * system (ro, nofail, x-…), which mean nothing here. "\," is a comma inside a
 * value.
 *
 * Paths are made absolute here, against the working directory of whoever typed
 * them. Errors are -EINVAL with one line for the user.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/names.h"

/* What a command line may be; several form a mask. */
#define CLI_MOUNT   (1u << 0)
#define CLI_UNMOUNT (1u << 1)
#define CLI_STATUS  (1u << 2)
#define CLI_WHY     (1u << 4)
#define CLI_HELPER  (1u << 3) /* mount.wasmocifs, as mount(8) calls it */
#define CLI_SERVE   (1u << 5) /* what a mount starts by itself (fs/cli/worker.h) */
#define CLI_UPGRADE (1u << 6)
#define CLI_ABORT   (1u << 7)
#define CLI_CACHE   (1u << 8)
#define CLI_REFRESH (1u << 9)
#define CLI_PULL    (1u << 10)

enum cli_verify { CLI_VERIFY_ALWAYS, CLI_VERIFY_STREAM };

struct cli_args {
	/* owned; absolute; NULL: not given */
	char *config, *cache, *auth_file, *ca_file, *hosts_dir, *package_config, *metrics_file;
	struct names allow_hosts;                    /* HOST[:PORT], as they were written */
	uint64_t cache_size;                         /* bytes; 0: not given */
	int64_t tag_ttl_ms, list_ttl_ms, timeout_ms; /* 0: not given */
	int ready_fd, keeper_fd;                     /* -1: none */
	unsigned log_level, log_format;              /* of fs/log.h */
	int64_t uid, gid, umask;                     /* -1: not given */
	unsigned verify;                             /* enum cli_verify */
	unsigned command;                            /* CLI_…, whose words these are; 0: any */
	bool foreground, offline, all, allow_other, no_passthrough, no_resend, noexec;
	bool believed; /* files were looked at when somebody typed them */
	bool lazy, json, metrics;
	bool dry_run, pin, unpin;
	uint64_t keep;         /* bytes; 0: not given */
	int64_t older_than_ms; /* 0: not given */
	char *from, *platform; /* owned; as they were written; NULL: not given */
	bool fake, sloppy;     /* of mount(8) */
	bool help;
	uint64_t given;  /* the entries of the table that the command line has set, by their bits */
	char **operands; /* borrowed from argv */
	int n_operands;
};

enum option_kind {
	OPTION_FLAG,         /* bool */
	OPTION_DIRECTORY,    /* char *: absolute; need not exist */
	OPTION_TREE,         /* char *: absolute; a directory that can be looked into */
	OPTION_FILE,         /* char *: absolute; a readable regular file */
	OPTION_CERTIFICATES, /* the same, with certificates in PEM */
	OPTION_CONFIG,       /* char *: absolute; a file that fs/cli/config.h looks at */
	OPTION_OUTPUT,       /* char *: absolute; a file that will be written */
	OPTION_SIZE,         /* uint64_t, bytes */
	OPTION_DURATION,     /* int64_t, milliseconds */
	OPTION_CHOICE,       /* unsigned: index into choices */
	OPTION_USER,         /* int64_t: its number, however it is written */
	OPTION_GROUP,        /* the same */
	OPTION_UMASK,        /* int64_t, written in octal */
	OPTION_FD,           /* int: a file descriptor that is open for writing */
	OPTION_TEXT,         /* char *: as it was written, and not empty */
	OPTION_HOSTS,        /* struct names: HOST[:PORT], each time one more */
	OPTION_WORDS,        /* -o */
	OPTION_IGNORED,      /* taken and dropped */
};

struct option_spec {
	const char *name;  /* long, without dashes; NULL: short only */
	char letter;       /* 0: long only */
	const char *arg;   /* what its value is called; NULL: takes none */
	const char *group; /* heading in --help; NULL: not shown */
	const char *help;
	enum option_kind kind;
	unsigned commands;
	size_t offset;              /* in struct cli_args */
	int64_t least;              /* OPTION_SIZE, OPTION_DURATION */
	const char *const *choices; /* OPTION_CHOICE; NULL-terminated */
};

const struct option_spec *options_table(size_t *ret_n);
/* Whether -o takes it. */
bool options_in_words(const struct option_spec *o);
/* Whether a command has one of that kind: one that has OPTION_CONFIG reads such a file. */
bool options_have(unsigned command, enum option_kind kind);
/* Whether a configuration file takes it (fs/cli/config.h). */
bool options_in_file(const struct option_spec *o);

void cli_args_init(struct cli_args *args);
void cli_args_release(struct cli_args *args);
/* argv[0] is skipped; operands may stand between options, and argv is permuted. */
NODISCARD int options_parse(unsigned command, int argc, char **argv, struct cli_args *args,
			    struct err *err);
/* Adds the words that make options_parse of `command` set the same again, for the options that
 * it takes. -ENOMEM, -ENAMETOOLONG. */
NODISCARD int options_words(unsigned command, const struct cli_args *args, struct names *ret);
/* The value of -o. */
NODISCARD int options_parse_words(const char *words, struct cli_args *args, struct err *err);
/* A line of a configuration file: nothing changes where the command line has said it. `seen` is 0
 * at the file's start. */
NODISCARD int options_set(const char *key, const char *value, uint64_t *seen, struct cli_args *args,
			  struct err *err);
/* Whether the command line has set that field. */
bool options_given(const struct cli_args *args, size_t offset);
