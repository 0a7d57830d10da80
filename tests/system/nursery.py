"""Starts a daemon by fork for each line on its standard input: `python -m tests.system.nursery CONFIG`.

Each is a process of its own, with a real store, real sockets and real signals, that runs what `shopperd run` runs; only the second
that an interpreter takes to import everything is shared. So a thousand restarts take minutes.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from shopperd.process import run


def tell(event: str, **values: Any) -> None:
    """Write one line of the nursery's own."""
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


def daemon(config: Path) -> None:
    """Be the daemon, and end with its exit status."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    status = 1
    try:
        status = run(config)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main(config: Path) -> None:
    tell("nursery.open")
    before: int | None = None
    for _ in sys.stdin:
        if before is not None:
            os.waitpid(before, 0)
        pid = os.fork()
        if pid == 0:
            daemon(config)
        tell("nursery.started", pid=pid)
        # It is left unburied until the next one is wanted: as long as a test may send it a signal, its number is nobody else's.
        end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert end is not None
        tell("nursery.ended", status=end.si_status if end.si_code == os.CLD_EXITED else -end.si_status)
        before = pid


if __name__ == "__main__":
    main(Path(sys.argv[1]))
