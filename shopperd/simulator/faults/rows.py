"""What is wrong with a machine's row in a listing: its id, its tag, its numbers, its words."""

from __future__ import annotations

from typing import Any

from shopperd.simulator.call import Call, Fault, Parameter, Row
from shopperd.simulator.faults.editing import PRICE_KEY, STATUS_KEY, TAG_KEY
from shopperd.simulator.faults.registry import VAST, fault
from shopperd.simulator.instances import Instance

LIST = ("list",)
BOTH_LOOKS = ("list", "show")
_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


@fault("row", operations=LIST)
def row_without_id(_call: Call, _fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Rows have no id."""
    return {key: value for key, value in row.items() if key != "id"}


@fault("row", operations=LIST, parameters={"value": Parameter(0, "such as 0, -1, 1e300, null or text")})
def row_id_strange(_call: Call, fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Rows have an id that cannot be one."""
    return row | {"id": fault["value"]}


@fault("row", operations=BOTH_LOOKS)
def row_id_as_text(_call: Call, _fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Ids come as text."""
    return row | {"id": str(row["id"])} if "id" in row else None


@fault("row", providers=VAST, operations=BOTH_LOOKS)
def row_id_as_float(_call: Call, _fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Ids come as floats."""
    return row | {"id": float(row["id"])}


@fault("row", operations=BOTH_LOOKS)
def row_tag_missing(call: Call, _fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Tags are not told."""
    return row | {TAG_KEY[call.dialect]: None}


@fault("row", operations=BOTH_LOOKS, parameters={"length": Parameter(20, "characters that are kept")})
def row_tag_truncated(call: Call, fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Only the beginning of each tag is told."""
    tag = row.get(TAG_KEY[call.dialect])
    if not isinstance(tag, str) or len(tag) <= fault["length"]:
        return None
    return row | {TAG_KEY[call.dialect]: tag[: fault["length"]]}


@fault("row", operations=BOTH_LOOKS, parameters={"tag": Parameter(None, "what it says; null: the tag in capitals")})
def row_tag_altered(call: Call, fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Tags are told wrongly."""
    tag = row.get(TAG_KEY[call.dialect])
    if fault["tag"] is not None:
        return row | {TAG_KEY[call.dialect]: fault["tag"]}
    return row | {TAG_KEY[call.dialect]: tag.upper()} if isinstance(tag, str) and tag else None


@fault("row", operations=BOTH_LOOKS, parameters={"word": Parameter("hibernating", "what it says; null too")})
def row_status_unknown(call: Call, fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Statuses are a word that nobody has heard of."""
    return row | {STATUS_KEY[call.dialect]: fault["word"]}


@fault("row", operations=BOTH_LOOKS)
def row_status_shouts(call: Call, _fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Statuses come in capitals."""
    word = row.get(STATUS_KEY[call.dialect])
    return row | {STATUS_KEY[call.dialect]: word.upper()} if isinstance(word, str) else None


@fault("row", operations=BOTH_LOOKS, parameters={"value": Parameter(None, "null, NaN, Infinity, a number or text")})
def row_price_strange(call: Call, fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Prices are null, not finite, negative or absurd."""
    value = fault["value"]
    return row | {PRICE_KEY[call.dialect]: _NUMBERS.get(value, value) if isinstance(value, str) else value}


@fault("row", operations=BOTH_LOOKS)
def row_numbers_as_text(_call: Call, _fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Numbers come as text."""

    def text(value: Any) -> Any:
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    return {key: text(value) for key, value in row.items()}


@fault("row", operations=BOTH_LOOKS)
def row_bare(call: Call, _fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Rows have only an id and a tag."""
    return {key: row[key] for key in ("id", TAG_KEY[call.dialect]) if key in row}


@fault("row", operations=BOTH_LOOKS)
def row_nulls(call: Call, _fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Everything but id and tag is null."""
    kept = ("id", TAG_KEY[call.dialect])
    return {key: value if key in kept else None for key, value in row.items()}


@fault("row", operations=BOTH_LOOKS)
def row_extra_keys(_call: Call, _fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """Rows have members that nobody has heard of."""
    return row | {"x_new_member": {"nested": [1, None, "two"]}, "zz": True}


@fault("row", providers=VAST, operations=BOTH_LOOKS, parameters={"value": Parameter(0.0, "epoch seconds")})
def row_start_strange(_call: Call, fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """The start of the rental is 1970, or in the future."""
    return row | {"start_date": fault["value"]}


@fault("row", providers=VAST, operations=BOTH_LOOKS)
def row_status_contradicts(_call: Call, _fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """The actual status says running, the intended one stopped."""
    return row | {"actual_status": "running", "intended_status": "stopped"}


@fault("row", operations=LIST)
def row_not_an_object(_call: Call, _fault: Fault, instance: Instance, _row: Row) -> Row | None:
    """Rows are bare ids instead of objects."""
    bare: Any = instance.id
    return bare  # type: ignore[no-any-return]  # the point is that it is no row
