"""Values of any form are read or are None; whole answers of any form end in a value or in an error of the contract."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopperd.providers.contract import BadAnswer, ProviderError
from shopperd.providers.limiter import Endpoint
from shopperd.providers.tensordock import fields
from shopperd.providers.tensordock.dialect import Dialect
from shopperd.providers.tensordock.wire_v0 import V0
from shopperd.providers.tensordock.wire_v2 import V2
from shopperd.providers.transport import Reply
from shopperd.secrets import Secret
from shopperd.settings import SecretSource
from tests.providers.tensordock.account import VM

SECRET = Secret(SecretSource(env="KEY"), {"KEY": "k3y0f7e5c0ffee"})
DIALECTS: list[Dialect] = [V2(SECRET), V0(SECRET, SECRET)]
KEYS = st.sampled_from(
    "data locations instances attributes id name status error message code success gpus v0Name max_count resources "
    "pricing network_features ipAddress portForwards rateHourly hostnodes specs networking ports virtualmachines "
    f"virtualmachine server cost total_price gpu amount price timestamp_creation restrictions 1 {VM}".split()
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | KEYS
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=25
)


@given(raw=JSON)
def test_every_reader_is_total(raw: object) -> None:
    for read in (
        fields.array,
        fields.flag,
        fields.floor,
        fields.gpu_name,
        fields.host,
        fields.identifier,
        fields.mapping,
        fields.number,
        fields.port,
        fields.price,
        fields.text,
        fields.whole,
    ):
        read(raw)


@given(body=JSON, status=st.sampled_from([200, 201, 204, 302, 400, 401, 404, 409, 429, 500, 502]))
def test_any_json_is_read_or_refused(body: Any, status: int) -> None:
    reply = Reply(status, {}, json.dumps(body).encode())
    for dialect in DIALECTS:
        for endpoint in Endpoint:
            dialect.classify(endpoint, reply)
        readers: list[Callable[[], object]] = [
            partial(dialect.read_market, reply, 3),
            partial(dialect.read_listing, reply),
            partial(dialect.read_machine, reply, VM),
            partial(dialect.read_created, reply),
            partial(dialect.read_destroyed, reply),
        ]
        for read in readers:
            try:
                read()
            except ProviderError as error:
                assert str(error)  # noqa: PT017 - a value is as good


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (4, 4),
        ("4", 4),
        ("4\n", 4),
        (4.0, 4),
        (4.5, None),
        (-1, None),
        (True, None),
        ("x", None),
        (None, None),
        (1e300, None),
    ],
)
def test_a_whole_number_may_come_in_any_form(raw: object, value: int | None) -> None:
    assert fields.whole(raw) == value


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("abc-1\n", "abc-1"),
        (7, "7"),
        (0, None),
        (-7, None),
        ("", None),
        ("a/b", None),
        (True, None),
        (7.0, None),
        ("-a", None),
    ],
)
def test_an_id_is_what_can_be_asked_for_again(raw: object, value: str | None) -> None:
    assert fields.identifier(raw) == value


def test_a_number_beyond_any_float_is_none() -> None:
    assert fields.number(10**400) is None
    assert fields.number("1e999") is None
    assert fields.number("nan") is None


@pytest.mark.parametrize("body", [b"", b"NaN", b"[" * 100_000, b"\xff", b'{"a":1e400}', b"\x00", b"\xef\xbb\xbf{}"])
def test_what_is_no_json_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        fields.decode(body)
    assert fields.decoded_or_none(body) is None
