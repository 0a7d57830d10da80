"""TensorDock: one adapter over two dialects of its API.

`wire_v2` and `wire_v0` say what the API says, `adapter` what it means, and `dialect` is the seam between them. The rest are
the facts both share: `fields` (single values), `complaints` (errors), `sizing` (machine and price), `statuses`, `startup`
(cloud-init) and `countries`. Nothing in here does I/O but through `providers.transport`.
"""

from __future__ import annotations

from shopperd.providers.tensordock.adapter import TensorDock, open_tensordock

__all__ = ["TensorDock", "open_tensordock"]
