"""Errors are documents, and tell nothing of the inside."""

import pytest
import structlog

from shopperd.store import StoreUnreachable
from tests.web.conftest import Client
from tests.web.deployment import Deployment


def break_store(deployment: Deployment, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(deployment.context.store, "run", run)


async def test_a_store_that_does_not_answer_is_a_503_that_says_when_to_ask_again(
    client: Client, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_store(deployment, StoreUnreachable("/var/lib/shopperd.db", "the disk refuses"), monkeypatch)
    for response in (
        await client.get("/api/v1/sessions"),
        await client.post("/api/v1/sessions/register", json={"account": "main"}),
        await client.get("/api/v1/events"),
        await client.get("/api/v1/orphans"),
    ):
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0
        assert "the disk refuses" in (await response.json())["detail"]


async def test_status_still_answers_and_says_what_is_wrong(
    client: Client, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = StoreUnreachable("/var/lib/shopperd.db", "the disk refuses")
    break_store(deployment, error, monkeypatch)
    deployment.store.problem = error
    response = await client.get("/api/v1/status")
    assert response.status == 200
    store = (await response.json())["store"]
    assert not store["ok"]
    assert "the disk refuses" in store["problem"]


async def test_a_fault_of_ours_is_logged_and_its_text_is_not_told(
    client: Client, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_store(deployment, RuntimeError("an inner detail"), monkeypatch)
    with structlog.testing.capture_logs() as lines:
        response = await client.get("/api/v1/sessions")
    assert response.status == 500
    assert response.content_type == "application/problem+json"
    assert "an inner detail" not in await response.text()
    assert [line["event"] for line in lines] == ["http.crashed"]


async def test_problems_have_the_members_of_the_standard(client: Client) -> None:
    document = await (await client.get("/api/v1/sessions/none")).json()
    assert document.keys() == {"type", "title", "status", "detail", "instance", "errors"}
    assert (document["type"], document["title"], document["status"]) == ("about:blank", "Not Found", 404)
