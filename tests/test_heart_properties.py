"""Random histories of an account, judged from outside: whatever the listings say, evidence decides.

The world here is a plain dictionary of machines; the judge never looks at what the code believed.
"""

from datetime import timedelta

from attrs import define, evolve, field
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shopperd.lifecycle import moved
from shopperd.model import CreateOutcome, Instance, SessionState, Snapshot
from shopperd.reconcile import Account, Authority, Window, may_send, observe, plan, settle, wants_proof
from shopperd.sightings import is_present
from tests.nouns import NOW, SETTINGS, account, after, instance, session, snapshot

IDS = tuple("abcdef")
OWNERS = (1, 2, 3, None)

actions = st.lists(
    st.one_of(
        st.tuples(st.just("rent"), st.sampled_from(IDS), st.sampled_from(OWNERS)),
        st.tuples(st.just("vanish"), st.sampled_from(IDS), st.none()),
        st.tuples(st.just("end"), st.none(), st.sampled_from((1, 2, 3))),
        st.tuples(st.just("list"), st.just("truth"), st.integers(1, 4)),
        st.tuples(
            st.just("list"), st.sampled_from(("empty", "half", "incomplete", "incomplete empty")), st.integers(1, 4)
        ),
        st.tuples(st.just("prove"), st.none(), st.none()),
        st.tuples(st.just("sweep"), st.none(), st.none()),
        st.tuples(st.just("wait"), st.none(), st.integers(1, 600)),
    ),
    max_size=40,
)


@define
class World:
    """Machines that exist, and an account that hears of them through listings that may lie."""

    known: Account = field(
        factory=lambda: account(
            *[
                session(
                    n,
                    SessionState.CREATING,
                    create_outcome=CreateOutcome.UNCLEAR,
                    create_deadline_at=NOW + timedelta(hours=9),
                )
                for n in (1, 2, 3)
            ]
        )
    )
    machines: dict[str, Instance] = field(factory=dict)
    truthful: dict[str, int] = field(factory=dict)
    at: timedelta = timedelta()

    @property
    def now(self):  # type: ignore[no-untyped-def]
        return NOW + self.at

    def do(self, action: tuple[str, object, object]) -> None:
        verb, what, how = action
        self.at += timedelta(seconds=1)
        getattr(self, f"do_{verb}")(what, how)

    def do_rent(self, id_: str, owner: int | None) -> None:
        self.machines.setdefault(
            id_,
            instance(id_, owner, tag=None if owner else "theirs", started_at=self.now)
            if owner is None
            else instance(id_, owner, started_at=self.now),
        )

    def do_vanish(self, id_: str, _: None) -> None:
        self.machines.pop(id_, None)

    def do_wait(self, _: None, seconds: int) -> None:
        self.at += timedelta(seconds=seconds)

    def do_end(self, _: None, owner: int) -> None:
        for one in self.known.sessions.values():
            if one.id == session(owner).id and one.state.live and one.instance_id is not None:
                ending = moved(one, SessionState.ENDING, self.now, reason="test")
                self.known = evolve(self.known, sessions=dict(self.known.sessions) | {one.id: ending})

    def do_list(self, how: str, times: int) -> None:
        for _ in range(times):
            self.at += timedelta(seconds=20)
            shown = list(self.machines.values())
            if "empty" in how:
                shown = []
            elif how == "half":
                shown = shown[: len(shown) // 2]
            seen: Snapshot = snapshot(*shown, at=self.now, complete="incomplete" not in how)
            self.at += timedelta(seconds=1)
            if seen.complete:
                listed = {one.id for one in shown}
                self.truthful = {id_: self.truthful.get(id_, 0) + 1 for id_ in listed}
            self.known = after(self.known, observe(self.known, seen, SETTINGS, self.now))

    def do_prove(self, _: None, __: None) -> None:
        missing = wants_proof(self.known, SETTINGS, self.now)
        gone = [one.instance.id for one in missing if one.instance.id not in self.machines]
        self.known = after(self.known, settle(self.known, gone, SETTINGS, self.now))

    def do_sweep(self, _: None, __: None) -> None:
        made = plan(self.known, SETTINGS, Authority(), Window(), self.now, snapshot_is_fresh=True)
        for number, destroy in enumerate(made.destroys):
            self.judge(destroy.instance_id)
            self.known = evolve(
                self.known, jobs=dict(self.known.jobs) | {destroy.instance_id: evolve(destroy, id=number + 1)}
            )

    def judge(self, id_: str) -> None:
        """No verdict falls on a machine that is not there, not ours, claimed, or seen too rarely."""
        track = self.known.tracks[id_]
        machine = self.machines.get(id_)
        assert is_present(track)
        assert self.truthful.get(id_, 0) >= SETTINGS.orphans.sightings
        assert self.now - track.first_seen_at >= timedelta(seconds=SETTINGS.orphans.grace)
        if machine is None:
            return  # It went after the newest listing; a destroy of nothing harms nobody.
        assert machine.session_id is not None, "a foreign machine was condemned"
        claim = self.known.sessions[machine.session_id]
        assert not (claim.state.live and claim.instance_id in (None, id_)), "a claimed machine was condemned"


@given(actions)
@hypothesis_settings(max_examples=300, deadline=None)
def test_no_history_condemns_without_evidence(history: list[tuple[str, object, object]]) -> None:
    world = World()
    for action in history:
        world.do(action)


@given(actions)
@hypothesis_settings(max_examples=200, deadline=None)
def test_limits_at_zero_condemn_nobody(history: list[tuple[str, object, object]]) -> None:
    world = World()
    rules = evolve(
        SETTINGS.orphans, max_destroys_per_sweep=0, max_share_per_sweep=0.0, max_share_per_hour=1.0, grace=0.0
    )
    for action in history:
        world.do(action)
        made = plan(
            world.known, evolve(SETTINGS, orphans=rules), Authority(), Window(), world.now, snapshot_is_fresh=True
        )
        assert made.destroys == ()


@given(actions)
@hypothesis_settings(max_examples=200, deadline=None)
def test_once_listings_tell_the_truth_every_orphan_is_condemned(history: list[tuple[str, object, object]]) -> None:
    world = World()
    for action in history:
        world.do(action)
    # Healing: truth only, for as long as the slowest rule asks for.
    for _ in range(12):
        world.do(("list", "truth", 3))
        world.do(("wait", None, 120))
        world.do(("prove", None, None))
        world.do(("sweep", None, None))
    for id_, machine in world.machines.items():
        if machine.session_id is None:
            continue
        claim = world.known.sessions[machine.session_id]
        if claim.state.live:
            assert claim.instance_id is not None
            claimed = claim.instance_id == id_
        else:
            claimed = False
        assert claimed or id_ in world.known.jobs, f"{id_} leaks: {world.known.tracks.get(id_)}"


@given(actions)
@hypothesis_settings(max_examples=150, deadline=None)
def test_a_verdict_that_a_session_outlives_is_never_sent(history: list[tuple[str, object, object]]) -> None:
    world = World()
    for action in history:
        world.do(action)
        for destroy in world.known.jobs.values():
            hold = may_send(world.known, destroy, Authority(), SETTINGS.orphans, world.now)
            track = world.known.tracks.get(destroy.instance_id)
            if hold is None and track is not None and track.instance.session_id is not None:
                claim = world.known.sessions[track.instance.session_id]
                assert not (claim.state.live and claim.instance_id in (None, destroy.instance_id))
