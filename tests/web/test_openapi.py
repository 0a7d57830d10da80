"""The API's own description: complete, valid, and true of what is answered."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from openapi_spec_validator import validate

from shopperd.model import OrphanKind, Ownership, SessionState
from tests.web.conftest import Client
from tests.web.deployment import Deployment, offer
from tests.web.truth import Truth

PATH = "/api/v1/openapi.json"
WHY = {"reason": "a test"}
STRANGER = UUID(int=99, version=4)


@pytest.fixture
async def document(client: Client) -> Any:
    response = await client.get(PATH)
    assert (response.status, response.content_type) == (200, "application/json")
    return await response.json()


@pytest.fixture
def full(deployment: Deployment) -> Deployment:
    """Something of everything, and much of it unknown."""
    deployment.seen()
    deployment.session(1, instance_id="6", expires_at=deployment.clock.now())
    deployment.track("6", UUID(int=1, version=4))
    deployment.track("8", price_per_hour=None, tag=None)
    deployment.track("9", STRANGER, ownership=Ownership.UNKNOWN, kind=OrphanKind.UNKNOWN, kind_sightings=3)
    deployment.orphan("7", 2)
    deployment.session(3, state=SessionState.EXPECTED)
    deployment.event("orphan.detected", account="main", instance_id="7", data={"a": [1, None]})
    deployment.offers(offer(1), offer(2, location=None, reliability=None, vram_gb=None, verified=None))
    return deployment


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


async def test_it_is_a_valid_document(document: Any) -> None:
    validate(document)


async def test_every_route_is_in_it_and_nothing_else(client: Client, document: Any) -> None:
    assert client.app is not None
    routes = {
        (route.method, route.resource.canonical)
        for route in client.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert {(method, path) for method, path, _ in operations(document)} == routes


async def test_every_operation_is_told_in_words_and_has_its_own_name(document: Any) -> None:
    told = [operation for _, _, operation in operations(document)]
    assert len({operation["operationId"] for operation in told}) == len(told)
    for operation in told:
        assert operation["summary"].endswith(".")
        assert operation["responses"].keys() >= {"4XX", "5XX"}


async def test_every_change_asks_for_the_token(document: Any) -> None:
    for method, path, operation in operations(document):
        if method == "POST" and path.startswith("/api/"):
            assert {"token": []} in operation["security"]
        if method == "GET":
            assert "security" not in operation


@pytest.mark.parametrize(
    "path",
    [
        *(
            "status",
            "accounts",
            "sessions",
            "instances",
            "offers",
            "orphans",
            "plan",
            "events",
            "openapi.json",
            "offers/history",
        ),
        *("sessions/{id}", "instances/{account}/{id}/explain"),
    ],
)
async def test_answers_to_reads_are_as_described(client: Client, full: Deployment, document: Any, path: str) -> None:
    truth = Truth(document)
    for id_ in ("6", "7", "8", "9") if "{account}" in path else (str(UUID(int=1, version=4)),):
        response = await client.get(f"/api/v1/{path}".replace("{account}", "main").replace("{id}", id_))
        assert response.status == 200
        await truth.check(response, f"/api/v1/{path}")


async def test_answers_outside_of_the_api_are_as_described(client: Client, full: Deployment, document: Any) -> None:
    truth = Truth(document)
    for path in ("/healthz", "/readyz"):
        await truth.check(await client.get(path), path)


async def test_answers_to_changes_are_as_described(client: Client, full: Deployment, document: Any) -> None:
    truth = Truth(document)
    session = str(UUID(int=1, version=4))
    for path, filled, body in (
        ("sessions", "sessions", {"gpu": "RTX 4090", "lifetime": "2h"}),
        ("sessions/register", "sessions/register", {"account": "main"}),
        ("sessions/{id}/extend", f"sessions/{session}/extend", {"lifetime": 60}),
        ("sessions/{id}/end", f"sessions/{session}/end", {}),
        ("instances/{account}/{id}/adopt", "instances/main/9/adopt", WHY),
        ("instances/{account}/{id}/exempt", "instances/main/7/exempt", WHY),
        ("instances/{account}/{id}/unexempt", "instances/main/7/unexempt", WHY),
        ("instances/{account}/{id}/destroy", "instances/main/7/destroy", WHY),
        ("freeze", "freeze", WHY),
        ("unfreeze", "unfreeze", WHY),
        ("jobs/{job}/run", "jobs/status/run", {}),
    ):
        response = await client.post(f"/api/v1/{filled}", json=body)
        assert response.status < 300, (path, await response.text())
        assert str(response.status) in document["paths"][f"/api/v1/{path}"]["post"]["responses"], path
        await truth.check(response, f"/api/v1/{path}")
        await truth.check(await client.post(f"/api/v1/{filled}", json={"no": "such key"}), f"/api/v1/{path}")


async def test_parameters_are_those_that_are_read(client: Client, document: Any) -> None:
    """A refusal of an unknown one names all that are allowed."""
    for method, path, operation in operations(document):
        if method != "GET" or path in ("/metrics", "/healthz", "/readyz", "/", "/machine"):
            continue
        filled = path.replace("{account}", "main").replace("{id}", str(UUID(int=1, version=4)))
        refused = await (await client.get(f"{filled}?surely_not=1")).json()
        named = {each["name"] for each in operation["parameters"] if each["in"] == "query"}
        allowed = refused["detail"].partition("allowed are: ")[2]
        assert named == (set() if allowed == "none" else set(allowed.split(", "))), path


async def test_bodies_are_those_that_are_read(client: Client, document: Any) -> None:
    for method, path, operation in operations(document):
        if method != "POST" or not path.startswith("/api/"):
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        filled = (
            path.replace("{account}", "main").replace("{id}", str(UUID(int=1, version=4))).replace("{job}", "status")
        )
        refused = await (await client.post(filled, json={"surely_not": 1})).json()
        (fault,) = [fault for fault in refused["errors"] if fault["place"] == "body.surely_not"]
        allowed = set(fault["detail"].partition("allowed are: ")[2].split(", "))
        assert set(document["components"]["schemas"][schema]["properties"]) == allowed


async def test_a_read_tells_its_tag_and_is_not_sent_twice(client: Client, full: Deployment) -> None:
    for path in ("sessions", "instances", "events", "sessions?limit=1"):
        first = await client.get(f"/api/v1/{path}")
        tag = first.headers["ETag"]
        again = await client.get(f"/api/v1/{path}", headers={"If-None-Match": f'"other", {tag}'})
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)
        full.session(100 + len(path))
        full.track(path)
        full.event("it.happened")
        changed = await client.get(f"/api/v1/{path}", headers={"If-None-Match": tag})
        assert changed.status == 200
        assert changed.headers["ETag"] != tag


async def test_errors_changes_and_other_pages_have_no_tag(client: Client) -> None:
    assert "ETag" not in (await client.get("/api/v1/sessions?limit=x")).headers
    assert "ETag" not in (await client.post("/api/v1/freeze", json=WHY)).headers
    assert "ETag" not in (await client.get("/metrics")).headers
