import pytest
from attrs import evolve

from shopperd.demo.belief import BelievedInstance, BelievedOrphan
from shopperd.demo.comparison import leaked_usd
from tests.demo.scenes import (
    DOCK,
    EXPIRED,
    KEPT,
    LOST,
    NOW,
    OVER,
    VAST,
    Scene,
    destroy,
    happening,
    machine,
    session,
    tag,
)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def only_difference(scene: Scene) -> str:
    outcome = scene.compared()
    assert not outcome.passed
    assert len(outcome.differences) == 1, outcome.differences
    return outcome.differences[0]


def test_three_witnesses_that_agree_pass(scene: Scene) -> None:
    outcome = scene.compared()
    assert outcome.differences == ()
    assert outcome.wrongful == ()
    assert outcome.passed
    assert all(row.agrees for row in outcome.rows)


def test_the_rows_tell_both_sides(scene: Scene) -> None:
    rows = {row.what: (row.believed, row.true) for row in scene.compared().rows}
    assert rows["machines alive, vast-demo"] == ("2", "2")
    assert rows["sessions running"] == ("1", "1")
    assert rows["sessions over"] == ("2", "2")
    assert rows["sessions whose machine was lost"] == ("1", "1")
    assert rows["orphans found"] == ("2", "2")
    assert rows["orphans destroyed"] == ("2", "2")
    assert rows["foreign machines alive"] == ("1", "1 of 1")
    assert rows["answers 429"] == ("", "1 (vast-demo 1)")
    assert rows["create answers lost, machine found"] == ("1", "1")
    assert rows["kill -9 survived"] == ("1", "1")
    assert rows["events told to a hook"] == ("3", "3")
    assert rows["money billed, our machines"] == ("", "0.500000 USD")


# --- machines -------------------------------------------------------------------------------------------------


def test_a_machine_that_the_daemon_does_not_know_is_a_difference(scene: Scene) -> None:
    scene.truth = evolve(scene.truth, machines=(*scene.truth.machines, machine("x9", "somebody")))
    assert "x9" in only_difference(scene)


def test_a_machine_that_only_the_daemon_knows_is_a_difference(scene: Scene) -> None:
    extra = BelievedInstance(VAST, "x9", "foreign")
    scene.belief = evolve(scene.belief, instances=(*scene.belief.instances, extra))
    assert "which does not exist" in only_difference(scene)


def test_the_same_id_in_another_account_is_another_machine(scene: Scene) -> None:
    scene.truth = evolve(scene.truth, machines=(*scene.truth.machines, machine("k1", "somebody", account=DOCK)))
    assert only_difference(scene).startswith(DOCK)


# --- sessions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["creating", "starting", "stopped", "ending", "failed", "lost"])
def test_a_session_that_should_run_and_does_not_is_a_difference(scene: Scene, state: str) -> None:
    scene.with_session(KEPT, state=state)
    assert f"should be running, but is {state}" in only_difference(scene)


@pytest.mark.parametrize("state", ["running", "ending", "creating"])
def test_a_session_that_is_stuck_after_its_end_is_a_difference(scene: Scene, state: str) -> None:
    scene.with_session(OVER, state=state)
    assert f"should be ended, but is {state}" in only_difference(scene)


def test_a_session_past_its_lifetime_counts_as_over(scene: Scene) -> None:
    scene.with_session(EXPIRED, state="running")
    assert "should be ended" in only_difference(scene)


def test_a_session_whose_lifetime_is_not_over_counts_as_live(scene: Scene) -> None:
    scene.record.asked[EXPIRED].expires_at = NOW + 1
    assert any("should be running" in sentence for sentence in scene.compared().differences)


def test_a_lost_machine_that_the_daemon_has_not_noticed_is_a_difference(scene: Scene) -> None:
    scene.with_session(LOST, state="running")
    assert "should be lost" in only_difference(scene)


def test_a_lost_session_that_was_ended_later_may_be_either(scene: Scene) -> None:
    scene.record.asked[LOST].end_asked_at = 700.0
    scene.with_session(LOST, state="ended")
    assert scene.compared().passed


def test_a_session_that_the_daemon_forgot_is_a_difference(scene: Scene) -> None:
    rows = tuple(row for row in scene.belief.sessions if row.id != OVER)
    scene.belief = evolve(scene.belief, sessions=rows)
    assert "does not know session" in only_difference(scene)


def test_a_session_that_nobody_asked_for_is_a_difference(scene: Scene) -> None:
    made_up = session("77777777-0000-4000-8000-000000000000", "ended", None)
    scene.belief = evolve(scene.belief, sessions=(*scene.belief.sessions, made_up))
    assert "nobody asked for" in only_difference(scene)


def test_a_session_on_a_machine_with_another_tag_is_a_difference(scene: Scene) -> None:
    scene.with_session(KEPT, instance_id="f1")
    assert any("carries another tag" in sentence for sentence in scene.compared().differences)


# --- orphans --------------------------------------------------------------------------------------------------


def test_a_machine_that_outlives_its_session_is_a_difference(scene: Scene) -> None:
    scene.with_machine("back", destroyed_at=None)
    differences = scene.compared().differences
    assert any("still exists although its session" in sentence for sentence in differences)


def test_two_machines_of_one_session_are_a_difference(scene: Scene) -> None:
    scene.truth = evolve(scene.truth, machines=(*scene.truth.machines, machine("k2", tag(KEPT))))
    extra = BelievedInstance(VAST, "k2", "ours")
    scene.belief = evolve(scene.belief, instances=(*scene.belief.instances, extra))
    assert "more than one machine" in only_difference(scene)


def test_an_orphan_that_was_never_reported_is_a_difference(scene: Scene) -> None:
    trail = tuple(row for row in scene.belief.trail if row.instance_id != "back")
    scene.belief = evolve(scene.belief, trail=trail)
    assert "was never reported" in only_difference(scene)


def test_a_live_machine_that_was_reported_as_an_orphan_is_a_difference(scene: Scene) -> None:
    scene.belief = evolve(scene.belief, trail=(*scene.belief.trail, happening(9, "orphan.detected", "k1")))
    assert "it is not one" in only_difference(scene)


def test_a_machine_caught_after_the_end_of_its_session_is_rightly_reported(scene: Scene) -> None:
    scene.belief = evolve(scene.belief, trail=(*scene.belief.trail, happening(9, "orphan.detected", "o1")))
    scene.record.heard |= {9}
    assert scene.compared().passed


def test_an_orphan_that_is_still_counted_and_gone_is_a_difference(scene: Scene) -> None:
    stale = BelievedOrphan(VAST, "back", "ended", "destroying")
    scene.belief = evolve(scene.belief, orphans=(*scene.belief.orphans, stale))
    assert "and it is gone" in only_difference(scene)


def test_an_unknown_machine_that_is_not_held_is_a_difference(scene: Scene) -> None:
    scene.belief = evolve(scene.belief, orphans=())
    assert "not reported as held" in only_difference(scene)


def test_an_unknown_machine_that_still_awaits_its_sightings_is_not_held_yet(scene: Scene) -> None:
    suspected = BelievedOrphan(DOCK, "u1", "unknown", "suspected", "sightings")
    scene.belief = evolve(scene.belief, orphans=(suspected,))
    assert "not reported as held" in only_difference(scene)


# --- what must not be touched ---------------------------------------------------------------------------------


def test_a_foreign_machine_that_is_gone_is_a_difference(scene: Scene) -> None:
    scene.with_machine("f1", destroyed_at=800.0)
    assert any("was not ours to touch" in sentence for sentence in scene.compared().differences)


def test_a_foreign_machine_that_is_taken_for_ours_is_a_difference(scene: Scene) -> None:
    rows = tuple(evolve(row, ownership="ours") if row.id == "f1" else row for row in scene.belief.instances)
    scene.belief = evolve(scene.belief, instances=rows)
    assert "is taken for ours" in only_difference(scene)


def test_destroying_a_foreign_machine_is_wrongful(scene: Scene) -> None:
    scene.with_request(destroy("f1", 700.0))
    outcome = scene.compared()
    assert not outcome.passed
    assert "not of a session that was ever asked for" in outcome.wrongful[0]


def test_a_destroy_that_had_no_effect_is_as_wrongful(scene: Scene) -> None:
    scene.with_request(destroy("f1", 700.0, hit=False))
    assert len(scene.compared().wrongful) == 1


def test_destroying_the_machine_of_a_live_session_is_wrongful(scene: Scene) -> None:
    scene.with_request(destroy("k1", 700.0))
    assert "was alive" in scene.compared().wrongful[0]


def test_destroying_a_machine_before_the_end_of_its_session_is_wrongful(scene: Scene) -> None:
    scene.with_request(destroy("o1", 299.0))
    assert len(scene.compared().wrongful) == 1


def test_destroying_a_machine_from_the_end_of_its_session_on_is_right(scene: Scene) -> None:
    scene.with_request(destroy("o1", 300.0))
    assert scene.compared().passed


def test_destroying_a_held_machine_is_wrongful(scene: Scene) -> None:
    scene.with_request(destroy("u1", 700.0, account=DOCK))
    assert len(scene.compared().wrongful) == 1


def test_a_destroy_of_a_machine_that_never_was_hits_nobody(scene: Scene) -> None:
    scene.with_request(destroy("x9", 700.0, hit=False))
    assert scene.compared().passed


def test_a_second_machine_that_a_destroy_takes_along_is_wrongful(scene: Scene) -> None:
    both = evolve(destroy("o1", 305.0), effects=("destroyed:o1", "destroyed:f1"))
    scene.with_request(both)
    assert "f1" in scene.compared().wrongful[0]


# --- survival and money ---------------------------------------------------------------------------------------


def test_a_kill_that_was_not_survived_is_a_difference(scene: Scene) -> None:
    scene.record.kills = 2
    assert "kill -9" in only_difference(scene)


def test_an_event_that_the_hook_never_told_is_a_difference(scene: Scene) -> None:
    scene.record.heard -= {2}
    assert only_difference(scene) == "events told to a hook: 3 believed, 2 true"


def test_a_lost_answer_whose_machine_was_not_found_is_a_difference(scene: Scene) -> None:
    late = evolve(scene.truth.requests[0], n=9, effects=("created:o9",))
    scene.with_request(late)
    assert "create answers lost" in only_difference(scene)


def test_leaked_money_counts_from_the_end_of_the_claim_to_the_end_of_the_machine(scene: Scene) -> None:
    # At 3.6 USD per hour a second costs a thousandth: 10 s of o1, 20 s of e1, 50 s of the one that came back.
    assert leaked_usd(scene.record, scene.truth) == pytest.approx(0.080)


def test_a_claimed_machine_leaks_nothing(scene: Scene) -> None:
    for id_ in (OVER, EXPIRED):
        scene.record.asked[id_].end_asked_at = scene.record.asked[id_].expires_at = None
    assert leaked_usd(scene.record, scene.truth) == 0.0
