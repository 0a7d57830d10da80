"""Everything that can go wrong with the two marketplaces, by name.

A fault is an entry in `CATALOGUE`: data, and one small function at a named hook (the table of hooks stands in
`shopperd.simulator.call`). The function's name is the fault's name, its docstring is what people are told about it. The modules
here are grouped by what is hit: create, destroy, listing, rows,
look, transport, access, machines, market.
"""

from __future__ import annotations

from shopperd.simulator.faults import (
    access,
    create,
    destroy,
    listing,
    look,
    machines,
    market,
    rows,
    transport,
)
from shopperd.simulator.faults.board import BadFaultError, FaultBoard
from shopperd.simulator.faults.registry import CATALOGUE

__all__ = [
    "CATALOGUE",
    "BadFaultError",
    "FaultBoard",
    "access",
    "create",
    "destroy",
    "listing",
    "look",
    "machines",
    "market",
    "rows",
    "transport",
]
