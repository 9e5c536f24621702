# SPDX-License-Identifier: Apache-2.0
"""docs/kubernetes: the files are what Kubernetes accepts, and do what docs/kubernetes.md says, as far as that can be seen
without a cluster: the containers here are mount namespaces, with the propagation that the kubelet gives them."""

import base64
import contextlib
import copy
import json
import os
import signal
import subprocess

import harness
import pages
import pytest
import samples
from conftest import ROOT
from harness import read, run, until

HERE = ROOT / "docs" / "kubernetes"
MODELS = {"Namespace": "V1Namespace", "DaemonSet": "V1DaemonSet", "Pod": "V1Pod", "ConfigMap": "V1ConfigMap",
          "Secret": "V1Secret"}
NOBODY = 65532  # as pod.yaml has it


def documents():
    yaml = pytest.importorskip("yaml", reason="python3-yaml is not installed")
    return {document["kind"]: document for path in sorted(HERE.glob("*.yaml"))
            for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))}


class Answer:
    def __init__(self, document):
        self.data = json.dumps(document)


def difference(document):
    """What the typed model of a document does not know of it, or knows as something else; None if there is nothing."""
    client = pytest.importorskip("kubernetes.client", reason="python3-kubernetes is not installed").ApiClient()
    try:
        known = client.sanitize_for_serialization(client.deserialize(Answer(document), MODELS[document["kind"]]))
    except (ValueError, TypeError) as error:
        return str(error)
    return None if known == document else (known, document)


def test_every_document_is_of_its_kind():
    found = documents()
    assert sorted(found) == sorted(MODELS)
    assert {kind: difference(document) for kind, document in found.items()} == dict.fromkeys(MODELS)


@pytest.mark.parametrize("spoil", [
    lambda mount, probe: mount.update(mountPropogation=mount.pop("mountPropagation")),
    lambda mount, probe: probe.update(periodSeconds="20s"),
    lambda mount, probe: probe.update(timeoutSeconds="5"),
    lambda mount, probe: mount.pop("mountPath"),
    lambda mount, probe: probe.update(exec={"command": "status"}),
], ids=["unknown", "no-number", "text", "missing", "no-list"])
def test_what_is_wrong_is_found(spoil):
    document = copy.deepcopy(documents()["DaemonSet"])
    [container] = document["spec"]["template"]["spec"]["containers"]
    spoil(container["volumeMounts"][0], container["livenessProbe"])
    assert difference(document) is not None


def test_the_documents_fit_together():
    found = documents()
    agent, pod = found["DaemonSet"], found["Pod"]
    spec = agent["spec"]["template"]["spec"]
    [container] = spec["containers"]
    assert agent["spec"]["selector"]["matchLabels"].items() <= agent["spec"]["template"]["metadata"]["labels"].items()
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    places = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert volumes.keys() == places.keys()
    for one in (agent, found["ConfigMap"], found["Secret"]):
        assert one["metadata"]["namespace"] == found["Namespace"]["metadata"]["name"]
    mirrors, credentials = volumes["mirrors"]["configMap"], volumes["credentials"]["secret"]
    assert mirrors["name"] == found["ConfigMap"]["metadata"]["name"]
    assert {item["key"] for item in mirrors["items"]} == set(found["ConfigMap"]["data"])
    assert credentials["secretName"] == found["Secret"]["metadata"]["name"]
    assert {item["key"] for item in credentials["items"]} == set(found["Secret"]["stringData"])
    # The API server refuses Bidirectional elsewhere.
    assert places["mounts"]["mountPropagation"] == "Bidirectional" and container["securityContext"]["privileged"] is True
    [user] = pod["spec"]["containers"]
    [place] = user["volumeMounts"]
    [volume] = pod["spec"]["volumes"]
    assert place["mountPropagation"] == "HostToContainer"
    assert volume["hostPath"]["path"] == volumes["mounts"]["hostPath"]["path"]
    mountpoint = container["args"][-1]
    assert user["command"][-1].startswith(f"{mountpoint}/ghcr.io/") and "ghcr.io" in container["args"]
    probes = [container[probe]["exec"]["command"] for probe in ("livenessProbe", "startupProbe")]
    assert probes == [["wasmocifs", "status", mountpoint]] * 2
    auths = json.loads(found["Secret"]["stringData"][".dockerconfigjson"])["auths"]
    assert base64.b64decode(auths["ghcr.io"]["auth"]) == b"USER:TOKEN"


def test_the_commands_of_the_page_fit():
    """They need a cluster. What they name is there, and the package is where the README's command puts it."""
    [block] = pages.Page(ROOT / "docs/kubernetes.md").blocks
    copy, build, *rest = [command for command, _ in block.steps()]
    package = pages.Page(ROOT / "README.md").taken("package").split("./")[1].strip()
    assert f"../../{os.path.dirname(package)}/wasmocifs_*.deb ." in copy and copy.startswith("cd docs/kubernetes ")
    assert "COPY wasmocifs_*.deb " in (HERE / "Containerfile").read_text(encoding="utf-8")
    image = documents()["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert build == f"podman build --tag {image} . && podman push {image}"
    files = {words[i + 1] for words in map(str.split, rest) for i, word in enumerate(words) if word == "-f"}
    assert files == {path.name for path in HERE.glob("*.yaml")}


def as_kubelet_writes_it(directory, files):
    """{path: text}, behind the links by which a volume is exchanged as a whole."""
    data = directory / "..2026_11_22_10_00_00.1"
    for path, text in files.items():
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        (data / path).write_text(text)
    (directory / "..data").symlink_to(data.name)
    for name in {path.split("/")[0] for path in files}:
        (directory / name).symlink_to(f"..data/{name}")
    return directory


def mirrors(work, replaced):
    """The directory of the ConfigMap, with these addresses in place of its own."""
    found = documents()
    volumes = {volume["name"]: volume for volume in found["DaemonSet"]["spec"]["template"]["spec"]["volumes"]}
    files = {}
    for item in volumes["mirrors"]["configMap"]["items"]:
        text = found["ConfigMap"]["data"][item["key"]]
        for theirs, ours in replaced.items():
            text = text.replace(theirs, ours)
        files[item["path"]] = text
    return as_kubelet_writes_it(work / "certs.d", files)


@pytest.mark.parametrize("host, engine, namespace", [("ghcr.io", "127.0.0.1:4001", "ghcr.io"),
                                                     ("docker.io", "127.0.0.1:30020", "docker.io")],
                         ids=["dragonfly", "spegel"])
def test_an_engine_on_the_node_is_asked(mount, registry, work, host, engine, namespace):
    image = samples.push_wasm(registry.store, "demo/hello", "v1", size=20_000)
    m = mount(host, "--hosts-dir", mirrors(work, {engine: registry.address}))
    assert read(m / "demo/hello:v1/main.wasm") == image.layer.data
    asked = registry.requests()
    assert asked and all(f"ns={namespace}" in request.target for request in asked), [r.target for r in asked]
    header = "https://ghcr.io" if host == "ghcr.io" else None
    assert {request.headers.get("x-dragonfly-registry") for request in asked} == {header}


@pytest.fixture
def node(work):
    """A directory whose mounts propagate, as the kubelet has them all."""
    path = work / "host"
    path.mkdir()
    run(["mount", "-t", "tmpfs", "none", path]).ok()
    run(["mount", "--make-shared", path]).ok()
    yield path
    for point in sorted((p for p in harness.mountinfo() if p.startswith(f"{path}")), reverse=True):
        harness.umount2(point, harness.MNT_DETACH)


@contextlib.contextmanager
def agent(binary, work, node, hosts, number):
    """The DaemonSet's container; killed at the end as a container is, all at once."""
    found = documents()
    [container] = found["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    (work / "credentials").mkdir(exist_ok=True)
    (work / "credentials" / "config.json").write_text(found["Secret"]["stringData"][".dockerconfigjson"])
    (work / "empty").mkdir(exist_ok=True)
    (work / "bin").mkdir(exist_ok=True)
    if not (work / "bin" / "wasmocifs").exists():
        (work / "bin" / "wasmocifs").symlink_to(binary)
    here = {"/mnt/wasmocifs": str(node), "/var/cache/wasmocifs": str(work / "cache"), "=20G": "=1G",
            "/etc/wasmocifs/credentials": str(work / "credentials"), "/etc/containerd/certs.d": str(work / "empty"),
            "ghcr.io": hosts[0], "docker.io": hosts[1]}
    runtime = work / f"run{number}"  # a new container has an empty /run
    env = {**pages.environment(runtime), "PATH": f"{work}/bin:{os.environ['PATH']}"}

    def ours(words):
        for theirs, mine in here.items():
            words = [word.replace(theirs, mine) for word in words]
        return words

    inside = ["unshare", "-m", "--propagation", "unchanged"]
    with open(work / f"agent{number}.log", "w") as log:
        process = subprocess.Popen([*inside, *ours(container["command"] + container["args"])], env=env, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log)
    try:
        status = ours(container["startupProbe"]["exec"]["command"])
        until(lambda: run(status, env=env).code == 0, what="the startup probe")
        yield lambda what: run(ours(what), env=env)
    finally:
        answer = run([binary, "status", "--json", f"{node}/oci"], env=env)
        ids = [json.loads(answer.out)[0]["worker_pid"]] if answer.code == 0 else []
        for pid in [process.pid, *ids]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def test_a_mount_reaches_a_pod_and_so_does_that_of_the_next_agent(binary, work, node, registries):
    one, other = registries(), registries()
    samples.push_wasm(one.store, "demo/hello", "v1", size=20_000)
    path = f"{node}/oci/{one.address.replace(':', '_')}_/demo/hello/tags/v1/main.wasm"
    command = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups wc -c < /dev/null {path}"
    [container] = documents()["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    hosts = [one.address, other.address]
    with contextlib.closing(pages.Shell(work, pages.environment(work / "run-of-pod"), {"nothing": "nothing"})) as pod:
        pod.run("exec unshare -m --propagation slave bash --norc --noprofile")
        # Copies of the mounts of tests beside this one would keep those alive.
        pod.run("umount --all --lazy --types fuse.wasmocifs")
        assert "No such file" in pod.run(command)
        with agent(binary, work, node, hosts, 1):
            assert pod.run(command).startswith("20000 ")
        # Its processes are killed one after the other, and who asks meanwhile may be cut off.
        until(lambda: "not connected" in pod.run(command), what="a mount without a process")
        with agent(binary, work, node, hosts, 2) as inside:
            assert pod.run(command).startswith("20000 "), "a pod that was there before sees it"
            assert inside(container["livenessProbe"]["exec"]["command"]).code == 0
            one.stop()
            assert inside(container["livenessProbe"]["exec"]["command"]).code == 0, "a registry is no reason"
            assert pod.run(command).startswith("20000 ")
            pod.run(f"exec 9< {path}")
            assert inside(container["lifecycle"]["preStop"]["exec"]["command"]).code == 0
            assert pod.run(f"ls {node}/oci") == ""
            assert pod.run("wc -c <&9") == "20000\n", "what is open is read to its end"
            pod.run("exec 9<&-")
        one.start()
