# SPDX-License-Identifier: Apache-2.0
"""The Debian package, on a Debian system made for the test: its own root, its own systemd, mounts and processes; only the
network is the machine's. Installed, mounted by fstab and by unit, upgraded under a reader, purged, and nothing is left:
by the commands and files that the pages show, as they stand. ghcr.io is a registry of ours, by a mirror.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import threading

import pytest

import pages
import samples
from conftest import ROOT
from harness import MNT_DETACH, SLOW, children_of, read, run, umount2, until
from registry import behaviours as b
from test_component import COMPONENT, LINE, run_component  # noqa: F401

README = pages.Page(ROOT / "README.md")
TROUBLESHOOTING = pages.Page(ROOT / "docs/troubleshooting.md")
BUILD, INSTALL = README.taken("package").splitlines()
LONG = 300 * SLOW
PLAIN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
AUTOFS = pathlib.Path("/dev/autofs")
# What apt and dpkg write whatever is installed, and what other packages and systemd make while the system runs.
NOT_OURS = re.compile(r"/(var/(lib/(apt|dpkg|systemd|plocate|pam)|log|cache/(apt|debconf|ldconfig|man))"
                      r"|etc/(ld\.so\.cache|mtab|hostname|machine-id|\.pwd\.lock|systemd/system/timers\.target\.wants"
                      r"|[a-z]+-)|run|tmp|root|proc|sys|dev|mnt)(/|$)")


def sources():
    """What the machine's own apt asks for Debian, and through which proxy."""
    lines = run(["apt-get", "indextargets", "--format", "$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
                 "Created-By: Packages"]).ok().out.splitlines()
    found = sorted({line.partition("|")[2] for line in lines if line.startswith("Debian|")})
    options = [line for line in run(["apt-config", "dump"]).ok().out.splitlines()
               if re.match(r"Acquire::(https?|ftp)::|Acquire::Check-Valid-Until", line)]
    return found, options


@pytest.fixture
def building(work):
    """Begun first: it takes as long as making the system does."""
    for program, package in (("mmdebstrap", "mmdebstrap"), ("systemd-nspawn", "systemd-container"),
                             ("dpkg-buildpackage", "dpkg-dev"), ("dh", "debhelper")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: {package})")
    with subprocess.Popen([ROOT / BUILD, "--no-lint", "--output", work / "package"], text=True,
                          env={**os.environ, "DEB_BUILD_OPTIONS": "noautodbgsym"}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        yield process
        process.communicate()


@pytest.fixture
def debian(work, building):
    """A fresh root directory: the release that this machine has, minimal, with an init, and as good as every system has
    the certificates."""
    found, options = sources()
    if not found:
        pytest.skip("apt has no lists of Debian's packages on this machine (apt-get update)")
    root = work / "debian"
    root.mkdir()
    # In memory: dpkg syncs a thousand files, and each is removed again.
    run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=755", "debian", root]).ok()
    try:
        yield bootstrap(root, found, options)
    finally:
        assert umount2(root, MNT_DETACH) == 0


def bootstrap(root, found, options):
    made = run(["mmdebstrap", "--quiet", "--variant=minbase", "--include=systemd,systemd-sysv,dbus,ca-certificates",
                "--dpkgopt=force-unsafe-io", *(f"--aptopt={option}" for option in options), "", root, "-"],
               stdin="".join(f"{line}\n" for line in found), timeout=LONG)
    if made.code and re.search(r"Could not (resolve|connect)|Temporary failure|Failed to fetch", made.err):
        pytest.skip(f"Debian's packages cannot be fetched here: {made.err.strip().splitlines()[-1]}")
    made.ok()
    return root


@pytest.fixture
def package(debian, building):
    """Built by the script that a person runs."""
    said = building.communicate(timeout=LONG)[0]
    assert building.returncode == 0, said
    return pathlib.Path(said.strip().splitlines()[-1])


class System:
    """A booted root directory. Commands are run in it as its root."""

    def __init__(self, root, console):
        self.root = root
        self.console = console
        with open(console, "wb") as out:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--console=read-only",
                 "--capability=all", *([f"--bind={AUTOFS}"] if AUTOFS.exists() else []), f"--directory={root}"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def boot(self):
        self.init = until(self._find_init, what=f"an init in {self.root}")
        until(self._is_running, timeout=60, what="a running system")
        # The device, and not the machine's node of it, whose mode would be set by whoever boots.
        self.run("mknod -m 666 /dev/fuse c 10 229").ok()
        return self

    def _find_init(self):
        if self.process.poll() is not None:
            pytest.skip(f"systemd-nspawn cannot boot a system here: {self.console.read_text(errors='replace')[-300:]}")
        for pid in children_of(self.process.pid):
            with contextlib.suppress(OSError):
                if pathlib.Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                    return pid
        return None

    def _is_running(self):
        return self.run("systemctl is-system-running --wait || true").out.strip() in ("running", "degraded")

    def run(self, command, timeout=None):
        return run(["nsenter", "-t", str(self.init), "-m", "-u", "-i", "-p", "-r", "-w", "sh", "-ec", command],
                   env=PLAIN, timeout=timeout)

    def apt(self, command):
        return self.run(f"apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends {command}", timeout=LONG).ok()

    def path(self, inside):
        """As processes outside see it, mounts included."""
        return pathlib.Path(f"/proc/{self.init}/root{inside}")

    def status(self, mountpoint):
        return json.loads(self.run(f"wasmocifs status --json {mountpoint}").ok().out)[0]

    def mounts(self):
        return re.findall(r"^\S+ \S+ \S+ \S+ (\S+) .* - fuse\.wasmocifs ",
                          pathlib.Path(f"/proc/{self.init}/mountinfo").read_text(), re.MULTILINE)

    def generations(self):
        """How many workers have served each mount."""
        return [mount["generation"] for mount in json.loads(self.run("wasmocifs status --json").ok().out)]

    def close(self):
        """nspawn ends after its child, and would leave it behind if it were killed first."""
        for pid in children_of(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20 * SLOW)
        self.process.kill()
        self.process.wait(20 * SLOW)


@pytest.fixture
def system(debian, work):
    made = System(debian, work / "console")
    try:
        yield made.boot()
    finally:
        made.close()


def newer(package, version):
    """The same package with a higher version: another file of the program is what an upgrade brings."""
    tree = package.parent / f"tree-{version}"
    run(["dpkg-deb", "--raw-extract", package, tree]).ok()
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*", f"Version: {version}", control.read_text(), flags=re.MULTILINE))
    made = package.parent / f"wasmocifs_{version}.deb"
    run(["dpkg-deb", "--build", "--root-owner-group", tree, made]).ok()
    return made


def snapshot(root):
    """{path: what is there}"""
    found = {}
    for directory, names, files in os.walk(root):
        inside = directory[len(str(root)):]
        names[:] = [name for name in names if not NOT_OURS.match(f"{inside}/{name}")]
        for name in names + files:
            path = pathlib.Path(directory, name)
            info = path.lstat()
            if NOT_OURS.match(f"{inside}/{name}"):
                continue
            content = os.readlink(path) if path.is_symlink() else ""
            if stat.S_ISREG(info.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            found[f"{inside}/{name}"] = (stat.filemode(info.st_mode), info.st_uid, info.st_gid, content)
    return found


class Reader:
    """Reads a mount all the time: a file that stays open, and others that are opened. Any error is kept."""

    def __init__(self, path, data):
        self.path, self.data = path, data
        self.rounds, self.failure = 0, None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        try:
            held = os.open(self.path, os.O_RDONLY)
            while not self.stopped.is_set():
                at = self.rounds * 4096 % len(self.data)
                assert os.pread(held, 4096, at) == self.data[at:at + 4096]
                assert read(self.path) == self.data
                self.rounds += 1
            os.close(held)
        except (OSError, AssertionError) as failure:
            self.failure = failure

    def goes_on(self):
        before = self.rounds
        until(lambda: self.rounds > before + 2 or self.failure, what="a reader that reads on")
        assert self.failure is None, self.failure

    def stop(self):
        self.stopped.set()
        self.thread.join(20 * SLOW)
        assert self.failure is None and not self.thread.is_alive(), self.failure


def prepare(system, registry, *packages):
    """What is there before ours comes: apt that does not ask, ghcr.io, and files of packages."""
    etc = system.root / "etc"
    (etc / "apt/apt.conf.d/99tests").write_text('APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\n'
                                                'Dpkg::Use-Pty "0";\n')
    with open(etc / "hosts", "a", encoding="utf-8") as hosts:
        hosts.write("127.0.0.1 ghcr.io\n")
    (etc / "containers").mkdir()
    (etc / "containers/registries.conf").write_text(f'[[registry]]\nlocation = "ghcr.io"\n[[registry.mirror]]\n'
                                                    f'location = "{registry.address}"\ninsecure = true\n')
    (system.root / "root/build-package").mkdir()
    for one in packages:
        shutil.copy(one, system.root / "root/build-package" / one.name)
    system.apt("update")


def read_in_it(system, path, image):
    """By a process in it: what is mounted when somebody goes there is mounted by that."""
    found = system.run(f"sha256sum '{path}'")
    assert found.code == 0, f"{found}\n{system.run('journalctl --no-pager --lines=50').out}"
    assert found.out.split()[0] == hashlib.sha256(image.layer.data).hexdigest()


def serve_by_the_unit_of_the_page(system, registry, image):
    system.run(README.taken("unit")).ok()
    read_in_it(system, "/mnt/oci/demo/app:v1/main.wasm", image)
    held = os.open(system.path("/mnt/oci/demo/app:v1/main.wasm"), os.O_RDONLY)
    for word in ("reload", "restart"):
        assert f"`systemctl {word}`" in README.text or f"or `{word}` lets the program" in README.text
        before = system.status("/mnt/oci")
        system.run(f"systemctl {word} wasmocifs@mnt-oci").ok()
        assert system.status("/mnt/oci")["worker_pid"] != before["worker_pid"]
        assert os.pread(held, len(image.layer.data), 0) == image.layer.data
    os.close(held)
    assert "FileDescriptorStoreMax" not in system.run("journalctl --no-pager --boot").ok().out
    look_around(system, registry)
    system.run("systemctl disable --quiet --now wasmocifs@mnt-oci; rmdir /mnt/oci").ok()


def look_around(system, registry):
    """As the page of troubles begins."""
    commands = TROUBLESHOOTING.taken("where to look")
    registry.on(None, "/v2/demo/hello/", b.error(403, "DENIED", "not for you"))
    assert system.run("cat /mnt/oci/demo/hello:v1/main.wasm").code
    said = until(lambda: found if "demo/hello" in (found := system.run(commands).ok().out).rpartition("  state ")[2] else None,
                 what="a line in the journal")
    assert said.startswith("/mnt/oci/demo/hello:v1\n  state   failed") and "\n  source    ghcr.io\n" in said
    assert re.search(r"^\w+ \d+ \S+ \S+ wasmocifs\[\d+\]: .*demo/hello", said, re.MULTILINE), said
    registry.heal()


def mount_by_the_units_of_the_page(system, image):
    """docs/systemd/mnt-oci.*, which the package has among its examples."""
    automount = (ROOT / "docs/systemd/mnt-oci.automount").read_text(encoding="utf-8")
    command = re.search(r"^# .*: (systemctl enable --now mnt-oci\.automount)$", automount, re.MULTILINE)[1]
    system.run(f"mkdir /mnt/oci; cp /usr/share/doc/wasmocifs/examples/mnt-oci.* /etc/systemd/system\n{command}").ok()
    assert system.mounts() == []
    read_in_it(system, "/mnt/oci/demo/app:v1/main.wasm", image)
    system.run("systemctl disable --quiet --now mnt-oci.automount; systemctl stop mnt-oci.mount\n"
               "rm /etc/systemd/system/mnt-oci.*; systemctl daemon-reload").ok()
    assert system.mounts() == []


def mount_by_fstab(system, image):
    with open(system.root / "etc/fstab", "a", encoding="utf-8") as fstab:
        fstab.write(README.taken("fstab"))
    system.run("mount -f /mnt/oci").ok()
    assert system.mounts() == [], "-f of mount(8) mounts nothing"
    if AUTOFS.exists():
        for command in ("systemctl daemon-reload", "systemctl start mnt-oci.automount"):
            assert f"`{command}`" in README.text
            system.run(command).ok()
        assert system.mounts() == [], "nobody has gone there yet"
    else:
        system.run("mount /mnt/oci").ok()
    read_in_it(system, "/mnt/oci/demo/app:v1/main.wasm", image)
    assert system.status("/mnt/oci")["cache"]["limit"] == 8 << 30


def mount_by_unit(system, registry, image):
    """Its name has what systemd must escape; the machine's configuration counts for it."""
    conf = system.root / "etc/wasmocifs/wasmocifs.conf"
    conf.write_text(conf.read_text(encoding="utf-8").replace("#cache-size = SIZE", "cache-size = 128M"), encoding="utf-8")
    (system.root / "mnt/by unit").mkdir()
    (system.root / "etc/wasmocifs/mnt/by unit.env").write_text(f"SOURCES={registry.address}\nOPTIONS=--allow-other\n")
    unit = "wasmocifs@" + system.run("systemd-escape --path '/mnt/by unit'").ok().out.strip()
    system.run(f"systemctl enable --quiet --now '{unit}'").ok()
    assert read(system.path("/mnt/by unit/demo/app:v1/main.wasm")) == image.layer.data
    assert system.status("'/mnt/by unit'")["cache"]["limit"] == 128 << 20
    return unit


def upgrade(system, unit, readers, second, third):
    """New files of the program: the mounts go on with the old one until they are told, or the package does it."""
    said = system.apt(f"install /root/build-package/{second.name}").out
    assert "wasmocifs upgrade '/mnt/oci'" in said and "wasmocifs upgrade '/mnt/by unit'" in said, said
    assert system.generations() == [1, 1]
    for reader in readers:
        reader.goes_on()
    system.run("wasmocifs upgrade /mnt/oci").ok()
    system.run(f"systemctl reload '{unit}'").ok()
    assert system.generations() == [2, 2]
    for reader in readers:
        reader.goes_on()
    system.run("sed -i s/^UPGRADE_MOUNTS=no/UPGRADE_MOUNTS=yes/ /etc/default/wasmocifs").ok()
    system.apt(f"install /root/build-package/{third.name}")
    assert system.generations() == [3, 3]
    for reader in readers:
        reader.goes_on()
        reader.stop()
    assert "cache-size = 128M" in (system.root / "etc/wasmocifs/wasmocifs.conf").read_text(encoding="utf-8")


@pytest.mark.timeout(900)
def test_a_life_of_the_package(system, package, registry, run_component):  # noqa: F811
    if not COMPONENT.exists():
        pytest.skip("build/hello.wasm is not there: scripts/test assembles it")
    image = samples.push_wasm(registry.store, "demo/app", data=COMPONENT.read_bytes())
    large = samples.push_wasm(registry.store, "demo/large", size=(5 << 20) + 3)
    second, third = newer(package, "9.1"), newer(package, "9.2")
    prepare(system, registry, package, second, third)
    conf = system.root / "etc/updatedb.conf"
    conf.write_text('PRUNE_BIND_MOUNTS="yes"\nPRUNEFS="NFS nfs fuse.sshfs"\n')
    before = snapshot(system.root)

    system.run(f"cd /root\n{INSTALL}", timeout=LONG).ok()
    assert system.run("wasmocifs --version").ok().out.startswith("wasmocifs ")
    assert 'PRUNEFS="NFS nfs fuse.sshfs fuse.wasmocifs"\n' in conf.read_text()
    conf.write_text(conf.read_text().replace("NFS nfs", "NFS tmpfs nfs") + "# mine\n")
    serve_by_the_unit_of_the_page(system, registry, image)
    if AUTOFS.exists():
        mount_by_the_units_of_the_page(system, image)
    mount_by_fstab(system, image)
    unit = mount_by_unit(system, registry, image)
    assert run_component(system.path("/mnt/oci/demo/app:v1/main.wasm")).ok().out == LINE
    readers = [Reader(system.path(f"{mnt}/demo/large:v1/main.wasm"), large.layer.data)
               for mnt in ("/mnt/oci", "/mnt/by unit")]
    try:
        upgrade(system, unit, readers, second, third)
    finally:
        for reader in readers:
            reader.stopped.set()

    # What it fetched, is configured with, and serves, goes with it.
    assert list((system.root / "var/cache/wasmocifs/blobs").rglob("*"))
    assert "`apt purge wasmocifs`" in README.text
    system.run("apt purge wasmocifs", timeout=LONG).ok()
    assert system.mounts() == [] and "wasmocifs" not in system.run("cat /proc/[0-9]*/comm").out
    assert conf.read_text() == 'PRUNE_BIND_MOUNTS="yes"\nPRUNEFS="NFS tmpfs nfs fuse.sshfs"\n# mine\n'
    conf.write_text('PRUNE_BIND_MOUNTS="yes"\nPRUNEFS="NFS nfs fuse.sshfs"\n')
    assert not os.path.exists(system.path("/run/wasmocifs"))
    system.run("systemctl stop mnt-oci.automount; rmdir /mnt/oci '/mnt/by unit'; sed -i /wasmocifs/d /etc/fstab").ok()
    system.apt("autoremove --purge")
    after = snapshot(system.root)
    changed = {path: (before.get(path), after.get(path)) for path in {*before, *after} if before.get(path) != after.get(path)}
    assert not changed, "\n".join(f"{path}: {changed[path]}" for path in sorted(changed))
    assert not [path for path in after if "wasmocifs" in path]
