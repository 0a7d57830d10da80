"""Vast.ai's v1 instance list: column filters, order, and keyset paging with a cursor."""

from __future__ import annotations

import base64
import binascii
import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from shopperd.simulator.call import Call
from shopperd.simulator.exchange import Answer, loose_json_answer
from shopperd.simulator.filters import BadFilterError, condition
from shopperd.simulator.instances import VastInstance
from shopperd.simulator.vastai_rows import Row, instance_row, status_words

PAGE_MAX = 25
PAGE_FALLBACK = 5
"""What a limit of zero or less is read as."""

COLUMNS: Mapping[str, Callable[[VastInstance, float], Any]] = {
    "id": lambda instance, _n: int(instance.id),
    "label": lambda instance, _n: instance.tag,
    "actual_status": lambda instance, now: status_words(instance, now).actual,
    "intended_status": lambda instance, now: status_words(instance, now).intended,
    "cur_state": lambda instance, now: status_words(instance, now).current,
    "next_state": lambda instance, now: status_words(instance, now).next,
    "machine_id": lambda instance, _n: instance.offer.machine.id,
    "host_id": lambda instance, _n: instance.offer.machine.host_id,
    "gpu_name": lambda instance, _n: instance.offer.machine.model.name,
    "verification": lambda instance, _n: instance.offer.machine.verification,
    "image_uuid": lambda instance, _n: instance.image,
    "start_date": lambda instance, _n: instance.created_at,
    "end_date": lambda instance, _n: instance.offer.machine.end_date,
    "is_bid": lambda instance, _n: instance.is_bid,
}
"""The stored columns, which filters and orders may name; computed ones such as `dph_total` are refused."""

_Keyed = tuple[list[Any], VastInstance]


class BadTokenError(ValueError):
    """The cursor is not one of ours."""


def _query_json(call: Call, name: str, default: Any) -> Any:
    text = call.request.param(name)
    if text is None or text == "":
        return default
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadFilterError(f"{name}: not JSON") from error


def _column(name: Any) -> Callable[[VastInstance, float], Any]:
    if not isinstance(name, str) or name not in COLUMNS:
        raise BadFilterError(f"{name}: no such column")
    return COLUMNS[name]


def _order(call: Call) -> list[tuple[str, bool]]:
    asked = _query_json(call, "order_by", [])
    if not isinstance(asked, list):
        raise BadFilterError("order_by: Input should be a valid list")
    order: list[tuple[str, bool]] = []
    for entry in asked:
        if not isinstance(entry, Mapping):
            raise BadFilterError("order_by: Input should be a list of objects")
        _column(entry.get("col"))
        order.append((entry["col"], entry.get("dir") == "desc"))
    if all(name != "id" for name, _ in order):
        order.append(("id", False))
    return order


def encode_token(values: Mapping[str, Any]) -> str:
    """A cursor: base64 of the last row's ordering values."""
    return base64.b64encode(json.dumps({"values": values}).encode()).decode()


def _decode_token(token: str, order: list[tuple[str, bool]]) -> list[Any]:
    try:
        values = json.loads(base64.b64decode(token, validate=True))["values"]
        return [values[name] for name, _ in order]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise BadTokenError from error


def _compare(order: list[tuple[str, bool]], left: list[Any], right: list[Any]) -> int:
    """Which comes first; null sorts last where it ascends."""
    for (_, descending), one, other in zip(order, left, right, strict=True):
        if one == other:
            continue
        if one is None or other is None:
            sign = 1 if one is None else -1
        else:
            sign = 1 if str(one) > str(other) else -1
            if isinstance(one, int | float) and isinstance(other, int | float):
                sign = 1 if one > other else -1
        return -sign if descending else sign
    return 0


def list_answer(call: Call, instances: list[VastInstance]) -> Answer:
    """One page.

    Raises:
        BadFilterError: a query parameter cannot be read.
        BadTokenError: the cursor cannot be read.
    """
    now = call.now
    filters = _query_json(call, "select_filters", {})
    if not isinstance(filters, Mapping):
        raise BadFilterError("select_filters: Input should be a valid dictionary")
    tests = [(_column(name), condition(name, wanted)) for name, wanted in filters.items()]
    found = [row for row in instances if all(test(getter(row, now)) for getter, test in tests)]
    order = _order(call)
    keyed: list[_Keyed] = [([COLUMNS[name](row, now) for name, _ in order], row) for row in found]
    if order == [("id", False)]:
        keyed.sort(key=lambda entry: entry[0][0])
    else:
        by_order = functools.cmp_to_key(functools.partial(_compare, order))
        keyed.sort(key=lambda entry: by_order(entry[0]))
    token = call.request.param("after_token")
    if token:
        last = _decode_token(token, order)
        keyed = [entry for entry in keyed if _compare(order, entry[0], last) > 0]
    limit = _limit(call)
    page = keyed[:limit]
    more = len(keyed) > limit
    last_values = {name: value for (name, _), value in zip(order, page[-1][0], strict=True)} if page else {}
    rows = [call.row(row, instance_row(row, now) | {"volume_info": []}) for _, row in page]
    return loose_json_answer(
        200,
        {
            "success": True,
            "instances_found": len(rows),
            "total_instances": len(found),
            "label_counts": dict(Counter(row.tag or "" for row in found)),
            "next_token": encode_token(last_values) if more else None,
            "instances": _selected(call, rows),
        },
    )


def _limit(call: Call) -> int:
    text = call.request.param("limit")
    try:
        limit = int(text) if text else PAGE_MAX
    except ValueError as error:
        raise BadFilterError("limit: Input should be a valid integer") from error
    return min(limit, PAGE_MAX) if limit > 0 else PAGE_FALLBACK


def _selected(call: Call, rows: list[Row]) -> list[Row]:
    columns = _query_json(call, "select_cols", ["*"])
    if not isinstance(columns, list):
        raise BadFilterError("select_cols: Input should be a valid list")
    if "*" in columns:
        return rows
    return [{"id": row.get("id"), **{name: row.get(name) for name in columns}} for row in rows]
