# SPDX-License-Identifier: Apache-2.0
"""A machine for examples that name the registries of the world: a mount namespace in which ghcr.io and the others are a
registry of ours, /mnt, /srv, /run and the cache are empty, the program is installed, mount(8) finds it, and what is
written to /etc, /usr/local or /var is written beside the machine's own."""

import shutil

import artifacts
import pages
import pytest
import samples
from conftest import ROOT
from harness import SLOW, run

HOSTS = ["ghcr.io", "docker.io", "localhost:5000"]
PLACEHOLDERS = {"OWNER/NAME:TAG": "org/hello:v1"}

SCENE = r"""
set -e
mount --make-rprivate /
# Copies of the mounts of tests beside this one would keep those alive.
umount --all --lazy --types fuse.wasmocifs
for directory in /mnt /srv /run; do
    mount -t tmpfs -o mode=755 none $directory
done
mkdir /mnt/oci /mnt/team /mnt/all /srv/aside
for directory in /etc /usr/sbin /usr/local /var; do
    aside=/srv/aside/${directory##*/}
    mkdir $aside $aside.work
    mount -t overlay -o lowerdir=$directory,upperdir=$aside,workdir=$aside.work none $directory
done
mount -t tmpfs -o mode=755 none /var/cache
cp -P $TOOLS/mount.wasmocifs /usr/sbin/
: > /etc/fstab
# Nobody else is asked.
echo 127.0.0.1 localhost ghcr.io docker.io registry-1.docker.io > /etc/hosts
# That of the system: mount(8) takes HOME away.
mkdir -p /etc/containers
cp $TOOLS/registries.conf /etc/containers/
end() {
    for directory in /mnt/oci /mnt/team /mnt/all; do
        while mountpoint -q $directory && wasmocifs unmount $directory; do :; done
    done
}
"""


COMPONENT = ROOT / "build" / "hello.wasm"


def wasmtime(path):
    """The program, or what stands in for it where it, or what it could run, is not there: the path is what an example of
    it is about."""
    engine, installed = ROOT / "build" / "engine", shutil.which("wasmtime")
    if installed and COMPONENT.exists():
        path.symlink_to(installed)
        return
    runs = (f'exec {engine}/bin/python {ROOT}/scripts/component run "$2"' if COMPONENT.exists() and (engine / "complete").exists()
            else 'cat "$2" > /dev/null')
    path.write_text(f'#!/bin/sh\n[ "$1" = run ] || exit 2\n{runs}\n')
    path.chmod(0o755)


class Machine:
    def __init__(self, binary, registry, work):
        self.work = work
        tools = work / "bin"
        tools.mkdir()
        for name in ("wasmocifs", "mount.wasmocifs"):
            (tools / name).symlink_to(binary)
        wasmtime(tools / "wasmtime")
        (tools / "registries.conf").write_text("".join(
            f'[[registry]]\nlocation = "{host}"\n[[registry.mirror]]\nlocation = "{registry.address}"\ninsecure = true\n'
            for host in HOSTS))
        self.env = {"PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(work), "LC_ALL": "C.UTF-8",
                    "TOOLS": str(tools)}

    def run(self, script):
        """To its end; the mounts go then."""
        return run(["unshare", "--mount", "bash", "-c", f"{SCENE}trap end EXIT\n{script}"], cwd=self.work, env=self.env,
                   timeout=60 * SLOW)

    def shell(self, directory, here):
        """A shell in it, as a context."""
        return Console(directory, self.env, here, before=["unshare", "--mount"])


class Console(pages.Shell):
    """One that is the machine's while it is entered."""

    def __enter__(self):
        said = self.run(f"{SCENE}\nset +e\necho ready")
        assert said == "ready\n", said
        return self

    def __exit__(self, *_):
        try:
            self.run("end")
        finally:
            self.close()


def fill(registry):
    data = COMPONENT.read_bytes() if COMPONENT.exists() else None
    for repo in ("org/app", "org/hello", "team/app"):
        samples.push_wasm(registry.store, repo, "v1", data)
    image = artifacts.container({"hello.wasm": artifacts.wasm_component(1, 200)}, architecture="amd64", system="linux")
    arm = artifacts.container({"hello.wasm": artifacts.wasm_component(2, 200)}, architecture="arm64", system="linux")
    samples.push_index(registry.store, "library/alpine", "3", {("linux", "amd64"): image})
    samples.push_index(registry.store, "org/app", "v1", {("linux", "amd64"): image, ("linux", "arm64"): arm})


@pytest.fixture
def machine(binary, registry, work):
    if run(["unshare", "--mount", "true"]).code:
        pytest.skip("unshare --mount does not work here")
    fill(registry)
    (work / "images.txt").write_text("# what this node runs\nghcr.io/org/hello:v1\n")
    return Machine(binary, registry, work)
