"""A walk that could not fail would prove nothing: each of these hearts is broken in one place, and the walk tells how."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from attrs import evolve, frozen

from shopperd import reconcile
from shopperd.model import DestroyJob, HoldReason, MemorySpan, Snapshot, Track
from shopperd.reconcile import Account, Authority, Observed, Plan, Window
from shopperd.settings import OrphanSettings, Settings
from tests.heart.model import Heart
from tests.heart.scenarios import Scenario, scenario
from tests.heart.state import TICK, Left, Rules, changed
from tests.heart.walk import Walked, walk
from tests.nouns import NOW

TRANSITIONS_MAX = 6000


def _less(settings: Settings, **orphans: Any) -> Settings:
    return evolve(settings, orphans=evolve(settings.orphans, **orphans))


def _plan_with(**orphans: Any) -> Callable[..., Plan]:
    """A plan that goes by other settings than those in force."""

    def plan(
        account: Account, settings: Settings, authority: Authority, window: Window, now: datetime, **more: Any
    ) -> Plan:
        return reconcile.plan(account, _less(settings, **orphans), authority, window, now, **more)

    return plan


def _unprotected(account: Account) -> Account:
    return evolve(account, tracks={id_: evolve(track, exempt=False) for id_, track in account.tracks.items()})


def _plan_forgetting(
    account: Account, settings: Settings, authority: Authority, window: Window, now: datetime, **more: Any
) -> Plan:
    return reconcile.plan(account, settings, authority, Window(), now, **more)


def _mistaken(change: Callable[[Account], Account]) -> Heart:
    """A heart that plans and sends by an account that is not as it is."""

    def plan(
        account: Account, settings: Settings, authority: Authority, window: Window, now: datetime, **more: Any
    ) -> Plan:
        return reconcile.plan(change(account), settings, authority, window, now, **more)

    def may_send(
        account: Account, job: DestroyJob, authority: Authority, settings: OrphanSettings, now: datetime
    ) -> HoldReason | None:
        return reconcile.may_send(change(account), job, authority, settings, now)

    return Heart(plan=plan, may_send=may_send)


def _remembering_all(account: Account) -> Account:
    return evolve(account, spans=(MemorySpan(NOW - 100 * TICK, NOW + 100 * TICK),))


def _ours_alone(account: Account) -> Account:
    return evolve(account, exclusive=True)


def _sent_though_frozen(
    account: Account, job: DestroyJob, authority: Authority, settings: OrphanSettings, now: datetime
) -> HoldReason | None:
    return reconcile.may_send(account, job, evolve(authority, frozen=False), settings, now)


def _sent_in_report_mode(
    account: Account, job: DestroyJob, authority: Authority, settings: OrphanSettings, now: datetime
) -> HoldReason | None:
    return reconcile.may_send(account, job, authority, evolve(settings, mode="destroy"), now)


def _never_sent(*_: object) -> HoldReason | None:
    return HoldReason.NO_RIGHT_TO_ACT


def _always(*_: object) -> bool:
    return True


def _counting_double(account: Account, seen: Snapshot, settings: Settings, now: datetime) -> Observed:
    observed = reconcile.observe(account, seen, settings, now)
    return evolve(observed, tracks=tuple(evolve(track, absences=2 * track.absences) for track in observed.tracks))


def _never_proven(*_: object) -> tuple[Track, ...]:
    return ()


def _believing(account: Account, seen: Snapshot, settings: Settings, now: datetime) -> Observed:
    return reconcile.observe(account, evolve(seen, complete=True), settings, now)


def _impatient(account: Account, seen: Snapshot, settings: Settings, now: datetime) -> Observed:
    return reconcile.observe(account, seen, settings, now + TICK)


@frozen
class Broken:
    """A heart that is broken in one place, where to walk with it, and what the judge must say."""

    name: str
    heart: Heart
    place: Scenario
    rule: str


TO_SWEEP = frozenset({"tick", "appear", "list", "sweep", "destroy"})

LATE = Scenario(
    "a machine of a create that was refused",
    sessions=(1,),
    before=(("begin", "1"), ("answer", "1", "refused")),
    rules=Rules(strangers=("twin",), ids=("a",), acts=TO_SWEEP),
    left=Left(appearances=1),
)
OURS_ALONE = Scenario(
    "an unknown machine in an account that is ours alone",
    sessions=(),
    rules=Rules(exclusive=True, strangers=("unknown",), ids=("a",), acts=TO_SWEEP | {"crash", "restart"}),
    left=Left(appearances=1, crashes=1),
)
OF_OTHERS = evolve(
    OURS_ALONE, name="an unknown machine in an account of many", rules=changed(OURS_ALONE.rules, exclusive=False)
)

BROKEN = (
    Broken(
        "sightings are ignored",
        Heart(plan=_plan_with(sightings=1)),
        LATE,
        "destroyed by a verdict on a machine that was seen too rarely",
    ),
    Broken(
        "the grace is ignored",
        Heart(plan=_plan_with(grace=0.0)),
        LATE,
        "destroyed by a verdict within the grace",
    ),
    Broken(
        "an exemption is ignored",
        _mistaken(_unprotected),
        scenario("a twin of a live session's machine"),
        "destroyed an exempt machine",
    ),
    Broken(
        "a freeze is ignored",
        Heart(may_send=_sent_though_frozen),
        scenario("two sessions, one of them with a deadline"),
        "destroyed while frozen",
    ),
    Broken(
        "report mode is ignored",
        Heart(may_send=_sent_in_report_mode),
        scenario("report mode"),
        "destroyed in report mode",
    ),
    Broken(
        "the limit of a sweep is ignored",
        Heart(plan=_plan_with(max_destroys_per_sweep=9)),
        scenario("orphans, and a limit of one"),
        "recorded more verdicts than the limit of a sweep",
    ),
    Broken(
        "the hour is forgotten",
        Heart(plan=_plan_forgetting),
        scenario("orphans, and a limit of one"),
        "recorded more verdicts than the limit of an hour",
    ),
    Broken(
        "a limit of zero is no limit",
        Heart(plan=_plan_with(max_destroys_per_sweep=1)),
        scenario("limits at zero"),
        "recorded more verdicts than the limit of a sweep",
    ),
    Broken(
        "one absence is proof",
        Heart(observe=_counting_double),
        scenario("two sessions, one of them with a deadline"),
        "took a machine for gone that was missed too rarely",
    ),
    Broken(
        "an incomplete listing is taken for the whole",
        Heart(observe=_believing),
        scenario("lost, and found again"),
        "took a machine for gone that was missed too rarely",
    ),
    Broken(
        "the last look is ignored",
        Heart(confirms=_always),
        scenario("ids that are used again"),
        "destroyed a foreign machine",
    ),
    Broken(
        "memory is taken for unbroken",
        _mistaken(_remembering_all),
        OURS_ALONE,
        "destroyed an unknown machine that was made while nobody watched",
    ),
    Broken(
        "every account is taken for ours alone",
        _mistaken(_ours_alone),
        OF_OTHERS,
        "destroyed an unknown machine of an account that is not exclusive",
    ),
    Broken(
        "the clock runs ahead",
        Heart(observe=_impatient),
        scenario("a create with a deadline, and a second machine with its tag"),
        "ended a session before its deadline",
    ),
    Broken(
        "no destroy is ever sent",
        Heart(may_send=_never_sent),
        scenario("two sessions, one of them with a deadline"),
        "healed, it leaves a machine that no live session claims",
    ),
    Broken(
        "nothing is ever proven gone",
        Heart(wants_proof=_never_proven),
        scenario("two sessions, one of them with a deadline"),
        "healed, it never closes a session that is over",
    ),
)


def walked_with(broken: Broken) -> Walked:
    return walk(broken.place, broken.heart, transitions_max=TRANSITIONS_MAX, heal_every=10, until=broken.rule)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_broken_heart_is_found_out(broken: Broken) -> None:
    assert broken.rule in {found.rule for found in walked_with(broken).violations}


def test_what_was_found_is_told_as_a_shortest_way() -> None:
    (exempt,) = (broken for broken in BROKEN if broken.name == "an exemption is ignored")
    (found,) = (found for found in walked_with(exempt).violations if found.rule == exempt.rule)
    assert str(found).splitlines() == [
        "a twin of a live session's machine: destroyed an exempt machine",
        "   1. the create of session 1 is sent",
        "   2. the create of session 1 has its effect: machine a (tag exact)",
        "   3. the create of session 1 is answered: accepted",
        "   4. a machine b turns up (twin)",
        "   5. a complete listing holds a, b",
        "   6. time passes",
        "   7. a complete listing holds a, b",
        "   8. session 1 is ended by command",
        "   9. a is exempted",
        "  10. a try to destroy a (done)",
    ]
