# SPDX-License-Identifier: Apache-2.0
"""Debian's docker-registry behind each of its doors, and in front of another: passwords, tokens, TLS, a pull-through
cache. What the test registry plays, here the real one does."""

import base64
import json
import os
import subprocess
from errno import EACCES, EHOSTUNREACH, EPROTO

import pytest

import artifacts
import samples
from harness import raises, read, run, until


@pytest.fixture
def content(docker_registries):
    """A registry without doors, on whose storage the others stand, and what is in it."""
    open_one = docker_registries()
    image = artifacts.cncf(artifacts.wasm_module(1, 300_000), "hello.wasm")
    for repo in ("demo/app", "private/app"):
        artifacts.push(f"http://{open_one.address}", repo, "v1", image)
    return open_one, image


def login(path, address, user, password):
    """As `docker login` writes it."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {address: {"auth": auth}}}))
    path.chmod(0o600)
    return path


def test_passwords(mount, content, docker_registries, work):
    entry = subprocess.run(["htpasswd", "-nbB", "me", "it's a: secret"], check=True, capture_output=True, text=True).stdout
    (work / "htpasswd").write_text(entry)
    server = docker_registries(storage=content[0].storage, auth={"htpasswd": {"realm": "test", "path": str(work / "htpasswd")}})
    nobody = mount(server.address, cache=work / "c1")
    with raises(EACCES):
        os.readlink(nobody / "demo/app:v1")
    wrong = mount(server.address, "--auth-file", login(work / "wrong.json", server.address, "me", "guess"), cache=work / "c2")
    for _ in range(5):
        with raises(EACCES):
            os.readlink(wrong / "demo/app:v1")
    assert len(server.log.find("error authenticating user")) == 1, "a refused password is not tried again and again"
    me = mount(server.address, "--auth-file", login(work / "me.json", server.address, "me", "it's a: secret"),
               cache=work / "c3")
    assert read(me / "demo/app:v1/main.wasm") == content[1].wasm.data
    assert os.listdir(me / "demo/app/tags") == ["v1"]
    assert sorted(os.listdir(me)) == ["demo", "private"]
    for m in (nobody, wrong, me):
        assert "secret" not in m.log.text() and "guess" not in m.log.text()


@pytest.fixture
def doorkeeper(content, docker_registries, registries, work):
    """(registry, token server): `private/app` is for users, the rest for everybody."""
    pytest.importorskip("cryptography", reason="python3-cryptography is not installed")
    from registry.jwt import Signer, SigningServer
    signer = Signer()
    tokens = registries(SigningServer, signer=signer, private=("private/app",), users={"me": "secret"})
    bundle = signer.write(work / "issuer.pem")
    server = docker_registries(storage=content[0].storage, auth={"token": {
        "realm": f"{tokens.url}/token", "service": signer.service, "issuer": signer.issuer, "rootcertbundle": str(bundle)}})
    return server, tokens


def test_tokens(mount, content, doorkeeper, work):
    server, tokens = doorkeeper
    m = mount(server.address)
    assert read(m / "demo/app:v1/main.wasm") == content[1].wasm.data
    assert tokens.count() == 1, "one token for the repository"
    assert server.answers(401) == 1, "one refusal, which says where tokens are had"
    with raises(EACCES):
        os.readlink(m / "private/app:v1")
    assert "private/app" in m.log.wait("EACCES")[0]
    me = mount(server.address, "--auth-file", login(work / "me.json", server.address, "me", "secret"), cache=work / "mine")
    assert read(me / "private/app:v1/main.wasm") == content[1].wasm.data
    assert "secret" not in me.log.text()


def test_many_readers_of_a_cold_registry(mount, content, doorkeeper):
    server, tokens = doorkeeper
    m = mount(server.address)
    path = m / "demo/app:v1/main.wasm"
    readers = [subprocess.Popen(["sha256sum", path], stdout=subprocess.PIPE, text=True) for _ in range(32)]
    for reader in readers:
        assert reader.communicate(timeout=60)[0].split()[0] == content[1].wasm.hex
    assert tokens.count() == 1
    assert server.answers(200, "/blobs/") == 1


def test_a_pull_through_cache(mount, content, docker_registries):
    mirror = docker_registries(storage=content[0].directory / "mirror", proxy={"remoteurl": f"http://{content[0].address}"})
    m = mount(mirror.address)
    assert read(m / "demo/app:v1/main.wasm") == content[1].wasm.data
    assert os.listdir(m / "demo/app/tags") == ["v1"]
    again = mount(mirror.address, cache=content[0].directory / "c2")
    assert read(again / "demo/app:v1/main.wasm") == content[1].wasm.data


def test_tls(mount, content, docker_registries, authority, work):
    certificate, key = work / "cert.pem", work / "key.pem"
    issued = authority.ca.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(str(key))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(certificate), append=True)
    server = docker_registries(storage=content[0].storage, http={"tls": {"certificate": str(certificate), "key": str(key)}})
    stranger = mount(f"https://{server.address}", cache=work / "c1")
    with raises(EPROTO):
        os.readlink(stranger / "demo/app:v1")
    assert stranger.log.wait("certificate|SSL")
    m = mount(server.address, "--ca-file", authority.ca_file(work), cache=work / "c2")
    assert read(m / "demo/app:v1/main.wasm") == content[1].wasm.data
    assert os.listdir(m / "demo/app/tags") == ["v1"]


def test_a_client_certificate(mount, content, docker_registries, authority, work):
    """The registry takes only who shows one of its own CA; certs.d says which to show."""
    server_files = [work / "cert.pem", work / "key.pem"]
    issued = authority.ca.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(server_files[1]))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(server_files[0]), append=True)
    ca = authority.ca_file(work)
    server = docker_registries(storage=content[0].storage, http={"tls": {
        "certificate": str(server_files[0]), "key": str(server_files[1]), "clientcas": [str(ca)]}})
    stranger = mount(f"https://{server.address}", "--ca-file", ca, cache=work / "c1")
    with raises(EPROTO, EHOSTUNREACH):  # with TLS 1.3 the refusal may come after the handshake
        os.readlink(stranger / "demo/app:v1")
    directory = work / "hosts" / f"127.0.0.1_{server.port}_"
    directory.mkdir(parents=True)
    ours = authority.ca.issue_cert("me@example.com")
    ours.private_key_pem.write_to_path(str(directory / "client.key"))
    for blob in ours.cert_chain_pems:
        blob.write_to_path(str(directory / "client.cert"), append=True)
    ca.rename(directory / "ca.crt")
    m = mount(f"https://{server.address}", "--hosts-dir", work / "hosts", cache=work / "c2")
    assert read(m / "demo/app:v1/main.wasm") == content[1].wasm.data


def test_what_the_registry_deletes(mount, content):
    server, image = content
    m = mount(server.address, "--tag-ttl", "1s", "--list-ttl", "1s")
    assert read(m / "demo/app:v1/main.wasm") == image.wasm.data
    run(["curl", "-sS", "--fail", "-X", "DELETE", f"http://{server.address}/v2/demo/app/manifests/{image.digest}"], check=True)
    until(lambda: not os.path.exists(m / "demo/app:v1"), what="the tag being gone")
    assert read(m / f"demo/app@{image.digest}/main.wasm") == image.wasm.data, "what is cached needs nothing"


def test_an_artifact_of_many_layers(mount, docker_registry):
    files = {f"dir{i % 7}/file{i:03}": samples.noise(2000 + i, i) for i in range(150)}
    artifacts.push(f"http://{docker_registry.address}", "demo/many", "v1", artifacts.oras(files))
    m = mount(docker_registry.address)
    for name, data in files.items():
        assert read(m / "demo/many:v1/files" / name) == data
