/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

static const struct command table[] = {
    {
	.name = "mount",
	.id = CLI_MOUNT,
	.operands = "[options] SOURCE… MOUNTPOINT",
	.summary = "present a registry at a path",
	.text = "Presents an OCI registry at MOUNTPOINT: every image reference is a path, and\n"
		"what is opened is fetched, verified and cached. Returns once the mount answers;\n"
		"asks the registry for nothing before that.\n"
		"\n"
		"SOURCE is\n"
		"  HOST[:PORT][/NAMESPACE]   a registry, by HTTPS (loopback: also plain HTTP)\n"
		"  https://HOST[:PORT]…      a registry, by HTTPS only\n"
		"  http://HOST[:PORT]…       a registry, by plain HTTP\n"
		"  oci:DIRECTORY             a local OCI image layout\n"
		"\n"
		"Several SOURCEs, or --all, put registries at the first level, by their host:\n"
		"MOUNTPOINT/ghcr.io, MOUNTPOINT/localhost_5000_ (localhost:5000 does too).\n"
		"\n"
		"MOUNTPOINT/.packages/NAMESPACE/NAME/VERSION.wasm are Wasm packages, found as wkg\n"
		"finds them.\n",
	.examples = "  wasmocifs mount ghcr.io /mnt/oci\n"
		    "  wasmocifs mount --cache-size 4G --tag-ttl 5m localhost:5000/team /mnt/team\n"
		    "  wasmocifs mount --all /mnt/oci\n"
		    "  mount -t wasmocifs ghcr.io /mnt/oci -o allow_other,cache=/srv/cache\n",
	.run = mount_main,
    },
    {
	.name = "unmount",
	.id = CLI_UNMOUNT,
	.operands = "[options] MOUNTPOINT",
	.summary = "take it away again",
	.text = "Unmounts what `wasmocifs mount` has mounted, waits until its process has ended,\n"
		"and clears away a mount whose process has died.\n",
	.examples = "  wasmocifs unmount /mnt/oci\n"
		    "  wasmocifs unmount --lazy /mnt/oci\n",
	.run = unmount_main,
    },
    {
	.name = "abort",
	.id = CLI_ABORT,
	.operands = "MOUNTPOINT",
	.summary = "end one that hangs, whoever waits in it",
	.text = "Ends a mount that nothing else ends: its connection to the kernel is cut, so\n"
		"that every process that waits in it goes on with an error, and it is detached.\n"
		"What is cached stays. The processes of the mount may be stuck: they are not\n"
		"asked.\n",
	.examples = "  wasmocifs abort /mnt/oci\n",
	.run = abort_main,
    },
    {
	.name = "upgrade",
	.id = CLI_UPGRADE,
	.operands = "MOUNTPOINT",
	.summary = "let this version serve it, while it is in use",
	.text = "Lets this very program serve a mount that another version of it serves. Files\n"
		"stay open, transfers go on, and nobody who uses the mount gets an error. If this\n"
		"version cannot serve it, the other one goes on.\n",
	.examples = "  wasmocifs upgrade /mnt/oci\n",
	.run = upgrade_main,
    },
    {
	.name = "status",
	.id = CLI_STATUS,
	.operands = "[options] [MOUNTPOINT]",
	.summary = "show mounts, their registries and caches",
	.text = "Shows your mounts (as root: everybody's), or one of them in detail. Asks the\n"
		"processes that serve them and never touches a mount.\n"
		"\n"
		"On a terminal the table fits its width (at least 80 columns); elsewhere\n"
		"nothing is cut, unless COLUMNS says how wide it may be, as under watch(1).\n"
		"As JSON it is an array, with one object for each mount.\n",
	.examples = "  wasmocifs status\n"
		    "  wasmocifs status /mnt/oci\n"
		    "  wasmocifs status --metrics\n"
		    "  wasmocifs status --json | jq '.[].hosts'\n",
	.run = status_main,
    },
    {
	.name = "pull",
	.id = CLI_PULL,
	.operands = "[options] REFERENCE…",
	.summary = "fill the cache ahead of time",
	.text = "Fetches what each REFERENCE names into the cache, whole and verified:\n"
		"manifest, config and layers, so that a mount serves it at once, and without\n"
		"the registry. REFERENCE is HOST[:PORT]/NAME:TAG or HOST[:PORT]/NAME@sha256:HEX.\n"
		"What is there already, or shared by several, is not fetched again; what was\n"
		"broken off is continued.\n"
		"\n"
		"Where one of your mounts serves that registry, its process does it, into its\n"
		"cache and with the mount's own options: one with that cache, or with any where\n"
		"--cache is not given. Else, or with --auth-file, --ca-file, --hosts-dir,\n"
		"--timeout or --cache-size, this one does. Exit 1 if one could not be had, after\n"
		"all were tried.\n",
	.examples = "  wasmocifs pull ghcr.io/org/app:v1 docker.io/library/alpine:3\n"
		    "  wasmocifs pull --pin --platform linux/arm64 ghcr.io/org/app:v1\n"
		    "  wasmocifs pull --from images.txt\n",
	.run = pull_main,
    },
    {
	.name = "cache",
	.id = CLI_CACHE,
	.operands = "ls|du|verify|prune|rm [options] [REFERENCE|DIGEST]…",
	.summary = "show and tidy what is cached",
	.text = "Looks after a cache directory, beside the mounts that use it: what is open\n"
		"in one of them is never taken.\n"
		"\n"
		"  ls [REFERENCE|DIGEST]…  what is there, how old, pinned or open, named by whom\n"
		"  du                      how much of it each repository accounts for\n"
		"  verify                  hashes all of it, and removes what is wrong (exit 1)\n"
		"  prune                   removes what is neither pinned nor open, oldest first\n"
		"  rm REFERENCE|DIGEST…    removes it and its pins, but for what others share\n"
		"\n"
		"A DIGEST may be cut after 12 digits. REFERENCEs are HOST[:PORT]/NAME:TAG.\n"
		"What is removed is fetched again when somebody opens it. A mount keeps\n"
		"what was read last open for some 10 s.\n",
	.examples = "  wasmocifs cache ls\n"
		    "  wasmocifs cache prune --older-than 7d\n"
		    "  wasmocifs cache prune --keep 2G --dry-run\n"
		    "  wasmocifs cache rm ghcr.io/org/app:v1\n",
	.run = cache_main,
    },
    {
	.name = "refresh",
	.id = CLI_REFRESH,
	.operands = "PATH",
	.summary = "ask the registry anew about a path",
	.text = "Forgets that what a registry said of PATH is fresh: a tag, a repository, a\n"
		"namespace, or all of the mount. The next walk asks anew; what was said before\n"
		"is what counts where the registry cannot be asked then. Nobody is asked now,\n"
		"and the path itself is not touched. What a digest names never changes: there\n"
		"is nothing to forget.\n"
		"\n"
		"REPOSITORY:TAG is asked about at once; REPOSITORY/tags/TAG may stay in the\n"
		"kernel's memory until --tag-ttl has passed.\n",
	.examples = "  wasmocifs refresh /mnt/oci/org/hello:v1\n"
		    "  wasmocifs refresh /mnt/oci/org/hello/tags\n"
		    "  wasmocifs refresh /mnt/oci\n",
	.run = refresh_main,
    },
    {
	.name = "why",
	.id = CLI_WHY,
	.operands = "[options] PATH",
	.summary = "explain what stands in the way of a path",
	.text =
	    "Says how far PATH leads, what failed there last, who was asked, what came back,\n"
	    "and what to do. Asks the process that serves the mount; it asks the registry\n"
	    "nothing, and the path itself is not touched.\n"
	    "\n"
	    "The state, which --json has too, is \"fine\"; \"failed\", with an errno; \"coming\":\n"
	    "somebody is being asked for it, or it is on its way; or \"unasked\": nobody has\n"
	    "been asked so far, or that is forgotten.\n",
	.examples = "  wasmocifs why /mnt/oci/org/hello:v1/main.wasm\n",
	.run = why_main,
    },
};

const struct command *commands(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(table);
	return table;
}

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	}
	return NULL;
}

int complain(int status, const char *fmt, ...)
{
	char raw[ERR_TEXT_MAX];
	struct err line;
	va_list args;
	va_start(args, fmt);
	if (vsnprintf(raw, sizeof(raw), fmt, args) < 0)
		raw[0] = '\0';
	va_end(args);
	(void)err_set(&line, 0, "%s", raw); /* one line, without control characters */
	fprintf(stderr, "wasmocifs: %s\n", line.text);
	return status;
}

int print_json(json_t *v)
{
	int rc = v != NULL ? json_dumpf(v, stdout, JSON_INDENT(2)) : -1;
	json_decref(v);
	putchar('\n');
	if (rc < 0 && !ferror(stdout))
		return complain(CLI_FAILED, "no memory for the answer");
	return CLI_DONE;
}
