"""Reads a market that is in memory as the daemon does, and prints what that took as one JSON object. usage: ... our_market FILE"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from shopperd.process import settle_memory
from tests.bench.market import offers

if __name__ == "__main__":
    body = Path(sys.argv[1]).read_bytes()
    settle_memory()
    began = time.process_time()
    found = offers(body)
    seconds = time.process_time() - began
    print(json.dumps({"offers": len(found), "cpu_seconds": seconds}))
