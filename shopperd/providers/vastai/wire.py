"""What Vast.ai's API says: typed records of its answers, and nothing about what they mean.

Whatever the API may send is taken: unknown and missing keys, null, numbers as texts, an int for a float,
blanks and newlines around texts, and also what is no JSON by the book (NaN, Infinity, numbers beyond any
float, lone halves of surrogate pairs, a byte order mark). What a value cannot say, it says as None. Only an
answer whose shape is not known is an error, since nothing may be read into that.

Field names are the API's own. Sources: the published API of 2026 and answers recorded from the live service.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Annotated, Any, Generic, TypedDict, TypeVar, cast, get_type_hints

import msgspec
from attrs import evolve, fields, frozen
from cattrs.preconf.msgspec import make_converter

from shopperd.providers.contract import BadAnswer

TEXT_MAX = 4096
"""Longer texts are cut: the API's own limit for a label is 1024, and nobody reads more of a status message."""
_NUMBER = re.compile(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,4})?")
WHOLE_MAX = 2**53
"""Beyond it a number that came through a float is no longer the one that was meant."""
_BOM = b"\xef\xbb\xbf"
_SURROGATES = re.compile("[\ud800-\udfff]")


# Single values. These never raise: what they cannot read is None.


def number(raw: object) -> float | None:
    """A finite number, also one in a text; True is none."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, str):
        stripped = raw.strip()
        raw = float(stripped) if _NUMBER.fullmatch(stripped) else None
    if not isinstance(raw, int | float):
        return None
    try:
        value = float(raw)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def whole(raw: object) -> int | None:
    """A whole number; 4.0 and "4" are some, 4.5 is none."""
    value = number(raw)
    return int(value) if value is not None and abs(value) < WHOLE_MAX and value.is_integer() else None


def text(raw: object) -> str | None:
    """A text that is not blank, exactly as it was sent but for what no file or log could hold."""
    if not isinstance(raw, str) or not raw.strip():
        return None
    return _SURROGATES.sub("\ufffd", raw[:TEXT_MAX])


def stripped(raw: object) -> str | None:
    """A text without the blanks around it: addresses and messages end in newlines."""
    value = text(raw)
    return None if value is None else value.strip()


def truth(raw: object) -> bool | None:
    """A truth value, also as 0 and 1 or in a text."""
    if isinstance(raw, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(raw.strip().lower())
    if isinstance(raw, int | float) and raw in (0, 1):
        return bool(raw)
    return None


def identifier(raw: object) -> str | None:
    """A positive whole number as text: ids come as numbers and as texts, and zero and less are nobody's."""
    if type(raw) is int and 0 < raw < WHOLE_MAX:
        return str(raw)
    value = whole(raw)
    return None if value is None or value <= 0 else str(value)


def mapping(raw: object) -> Mapping[str, object]:
    """An object; empty if it is none."""
    return raw if isinstance(raw, dict) else {}


# Documents.


def decode(body: bytes) -> object:
    """The JSON document in a body: strictly first, which is fast, then by the forgiving reader.

    Raises:
        BadAnswer: it is no JSON at all, not UTF-8, or nested beyond reading.
    """
    try:
        return msgspec.json.decode(body.removeprefix(_BOM))
    except (ValueError, RecursionError):
        return _forgiving(body)


def _forgiving(body: bytes) -> object:
    try:
        return json.loads(body.decode("utf-8-sig"), strict=False)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"the answer is not JSON ({type(error).__name__}, {len(body)} bytes)") from None


def fields_of(body: bytes) -> Mapping[str, object] | None:
    """The object in a body, None if it is no object or cannot be read: for what an answer says beside its
    payload."""
    try:
        document = decode(body)
    except BadAnswer:
        return None
    return document if isinstance(document, dict) else None


# Records. What a field may be is what the API sends by rule: rows of that kind are decoded into records at once, and any
# other goes through the converter.

Whole = Annotated[int, msgspec.Meta(gt=-WHOLE_MAX, lt=WHOLE_MAX)]
Word = str | bool | int | float
"""What was seen both as a truth value and as a word."""
Sent = Annotated[str, msgspec.Meta(description="as it was sent")]
"""A text with the blanks around it: whoever reads it takes them off, once for all rows that tell the same."""


@frozen
class OfferRow:
    """A row of a search answer. Money is USD per hour, memory MB of one GPU as usable, `disk_space` GB."""

    # In the API's order, in which the decoder finds them fastest.
    id: Any = None
    ask_contract_id: Any = None
    gpu_name: Sent | None = None
    num_gpus: Whole | None = None
    gpu_ram: float | None = None
    geolocation: Sent | None = None
    verification: Word | None = None
    reliability2: float | None = None
    min_bid: float | None = None
    disk_space: float | None = None
    reliability: float | None = None
    rentable: bool | None = None
    rented: bool | None = None
    external: bool | None = None
    is_bid: bool | None = None
    dph_total: float | None = None
    verified: Word | None = None


@frozen
class InstanceRow:
    """A row of the list of instances, or the one instance of a single read. Units as for offers."""

    id: Any = None
    actual_status: str | None = None
    intended_status: str | None = None
    cur_state: str | None = None
    next_state: str | None = None
    label: Any = None
    extra_env: Any = None
    gpu_name: str | None = None
    num_gpus: Whole | None = None
    gpu_ram: float | None = None
    dph_total: float | None = None
    storage_total_cost: float | None = None
    instance: Any = None
    ports: Any = None
    public_ipaddr: str | None = None
    ssh_host: str | None = None
    ssh_port: Whole | None = None
    start_date: float | None = None


Row = TypeVar("Row", OfferRow, InstanceRow)

_converter = make_converter(detailed_validation=False)
_converter.register_structure_hook_func(lambda kind: kind == (float | None), lambda raw, _: number(raw))
_converter.register_structure_hook_func(lambda kind: kind == (Whole | None), lambda raw, _: whole(raw))
_converter.register_structure_hook_func(lambda kind: kind == (bool | None), lambda raw, _: truth(raw))
_converter.register_structure_hook_func(lambda kind: kind == (str | None), lambda raw, _: stripped(raw))
_converter.register_structure_hook_func(
    lambda kind: kind == (Sent | None), lambda raw, _: raw if isinstance(raw, str) else None
)
_converter.register_structure_hook_func(lambda kind: kind is Any, lambda raw, _: raw)
_converter.register_structure_hook_func(
    lambda kind: kind == (Word | None), lambda raw, _: raw if isinstance(raw, str | int | float) else None
)


def _decoder(kind: type[Any]) -> msgspec.json.Decoder[dict[str, Any]]:
    """A decoder to a dict of the record's own fields: the other eighty of a row are skipped and take no
    memory."""
    shape = TypedDict(f"{kind.__name__}Fields", {f.name: Any for f in fields(kind)}, total=False)  # type: ignore[misc] # made of the record's own fields, so that there is no second list of them
    return cast("msgspec.json.Decoder[dict[str, Any]]", msgspec.json.Decoder(shape))


_DECODERS = {kind: _decoder(kind) for kind in (OfferRow, InstanceRow)}


def read_row(raw: object, kind: type[Row]) -> Row | None:
    """A record out of a row; None if the row is no object or no text. `raw` is JSON or decoded already."""
    if isinstance(raw, msgspec.Raw | bytes):
        try:
            return _converter.structure(_DECODERS[kind].decode(raw), kind)
        except (ValueError, RecursionError):
            # A row that is no object, or with a number beyond any float in one field.
            try:
                raw = _forgiving(bytes(raw))
            except BadAnswer:
                return None
    return _converter.structure(raw, kind) if isinstance(raw, dict) else None


class Records(Generic[Row]):
    """Makes records of the rows of a list (see `rows.RowReader`): of all of them at once, and one by one where a row is odd."""

    def __init__(self, kind: type[Row]) -> None:
        self._kind: type[Row] = kind
        self._records = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type] # the kind is a value here
        hints = get_type_hints(kind, include_extras=True)
        self._names = [field.name for field in fields(kind) if hints[field.name] == (str | None)]
        self._texts = attrgetter(*self._names) if self._names else None
        self._tidy: set[tuple[str | None, ...]] = set()

    def many(self, rows: bytes) -> list[Row | None] | None:
        """The records of a JSON list of rows; None if it is no such list."""
        try:
            records = self._records.decode(rows)
        except (ValueError, RecursionError):
            pass
        else:
            return self._stripped(records)
        try:
            return [read_row(raw, self._kind) for raw in _RAW_ROWS.decode(rows)]
        except (ValueError, RecursionError):
            return None

    def one(self, row: bytes) -> Row | None:
        """The record of one row, None if it is no object or no JSON."""
        return read_row(row, self._kind)

    def _stripped(self, records: list[Row | None]) -> list[Row | None]:
        """As the converter strips them. Most texts, such as a GPU's name, come again and again, and need nothing."""
        if self._texts is None:
            return records
        told_by_all = list(map(self._texts, records))
        if self._tidy.issuperset(told_by_all):
            return records
        for number, (record, texts) in enumerate(zip(records, told_by_all, strict=True)):
            if texts not in self._tidy:
                tidy = tuple(stripped(told) for told in texts)
                if tidy == texts:
                    if len(self._tidy) >= _TIDY_MAX:
                        self._tidy.clear()
                    self._tidy.add(texts)
                elif record is not None:
                    records[number] = evolve(record, **dict(zip(self._names, tidy, strict=True)))
        return records


_RAW_ROWS = msgspec.json.Decoder(list[msgspec.Raw])
_TIDY_MAX = 4096

OFFER_ROWS = Records(OfferRow)
INSTANCE_ROWS = Records(InstanceRow)


@frozen
class Listing:
    """One page of the list of instances.

    Attributes:
        rows: None for a row that is unreadable.
        instances_found: rows in this page, by the API.
        total_instances: rows in all pages, by the API.
        next_token: the cursor of the next page; None on the last one.
    """

    rows: tuple[InstanceRow | None, ...]
    instances_found: int | None
    total_instances: int | None
    next_token: str | None


def read_offers(body: bytes) -> tuple[OfferRow | None, ...]:
    """The rows of a search answer, or of what an intake left of it.

    Raises:
        BadAnswer: there is no list of offers, or the API says that it failed. It never reads as "no offers".
    """
    return _rows(_document(body), "offers", OfferRow)


def read_listing(body: bytes, taken: Iterable[InstanceRow | None] = ()) -> Listing:
    """A page of the list of instances, or what an intake left of it after it had `taken` rows.

    Raises:
        BadAnswer: there is no list of instances, or the API says that it failed. It never reads as "no
            instances".
    """
    document = _document(body)
    token = document.get("next_token")
    if token is not None and not isinstance(token, str):
        raise BadAnswer(f"a cursor of type {type(token).__name__}")
    return Listing(
        rows=(*taken, *_rows(document, "instances", InstanceRow)),
        instances_found=whole(document.get("instances_found")),
        total_instances=whole(document.get("total_instances")),
        next_token=token or None,
    )


def read_instance(body: bytes) -> InstanceRow | None:
    """The one instance of a single read; None for the API's ``"instances": null``.

    Raises:
        BadAnswer: neither an instance nor null.
    """
    document = _document(body)
    if "instances" not in document:
        raise BadAnswer("no key `instances`")
    raw = document["instances"]
    if raw is None:
        return None
    row = read_row(raw, InstanceRow)
    if row is None:
        raise BadAnswer(f"`instances` is of type {type(raw).__name__}, not one instance")
    return row


def _document(body: bytes) -> Mapping[str, object]:
    document = decode(body)
    if not isinstance(document, dict):
        raise BadAnswer(f"the answer is of type {type(document).__name__}, not an object")
    if truth(document.get("success")) is False:
        said = [stripped(document.get(key)) for key in ("error", "msg")]
        raise BadAnswer(f"the API says that it failed: {'; '.join(part for part in said if part)}")
    return document


def _rows(document: Mapping[str, object], key: str, kind: type[Row]) -> tuple[Row | None, ...]:
    rows = document.get(key)
    if not isinstance(rows, list):
        raise BadAnswer(f"no list of {key}, but {'nothing' if key not in document else type(rows).__name__}")
    return tuple(read_row(row, kind) for row in rows)


def pairs(raw: object) -> Iterator[tuple[str, str]]:
    """The entries of ``extra_env``, a list of pairs today and an object in older answers; what is neither is
    skipped."""
    entries = raw.items() if isinstance(raw, dict) else raw if isinstance(raw, list) else ()
    for entry in entries:
        if isinstance(entry, list | tuple) and len(entry) == 2:
            key, value = entry
            if isinstance(key, str) and isinstance(value, str):
                yield key, value
