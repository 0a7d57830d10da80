#!/usr/bin/env python3
"""Does an installed shopperd work? smoke.py SHOPPERD METRICS_FILE

Starts its simulator and its daemon with one account at each marketplace, waits until the daemon is ready, keeps what /metrics
says, and stops both with SIGTERM. Only the standard library is used. Exit status 0: all of it worked.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

WAIT_SECONDS = 60
CONFIG = """
[accounts.vast]
provider = "vastai"
base_url = "{VASTAI_URL}"

[accounts.dock]
provider = "tensordock"
base_url = "{TENSORDOCK_URL}"

[jobs]
offers = {{ interval = "1s" }}
status = {{ interval = "1s" }}
sweep = {{ interval = "1s" }}

[web]
listen = "127.0.0.1:0"

[store]
url = "sqlite:///{store}"

[log]
format = "json"
"""


class Program:
    """One process of shopperd, its output line by line. Killed at the end, if it has not ended itself."""

    def __init__(self, *words: str) -> None:
        keys = {"VASTAI_API_KEY": "a-key", "TENSORDOCK_API_TOKEN": "a-token"}
        self.name = " ".join(words[:2])
        self.process = subprocess.Popen(words, env={**os.environ, **keys}, stdout=subprocess.PIPE, text=True)
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.put(line)
        self.lines.put("")

    def line(self) -> str:
        """The next line. Raises SystemExit when there is none any more."""
        line = self.lines.get(timeout=WAIT_SECONDS)
        if not line:
            sys.exit(f"{self.name} ended early, with {self.process.wait()}")
        return line.strip()

    def stop(self) -> int:
        """Ask it to end, and answer its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=WAIT_SECONDS)


def ready_url(daemon: Program) -> str:
    """Where the daemon listens, from its log."""
    while True:
        event = json.loads(daemon.line())
        if event.get("event") == "ready":
            return str(event["url"])


def fetch(url: str) -> str:
    """The body of an answer; an HTTP error is raised."""
    with urllib.request.urlopen(url, timeout=WAIT_SECONDS) as answer:
        return str(answer.read().decode())


def main(shopperd: str, metrics_file: str) -> None:
    """See the module."""
    with tempfile.TemporaryDirectory() as folder, Program(shopperd, "simulator", "--seed", "1") as simulator:
        urls = dict(simulator.line().split("=", 1) for _ in range(3))
        config = Path(folder, "config.toml")
        config.write_text(CONFIG.format(**urls, store=Path(folder, "shopperd.db")))
        with Program(shopperd, "run", "--config", str(config)) as daemon:
            url = ready_url(daemon).rstrip("/")
            accounts = json.loads(fetch(f"{url}/api/v1/accounts"))["items"]
            metrics = fetch(f"{url}/metrics")
            statuses = [daemon.stop(), simulator.stop()]
    Path(metrics_file).write_text(metrics)
    print(f"{len(accounts)} accounts, {len(metrics.splitlines())} lines of metrics, exit statuses {statuses}")
    if len(accounts) != 2 or any(statuses):
        sys.exit("that is not what was expected")


if __name__ == "__main__":
    main(*sys.argv[1:])
