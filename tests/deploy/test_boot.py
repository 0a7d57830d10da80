"""A real systemd as PID 1, and shopperd as its service, installed by the commands of its README.

The machine is this one's own system with a layer in memory over it, so nothing has to be fetched, and nothing of it stays.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.test_systemd import commands

ROOT = Path(__file__).parents[2]
KEY = "a-canary-that-no-journal-may-show"
BOOT_SECONDS = 110
SYSTEMD = Path("/lib/systemd/systemd")

pytestmark = [pytest.mark.system, pytest.mark.timeout(BOOT_SECONDS + 30)]

LIBRARIES = "LD_LIBRARY_PATH=/opt/python/lib"
"""An interpreter that was built to live elsewhere finds its own library here."""

QUICK = f"""\
[Service]
Environment={LIBRARIES}
WatchdogSec=3
RestartSec=0.2
Environment=SHOPPERD_ACCOUNTS__VASTAI__BASE_URL=http://127.0.0.1:8001
Environment=SHOPPERD_JOBS__STATUS__INTERVAL=0.5 SHOPPERD_JOBS__OFFERS__ENABLED=false
Environment=SHOPPERD_ACCOUNTS__VASTAI__LIMITS__LIST=0.05 SHOPPERD_ACCOUNTS__VASTAI__LIMITS__SHARED=0.05
"""

UNITS = {
    "shopperd.service.d/quick.conf": QUICK,
    "simulator.service": f"""\
[Service]
ExecStart=/opt/shopperd/bin/shopperd simulator --vast-port 8001 --tensordock-port 0 --control-port 0 --key {KEY}
Environment={LIBRARIES}
DynamicUser=yes
StandardOutput=null
""",
    "probe.service": f"""\
[Unit]
Wants=simulator.service
After=simulator.service
[Service]
Type=oneshot
Environment=VASTAI_API_KEY={KEY} HOME=/root {LIBRARIES}
ExecStart=/opt/shopperd/bin/python /opt/probe/boot_probe.py /opt/results
ExecStopPost=systemctl poweroff --no-block
""",
    "probe.target": "[Unit]\nRequires=basic.target probe.service\nAfter=basic.target\n",
}


def obstacle() -> str | None:
    """Why no machine can be booted here."""
    if shutil.which("systemd-nspawn") is None:
        return "systemd-nspawn is not installed"
    if not SYSTEMD.exists():
        return "systemd is not installed"
    if os.geteuid():
        return "systemd-nspawn needs root"
    layered = "mount -t tmpfs tmpfs /mnt && mkdir /mnt/up /mnt/work && mount -t overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work x /mnt"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", layered], capture_output=True, text=True)
    return None if done.returncode == 0 else f"systemd-nspawn needs to mount, which fails here: {done.stderr.strip()}"


def put(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def lay_out(layer: Path) -> None:
    """What is put over this machine's system: an installation, the units, and nothing that would be started besides."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    home = layer / "opt/shopperd"
    put(home / "pyvenv.cfg", "home = /opt/python/bin\ninclude-system-site-packages = false\n")
    put(home / f"lib/{version}/site-packages/shopperd.pth", "/opt/shopperd-libraries\n/opt/shopperd-checkout\n")
    put(
        home / "bin/shopperd",
        "#!/opt/shopperd/bin/python\nimport sys\nfrom shopperd.cli import main\nsys.exit(main())\n",
        0o755,
    )
    (home / "bin/python").symlink_to(f"/opt/python/bin/{version}")
    for name, text in UNITS.items():
        put(layer / "etc/systemd/system" / name, text)


def boot(folder: Path) -> dict[str, Any]:
    """Boot, have the probe look, power off; what it saw."""
    results, layer = folder / "results", folder / "layer"
    results.mkdir()
    lay_out(layer)
    # The first command installs from the registries, which is the wheel's test; here it is this checkout that runs.
    (results / "commands.json").write_text(json.dumps(commands()[1:]))
    binds = {
        sys.base_prefix: "/opt/python",
        sysconfig.get_path("purelib"): "/opt/shopperd-libraries",
        str(ROOT / "shopperd"): "/opt/shopperd-checkout/shopperd",
        str(ROOT / "deploy"): "/opt/shopperd-checkout/deploy",
        str(Path(__file__).with_name("boot_probe.py")): "/opt/probe/boot_probe.py",
    }
    script = "\n".join(
        (
            "set -eu",
            f"cd {shlex.quote(str(folder))}",
            "mkdir top root && mount -t tmpfs tmpfs top && cp -a layer top/upper && mkdir top/work",
            "mount -t overlay -o lowerdir=/,upperdir=top/upper,workdir=top/work machine root",
            shlex.join(
                [
                    *("timeout", "--kill-after=5", str(BOOT_SECONDS), "systemd-nspawn", "--quiet", "--directory=root"),
                    *(
                        "--boot",
                        "--register=no",
                        "--keep-unit",
                        "--console=pipe",
                        "--private-network",
                        "--link-journal=no",
                    ),
                    *(f"--bind-ro={source}:{target}" for source, target in binds.items()),
                    f"--bind={results}:/opt/results",
                    *("--", "--unit=probe.target"),
                ]
            ),
        )
    )
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    said = (done.stdout + done.stderr)[-3000:]
    if not (results / "begun").exists():
        pytest.skip(f"systemd-nspawn cannot boot a machine here: {said.strip().splitlines()[-1:]}")
    assert (results / "seen.json").exists(), said
    seen: dict[str, Any] = json.loads((results / "seen.json").read_text())
    return seen


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    if (why := obstacle()) is not None:
        pytest.skip(why)
    seen = boot(tmp_path_factory.mktemp("boot"))
    assert "failed" not in seen, seen["failed"]
    return seen


Seen = Mapping[str, Any]


def test_the_commands_of_the_readme_end_with_a_service_that_serves(seen: Seen) -> None:
    assert seen["started"]["ActiveState"] == "active"
    assert seen["started"]["NRestarts"] == "0"
    assert seen["served_when_ready"], "it answers at the moment at which systemctl returns"


def test_its_state_stands_in_the_status(seen: Seen) -> None:
    assert seen["status_text"].startswith("Watches 1 account with 0 instances")


def test_it_runs_as_a_user_that_exists_only_for_it(seen: Seen) -> None:
    assert 61184 <= int(seen["uid"]) <= 65519


def test_the_key_is_a_credential_and_nowhere_else(seen: Seen) -> None:
    assert seen["credentials"] == ["keys_vastai", "400"]
    assert KEY not in seen["environment"]
    assert "VASTAI_API_KEY" not in seen["environment"]


def test_its_state_is_its_own(seen: Seen) -> None:
    mode, *files = seen["state"]
    assert mode == "700"
    assert "shopperd.db" in files


def test_a_reload_keeps_the_process_and_a_bad_file_is_refused(seen: Seen) -> None:
    assert seen["reloaded"]["ActiveState"] == "active"
    assert seen["reloaded"]["MainPID"] == seen["started"]["MainPID"]
    assert "reload.refused" in seen["journal"]


def test_a_process_that_hangs_is_killed_says_where_it_hung_and_is_started_again(seen: Seen) -> None:
    assert seen["after_hang"]["NRestarts"] == "1"
    assert seen["after_hang"]["MainPID"] != seen["started"]["MainPID"]
    assert "Watchdog timeout" in seen["journal"]
    assert "Fatal Python error: Aborted" in seen["journal"]


def test_what_it_knew_is_there_after_a_kill_and_after_a_stop(seen: Seen) -> None:
    assert seen["frozen_after_hang"] is True
    assert seen["frozen_after_stop"] is True


def test_a_stop_ends_it_in_good_order(seen: Seen) -> None:
    stopped = seen["stopped"]
    assert (stopped["ActiveState"], stopped["Result"], stopped["ExecMainStatus"]) == ("inactive", "success", "0")
    assert '"stopped"' in seen["journal"]


def test_no_secret_is_in_the_journal(seen: Seen) -> None:
    # The simulator's command line has it; systemd logs no command lines.
    assert KEY not in seen["journal"]
