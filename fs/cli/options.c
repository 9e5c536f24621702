/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/command.h"
#include "fs/cli/suggest.h"
#include "fs/cli/values.h"
#include "fs/log.h"

#define AT(field) offsetof(struct cli_args, field)
#define ALL                                                                                        \
	(CLI_MOUNT | CLI_UNMOUNT | CLI_STATUS | CLI_WHY | CLI_UPGRADE | CLI_ABORT | CLI_CACHE |    \
	 CLI_REFRESH | CLI_PULL)
#define OPTIONS_MAX 48
#define LONG_VAL    256 /* what getopt_long returns for table entry 0 */

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};
static const char *const verify_modes[] = {"always", "stream", NULL};
static const char *const log_formats[] = {"text", "json", NULL};

#define MOUNTING "Mounting"
#define CACHE    "Cache"
#define REGISTRY "Registry"
#define PULLING  "Pulling"
#define CHOOSING "Choosing"
#define LOGGING  "Logging"
#define GENERAL  "General"

static const struct option_spec table[] = {
    {"foreground", 'f', NULL, MOUNTING, "stay in the foreground and log to stderr", OPTION_FLAG,
     CLI_MOUNT | CLI_SERVE, AT(foreground), 0, NULL},
    {"ready-fd", 0, "N", MOUNTING, "write one byte to file descriptor N once the mount answers",
     OPTION_FD, CLI_MOUNT, AT(ready_fd), 0, NULL},
    {"allow-other", 0, NULL, MOUNTING,
     "let every user in; they read what the mount's credentials reach", OPTION_FLAG, CLI_MOUNT,
     AT(allow_other), 0, NULL},
    {"uid", 0, "USER", MOUNTING,
     "whose files they are shown to be, with --allow-other (default: who mounts)", OPTION_USER,
     CLI_MOUNT | CLI_SERVE, AT(uid), 0, NULL},
    {"gid", 0, "GROUP", MOUNTING,
     "which group's, with --allow-other (default: the group of who mounts)", OPTION_GROUP,
     CLI_MOUNT | CLI_SERVE, AT(gid), 0, NULL},
    {"umask", 0, "MODE", MOUNTING,
     "what is taken from the modes, in octal: with 027 only user and group read (default: 0)",
     OPTION_UMASK, CLI_MOUNT | CLI_SERVE, AT(umask), 0, NULL},
    {"no-passthrough", 0, NULL, MOUNTING,
     "serve large files through the daemon instead of straight from the cache", OPTION_FLAG,
     CLI_MOUNT, AT(no_passthrough), 0, NULL},
    {"no-resend", 0, NULL, MOUNTING,
     "mount anew if the process that serves dies, as on kernels before Linux 6.9", OPTION_FLAG,
     CLI_MOUNT, AT(no_resend), 0, NULL},
    {NULL, 'o', "KEY[=VALUE],…", MOUNTING,
     "the long options without their dashes, and the words of mount(8)", OPTION_WORDS,
     CLI_MOUNT | CLI_HELPER, 0, 0, NULL},

    {"cache", 0, "DIR", CACHE,
     "where fetched content is kept; one user's (default: /var/cache/wasmocifs for root, else "
     "~/.cache/wasmocifs)",
     OPTION_DIRECTORY, CLI_MOUNT | CLI_SERVE | CLI_CACHE | CLI_PULL, AT(cache), 0, NULL},
    {"cache-size", 0, "SIZE", CACHE,
     "what the cache may hold, as 500M or 8G (default: a quarter of the free space, at most 10G)",
     OPTION_SIZE, CLI_MOUNT | CLI_SERVE | CLI_PULL, AT(cache_size), 1 << 20, NULL},
    {"verify", 0, "WHEN", CACHE,
     "always: nothing is read before all of it matched its digest (default). stream: large blobs "
     "are read as they arrive; WARNING: these bytes are not verified until the whole is here, so "
     "the registry is trusted up to then",
     OPTION_CHOICE, CLI_MOUNT | CLI_SERVE, AT(verify), 0, verify_modes},
    {"offline", 0, NULL, CACHE, "never ask the registry; serve what is cached", OPTION_FLAG,
     CLI_MOUNT | CLI_SERVE, AT(offline), 0, NULL},
    {"tag-ttl", 0, "TIME", CACHE,
     "how long a tag's answer counts, as 500ms, 8s or 5m (default: 30s, at least 1s)",
     OPTION_DURATION, CLI_MOUNT | CLI_SERVE, AT(tag_ttl_ms), 1000, NULL},
    {"list-ttl", 0, "TIME", CACHE, "how long a listing counts (default: 60s, at least 1s)",
     OPTION_DURATION, CLI_MOUNT | CLI_SERVE, AT(list_ttl_ms), 1000, NULL},

    {"auth-file", 0, "FILE", REGISTRY,
     "credentials, as docker login writes them (default: the files of podman and docker)",
     OPTION_FILE, CLI_MOUNT | CLI_SERVE | CLI_PULL, AT(auth_file), 0, NULL},
    {"ca-file", 0, "FILE", REGISTRY, "certificates to trust (PEM) besides the system's",
     OPTION_CERTIFICATES, CLI_MOUNT | CLI_SERVE | CLI_PULL, AT(ca_file), 0, NULL},
    {"hosts-dir", 0, "DIR", REGISTRY,
     "mirrors and certificates of each registry, as hosts.toml in directories (default: "
     "/etc/containerd/certs.d)",
     OPTION_TREE, CLI_MOUNT | CLI_SERVE | CLI_PULL, AT(hosts_dir), 0, NULL},
    {"all", 0, NULL, REGISTRY,
     "let every registry be entered by its name, as MOUNTPOINT/ghcr.io; SOURCEs may be left out",
     OPTION_FLAG, CLI_MOUNT | CLI_SERVE, AT(all), 0, NULL},
    {"allow-host", 0, "HOST[:PORT]", REGISTRY,
     "with --all: this one too, although its address is not a public one; may be repeated "
     "(without PORT: all its ports)",
     OPTION_HOSTS, CLI_MOUNT | CLI_SERVE, AT(allow_hosts), 0, NULL},
    {"package-config", 0, "FILE", REGISTRY,
     "where the Wasm packages of MOUNTPOINT/.packages are, in wkg's words (default: "
     "~/.config/wasm-pkg/config.toml)",
     OPTION_FILE, CLI_MOUNT | CLI_SERVE, AT(package_config), 0, NULL},
    {"timeout", 0, "TIME", REGISTRY,
     "what one file operation may take; a transfer that advances may take longer (default: 60s)",
     OPTION_DURATION, CLI_MOUNT | CLI_SERVE | CLI_PULL, AT(timeout_ms), 100, NULL},

    {"log-level", 0, "LEVEL", LOGGING, "error, warning, info or debug (default: info)",
     OPTION_CHOICE, CLI_MOUNT | CLI_SERVE, AT(log_level), 0, log_levels},
    {"log-format", 0, "FORMAT", LOGGING, "text or json (default: text)", OPTION_CHOICE,
     CLI_MOUNT | CLI_SERVE, AT(log_format), 0, log_formats},
    {"metrics-file", 0, "FILE", LOGGING,
     "keep Prometheus metrics there, written anew every 15 s: NAME.prom in the directory of a node "
     "exporter's textfile collector; each mount has its own",
     OPTION_OUTPUT, CLI_MOUNT | CLI_SERVE, AT(metrics_file), 0, NULL},

    {"platform", 0, "PLATFORM", PULLING,
     "of an index: OS/ARCH[/VARIANT], or all (default: Wasm, else what this machine runs)",
     OPTION_TEXT, CLI_PULL, AT(platform), 0, NULL},
    {"from", 0, "FILE", PULLING,
     "references from a file, one per line, # for comments (-: from standard input)", OPTION_TEXT,
     CLI_PULL, AT(from), 0, NULL},
    {"pin", 0, NULL, PULLING, "keep it, whatever room the cache needs", OPTION_FLAG, CLI_PULL,
     AT(pin), 0, NULL},

    {"keep", 0, "SIZE", CHOOSING, "prune: only as much as it takes to get down to that",
     OPTION_SIZE, CLI_CACHE, AT(keep), 1, NULL},
    {"older-than", 0, "TIME", CHOOSING,
     "prune: only what nobody has used for that long, as 12h or 7d", OPTION_DURATION, CLI_CACHE,
     AT(older_than_ms), 1000, NULL},
    {"unpin", 0, NULL, CHOOSING, "rm: take the pin away, and leave the content to eviction",
     OPTION_FLAG, CLI_CACHE, AT(unpin), 0, NULL},
    {"dry-run", 0, NULL, CHOOSING, "prune, rm, verify: say what would go, and remove nothing",
     OPTION_FLAG, CLI_CACHE, AT(dry_run), 0, NULL},

    {"lazy", 'l', NULL, GENERAL,
     "detach at once; programs that use the mount keep it until they are done", OPTION_FLAG,
     CLI_UNMOUNT, AT(lazy), 0, NULL},
    {"config", 0, "FILE", GENERAL,
     "options for all mounts, pulls and caches; /dev/null: none (default: "
     "/etc/wasmocifs/wasmocifs.conf; a user's own is ~/.config/wasmocifs/wasmocifs.conf)",
     OPTION_CONFIG, CLI_MOUNT | CLI_PULL | CLI_CACHE, AT(config), 0, NULL},
    {"json", 0, NULL, GENERAL, "say it as JSON, for programs", OPTION_FLAG,
     CLI_STATUS | CLI_WHY | CLI_CACHE, AT(json), 0, NULL},
    {"metrics", 0, NULL, GENERAL, "counters and latencies in the text format of Prometheus",
     OPTION_FLAG, CLI_STATUS, AT(metrics), 0, NULL},
    {"help", 'h', NULL, GENERAL, "show this help", OPTION_FLAG, ALL, AT(help), 0, NULL},

    {"keeper-fd", 0, "N", NULL, NULL, OPTION_FD, CLI_SERVE, AT(keeper_fd), 0, NULL},
    {NULL, 'f', NULL, NULL, NULL, OPTION_FLAG, CLI_HELPER, AT(fake), 0, NULL},
    {NULL, 's', NULL, NULL, NULL, OPTION_FLAG, CLI_HELPER, AT(sloppy), 0, NULL},
    {NULL, 'n', NULL, NULL, NULL, OPTION_IGNORED, CLI_HELPER, 0, 0, NULL},
    {NULL, 'v', NULL, NULL, NULL, OPTION_IGNORED, CLI_HELPER, 0, 0, NULL},
    {NULL, 't', "TYPE", NULL, NULL, OPTION_IGNORED, CLI_HELPER, 0, 0, NULL},
};

/* Words of mount(8) and fstab(5) that say nothing to a file system of this
 * kind: it is read-only, nosuid and nodev whatever is asked for. */
static const char *const mount_words[] = {
    "ro",         "rw",         "defaults",   "nosuid",      "suid",
    "nodev",      "dev",        "exec",       "auto",        "noauto",
    "nofail",     "_netdev",    "user",       "nouser",      "users",
    "owner",      "group",      "atime",      "noatime",     "diratime",
    "nodiratime", "relatime",   "norelatime", "strictatime", "nostrictatime",
    "lazytime",   "nolazytime", "async",      "sync",        "dirsync",
    "silent",     "loud",       "mand",       "nomand",      "iversion",
    "noiversion",
};

const struct option_spec *options_table(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(table);
	return table;
}

bool options_in_words(const struct option_spec *o)
{
	return o->name != NULL && (o->commands & CLI_MOUNT) != 0 && o->offset != AT(help);
}

bool options_have(unsigned command, enum option_kind kind)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if ((table[i].commands & command) != 0 && table[i].kind == kind)
			return true;
	}
	return false;
}

/* What is of one call only has no place in a file for all of them. */
bool options_in_file(const struct option_spec *o)
{
	return options_in_words(o) && o->kind != OPTION_FD && o->kind != OPTION_CONFIG &&
	       o->offset != AT(foreground);
}

void cli_args_init(struct cli_args *args)
{
	*args = (struct cli_args){.ready_fd = -1,
				  .keeper_fd = -1,
				  .uid = -1,
				  .gid = -1,
				  .umask = -1,
				  .log_level = LOG_LEVEL_INFO};
}

void cli_args_release(struct cli_args *args)
{
	free(args->config);
	free(args->cache);
	free(args->auth_file);
	free(args->ca_file);
	free(args->hosts_dir);
	free(args->package_config);
	free(args->from);
	free(args->platform);
	free(args->metrics_file);
	names_release(&args->allow_hosts);
	*args = (struct cli_args){.ready_fd = -1, .keeper_fd = -1};
}

_Static_assert(ARRAY_LEN(table) <= 64, "a bit for each");

static uint64_t bit(const struct option_spec *o)
{
	return UINT64_C(1) << (o - table);
}

bool options_given(const struct cli_args *args, size_t offset)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if ((args->given & bit(&table[i])) != 0 && table[i].offset == offset)
			return true;
	}
	return false;
}

/* The name that its user wrote: "--cache" or "-o cache". */
static int store(const struct option_spec *o, const char *written, const char *value,
		 struct cli_args *args, struct err *err)
{
	void *to = (char *)args + o->offset;
	args->given |= bit(o);
	switch (o->kind) {
	case OPTION_FLAG:
		return value_flag(written, value, to, err);
	case OPTION_CONFIG:
		return value_path(written, value, to, err);
	case OPTION_DIRECTORY:
		return value_directory(written, value, to, err);
	case OPTION_TREE:
		return args->believed ? value_directory(written, value, to, err)
				      : value_tree(written, value, to, err);
	case OPTION_FILE:
		return args->believed ? value_directory(written, value, to, err)
				      : value_file(written, value, to, err);
	case OPTION_CERTIFICATES:
		return args->believed ? value_directory(written, value, to, err)
				      : value_certificates(written, value, to, err);
	case OPTION_OUTPUT:
		return args->believed ? value_directory(written, value, to, err)
				      : value_output(written, value, to, err);
	case OPTION_SIZE:
		return value_size(written, value, (uint64_t)o->least, to, err);
	case OPTION_DURATION:
		return value_duration(written, value, o->least, to, err);
	case OPTION_CHOICE:
		return value_choice(written, value, o->choices, to, err);
	case OPTION_USER:
		return value_user(written, value, to, err);
	case OPTION_GROUP:
		return value_group(written, value, to, err);
	case OPTION_UMASK:
		return value_umask(written, value, to, err);
	case OPTION_FD:
		return value_fd(written, value, to, err);
	case OPTION_TEXT:
		return value_text(written, o->arg, value, to, err);
	case OPTION_HOSTS:
		return value_host(written, value, to, err);
	case OPTION_WORDS:
		return options_parse_words(value, args, err);
	case OPTION_IGNORED:
		return 0;
	}
	return 0;
}

static bool is_mount_word(const char *key)
{
	for (size_t i = 0; i < ARRAY_LEN(mount_words); i++) {
		if (strcmp(key, mount_words[i]) == 0)
			return true;
	}
	return strncmp(key, "x-", 2) == 0 || strncmp(key, "X-", 2) == 0 ||
	       strcmp(key, "comment") == 0;
}

/* '_' is as good as '-', which fstab(5) never uses. */
static bool is_same(const char *name, const char *key)
{
	for (; *name != '\0' && (*name == *key || (*name == '-' && *key == '_')); name++)
		key++;
	return *name == '\0' && *key == '\0';
}

static const struct option_spec *find_word(const char *key)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (options_in_words(&table[i]) && is_same(table[i].name, key))
			return &table[i];
	}
	return NULL;
}

static int unknown_word(const char *key, struct err *err)
{
	struct suggest best;
	suggest_init(&best, key);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (options_in_words(&table[i]))
			suggest_add(&best, table[i].name);
	}
	if (suggest_found(&best) != NULL)
		return err_set(err, -EINVAL,
			       "unknown mount option '%s' after -o; did you mean '%s'?", key,
			       suggest_found(&best));
	return err_set(err, -EINVAL,
		       "unknown mount option '%s' after -o; see 'wasmocifs mount --help'", key);
}

static int parse_word(char *word, struct cli_args *args, struct err *err)
{
	char *value = strchr(word, '=');
	if (value != NULL)
		*value++ = '\0';
	if (is_mount_word(word))
		return 0;
	if (strcmp(word, "remount") == 0)
		return err_set(
		    err, -EINVAL,
		    "remount: a mount keeps the options it has; unmount it, and mount it "
		    "again");
	if (strcmp(word, "noexec") == 0) {
		args->noexec = true;
		return 0;
	}
	const struct option_spec *o = find_word(word);
	if (o == NULL)
		return args->sloppy ? 0 : unknown_word(word, err);
	char written[64];
	snprintf(written, sizeof(written), "-o %s", o->name);
	if (o->arg != NULL && value == NULL)
		return err_set(err, -EINVAL, "%s needs a value: %s=%s", written, written, o->arg);
	return store(o, written, value, args, err);
}

/* Cuts the next word out of *rest, undoing "\,"; NULL at the end. */
static char *next_word(char **rest)
{
	char *word = *rest;
	char *to = word;
	if (*word == '\0')
		return NULL;
	for (char *p = word; *p != '\0' && *p != ','; p++) {
		if (*p == '\\' && (p[1] == ',' || p[1] == '\\'))
			p++;
		*to++ = *p;
		*rest = p + 1;
	}
	if (**rest == ',')
		(*rest)++;
	*to = '\0';
	return word;
}

int options_parse_words(const char *words, struct cli_args *args, struct err *err)
{
	AUTO_FREE char *copy = strdup(words);
	if (copy == NULL)
		return err_set(err, -ENOMEM, "out of memory");
	char *rest = copy;
	for (char *word = next_word(&rest); word != NULL; word = next_word(&rest)) {
		if (*word == '\0')
			continue;
		int rc = parse_word(word, args, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int unknown_line(const char *key, struct err *err)
{
	struct suggest best;
	suggest_init(&best, key);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (options_in_file(&table[i]))
			suggest_add(&best, table[i].name);
	}
	if (suggest_found(&best) != NULL)
		return err_set(err, -EINVAL, "unknown option '%s'; did you mean '%s'?", key,
			       suggest_found(&best));
	return err_set(err, -EINVAL, "unknown option '%s'; see 'wasmocifs mount --help'", key);
}

/* The helper has a mount's. Of another command's value nobody here is to judge: a file that root's
 * mounts read, for one. */
static bool is_for(const struct option_spec *o, unsigned command)
{
	return command == 0 || (o->commands & (command == CLI_HELPER ? CLI_MOUNT : command)) != 0;
}

int options_set(const char *key, const char *value, uint64_t *seen, struct cli_args *args,
		struct err *err)
{
	const struct option_spec *o = find_word(key);
	bool is_path = o != NULL && (o->kind == OPTION_DIRECTORY || o->kind == OPTION_TREE ||
				     o->kind == OPTION_FILE || o->kind == OPTION_CERTIFICATES ||
				     o->kind == OPTION_OUTPUT);
	if (o == NULL)
		return unknown_line(key, err);
	if (!options_in_file(o))
		return err_set(err, -EINVAL, "'%s' is for the command line only", o->name);
	if (o->arg != NULL && (value == NULL || *value == '\0'))
		return err_set(err, -EINVAL, "%s needs a value: %s = %s", o->name, o->name, o->arg);
	if (is_path && *value != '/')
		return err_set(err, -EINVAL, "%s: '%s' is not an absolute path", o->name, value);
	if (o->kind != OPTION_HOSTS && (*seen & bit(o)) != 0)
		return err_set(err, -EINVAL, "'%s' is given twice", o->name);
	*seen |= bit(o);
	uint64_t given = args->given;
	if ((given & bit(o)) != 0 || !is_for(o, args->command))
		return 0;
	int rc = store(o, o->name, value, args, err);
	args->given = given;
	return rc;
}

struct parser {
	struct option longs[OPTIONS_MAX];
	char shorts[2 * OPTIONS_MAX + 2];
};

/* What a file says can be taken back by --FLAG=false. */
static int argument_of(const struct option_spec *o)
{
	if (o->arg != NULL)
		return required_argument;
	return options_in_words(o) ? optional_argument : no_argument;
}

/* The leading ':' tells a missing value from an unknown option. */
static void build(unsigned command, struct parser *p)
{
	size_t n = 0;
	char *s = p->shorts;
	*s++ = ':';
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const struct option_spec *o = &table[i];
		if ((o->commands & command) == 0)
			continue;
		if (o->name != NULL) {
			ASSERT(n + 1 < OPTIONS_MAX);
			p->longs[n++] = (struct option){
			    .name = o->name,
			    .has_arg = argument_of(o),
			    .val = LONG_VAL + (int)i,
			};
		}
		if (o->letter != 0) {
			*s++ = o->letter;
			if (o->arg != NULL)
				*s++ = ':';
		}
	}
	p->longs[n] = (struct option){0};
	*s = '\0';
}

static const struct option_spec *find_value(unsigned command, int val)
{
	if (val >= LONG_VAL)
		return &table[val - LONG_VAL];
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if ((table[i].commands & command) != 0 && table[i].letter == val)
			return &table[i];
	}
	return NULL;
}

static void write_name(const struct option_spec *o, bool is_long, char out[64])
{
	if (is_long)
		snprintf(out, 64, "--%s", o->name);
	else
		snprintf(out, 64, "-%c", o->letter);
}

static int unknown_option(unsigned command, const char *name, struct err *err)
{
	size_t n;
	const struct command *all = commands(&n);
	const char *help = "mount"; /* mount.wasmocifs has none of its own */
	for (size_t i = 0; i < n; i++) {
		if (all[i].id == command)
			help = all[i].name;
	}
	return err_set(err, -EINVAL, "unknown option %s; see 'wasmocifs %s --help'", name, help);
}

/* getopt_long has said '?' or ':': what is wrong with this word. */
static int bad_option(unsigned command, int said, const char *word, struct err *err)
{
	char name[64];
	const struct option_spec *o = optopt != 0 ? find_value(command, optopt) : NULL;
	if (o != NULL) {
		write_name(o, optopt >= LONG_VAL, name);
		if (said == ':')
			return err_set(err, -EINVAL, "%s needs a value: %s %s", name, name, o->arg);
		return err_set(err, -EINVAL, "%s takes no value", name);
	}
	if (optopt != 0) {
		snprintf(name, sizeof(name), "-%c", optopt);
		return unknown_option(command, name, err);
	}

	snprintf(name, sizeof(name), "%s", word);
	name[strcspn(name, "=")] = '\0';
	struct suggest best;
	suggest_init(&best, name + 2);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if ((table[i].commands & command) != 0 && table[i].name != NULL)
			suggest_add(&best, table[i].name);
	}
	if (suggest_found(&best) != NULL)
		return err_set(err, -EINVAL, "unknown option %s; did you mean --%s?", name,
			       suggest_found(&best));
	return unknown_option(command, name, err);
}

int options_parse(unsigned command, int argc, char **argv, struct cli_args *args, struct err *err)
{
	struct parser p;
	args->command = command;
	args->believed = command == CLI_SERVE;
	build(command, &p);
	opterr = 0;
	optind = 0; /* glibc: start anew */
	for (;;) {
		int val = getopt_long(argc, argv, p.shorts, p.longs, NULL);
		if (val == -1)
			break;
		if (val == '?' || val == ':')
			return bad_option(command, val, argv[optind - 1], err);
		const struct option_spec *o = find_value(command, val);
		char name[64];
		ASSERT(o != NULL);
		write_name(o, val >= LONG_VAL, name);
		int rc = store(o, name, optarg, args, err);
		if (rc < 0)
			return rc;
	}
	args->operands = argv + optind;
	args->n_operands = argc - optind;
	return 0;
}
