# SPDX-License-Identifier: Apache-2.0
"""The systemd units of docs/systemd: that systemd takes them, and that what they start does what they say."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile

import pytest

import manual
import pages
import samples
from conftest import ROOT
from harness import NOBODY, identity, mountinfo, read, run

UNITS = ROOT / "docs" / "systemd"


def setting(name, key):
    return re.search(rf"^{key}=(.*)$", (UNITS / name).read_text(encoding="utf-8"), re.MULTILINE)[1]


def test_the_pages_agree(binary):
    """test_package.py runs what the README has."""
    told = pages.Page(ROOT / "README.md").taken("unit")
    said = re.findall(r"^#\t(.*)$", (UNITS / "wasmocifs@.service").read_text(encoding="utf-8"), re.MULTILINE)
    assert said == told.splitlines()
    if (binary.parent / "fs/cli/pages").exists():
        assert ("wasmocifs.1", "EXAMPLES", told) in manual.displays(binary.parent)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (Debian: systemd)")
def test_systemd_takes_them(work, binary):
    for unit in UNITS.iterdir():
        text = unit.read_text(encoding="utf-8").replace("/usr/bin/wasmocifs", str(binary))
        (work / unit.name.replace("@.", "@mnt-oci.")).write_text(text, encoding="utf-8")
    (work / "etc").mkdir()
    result = run(["systemd-analyze", "verify", *work.glob("*mnt-oci.*")])
    assert result.code == 0 and "Unknown" not in result.err, result


def test_the_service_starts_what_it_says(mount, registry, binary, work):
    """ExecStart with the words that systemd would put in."""
    image = samples.push_wasm(registry.store, "demo/app")
    words = setting("wasmocifs@.service", "ExecStart").split()
    assert words[:3] == ["/usr/bin/wasmocifs", "mount", "-f"] and words[-1] == "%f"
    assert setting("wasmocifs@.service", "ExecReload").split() == ["/usr/bin/wasmocifs", "upgrade", "%f"]
    assert setting("wasmocifs@.service", "EnvironmentFile") == "/etc/wasmocifs%f.env"
    assert setting("wasmocifs@.service", "RestartKillSignal") == "SIGUSR2"
    m = mount(registry.address, *shlex.split("--tag-ttl 5s"))
    assert m.args[-2:] == [registry.address, str(m.path)]
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    run([binary, *["upgrade", m]], env=m.env).ok()
    assert m.status()["generation"] == 2


@pytest.mark.skipif(not os.path.exists("/usr/lib/systemd/systemd"), reason="systemd is not installed")
def test_a_mount_at_boot_waits_for_the_disk_of_its_cache():
    """Or it would make one where /var is going to be mounted. What systemd would do, as an ordinary user may ask it."""
    with tempfile.TemporaryDirectory() as units:
        os.chmod(units, 0o755)
        shutil.copy(UNITS / "mnt-oci.mount", units)
        pathlib.Path(units, "var.mount").write_text("[Mount]\nWhat=/dev/disk/by-label/var\nWhere=/var\n", encoding="utf-8")
        said = run(["/usr/lib/systemd/systemd", "--test", "--system", "--unit=mnt-oci.mount"], **identity(NOBODY),
                   env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:", "SYSTEMD_LOG_TARGET": "console"}).out
    ours = said[said.index("-> Unit mnt-oci.mount:"):].split("\n\t-> ")[0]
    assert "After: var.mount" in ours and "Requires: var.mount" in ours, ours


def test_the_line_of_fstab(registry, binary, work):
    """As mount(8) calls its helper for the options of the mount unit."""
    image = samples.push_wasm(registry.store, "demo/app")
    helper = work / "mount.wasmocifs"
    helper.symlink_to(binary)
    mountpoint = work / "mnt"
    mountpoint.mkdir()
    options = setting("mnt-oci.mount", "Options")
    assert setting("mnt-oci.mount", "Type") == "wasmocifs"
    result = subprocess.run([helper, registry.address, mountpoint, "-o", f"rw,{options},cache={work / 'cache'}"],
                            capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    try:
        assert "allow_other" in (ROOT / "docs/systemd/mnt-oci.mount").read_text(encoding="utf-8")
        assert read(mountpoint / "demo/app:v1/main.wasm") == image.layer.data
    finally:
        run([binary, "unmount", mountpoint]).ok()
    assert str(mountpoint) not in mountinfo() and not os.listdir(mountpoint)
