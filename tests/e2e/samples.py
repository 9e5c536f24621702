# SPDX-License-Identifier: Apache-2.0
"""Images pushed into a Store: the packagings of Wasm in registries that the tests use, with bytes made on the spot."""

import dataclasses
import json
import random

from registry.store import INDEX, MANIFEST, digest_of

WASM_CONFIG = "application/vnd.wasm.config.v0+json"
WASM_LAYER = "application/wasm"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"


@dataclasses.dataclass
class Blob:
    data: bytes
    media_type: str
    title: str = None
    annotations: dict = None

    @property
    def digest(self):
        return digest_of(self.data)

    @property
    def hex(self):
        return self.digest.partition(":")[2]

    def descriptor(self):
        found = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}
        annotations = {**(self.annotations or {}), **({TITLE: self.title} if self.title is not None else {})}
        return {**found, "annotations": annotations} if annotations else found


@dataclasses.dataclass
class Image:
    """What was pushed: `data` are the manifest's bytes."""
    repo: str
    tag: str
    data: bytes
    media_type: str
    config: Blob
    layers: list

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
        return next(blob for blob in self.layers if blob.data[:4] == b"\0asm")


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def wasm(size=4096, seed=0):
    """A valid module of about this size: its header and one custom section of noise."""
    content = b"\x05noise" + noise(max(0, size - 24), seed)
    length, leb = len(content), b""
    while True:
        byte, length = length & 0x7f, length >> 7
        leb += bytes([byte | (0x80 if length else 0)])
        if not length:
            return b"\0asm\1\0\0\0\0" + leb + content


def push(store, repo, tag, config, layers, media_type=MANIFEST, **fields):
    """Config and layers are Blobs; fields go into the manifest (annotations, artifactType)."""
    for blob in [config, *layers]:
        store.add_blob(repo, blob.data)
    manifest = {"schemaVersion": 2, "mediaType": media_type, "config": config.descriptor(),
                "layers": [blob.descriptor() for blob in layers], **fields}
    data = json.dumps(manifest, separators=(",", ":")).encode()
    store.add_manifest(repo, data, media_type, tag)
    return Image(repo, tag, data, media_type, config, layers)


def push_wasm(store, repo, tag="v1", data=None, title=None, size=4096, seed=0, **fields):
    """A: the CNCF Wasm OCI artifact."""
    layer = Blob(wasm(size, seed) if data is None else data, WASM_LAYER, title)
    config = {"architecture": "wasm", "os": "wasip1", "layerDigests": [layer.digest]}
    return push(store, repo, tag, Blob(json.dumps(config).encode(), WASM_CONFIG), [layer], **fields)


def push_runwasi(store, repo, tag="v1", data=None):
    """B: an image config over a raw layer."""
    layer = Blob(wasm(3000, 2) if data is None else data,
                 "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm")
    config = {"architecture": "wasm", "os": "wasip1", "config": {"Entrypoint": ["hello.wasm"]},
              "rootfs": {"type": "layers", "diff_ids": []}}
    return push(store, repo, tag, Blob(json.dumps(config).encode(), IMAGE_CONFIG), [layer])


def push_wasm_to_oci(store, repo, tag="v1", data=None):
    """D: one raw layer over an empty config; no mediaType in the manifest."""
    layer = Blob(wasm(3000, 3) if data is None else data, "application/vnd.wasm.content.layer.v1+wasm")
    config = Blob(b"{}", "application/vnd.wasm.config.v1+json")
    for blob in (config, layer):
        store.add_blob(repo, blob.data)
    data = json.dumps({"schemaVersion": 2, "config": config.descriptor(), "layers": [layer.descriptor()]}).encode()
    store.add_manifest(repo, data, MANIFEST, tag)
    return Image(repo, tag, data, MANIFEST, config, [layer])


def push_solo(store, repo, tag="v1"):
    """E: the config descriptor and the first layer are one blob."""
    media_type = "application/vnd.module.wasm.config.v1+json"
    config = Blob(b'{"type":"envoy_proxy","abi_version":"v0"}', media_type, "runtime-config.json")
    layer = Blob(wasm(3000, 4), "application/vnd.module.wasm.content.layer.v1+wasm", "filter.wasm")
    return push(store, repo, tag, config, [config, layer])


def push_files(store, repo, tag="v1", files=None, artifact_type="application/vnd.example.files", **fields):
    """J: what `oras push` makes: titled files of any type."""
    files = {"hello.txt": b"hello\n"} if files is None else files
    layers = [Blob(data, "application/octet-stream", title) for title, data in files.items()]
    return push(store, repo, tag, Blob(b"{}", EMPTY), layers, artifactType=artifact_type, **fields)


def push_tar(store, repo, tag="v1"):
    """C: a container image; its layer is an archive (here: any gzip bytes)."""
    import gzip
    layer = Blob(gzip.compress(b"\0" * 10240, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
    config = {"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/hello.wasm"]},
              "rootfs": {"type": "layers", "diff_ids": [digest_of(b"\0" * 10240)]}}
    return push(store, repo, tag, Blob(json.dumps(config).encode(), IMAGE_CONFIG), [layer])


def push_index(store, repo, tag, images):
    """An index over images already pushed, {(os, architecture): Image}."""
    entries = [{"mediaType": image.media_type, "digest": image.digest, "size": len(image.data),
                "platform": {"os": system, "architecture": architecture}}
               for (system, architecture), image in images.items()]
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    store.add_manifest(repo, data, INDEX, tag)
    return Image(repo, tag, data, INDEX, None, [])
