"""What the status page shows, gathered. While the store does not answer it shows what is known without it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import frozen
from sqlalchemy import Connection

from shopperd.model import Event, OrphanPhase, SessionState
from shopperd.reconcile import Orphan
from shopperd.store import StoreError, events, instances, sessions
from shopperd.web.answers import InstanceAnswer, OrphanAnswer
from shopperd.web.door import Door
from shopperd.web.instances import told_of
from shopperd.web.overview import StatusAnswer, status_of
from shopperd.web.page.acts import Act, acts_on
from shopperd.web.standing import standing

MACHINES_MAX = 500
ORPHANS_MAX = 200
EVENTS_MAX = 25


@frozen
class Machine:
    """One row of the list of machines."""

    instance: InstanceAnswer
    session_state: SessionState | None


@frozen
class Waiting:
    """One row of the list of orphans, and what a person may decide about it."""

    orphan: OrphanAnswer
    acts: Sequence[Act]


@frozen
class View:
    """Everything on the page.

    Attributes:
        complete: whether the store answered.
    """

    status: StatusAnswer
    orphans: Sequence[Waiting]
    more_orphans: int
    orphans_usd_per_hour: float
    machines: Sequence[Machine]
    more_machines: bool
    events: Sequence[Event]
    at: datetime
    complete: bool


async def view_of(door: Door) -> View:
    """The page's content now."""
    context = door.context
    status = await status_of(door)
    found: list[tuple[Orphan, OrphanAnswer]] = []
    machines: list[Machine] = []
    more, trail, complete = False, list[Event](), True
    try:
        for account in tuple(context.accounts.values()):
            now = await standing(context, account)
            found += zip(now.plan.orphans, now.orphans, strict=True)
        machines, more, trail = await context.store.run(_read)
    except StoreError:
        complete = False
    found.sort(key=lambda one: -_price(one[0]))
    return View(
        status=status,
        orphans=[_waiting(orphan, told) for orphan, told in found[:ORPHANS_MAX]],
        more_orphans=max(0, len(found) - ORPHANS_MAX),
        orphans_usd_per_hour=sum(_price(orphan) for orphan, _ in found),
        machines=machines,
        more_machines=more,
        events=trail,
        at=context.clock.now(),
        complete=complete,
    )


def _price(orphan: Orphan) -> float:
    return orphan.track.instance.price_per_hour or 0.0


def _waiting(orphan: Orphan, told: OrphanAnswer) -> Waiting:
    going = orphan.phase is OrphanPhase.DESTROYING
    return Waiting(told, acts_on(condemned=True, going=going, exempt=orphan.track.exempt))


def _read(conn: Connection) -> tuple[list[Machine], bool, list[Event]]:
    page = instances.page(conn, limit=MACHINES_MAX)
    told = told_of(conn, page.items)
    owners = sessions.known(conn, [machine.session_id for machine in told if machine.session_id is not None])
    rows = [
        Machine(machine, owners[machine.session_id].state if machine.session_id in owners else None) for machine in told
    ]
    return rows, page.next is not None, events.page(conn, limit=EVENTS_MAX, newest_first=True)
