"""Redaction: canaries are planted in every place and form, and must be gone from what comes out."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from shopperd.redaction import DEPTH_MAX, ITEMS_MAX, MASK, TEXT_CHARS_MAX, mask_known, plain, redact
from shopperd.secrets import remember

CANARY = "canary-5f2e"


class TestTexts:
    @pytest.mark.parametrize(
        "text",
        [
            f"Authorization: Bearer {CANARY}",
            f"authorization: {CANARY}",
            f"Proxy-Authorization: Basic {CANARY}==",
            f"X-Api-Key: {CANARY}",
            f"Cookie: a=1; session={CANARY}",
            f"sent bearer {CANARY} and failed",
            f"GET https://console.vast.ai/api/v0/x?api_key={CANARY}&a=b",
            f"GET /x?a=b&token={CANARY}#top",
            f"GET /x?key={CANARY}",
            f"https://user:{CANARY}@host/x",
            f"https://{CANARY}@host/x",
            f"postgresql+psycopg://shopperd:{CANARY}@db/shopperd",
            f"{{'api_key': '{CANARY}', 'a': 1}}",
            f'{{"apiToken": "{CANARY}"}}',
            f"{{'Authorization': b'{CANARY}'}}",
            f"<CIMultiDict('Authorization': 'Bearer {CANARY}')>",
            f"api_key={CANARY}",
            f"VASTAI_API_KEY={CANARY} shopperd run",
            f'password="{CANARY} {CANARY}"',
            f"AccountSettings(token='{CANARY}')",
        ],
    )
    def test_what_looks_like_a_credential_is_masked(self, text: str) -> None:
        assert CANARY not in redact(text)
        assert MASK in redact(text)

    @pytest.mark.parametrize(
        "text",
        [
            "an instance is gone",
            "https://console.vast.ai/api/v0/instances/?owner=me&limit=25",
            "accounts.a.api_key_env: environment variable VASTAI_API_KEY is not set",
            "token_file=/etc/shopperd/token",
            "the token: refused",
            "mail@host and a:b",
            "keys=3",
        ],
    )
    def test_anything_else_stays_as_it_is(self, text: str) -> None:
        assert redact(text) == text

    def test_the_neighbours_of_a_credential_stay(self) -> None:
        text = redact(f"GET https://host/x?api_key={CANARY}&limit=25 failed, api_token={CANARY}, again in 5 s")
        assert text == f"GET https://host/x?api_key={MASK}&limit=25 failed, api_token={MASK}, again in 5 s"

    @pytest.mark.parametrize(
        "unit", ["a", "a-", "a_", "://", "?a=", "api_key", "bearer ", "'", '"api_key":"\\', "token='"]
    )
    def test_no_text_makes_it_slow(self, unit: str) -> None:
        # A pattern that backtracks without bound would take hours here, and the suite's own limit would end it.
        redact(unit * 20_000)


class TestKnownValues:
    def test_a_value_that_was_read_is_masked_anywhere(self) -> None:
        remember("sesame-77-open")
        assert redact("x=sesame-77-open;/sesame-77-open/") == f"x={MASK};/{MASK}/"
        assert mask_known('"sesame-77-open"') == f'"{MASK}"'

    def test_the_longer_of_two_is_masked_whole(self) -> None:
        remember("prefix-value")
        remember("prefix-value-and-tail")
        assert redact("prefix-value-and-tail prefix-value") == f"{MASK} {MASK}"

    def test_what_pattern_languages_use_is_taken_as_it_is(self) -> None:
        remember("a.c+(x)[y]")
        assert redact("a.c+(x)[y]") == MASK
        assert redact("abc+(x)[y]") == "abc+(x)[y]"


class Colour(enum.Enum):
    RED = "red"


@frozen
class Holder:
    shown: str
    hidden: str = field(repr=False)


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


class TestValues:
    @pytest.mark.parametrize(
        "key",
        [
            "authorization",
            "Authorization",
            "X-Api-Key",
            "api_key",
            "apiKey",
            "API_TOKEN",
            "token",
            "access_tokens",
            "password",
            "client_secret",
            "Set-Cookie",
            "auth_id",
            "VASTAI_API_KEY",
            "auth",
            "env",
            "onstart",
        ],
    )
    @pytest.mark.parametrize("wrap", [str, list, lambda text: {"a": text}, lambda text: (text,), str.encode])
    def test_what_a_key_calls_a_secret_is_masked_in_any_form(self, key: str, wrap: Callable[[str], object]) -> None:
        assert plain({"a": [{key: wrap("opaque")}]}) == {"a": [{key: MASK}]}

    @pytest.mark.parametrize(
        "key", ["api_key_env", "token_file", "idempotency", "keys", "ssh_port", "environment", "a"]
    )
    def test_what_it_calls_otherwise_is_shown(self, key: str) -> None:
        assert plain({key: "opaque"}) == {key: "opaque"}

    def test_numbers_under_such_a_key_are_no_secret(self) -> None:
        assert plain({"tokens": 3, "token": None, "password": True}) == {"tokens": 3, "token": None, "password": True}

    def test_objects_become_texts_without_secrets(self) -> None:
        remember("known-canary")
        shown = plain(
            {
                "holder": Holder(shown="known-canary", hidden="x"),
                "error": ValueError("api_key=known-canary"),
                "path": Path("/a/known-canary"),
                "bytes": b"known-canary\xff",
                "set": {"known-canary"},
                ("known-canary", 1): 1,
            }
        )
        assert "canary" not in repr(shown)
        assert "ValueError: api_key=***" in repr(shown)

    def test_plain_things_keep_their_meaning(self) -> None:
        moment = datetime(2026, 1, 2, tzinfo=UTC)
        uuid = UUID(int=1)
        assert plain([1, 1.5, True, None, "a", Colour.RED, moment, uuid, float("nan")]) == [
            1,
            1.5,
            True,
            None,
            "a",
            "red",
            "2026-01-02T00:00:00+00:00",
            str(uuid),
            "nan",
        ]

    def test_what_cannot_describe_itself_is_named(self) -> None:
        assert plain(Unprintable()) == "<Unprintable without a description>"

    def test_it_is_bounded_in_length_number_and_depth(self) -> None:
        endless: list[object] = []
        endless.append(endless)
        assert repr(plain(endless)) == "[" * DEPTH_MAX + "'...'" + "]" * DEPTH_MAX
        assert plain(list(range(ITEMS_MAX + 5))) == [*range(ITEMS_MAX), "5 more"]
        many = plain({str(number): number for number in range(ITEMS_MAX + 5)})
        assert isinstance(many, dict)
        assert (len(many), many["..."]) == (ITEMS_MAX + 1, "5 more")
        assert plain("a" * 10**6) == "a" * TEXT_CHARS_MAX + "... (cut)"

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
        )
    )
    def test_the_result_is_always_json(self, value: object) -> None:
        json.dumps(plain(value), allow_nan=False)
