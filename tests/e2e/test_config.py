# SPDX-License-Identifier: Apache-2.0
"""The configuration file: whose is read, what it may say, and that the command line wins. That of the system is read in
test_package.py, on a system made for it."""

import json
import os

import pytest

import samples
from harness import NOBODY, identity, mountinfo, read, run


@pytest.fixture
def conf(work):
    def make(text, mode=0o644, owner=0, path=None):
        path = path or work / "some.conf"
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        os.chown(path, owner, owner)
        return path
    return make


@pytest.fixture
def attempt(binary, work):
    """mount(…) that must be refused as usage, with one line."""
    mountpoint = work / "mnt"
    mountpoint.mkdir()

    def try_it(*options, said, env=None, user=None):
        result = run([binary, "mount", "--cache", work / "cache", *options, "127.0.0.1:1", mountpoint], timeout=20,
                     env={**os.environ, **(env or {})}, **identity(user))
        assert result.code == 2 and result.out == "" and result.err == f"wasmocifs: mount: {said}\n", result
        assert str(mountpoint) not in mountinfo()
    return try_it


def test_it_counts_and_the_command_line_wins(mount, registry, conf, work):
    image = samples.push_wasm(registry.store, "demo/app")
    file = conf(f"\ufeff# for every mount\nall = true\nallow_host = 127.0.0.1\nno-passthrough\nlog-format = json # for jq\n"
                f"cache = {work}/not-this-one\n")
    m = mount(registry.address, "--config", file)
    assert read(m / registry.address / "demo/app:v1/main.wasm") == image.layer.data
    assert not (work / "not-this-one").exists() and m.log.find(r'^\{"')
    m.unmount()
    m = mount(registry.address, "--config", file, "--all=false", "-o", "log_format=text")
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert not m.log.find(r'^\{"')


def test_pull_and_cache_go_by_it(binary, mount, registry, conf, work):
    image = samples.push_wasm(registry.store, "demo/app")
    reference = f"{registry.address}/demo/app:v1"
    env = {**os.environ, "XDG_RUNTIME_DIR": str(work / "m0/run")}
    file = conf(f"cache = {work}/there\ntimeout = 20s\nallow-other\n")
    run([binary, "pull", "--config", file, reference], env=env).ok()
    rows = json.loads(run([binary, "cache", "ls", "--json", "--config", file], env=env).ok().out)
    assert image.layer.digest in {row["digest"] for row in rows}
    result = run([binary, "cache", "du", "--config", file, "--cache", work / "none"], env=env)
    assert result.code == 1 and f"there is no cache {work}/none" in result.err
    # What it says is no reason to do without a mount, which went by it too.
    another = samples.push_wasm(registry.store, "demo/app", "v2", seed=2)
    m = mount(registry.address, "--config", file, cache=work / "there")
    run([binary, "pull", "--config", file, f"{registry.address}/demo/app:v2"], env=env).ok()
    assert m.status()["hosts"][0]["bytes"] >= len(another.layer.data)
    file = conf("frob = 1\n")
    for words in (["cache", "du"], ["pull", reference]):
        result = run([binary, *words, "--config", file], env=env)
        assert result.code == 2 and result.err.startswith(f"wasmocifs: {words[0]}: {file}:1: unknown option 'frob'")
        assert result.err.count("\n") == 1 and result.out == ""


def test_of_another_command_s_options_nothing_is_judged(binary, conf, work):
    """Such as files that only root's mounts may read."""
    (work / "cache").mkdir(mode=0o700)
    file = conf(f"cache = {work}/cache\nauth-file = {work}/nothing\nmetrics-file = {work}/nothing/x.prom\n")
    run([binary, "cache", "du", "--config", file]).ok()
    result = run([binary, "pull", "--config", file, "127.0.0.1:1/demo/app:v1"])
    assert result.code == 2 and f"{file}:2: auth-file: cannot read" in result.err, "which is pull's too"
    file = conf(f"cache = {work}/cache\nmetrics-file = {work}/nothing/x.prom\n")
    assert run([binary, "pull", "--config", file, "127.0.0.1:1/demo/app:v1"]).code == 1, "by the registry"


def test_none(mount, registry):
    m = mount(registry.address, "--config", "/dev/null")
    assert m.status()["mountpoint"] == str(m)


def test_mistakes_have_a_line(attempt, conf, work):
    file = conf("# one\n\ncache_sizes = 8G\n")
    attempt("--config", file, said=f"{file}:3: unknown option 'cache_sizes'; did you mean 'cache-size'?")
    attempt("-o", f"config={conf('tag-ttl = 9ms')}",
            said=f"{file}:1: tag-ttl: '9ms' is too short; give at least 1s")
    attempt("--config", conf("metrics-file = oci.prom"),
            said=f"{file}:1: metrics-file: 'oci.prom' is not an absolute path")
    attempt("--config", f"{work}/nothing", said=f"--config: there is no file {work}/nothing")
    attempt("--config", work, said=f"{work} is a directory; give a file, or /dev/null for none")
    attempt("--config", conf("#" * (64 << 10) + "\n"), said=f"{file} is larger than 64 KiB")


def test_files_of_others_are_refused(attempt, conf):
    file = conf("offline\n", 0o664)
    attempt("--config", file, said=f"{file} can be written to by others than its owner; close it first: "
                                   f"chmod go-w {file}")
    conf("offline\n", 0o646)
    attempt("--config", file, said=f"{file} can be written to by others than its owner; close it first: "
                                   f"chmod go-w {file}")
    conf("offline\n", owner=NOBODY)
    attempt("--config", file, said=f"{file} belongs to user {NOBODY}; a configuration must belong to root or to you: "
                                   "chown it")
    conf("offline\n", 0o600)
    attempt("--config", file, user=NOBODY,
            said=f"cannot read {file}: Permission denied; do without it by --config /dev/null")


@pytest.mark.parametrize("where", ["XDG_CONFIG_HOME", "HOME"])
def test_a_users_own(attempt, conf, work, where):
    """Read by that user; root takes the system's alone."""
    directory = work / "home" / ("wasmocifs" if where == "XDG_CONFIG_HOME" else ".config/wasmocifs")
    directory.mkdir(parents=True)
    os.chown(work / "home", NOBODY, NOBODY)
    env = {"XDG_CONFIG_HOME": "", where: str(work / "home")}
    file = conf("chace = /x\n", owner=NOBODY, path=directory / "wasmocifs.conf")
    attempt(env=env, user=NOBODY, said=f"{file}:1: unknown option 'chace'; did you mean 'cache'?")
    attempt("--config", "/dev/null", "--allow-host", "a.b", env=env, user=NOBODY,
            said="--allow-host goes with --all: a SOURCE is allowed as it is")
    # With su, HOME may still be another's, who may not even let us look.
    (work / "home").chmod(0o700)
    os.chown(work / "home", 0, 0)
    attempt("--allow-host", "a.b", env=env, user=NOBODY,
            said="--allow-host goes with --all: a SOURCE is allowed as it is")


def test_root_reads_no_users_file(mount, registry, conf, work):
    directory = work / "home/wasmocifs"
    directory.mkdir(parents=True)
    conf("chace = /x\n", path=directory / "wasmocifs.conf")
    mount(registry.address, env={"XDG_CONFIG_HOME": str(work / "home")})


def test_mount_8_reads_it(binary, conf, work):
    helper = work / "mount.wasmocifs"
    helper.symlink_to(binary)
    (work / "mnt").mkdir()
    file = conf("frobnicate\n")
    result = run([helper, "127.0.0.1:1", work / "mnt", "-o", f"config={file}"])
    assert result.code == 1, result
    assert result.err == f"wasmocifs: mount: {file}:1: unknown option 'frobnicate'; see 'wasmocifs mount --help'\n"
