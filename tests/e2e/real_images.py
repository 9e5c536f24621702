# SPDX-License-Identifier: Apache-2.0
"""Container images by real tools: layers by GNU tar or member by member, images by umoci, pushed and pulled by skopeo.

    layer = Layer().file("a", b"1").whiteout("b")                 # or tarred("/a/directory")
    image = built(work / "image", [layer.tar(), ...])             # an OCI layout, tag v1
    image.push(docker_registry.address, "demo/app", "v1", "docker")
    image.unpack(work / "unpacked")                               # what the mount is compared with

Nothing here knows of mounts.
"""

import dataclasses
import gzip
import io
import json
import pathlib
import shutil
import subprocess
import tarfile

import artifacts
from harness import run

import pytest

# How a registry may hold the same layers: see Image.push.
VARIANTS = ("gzip", "docker", "plain", "zstd", "pieces")
TAR = "application/vnd.oci.image.layer.v1.tar"


def need_tools(*names):
    """scripts/test installs umoci, skopeo and zstd."""
    for name in names or ("umoci", "skopeo", "zstd"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed (Debian package {name})")


class Layer:
    """A tar written member by member, in that order, with what no archiver would write."""

    def __init__(self, format=tarfile.PAX_FORMAT):
        self._out = io.BytesIO()
        self._archive = tarfile.open(fileobj=self._out, mode="w", format=format, errors="surrogateescape")
        self.members = []

    def _add(self, name, kind, data=b"", mode=0o644, target="", **more):
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.linkname, member.size = kind, mode, target, len(data)
        for field, value in more.items():
            setattr(member, field, value)
        self._archive.addfile(member, io.BytesIO(data))
        self.members.append(f"{name!r} {kind.decode()} {mode:o} {target!r} {data[:12]!r}")
        return self

    def file(self, name, data=b"", mode=0o644):
        return self._add(name, tarfile.REGTYPE, data, mode)

    def dir(self, name, mode=0o755):
        return self._add(name, tarfile.DIRTYPE, mode=mode)

    def symlink(self, name, target):
        return self._add(name, tarfile.SYMTYPE, mode=0o777, target=target)

    def hardlink(self, name, target):
        return self._add(name, tarfile.LNKTYPE, target=target)

    def device(self, name, mode=0o666):
        return self._add(name, tarfile.CHRTYPE, mode=mode, devmajor=1, devminor=3)

    def fifo(self, name):
        return self._add(name, tarfile.FIFOTYPE)

    def whiteout(self, name):
        parent, _, last = name.rpartition("/")
        return self._add(f"{parent}/.wh.{last}" if parent else f".wh.{last}", tarfile.REGTYPE, mode=0)

    def opaque(self, name):
        return self._add(f"{name}/.wh..wh..opq" if name else ".wh..wh..opq", tarfile.REGTYPE, mode=0)

    def tar(self):
        self._archive.close()
        return self._out.getvalue()


def tarred(directory, *options):
    """By GNU tar."""
    run(["tar", "--numeric-owner", "--sort=name", *options, "-C", directory, "-cf", f"{directory}.tar", "."]).ok()
    data = pathlib.Path(f"{directory}.tar").read_bytes()
    pathlib.Path(f"{directory}.tar").unlink()
    return data


@dataclasses.dataclass(frozen=True)
class Image:
    """An OCI layout, and a tag in it."""
    layout: pathlib.Path
    tag: str
    tars: tuple

    def config(self):
        """The config blob, as umoci wrote it."""
        manifest = self._blob(self._index_entry()["digest"])
        return self._blob(json.loads(manifest)["config"]["digest"])

    def _index_entry(self):
        entries = json.loads((self.layout / "index.json").read_bytes())["manifests"]
        return next(entry for entry in entries if entry["annotations"][artifacts.REF_NAME] == self.tag)

    def _blob(self, digest):
        return (self.layout / "blobs" / digest.replace(":", "/")).read_bytes()

    def unpack(self, directory):
        """By umoci, as root: with devices, owners and modes as the layers have them."""
        run(["umoci", "raw", "unpack", "--image", f"{self.layout}:{self.tag}", directory]).ok()
        return directory

    def push(self, address, repo, tag, variant="gzip"):
        """By skopeo. docker: with Docker's media types; plain: layers that are not compressed; zstd; pieces: gzip layers
        of several members, as parallel compressors write them."""
        target = f"docker://{address}/{repo}:{tag}"
        source, options = f"oci:{self.layout}:{self.tag}", ["--format", "oci"]
        if variant == "docker":
            options = ["--format", "v2s2"]
        elif variant != "gzip":
            layout = self.layout.parent / f"{self.layout.name}-{variant}"
            artifacts.image_layout(layout, {self.tag: self._packed(variant)})
            source, options = f"oci:{layout}:{self.tag}", ["--preserve-digests"]
        run(["skopeo", "copy", "-q", "--dest-tls-verify=false", *options, source, target]).ok()

    def _packed(self, variant):
        pack, suffix = {"plain": (bytes, ""), "zstd": (_zstd, "+zstd"), "pieces": (_gzip_pieces, "+gzip")}[variant]
        layers = [artifacts.Blob(pack(data), TAR + suffix) for data in self.tars]
        return artifacts.image(artifacts.Blob(self.config(), artifacts.IMAGE_CONFIG), layers)


def _zstd(data):
    """In two frames, which is still one file."""
    middle = len(data) // 2
    return b"".join(subprocess.run(["zstd", "-q", "-c"], input=part, stdout=subprocess.PIPE, check=True, timeout=60).stdout
                    for part in (data[:middle], data[middle:]))


def _gzip_pieces(data):
    size = max(1000, len(data) // 5)
    return b"".join(gzip.compress(data[at:at + size], mtime=0) for at in range(0, len(data), size))


def built(layout, tars, tag="v1", entrypoint=None, **fields):
    """By umoci, in a new layout or one that is there. fields: os, architecture."""
    layout = pathlib.Path(layout)
    if not layout.exists():
        run(["umoci", "init", "--layout", layout]).ok()
    run(["umoci", "new", "--image", f"{layout}:{tag}"]).ok()
    scratch = layout.parent / "layer.tar"
    for data in tars:
        scratch.write_bytes(data)
        run(["umoci", "raw", "add-layer", "--image", f"{layout}:{tag}", scratch]).ok()
    options = [word for name, value in fields.items() for word in (f"--{name}", value)]
    if entrypoint is not None:
        options += ["--config.entrypoint", entrypoint]
    if options:
        run(["umoci", "config", "--image", f"{layout}:{tag}", *options]).ok()
    return Image(layout, tag, tuple(tars))


def pulled(address, repo, tag, directory):
    """The tree that a pull by skopeo and an unpacking by umoci give; of what umoci can decompress."""
    layout = directory / "pulled"
    run(["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{address}/{repo}:{tag}", f"oci:{layout}:{tag}"]).ok()
    run(["umoci", "raw", "unpack", "--image", f"{layout}:{tag}", directory / "tree"]).ok()
    return directory / "tree"
