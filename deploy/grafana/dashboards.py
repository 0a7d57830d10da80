"""Writes the dashboards: python -m deploy.grafana.dashboards [FOLDER], from the top of the checkout.

Without FOLDER they go beside this file. What is written is committed, so that nobody needs Python to use them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from deploy.grafana.daemon import daemon
from deploy.grafana.market import market
from deploy.grafana.overview import overview
from deploy.grafana.panels import Json
from deploy.grafana.providers import providers

DASHBOARDS: tuple[Callable[[], Json], ...] = (overview, providers, market, daemon)


def write(folder: Path) -> None:
    """Write every dashboard as a file named by its uid."""
    for make in DASHBOARDS:
        made = make()
        path = folder / f"{made['uid']}.json"
        path.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write(Path(*sys.argv[1:]) if sys.argv[1:] else Path(__file__).parent)
