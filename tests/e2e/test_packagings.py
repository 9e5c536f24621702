# SPDX-License-Identifier: Apache-2.0
"""Each packaging that people have published Wasm in: what files/ holds, and what main.wasm is.

Those whose files lie in archives are in test_rootfs.py.
"""

import gzip
import json
import os
from errno import EHOSTUNREACH, ENOENT

import pytest

import artifacts
import samples
from artifacts import Blob, image, random_bytes, wasm_component, wasm_module
from harness import Clock, SLOW, raises, read
from registry import behaviours as b

RAW = "application/vnd.wasm.content.layer.v1+wasm"
DATA = "application/vnd.wasm.content.layer.v1+data"
WASM = wasm_component(1, 5000)
MODULE = wasm_module(2, 4000)


def titled(name, version):
    return {"annotations": {"org.opencontainers.image.title": name, "org.opencontainers.image.version": version}}


def kubewarden():
    config = Blob(b"{}", "application/vnd.wasm.config.v1+json")
    return image(config, [Blob(MODULE, RAW)], with_type=False,
                 annotations={"io.kubewarden.policy.title": "psp", "org.opencontainers.image.source": "x"})


def warg_bundle():
    picture, notes = random_bytes(3, 900), b"notes"
    config = {"mediaType": "application/vnd.wasm.component.config.v1+json", "architecture": "wasm32", "os": "wasi",
              "wasi": {"environment": {"env1": "first"},
                       "files": [{"guest": "pictures/cat.png", "digest": artifacts.digest_of(picture)},
                                 {"guest": "../notes.txt", "digest": artifacts.digest_of(notes)}]}}
    layers = [Blob(WASM, RAW, "my-bundled-component"), Blob(picture, DATA), Blob(notes, DATA)]
    return image(Blob(json.dumps(config).encode(), "application/vnd.wasm.component.config.v1+json"), layers,
                 artifactType="application/vnd.wasm.component.bundled.v1")


def warg_component():
    config = Blob(b'{"architecture":"wasm32","os":"wasi"}', "application/vnd.wasm.component.config.v1+json")
    return image(config, [Blob(WASM, RAW, "my-component")], artifactType="application/vnd.wasm.component.v1")


def warg_interface():
    config = Blob(b'{"architecture":"wasm32","os":"wasi"}', "application/vnd.wasm.component.config.v1+json")
    return image(config, [Blob(WASM, RAW, "my-interface")], artifactType="application/vnd.wasm.component.interface.v1")


def helm_unsigned():
    layers = [Blob(gzip.compress(artifacts.tar({"chart/plugin.wasm": MODULE})),
                   "application/vnd.cncf.helm.chart.content.v1.tar+gzip")]
    return image(Blob(b'{"name":"chart"}', "application/vnd.cncf.helm.config.v1+json"), layers, **titled("chart", "2.0.0"))


def helm():
    layers = [Blob(random_bytes(4, 700), "application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
              Blob(b"signed", "application/vnd.cncf.helm.chart.provenance.v1.prov")]
    return image(Blob(b'{"name":"chart"}', "application/vnd.cncf.helm.config.v1+json"), layers, **titled("chart", "1.2.3"))


def wasmcloud_actor():
    config = Blob(b"{}", "application/vnd.wasmcloud.actor.archive.config")
    return image(config, [Blob(MODULE, "application/vnd.module.wasm.content.layer.v1+wasm", "actor_s.wasm")])


def unknown():
    layers = [Blob(b"one", "application/x-one"), Blob(b"two", "application/vnd.example.two.v1+json")]
    return image(Blob(b"?", "application/x-config"), layers, artifactType="application/x-thing")


def solo_without_titles():
    made = artifacts.solo(MODULE)
    layers = [Blob(blob.data, blob.media_type) for blob in made.layers]
    return image(layers[0], layers, with_type=False)


# name: artifact, {path below files/: bytes}, main.wasm or None
PACKAGINGS = {
    "cncf": (artifacts.cncf(WASM, "hello.wasm"), {"hello.wasm": WASM}, WASM),
    "cncf-of-an-old-wkg": (artifacts.cncf(WASM, **titled("ns/hello", "1.0.0")), {"hello.wasm": WASM}, WASM),
    "cncf-without-any-name": (artifacts.cncf(MODULE), {"layer0.wasm": MODULE}, MODULE),
    "runwasi": (artifacts.runwasi(MODULE, entrypoint="/hello.wasm#start"), {"hello.wasm": MODULE}, MODULE),
    "runwasi-of-several": (artifacts.runwasi(MODULE, WASM), {"layer0.wasm": MODULE, "layer1.wasm": WASM}, MODULE),
    "wasm-to-oci": (artifacts.wasm_to_oci(MODULE, "./out/hello.wasm"), {"out/hello.wasm": MODULE}, MODULE),
    "kubewarden": (kubewarden(), {"layer0.wasm": MODULE}, MODULE),
    "solo": (artifacts.solo(MODULE), {"runtime-config.json": artifacts.solo(MODULE).config.data, "filter.wasm": MODULE},
             MODULE),
    "solo-without-titles": (solo_without_titles(),
                            {"runtime-config.json": artifacts.solo(MODULE).config.data, "plugin.wasm": MODULE}, MODULE),
    "wasmcloud-actor": (wasmcloud_actor(), {"actor_s.wasm": MODULE}, MODULE),
    "warg-component": (warg_component(), {"my-component.wasm": WASM}, WASM),
    "warg-interface": (warg_interface(), {"my-interface.wasm": WASM}, None),
    "warg-bundle": (warg_bundle(), {"my-bundled-component.wasm": WASM, "pictures/cat.png": random_bytes(3, 900),
                                    "notes.txt": b"notes"}, WASM),
    "oras": (artifacts.oras({"a/b.txt": b"hello\n", "c.json": b"{}"}), {"a/b.txt": b"hello\n", "c.json": b"{}"}, None),
    "oras-wasm": (artifacts.oras({"x/app.wasm": WASM}), {"x/app.wasm": WASM}, WASM),
    "helm": (helm(), {"chart-1.2.3.tgz": random_bytes(4, 700), "chart-1.2.3.tgz.prov": b"signed"}, None),
    "helm-unsigned": (helm_unsigned(), {"chart-2.0.0.tgz": helm_unsigned().layer.data}, None),
    "unknown": (unknown(), {"layer0.bin": b"one", "layer1.json": b"two"}, None),
}


def files_below(top):
    return {os.path.relpath(os.path.join(directory, name), top): read(os.path.join(directory, name))
            for directory, _, names in os.walk(top) for name in names}


@pytest.mark.parametrize("name", PACKAGINGS)
def test_each(mount, registry, name):
    artifact, files, main = PACKAGINGS[name]
    samples.put(registry.store, "demo/app", "v1", artifact)
    m = mount()
    top = m / "demo/app:v1"
    assert ("main.wasm" in os.listdir(top)) == (main is not None)
    for directory, _, names in os.walk(top):
        for entry in names:
            os.stat(os.path.join(directory, entry))
    if main is None:
        with raises(ENOENT):
            os.stat(top / "main.wasm")
    layers = {blob.digest for blob in artifact.layers} - {artifact.config.digest}
    assert not any(registry.count("GET", digest) for digest in layers), "no layer is fetched by listing or stat"
    assert files_below(top / "files") == files
    if main is not None:
        assert read(top / "main.wasm") == main and os.stat(top / "main.wasm").st_mode & 0o777 == 0o555
    assert sorted(read(top / "layers" / entry) for entry in os.listdir(top / "layers")) == \
        sorted(blob.data for blob in artifact.layers)
    assert read(top / os.listdir(top)[0]) if os.path.isfile(top / os.listdir(top)[0]) else True
    config = "config.json" if artifact.config.media_type.endswith("json") else "config"
    assert read(top / config) == artifact.config.data


KINDS = {"module": (MODULE, "module"), "component": (WASM, "component"), "aot": (b"\x7fELF" + bytes(60), "aot"),
         "spliced": (b"\0asm\x01\0\x02\0" + bytes(60), "spliced"), "text": (b"(module)\n", "wat"),
         "gzip": (b"\x1f\x8b\x08" + bytes(60), "gzip"), "tar": (artifacts.tar({"a": b"b"}), "tar")}


@pytest.mark.parametrize("name", KINDS)
def test_kinds(mount, registry, name):
    data, kind = KINDS[name]
    samples.put(registry.store, "demo/app", "v1", artifacts.cncf(data, "it.wasm"))
    m = mount()
    path = m / "demo/app:v1/files/it.wasm"
    with pytest.raises(OSError):
        os.getxattr(path, "user.oci.kind")
    read(path)
    assert os.getxattr(path, "user.oci.kind").decode() == kind


def test_a_config_that_cannot_be_had(mount, registry):
    """The names that depend on it fail; the rest is there."""
    artifact = samples.put(registry.store, "demo/app", "v1", artifacts.runwasi(MODULE))
    m = mount(None, "--timeout", "3s")
    rule = registry.on(None, artifact.config.digest, b.error(500))
    with raises(EHOSTUNREACH):
        os.listdir(m / "demo/app:v1/files")
    assert read(m / "demo/app:v1/manifest.json") == artifact.data
    rule.remove()
    del registry.store.find("demo/app").blobs[artifact.config.digest]
    fresh = mount()
    assert "main.wasm" not in os.listdir(fresh / "demo/app:v1")
    with raises(ENOENT):
        os.listdir(fresh / "demo/app:v1/files")
    assert read(fresh / "demo/app:v1/layers/0.wasm") == MODULE


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff" * 50, b'{"config":7}', b" " * (2 << 20)],
                         ids=["empty", "array", "cut", "noise", "odd", "large"])
def test_a_config_that_says_nothing(mount, registry, data):
    config = Blob(data, artifacts.IMAGE_CONFIG)
    samples.put(registry.store, "demo/app", "v1",
                image(config, [Blob(MODULE, "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm")]))
    m = mount()
    assert os.listdir(m / "demo/app:v1/files") == ["layer0.wasm"]
    assert read(m / "demo/app:v1/main.wasm") == MODULE
    if data == b'{"config":7}':
        assert "its config" not in m.log.text()
    else:
        assert m.log.wait("its config is no JSON object of at most 1024 KiB")


def test_a_config_that_claims_to_be_small(mount, registry):
    """A large blob that is here already, named as a config of a few bytes."""
    large = samples.push_files(registry.store, "demo/app", "large", {"large": random_bytes(9, 3 << 20)})
    manifest = json.loads(artifacts.runwasi(MODULE).data)
    manifest["config"] = {"mediaType": artifacts.IMAGE_CONFIG, "digest": large.layer.digest, "size": 10}
    registry.store.add_blob("demo/app", MODULE)
    registry.store.add_manifest("demo/app", manifest, artifacts.MANIFEST, "v1")
    m = mount()
    read(m / "demo/app:large/files/large")
    assert os.listdir(m / "demo/app:v1/files") == ["layer0.wasm"] and read(m / "demo/app:v1/main.wasm") == MODULE


def test_a_bundle_that_is_made_to_be_slow(mount, registry):
    """Each of many layers in each of many files."""
    layers = [Blob(b"%d" % i, DATA) for i in range(2000)]
    config = {"wasi": {"files": [{"guest": f"f{i}", "digest": layers[i % 2000].digest} for i in range(8000)]}}
    samples.put(registry.store, "demo/app", "v1",
                image(Blob(json.dumps(config).encode(), "application/vnd.wasm.component.config.v1+json"), layers))
    m = mount()
    with Clock() as took:
        assert len(os.listdir(m / "demo/app:v1/files")) == 8000
    assert took.seconds < 5 * SLOW
