# SPDX-License-Identifier: Apache-2.0
"""An OCI registry that is right until it is told to misbehave.

    registry = FaultyRegistry()
    digest = registry.store.add_blob("demo/app", b"...")
    rule = registry.on("GET", "/blobs/", flip(100), times=1)      # registry/behaviours.py
    registry.auth = Basic("user", "password")                      # registry/auth.py
    registry.wait_count(1, "GET", f"/blobs/{digest}")              # the log, without sleeping
    registry.stop(); registry.start(); registry.pause()            # down, up again, silent

Serves what a client that pulls asks for (distribution spec: end-1, end-2, end-3, end-8, end-12, and _catalog). From
the command line it serves an OCI image layout until it is ended: faulty_registry.py LAYOUT REPOSITORY [PORT].
"""

import json
import re
import sys
import threading
import urllib.parse

from registry.behaviours import Rule
from registry.store import INDEX, Store
from registry.wire import Response, Server

NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"


class Pages:
    """How listings are cut: `size` None sends all at once whatever was asked for; `link` makes the header's value."""

    def __init__(self, size=None, link=None):
        self.size = size
        self.link = link or (lambda url: f'<{url}>; rel="next"')


class FaultyRegistry(Server):
    name = "registry"

    def __init__(self, store=None, **more):
        self.store = store or Store()
        self.auth = None  # a callable of auth.py
        self.pages = Pages(1000)
        self.catalog = True  # False: 404 as of one that does not list
        self.referrers = False  # True: there is the API
        self.etags = True
        self.ranges = True
        self.rules = []
        super().__init__(**more)

    def on(self, method, path, behaviour, **more):
        """From now on; see Rule."""
        rule = Rule(method, path, behaviour, **more)
        self.rules.append(rule)
        return rule

    def heal(self):
        """Ends all misbehaviour."""
        for rule in self.rules:
            rule.remove()
        self.rules = []
        self.auth = None
        self.resume()

    def handle(self, request):
        def proceed():
            refused = self.auth(request) if self.auth else None
            return refused or self._answer(request)
        for rule in list(self.rules):
            if rule.takes(request):
                proceed = _wrap(rule.behaviour, request, proceed)
        return proceed()

    # the registry itself

    def _answer(self, request):
        if request.method not in ("GET", "HEAD"):
            return _error(405, "UNSUPPORTED", "this registry is read-only")
        path = request.path
        if path in ("/v2", "/v2/"):
            return _json({})
        if path == "/v2/_catalog":
            if not self.catalog:
                return _error(404, "NAME_UNKNOWN", "no catalog here")
            return self._page(request, "repositories", self.store.names(), {})
        match = re.fullmatch(rf"/v2/({NAME})/(manifests|blobs|tags|referrers)/([^/]+)", path)
        if not match:
            return _error(404, "NAME_INVALID", "no such page")
        name, kind, last = match.groups()
        repository = self.store.find(name)
        if repository is None:
            return _error(404, "NAME_UNKNOWN", "repository name not known to registry")
        return getattr(self, "_" + kind)(request, name, repository, last)

    def _manifests(self, request, name, repository, reference):
        digest = reference if ":" in reference else repository.tags.get(reference)
        media_type, data = repository.manifests.get(digest, (None, None))
        if data is None:
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        headers = [("Content-Type", media_type), ("Docker-Content-Digest", digest)]
        if self.etags:
            headers.append(("ETag", f'"{digest}"'))
            if request.headers.get("if-none-match") == f'"{digest}"':
                return Response(304, headers[1:])
        return Response(200, headers, data)

    def _blobs(self, request, name, repository, digest):
        data = repository.blobs.get(digest)
        if data is None and digest in repository.manifests:
            data = None  # as distribution answers: a manifest is not a blob
        if data is None:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers = [("Content-Type", "application/octet-stream"), ("Docker-Content-Digest", digest)]
        asked = request.headers.get("range")
        if asked is None or not self.ranges:
            return Response(200, headers, data)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
        start = int(match[1]) if match else len(data)
        end = min(int(match[2]) if match and match[2] else len(data) - 1, len(data) - 1)
        if start >= len(data) or end < start:
            return Response(416, [("Content-Range", f"bytes */{len(data)}")])
        headers.append(("Content-Range", f"bytes {start}-{end}/{len(data)}"))
        return Response(206, headers, memoryview(data)[start:end + 1])

    def _tags(self, request, name, repository, word):
        return self._page(request, "tags", self.store.tags(name), {"name": name})

    def _referrers(self, request, name, repository, digest):
        if not self.referrers:
            return _error(404, "UNSUPPORTED", "page not found")
        found = []
        for own, (media_type, data) in sorted(repository.manifests.items()):
            manifest = json.loads(data) if data[:1] == b"{" else {}
            if manifest.get("subject", {}).get("digest") == digest:
                kind = manifest.get("artifactType") or manifest.get("config", {}).get("mediaType")
                found.append({"mediaType": media_type, "digest": own, "size": len(data), "artifactType": kind})
        last = request.query.get("last", "")
        rest = [entry for entry in found if entry["digest"] > last]
        page = rest[:self.pages.size]
        response = _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": page}, INDEX)
        if len(page) < len(rest):
            query = urllib.parse.urlencode({"last": page[-1]["digest"]})
            response.headers.add("Link", self.pages.link(f"{request.path}?{query}"))
        return response

    def _page(self, request, key, names, extra):
        last = request.query.get("last")
        if last is not None:
            names = [name for name in names if name > last]
        size = self.pages.size
        if size is not None and request.query.get("n", "").isdigit():
            size = min(size, int(request.query["n"]))
        page = names if size is None else names[:size]
        response = _json({**extra, key: page})
        if page and len(page) < len(names):
            query = urllib.parse.urlencode({"last": page[-1], "n": size})
            response.headers.add("Link", self.pages.link(f"{request.path}?{query}"))
        return response


def _json(value, content_type="application/json"):
    return Response(200, [("Content-Type", content_type)], json.dumps(value).encode())


def _error(status, code, message):
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Response(status, [("Content-Type", "application/json")], body)


def _wrap(behaviour, request, proceed):
    return lambda: behaviour(request, proceed)


def load_layout(store, directory, name):
    """Every manifest that the layout's index names, under its tag, with all blobs of the layout."""
    with open(f"{directory}/index.json", "rb") as file:
        index = json.load(file)
    import pathlib
    for blob in pathlib.Path(directory, "blobs").glob("*/*"):
        store.add_blob(name, blob.read_bytes(), f"{blob.parent.name}:{blob.name}")
    for entry in index["manifests"]:
        data = store.find(name).blobs[entry["digest"]]
        tag = entry.get("annotations", {}).get("org.opencontainers.image.ref.name")
        store.add_manifest(name, data, entry["mediaType"], tag)


def main(arguments):
    if len(arguments) not in (2, 3):
        sys.exit("usage: faulty_registry.py LAYOUT REPOSITORY [PORT]")
    registry = FaultyRegistry(port=int(arguments[2]) if len(arguments) == 3 else 0)
    load_layout(registry.store, arguments[0], arguments[1])
    print(registry.url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
