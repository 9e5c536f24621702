# SPDX-License-Identifier: Apache-2.0
"""Artifacts of artifacts.py, put into the Store of a FaultyRegistry in one call each. All return the Artifact."""

import artifacts
from artifacts import EMPTY, Blob  # noqa: F401
from artifacts import random_bytes, wasm_module


def noise(size, seed=0):
    return random_bytes(seed, size)


def wasm(size=4096, seed=0):
    return wasm_module(seed, size)


def put(store, repo, tag, artifact):
    for child in artifact.children:
        put(store, repo, None, child)
    for blob in artifact.blobs():
        store.add_blob(repo, blob.data, blob.digest)
    store.add_manifest(repo, artifact.data, artifact.media_type, tag)
    return artifact


def push(store, repo, tag, config, layers, **fields):
    """A manifest over any config and layers."""
    return put(store, repo, tag, artifacts.image(config, layers, **fields))


def push_wasm(store, repo, tag="v1", data=None, title=None, size=4096, seed=0, **fields):
    return put(store, repo, tag, artifacts.cncf(wasm(size, seed) if data is None else data, title, **fields))


def push_runwasi(store, repo, tag="v1"):
    return put(store, repo, tag, artifacts.runwasi(wasm(3000, 2)))


def push_wasm_to_oci(store, repo, tag="v1"):
    return put(store, repo, tag, artifacts.wasm_to_oci(wasm(3000, 3)))


def push_solo(store, repo, tag="v1"):
    return put(store, repo, tag, artifacts.solo(wasm(3000, 4)))


def push_tar(store, repo, tag="v1"):
    return put(store, repo, tag, artifacts.container({"hello.wasm": wasm(3000, 5)}))


def push_files(store, repo, tag="v1", files=None, **fields):
    """Titled files of no particular type, {title: bytes}."""
    files = {"hello.txt": b"hello\n"} if files is None else files
    return put(store, repo, tag, artifacts.oras(files, "application/octet-stream", **fields))


def push_index(store, repo, tag, children):
    """Over {(os, architecture): artifact}."""
    return put(store, repo, tag, artifacts.index(children))
