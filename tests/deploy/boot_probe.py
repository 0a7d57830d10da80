"""Runs inside the booted machine, as a service of its own: does what an operator would, and notes what it sees as JSON.

Only the standard library is there.
"""

import json
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 30.0
SHOPPERD = "/opt/shopperd/bin/shopperd"
CONFIG = Path("/etc/shopperd/config.toml")
seen: dict[str, Any] = {}


def sh(command: str, check: bool = True) -> str:
    done = subprocess.run(["/bin/bash", "-euc", command], capture_output=True, text=True, timeout=60)
    if check and done.returncode:
        raise RuntimeError(f"{command}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def shown() -> dict[str, str]:
    """The service's state, as systemd has it."""
    wanted = "ActiveState,StatusText,NRestarts,MainPID,Result,ExecMainStatus,WatchdogUSec"
    return dict(line.split("=", 1) for line in sh(f"systemctl show shopperd -p {wanted}").splitlines())


def status() -> Any:
    return json.loads(sh(f"{SHOPPERD} status --json"))


def until(true: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"never: {what}; {shown()}")
        time.sleep(0.05)


def seen_whole() -> bool:
    return all(account["healthy"] for account in status()["accounts"])


def look(commands: list[str]) -> None:
    for command in commands:
        sh(f"cd /opt/shopperd-checkout; {command}")
    seen["started"] = shown()
    seen["served_when_ready"] = status()["version"]
    until(seen_whole, "the account is seen whole, which takes the key")
    until(lambda: "does not see" not in shown()["StatusText"], "the status text tells it")
    seen["status_text"] = shown()["StatusText"]
    pid = seen["started"]["MainPID"]
    seen["uid"] = sh(f"stat -c %u /proc/{pid}").strip()
    seen["environment"] = Path(f"/proc/{pid}/environ").read_text()
    seen["credentials"] = sh(f"cd /proc/{pid}/root/run/credentials/shopperd.service && stat -c '%n %a' *").split()
    seen["state"] = sh("stat -Lc '%a' /var/lib/shopperd; ls /var/lib/shopperd/").split()

    sh(f"{SHOPPERD} freeze --reason boot")
    good = CONFIG.read_text()
    CONFIG.write_text(good.replace('mode = "report"', 'mode = "destroy"'))
    sh("systemctl reload shopperd")
    until(lambda: '"reloaded"' in journal(), "a good file is taken")
    CONFIG.write_text("nonsense = 1\n")
    sh("systemctl reload shopperd")
    until(lambda: "refused" in shown()["StatusText"], "a bad file is refused")
    seen["reloaded"] = shown()
    CONFIG.write_text(good)

    sh("systemctl kill --signal=STOP --kill-who=main shopperd")
    until(lambda: shown()["NRestarts"] == "1" and shown()["ActiveState"] == "active", "it is killed and started again")
    seen["after_hang"] = shown()
    seen["frozen_after_hang"] = status()["frozen"]

    sh("systemctl stop shopperd")
    seen["stopped"] = shown()
    sh("systemctl start shopperd")
    seen["frozen_after_stop"] = status()["frozen"]
    sh("systemctl stop shopperd")
    seen["journal"] = journal("-b")


def journal(which: str = "-u shopperd") -> str:
    return sh(f"journalctl {which} -o cat --no-pager")


def main(results: Path) -> None:
    """See the module."""
    (results / "begun").touch()
    try:
        look(json.loads((results / "commands.json").read_text()))
    except Exception:
        seen["failed"] = traceback.format_exc() + sh("journalctl -b -o cat --no-pager | tail -n 60", check=False)
    (results / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
