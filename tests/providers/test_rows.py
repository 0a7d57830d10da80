"""Rows are the same however the answer is cut into pieces, a bad one costs itself, and a list that was cut off is no list."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopperd.providers import rows as subject
from shopperd.providers.contract import BadAnswer
from shopperd.providers.rows import HEAD_BYTES_MAX, ROW_BYTES_MAX, SCAN_BYTES_MIN, Rows
from shopperd.providers.vastai import wire

TRICKY = [
    {"id": 1, "gpu_name": "a},{b", "geolocation": 'say "x", {y}'},
    {"id": 2, "search": {"totalHour": 0.1}, "rentable": True},
    {"id": 3, "parts": [{"a": 1}, {"b": [{}, {}]}], "gpu_name": "\\"},
    {"id": 4, "gpu_name": '\\\\"},{\\', "num_gpus": 2.0},
    {"id": 5, "gpu_name": " RTX 4090\n", "verified": [1, {"a": "],["}]},
    {},
    {"id": 6, "dph_total": "0.3", "num_gpus": True},
]

OFFER = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers() | st.text(),
        "gpu_name": st.none() | st.text() | st.integers(),
        "num_gpus": st.none() | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.just("2"),
        "dph_total": st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.just("1.5"),
        "geolocation": st.text(alphabet='"\\{}[],: \n\u00e9a'),
        "verified": st.none() | st.booleans() | st.text() | st.lists(st.integers(), max_size=2) | st.just({}),
        "rentable": st.none() | st.booleans() | st.integers(0, 2),
        "search": st.dictionaries(st.text(max_size=3), st.lists(st.dictionaries(st.text(max_size=2), st.none()))),
    },
)


def taken(*chunks: bytes, key: str = "offers") -> tuple[list[wire.OfferRow | None], bytes]:
    """The rows in these pieces, and what they leave."""
    found: list[wire.OfferRow | None] = []
    intake = Rows(key, wire.OFFER_ROWS, found.extend)
    for chunk in chunks:
        intake.feed(chunk)
    left = intake.finish()
    return found, left


def pieces(body: bytes, size: int) -> Iterable[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def each_by_itself(offers: list[Any]) -> list[wire.OfferRow | None]:
    return [wire.read_row(offer, wire.OfferRow) for offer in offers]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 4096])
def test_rows_are_the_same_however_the_answer_is_cut(size: int, indent: int | None) -> None:
    body = json.dumps({"success": True, "offers": TRICKY, "msg": "},{"}, indent=indent).encode()
    found, left = taken(*pieces(body, size))
    assert found == each_by_itself(TRICKY)
    assert json.loads(left) == {"success": True, "offers": [], "msg": "},{"}


@given(st.lists(OFFER, max_size=6), st.integers(1, 300), st.booleans())
def test_rows_in_pieces_are_what_each_row_is_by_itself(offers: list[Any], size: int, compact: bool) -> None:
    body = json.dumps({"offers": offers}, separators=(",", ":") if compact else None).encode()
    found, left = taken(*pieces(body, size))
    assert found == each_by_itself(offers)
    assert json.loads(left) == {"offers": []}


@given(st.lists(OFFER, max_size=4))
def test_records_at_once_are_those_one_by_one(offers: list[Any]) -> None:
    body = json.dumps(offers).encode()
    records = wire.OFFER_ROWS.many(body)
    if records is None:  # infinity is no JSON by the book, and such a row is for the forgiving reader
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(body)
    else:
        assert records == each_by_itself(offers)


def test_what_is_no_list_of_whole_rows_has_no_records_at_once() -> None:
    for cut in (b"", b"[", b'[{"a": 1]', b'[{"a": "]', b"[{}],[{}]", b'{"a": []}', b"null"):
        assert wire.OFFER_ROWS.many(cut) is None


@pytest.mark.parametrize("bad", ["null", "5", '"},{"', "[{}]", '{"id": }', '{"id": 1 "x": 2}', '{"id": tru}', ""])
@pytest.mark.parametrize("size", [5, 10_000])
def test_a_bad_row_costs_itself(bad: str, size: int) -> None:
    body = f'{{"offers": [{{"id": 1}}, {bad}, {{"id": 2}}]}}'.encode()
    found, _ = taken(*pieces(body, size))
    assert found == [wire.OfferRow(id=1), None, wire.OfferRow(id=2)]


@pytest.mark.parametrize("bad", ["NaN", "1e999", '"\\ud800"', '"\n"', "9" * 400])
def test_a_value_that_is_no_json_by_the_book_costs_its_field_at_most(bad: str) -> None:
    body = f'{{"offers": [{{"id": 1, "dph_total": {bad}}}, {{"id": 2}}]}}'.encode()
    found, _ = taken(body)
    assert found == [wire.OfferRow(id=1), wire.OfferRow(id=2)]


def test_every_answer_that_ends_early_is_an_error_and_never_a_shorter_list() -> None:
    body = json.dumps({"offers": TRICKY}).encode()
    for end in range(len(body)):
        with pytest.raises(BadAnswer):
            wire.read_offers(taken(*pieces(body[:end], 40))[1])
    assert wire.read_offers(taken(body)[1]) == ()


@pytest.mark.parametrize(
    "body",
    [
        b'{"offers": []}',
        b'{"offers":[] , "offers_left": [{}, {}]}',
        b'{"more": {"offers": [{"id": 1}]}, "offers": []}',
        b'{"offers": [], "offers": null}',
        b'{"offers": null}',
        b'[{"offers": [1]}]',
        b'"offers"',
        b'{"a": "\\"offers\\": ["}',
        b"<html>offers: [{}]</html>",
        b"",
    ],
)
def test_only_the_list_that_is_meant_is_taken(body: bytes) -> None:
    assert taken(*pieces(body, 3)) == ([], body)


def test_a_list_that_comes_late_is_left_with_the_rest() -> None:
    body = json.dumps({"pad": "x" * 2 * HEAD_BYTES_MAX, "offers": TRICKY}).encode()
    found, left = taken(*pieces(body, 1000))
    assert (found, left) == ([], body)
    assert wire.read_offers(left) == tuple(each_by_itself(TRICKY))


@pytest.mark.parametrize("between", [" , ", ",", "\n,\n"])
def test_rows_are_told_apart_by_their_brackets_where_no_end_is_in_sight(between: str) -> None:
    count = 2 * SCAN_BYTES_MIN // 10
    body = f'{{"offers": [{between.join(["null"] * count)}]}}'.encode()
    found, left = taken(*pieces(body, 10_000))
    assert found == [None] * count
    assert left == b'{"offers": []}'


def test_a_row_without_an_end_is_given_up() -> None:
    endless = b'{"offers": [{"id": 1, "x": "' + b"y" * (2 * ROW_BYTES_MAX)
    with pytest.raises(BadAnswer, match="does not end"):
        taken(*pieces(endless, 2**16))


def test_a_bracket_too_many_is_no_answer() -> None:
    with pytest.raises(BadAnswer, match="not JSON"):
        taken(b'{"offers": [{"id": 1}}, {"id": 2}]}')


def test_what_comes_after_the_list_stays_what_it_is() -> None:
    found, left = taken(b'{"offers": [{"id": 1}], "others": [{"a": 1},{"b": 2}', b',{"c": 3}]}')
    assert found == [wire.OfferRow(id=1)]
    assert left == b'{"offers": [], "others": [{"a": 1},{"b": 2},{"c": 3}]}'


def test_rows_are_handed_on_while_the_answer_comes_in() -> None:
    found: list[wire.OfferRow | None] = []
    intake = Rows("offers", wire.OFFER_ROWS, found.extend)
    intake.feed(b'{"offers": [{"id": 1}, {"id": 2}, {"i')
    assert found == [wire.OfferRow(id=1), wire.OfferRow(id=2)]


def test_what_is_open_is_never_more_than_a_piece_and_a_row() -> None:
    intake = Rows("offers", wire.OFFER_ROWS, lambda rows: None)
    row = json.dumps({"id": 1, "logo": "x" * 2800}).encode()
    intake.feed(b'{"offers": [')
    for _ in range(50):
        intake.feed(b",".join([row] * 20) + b",")
        assert len(intake._open) <= subject.SCAN_BYTES_MIN + len(row)


def test_a_piece_that_ends_in_a_nested_list_is_not_looked_through_for_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    told_apart = subject._told_apart
    monkeypatch.setattr(subject, "_told_apart", lambda rows: counted.append(len(rows)) or told_apart(rows))
    row = json.dumps({"id": 1, "ports": [{"HostIp": "0.0.0.0"}, {"HostIp": "::"}, {"HostIp": "::1"}]}).encode()
    found: list[wire.OfferRow | None] = []
    intake = Rows("offers", wire.OFFER_ROWS, found.extend)
    intake.feed(b'{"offers": [' + b", ".join([row] * 9) + b", " + row[:-20])
    assert (len(found), counted) == (9, [])
    intake.feed(row[-20:] + b"]}")
    intake.finish()
    assert len(found) == 10
    assert all(size <= len(row) + 2 for size in counted)
