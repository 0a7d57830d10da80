"""Every route that others rely on is there, and nothing else answers."""

import pytest

from shopperd.web.door import DOOR
from tests.web.conftest import Client
from tests.web.deployment import Deployment

ID = "00000000-0000-4000-8000-000000000001"

ROUTES = [
    ("GET", "/"),
    ("GET", "/machine?account=main&id=7"),
    ("GET", "/metrics"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/api/v1/status"),
    ("GET", "/api/v1/accounts"),
    ("GET", "/api/v1/sessions"),
    ("POST", "/api/v1/sessions"),
    ("POST", "/api/v1/sessions/register"),
    ("GET", f"/api/v1/sessions/{ID}"),
    ("POST", f"/api/v1/sessions/{ID}/end"),
    ("POST", f"/api/v1/sessions/{ID}/extend"),
    ("GET", "/api/v1/instances"),
    ("GET", "/api/v1/instances/main/7/explain"),
    ("POST", "/api/v1/instances/main/7/adopt"),
    ("POST", "/api/v1/instances/main/7/destroy"),
    ("POST", "/api/v1/instances/main/7/exempt"),
    ("POST", "/api/v1/instances/main/7/unexempt"),
    ("GET", "/api/v1/offers"),
    ("GET", "/api/v1/orphans"),
    ("GET", "/api/v1/plan"),
    ("GET", "/api/v1/events"),
    ("POST", "/api/v1/accounts/main/trust"),
    ("POST", "/api/v1/freeze"),
    ("POST", "/api/v1/unfreeze"),
    ("POST", "/api/v1/jobs/status/run"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_promised_route_is_there(client: Client, method: str, path: str) -> None:
    response = await client.request(method, path)
    assert response.status != 405
    if response.status == 404:
        assert "no such route" not in await response.text()


async def test_a_path_that_is_no_route_is_a_problem(client: Client) -> None:
    response = await client.get("/api/v1/nothing")
    document = await response.json()
    assert response.status == 404
    assert response.content_type == "application/problem+json"
    assert document["title"] == "Not Found"
    assert document["instance"] == "/api/v1/nothing"


async def test_a_method_that_a_route_has_not_is_a_problem_that_names_those_it_has(client: Client) -> None:
    response = await client.delete("/api/v1/sessions")
    assert response.status == 405
    assert response.content_type == "application/problem+json"
    assert response.headers["Allow"] == "GET, HEAD, POST"


async def test_answers_are_not_kept_by_caches_nor_guessed_at_by_browsers(client: Client) -> None:
    for path in ("/api/v1/status", "/metrics", "/api/v1/nothing"):
        response = await client.get(path)
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Server"] == "shopperd"
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_closing_the_server_wakes_those_who_wait(client: Client, deployment: Deployment) -> None:
    app = client.app
    assert app is not None
    await app.shutdown()
    assert app[DOOR].closing.is_set()
