"""How an account stands: what its store knows, and what a sweep would make of it now."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen
from sqlalchemy import Connection

from shopperd.jobs.context import AccountAtWork, Context
from shopperd.jobs.sweep import current_plan
from shopperd.model import Track
from shopperd.reconcile import Account, Plan
from shopperd.sightings import is_present
from shopperd.web import costs
from shopperd.web.answers import OrphanAnswer, orphan_answer


@frozen
class Standing:
    """One account at this moment.

    Attributes:
        observing: sweeps that still only look.
        leaked: USD that each orphan of the plan has cost since it was first seen to be one.
    """

    known: Account
    plan: Plan
    observing: int
    leaked: Mapping[str, float]

    @property
    def orphans(self) -> list[OrphanAnswer]:
        """What should not be there, as a sweep would judge it now."""
        return [orphan_answer(orphan, self.leaked[orphan.track.instance.id]) for orphan in self.plan.orphans]

    @property
    def present(self) -> list[Track]:
        """The instances that the newest complete snapshot, or any later one, held."""
        return [track for track in self.known.tracks.values() if is_present(track)]

    @property
    def billed_per_hour(self) -> float:
        """USD that the machines which are there are billed in their present state."""
        return sum(track.instance.rate_per_hour or 0.0 for track in self.present)

    @property
    def live_sessions(self) -> int:
        """The sessions that claim an instance."""
        return sum(session.state.live for session in self.known.sessions.values() if session.account == self.known.name)

    @property
    def burn_per_hour(self) -> float:
        """USD per hour of all instances, foreign ones too."""
        return sum(track.instance.price_per_hour or 0.0 for track in self.present)


async def standing(context: Context, account: AccountAtWork) -> Standing:
    """How an account stands now. Records nothing.

    Raises:
        StoreError: the store cannot be read.
    """

    def read(conn: Connection) -> Standing:
        plan, known, observing = current_plan(
            conn,
            account.settings,
            context.settings,
            context.authority(),
            context.clock.now(),
            fresh=account.problem == "",
        )
        leaked = costs.of_orphans(conn, account.name, [orphan.track for orphan in plan.orphans])
        return Standing(known, plan, observing, leaked)

    return await context.store.run(read)
