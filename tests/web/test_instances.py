"""Instances over HTTP."""

from uuid import UUID

import pytest
from attrs import evolve

from shopperd.model import InstanceState, Ownership, SessionState
from shopperd.store import destroys, instances
from tests.web.conftest import Client
from tests.web.deployment import Deployment

INSTANCES = "/api/v1/instances"
WHY = {"reason": "too dear"}
FIELDS = {
    *("account", "provider", "id", "tag", "session_id", "ownership", "state", "provider_state", "gpu", "gpu_count"),
    *("price_per_hour", "address", "ssh_port", "started_at", "first_seen_at", "last_seen_at", "exempt"),
}
STRANGER = UUID(int=99, version=4)


async def test_all_instances_are_listed_foreign_ones_too(client: Client, deployment: Deployment) -> None:
    session = deployment.session(1, instance_id="7")
    deployment.track("7", session.id)
    deployment.track("8")
    page = await (await client.get(INSTANCES)).json()
    assert all(item.keys() == FIELDS for item in page["items"])
    assert [(item["id"], item["ownership"]) for item in page["items"]] == [("7", "ours"), ("8", "foreign")]
    assert page["items"][0]["session_id"] == str(session.id)
    assert page["items"][0]["first_seen_at"] == "2026-11-22T22:00:00Z"
    assert page["next"] is None


async def test_what_is_proven_gone_is_not_listed(client: Client, deployment: Deployment) -> None:
    deployment.track("7", gone_at=deployment.clock.now())
    assert (await (await client.get(INSTANCES)).json())["items"] == []


async def test_a_machine_that_lost_its_tag_still_tells_its_session(client: Client, deployment: Deployment) -> None:
    session = deployment.session(1, instance_id="7")
    deployment.track("7", ownership=Ownership.OURS)
    page = await (await client.get(INSTANCES)).json()
    assert (page["items"][0]["tag"], page["items"][0]["session_id"]) == (None, str(session.id))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("account=dock", ["9"]),
        ("ownership=foreign", ["9", "8"]),
        ("state=stopped", ["8"]),
        ("account=nobody", []),
        ("account=main&ownership=ours&state=running", ["7"]),
    ],
)
async def test_instances_are_filtered(client: Client, deployment: Deployment, query: str, found: list[str]) -> None:
    deployment.track("7", deployment.session(1, instance_id="7").id)
    deployment.track("8", state=InstanceState.STOPPED)
    deployment.track("9", account="dock", provider="tensordock")
    page = await (await client.get(f"{INSTANCES}?{query}")).json()
    assert [item["id"] for item in page["items"]] == found


async def test_pages_follow_each_other_over_accounts(client: Client, deployment: Deployment) -> None:
    for number in range(3):
        deployment.track(str(number))
        deployment.track(str(number), account="dock")
    first = await (await client.get(INSTANCES, params={"limit": "4"})).json()
    rest = await (await client.get(INSTANCES, params={"limit": "4", "cursor": first["next"]})).json()
    found = [(item["account"], item["id"]) for item in first["items"] + rest["items"]]
    assert found == [(account, str(number)) for account in ("dock", "main") for number in range(3)]
    assert rest["next"] is None


async def test_a_cursor_of_another_list_is_refused(client: Client, deployment: Deployment) -> None:
    for number in (1, 2):
        deployment.session(number)
    cursor = (await (await client.get("/api/v1/sessions?limit=1")).json())["next"]
    assert (await client.get("/api/v1/sessions", params={"cursor": cursor})).status == 200
    assert (await client.get("/api/v1/offers", params={"cursor": cursor})).status == 400


class TestDestroy:
    async def test_an_instance_of_ours_is_destroyed_and_its_session_ends(
        self, client: Client, deployment: Deployment
    ) -> None:
        session = deployment.session(1, instance_id="7")
        deployment.track("7", session.id)
        response = await client.post(f"{INSTANCES}/main/7/destroy", json=WHY)
        told = await response.json()
        assert response.status == 202
        assert (told["instance_id"], told["origin"], told["reason"]) == ("7", "command", "too dear")
        assert deployment.store.run_sync(destroys.for_instance, "main", "7") is not None
        assert (await (await client.get(f"/api/v1/sessions/{session.id}")).json())["state"] == "ending"

    async def test_a_destroy_tells_how_it_goes(self, client: Client, deployment: Deployment) -> None:
        deployment.track("7", deployment.session(1, instance_id="7").id)
        told = await (await client.post(f"{INSTANCES}/main/7/destroy", json=WHY)).json()
        assert (told["attempts"], told["stuck"], told["last_error"]) == (0, False, None)
        assert told["next_attempt_at"] == "2026-11-22T22:00:00Z"
        job = deployment.store.run_sync(destroys.for_instance, "main", "7")
        assert job is not None
        deployment.store.run_sync(destroys.update, evolve(job, attempts=20, last_error="refused: locked"))
        told = await (await client.post(f"{INSTANCES}/main/7/destroy", json=WHY)).json()
        assert (told["attempts"], told["stuck"], told["last_error"]) == (20, True, "refused: locked")

    async def test_an_unknown_one_of_our_form_can_be_destroyed_by_hand(
        self, client: Client, deployment: Deployment
    ) -> None:
        deployment.track("7", STRANGER, ownership=Ownership.UNKNOWN)
        assert (await client.post(f"{INSTANCES}/main/7/destroy", json=WHY)).status == 202

    async def test_what_must_not_go_stays(self, client: Client, deployment: Deployment) -> None:
        deployment.track("7", deployment.session(1, instance_id="7").id, exempt=True)
        deployment.track("8")
        for path, status in (("main/7", 409), ("main/8", 409), ("main/404", 404), ("nobody/7", 404)):
            assert (await client.post(f"{INSTANCES}/{path}/destroy", json=WHY)).status == status, path
        assert deployment.store.run_sync(destroys.open_jobs, "main") == []

    async def test_a_reason_must_be_given(self, client: Client, deployment: Deployment) -> None:
        deployment.track("7", deployment.session(1, instance_id="7").id)
        for body in (None, {}, {"reason": ""}, {"reason": "x", "force": True}):
            assert (await client.post(f"{INSTANCES}/main/7/destroy", json=body)).status == 400
        assert deployment.store.run_sync(destroys.open_jobs, "main") == []


class TestExempt:
    async def test_an_exemption_is_given_and_taken_back(self, client: Client, deployment: Deployment) -> None:
        deployment.track("7", deployment.session(1, instance_id="7", state=SessionState.ENDED).id)
        for action, expected in (("exempt", True), ("unexempt", False)):
            response = await client.post(f"{INSTANCES}/main/7/{action}", json=WHY)
            assert response.status == 200
            assert (await response.json())["exempt"] is expected
            track = deployment.store.run_sync(instances.get, "main", "7")
            assert track is not None
            assert track.exempt is expected

    async def test_what_is_not_there_cannot_be_exempt(self, client: Client) -> None:
        for action in ("exempt", "unexempt"):
            assert (await client.post(f"{INSTANCES}/main/7/{action}", json=WHY)).status == 404
            assert (await client.post(f"{INSTANCES}/nobody/7/{action}", json=WHY)).status == 404

    async def test_an_id_with_strange_characters_is_taken_as_it_is(
        self, client: Client, deployment: Deployment
    ) -> None:
        deployment.track("a b%2Fc")
        response = await client.post(f"{INSTANCES}/main/a%20b%252Fc/exempt", json=WHY)
        assert response.status == 200
