"""Queries and bodies: all that is wrong is said at once, with what is allowed."""

import asyncio
import io
from typing import Any

import pytest

from shopperd.web import reading
from tests.web.conftest import Client
from tests.web.deployment import Deployment, offer

SESSIONS = "/api/v1/sessions"


async def faults(client: Client, body: Any) -> dict[str, str]:
    response = await client.post(SESSIONS, json=body)
    document = await response.json()
    assert response.status == 400, document
    return {fault["place"]: fault["detail"] for fault in document["errors"]}


async def test_every_fault_of_a_body_is_told_at_once(client: Client) -> None:
    found = await faults(
        client,
        {
            "gpus": "RTX 4090",
            "gpu": 4090,
            "gpu_count": 0,
            "min_vram_gb": 24.5,
            "max_price_per_hour": "cheap",
            "interruptible": "yes",
            "env": {"A": 1},
            "lifetime": "soon",
            "image": "",
        },
    )
    assert sorted(found) == [
        "body.env",
        "body.gpu",
        "body.gpu_count",
        "body.gpus",
        "body.image",
        "body.interruptible",
        "body.lifetime",
        "body.max_price_per_hour",
        "body.min_vram_gb",
    ]
    assert "allowed are: account, offer_id, gpu," in found["body.gpus"]
    assert "at least 1" in found["body.gpu_count"]


async def test_the_detail_alone_tells_all_faults_too(client: Client) -> None:
    response = await client.post(SESSIONS, json={"gpu": 1, "nonsense": 2})
    detail = (await response.json())["detail"]
    assert "body.gpu" in detail
    assert "body.nonsense" in detail


async def test_a_body_that_is_right_has_no_fault(client: Client, deployment: Deployment) -> None:
    deployment.offers(offer(1))
    body = {
        "account": "main",
        "gpu": "rtx_4090",
        "gpu_count": 1.0,
        "min_vram_gb": 24,
        "max_price_per_hour": 1,
        "env": {"A": "1"},
        "lifetime": "12h",
        "image": None,
    }
    assert (await client.post(SESSIONS, json=body)).status == 201


@pytest.mark.parametrize("value", ["12h", "1h30m", 5400, "5400", 0.5])
async def test_durations_are_numbers_or_text(client: Client, value: object) -> None:
    response = await client.post(f"{SESSIONS}/register", json={"account": "main", "lifetime": value})
    assert response.status == 201


@pytest.mark.parametrize("value", ["", "12 parsecs", -1, True, [], {}, 1e300])
async def test_other_things_are_no_durations(client: Client, value: object) -> None:
    response = await client.post(f"{SESSIONS}/register", json={"account": "main", "lifetime": value})
    assert response.status == 400


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[1]",
        b"null",
        b'"text"',
        b"\xff",
        b'{"reason": "\xed\xa0\x80"}',
        b'{"reason": "\\ud800"}',
        b"[" * 100_000,
        b'{"a": 1e999}',
        b"NaN",
        b'{"reason": "\\u0000"}',
        b'{"reason": ' + b"9" * 400 + b"}",
    ],
)
async def test_what_is_no_json_object_is_refused(client: Client, deployment: Deployment, content: bytes) -> None:
    response = await client.post("/api/v1/freeze", data=content, headers={"Content-Type": "application/json"})
    assert response.status == 400
    assert response.content_type == "application/problem+json"
    assert not deployment.context.frozen


async def test_a_body_of_a_megabyte_is_read_and_a_larger_one_refused(client: Client) -> None:
    headers = {"Content-Type": "application/json"}
    padding = reading.BODY_BYTES_MAX - len(b'{"reason": "a drill"}')
    fits = b'{"reason": "a drill"' + b" " * (padding - 1) + b"}"
    assert (await client.post("/api/v1/freeze", data=io.BytesIO(fits), headers=headers)).status == 200
    response = await client.post("/api/v1/freeze", data=io.BytesIO(fits + b" " * 10), headers=headers)
    assert response.status == 413
    assert response.content_type == "application/problem+json"


async def test_a_body_that_does_not_come_is_not_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BODY_SECONDS_MAX", 0.01)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    head = "POST /api/v1/freeze HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    assert b" 408 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("limit=0", "query.limit"),
        ("limit=1001", "query.limit"),
        ("limit=ten", "query.limit"),
        ("limit=1e2", "query.limit"),
        ("limit=nan", "query.limit"),
        ("limit=1&limit=2", "query.limit"),
        ("state=asleep", "query.state"),
        ("state=running,asleep", "query.state"),
        ("account=", "query.account"),
        ("page=2", "query.page"),
        ("cursor=nonsense", "query.cursor"),
    ],
)
async def test_a_query_that_is_wrong_is_told_where(client: Client, query: str, place: str) -> None:
    response = await client.get(f"{SESSIONS}?{query}")
    document = await response.json()
    assert response.status == 400
    assert [fault["place"] for fault in document["errors"]] == [place]


async def test_a_cursor_that_no_page_handed_out_leads_nowhere(client: Client) -> None:
    response = await client.get(f"{SESSIONS}?cursor=WyJub3BlIg")
    assert response.status == 404
    assert [fault["place"] for fault in (await response.json())["errors"]] == ["query.cursor"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/status?x=1",
        "/api/v1/accounts?x=1",
        "/api/v1/instances?x=1",
        "/api/v1/offers?x=1",
        "/api/v1/orphans?x=1",
        "/api/v1/plan?x=1",
        "/api/v1/events?x=1",
        "/api/v1/sessions/00000000-0000-4000-8000-000000000001?x=1",
    ],
)
async def test_no_route_takes_parameters_that_it_does_not_know(client: Client, path: str) -> None:
    response = await client.get(path)
    assert response.status == 400
    assert "allowed are" in (await response.json())["detail"]


async def test_long_texts_are_not_repeated(client: Client) -> None:
    response = await client.post(SESSIONS, json={"gpu": ["x" * 10_000], "offer_id": "y" * 10_000})
    assert len(await response.text()) < 2000


def test_only_the_usual_form_of_a_uuid_is_one() -> None:
    text = "6D0C7F1E-8f0b-4c5e-9a55-1c9a3d1f0b7a"
    assert str(reading.uuid_of(text)) == text.lower()
    for other in (text.replace("-", ""), f"{{{text}}}", f"urn:uuid:{text}", "", "x"):
        assert reading.uuid_of(other) is None
