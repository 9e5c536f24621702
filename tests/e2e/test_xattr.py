# SPDX-License-Identifier: Apache-2.0
"""Extended attributes: what is known of a file, without asking anybody."""

import os
from errno import ENODATA, EROFS

import pytest

import samples
from harness import raises, read, run


@pytest.fixture
def image(registry):
    return samples.push_files(registry.store, "demo/app", "v1", {"run.wasm": samples.wasm(5000), "a/b.txt": b"hello"},
                              artifact_type="application/vnd.example.thing",
                              annotations={"org.opencontainers.image.version": "1.2.3", "com.example.k": "v"})


def get(path, name):
    return os.getxattr(path, "user.oci." + name, follow_symlinks=True).decode()


def test_of_content(mount, registry, image):
    m = mount()
    path = m / "demo/app:v1/files/run.wasm"
    assert get(path, "digest") == image.layers[0].digest
    assert get(path, "size") == str(len(image.layers[0].data))
    assert get(path, "media-type") == "application/octet-stream"
    assert (get(path, "cached"), get(path, "verified")) == ("0", "0")
    assert registry.count("GET", "/blobs/") == 0, "no attribute call fetches a blob"
    read(path)
    assert (get(path, "cached"), get(path, "verified")) == ("1", "1")
    assert get(path, "kind") == "module"
    assert {"user.oci.digest", "user.oci.size", "user.oci.media-type", "user.oci.cached", "user.oci.verified"} <= set(
        os.listxattr(path))


def test_of_a_manifest(mount, registry, image):
    m = mount()
    for path in (m / f"demo/app/manifests/sha256/{image.hex}", m / "demo/app:v1/manifest.json", m / "demo/app/tags/v1"):
        read(m / "demo/app/tags/v1/manifest.json")
        assert get(path, "digest") == image.digest, path
        assert get(path, "artifact-type") == "application/vnd.example.thing"
        assert get(path, "annotation.com.example.k") == "v"
        assert get(path, "annotation.org.opencontainers.image.version") == "1.2.3"
        assert get(path, "layer.0.title") == "run.wasm"
        assert get(path, "layer.1.title") == "a/b.txt"
        assert get(path, "source") == f"{registry.address}/demo/app"
        for name in os.listxattr(path):
            assert os.getxattr(path, name) is not None and name.startswith("user.oci.")


def test_other_names_are_no_data_at_once(mount, registry, image):
    m = mount()
    paths = [m.path, m / "demo", m / "demo/app", m / "demo/app:v1/files/run.wasm", m / "demo/app:v1"]
    for path in paths:
        os.stat(path)
    registry.pause()
    for path in paths:
        for name in ("security.selinux", "security.capability", "system.posix_acl_access", "user.other", "user.oci",
                     "user.oci.", "user.oci.nonsense", "trusted.overlay.opaque"):
            try:
                os.getxattr(path, name)
            except OSError as failure:
                from errno import EOPNOTSUPP
                assert failure.errno in (ENODATA, EOPNOTSUPP if name.startswith(("system.", "trusted.")) else ENODATA)
            else:
                raise AssertionError(name)


def test_they_cannot_be_changed(mount, image):
    m = mount()
    path = m / "demo/app:v1/files/run.wasm"
    with raises(EROFS):
        os.setxattr(path, "user.oci.digest", b"x")
    with raises(EROFS):
        os.removexattr(path, "user.oci.digest")


def test_small_buffers(mount, image):
    """getfattr asks for the length first; cp and rsync bring buffers of their own."""
    m = mount()
    result = run(["/usr/bin/python3", "-c",
                  "import ctypes, sys, os\n"
                  "libc = ctypes.CDLL(None, use_errno=True)\n"
                  "path = os.fsencode(sys.argv[1])\n"
                  "n = libc.getxattr(path, b'user.oci.digest', None, 0)\n"
                  "small = libc.getxattr(path, b'user.oci.digest', ctypes.create_string_buffer(3), 3)\n"
                  "code = ctypes.get_errno()\n"
                  "print(n, small, code)\n", m / "demo/app:v1/files/run.wasm"]).ok()
    assert result.out == "71 -1 34\n"
