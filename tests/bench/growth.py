"""How it grows with the fleet, from 1 to 100,000 machines: measured, and drawn as docs/growth.svg. Not a part of the usual run.

usage: make bench ARGS=growth
"""

from __future__ import annotations

import gc
import math
import tracemalloc
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from attrs import evolve

from shopperd.model import tag_of
from shopperd.providers.rows import Rows
from shopperd.providers.transport import CHUNK_BYTES
from shopperd.providers.vastai import wire
from shopperd.providers.vastai.instances import identified, to_instance
from shopperd.rest import NO_REST
from shopperd.simulator import Request, World, WorldSettings
from tests.bench.fleet import at_rest, listed, listed_anew, listed_but_one, seconds_an_instance
from tests.bench.result import Result, cpu_seconds
from tests.nouns import NOW, sid

SIZES = (1, 10, 100, 1_000, 10_000, 100_000)
PAGE_ROWS = 25
LOOKS_MAX = 200
DRAWING = Path(__file__).resolve().parents[2] / "docs" / "growth.svg"

Curve = Mapping[int, float]


def results() -> Iterable[Result]:
    """The exponents between the last two points: 1 is linear."""
    curves = measured()
    DRAWING.write_text(drawn(curves), encoding="utf-8")
    for name, curve in curves.items():
        for size, value in curve.items():
            yield Result(f"growth.{name}.{size}", value, _UNITS[name], math.inf)
        before, last = curve[SIZES[-2]], curve[SIZES[-1]]
        yield Result(f"growth.{name}.exponent", math.log10(last / before), "1 is linear", 1.3)


_UNITS = {
    "nothing is new": "ms of CPU a look",
    "one machine changed": "ms of CPU a look",
    "all seen for the first time": "ms of CPU a look",
    "listing decoded": "ms of CPU a listing",
    "memory kept": "MB",
}


def measured() -> dict[str, Curve]:
    """The points of every curve."""
    curves: dict[str, dict[int, float]] = {name: {} for name in _UNITS}
    page = _page()
    gc.disable()  # as the daemon does, but for what is young
    for size in SIZES:
        gc.collect()
        tracemalloc.start()
        known = at_rest(size)
        gc.collect()
        curves["memory kept"][size] = tracemalloc.get_traced_memory()[0] / 1e6
        tracemalloc.stop()
        looks = max(1, min(LOOKS_MAX, 20_000 // size))
        whole = evolve(known, rest=NO_REST)
        for name, before, listing in (
            ("nothing is new", known, listed_anew(known)),
            ("one machine changed", known, listed_but_one(known)),
            ("all seen for the first time", whole, listed(known)),
        ):
            curves[name][size] = seconds_an_instance(before, listing, looks) * size * 1e3
        listings = min(3, looks)
        curves["listing decoded"][size] = min(cpu_seconds(lambda: _decoded(page, size)) for _ in range(listings)) * 1e3  # noqa: B023 - called at once
    gc.enable()
    return dict(curves)


def _page() -> bytes:
    """A page of Vast.ai's list of instances."""
    world = World.build(WorldSettings(seed=1, offers=400, rate_scale=0.0), now=NOW.timestamp())
    for number in range(1, PAGE_ROWS + 1):
        world.conjure({"provider": "vastai", "tag": tag_of(sid(number))})
    request = Request("GET", "/api/v1/instances/", {"limit": str(PAGE_ROWS)}, {"Authorization": "Bearer a-key"}, b"")
    return bytes(world.handle("vastai", request, NOW.timestamp()).body)


def _decoded(page: bytes, machines: int) -> int:
    """The instances of so many pages, as the adapter makes them; how many there were."""
    found = 0
    for _ in range(-(-machines // PAGE_ROWS)):
        rows: list[wire.InstanceRow | None] = []
        intake = Rows("instances", wire.INSTANCE_ROWS, rows.extend)
        for start in range(0, len(page), CHUNK_BYTES):
            intake.feed(page[start : start + CHUNK_BYTES])
        listing = wire.read_listing(intake.finish(), rows)
        for row in listing.rows:
            id_ = identified(row)
            if row is None or id_ is None:
                raise AssertionError("a row of the simulator's could not be read")
            to_instance(row, id_, "main", "", NOW)
            found += 1
    return found


WIDTH, HEIGHT, LEFT, TOP, GAP = 460, 300, 70, 40, 90
COLOURS = ("#0b6e99", "#c4501b", "#5b8c2a", "#7a4fa3")
Scale = Callable[[float], float]


def drawn(curves: Mapping[str, Curve]) -> str:
    """Two panels with logarithms on both axes: time, memory."""
    times = {name: curve for name, curve in curves.items() if _UNITS[name] != "MB"}
    memory = {name: curve for name, curve in curves.items() if _UNITS[name] == "MB"}
    width = LEFT + WIDTH + GAP + WIDTH + 20
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + HEIGHT + 60}" font-family="sans-serif" font-size="12">',
            f'<rect width="{width}" height="{TOP + HEIGHT + 60}" fill="white"/>',
            *_panel(times, "milliseconds of CPU", LEFT),
            *_panel(memory, "megabytes", LEFT + WIDTH + GAP),
            "</svg>\n",
        )
    )


def _panel(curves: Mapping[str, Curve], title: str, left: int) -> Iterable[str]:
    values = [value for curve in curves.values() for value in curve.values()]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    decades = math.log10(SIZES[-1])

    def x(size: float) -> float:
        return round(left + WIDTH * math.log10(size) / decades, 1)

    def y(value: float) -> float:
        return round(TOP + HEIGHT * (1 - (math.log10(value) - low) / (high - low)), 1)

    yield f'<text x="{left}" y="{TOP - 16}" font-size="14">{title}, by machines</text>'
    for size in SIZES:
        yield f'<path d="M{x(size)} {TOP}V{TOP + HEIGHT}" stroke="#ddd"/>'
        yield f'<text x="{x(size)}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{size:,}</text>'
    for power in range(low, high + 1):
        yield f'<path d="M{left} {y(10.0**power)}H{left + WIDTH}" stroke="#ddd"/>'
        yield f'<text x="{left - 6}" y="{y(10.0**power) + 4}" text-anchor="end">{10.0**power:g}</text>'
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        yield from _line([(x(size), y(value)) for size, value in curve.items()], colour)
        place = TOP + 16 + 16 * number
        yield f'<text x="{left + 24}" y="{place}">{name}</text>'
        yield f'<path d="M{left + 4} {place - 4}h14" stroke="{colour}" stroke-width="2"/>'


def _line(points: Sequence[tuple[float, float]], colour: str) -> Iterable[str]:
    path = " ".join(f"{x} {y}" for x, y in points)
    yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    yield from (f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in points)
