# SPDX-License-Identifier: Apache-2.0
"""The command line: mount, unmount and status, and what is said of bad input."""

import json
import os
import pathlib
import re
import subprocess
import tempfile

import pytest

import samples
from harness import GUARD, NOBODY, SLOW, Clock, Failed, children_of, identity, mountinfo, read, run, umount2, until
from registry import behaviours as b


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1")


def test_help_and_version(binary):
    result = run([binary, "--help"]).ok()
    assert "mount" in result.out and "unmount" in result.out and "status" in result.out and result.err == ""
    assert re.fullmatch(r"wasmocifs \d+\.\d+\.\d+\n", run([binary, "--version"]).ok().out)
    for command in ("mount", "unmount", "status"):
        result = run([binary, command, "--help"]).ok()
        assert f"wasmocifs {command}" in result.out and result.err == ""
    assert "--cache-size" in run([binary, "mount", "--help"]).out


@pytest.mark.parametrize("arguments", [
    [], ["frobnicate"], ["--frobnicate"], ["mount"], ["mount", "127.0.0.1:1"], ["mount", "--frobnicate", "a.b", "MNT"],
    ["mount", "--tag-ttl", "soon", "a.b", "MNT"], ["mount", "--tag-ttl", "10ms", "a.b", "MNT"],
    ["mount", "--cache-size", "-1", "a.b", "MNT"], ["mount", "--cache-size", "lots", "a.b", "MNT"],
    ["mount", "--log-level", "loud", "a.b", "MNT"], ["mount", "-o", "frobnicate", "a.b", "MNT"],
    ["mount", "not a host", "MNT"], ["mount", "http://", "MNT"], ["mount", "a.b:99999", "MNT"],
    ["mount", "ftp://a.b", "MNT"], ["mount", "a.b/UPPER", "MNT"], ["mount", "oci:", "MNT"], ["mount", "", "MNT"],
    ["mount", "--timeout", "a.b", "MNT"], ["unmount"], ["status", "a", "b", "--frobnicate"],
    ["mount", "--ready-fd", "77", "a.b", "MNT"], ["mount", "none", "MNT"], ["status", ""],
    ["mount", "--cache-size", "9223372036854775808", "a.b", "MNT"]], ids=lambda a: " ".join(a) or "nothing")
def test_usage_errors(binary, work, arguments):
    mountpoint = work / "mnt"
    mountpoint.mkdir()
    result = run([binary, *[str(mountpoint) if a == "MNT" else a for a in arguments]], timeout=20)
    assert result.code == 2 and result.out == "", result
    assert result.err.startswith("wasmocifs: ") and result.err.count("\n") == 1, "one line that says what is wrong"
    assert str(mountpoint) not in mountinfo()


@pytest.mark.parametrize("words, said", [
    (["umount", "/mnt"], "unknown command 'umount'; did you mean 'unmount'?"),
    (["moun", "/mnt"], "unknown command 'moun'; did you mean 'mount'?"),
    # As mount.fuse3(8) calls the program for the type that mountinfo has.
    (["ghcr.io", "/mnt/oci", "-o", "rw"], "unknown command 'ghcr.io'; to mount it: wasmocifs mount ghcr.io /mnt/oci (its type "
                                          "in fstab, and for mount -t, is wasmocifs)"),
])
def test_words_that_are_no_command(binary, words, said):
    result = run([binary, *words])
    assert result.code == 2 and result.out == "" and result.err == f"wasmocifs: {said}\n", result


@pytest.mark.parametrize("what", ["missing", "file", "layout-missing", "layout-none", "cache-file", "auth-missing"])
def test_failures(binary, work, what):
    mountpoint = work / "mnt"
    if what == "file":
        mountpoint.write_text("")
    elif what != "missing":
        mountpoint.mkdir()
    (work / "plain").write_text("")
    (work / "empty").mkdir()
    source = {"layout-missing": f"oci:{work}/nothing", "layout-none": f"oci:{work}/empty"}.get(what, "127.0.0.1:1")
    options = {"cache-file": ["--cache", work / "plain"], "auth-missing": ["--auth-file", work / "nothing"]}.get(
        what, ["--cache", work / "cache"])
    result = run([binary, "mount", *options, source, mountpoint], timeout=20)
    assert result.code in (1, 2) and result.out == "", result
    assert result.err.startswith("wasmocifs: ") and result.err.count("\n") == 1
    culprit = {"layout-missing": "nothing", "layout-none": "empty", "cache-file": "plain",
               "auth-missing": "nothing"}.get(what, str(mountpoint))
    assert culprit in result.err


UNUSABLE = [("missing", "No such file"), ("directory", "is a directory"), ("fifo", "no regular file"),
            ("closed", "Permission denied"), ("loop", "symbolic links")]


@pytest.mark.parametrize("option, what, said", [
    *(("--auth-file", *one) for one in UNUSABLE), *(("--ca-file", *one) for one in UNUSABLE),
    ("--ca-file", "other", "no PEM certificate")])
def test_files_that_cannot_be_used(binary, work, option, what, said):
    """Said at once; to somebody for whom modes count."""
    mountpoint = work / "mnt"
    mountpoint.mkdir()
    file = work / "the-file"
    {"missing": lambda: None, "directory": file.mkdir, "fifo": lambda: os.mkfifo(file), "closed": lambda: file.touch(0),
     "loop": lambda: file.symlink_to(file), "other": lambda: file.write_text("root:x:0:0::/:/bin/sh\n")}[what]()
    result = run([binary, "mount", option, file, "127.0.0.1:1", mountpoint], timeout=20, **identity(NOBODY))
    assert result.code == 2 and result.err.startswith(f"wasmocifs: mount: {option}: ") and result.err.count("\n") == 1
    assert str(file) in result.err and said in result.err
    assert str(mountpoint) not in mountinfo()


def test_files_that_vanish(mount, authority, work, registry, image):
    """What was there at the mount concerns, once it is gone, those who need it."""
    file = authority.ca_file(work)
    m = mount(f"http://{registry.address}", "--ca-file", file)
    file.unlink()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


@pytest.mark.parametrize("option, where", [
    ("--cache", "mnt"), ("--cache", "into-mnt"),
    *((option, where) for option in ("--cache", "--auth-file", "--ca-file")
      for where in ("mnt/deep/down", "link/file", "mnt/../mnt/file"))])
def test_what_the_mount_would_hide(binary, work, authority, option, where):
    mountpoint = work / "mnt"
    (mountpoint / "deep").mkdir(parents=True)
    (work / "link").symlink_to("mnt/deep")
    (work / "into-mnt").symlink_to("mnt")
    path = work / where
    if option != "--cache":
        authority.ca_file(work).rename(path)
    options = [option, path] + ([] if option == "--cache" else ["--cache", work / "cache"])
    result = run([binary, "mount", *options, "127.0.0.1:1", mountpoint], timeout=20)
    assert result.code == 2 and result.out == "" and result.err.count("\n") == 1, result
    assert option in result.err and f"the mountpoint {mountpoint}, and the mount would hide it" in result.err
    assert str(mountpoint) not in mountinfo() and not (path.is_dir() and list(path.glob("*/*")))


def test_the_default_cache_must_not_be_hidden(binary, work):
    home = work / "home"
    (home / ".cache").mkdir(parents=True)
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    for mountpoint, more in ((home, {}), (home / ".cache", {}), (work, {"XDG_CACHE_HOME": f"{work}/elsewhere"})):
        result = run([binary, "mount", "127.0.0.1:1", mountpoint], env={**env, **more}, timeout=20, **identity(NOBODY))
        assert result.code == 2 and result.err.count("\n") == 1, result
        assert f"the mountpoint {mountpoint}, and the mount would hide it" in result.err and "--cache" in result.err
        assert str(mountpoint) not in mountinfo()


def test_the_control_socket_must_not_be_hidden(binary, work):
    """The daemon would wait for itself, and take no signal."""
    (work / "runtime").mkdir(0o700)
    os.chown(work / "runtime", NOBODY, NOBODY)
    env = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": f"{work}/runtime"}
    result = run([binary, "mount", "--cache", work / "cache", "127.0.0.1:1", work / "runtime"], env=env, timeout=20,
                 **identity(NOBODY))
    assert result.code == 2 and "control socket" in result.err and result.err.count("\n") == 1, result


@pytest.mark.parametrize("place, code", [("/run", 2), ("/tmp", 0), ("/proc", 2), ("/dev", 2), ("/etc", 2), ("/usr", 2)])
def test_on_a_directory_of_the_system(binary, work, image, registry, place, code):
    """/tmp holds sockets too, but only where there is no /run. What every process opens must not be hidden from ours."""
    if run(["unshare", "--mount", "true"]).code:
        pytest.skip("unshare --mount does not work here")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as cache:
        result = run(["unshare", "--mount", "sh", "-c",
                      f"timeout -s KILL {int(20 * SLOW)} {binary} mount --cache {cache} {registry.address} {place} && "
                      f"cat {place}/demo/app:v1/main.wasm | wc -c && exec umount {place}"], timeout=50 * SLOW)
    assert result.code == code and result.err.count("\n") == (code != 0), result
    if code == 0:
        assert int(result.out) == len(image.layer.data)


def test_the_mountpoint_may_lie_below_the_cache(binary, work, registry, image):
    mountpoint = work / "cache" / "mnt"
    mountpoint.mkdir(parents=True)
    (work / "cache").chmod(0o700)
    (work / "cache" / "mnt-of-another").mkdir()
    run([binary, "mount", "--cache", work / "cache", registry.address, mountpoint], timeout=30 * SLOW).ok()
    try:
        assert read(mountpoint / "demo/app:v1/main.wasm") == image.layer.data
        other = work / "cache" / "mnt-of-another"
        run([binary, "mount", "--cache", work / "cache", registry.address, other], timeout=30 * SLOW).ok()
        run([binary, "unmount", other]).ok()
    finally:
        run([binary, "unmount", mountpoint]).ok()


def test_mounted_already(mount, binary, image):
    m = mount()
    result = run([binary, "mount", "--cache", m.cache, m.source, m], env=m.env, timeout=30)
    assert result.code == 1 and str(m) in result.err and result.err.count("\n") == 1
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_in_the_background(binary, registry, image, work):
    mountpoint = work / "mnt"
    mountpoint.mkdir()
    env = {**os.environ, "XDG_RUNTIME_DIR": str(work)}
    result = run([binary, "mount", "--cache", work / "cache", registry.address, mountpoint], env=env, timeout=30).ok()
    assert (result.out, result.err) == ("", "")
    try:
        assert read(mountpoint / "demo/app:v1/main.wasm") == image.layer.data, "it answers once the command returns"
        status = json.loads(run([binary, "status", "--json", mountpoint], env=env).ok().out)[0]
        pid = status["pid"]
        assert os.readlink(f"/proc/{pid}/cwd") == "/" and os.getsid(pid) != os.getsid(0)
        assert {os.readlink(f"/proc/{pid}/fd/{n}") for n in (0, 1, 2)} == {"/dev/null"}
        pidfd = os.pidfd_open(pid)
    finally:
        run([binary, "unmount", mountpoint], env=env).ok()
    import select
    assert select.select([pidfd], [], [], 10 * SLOW)[0]
    os.close(pidfd)
    assert str(mountpoint) not in mountinfo()


def test_options_of_mount_8(mount, registry, image, work):
    m = mount(None, "-o", f"ro,nofail,_netdev,x-systemd.automount,tag_ttl=5s,cache_size=100M,timeout=5s")
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_as_a_mount_helper(binary, registry, image, work):
    helper = work / "mount.wasmocifs"
    helper.symlink_to(binary)
    mountpoint = work / "mnt"
    mountpoint.mkdir()
    env = {**os.environ, "XDG_RUNTIME_DIR": str(work)}
    run([helper, registry.address, mountpoint, "-o", f"rw,cache={work}/cache"], env=env, timeout=30).ok()
    assert read(mountpoint / "demo/app:v1/main.wasm") == image.layer.data
    pid = json.loads(run([binary, "status", "--json", mountpoint], env=env).ok().out)[0]["pid"]
    pidfd = os.pidfd_open(pid)
    run(["umount", mountpoint]).ok()
    import select
    assert select.select([pidfd], [], [], 10 * SLOW)[0], "umount(8) ends the daemon too"
    os.close(pidfd)


def test_status(mount, registry, image, binary):
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    status = m.status()
    assert status["mountpoint"] == str(m) and status["sources"] == [registry.address]
    assert status["pid"] == m.pid() and [status["worker_pid"]] == children_of(m.pid()) and status["generation"] == 1
    assert status["cache"]["directory"] == str(m.cache)
    assert 0 < status["cache"]["bytes"] < status["cache"]["limit"]
    assert status["hosts"] and registry.address in json.dumps(status["hosts"])
    assert re.match(r"\d+\.\d+\.\d+", status["version"])
    assert str(m) in run([binary, "status"], env=m.env).ok().out
    assert str(m) in run([binary, "status", m], env=m.env).ok().out


def test_a_full_disk_behind_stdout(mount, registry, image, binary, work):
    """Is one line and a failure, however much there was to be said, and said at once or at the end."""
    m = mount()
    for i in range(20):  # more than a buffer full
        one = samples.push_wasm(registry.store, "demo/many", f"v{i}", size=1000, seed=i)
        read(m / f"demo/many:v{i}/main.wasm")
        until(lambda one=one: (work / "cache/blobs/sha256" / one.layer.hex).exists(), what="the blob being published")
    cache = ["--cache", work / "cache"]
    commands = [["--help"], ["--version"], ["help", "mount"], ["mount", "--help"], ["refresh", m / "demo/app:v1"]]
    for more in ([], ["--json"], ["--metrics"]):
        commands += [["status", *more], ["status", *more, m]]
    for more in ([], ["--json"]):
        commands += [["why", *more, m / "demo/app:no"],
                     *(["cache", word, *more, *cache] for word in ("ls", "du", "verify")),
                     ["cache", "prune", "--dry-run", *more, *cache],
                     ["cache", "rm", "--unpin", *more, *cache, f"{registry.address}/demo/many:v1"]]
    commands += [["pull", *more, *cache, f"{registry.address}/demo/app:v1"] for more in ([], ["--timeout", "30s"])]
    with open("/dev/full", "w", encoding="utf-8") as full:
        for words in commands:
            process = subprocess.run([binary, *map(str, words)], stdout=full, stderr=subprocess.PIPE, text=True,
                                     env=m.env, timeout=GUARD)
            said = (process.returncode, process.stderr)
            if words[0] == "refresh" and said == (0, ""):
                continue  # which has nothing to say
            assert said == (1, "wasmocifs: cannot write to standard output\n"), (words, said)


def test_status_tells_of_a_host_that_is_down(mount, registry, image):
    registry.stop()
    m = mount(None, "--timeout", "2s")
    with pytest.raises(OSError):
        os.readlink(m / "demo/app:v1")
    hosts = json.dumps(m.status()["hosts"])
    assert "down" in hosts or "refused" in hosts or "unreach" in hosts.lower(), hosts


def test_status_of_a_stopped_daemon_does_not_hang(mount, registry, image, binary):
    import signal
    m = mount()
    m.process.send_signal(signal.SIGSTOP)
    try:
        with Clock() as took:
            result = run([binary, "status", "--json", m], env=m.env, timeout=30 * SLOW)
        assert took.seconds < 15 * SLOW and (result.code != 0 or str(m) in result.out)
    finally:
        m.process.send_signal(signal.SIGCONT)


def test_nothing_to_unmount(binary, work):
    result = run([binary, "unmount", work], timeout=20)
    assert result.code == 1 and str(work) in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("lazy", ["--lazy", "-l"])
def test_lazy_unmount_of_a_busy_mount(mount, registry, image, binary, lazy):
    m = mount()
    fd = os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    assert run([binary, "unmount", m], env=m.env).code == 1
    run([binary, "unmount", lazy, m], env=m.env).ok()
    assert str(m) not in mountinfo()
    assert os.pread(fd, 1 << 20, 0) == image.layer.data
    os.close(fd)
    assert m.wait_exit() == 0


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
def test_signals_end_it_well(mount, registry, image, number):
    import signal
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    m.process.send_signal(getattr(signal, number))
    assert m.wait_exit(10) == 0
    assert not m.is_mounted()


@pytest.mark.parametrize("state", ["refused", "silent", "unroutable"])
def test_up_in_no_time_with_the_registry_down(binary, registry, work, state):
    """Under 100 ms, and without a single request."""
    source = registry.address
    if state == "refused":
        registry.stop()
    elif state == "silent":
        registry.pause()
    else:
        source = "no.such.host.invalid"
    mountpoint = work / "mnt"
    mountpoint.mkdir()
    env = {**os.environ, "XDG_RUNTIME_DIR": str(work)}
    times = []
    for _ in range(5):
        with Clock() as took:
            run([binary, "mount", "--cache", work / "cache", source, mountpoint], env=env, timeout=30).ok()
        times.append(took.seconds)
        pid = json.loads(run([binary, "status", "--json", mountpoint], env=env).ok().out)[0]["pid"]
        pidfd = os.pidfd_open(pid)
        run([binary, "unmount", mountpoint], env=env).ok()
        import select
        assert select.select([pidfd], [], [], 10 * SLOW)[0]
        os.close(pidfd)
    assert min(times) < 0.1 * SLOW, times
    assert registry.count() == 0 and registry.accepted == 0


def test_no_socket_left_after_a_crash(mount, image, binary):
    """What a killed daemon left is cleaned up by the next one, and status says what is true."""
    m = mount()
    m.kill()
    result = run([binary, "status", m], env=m.env, timeout=30)
    assert result.code != 0 or "stale" in result.out or "not" in result.out or "down" in result.out
    m.restart()
    m.unmount()
    left = [path for path in pathlib.Path(m.env["XDG_RUNTIME_DIR"]).rglob("*") if not path.is_dir()]
    assert not left


def test_log_as_json(mount, registry, image):
    registry.on(None, "/manifests/", b.error(403, "DENIED", 'say "no"'))
    m = mount(None, "--log-format", "json")
    with pytest.raises(OSError):
        os.readlink(m / "demo/app:v1")
    m.log.wait("403")
    for line in m.log.lines:
        assert {"time", "level", "message"} <= set(json.loads(line))


def test_without_a_way_to_mount(binary, work):
    """No /dev/fuse: said in one line."""
    if run(["unshare", "--mount", "true"]).code:
        pytest.skip("unshare --mount does not work here")
    mountpoint = work / "mnt"
    mountpoint.mkdir()
    result = run(["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none /dev && {binary} mount -f --cache {work}/cache "
                  f"127.0.0.1:1 {mountpoint}"], timeout=30)
    assert result.code == 1 and "/dev/fuse" in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("user", [None, NOBODY], ids=["root", "nobody"])
@pytest.mark.parametrize("impostor", ["/dev/null", "/etc/passwd"])
def test_a_dev_fuse_that_is_none(binary, work, impostor, user):
    if run(["unshare", "--mount", "true"]).code:
        pytest.skip("unshare --mount does not work here")
    mountpoint = work / "mnt"
    mountpoint.mkdir()
    become = "" if user is None else f"setpriv --reuid {user} --regid {user} --clear-groups "
    result = run(["unshare", "--mount", "sh", "-c", f"mount --bind {impostor} /dev/fuse && exec {become}{binary} mount "
                  f"--cache {work}/cache 127.0.0.1:1 {mountpoint}"], timeout=30)
    assert result.code == 1 and result.err.count("\n") == 1, result
    assert "/dev/fuse is not the FUSE device" in result.err and "mknod" in result.err


def test_a_foreground_mount_that_is_unmounted_from_outside(mount, image):
    m = mount()
    assert umount2(str(m), 0) == 0
    assert m.wait_exit(10) == 0


def test_fails_before_it_is_ready(mount, work, image):
    (work / "file").write_text("")
    with pytest.raises(Failed):
        mount(cache=work / "file", fails=True)
