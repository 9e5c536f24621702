# SPDX-License-Identifier: Apache-2.0
"""Wasm in its packagings, made on the spot, and the two places to put it: an OCI image layout, a real registry.

    artifact = cncf(wasm_component(seed=1, size=65536), title="hello.wasm")
    image_layout("/tmp/layout", {"v1": artifact, "v2": oras({"a/b.txt": b"hello"})})
    push("http://127.0.0.1:5000", "demo/hello", "v1", artifact, auth=("user", "password"))

Pure functions over plain values: the same arguments give the same bytes, so a digest can be told without a registry.
Standard library only. Nothing here knows of mounts.
"""

import base64
import dataclasses
import gzip
import hashlib
import io
import json
import pathlib
import random
import tarfile
import urllib.error
import urllib.parse
import urllib.request

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"
REF_NAME = "org.opencontainers.image.ref.name"
PIECE = 1 << 20


def digest_of(data, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@dataclasses.dataclass(frozen=True)
class Blob:
    data: bytes
    media_type: str
    title: str = None
    annotations: dict = dataclasses.field(default_factory=dict)
    algorithm: str = "sha256"

    @property
    def digest(self):
        return digest_of(self.data, self.algorithm)

    @property
    def hex(self):
        return self.digest.partition(":")[2]

    def descriptor(self):
        annotations = dict(self.annotations)
        if self.title is not None:
            annotations[TITLE] = self.title
        found = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}
        return {**found, "annotations": annotations} if annotations else found


@dataclasses.dataclass(frozen=True)
class Artifact:
    """`data` are the exact bytes of the manifest, or of the index over `children`."""
    data: bytes
    media_type: str
    config: Blob = None
    layers: tuple = ()
    children: tuple = ()

    @property
    def digest(self):
        return digest_of(self.data)

    @property
    def hex(self):
        return self.digest.partition(":")[2]

    @property
    def layer(self):
        return self.layers[0]

    @property
    def wasm(self):
        """The first layer that is Wasm."""
        return next(blob for blob in self.layers if blob.data[:4] == b"\0asm")

    def descriptor(self, **more):
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **more}

    def blobs(self):
        """Config and layers, each digest once, in the order of the manifest."""
        found = {blob.digest: blob for blob in ([self.config] if self.config else []) + list(self.layers)}
        return list(found.values())


# bytes

def random_bytes(seed, size):
    """Does not compress, and is the same in every run."""
    source = random.Random(seed)
    return b"".join(source.randbytes(min(PIECE, size - at)) for at in range(0, size, PIECE))


def _leb(n):
    out = b""
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def _custom_section(name, content):
    body = _leb(len(name)) + name + content
    return b"\0" + _leb(len(body)) + body


def wasm_module(seed=0, size=4096):
    """A valid core module of about `size` bytes: a custom section of noise."""
    return b"\0asm\1\0\0\0" + _custom_section(b"noise", random_bytes(seed, max(0, size - 18)))


def _section(number, *parts):
    body = b"".join(parts)
    return bytes([number]) + _leb(len(body)) + body


def _name(text):
    return _leb(len(text)) + text


def wasm_command(says):
    """A core module that is a WASI preview 1 command: it prints those bytes."""
    assert len(says) < 64, "a constant of one byte"
    store = b"\x41%c\x41%c\x36\x02\x00"  # i32.const, i32.const, i32.store
    main = b"\0" + store % (0, 16) + store % (4, len(says)) + b"\x41\x01\x41\x00\x41\x01\x41\x08\x10\x00\x1a\x0b"
    return (b"\0asm\1\0\0\0" + _section(1, b"\x02\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x00\x00") +
            _section(2, b"\x01", _name(b"wasi_snapshot_preview1"), _name(b"fd_write"), b"\x00\x00") +
            _section(3, b"\x01\x01") + _section(5, b"\x01\x00\x01") +
            _section(7, b"\x02", _name(b"memory"), b"\x02\x00", _name(b"_start"), b"\x00\x01") +
            _section(10, b"\x01", _leb(len(main)), main) +
            _section(11, b"\x01\x00\x41\x10\x0b", _name(says)))


def wasm_component(seed=0, size=4096):
    """A valid, empty component of about `size` bytes."""
    return b"\0asm\x0d\0\1\0" + _custom_section(b"noise", random_bytes(seed, max(0, size - 18)))


# packagings

def _json(value):
    return json.dumps(value, separators=(",", ":")).encode()


def image(config, layers, with_type=True, **fields):
    """A manifest over any config and layers; `fields` go into it (annotations, artifactType, subject)."""
    manifest = {"schemaVersion": 2, **({"mediaType": MANIFEST} if with_type else {}), "config": config.descriptor(),
                "layers": [blob.descriptor() for blob in layers], **fields}
    return Artifact(_json(manifest), MANIFEST, config, tuple(layers))


def cncf(wasm, title=None, **fields):
    """A: the CNCF Wasm OCI artifact, as wkg writes it."""
    layer = Blob(wasm, "application/wasm", title)
    component = wasm[4:8] == b"\x0d\0\1\0"
    config = {"created": "2026-01-02T03:04:05Z", "architecture": "wasm", "os": "wasip2" if component else "wasip1",
              "layerDigests": [layer.digest]}
    if component:
        config["component"] = {"exports": ["wasi:cli/run@0.2.0"], "imports": [], "target": None}
    return image(Blob(_json(config), "application/vnd.wasm.config.v0+json"), [layer], **fields)


def runwasi(*wasms, entrypoint="hello.wasm", **fields):
    """B: raw layers below the config of a container image."""
    layers = [Blob(data, "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm") for data in wasms]
    config = {"architecture": "wasm", "os": "wasip1", "config": {"Entrypoint": [entrypoint]},
              "rootfs": {"type": "layers", "diff_ids": []}}
    return image(Blob(_json(config), IMAGE_CONFIG), layers, **fields)


def tar(files):
    """{path: bytes}, in this order, without a time or an owner."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            member.mode = 0o755 if path.endswith(".wasm") else 0o644
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def container(*layers, entrypoint="/hello.wasm", architecture="wasm", system="wasip1", **fields):
    """C: a container image; each layer is given as {path: bytes}."""
    archives = [tar(files) for files in layers]
    blobs = [Blob(gzip.compress(data, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip") for data in archives]
    config = {"architecture": architecture, "os": system, "config": {"Entrypoint": [entrypoint]},
              "rootfs": {"type": "layers", "diff_ids": [digest_of(data) for data in archives]}}
    return image(Blob(_json(config), IMAGE_CONFIG), blobs, **fields)


def wasm_to_oci(wasm, title=None, **fields):
    """D: one raw layer over an empty config; the manifest does not say its own type."""
    layer = Blob(wasm, "application/vnd.wasm.content.layer.v1+wasm", title)
    return image(Blob(b"{}", "application/vnd.wasm.config.v1+json"), [layer], with_type=False, **fields)


def solo(wasm, **fields):
    """E: the config and the first layer are one blob."""
    config = Blob(_json({"type": "envoy_proxy", "abi_version": "v0-097b7f2e4cc1fb490cc1943d0d633655ac3c522f",
                         "config": {"root_ids": ["root"]}}),
                  "application/vnd.module.wasm.config.v1+json", "runtime-config.json")
    layer = Blob(wasm, "application/vnd.module.wasm.content.layer.v1+wasm", "filter.wasm")
    return image(config, [config, layer], with_type=False, **fields)


def oras(files, media_type="application/vnd.oci.image.layer.v1.tar", artifact_type="application/vnd.example.files",
         **fields):
    """J: `oras push` of files, {title: bytes}. The default type is what oras gives a file that is named without one;
    the bytes are the file's all the same."""
    layers = [Blob(data, media_type, title) for title, data in files.items()]
    return image(Blob(b"{}", EMPTY), layers, artifactType=artifact_type, **fields)


def index(children, **fields):
    """Over {(os, architecture): artifact}."""
    entries = [child.descriptor(platform={"os": system, "architecture": architecture})
               for (system, architecture), child in children.items()]
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, **fields}
    return Artifact(_json(document), INDEX, children=tuple(children.values()))


# places

def _family(artifact):
    """It and everything that it needs, the needed first."""
    for child in artifact.children:
        yield from _family(child)
    yield artifact


def _write_blob(directory, digest, data):
    algorithm, _, name = digest.partition(":")
    path = pathlib.Path(directory, "blobs", algorithm, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(data)


def image_layout(directory, tagged):
    """Writes an OCI image layout of {tag: artifact}; adds the blobs to one that is there. Returns its path."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for artifact in tagged.values():
        for member in _family(artifact):
            for blob in member.blobs():
                _write_blob(directory, blob.digest, blob.data)
            _write_blob(directory, member.digest, member.data)
    entries = [artifact.descriptor(annotations={REF_NAME: tag}) for tag, artifact in tagged.items()]
    replacement = directory / "index.json.new"
    replacement.write_bytes(_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
    replacement.rename(directory / "index.json")
    (directory / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return directory


class _Registry:
    def __init__(self, url, repo, auth):
        self.base = f"{url.rstrip('/')}/v2/{repo}"
        # What is on loopback is not behind the proxy of the environment.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.headers = {}
        if auth is not None:
            self.headers["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()

    def send(self, method, url, data=None, content_type="application/octet-stream"):
        headers = {**self.headers, "Content-Type": content_type}
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        with self.opener.open(request, timeout=120) as answer:
            return urllib.parse.urljoin(answer.url, answer.headers.get("Location") or "")

    def has(self, digest):
        try:
            self.send("HEAD", f"{self.base}/blobs/{digest}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return False
        return True

    def put_blob(self, blob):
        if self.has(blob.digest):
            return
        place = self.send("POST", f"{self.base}/blobs/uploads/", b"")
        mark = "&" if "?" in place else "?"
        self.send("PUT", f"{place}{mark}digest={urllib.parse.quote(blob.digest)}", blob.data)


def push(url, repo, tag, artifact, auth=None):
    """Through the distribution API; auth is (user, password) for Basic. Returns the digest that `tag` names now."""
    registry = _Registry(url, repo, auth)
    for member in _family(artifact):
        for blob in member.blobs():
            registry.put_blob(blob)
        reference = tag if member is artifact else member.digest
        registry.send("PUT", f"{registry.base}/manifests/{reference}", member.data, member.media_type)
    return artifact.digest
