"""The daemon: puts settings, store, accounts, jobs and the web together, and takes them apart again in the right order.

Starting and stopping are no-ops for machines: nothing is destroyed or created because the process comes or goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
from collections.abc import Coroutine, Iterable, Mapping
from datetime import datetime
from uuid import UUID

import structlog
from aiohttp import web
from attrs import evolve
from sqlalchemy import Connection

from shopperd import __version__
from shopperd.clock import Clock
from shopperd.control import Control
from shopperd.jobs.balance import BalanceJob
from shopperd.jobs.context import AccountAtWork, Context, Job, log
from shopperd.jobs.creates import CreatesJob
from shopperd.jobs.destroys import DestroysJob
from shopperd.jobs.hooks import HookJob, job_name
from shopperd.jobs.housekeeping import HousekeepingJob
from shopperd.jobs.knowledge import FROZEN_KEY, RESTORED_KEY, append
from shopperd.jobs.limits import KeptLimits
from shopperd.jobs.offers import OffersJob
from shopperd.jobs.recovery import recover
from shopperd.jobs.runner import Runner
from shopperd.jobs.status import StatusJob
from shopperd.jobs.sweep import SweepJob, observing_key
from shopperd.logs import configure_logging
from shopperd.providers.contract import Provider, TellsBalance
from shopperd.providers.limiter import Limited
from shopperd.providers.registry import ProviderUnusable, open_provider
from shopperd.providers.transport import Sender
from shopperd.schedule import SWEEP_LATER_SHARE, Schedule
from shopperd.secrets import Secret, fingerprint, read_all, read_hooks, read_store_password, read_web_token
from shopperd.settings import AccountSettings, Problem, Settings, SettingsError
from shopperd.settings_file import state_folder, store_url
from shopperd.settings_shape import differences
from shopperd.store import (
    Binding,
    Spool,
    Store,
    StoreError,
    StoreLocked,
    StoreOfAnother,
    hooks,
    lease,
    memory,
    meta,
    sessions,
)
from shopperd.store.databases import spool_path
from shopperd.telemetry import Metrics
from shopperd.web import Health, make_app

ready_log: structlog.stdlib.BoundLogger = structlog.get_logger("shopperd.ready")
"""Scripts wait for this line, so it comes at any level."""

BEAT_SECONDS = 5.0
"""The longest pause between two heartbeats of the store's memory."""

GAP_BEATS = 6
"""So many heartbeats may be missed before the memory counts as broken: a busy disk, not a lost hour."""

DEPLOYMENT_KEY = "deployment"
"""Where the store keeps the name of the deployment that it belongs to."""

LEASE_SHARE = 2 / 3
"""A process stops acting after this share of its lease: what it began by then is over before another one may begin."""

SILENCE_SECONDS_MAX = 180.0
"""A heartbeat that has been silent for so long hangs. It asks the store, which answers or gives up in a fraction of that."""


class Daemon:
    """One running deployment. `start`, then `wait`, then `stop`.

    Args:
        sender: how requests reach providers; None for the real network.
        spool: where accepted creates are kept while the store takes nothing; the daemon closes it.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        metrics: Metrics,
        clock: Clock,
        *,
        environ: Mapping[str, str],
        sender: Sender | None = None,
        spool: Spool | None = None,
    ) -> None:
        self.schedule = Schedule(clock, metrics)
        self.context = Context(
            settings=settings,
            clock=clock,
            store=store,
            metrics=metrics,
            accounts={},
            wake=self.schedule.wake,
            spool=spool,
        )
        self.control = Control(self.context)
        self._limits = KeptLimits(self.context)
        self.url = ""
        self.port = 0
        self._environ = environ
        self._sender = sender
        self._stop = asyncio.Event()
        self._process = UUID(int=clock.random.getrandbits(128), version=4)
        self._hooks: dict[str, HookJob] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._turned_at = clock.monotonic()
        self._runner: web.AppRunner | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._secrets: dict[str, Secret] = {}
        self._refused = ""

    async def start(self) -> None:
        """Take up the store's memory, open the accounts, serve, and begin to run jobs.

        Raises:
            SettingsError: a secret cannot be read, or no adapter can be made for an account.
            StoreError: the store cannot be written.
            OSError: the listener's address is taken.
        """
        context = self.context
        secrets = read_all(context.settings, self._environ)
        token = read_web_token(context.settings, self._environ)
        password = read_store_password(context.settings, self._environ)
        signed_with = read_hooks(context.settings, self._environ)
        enabled = [account for account in context.settings.accounts.values() if account.enabled]
        await self._wait_for_lease()
        now = context.clock.now()
        fresh = await context.store.run(
            take_up, context.store.binding, context.settings, now, created=context.store.created
        )
        context.frozen = bool(await context.store.run(meta.get, FROZEN_KEY))
        await self._limits.read()
        if context.spool is not None:
            context.metrics.store_spool_ready.set(1 if context.spool.shortage is None else 0)
            # Before any job runs: a listing must not be judged without the ids that it may hold.
            try:
                await recover(context)
            except StoreError as error:
                log.error("store.failed", detail=str(error))  # nothing is acted on until a later heartbeat succeeds
        if fresh:
            log.warning(
                "store.changed",
                detail="the store is new, moved or restored, so the first sweeps only look",
                observe_sweeps=context.settings.orphans.observe_sweeps,
            )
        if not enabled:
            log.warning("accounts.none", detail="no account is configured: nothing is watched; see config.example.toml")
        context.metrics.initialise([(account.name, account.provider) for account in enabled])
        for account, provider in self._adapters(context.settings, enabled, secrets):
            self._open_account(account, provider, secrets.get(account.name, {}))
        await context.store.run(hooks.forget_others, tuple(context.settings.hooks))
        for name, secret in signed_with.items():
            job = self._open_hook(name, secret)
            # Before any job runs, so that a new hook misses nothing of what they do.
            await job.begin()
        self._watch_secrets(secrets, signed_with, {"web.token": token, "store.password": password})
        self.schedule.add(Runner(HousekeepingJob(context, self._hooks), context), first_in_seconds=60.0)
        await self._serve(token)
        self._tasks = [
            asyncio.create_task(self._beat(), name="heartbeat"),
            asyncio.create_task(self._wake_hooks(), name="hooks"),
        ]
        self.schedule.start()
        ready_log.info(
            "ready",
            url=self.url,
            version=__version__,
            accounts=[account.name for account in enabled],
            frozen=context.frozen,
            store=context.store.location,
        )

    async def wait(self) -> None:
        """Until `request_stop`."""
        await self._stop.wait()

    def request_stop(self) -> None:
        """Have `wait` return."""
        self._stop.set()

    async def stop(self) -> bool:
        """Drain what is in flight, then close everything. Machines are left alone. Whether nothing had to be cut off."""
        context = self.context
        log.info("stopping", drain_seconds=context.settings.drain_seconds)
        context.stopping = True
        clean = await self.schedule.drain(context.settings.drain_seconds, context.in_flight)
        if not clean:
            log.warning("drain.cut", detail="what was cut off is on disk and goes on at the next start")
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._runner is not None:
            await self._runner.cleanup()
        for account in context.accounts.values():
            await account.provider.close()
        for hook in self._hooks.values():
            await hook.close()
        with contextlib.suppress(StoreError):
            await context.store.beat(context.clock.now(), gap_seconds(context.settings))
            if context.clock.monotonic() < context.acts_until:
                await self._limits.keep(now=True)
            if context.store.binding.shared:
                await context.store.run(lease.release, self._process)
        await context.store.close()
        if context.spool is not None:
            context.spool.close()
        log.info("stopped", clean=clean)
        return clean

    def run_all_now(self) -> None:
        """Run every job now."""
        log.info("jobs.asked", count=self.schedule.wake_all())

    def reload(self, settings: Settings) -> None:
        """Put new settings in force at once, all or none; what only a restart can change is said and left as it is.

        Raises:
            SettingsError: a secret cannot be read, or no adapter can be made for an account; then nothing was changed.
        """
        context, before = self.context, self.context.settings
        for part in ("web", "store", "deployment"):
            if keys := differences(getattr(before, part), getattr(settings, part), (part,)):
                log.warning("reload.needs_restart", part=part, keys=keys)
                settings = evolve(settings, **{part: getattr(before, part)})
        secrets, token = read_all(settings, self._environ), read_web_token(settings, self._environ)
        password, signed_with = read_store_password(settings, self._environ), read_hooks(settings, self._environ)
        wanted = {account.name: account for account in settings.accounts.values() if account.enabled}
        leaving = [
            at for at in context.accounts.values() if wanted.get(at.name) != at.settings or settings.jobs != before.jobs
        ]
        stay = context.accounts.keys() - {at.name for at in leaving}
        coming = self._adapters(settings, [wanted[name] for name in wanted if name not in stay], secrets)
        # From here on nothing is refused and nothing is waited for: no job sees half of it.
        context.settings = settings
        for at in leaving:
            if at.name not in wanted and at.instances:
                log.warning(
                    "account.left", account=at.name, detail=f"{at.instances} instances are not watched any more"
                )
            self._close_account(at)
        context.metrics.initialise([(account.name, account.provider) for account in wanted.values()])
        for account, provider in coming:
            self._open_account(account, provider, secrets.get(account.name, {}))
        for name, hook in list(self._hooks.items()):
            if name not in signed_with or settings.hooks[name] != hook.settings:
                self._close_hook(hook)
        for name in signed_with.keys() - self._hooks.keys():
            self._open_hook(name, signed_with[name])
        # Accounts and hooks that stay keep their own, which they read anew by themselves; these are only looked at.
        self._watch_secrets(secrets, signed_with, {"web.token": token, "store.password": password})
        self._refused = ""
        configure_logging(settings.log, sys.stdout)
        context.metrics.config_reloads_total.labels(outcome="ok").inc()
        log.info("reloaded", accounts=sorted(wanted), changed=differences(before, settings))

    def refuse(self, error: SettingsError) -> None:
        """Say and count that new settings are not taken; the old ones stay in force."""
        self._refused = "the last reload was refused, as `shopperd check` tells, and the old settings are in force"
        self.context.metrics.config_reloads_total.labels(outcome="refused").inc()
        log.error("reload.refused", detail=str(error))

    def health(self) -> Health:
        """Whether the loops turn: the heartbeat and every job. Providers have no say in it, and the store as little."""
        reasons = []
        silent = self.context.clock.monotonic() - self._turned_at
        if silent > SILENCE_SECONDS_MAX:
            reasons.append(f"the heartbeat has been silent for {silent:.0f} s")
        if not self.context.stopping:
            reasons += self.schedule.hung()
        return Health(alive=not reasons, reasons=tuple(reasons))

    def sentence(self) -> str:
        """How things are, in one sentence for people."""
        context = self.context
        accounts = context.accounts.values()
        instances, burn = sum(at.instances for at in accounts), sum(at.burn_per_hour for at in accounts)
        counts = [
            f"{count} {word}{'' if count == 1 else 's'}"
            for count, word in ((len(accounts), "account"), (instances, "instance"))
        ]
        parts = [f"Watches {' with '.join(counts)} for {burn:.2f} USD per hour"]
        if unseen := [f"{at.name} ({at.problem})" for at in accounts if at.problem]:
            parts.append(f"does not see {', '.join(unseen)} whole")
        if context.frozen:
            parts.append("is frozen")
        if context.store.problem is not None:
            parts.append(f"does not act: {context.store.problem}")
        return "; ".join([*parts, *self.notices()]) + "."

    def notices(self) -> list[str]:
        """What is not as it was set up, as no account, job or store tells it."""
        told = []
        if self.context.no_right and self.context.store.problem is None:
            told.append(f"does not act: {self.context.no_right}")
        if gone := [name for name, hook in self._hooks.items() if hook.gone]:
            told.append(f"sends nothing to {', '.join(gone)}, which answered that it wants no more")
        if refused := [name for name, secret in self._secrets.items() if secret.refused]:
            told.append(f"keeps the old {', '.join(refused)}, as the file cannot be used")
        if self._refused:
            told.append(self._refused)
        return told

    def _adapters(
        self,
        settings: Settings,
        accounts: Iterable[AccountSettings],
        secrets: Mapping[str, Mapping[str, Secret]],
    ) -> list[tuple[AccountSettings, Provider]]:
        """One adapter for each account; none has sent anything yet.

        Raises:
            SettingsError: there is none for an account, with all for which that is so.
        """
        made, problems = [], []
        for account in accounts:
            try:
                provider = open_provider(
                    account,
                    deployment=settings.deployment,
                    secrets=secrets.get(account.name, {}),
                    clock=self.context.clock,
                    metrics=self.context.metrics,
                    sender=self._sender,
                )
            except ProviderUnusable as error:
                problems.append(Problem(f"accounts.{account.name}", str(error)))
            else:
                made.append((account, provider))
        if problems:
            raise SettingsError(problems)
        return made

    def _open_account(self, account: AccountSettings, provider: Provider, secrets: Mapping[str, Secret]) -> None:
        context = self.context
        place = f"{account.provider} {account.base_url or ''}"
        limiter = provider.limiter if isinstance(provider, Limited) else None
        at = AccountAtWork(
            settings=account, provider=provider, limiter=limiter, key=lambda: fingerprint(place, secrets)
        )
        context.accounts[account.name] = at
        self._limits.apply(account.name)
        context.metrics.account_owned.labels(**at.labels).set(1)
        for job in jobs_of(context, at):
            later = job.interval * SWEEP_LATER_SHARE if job.name == "sweep" else 0.0
            self.schedule.add(Runner(job, context), first_in_seconds=later)

    def _open_hook(self, name: str, secret: Secret) -> HookJob:
        job = HookJob(self.context, self.context.settings.hooks[name], secret)
        self._hooks[name] = job
        self.context.metrics.initialise_hook(name, job.name)
        self.schedule.add(Runner(job, self.context))
        return job

    def _close_hook(self, hook: HookJob) -> None:
        """Take a hook out of service. What it was about to send is sent again by whoever takes its place."""
        name = hook.settings.name
        running = [runner.running for runner in self.schedule.remove("", hook.name) if runner.running is not None]
        del self._hooks[name]
        hook.retired = True

        async def close() -> None:
            if running:
                await asyncio.wait(running, timeout=self.context.settings.drain_seconds)
            await hook.close()
            if name not in self._hooks:
                self.context.metrics.remove_hook(name, hook.name)
            with contextlib.suppress(StoreError):  # it is done again at the next start
                await self.context.store.run(hooks.forget_others, tuple(self.context.settings.hooks))

        self._close_later(close())

    def _watch_secrets(
        self,
        secrets: Mapping[str, Mapping[str, Secret]],
        signed_with: Mapping[str, Secret],
        others: Mapping[str, Secret | None],
    ) -> None:
        self._secrets = {
            f"accounts.{account}.{name}": secret for account, each in secrets.items() for name, secret in each.items()
        }
        self._secrets |= {f"hooks.{name}.secret": secret for name, secret in signed_with.items()}
        self._secrets |= {name: secret for name, secret in others.items() if secret is not None}

    def _look_at_secrets(self) -> None:
        """Say and count which secret files were replaced. Requests need not wait for this: they read a new file at once."""
        news = {name: secret.look() for name, secret in self._secrets.items()}
        reloads = self.context.metrics.config_reloads_total
        if changed := [name for name, told in news.items() if told == ""]:
            reloads.labels(outcome="ok").inc()
            log.info("secrets.changed", changed=changed)
        if refused := [f"{name}: {told}; the old value stays in force" for name, told in news.items() if told]:
            reloads.labels(outcome="refused").inc()
            log.error("reload.refused", detail="\n".join(refused))

    def _close_account(self, at: AccountAtWork) -> None:
        """Take an account out of service; runs that are on end by themselves before its connections go."""
        self._limits.note(at.name)
        running = [runner.running for runner in self.schedule.remove(at.name) if runner.running is not None]
        del self.context.accounts[at.name]
        if at.name not in {name for name, other in self.context.settings.accounts.items() if other.enabled}:
            self.context.metrics.remove_account(at.name)

        async def close() -> None:
            if running or self.context.in_flight:
                busy = {*running, *self.context.in_flight}
                await asyncio.wait(busy, timeout=self.context.settings.drain_seconds)
            await at.provider.close()

        self._close_later(close())

    def _close_later(self, closing: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _serve(self, token: Secret | None) -> None:
        rules = self.context.settings.web
        app = make_app(
            self.context,
            self.control,
            self.schedule,
            token,
            loopback=rules.loopback,
            health=self.health,
            notices=self.notices,
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, rules.host, rules.port)
        try:
            await site.start()
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise OSError(
                f"web.listen: cannot listen at {rules.listen} ({why}); is another shopperd, or something else, there? "
                "Stop that one, or give this one another address (port 0: the system chooses)"
            ) from error
        self.port = self._runner.addresses[0][1]
        host = f"[{rules.host}]" if ":" in rules.host else rules.host
        self.url = f"http://{host}:{self.port}"

    async def _wait_for_lease(self) -> None:
        """Take the right to act on a store that others can open; one that died without a word holds it for a while."""
        context = self.context
        if not context.store.binding.shared:
            return
        seconds = lease_seconds(context.settings)
        patience = context.clock.monotonic() + 2 * seconds
        while (other := await self._renew_lease()) is not None:
            if context.clock.monotonic() >= patience:
                raise StoreLocked(
                    context.store.location,
                    f"another shopperd holds it, and renewed that until {other.until.isoformat()}; stop that one, or give this "
                    "one a database of its own",
                )
            log.warning("store.held", until=other.until.isoformat(), detail="waits for another shopperd's lease to end")
            await context.clock.sleep(seconds / 10)

    async def _renew_lease(self) -> lease.Holder | None:
        context, asked = self.context, self.context.clock.monotonic()
        seconds = lease_seconds(context.settings)
        other = await context.store.run(lease.hold, self._process, context.clock.now(), seconds)
        if other is None:
            # Sooner than by the row, so that nothing that this process begins can be late.
            context.acts_until = asked + seconds * LEASE_SHARE
        else:
            context.acts_until = -math.inf
            log.error("store.held", until=other.until.isoformat(), detail="another shopperd acts on this store")
        return other

    async def _beat(self) -> None:
        """Keep the store's memory unbroken, give it what the spool holds, and measure how late the loop turns."""
        context = self.context
        last: datetime | None = None
        while True:
            pause = beat_seconds(context.settings)
            due = context.clock.monotonic() + pause
            await context.clock.sleep(pause)
            self._turned_at = context.clock.monotonic()
            context.metrics.event_loop_lag_seconds.set(max(0.0, self._turned_at - due))
            had_no_right = context.no_right
            if context.store.binding.shared:
                with contextlib.suppress(StoreError):
                    if await self._renew_lease() is not None:
                        self.request_stop()  # two would watch and only one act; whoever restarts this one has it wait its turn
            self._look_at_secrets()
            for runner in self.schedule.catch_up():
                log.warning("job.overdue", job=runner.job.name, account=runner.job.account)
            try:
                gap = gap_seconds(context.settings)
                last = await context.store.beat(context.clock.now(), gap, last)
                await recover(context)
                if not context.no_right:
                    await self._limits.keep()
            except StoreError as error:
                log.error("store.failed", detail=str(error))
            if had_no_right and not context.no_right:
                for name in context.accounts:
                    context.wake("creates", name)
                    context.wake("destroys", name)

    async def _wake_hooks(self) -> None:
        """Have hooks look at the trail as soon as something was written to it. What is missed here, their interval finds."""
        while True:
            await self.context.changes.wait()
            for name in self._hooks:
                self.context.wake(job_name(name), "")


def jobs_of(context: Context, at: AccountAtWork) -> tuple[Job, ...]:
    """Every job of an account, in one list; those that are switched off are left out."""
    rules = context.settings.jobs
    jobs: list[Job] = []
    if rules.status.enabled:
        jobs.append(StatusJob(context, at))
    if rules.offers.enabled:
        jobs.append(OffersJob(context, at))
    if rules.sweep.enabled:
        jobs.append(SweepJob(context, at))
    jobs.append(DestroysJob(context, at))
    jobs.append(CreatesJob(context, at))
    if isinstance(at.provider, TellsBalance):
        jobs.append(BalanceJob(context, at, at.provider))
    return tuple(jobs)


def take_up(conn: Connection, binding: Binding, settings: Settings, now: datetime, *, created: bool) -> bool:
    """Open a new span of memory; after a new, moved or restored store have the first sweeps of every account only look.

    A restored one knows no extension that was given after its backup, so the deadlines in it end no session any more. Another
    file in the place of the one that was is taken for a restored one, whatever lies beside it.

    Raises:
        StoreOfAnother: its sessions were asked for by a deployment of another name.
    """
    owner = meta.get(conn, DEPLOYMENT_KEY)
    if owner is not None and owner != settings.deployment and sessions.page(conn, limit=1).items:
        raise StoreOfAnother(
            binding.path,
            f"it belongs to deployment {owner!r}, and the configuration says {settings.deployment!r}: the machines of its sessions "
            "would be foreign from now on. Set the name back, or give the new one a store of its own",
        )
    meta.put(conn, DEPLOYMENT_KEY, settings.deployment)
    memory.wake(conn, now)
    before = meta.identity(conn)
    changed = meta.bind(conn, binding, now)
    if not created and before.bound_at is not None and not binding.continues(before):
        meta.put(conn, RESTORED_KEY, now.isoformat())
        message = "put back from a backup: sessions of before are not ended by their deadlines until they are extended"
        append(conn, now, "store.restored", message)
    if changed:
        for name in settings.accounts:
            meta.put(conn, observing_key(name), settings.orphans.observe_sweeps)
    return changed


def beat_seconds(settings: Settings) -> float:
    """Seconds between two heartbeats of the store's memory."""
    return min(BEAT_SECONDS, settings.jobs.status.interval)


def lease_seconds(settings: Settings) -> float:
    """For so many seconds a process that does not renew it keeps the right to act on a shared store."""
    return gap_seconds(settings)


def gap_seconds(settings: Settings) -> float:
    """A silence of so many seconds breaks the memory."""
    return max(beat_seconds(settings) * GAP_BEATS, 10.0)


def open_spool(settings: Settings, environ: Mapping[str, str]) -> Spool | None:
    """The spool of the store; None for a store in memory, or where there can be none. That is said, and is no reason not to run."""
    path = settings.store.spool or spool_path(store_url(settings, environ), state_folder(environ))
    if path is None:
        return None
    try:
        spool = Spool.open(path)
    except StoreError as error:
        log.error("spool.unavailable", detail=str(error))
        return None
    if spool.shortage is not None:
        log.error("spool.unavailable", detail=f"no room could be set aside: {spool.shortage}")
    return spool
