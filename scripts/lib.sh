# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib.sh: what the scripts share. Sourced, after `set -euo pipefail`; it only defines, and runs nothing.

# The checkout, wherever the script is called from.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Debian's own interpreter: the Python packages of apt belong to it, and to no other python3 on PATH.
python=/usr/bin/python3
# Where the WebAssembly engine is installed when there is no wasmtime on PATH.
engine=$root/build/engine

# shellcheck disable=SC2034 # for those who source this
build_packages=(gcc libc6-dev meson ninja-build pkg-config libfuse3-dev libcurl4-openssl-dev libjansson-dev libssl-dev
	libarchive-dev zlib1g-dev libseccomp-dev libcmocka-dev uthash-dev fuse3)

say() { printf '\n==> %s\n' "$*"; }
die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Shows a command as one would type it, then runs it.
show() {
	printf '$ %s\n' "$*"
	"$@"
}

package_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

apt_get() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

# need_packages NAME…: installs those that are missing, and nothing that is merely recommended.
need_packages() {
	local missing=() name
	for name; do
		package_installed "$name" || missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" -eq 0 ] || die "not installed: ${missing[*]}; run this as root, or install them first"
	command -v apt-get >/dev/null || die "not installed: ${missing[*]}; this script can install only with apt-get"
	say "Installing ${missing[*]}"
	apt_lists_are_fresh || apt_get update >/dev/null || die "apt-get update failed"
	apt_get install --no-install-recommends -y "${missing[@]}" >/dev/null ||
		die "apt-get could not install ${missing[*]}"
	# -qq hides what was refused in a half-finished installation
	for name in "${missing[@]}"; do
		package_installed "$name" || die "apt-get left $name uninstalled"
	done
}

# Lists of this hour need no second update.
apt_lists_are_fresh() {
	[ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mmin -60 -print -quit 2>/dev/null)" ]
}

# need_registry: docker-registry, installed without its service.
#
# Debian's package enables and starts a registry on all addresses. Its maintainer script asks four programs to do that;
# for this one installation they are found on a private PATH first, in a version that only takes note. Nothing global is
# changed (no policy-rc.d, no mask), so there is nothing to restore, whenever this is interrupted.
need_registry() {
	! command -v docker-registry >/dev/null || return 0
	need_packages adduser lsb-base init-system-helpers
	[ "$(id -u)" -eq 0 ] || die "not installed: docker-registry; run this as root, or install it first"
	local shims before name
	shims=$(mktemp -d)
	registry_shims "$shims"
	before=$(registry_processes)
	say "Installing docker-registry, without its service"
	apt_lists_are_fresh || apt_get update >/dev/null || die "apt-get update failed"
	apt_get install --no-install-recommends -y \
		-o "DPkg::Path=$shims:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
		docker-registry >/dev/null || {
		rm -rf "$shims"
		die "apt-get could not install docker-registry"
	}
	rm -rf "$shims"
	registry_is_quiet "$before"
}

# registry_shims DIR: stand-ins that neither start nor enable. The package is recorded as installed and disabled, so that
# a later upgrade of it does not enable it either.
registry_shims() {
	local name
	for name in invoke-rc.d deb-systemd-invoke; do
		printf '#!/bin/sh\nexit 0\n' >"$1/$name"
	done
	cat >"$1/deb-systemd-helper" <<'SHIM'
#!/bin/sh
case " $* " in *" was-enabled "*) exit 1 ;; esac
exec /usr/bin/deb-systemd-helper "$@"
SHIM
	cat >"$1/update-rc.d" <<'SHIM'
#!/bin/sh
if [ "$2" = defaults ]; then
	exec /usr/sbin/update-rc.d "$1" defaults-disabled
fi
exec /usr/sbin/update-rc.d "$@"
SHIM
	chmod 0755 "$1" "$1"/*
}

registry_processes() {
	local exe
	for exe in /proc/[0-9]*/exe; do
		case $(readlink "$exe" 2>/dev/null) in */docker-registry) printf '%s ' "${exe//[!0-9]/}" ;; esac
	done
}

# registry_is_quiet BEFORE: proves what need_registry promises.
registry_is_quiet() {
	local state links
	[ "$(registry_processes)" = "$1" ] || die "installing docker-registry started it: stop it, it listens on all addresses"
	links=$(find /etc/systemd/system /etc/rc[2-5].d \( -path '*.wants/docker-registry.service' \
		-o -name 'S[0-9]*docker-registry' \) 2>/dev/null || true)
	[ -z "$links" ] || die "installing docker-registry enabled its service ($links): disable it"
	if [ -d /run/systemd/system ]; then
		state=$(systemctl is-enabled docker-registry.service 2>/dev/null || true)
		[ "$state" != enabled ] || die "installing docker-registry enabled its service: disable it"
	fi
}

# need_engine: something that runs components. Afterwards the array run_component is the command to put before a file.
# An installed wasmtime is taken; else the same engine as a Python package, in an environment of its own.
need_engine() {
	if command -v wasmtime >/dev/null; then
		run_component=(wasmtime run)
	else
		need_engine_package
		run_component=("$engine/bin/python" "$root/scripts/component" run)
	fi
	export run_component
}

need_engine_package() {
	[ -e "$engine/complete" ] && "$engine/bin/python" -c 'import wasmtime' 2>/dev/null && return
	need_packages python3-venv ca-certificates
	say "Installing the wasmtime engine (a Python package) into ${engine#"$root"/}"
	rm -rf "$engine"
	mkdir -p "${engine%/*}"
	"$python" -m venv "$engine"
	"$engine/bin/pip" install --quiet --disable-pip-version-check 'wasmtime==50.*' ||
		die "pip could not install the Python package wasmtime; install wasmtime itself, and run this again"
	touch "$engine/complete"
}

# need_component: the sample, assembled from its text, as $root/build/hello.wasm. The assembler is that of the engine's
# package; Debian's wat2wasm knows no components.
need_component() {
	component=$root/build/hello.wasm
	[ "$component" -nt "$root/tests/data/hello.wat" ] && return
	need_engine_package
	"$engine/bin/python" "$root/scripts/component" build "$root/tests/data/hello.wat" "$component"
}

# need_fuse: /dev/fuse. The kernel may have it as a module that nobody has asked for yet.
need_fuse() {
	[ -e /dev/fuse ] || modprobe fuse 2>/dev/null || true
	[ -e /dev/fuse ] || die "there is no /dev/fuse: load the kernel module fuse, or give this container the device"
}

# build DIRECTORY [MESON-OPTION…] [-- TARGET…]: configures if needed, and builds.
build() {
	local directory=$1 options=() said
	shift
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	[ $# -eq 0 ] || shift
	if [ -e "$directory/build.ninja" ]; then
		[ ${#options[@]} -eq 0 ] || meson configure "$directory" "${options[@]}"
	else
		said=$(meson setup "$directory" "$root" "${options[@]}" 2>&1) || {
			printf '%s\n' "$said" >&2
			die "meson could not configure $directory"
		}
	fi
	said=$(ninja -C "$directory" "$@" 2>&1) || {
		printf '%s\n' "$said" >&2
		die "the build in $directory failed"
	}
	# Warnings of a build that does not treat them as errors.
	printf '%s\n' "$said" | grep -E -A 4 'warning:' || true
}
