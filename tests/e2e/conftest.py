# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests: the binary, a work directory, mounts, registries.

Run as root by Debian's pytest: pytest-3 tests/e2e --binary build/wasmocifs [-n 2]. WASMOCIFS_TEST_SCALE=0.2 makes heavy
tests smaller and limits longer, for binaries built with sanitizers.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import harness  # noqa: E402
from faulty_registry import FaultyRegistry  # noqa: E402
from logins import Home, basic  # noqa: E402
from registry.auth import TokenServer  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    parser.addoption("--binary", default=os.environ.get("WASMOCIFS", str(ROOT / "build" / "wasmocifs")),
                     help="the wasmocifs to test (default: $WASMOCIFS, else build/wasmocifs)")


def pytest_configure(config):
    # A pytest in the background has SIGINT ignored, and its children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(0o022)
    if os.geteuid() == 0 and not hasattr(config, "workerinput") and os.path.exists("/dev/fuse"):
        # As udev makes it everywhere; some virtual machines have it closed to users. Set back at the end.
        config.device_mode = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
        os.chmod("/dev/fuse", 0o666)


def pytest_unconfigure(config):
    if hasattr(config, "device_mode"):
        os.chmod("/dev/fuse", config.device_mode)


def pytest_report_header(config):
    return f"binary: {config.getoption('--binary')}, scale {harness.SCALE}"


@pytest.fixture(scope="session")
def binary(request):
    path = pathlib.Path(request.config.getoption("--binary")).resolve()
    if not os.access(path, os.X_OK):
        pytest.exit(f"{path}: no such program; build it first, or say which one with --binary", 2)
    if os.geteuid() != 0:
        pytest.exit("these tests mount and change users: run them as root", 2)
    return path


@pytest.fixture
def work():
    """A directory that other users may pass through."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="wasmocifs-e2e-", dir="/tmp"))
    path.chmod(0o755)
    before = set(harness.mountinfo())
    yield path
    left = [point for point in harness.mountinfo() if point not in before and point.startswith(str(path))]
    for point in reversed(left):
        harness.umount2(point, harness.MNT_DETACH)
    shutil.rmtree(path, ignore_errors=True)
    assert not left, f"mounts left behind: {left}"


@pytest.fixture
def registries():
    """Makes FaultyRegistry and TokenServer; the servers' own bugs fail the test."""
    made = []

    def make(kind=FaultyRegistry, **more):
        server = kind(**more)
        made.append(server)
        return server

    yield make
    for server in made:
        if isinstance(server, FaultyRegistry):
            server.heal()
        server.close()
    failures = [repr(failure) for server in made for failure in server.failures]
    assert not failures, f"the test registry itself failed: {failures}"


@pytest.fixture
def registry(registries):
    return registries()


@pytest.fixture
def tokens(registries):
    """Makes token endpoints: tokens(users={"me": "secret"}, anonymous=False)."""
    def make(**more):
        return registries(TokenServer, **more)
    return make


@pytest.fixture
def auth_file(work):
    """auth_file({host: (user, password)}): a file as `docker login` writes it."""
    def make(auths):
        path = work / "auth.json"
        path.write_text(json.dumps({"auths": {host: {"auth": basic(*pair)} for host, pair in auths.items()}}))
        path.chmod(0o600)
        return path
    return make


@pytest.fixture
def home(work):
    return Home(work / "home-of-docker")


@pytest.fixture
def mount(binary, work, request, registries):
    """mount(source, *options, cache=…, user=…, env=…): a live mount; without a source that of the fixture `registry`.

    Mounts of one test share a cache directory unless told otherwise. `fails`: it must not come up."""
    made = []

    def make(source=None, *options, cache=None, env=None, user=None, fails=False):
        if source is None or not isinstance(source, (str, os.PathLike)):
            source = (source or request.getfixturevalue("registry")).address
        base = work / f"m{len(made)}"
        found = harness.Mount(binary, source, base, cache or work / "cache", options, env, user)
        found.ended_badly_on_purpose = fails
        made.append(found)
        return found.wait_ready()

    yield make
    wrong = []
    for server in list(request.node.funcargs.values()):
        if isinstance(server, FaultyRegistry):
            server.heal()
    for one in reversed(made):
        wrong += one.finish()
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="session")
def authority():
    """A private CA: .ca_file(dir) for clients, .context(*names) for servers."""
    trustme = pytest.importorskip("trustme", reason="python3-trustme is not installed")
    import ssl

    class Authority:
        def __init__(self):
            self.ca = trustme.CA()

        def ca_file(self, directory):
            path = pathlib.Path(directory) / "ca.pem"
            self.ca.cert_pem.write_to_path(str(path))
            path.chmod(0o644)
            return path

        def context(self, *names):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.ca.issue_cert(*names or ("127.0.0.1", "localhost")).configure_cert(context)
            return context

    return Authority()


class DockerRegistry:
    """Debian's docker-registry as a process of ours: no service, loopback only, its storage in `directory`, or that of
    another one. `more` goes into its configuration, section by section."""

    def __init__(self, directory, storage=None, **more):
        self.directory = directory
        self.storage = storage or directory / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        config = {"version": "0.1", "log": {"level": "info"},
                  "storage": {"filesystem": {"rootdirectory": str(self.storage)}, "delete": {"enabled": True}}, **more}
        config["http"] = {"addr": self.address, "secret": "test", **more.get("http", {})}
        path = directory / f"config-{self.port}.yml"
        path.write_text(json.dumps(config))  # which is YAML too
        self.process = subprocess.Popen(["docker-registry", "serve", str(path)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        env={**os.environ, "OTEL_TRACES_EXPORTER": "none"})
        self.log = harness.LineLog(directory / f"registry-{self.port}.log", self.process.stdout)
        self.log.wait(r"listening on ")

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.join()

    def answers(self, status, path=""):
        """How many requests for such a path it has logged with that status."""
        return len(self.log.find(rf'"(GET|HEAD) [^"]*{path}[^"]*" {status} '))


@pytest.fixture
def docker_registries(work):
    """Makes them: docker_registries(auth={...}); on the storage of another with storage=other.storage."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed (Debian package docker-registry)")
    directory = work / "docker-registry"
    directory.mkdir()
    with contextlib.ExitStack() as made:
        def make(**more):
            return made.enter_context(contextlib.closing(DockerRegistry(directory, **more)))
        yield make


@pytest.fixture
def docker_registry(docker_registries):
    return docker_registries()
