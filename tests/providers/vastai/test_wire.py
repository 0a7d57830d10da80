"""What the API may send, and what is made of it."""

import contextlib
import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopperd.providers.contract import BadAnswer
from shopperd.providers.vastai import wire

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (1, 1.0),
        (1.5, 1.5),
        ("1.5", 1.5),
        (" 2e3\n", 2000.0),
        ("-.5", -0.5),
        ("", None),
        ("1_000", None),
        ("nan", None),
        ("Infinity", None),
        ("0x10", None),
        ("1e400", None),
        (True, None),
        (None, None),
        ([], None),
        (math.nan, None),
        (math.inf, None),
        (10**400, None),
    ],
)
def test_numbers_are_read_in_every_form_and_are_finite(raw: Any, value: float | None) -> None:
    assert wire.number(raw) == value


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (7, "7"),
        ("7", "7"),
        (" 0007\n", "7"),
        (7.0, "7"),
        (0, None),
        ("0", None),
        (-7, None),
        (7.5, None),
        ("7.5", None),
        (None, None),
        (True, None),
        ("", None),
        ("seven", None),
        ("7/../8", None),
        (2**60, None),
        ([7], None),
    ],
)
def test_an_id_is_a_positive_whole_number_and_nothing_else(raw: Any, value: str | None) -> None:
    assert wire.identifier(raw) == value


@pytest.mark.parametrize(
    ("raw", "value"),
    [(True, True), (0, False), (1.0, True), ("TRUE ", True), ("false", False), (2, None), ("", None), (None, None)],
)
def test_truth_comes_in_several_forms(raw: Any, value: bool | None) -> None:
    assert wire.truth(raw) is value


def test_a_text_is_kept_as_it_is_but_for_what_nobody_can_store() -> None:
    assert wire.text(" shopper-1\n") == " shopper-1\n"
    assert wire.stripped(" 203.0.113.4 \n") == "203.0.113.4"
    assert wire.text("a\ud800b") == "a\ufffdb"
    assert wire.text(" \n") is None
    assert wire.text(5) is None
    assert len(wire.text("x" * 9999) or "") == wire.TEXT_MAX


@given(ANYTHING)
def test_no_value_is_too_strange_to_read(raw: Any) -> None:
    for reader in (wire.number, wire.whole, wire.text, wire.stripped, wire.truth, wire.identifier, wire.mapping):
        reader(raw)
    assert list(wire.pairs(raw)) == [] or isinstance(raw, dict | list)


@given(st.dictionaries(st.sampled_from([*(a.name for a in wire.InstanceRow.__attrs_attrs__), "x"]), ANYTHING))
def test_a_row_of_anything_is_a_row(raw: dict[str, Any]) -> None:
    strict = wire.read_row(msgspec.Raw(json.dumps(raw, allow_nan=True).encode()), wire.InstanceRow)
    decoded = wire.read_row(raw, wire.InstanceRow)
    assert strict is not None
    assert decoded is not None
    for name in ("dph_total", "num_gpus", "actual_status", "ssh_port"):
        assert getattr(strict, name) == getattr(decoded, name) or "\ufffd" in str(getattr(decoded, name))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_bad_answer(body: bytes) -> None:
    for reader in (wire.read_offers, wire.read_listing, wire.read_instance, wire.decode):
        with contextlib.suppress(BadAnswer):
            reader(body)


# What is no JSON by the book: read if it is plain what was meant.


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": NaN}', {"a": pytest.approx(math.nan, nan_ok=True)}),
        (b'{"a": -Infinity}', {"a": -math.inf}),
        (b'{"a": 1e400}', {"a": math.inf}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": "\\ud800"}', {"a": "\ud800"}),
        (b'{"a": "\n\x00"}', {"a": "\n\x00"}),
        (b' {"a": 1} \r\n', {"a": 1}),
    ],
)
def test_what_is_plainly_meant_is_read(body: bytes, value: Any) -> None:
    assert wire.decode(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b'{"a": 1',
        b'{"a": 1} {"b": 2}',
        b"<html></html>",
        b'{"a": "\xff"}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b"{'a': 1}",
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "blank", "cut off", "two", "html", "not UTF-8", "deep list", "deep object", "quotes", "huge"],
)
def test_what_is_not_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        wire.decode(body)


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"null", b'"?"', b"[1]", b"{}"])
def test_a_number_that_is_none_costs_its_field_and_not_its_row(value: bytes) -> None:
    rows = wire.read_offers(b'{"offers": [{"id": 5, "dph_total": %b, "num_gpus": 2}, {"id": 6}]}' % value)
    first, second = rows
    assert first == wire.OfferRow(id=5, num_gpus=2)
    assert second == wire.OfferRow(id=6)


@pytest.mark.parametrize("row", [b"null", b"5", b'"x"', b"[1]", b"true"])
def test_a_row_that_is_no_object_spoils_none_of_the_others(row: bytes) -> None:
    rows = wire.read_offers(b'{"offers": [%b, {"id": 6}]}' % row)
    assert rows[0] is None
    assert rows[1] == wire.OfferRow(id=6)


# Shapes.


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"offers": None},
        {"offers": {}},
        {"offers": "none"},
        {"offers": 0},
        [],
        "offers",
        None,
        {"offers": [], "success": False},
        {"offers": [], "success": "false"},
    ],
)
def test_an_answer_without_its_list_never_reads_as_an_empty_one(body: Any) -> None:
    with pytest.raises(BadAnswer):
        wire.read_offers(json.dumps(body).encode())
    listing = json.dumps(body).replace("offers", "instances").encode()
    with pytest.raises(BadAnswer):
        wire.read_listing(listing)


def test_an_empty_list_is_one() -> None:
    assert wire.read_offers(b'{"offers": []}') == ()
    assert wire.read_listing(b'{"instances": []}').rows == ()


def test_a_listing_tells_its_counts_and_its_cursor() -> None:
    page = wire.read_listing(
        b'{"success": true, "instances": [{}], "instances_found": "1", "total_instances": 3.0, "next_token": "x"}'
    )
    assert (page.instances_found, page.total_instances, page.next_token) == (1, 3, "x")
    last = wire.read_listing(b'{"instances": [], "next_token": ""}')
    assert (last.instances_found, last.total_instances, last.next_token) == (None, None, None)


@pytest.mark.parametrize("token", [5, ["x"], {"a": 1}, True])
def test_a_cursor_that_is_no_text_is_a_bad_answer(token: Any) -> None:
    with pytest.raises(BadAnswer):
        wire.read_listing(json.dumps({"instances": [], "next_token": token}).encode())


def test_one_instance_is_an_object_or_null() -> None:
    assert wire.read_instance(b'{"instances": null}') is None
    assert wire.read_instance(b'{"instances": {"id": 5}}') == wire.InstanceRow(id=5)
    for body in (b"{}", b'{"instances": []}', b'{"instances": [{"id": 5}]}', b'{"instances": "x"}', b"null"):
        with pytest.raises(BadAnswer):
            wire.read_instance(body)


def test_the_environment_is_read_as_pairs_and_as_an_object() -> None:
    assert dict(wire.pairs([["A", "1"], ["B"], "C", ["D", 2], None, ["E", "5"]])) == {"A": "1", "E": "5"}
    assert dict(wire.pairs({"A": "1", "B": None})) == {"A": "1"}
    assert dict(wire.pairs(None)) == {}
