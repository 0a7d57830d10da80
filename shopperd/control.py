"""What people and tools may ask of a running daemon. The HTTP routes are a thin door to this.

Every change is one durable transaction with its event row before the answer; what it leads to is the jobs' work.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from datetime import datetime, timedelta
from uuid import UUID

from attrs import frozen

from shopperd import decisions
from shopperd.decisions import Adoption, Conflicting, Invalid, Made, NotFound, OverBudget, RequestError
from shopperd.explanation import Explanation, explain
from shopperd.jobs.context import AccountAtWork, Context, log
from shopperd.jobs.knowledge import trust
from shopperd.jobs.sweep import current_plan
from shopperd.lifecycle import REASON_EXPIRED
from shopperd.market import fitting, request_for
from shopperd.model import DestroyJob, Offer, Session, SessionState, Spec, tag_of
from shopperd.providers.contract import AuthFailed, ChecksCreates, CreateRequest, Refused
from shopperd.reconcile import Plan
from shopperd.store import sessions

FIRST_MARKET_SECONDS = 15.0
"""How long a create waits, right after a start, for a market to be read for the first time."""


@frozen
class Wish:
    """A session that somebody asks for. `account` None: any account whose market has the cheapest fitting offer."""

    spec: Spec
    account: str | None = None
    lifetime_seconds: float | None = None


class Control:
    """The requests, over one `Context`."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def account(self, name: str) -> AccountAtWork:
        """An account by name.

        Raises:
            NotFound: no account has it.
        """
        found = self.context.accounts.get(name)
        if found is None:
            known = ", ".join(sorted(self.context.accounts)) or "none"
            raise NotFound(f"there is no account {name!r}; there are: {known}")
        return found

    async def create(self, wish: Wish, key: str | None = None, fingerprint: str = "") -> Made:
        """Record the intent to rent; the creates job then asks the provider.

        Args:
            key: an idempotency key; the same key with the same fingerprint gives the session that was made with it.

        Raises:
            NotFound: no such account or offer.
            Conflicting: frozen, over budget, no fitting offer, or the key was used for something else.
        """
        if key is not None:
            known = await self.context.store.run(sessions.by_key, key)
            if known is not None:
                return Made(await self._remembered(key, known, fingerprint), again=True)
        self._may_begin()
        await self._first_markets(wish)
        session_id = _session_id(self.context)
        refused: list[str] = []
        for account, offer in self._candidates(wish, tag_of(session_id, self.context.settings.deployment), refused):
            session = self._intent(session_id, wish, account, offer)
            try:
                made = await self.context.store.run(
                    decisions.insert, session, session.created_at, key, fingerprint, account.settings.budget_per_hour
                )
            except OverBudget as error:
                refused.append(str(error))
                continue
            if not made.again:
                log.info("session.created", session=str(session.id), account=account.name, offer=offer.id)
                self._changed("creates", account.name)
            return made
        raise self._none_fits(wish, refused)

    def _intent(self, session_id: UUID, wish: Wish, account: AccountAtWork, offer: Offer) -> Session:
        now = self.context.clock.now()
        deadline = self.context.settings.sessions.create_deadline
        return Session(
            id=session_id,
            account=account.name,
            provider=account.provider_name,
            state=SessionState.CREATING,
            tag=tag_of(session_id, self.context.settings.deployment),
            created_at=now,
            spec=wish.spec,
            offer_id=offer.id,
            gpu=offer.gpu,
            gpu_count=offer.gpu_count,
            price_per_hour=offer.price_per_hour,
            expires_at=_deadline(now, wish.lifetime_seconds),
            create_deadline_at=now + timedelta(seconds=deadline),
            state_since=now,
        )

    async def register(self, account_name: str, session_id: UUID | None, lifetime_seconds: float | None) -> Session:
        """Claim a machine that another tool rents under the session's tag.

        Raises:
            NotFound: no such account.
            Conflicting: the id is taken.
        """
        account = self.account(account_name)
        now = self.context.clock.now()
        id_ = session_id or _session_id(self.context)
        session = Session(
            id=id_,
            account=account.name,
            provider=account.provider_name,
            state=SessionState.EXPECTED,
            tag=tag_of(id_, self.context.settings.deployment),
            created_at=now,
            spec=Spec(),
            expires_at=_deadline(now, lifetime_seconds),
            state_since=now,
        )
        await self.context.store.run(decisions.register, session, now)
        log.info("session.registered", session=str(session.id), account=account.name)
        self._changed("status", account.name)
        return session

    async def end(self, session_id: UUID, reason: str | None) -> Session:
        """End a session: its instance, if it has or gets one, is destroyed until proven gone. Ending twice is once.

        Raises:
            NotFound: no such session.
        """
        now = self.context.clock.now()
        reason = reason or "ended by request"
        if reason == REASON_EXPIRED:  # in our own mouth the word means that nobody asked for it
            reason = f"ended by request: {reason}"
        ended = await self.context.store.run(decisions.end, session_id, reason, now)
        log.info("session.ending", session=str(session_id), account=ended.account, instance=ended.instance_id)
        self._changed("destroys", ended.account)
        return ended

    async def extend(
        self, session_id: UUID, *, lifetime_seconds: float | None = None, expires_at: datetime | None = None
    ) -> Session:
        """Move a session's deadline: that many seconds from now, or to that moment.

        Raises:
            NotFound: no such session.
            Invalid: neither or both were given.
            Conflicting: it is over or ending.
        """
        if (lifetime_seconds is None) == (expires_at is None):
            raise Invalid("give either `lifetime` or `expires_at`")
        now = self.context.clock.now()
        deadline = expires_at if expires_at is not None else _deadline(now, lifetime_seconds)
        session = await self.context.store.run(decisions.extend, session_id, deadline, now)
        self.context.changes.tell()
        return session

    async def destroy(self, account_name: str, instance_id: str, reason: str) -> DestroyJob:
        """Destroy one instance of ours by command, ending its session first.

        Raises:
            NotFound: no such account or instance.
            Conflicting: it is foreign, or exempt.
        """
        account = self.account(account_name)
        context = self.context
        job = await context.store.run(
            decisions.destroy, account.settings, context.settings, instance_id, reason, context.clock.now()
        )
        log.warning("destroy.recorded", instance=instance_id, account=account_name, reason=reason, origin="command")
        self._changed("destroys", account_name)
        return job

    async def adopt(
        self,
        account_name: str,
        instance_id: str,
        reason: str,
        *,
        session_id: UUID | None = None,
        lifetime_seconds: float | None = None,
    ) -> Session:
        """Give an instance with our tag to a session, which then claims it: the one that its tag names, or a new one.

        Args:
            session_id: of a session that waits for its machine, or for the new one.
            lifetime_seconds: of the session from now on; None leaves a waiting session's deadline, and gives a new one none.

        Raises:
            NotFound: no such account or instance.
            Invalid: a bad lifetime.
            Conflicting: it is foreign, claimed by another session, on its way out, or that session cannot take it.
        """
        account = self.account(account_name)
        now = self.context.clock.now()
        deadline = _deadline(now, lifetime_seconds)
        adoption = Adoption(reason, session_id, deadline, keeps_deadline=lifetime_seconds is None)
        session = await self.context.store.run(
            decisions.adopt, account, self.context.settings, instance_id, adoption, _session_id(self.context), now
        )
        log.warning(
            "instance.adopted", instance=instance_id, account=account_name, session=str(session.id), reason=reason
        )
        self._changed("status", account_name)
        return session

    async def explain(self, account_name: str, instance_id: str) -> Explanation:
        """Which rule condemns or spares an instance, and which guard holds its destroy, recording nothing.

        Raises:
            NotFound: no such account or instance.
        """
        account, context = self.account(account_name), self.context
        told = await context.store.run(
            explain,
            account.settings,
            context.settings,
            context.authority(),
            context.clock.now(),
            instance_id,
            fresh=account.problem == "",
        )
        if told is None:
            raise NotFound(
                f"account {account_name} never had an instance {instance_id!r}; see `shopperd instances list`"
            )
        return told

    async def exempt(self, account_name: str, instance_id: str, reason: str, *, exempt: bool) -> None:
        """Protect an instance from every destroy, or end that.

        Raises:
            NotFound: no such account or instance.
        """
        self.account(account_name)
        await self.context.store.run(
            decisions.exempt, account_name, instance_id, reason, exempt, self.context.clock.now()
        )
        self._changed("destroys", account_name)

    async def trust(self, account_name: str, reason: str) -> None:
        """Take what the credentials in force show for this account, though none of the machines that were known is in it.

        Raises:
            NotFound: no such account.
        """
        at = self.account(account_name)
        key = at.key()
        await self.context.store.run(trust, account_name, key, reason, self.context.clock.now())
        at.recognised = key
        log.warning("account.trusted", account=account_name, reason=reason)
        self._changed("status", account_name)

    async def freeze(self, reason: str) -> None:
        """Throw the kill switch: nothing is destroyed or created until `unfreeze`. It survives a restart."""
        now = self.context.clock.now()
        self.context.frozen = True
        await self.context.store.run(decisions.freeze, reason, now)
        log.warning("deployment.frozen", reason=reason)
        self.context.changes.tell()

    async def unfreeze(self, reason: str) -> None:
        """Let destroys and creates go on."""
        await self.context.store.run(decisions.unfreeze, reason, self.context.clock.now())
        self.context.frozen = False
        log.warning("deployment.unfrozen", reason=reason)
        for name in self.context.accounts:
            self._changed("destroys", name)
            self._changed("creates", name)

    async def plan(self, account_name: str) -> Plan:
        """What a sweep would do now and why, recording nothing.

        Raises:
            NotFound: no such account.
        """
        account = self.account(account_name)
        context = self.context
        made, _, _ = await context.store.run(
            current_plan,
            account.settings,
            context.settings,
            context.authority(),
            context.clock.now(),
            fresh=account.problem == "",
        )
        return made

    def _may_begin(self) -> None:
        if self.context.stopping:
            raise Conflicting("shopperd is stopping; ask again when it is back")
        if self.context.frozen:
            raise Conflicting("the deployment is frozen: nothing is created until `shopperd unfreeze`")

    def _asked_accounts(self, wish: Wish) -> list[AccountAtWork]:
        return [self.account(wish.account)] if wish.account is not None else list(self.context.accounts.values())

    async def _first_markets(self, wish: Wish) -> None:
        """Right after a start, wait a little for the markets that the wish may be met from."""
        accounts = self._asked_accounts(wish)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_MARKET_SECONDS):
                while any(_is_starting(account) for account in accounts) and not self.context.stopping:
                    await self.context.changes.wait()

    def _candidates(self, wish: Wish, tag: str, refused: list[str]) -> list[tuple[AccountAtWork, Offer]]:
        """The cheapest fitting offer of each account that could rent it, cheapest first; `refused` tells of the others."""
        found: list[tuple[AccountAtWork, Offer]] = []
        for account in self._asked_accounts(wish):
            offer = next(fitting(account.market.index.offers, wish.spec), None)
            if offer is None:
                continue
            if account.problem == AuthFailed.outcome:
                refused.append(f"account {account.name}: {account.detail}")
            elif (why := _objection(account, request_for(tag, offer, wish.spec))) is not None:
                refused.append(f"account {account.name}: {why}")
            else:
                found.append((account, offer))
        return sorted(found, key=lambda candidate: (candidate[1].price_per_hour, candidate[0].name))

    def _none_fits(self, wish: Wish, refused: list[str]) -> RequestError:
        if refused:
            return Conflicting("; ".join(refused))
        accounts = self._asked_accounts(wish)
        if not accounts:
            return Conflicting("no account is configured; see config.example.toml")
        unread = [account for account in accounts if account.market.refreshed_at is None]
        if len(unread) == len(accounts):
            why = "; ".join(f"account {account.name}: {account.detail or 'not read yet'}" for account in unread)
            return Conflicting(f"no market could be read yet ({why}); see `shopperd accounts`")
        if wish.spec.offer_id is not None:
            return NotFound(f"there is no offer {wish.spec.offer_id!r} at that price now; see `shopperd offers`")
        return Conflicting("no offer fits now; see `shopperd offers` with the same wishes")

    async def _remembered(self, key: str, known: tuple[UUID, str], fingerprint: str) -> Session:
        session_id, before = known
        if before != fingerprint:
            raise Conflicting(f"the idempotency key {key[:64]!r} was used for another request")
        session = await self.context.store.run(sessions.get, session_id)
        if session is None:
            raise Conflicting(f"the session made with idempotency key {key[:64]!r} is over and no longer kept")
        return session

    def _changed(self, job: str, account: str) -> None:
        self.context.wake(job, account)
        self.context.changes.tell()


def _is_starting(account: AccountAtWork) -> bool:
    return account.market.refreshed_at is None and account.problem in ("", "no_snapshot_yet")


def _objection(account: AccountAtWork, request: CreateRequest) -> str | None:
    """Why the provider would refuse this before it is even asked, None if nothing is known against it."""
    if not isinstance(account.provider, ChecksCreates):
        return None
    try:
        account.provider.check_create(request)
    except Refused as error:
        return f"{error} ({error.code})"
    return None


def _session_id(context: Context) -> UUID:
    return UUID(int=context.clock.random.getrandbits(128), version=4)


def _deadline(now: datetime, lifetime_seconds: float | None) -> datetime | None:
    if lifetime_seconds is None or lifetime_seconds == 0:
        return None
    if not math.isfinite(lifetime_seconds) or lifetime_seconds < 0:
        raise Invalid("`lifetime` must be a number of seconds, 0 for none")
    try:
        return now + timedelta(seconds=lifetime_seconds)
    except OverflowError as error:
        raise Invalid("`lifetime` is longer than any calendar") from error
