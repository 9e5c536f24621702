# SPDX-License-Identifier: Apache-2.0
"""lab: what the benchmarks are made of: blobs, two registries, mounts, and how to keep runs out of each other's way."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import artifacts  # noqa: E402

MIB = 1 << 20


class Broken(Exception):
    """The benchmark itself cannot go on."""


class Series:
    """Times of one candidate, in seconds (or sizes, in MiB)."""

    def __init__(self, values=()):
        self.values = list(values)

    def add(self, value):
        self.values.append(value)

    @property
    def median(self):
        return statistics.median(self.values)

    def __str__(self):
        scale, unit = (1e3, "ms") if self.median >= 1e-3 else (1e6, "us")
        least, most = min(self.values) * scale, max(self.values) * scale
        return f"{self.median * scale:8.1f} {unit} ({least:.1f}..{most:.1f}, n={len(self.values)})"


def timed(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run(*args, **more):
    done = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        raise Broken(f"{' '.join(map(str, args))}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def settle():
    """Nothing of the last run is still being written when the next is timed."""
    os.sync()


def remove(path):
    """A directory of ours, or a file; what is not there is fine."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    settle()


def read_whole(path, buffer):
    """open, read to the end, close; the number of bytes."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        total = 0
        while n := os.readv(fd, [buffer]):
            total += n
        return total
    finally:
        os.close(fd)


class Image:
    """One artifact of one layer that no compression can shorten; the same bytes for the same name and size."""

    def __init__(self, directory, name, size):
        self.repository, self.tag, self.size = f"bench/{name}", "v1", size
        self.title = f"{name}.bin"
        piece = random.Random(name).randbytes(min(size, 16 * MIB))
        digest = hashlib.sha256()
        scratch = directory / "blobs" / "writing"
        with open(scratch, "wb") as out:
            for start in range(0, size, len(piece)):
                part = start.to_bytes(8, "big") + piece[8:]
                part = part[: size - start]
                digest.update(part)
                out.write(part)
        self.digest = "sha256:" + digest.hexdigest()
        self.file = scratch.rename(directory / "blobs" / self.digest)
        config = {"mediaType": artifacts.EMPTY, "digest": put(directory / "blobs", b"{}"), "size": 2}
        layer = {"mediaType": "application/octet-stream", "digest": self.digest, "size": size,
                 "annotations": {artifacts.TITLE: self.title}}
        document = {"schemaVersion": 2, "mediaType": artifacts.MANIFEST, "config": config, "layers": [layer]}
        self.manifest = put(directory / "manifests", json.dumps(document, indent=2).encode())
        self.path = f"{self.repository}:{self.tag}/files/{self.title}"

    def push(self, address):
        """To a registry that takes it."""
        layer = artifacts.Blob(self.file.read_bytes(), "application/octet-stream", self.title)
        image = artifacts.image(artifacts.Blob(b"{}", artifacts.EMPTY), [layer])
        artifacts.push(f"http://{address}", self.repository, self.tag, image)


def put(directory, data):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    (directory / digest).write_bytes(data)
    return digest


class BlobServer:
    """tests/bench/blobserver.py as a process."""

    name = "static"

    def __init__(self, directory, images):
        tags = {image.repository: {image.tag: image.manifest} for image in images}
        (directory / "tags.json").write_text(json.dumps(tags))
        self.process = subprocess.Popen([sys.executable, str(ROOT / "tests/bench/blobserver.py"), str(directory)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = f"127.0.0.1:{int(self.process.stdout.readline())}"

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self):
        """Once or twice."""
        if self.process.stdin.closed:
            return
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


class DockerRegistry:
    """Debian's docker-registry on a loopback port of the kernel's choice, with its storage in `directory`."""

    name = "docker-registry"

    def __init__(self, directory, images):
        directory.mkdir()
        config = directory / "config.yml"
        config.write_text("version: 0.1\nlog: {level: info, formatter: text}\n"
                          f'storage: {{filesystem: {{rootdirectory: "{directory}/data"}}}}\n'
                          'http: {addr: "127.0.0.1:0", secret: bench}\n')
        log = directory / "log"
        with open(log, "wb") as out:
            self.process = subprocess.Popen(["docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=out, env={**os.environ, "OTEL_TRACES_EXPORTER": "none"})
        self.address = self.wait_address(log)
        for image in images:
            image.push(self.address)

    def wait_address(self, log):
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            for line in log.read_text().splitlines():
                if "listening on 127.0.0.1:" in line:
                    return "127.0.0.1:" + line.partition("listening on 127.0.0.1:")[2].split('"')[0].split()[0]
            time.sleep(0.05)
        self.close()
        raise Broken(f"docker-registry did not start:\n{log.read_text()[-500:]}")

    def close(self):
        self.process.terminate()
        self.process.wait()


class Lab:
    """A directory that everything lies in, on one file system; close() leaves nothing."""

    def __init__(self, binary, scratch):
        self.binary = binary
        self.directory = Path(scratch)
        self.open = contextlib.ExitStack()
        self.images = {}
        self.served = self.directory / "served"
        for name in ("blobs", "manifests"):
            (self.served / name).mkdir(parents=True)

    def close(self):
        self.open.close()

    def image(self, name, size):
        if name not in self.images:
            self.images[name] = Image(self.served, name, size)
        return self.images[name]

    def static(self, images):
        return self.open.enter_context(contextlib.closing(BlobServer(self.served, images)))

    def docker(self, images):
        """None where it is not installed."""
        if shutil.which("docker-registry") is None:
            return None
        return self.open.enter_context(contextlib.closing(DockerRegistry(self.directory / "docker-registry", images)))

    @contextlib.contextmanager
    def mount(self, address, cache, background=False, options=()):
        """The mounted path and the process that serves it: a child of ours, or the daemon that `mount` leaves behind."""
        point = self.directory / "mnt"
        point.mkdir(exist_ok=True)
        with contextlib.ExitStack() as mounted:
            if background:
                run(self.binary, "mount", *options, "--cache", cache, address, point)
                mounted.callback(run, self.binary, "unmount", point)
                yield point, self.status(point)["worker_pid"]
            else:
                process = mounted.enter_context(self.foreground(address, cache, point, options))
                yield point, self.serving_pid(process.pid, point)

    @contextlib.contextmanager
    def foreground(self, address, cache, point, options=()):
        ready, theirs = os.pipe()
        with open(self.directory / "daemon.log", "ab") as log:
            process = subprocess.Popen([str(self.binary), "mount", "-f", "--ready-fd", str(theirs), *options, "--cache",
                                        str(cache), address, str(point)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       pass_fds=(theirs,))
        os.close(theirs)
        try:
            with os.fdopen(ready, "rb", buffering=0) as file:
                if file.read(1) == b"":
                    raise Broken("the mount did not come up:\n" + (self.directory / "daemon.log").read_text()[-800:])
            yield process
        finally:
            subprocess.run([str(self.binary), "unmount", str(point)], stdin=subprocess.DEVNULL, capture_output=True)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                subprocess.run(["umount", "-l", str(point)], capture_output=True)

    def status(self, point):
        return json.loads(run(self.binary, "status", "--json", point))[0]

    def serving_pid(self, pid, point):
        with contextlib.suppress(Broken, LookupError, ValueError):
            return self.status(point)["worker_pid"]
        return pid


def memory(pid):
    """{name: MiB} of a process, as the kernel counts it."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM", "RssAnon", "RssFile"):
            found[name] = int(value.split()[0]) / 1024
    return found
