# SPDX-License-Identifier: Apache-2.0
"""What a registry holds. Plain data: no HTTP, no faults."""

import hashlib
import json
import threading

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(data, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


class Repository:
    def __init__(self):
        self.tags = {}  # name → digest
        self.manifests = {}  # digest → (media type, bytes)
        self.blobs = {}  # digest → bytes


class Store:
    def __init__(self):
        self._lock = threading.Lock()
        self.repositories = {}

    def repository(self, name):
        with self._lock:
            return self.repositories.setdefault(name, Repository())

    def find(self, name):
        with self._lock:
            return self.repositories.get(name)

    def names(self):
        with self._lock:
            return sorted(self.repositories)

    def add_blob(self, repo, data, digest=None):
        """Under another digest than its own if one is given: a registry that lies."""
        digest = digest or digest_of(data)
        self.repository(repo).blobs[digest] = data
        return digest

    def add_manifest(self, repo, data, media_type=MANIFEST, tag=None, digest=None):
        if not isinstance(data, bytes):
            data = json.dumps(data, separators=(",", ":")).encode()
        digest = digest or digest_of(data)
        self.repository(repo).manifests[digest] = (media_type, data)
        if tag is not None:
            self.repository(repo).tags[tag] = digest
        return digest

    def tag(self, repo, tag, digest):
        self.repository(repo).tags[tag] = digest

    def untag(self, repo, tag):
        self.repository(repo).tags.pop(tag, None)

    def tags(self, repo):
        with self._lock:
            return sorted(self.repositories[repo].tags)
