"""The daemon, as `shopperd run` starts it, with its innards counted at each SIGUSR2: a line in its log tells them.

usage: python -m tests.bench.watched CONFIG
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec

from shopperd.cli import main
from tests.bench.result import resident_bytes

COUNTED = "watched.counted"
"""The event of that line."""


def _count(_number: int, _frame: object) -> None:
    cpu_before = time.process_time()
    rss = resident_bytes()
    handles = len(list(Path("/proc/self/fd").iterdir()))
    gc.collect()  # the objects that were there at the start are frozen: neither looked at nor counted
    told = {
        "event": COUNTED,
        "rss_bytes": rss,
        "handles": handles,
        "threads": threading.active_count(),
        "objects": len(gc.get_objects()),
        "tasks": Counter(getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()),
        "cpu_before": cpu_before,
    }
    # What the count itself takes belongs to no measurement: the next one begins here.
    told["cpu_after"] = time.process_time()
    sys.stdout.write(f"{msgspec.json.encode(told).decode()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, _count)
    sys.argv[:] = ["shopperd", "run", "--config", *sys.argv[1:]]
    main()
