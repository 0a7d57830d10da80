"""The model says of the store what the real jobs and the real control make of it, over a real store in memory."""

import asyncio
import random
from datetime import datetime, timedelta
from typing import cast

import pytest
from attrs import define, evolve
from prometheus_client import CollectorRegistry

from shopperd.control import Control
from shopperd.daemon import take_up
from shopperd.decisions import Conflicting
from shopperd.jobs import creates
from shopperd.jobs.context import AccountAtWork, Context
from shopperd.jobs.destroys import DestroysJob
from shopperd.jobs.knowledge import FROZEN_KEY, load
from shopperd.jobs.status import StatusJob
from shopperd.jobs.sweep import SweepJob, observing_key
from shopperd.model import Instance, Offer, Snapshot
from shopperd.providers.contract import CreatedInstance, InstanceNotFound, Provider, ProviderError
from shopperd.reconcile import Account
from shopperd.settings import AccountSettings, DestroySettings, JobSettings, JobsSettings
from shopperd.store import Binding, destroys, instances, memory, meta, sessions
from shopperd.store import Store as RealStore
from shopperd.telemetry import Metrics
from tests.heart import model
from tests.heart.model import Action, Heart, possible, step
from tests.heart.scenarios import Scenario
from tests.heart.state import SMALL, STEP, TICK, Left, Rules, State, Store, changed, reported, store_parts
from tests.nouns import ACCOUNT, NOW, sid, snapshot

AT_ONCE = DestroySettings(retry_min=0.05, retry_max=0.05)
JOBS = JobsSettings(
    status=JobSettings(TICK.total_seconds() * 0.3), sweep=JobSettings(TICK.total_seconds()), offers=JobSettings(60.0)
)
PLACE = Binding("here", "/store", "1")
OFFER = Offer("offer", "vastai", "1", ACCOUNT, "RTX 4090", 1, 24, 0.3)
HEART = Heart()

WHOLE = Scenario(
    "all that the model repeats of the jobs and the control",
    sessions=(1, 2),
    lives={1: 4},
    rules=Rules(
        settings=evolve(SMALL, destroys=AT_ONCE, jobs=JOBS),
        hour=timedelta(hours=1),
        exclusive=True,
        strangers=("unknown", "twin", "foreign"),
        tags=("exact", "bare"),
        reuse=True,
    ),
    left=Left(appearances=3, vanishings=3, returns=1, crashes=2, extensions=2, edits=1, registrations=1),
)


class SetClock:
    """A clock that stands where it is set."""

    def __init__(self) -> None:
        self.random = random.Random(1)
        self.jumped_seconds = 0.0
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def wall(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - NOW).total_seconds()

    def heard(self, told: datetime) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing here waits, least of all {seconds} s")


@define
class Told:
    """A provider that answers from the model's truth, and does to a destroy what the walk has chosen."""

    clock: SetClock
    machines: dict[str, Instance]
    listing: tuple[tuple[str, ...], bool] = ((), True)
    how: str = "done"

    async def list_all_instances(self) -> Snapshot:
        ids, complete = self.listing
        return evolve(
            snapshot(*(self.machines[id_] for id_ in ids), at=self.clock.at, complete=complete), ended_at=self.clock.at
        )

    async def get_instance_status(self, id: str) -> Instance:
        if id not in self.machines:
            raise InstanceNotFound(id)
        return self.machines[id]

    async def destroy_instance(self, id: str) -> None:
        known = self.machines.get(id)
        if self.how in ("done", "unheard"):
            self.machines.pop(id, None)
        if known is None:
            raise InstanceNotFound(id)
        if self.how in ("failed", "unheard"):
            raise ProviderError("no answer")


class Real:
    """The jobs and the control, over a store of their own."""

    def __init__(self, state: State, rules: Rules) -> None:
        self.rules = rules
        self.clock = SetClock()
        self.store = RealStore.open("sqlite://", clock=self.clock, inline=True)
        self.provider = Told(self.clock, {})
        self.account = AccountSettings(ACCOUNT, "vastai", exclusive=rules.exclusive)
        self.settings = evolve(rules.settings, accounts={ACCOUNT: self.account})
        for one in state.store.sessions.values():
            self.store.run_sync(sessions.insert, one)
        self.store.run_sync(memory.wake, state.store.spans[0].started_at)
        self.store.run_sync(memory.beat, NOW, 1e9)
        self.store.run_sync(meta.bind, PLACE, NOW)
        self.store.run_sync(meta.put, observing_key(ACCOUNT), 0)
        self._open()

    def _open(self) -> None:
        metrics = Metrics(CollectorRegistry())
        at = AccountAtWork(self.account, cast("Provider", self.provider))
        self.context = Context(self.settings, self.clock, self.store, metrics, {ACCOUNT: at}, wake=_nobody)
        self.control = Control(self.context)
        self.at = at

    def follow(self, state: State) -> None:
        """Set the clock and the truth as the model has them."""
        self.clock.at = state.now
        tells = self.rules.tells_start
        self.provider.machines = {
            id_: reported(machine, tells_start=tells) for id_, machine in sorted(state.truth.machines.items())
        }
        if state.process.up:
            self.store.run_sync(memory.beat, state.now, 1e9)

    async def do(self, action: Action) -> None:
        """One verb of people, of creates or of the process."""
        verb, *what = action
        match verb:
            case "end":
                await self.control.end(sid(int(what[0])), None)
            case "extend":
                await self.control.extend(sid(int(what[0])), lifetime_seconds=self.rules.life.total_seconds())
            case "command":
                await self._command(what[0])
            case "exempt" | "unexempt":
                await self.control.exempt(ACCOUNT, what[0], "because", exempt=verb == "exempt")
            case "freeze":
                await self.control.freeze("because")
            case "unfreeze":
                await self.control.unfreeze("because")
            case "register":
                await self.control.register(ACCOUNT, sid(9), None)
            case "begin":
                self.store.run_sync(creates.begin, sid(int(what[0])), OFFER, self.clock.at)
            case "restart":
                self._open()
                self.store.run_sync(take_up, PLACE, self.settings, self.clock.at, created=False)

    async def _command(self, id_: str) -> None:
        try:
            await self.control.destroy(ACCOUNT, id_, "by hand")
        except Conflicting:
            return

    def answer(self, number: int, how: str, id_: str) -> None:
        """What becomes of a create."""
        run, now = self.store.run_sync, self.clock.at
        if how == "accepted":
            run(creates.accept, sid(number), CreatedInstance(id_), OFFER, now)
        elif how == "refused":
            run(creates.fail, sid(number), "refused", now)
        elif how == "taken":
            run(creates.note_refusal, sid(number), "taken", now)
        else:
            run(creates.note_unclear, sid(number), "no answer", now)

    def account_now(self) -> Account:
        return self.store.run_sync(load, self.account, self.settings, self.clock.at)

    def rows(self, like: Store) -> Store:
        """The whole store, as the model keeps it; its log of verdicts is compared by what is counted from it."""
        known = self.account_now()
        found = self.store.run_sync(sessions.known, [sid(number) for number in like.sessions])
        tracks = {id_: self.store.run_sync(instances.get, ACCOUNT, id_) for id_ in self.rules.ids}
        return Store(
            sessions={number: found[sid(number)] for number in like.sessions},
            tracks={id_: track for id_, track in tracks.items() if track is not None},
            jobs={job.instance_id: job for job in self.store.run_sync(destroys.open_jobs, ACCOUNT)},
            verdicts=like.verdicts,
            fleet=known.fleet,
            spans=tuple(known.spans),
            restored_at=known.restored_at,
            complete_at=self._complete_at(known),
            observing=self.store.run_sync(meta.get, observing_key(ACCOUNT)),
            frozen=bool(self.store.run_sync(meta.get, FROZEN_KEY)),
        )

    def _complete_at(self, known: Account) -> tuple[datetime, ...]:
        """With two sightings, the two moments that the account tells are all that there are."""
        moments = (known.missed_since, known.last_complete_at)
        return tuple(moment for moment in moments if moment is not None)


def _nobody(job: str, account: str, *, in_seconds: float = 0.0) -> None:
    """Nobody is woken: the walk says what runs when."""


class Lockstep:
    """One walk, done by the model and by the real code."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.rules = WHOLE.rules
        self.state = WHOLE.start(HEART)
        self.real = Real(self.state, self.rules)
        self.done: list[Action] = []

    def model(self, *action: str) -> None:
        self.done.append(action)
        self.state = step(self.state, action, self.rules, HEART).state

    async def walk(self, steps: int) -> None:
        for _ in range(steps):
            await self._next()
            self._compare()

    async def _next(self) -> None:
        choices = {action[0] for action in possible(self.state, self.rules, HEART)} - {
            "list",
            "read",
            "find",
            "destroy",
        }
        verb = self.rng.choice([*sorted(choices), "status", "status", "status", "sweep", "destroys", "tick"])
        if verb in ("status", "sweep"):
            await self._look(verb)
        elif verb == "destroys":
            await self._destroy()
        else:
            options = [action for action in possible(self.state, self.rules, HEART) if action[0] == verb]
            await self._one(self.rng.choice(options))

    async def _one(self, action: Action) -> None:
        requests = self.state.truth.requests
        self.model(*action)
        self.real.follow(self.state)
        if action[0] == "answer":
            number = int(action[1])
            self.real.answer(number, action[2], requests.get(number, ""))
        elif action[0] == "crash":
            self.model("restart")
            self.real.follow(self.state)
            await self.real.do(("restart",))
        else:
            await self.real.do(action)

    async def _look(self, verb: str) -> None:
        ids = sorted(self.state.truth.machines)
        complete = self.rng.random() < 0.8
        shown = ids if complete else [id_ for id_ in ids if self.rng.random() < 0.5]
        how = "complete" if complete else "incomplete"
        # The reads and the sweep of one run share its time.
        self.real.follow(a_step_later(self.state))
        self.real.provider.listing = (tuple(shown), complete)
        if verb == "sweep":
            await SweepJob(self.real.context, self.real.at).run()
            self.model("list", how, *shown)
            self.model("sweep")
            return
        # A new job knows of no read that settled nothing, and so reads again at once.
        await StatusJob(self.real.context, self.real.at).run()
        self.model("list", how, *shown)
        known = model.load(self.state.store, self.rules, self.state.now)
        for track in HEART.wants_proof(known, self.rules.settings, self.state.now):
            self.model("find" if track.instance.id in self.state.truth.machines else "read", track.instance.id)

    async def _destroy(self) -> None:
        how = self.rng.choice(("done", "done", "failed", "unheard", "claimed"))
        self.real.follow(a_step_later(self.state))
        self.real.provider.how = how
        await DestroysJob(self.real.context, self.real.at).run()
        tried = sorted(self.state.store.jobs)
        for id_ in tried:
            self.model("destroy", id_, how)
        if not tried:
            self.state = a_step_later(self.state)
        assert set(self.real.provider.machines) == set(self.state.truth.machines), self.done

    def _compare(self) -> None:
        self.real.follow(self.state)
        mine, rules, now = self.state.store, self.rules, self.state.now
        theirs = self.real.rows(mine)
        assert store_parts(theirs, now, rules) == store_parts(mine, now, rules), self.done
        for since in (now - TICK / 2, now - rules.hour):
            counted = self.real.store.run_sync(destroys.verdicts_since, ACCOUNT, since)
            assert counted == sum(moment >= since for moment in mine.verdicts), self.done
        seen, known = self.real.account_now(), model.load(mine, rules, now)
        for part in ("sessions", "tracks", "jobs", "bindings"):
            assert getattr(seen, part).keys() == getattr(known, part).keys(), (part, self.done)


def a_step_later(state: State) -> State:
    """The state, a step later: a run begins after what was before it."""
    return changed(state, now=state.now + STEP)


@pytest.mark.parametrize("seed", range(10))
def test_the_model_does_what_the_jobs_do(seed: int) -> None:
    asyncio.run(Lockstep(seed).walk(35))
