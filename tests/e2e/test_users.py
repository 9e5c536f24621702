# SPDX-License-Identifier: Apache-2.0
"""Who may see a mount: an ordinary user's through fusermount3, and everybody else outside."""

import json
import os
import pathlib
import stat
from errno import EACCES

import pytest

import samples
from harness import NOBODY, STRANGER, mountinfo, raises, read, run

AS_NOBODY = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
AS_STRANGER = {"user": STRANGER, "group": STRANGER, "extra_groups": []}


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=3 << 20)


@pytest.fixture
def theirs(mount, image, work):
    """A mount of the user nobody."""
    cache = work / "their-cache"
    cache.mkdir(mode=0o700)
    os.chown(cache, NOBODY, NOBODY)
    return mount(user=NOBODY, cache=cache)


def test_an_ordinary_user_mounts_and_reads(theirs, image):
    result = run(["sha256sum", theirs / "demo/app:v1/main.wasm"], **AS_NOBODY).ok()
    assert result.out.startswith(image.layer.hex)
    assert run(["stat", "-c", "%u %g %a", theirs / "demo/app:v1/main.wasm"], **AS_NOBODY).ok().out == \
        f"{NOBODY} {NOBODY} 555\n"
    options = mountinfo()[str(theirs)]
    assert options[1] == "fuse.wasmocifs" and {"ro", "nosuid", "nodev"} <= set(options[2].split(","))


@pytest.mark.parametrize("who", [AS_STRANGER, {}], ids=["another-user", "root"])
def test_nobody_else_sees_it(theirs, image, who):
    for command in (["ls", theirs], ["cat", theirs / "demo/app:v1/main.wasm"], ["stat", theirs / "demo"]):
        result = run(command, **who)
        assert result.code != 0 and "Permission denied" in result.err


@pytest.mark.parametrize("plant", ["directory", "file", "symlink"])
def test_a_place_for_sockets_that_somebody_took(binary, registry, work, plant):
    """Another user was first at /tmp/wasmocifs-UID: what to do is said."""
    uid = STRANGER + 77
    home = work / "home"
    home.mkdir()
    (home / "mnt").mkdir()
    for path in (home, home / "mnt"):
        os.chown(path, uid, uid)
    taken = pathlib.Path(f"/tmp/wasmocifs-{uid}")
    if plant == "directory":
        taken.mkdir(mode=0o777)
    elif plant == "file":
        taken.touch()
    else:
        taken.symlink_to(home)
    try:
        result = run([binary, "mount", registry.address, home / "mnt"], user=uid, group=uid, extra_groups=[],
                     env={"PATH": os.environ["PATH"], "HOME": str(home)})
    finally:
        taken.rmdir() if plant == "directory" else taken.unlink()
    assert result.code == 1 and result.err == \
        f"wasmocifs: {taken} must be a directory of user {uid} that is open to nobody else: have what is there " \
        "removed, or set XDG_RUNTIME_DIR to a directory of your own\n"


def test_root_s_own_mount_is_closed_too(mount, image):
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    for who in (AS_NOBODY, AS_STRANGER):
        result = run(["cat", m / "demo/app:v1/main.wasm"], **who)
        assert result.code != 0 and "Permission denied" in result.err


def test_allow_other(mount, image):
    m = mount(None, "--allow-other")
    for who in (AS_NOBODY, AS_STRANGER):
        assert run(["sha256sum", m / "demo/app:v1/main.wasm"], **who).ok().out.startswith(image.layer.hex)


@pytest.mark.parametrize("options", [
    ["--allow-other", "--uid", "nobody", "--gid", str(STRANGER), "--umask", "027"],
    ["-o", f"allow_other,uid={NOBODY},gid={STRANGER},umask=027"]], ids=["long", "words"])
def test_whose_files_they_are_shown_to_be(mount, image, options):
    """The kernel looks at owner, group and mode: so they say who of the others may read."""
    m = mount(None, *options)
    shown = {path: run(["stat", "-c", "%u %g %a", path]).ok().out.strip()
             for path in (m.path, m / "demo", m / "demo/app:v1/layers", m / "demo/app:v1/main.wasm",
                          m / "demo/app:v1/manifest.json")}
    assert set(shown.values()) == {f"{NOBODY} {STRANGER} 550", f"{NOBODY} {STRANGER} 440"}, shown
    assert os.lstat(m / "demo/app:v1").st_mode & 0o777 == 0o777
    for who in (AS_NOBODY, AS_STRANGER):
        assert run(["sha256sum", m / "demo/app:v1/main.wasm"], **who).ok().out.startswith(image.layer.hex)
    somebody = {"user": STRANGER + 7, "group": STRANGER + 7, "extra_groups": []}
    assert "Permission denied" in run(["ls", m.path], **somebody).err


def test_a_mask_in_one_s_own_mount(mount, image, work):
    m = mount(None, "--umask", "077")
    assert stat.S_IMODE(os.stat(m / "demo/app:v1/main.wasm").st_mode) == 0o500
    assert stat.S_IMODE(os.stat(m / "demo/app:v1/config.json").st_mode) == 0o400
    m.kill_worker()
    assert stat.S_IMODE(os.stat(m / "demo/app:v1/layers/0.wasm").st_mode) == 0o500


@pytest.mark.parametrize("options, message", [
    (["--uid", "nobody"], "--allow-other"), (["--gid", "0"], "--allow-other"),
    (["--allow-other", "--uid", "no-such-user"], "there is no user 'no-such-user'"),
    (["--allow-other", "--uid", "4294967295"], "there is no user"), (["--allow-other", "--uid", "-1"], "there is no user"),
    (["--allow-other", "--gid", ""], "there is no group ''"), (["--umask", "8"], "write it in octal"),
    (["--umask", "1000"], "write it in octal"), (["--umask", "u=rx"], "write it in octal"),
    (["-o", "umask"], "-o umask needs a value")])
def test_owners_that_make_no_sense(binary, work, options, message):
    result = run([binary, "mount", *options, "127.0.0.1:1", work])
    assert result.code == 2 and message in result.err and result.err.count("\n") == 1, result


def test_the_user_unmounts_it(theirs, image, binary):
    theirs.unmount()
    assert str(theirs) not in mountinfo()


def test_asked_with_another_runtime_directory(theirs, binary):
    """What looks like its death to whoever asks elsewhere is said to be perhaps that."""
    env = {**theirs.env, "XDG_RUNTIME_DIR": "/nowhere"}
    for command in ("status", "why"):
        result = run([binary, command, theirs], env=env, **AS_NOBODY)
        assert result.code == 1 and result.err.count("\n") == 1, result
        assert "or it was mounted with another XDG_RUNTIME_DIR: set that" in result.err
    assert theirs.status()["state"] == "serving"


def test_where_a_user_may_not_write(binary, work):
    """What somebody new meets first, who mounts below /mnt."""
    cache, mountpoint = work / "their-cache", work / "of-root"
    cache.mkdir(mode=0o700)
    mountpoint.mkdir()
    os.chown(cache, NOBODY, NOBODY)
    env = {**os.environ, "HOME": str(work)}
    result = run([binary, "mount", "--cache", cache, "127.0.0.1:1", mountpoint], env=env, **AS_NOBODY)
    assert result.code == 1 and result.out == "", result
    assert result.err == (f"wasmocifs: you may not write to {mountpoint}, and so not mount there (Permission denied); choose a "
                          "directory of your own, as mkdir -p ~/oci makes one\n")


def test_a_stranger_cannot_unmount_or_ask(theirs, image, binary):
    assert run([binary, "unmount", theirs], env=theirs.env, **AS_STRANGER).code == 1
    assert str(theirs) in mountinfo()
    result = run([binary, "status", "--json", theirs], env=theirs.env, **AS_STRANGER)
    assert result.code == 1 and "only they and root can ask" in result.err, result
    assert [mount["state"] for mount in json.loads(result.out)] == ["denied"] and image.layer.hex not in result.out


def test_their_cache_is_theirs_alone(theirs, image):
    run(["cat", theirs / "demo/app:v1/main.wasm"], **AS_NOBODY)
    found = theirs.cache.stat()
    assert found.st_uid == NOBODY and stat.S_IMODE(found.st_mode) == 0o700
    blob = theirs.cache / "blobs/sha256" / image.layer.hex
    assert blob.stat().st_uid == NOBODY
    with raises(EACCES):
        as_stranger(blob)


def as_stranger(path):
    result = run(["cat", path], **AS_STRANGER)
    if result.code:
        raise OSError(EACCES if "Permission denied" in result.err else 0, result.err)


def test_the_default_cache_of_a_user(mount, image, work):
    """Without --cache: below the user's own home, made 0700."""
    m = mount(user=NOBODY, cache=work / "m0/home/.cache/wasmocifs")
    run(["cat", m / "demo/app:v1/main.wasm"], **AS_NOBODY).ok()
    assert stat.S_IMODE((work / "m0/home/.cache/wasmocifs").stat().st_mode) == 0o700


@pytest.mark.parametrize("closed", ["", ".config"], ids=["closed", "to-be-passed-through"])
def test_with_the_home_of_somebody_else(mount, image, work, closed):
    """As after su or setpriv, which keep it: what may not be looked into is not where one's own files are."""
    cache, home = work / "their-cache", work / "home-of-root"
    (home / ".config/containers").mkdir(parents=True)
    (home / ".config/containers/registries.conf").write_text("not for others")
    (home / closed).chmod(0o700)
    cache.mkdir(mode=0o700)
    os.chown(cache, NOBODY, NOBODY)
    m = mount(user=NOBODY, cache=cache, env={"HOME": str(home)})
    run(["cat", m / "demo/app:v1/main.wasm"], **AS_NOBODY).ok()


def test_a_large_file_without_passthrough(theirs, image):
    """An ordinary user cannot have passthrough; the bytes come all the same, mapped too."""
    program = ("import mmap, sys, hashlib\n"
               "with open(sys.argv[1], 'rb') as f:\n"
               "    print(hashlib.sha256(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:]).hexdigest())\n")
    result = run(["/usr/bin/python3", "-c", program, theirs / "demo/app:v1/main.wasm"], **AS_NOBODY).ok()
    assert result.out.strip() == image.layer.hex
