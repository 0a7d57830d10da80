"""The audit trail, in pages and as a stream."""

import json
from typing import Any

import pytest
from aiohttp import ClientResponse

from shopperd.store import StoreUnreachable
from shopperd.web import events as web_events
from shopperd.web.reading import LIMIT_MAX
from tests.web.conftest import Client
from tests.web.deployment import Deployment

EVENTS = "/api/v1/events"
STREAM = {"Accept": "text/event-stream"}
FIELDS = {"id", "at", "kind", "message", "account", "session_id", "instance_id", "data"}


@pytest.fixture
def trail(deployment: Deployment) -> Deployment:
    for number in range(1, 6):
        deployment.event(f"thing.number_{number}", account="main" if number % 2 else "dock", instance_id=str(number))
    return deployment


async def kinds(client: Client, query: str = "") -> list[int]:
    response = await client.get(f"{EVENTS}?{query}")
    document = await response.json()
    assert response.status == 200, document
    return [int(item["kind"].removeprefix("thing.number_")) for item in document["items"]]


class TestPages:
    async def test_the_trail_is_told_in_order(self, client: Client, trail: Deployment) -> None:
        document = await (await client.get(EVENTS)).json()
        assert [item["id"] for item in document["items"]] == [1, 2, 3, 4, 5]
        assert all(item.keys() == FIELDS for item in document["items"])
        assert document["items"][0]["at"] == "2026-11-22T22:00:00Z"
        assert document["next"] is None

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("after=3", [4, 5]),
            ("after=99", []),
            ("after=now", []),
            ("limit=2", [1, 2]),
            ("last=2", [4, 5]),
            ("after=4&last=3", [5]),
            ("account=dock", [2, 4]),
            ("instance=3", [3]),
            ("session=00000000-0000-4000-8000-000000000001", []),
        ],
    )
    async def test_it_is_filtered(self, client: Client, trail: Deployment, query: str, found: list[int]) -> None:
        assert await kinds(client, query) == found

    async def test_events_of_one_session_are_found(self, client: Client, deployment: Deployment) -> None:
        session = deployment.session(1)
        deployment.event("thing.number_1", session_id=session.id)
        deployment.event("thing.number_2")
        assert await kinds(client, f"session={session.id}") == [1]

    async def test_pages_follow_each_other(self, client: Client, trail: Deployment) -> None:
        first = await (await client.get(f"{EVENTS}?limit=3")).json()
        rest = await (await client.get(EVENTS, params={"limit": "3", "cursor": first["next"]})).json()
        assert [item["id"] for item in first["items"] + rest["items"]] == [1, 2, 3, 4, 5]
        assert rest["next"] is None

    @pytest.mark.parametrize(
        "query", ["after=-1", "after=soon", "after=1.5", "after=" + "9" * 30, "last=0", "session=7"]
    )
    async def test_a_place_that_is_none_is_refused(self, client: Client, query: str) -> None:
        assert (await client.get(f"{EVENTS}?{query}")).status == 400


async def message(stream: ClientResponse) -> dict[str, Any]:
    """The next message of a stream, comments left out; its id must be that of the event."""
    id_, data = None, None
    while data is None or id_ is None:
        line = (await stream.content.readline()).decode().rstrip("\n")
        field, _, value = line.partition(": ")
        id_ = value if field == "id" else id_
        data = value if field == "data" else data
    event: dict[str, Any] = json.loads(data)
    assert str(event["id"]) == id_
    return event


async def comment(stream: ClientResponse, text: bytes) -> None:
    """Read on until a comment."""
    while await stream.content.readline() != b": " + text + b"\n":
        pass


class TestStream:
    async def test_what_is_there_comes_first_then_what_happens(self, client: Client, trail: Deployment) -> None:
        async with client.get(EVENTS, headers=STREAM) as stream:
            assert stream.content_type == "text/event-stream"
            assert [(await message(stream))["id"] for _ in range(5)] == [1, 2, 3, 4, 5]
            await client.post("/api/v1/freeze", json={"reason": "a drill"})
            event = await message(stream)
            assert (event["id"], event["kind"], event["message"]) == (6, "deployment.frozen", "a drill")
            await client.post("/api/v1/unfreeze", json={"reason": "over"})
            assert (await message(stream))["kind"] == "deployment.unfrozen"

    async def test_a_broken_stream_goes_on_after_the_last_event_that_it_sent(
        self, client: Client, trail: Deployment
    ) -> None:
        async with client.get(f"{EVENTS}?after=1", headers=STREAM | {"Last-Event-ID": "4"}) as stream:
            assert (await message(stream))["id"] == 5

    async def test_it_can_begin_after_a_number_or_now_or_with_the_last_few(
        self, client: Client, trail: Deployment
    ) -> None:
        async with client.get(f"{EVENTS}?after=3", headers=STREAM) as stream:
            assert (await message(stream))["id"] == 4
        async with client.get(f"{EVENTS}?last=1", headers=STREAM) as stream:
            assert (await message(stream))["id"] == 5
        async with client.get(f"{EVENTS}?after=now", headers=STREAM) as stream:
            await client.post("/api/v1/freeze", json={"reason": "a drill"})
            assert (await message(stream))["id"] == 6

    async def test_it_is_filtered_as_pages_are(self, client: Client, trail: Deployment) -> None:
        async with client.get(f"{EVENTS}?account=dock", headers=STREAM) as stream:
            assert [(await message(stream))["id"] for _ in range(2)] == [2, 4]
            trail.event("thing.number_6", account="main")
            trail.event("thing.number_7", account="dock")
            trail.context.changes.tell()
            assert (await message(stream))["id"] == 7

    async def test_a_long_trail_comes_whole(self, client: Client, deployment: Deployment) -> None:
        for number in range(LIMIT_MAX + 5):
            deployment.event(f"thing.number_{number}")
        async with client.get(EVENTS, headers=STREAM) as stream:
            found = [(await message(stream))["id"] for _ in range(LIMIT_MAX + 5)]
        assert found == list(range(1, LIMIT_MAX + 6))

    async def test_a_silent_stream_says_that_it_is_there(
        self, client: Client, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(web_events, "HEARTBEAT_SECONDS", 0.01)
        async with client.get(EVENTS, headers=STREAM) as stream:
            await comment(stream, b"still here")

    async def test_it_outlives_a_store_that_is_away_for_a_while(
        self, client: Client, trail: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(*args: object, **kwargs: object) -> None:
            raise StoreUnreachable("the store", "is away")

        async with client.get(EVENTS, headers=STREAM) as stream:
            assert [(await message(stream))["id"] for _ in range(5)] == [1, 2, 3, 4, 5]
            with monkeypatch.context() as patch:
                patch.setattr(trail.context.store, "run", away)
                trail.context.changes.tell()
                await comment(stream, b"the store does not answer")
            trail.event("thing.number_6")
            trail.context.changes.tell()
            assert (await message(stream))["id"] == 6

    async def test_it_ends_when_the_server_closes(self, client: Client, trail: Deployment) -> None:
        async with client.get(EVENTS, headers=STREAM) as stream:
            assert (await message(stream))["id"] == 1
            app = client.app
            assert app is not None
            await app.shutdown()
            assert b"id: 5" in await stream.content.read()

    async def test_there_are_only_so_many(
        self, client: Client, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(web_events, "STREAMS_MAX", 1)
        async with client.get(EVENTS, headers=STREAM) as stream:
            assert stream.status == 200
            refused = await client.get(EVENTS, headers=STREAM)
            assert refused.status == 503
            assert refused.content_type == "application/problem+json"

    async def test_a_place_that_is_none_is_refused(self, client: Client) -> None:
        for query, headers in (("after=soon", STREAM), ("", STREAM | {"Last-Event-ID": "seven"})):
            assert (await client.get(f"{EVENTS}?{query}", headers=headers)).status == 400

    async def test_without_asking_for_a_stream_there_is_none(self, client: Client, trail: Deployment) -> None:
        response = await client.get(EVENTS, headers={"Accept": "application/json", "Last-Event-ID": "4"})
        assert len((await response.json())["items"]) == 5
