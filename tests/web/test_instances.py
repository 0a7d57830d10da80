"""Instances over HTTP."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve

from shopperd.model import CreateOutcome, InstanceState, OrphanKind, Ownership, SessionState
from shopperd.store import destroys, instances
from tests.web.conftest import Client
from tests.web.deployment import Deployment

INSTANCES = "/api/v1/instances"
WHY = {"reason": "too dear"}
FIELDS = {
    *("account", "provider", "id", "tag", "session_id", "ownership", "state", "provider_state", "gpu", "gpu_count"),
    *("price_per_hour", "address", "ssh_port", "started_at", "first_seen_at", "last_seen_at", "exempt"),
    *("cost_usd", "burn_per_hour"),
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


class TestAdopt:
    async def adopt(self, client: Client, instance: str, status: int = 200, **body: Any) -> Any:
        response = await client.post(f"{INSTANCES}/main/{instance}/adopt", json=WHY | body)
        assert response.status == status, await response.text()
        return await response.json()

    async def test_an_unknown_one_gets_the_session_that_its_tag_names(
        self, client: Client, deployment: Deployment
    ) -> None:
        deployment.track("7", STRANGER, ownership=Ownership.UNKNOWN, kind=OrphanKind.UNKNOWN, kind_sightings=3)
        told = await self.adopt(client, "7", lifetime="2h")
        assert (told["ownership"], told["session_id"]) == ("ours", str(STRANGER))
        session = await (await client.get(f"/api/v1/sessions/{STRANGER}")).json()
        assert (session["state"], session["instance_id"], session["tag"]) == ("running", "7", told["tag"])
        assert session["expires_at"] == "2026-11-23T00:00:00Z"
        assert session["events"][-1]["message"].endswith("too dear")
        assert (await (await client.get("/api/v1/orphans")).json())["items"] == []
        assert ("status", "main") in deployment.woken

    async def test_adopting_twice_is_once(self, client: Client, deployment: Deployment) -> None:
        deployment.track("7", STRANGER, ownership=Ownership.UNKNOWN)
        first, second = [await self.adopt(client, "7") for _ in range(2)]
        assert first == second
        assert len((await (await client.get("/api/v1/sessions")).json())["items"]) == 1

    async def test_one_whose_session_is_over_gets_a_new_one(self, client: Client, deployment: Deployment) -> None:
        deployment.orphan("7", 1)
        told = await self.adopt(client, "7")
        assert told["session_id"] != str(UUID(int=1, version=4))
        assert (await (await client.get(f"/api/v1/sessions/{told['session_id']}")).json())["instance_id"] == "7"
        assert (await (await client.get(f"{INSTANCES}/main/7/explain")).json())["because"] == (
            "a live session is bound to it"
        )

    async def test_one_whose_session_was_lost_goes_back_to_it(self, client: Client, deployment: Deployment) -> None:
        lost = deployment.session(1, state=SessionState.LOST, instance_id="6", ended_at=deployment.clock.now())
        deployment.track("7", lost.id)
        assert (await self.adopt(client, "7"))["session_id"] == str(lost.id)

    async def test_a_session_that_waits_for_a_machine_can_take_it(self, client: Client, deployment: Deployment) -> None:
        waiting = deployment.session(1, state=SessionState.EXPECTED, create_outcome=CreateOutcome.NONE)
        deployment.track("7", STRANGER, ownership=Ownership.UNKNOWN)
        assert (await self.adopt(client, "7", session_id=str(waiting.id)))["session_id"] == str(waiting.id)

    async def test_a_session_that_has_a_machine_takes_no_second_one(
        self, client: Client, deployment: Deployment
    ) -> None:
        taken = deployment.session(1, instance_id="6")
        deployment.track("6", taken.id)
        deployment.track("7", STRANGER, ownership=Ownership.UNKNOWN)
        assert "cannot take" in (await self.adopt(client, "7", 409, session_id=str(taken.id)))["detail"]
        assert "belongs to session" in (await self.adopt(client, "6", 409, session_id=str(STRANGER)))["detail"]

    @pytest.mark.parametrize("state", [SessionState.CREATING, SessionState.ENDING])
    async def test_what_an_open_create_may_have_rented_is_left_to_it(
        self, client: Client, deployment: Deployment, state: SessionState
    ) -> None:
        """Else two sessions would have one machine, and the end of either would destroy the other's."""
        creating = deployment.session(1, state=state, create_outcome=CreateOutcome.UNCLEAR)
        deployment.track("7", creating.id)
        for body in ({}, {"session_id": str(creating.id)}, {"session_id": str(STRANGER)}):
            assert "takes it by itself" in (await self.adopt(client, "7", 409, **body))["detail"]

    async def test_one_that_is_expected_goes_to_the_session_that_expects_it_and_to_no_other(
        self, client: Client, deployment: Deployment
    ) -> None:
        waiting = deployment.session(1, state=SessionState.EXPECTED, create_outcome=CreateOutcome.NONE)
        deployment.track("7", waiting.id)
        await self.adopt(client, "7", 409, session_id=str(STRANGER))
        assert (await self.adopt(client, "7"))["session_id"] == str(waiting.id)

    async def test_a_foreign_one_or_one_on_its_way_out_is_not_adopted(
        self, client: Client, deployment: Deployment
    ) -> None:
        deployment.track("7")
        assert "foreign" in (await self.adopt(client, "7", 409))["detail"]
        deployment.track("8", STRANGER, ownership=Ownership.UNKNOWN)
        await client.post(f"{INSTANCES}/main/8/destroy", json=WHY)
        assert "destroy" in (await self.adopt(client, "8", 409))["detail"]
        await self.adopt(client, "404", 404)
        assert (await (await client.get("/api/v1/sessions")).json())["items"] == []

    async def test_an_adopted_one_ends_with_its_session(self, client: Client, deployment: Deployment) -> None:
        deployment.orphan("7", 1)
        told = await self.adopt(client, "7")
        await client.post(f"/api/v1/sessions/{told['session_id']}/end", json={})
        job = deployment.store.run_sync(destroys.for_instance, "main", "7")
        assert job is not None
        assert str(job.session_id) == told["session_id"]
        explained = await (await client.get(f"{INSTANCES}/main/7/explain")).json()
        assert not [rule for rule in explained["rules"] if rule["holds"]]


class TestExplain:
    async def explain(self, client: Client, instance: str = "7") -> Any:
        response = await client.get(f"{INSTANCES}/main/{instance}/explain")
        assert response.status == 200
        return await response.json()

    async def test_the_first_rule_that_holds_is_the_one_that_the_plan_names(
        self, client: Client, deployment: Deployment
    ) -> None:
        """Both come from the same guards; an orphan in every stage must be told alike by both."""
        deployment.seen()
        deployment.orphan("1", 1, kind_sightings=1)
        deployment.orphan("2", 2)
        deployment.clock.advance(3600)
        deployment.orphan("3", 3)
        deployment.orphan("4", 4, exempt=True, first_seen_at=deployment.clock.now() - timedelta(hours=1))
        for frozen in (False, True):
            deployment.context.frozen = frozen
            listed = (await (await client.get("/api/v1/orphans?account=main")).json())["items"]
            assert len(listed) == 4
            for orphan in listed:
                told = await self.explain(client, orphan["instance_id"])
                assert (told["first_hold"], told["phase"]) == (orphan["hold_reason"], orphan["phase"])
                holding = [rule["rule"] for rule in told["rules"] if rule["holds"]]
                assert holding[:1] == ([] if told["first_hold"] is None else [told["first_hold"]])

    async def test_every_rule_is_told_in_the_promised_order(self, client: Client, deployment: Deployment) -> None:
        deployment.seen()
        deployment.track("7", STRANGER, ownership=Ownership.UNKNOWN, kind=OrphanKind.UNKNOWN, kind_sightings=3)
        told = await self.explain(client)
        assert [rule["rule"] for rule in told["rules"]] == [
            *("sightings", "grace", "no_right_to_act", "observing", "frozen", "report_mode", "not_ours"),
            *("not_exclusive", "memory_broken", "exempt", "live_session", "open_create", "fleet_jump"),
            *("stale_snapshot", "limit_per_sweep"),
        ]
        assert {rule["rule"] for rule in told["rules"] if rule["holds"]} == {
            *("grace", "observing", "not_exclusive", "memory_broken")
        }
        assert told["first_hold"] == "grace"
        assert "orphans.grace" in told["would_change"]
        assert all((rule["remedy"] is not None) is rule["holds"] and rule["requires"] for rule in told["rules"])

    async def test_one_with_a_session_stays_and_says_why(self, client: Client, deployment: Deployment) -> None:
        session = deployment.session(1, instance_id="7")
        deployment.track("7", session.id)
        told = await self.explain(client)
        assert (told["kind"], told["phase"], told["session"]["id"]) == (None, None, str(session.id))
        assert told["summary"] == "it stays: a live session is bound to it"

    async def test_a_foreign_one_is_never_touched(self, client: Client, deployment: Deployment) -> None:
        deployment.track("7")
        assert "never touched" in (await self.explain(client))["summary"]

    async def test_one_that_is_being_destroyed_tells_its_destroy(self, client: Client, deployment: Deployment) -> None:
        deployment.track("7", STRANGER, ownership=Ownership.UNKNOWN)
        await client.post(f"{INSTANCES}/main/7/destroy", json=WHY)
        told = await self.explain(client)
        assert (told["phase"], told["destroy"]["origin"]) == ("destroying", "command")
        assert "by command (too dear)" in told["summary"]
        await client.post("/api/v1/freeze", json={"reason": "a drill"})
        told = await self.explain(client)
        assert told["first_hold"] == "frozen"
        assert "unfreeze" in told["would_change"]

    async def test_one_that_is_gone_or_out_of_sight_is_told_as_such(
        self, client: Client, deployment: Deployment
    ) -> None:
        deployment.track("7", gone_at=deployment.clock.now())
        deployment.track("8", absences=1)
        assert "proven gone" in (await self.explain(client, "7"))["summary"]
        assert "does not hold it" in (await self.explain(client, "8"))["summary"]

    async def test_what_was_never_there_is_not_found(self, client: Client) -> None:
        assert (await client.get(f"{INSTANCES}/main/404/explain")).status == 404
        assert (await client.get(f"{INSTANCES}/nobody/7/explain")).status == 404


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
