"""What is wrong with the market: answers that are empty, cut off or repeated, and rows that nobody should price."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve

from shopperd.simulator.call import Call, Fault, Parameter, Row
from shopperd.simulator.exchange import Answer
from shopperd.simulator.faults.editing import edited
from shopperd.simulator.faults.registry import DOCK, VAST, fault

SEARCH = ("search",)
_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_ROWS = Parameter(0, "how many rows, from the first; 0: all")


def _first(fault: Fault, rows: list[Row], change: Callable[[Row], Row]) -> list[Row] | None:
    """The rows with the first ones changed."""
    number = fault["rows"] or len(rows)
    return [change(row) for row in rows[:number]] + rows[number:] if rows else None


def _gpus(row: Row) -> list[Any]:
    """The GPU entries of a TensorDock row, in whichever dialect."""
    if isinstance(row.get("gpus"), list):
        return list(row["gpus"])
    if "available_resources" in row:
        return list(row["available_resources"]["gpus"])
    return list(row["specs"]["gpu"].values())


def _set_price(row: Row, value: Any) -> Row:
    if "dph_total" in row:
        return row | {"dph_total": value}
    for gpu in _gpus(row):
        gpu["price_per_hr" if "price_per_hr" in gpu else "price"] = value
    return row


@fault("offers", operations=SEARCH)
def offers_empty(_call: Call, _fault: Fault, rows: list[Row]) -> list[Row] | None:
    """The market is empty, in a good answer (TensorDock's locations since mid-2026 for some)."""
    return [] if rows else None


@fault("offers", operations=SEARCH, parameters={"rows": Parameter(64, "how many are left")})
def offers_cut(_call: Call, fault: Fault, rows: list[Row]) -> list[Row] | None:
    """The answer is cut off after a number of rows."""
    return rows[: fault["rows"]] if len(rows) > fault["rows"] else None


@fault(
    "offers",
    operations=SEARCH,
    parameters={"rows": _ROWS, "value": Parameter("NaN", "NaN, Infinity, null or a number")},
)
def offers_price_strange(_call: Call, fault: Fault, rows: list[Row]) -> list[Row] | None:
    """Prices are not finite, null, negative or absurd."""
    value = fault["value"]
    price = _NUMBERS.get(value, value) if isinstance(value, str) else value
    return _first(fault, rows, lambda row: _set_price(row, price))


@fault("offers", providers=VAST, operations=SEARCH, parameters={"rows": _ROWS})
def offers_without_price(_call: Call, fault: Fault, rows: list[Row]) -> list[Row] | None:
    """Rows have no total price, only other prices."""
    return _first(fault, rows, lambda row: {key: row[key] for key in row if key != "dph_total"})


@fault("offers", operations=SEARCH, parameters={"rows": _ROWS, "factor": Parameter(10.0, "times the true price")})
def offers_price_jump(_call: Call, fault: Fault, rows: list[Row]) -> list[Row] | None:
    """Every price is a multiple of the true one."""

    def change(row: Row) -> Row:
        if "dph_total" in row:
            return row | {"dph_total": row["dph_total"] * fault["factor"]}
        for gpu in _gpus(row):
            key = "price_per_hr" if "price_per_hr" in gpu else "price"
            gpu[key] *= fault["factor"]
        return row

    return _first(fault, rows, change)


@fault("offers", operations=SEARCH)
def offers_duplicated(_call: Call, _fault: Fault, rows: list[Row]) -> list[Row] | None:
    """The first row stands in the answer twice."""
    return [*rows, rows[0]] if rows else None


@fault("offers", providers=VAST, operations=SEARCH, parameters={"rows": _ROWS})
def offers_null_cores(_call: Call, fault: Fault, rows: list[Row]) -> list[Row] | None:
    """The number of cores and the place are null."""
    return _first(fault, rows, lambda row: row | {"cpu_cores": None, "geolocation": None})


@fault("offers", providers=VAST, operations=SEARCH, parameters={"rows": _ROWS})
def offers_reliability_absurd(_call: Call, fault: Fault, rows: list[Row]) -> list[Row] | None:
    """The reliability is 1233."""
    return _first(fault, rows, lambda row: row | {"reliability2": 1233, "reliability": 1233})


@fault("offers", providers=VAST, operations=SEARCH, parameters={"rows": _ROWS})
def offers_numbers_as_text(_call: Call, fault: Fault, rows: list[Row]) -> list[Row] | None:
    """Numbers come as text."""

    def text(value: Any) -> Any:
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    return _first(fault, rows, lambda row: {key: text(value) for key, value in row.items()})


@fault("offers", operations=SEARCH, parameters={"rows": _ROWS})
def offers_extra_keys(_call: Call, fault: Fault, rows: list[Row]) -> list[Row] | None:
    """Rows have members that nobody has heard of."""
    return _first(fault, rows, lambda row: row | {"x_new_member": {"nested": [1, None]}})


@fault(
    "offers",
    providers=VAST,
    operations=SEARCH,
    parameters={"rows": _ROWS, "gpu": Parameter("RTX 9090 Hyper", "its name")},
)
def offers_unknown_gpu(_call: Call, fault: Fault, rows: list[Row]) -> list[Row] | None:
    """Rows have a GPU that nobody has heard of."""
    return _first(fault, rows, lambda row: row | {"gpu_name": fault["gpu"], "gpu_ram": 65536})


@fault("offers", operations=SEARCH, parameters={"rows": Parameter(1, "how many")})
def offers_row_not_an_object(_call: Call, fault: Fault, rows: list[Row]) -> list[Row] | None:
    """Rows are null instead of objects."""
    broken: list[Any] = [None] * fault["rows"]
    return broken + rows[fault["rows"] :] if rows else None


@fault("after", operations=SEARCH)
def offers_without_key(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The answer lacks the member that holds the rows."""
    keys = ("offers", "hostnodes") if call.dialect != "v2" else ("data",)
    return edited(answer, lambda content: {key: content[key] for key in content if key not in keys})


@fault("after", operations=SEARCH)
def offers_cached(call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """A cache answers: the first answer to a search is the answer from then on."""
    pages: dict[bytes, bytes] = fault.memory.setdefault("pages", {})
    place = call.request.path.encode() + call.request.body
    if answer.status != 200:
        return None
    if place not in pages:
        pages[place] = answer.body
        return None
    return evolve(answer, headers={**answer.headers, "Age": "3600"}, body=pages[place])


@fault("offers", providers=VAST, operations=SEARCH)
def offers_ignore_filters(call: Call, _fault: Fault, rows: list[Row]) -> list[Row] | None:
    """Rows that the filters exclude are in the answer: one is said to be rented and unverified."""
    return (
        [*rows, rows[0] | {"id": 1, "ask_contract_id": 1, "rented": True, "verification": "deverified"}]
        if rows
        else None
    )


# --- TensorDock ---------------------------------------------------------------------------------------------


@fault("offers", providers=DOCK, operations=SEARCH)
def dock_price_component_missing(_call: Call, _fault: Fault, rows: list[Row]) -> list[Row] | None:
    """The price of memory is not told."""
    for row in rows:
        if isinstance(row.get("gpus"), list):
            for gpu in row["gpus"]:
                gpu["pricing"].pop("per_gb_ram_hr", None)
        elif "pricing" in row:
            row["pricing"].pop("per_gb_ram_hr", None)
        else:
            row["specs"]["ram"].pop("price", None)
    return rows or None


@fault("offers", providers=DOCK, operations=SEARCH)
def dock_nothing_free(_call: Call, _fault: Fault, rows: list[Row]) -> list[Row] | None:
    """Every GPU is listed with a count of 0."""
    for row in rows:
        for gpu in _gpus(row):
            for key in ("max_count", "availableCount", "amount"):
                if key in gpu:
                    gpu[key] = 0
    return rows or None


@fault("offers", providers=DOCK, operations=SEARCH, parameters={"tier": Parameter(9, "the tier")})
def dock_tier_unknown(_call: Call, fault: Fault, rows: list[Row]) -> list[Row] | None:
    """Locations have a tier above the known ones."""
    changed = [row | {"tier": fault["tier"]} for row in rows if "tier" in row]
    return changed or None


@fault("offers", providers=DOCK, operations=SEARCH)
def dock_display_name_missing(_call: Call, _fault: Fault, rows: list[Row]) -> list[Row] | None:
    """GPUs have no display name."""
    for row in rows:
        for gpu in _gpus(row):
            gpu.pop("displayName", None)
    return rows or None
