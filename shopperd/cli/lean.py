"""Loads structlog without rich, with which it would draw tracebacks on a terminal. No log line of ours is drawn so, and it would
take 3 MB and a tenth of a start. To be imported before whatever imports structlog."""

from __future__ import annotations

import sys

if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment] # Python's own way to have an import fail
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
