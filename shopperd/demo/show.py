"""The demo from the first process to the last: starts the cast, plays the story, shows it, compares, and cleans up."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping

import aiohttp
from attrs import define, field, frozen
from rich.console import Console

from shopperd.clock import Clock
from shopperd.demo.belief import Happening
from shopperd.demo.board import Board
from shopperd.demo.cast import READY_SECONDS, Cast
from shopperd.demo.clients import DaemonClient, Refused, Silent, SimulatorClient, epoch_seconds
from shopperd.demo.comparison import Outcome, compare
from shopperd.demo.pace import ROUND_SECONDS, TROUBLES_SHARE, Pace, pace_for
from shopperd.demo.processes import ChildError
from shopperd.demo.screen import Screen, print_plainly, screen_for, show_rows
from shopperd.demo.script import BEATS, Round, calm, due, make_room, prepare
from shopperd.demo.setting import PLACES
from shopperd.demo.stage import Stage
from shopperd.demo.words import Line, Voice, line_of

TICK_SECONDS = 0.25
ACCOUNTS_EVERY_TICKS = 4
DOWN_SECONDS = 1.0
"""How long the daemon stays dead, so that it can be seen."""

COMPARE_SECONDS = 0.5
READY_POLL_SECONDS = 0.1
TAIL_LINES = 25
STORY_SECONDS_SPARE = 60.0
"""What the beats may take beyond their time, all patience included, before the story is given up."""


class StoryError(Exception):
    """The story could not be played on; the text says at what."""


@frozen
class Options:
    """What the command was given. `seconds` None: over and over, until it is interrupted. `program`: how to call shopperd here."""

    port: int = 0
    seconds: float | None = None
    seed: int = 0
    program: str = "shopperd"


@define
class Show:
    """One run of the demo.

    Attributes:
        started: the clock's monotonic seconds at which the first process was started; `began`, at which the story was.
        trail: the daemon's audit trail as far as it was read.
        keep_logs: there is something in the logs to look for; cleared when all went well.
    """

    options: Options
    console: Console
    clock: Clock
    cast: Cast
    pace: Pace
    board: Board
    screen: Screen
    started: float = 0.0
    began: float = 0.0
    trail: list[Happening] = field(factory=list)
    stage: Stage | None = None
    keep_logs: bool = True

    # --- telling ----------------------------------------------------------------------------------------------

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock.monotonic() - self.started

    def tell(self, voice: Voice, text: str, account: str = "") -> None:
        """A line of the demo's own."""
        self.screen.tell(Line(self.elapsed(), voice, text, account))

    async def _watch(self, daemon: DaemonClient) -> None:
        """Keep the board up to date for as long as the story goes on."""
        ticks = 0
        while True:
            self.board.elapsed = self.elapsed()
            try:
                await self._read_trail(daemon)
                if ticks % ACCOUNTS_EVERY_TICKS == 0:
                    self.board.accounts = await daemon.accounts()
                self.board.daemon_up = True
            except (Silent, Refused):
                self.board.daemon_up = False
            ticks += 1
            self.screen.refresh()
            await self.clock.sleep(TICK_SECONDS)

    async def _read_trail(self, daemon: DaemonClient) -> None:
        after = self.trail[-1].id if self.trail else 0
        for happening in await daemon.trail(after):
            # Two readers may have asked at the same time.
            if not self.trail or happening.id > self.trail[-1].id:
                self.trail.append(happening)
                self.screen.tell(line_of(happening, self._moment(happening)))

    def _moment(self, happening: Happening) -> float:
        """When it happened, not when it was read: the daemon may have been dead in between."""
        at = epoch_seconds(happening.at)
        ago = 0.0 if at is None else self.clock.now().timestamp() - at
        return self.elapsed() - ago

    # --- playing ----------------------------------------------------------------------------------------------

    async def play(self, session: aiohttp.ClientSession) -> Outcome:
        """The whole story; what the comparison at its end came to. An endless one ends only by being cancelled.

        Raises:
            ChildError, StoryError: it could not be played.
        """
        self.started = self.clock.monotonic()
        markets = await self.cast.open_markets()
        daemon = DaemonClient(session, self.clock)
        simulators = tuple(SimulatorClient(session, number, market) for number, market in enumerate(markets))
        self.stage = stage = Stage(
            self.pace, self.clock, daemon, simulators, self.tell, kill_daemon=lambda: self._kill(daemon)
        )
        self.board.controls = tuple(market.control_url for market in markets)
        await prepare(stage)
        await self._become_ready(daemon, await self.cast.start_daemon())
        await self._have_markets(daemon)
        self._say_where()
        self.began = self.clock.monotonic()
        watch = asyncio.create_task(self._watch(daemon))
        try:
            while self.options.seconds is None:
                await self._tell_story(stage)
                await self._rest()
                await make_room(stage)
            await self._tell_story(stage)
            return await self._settle(stage)
        except (Silent, Refused) as error:
            raise StoryError(str(error)) from error
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    def _say_where(self) -> None:
        url = self.board.url
        self.tell(
            Voice.SCRIPT, f"the daemon is ready: status page {url}/   API {url}/api/v1/status   metrics {url}/metrics"
        )
        self.tell(
            Voice.SCRIPT,
            f"in another terminal: SHOPPERD_URL={url} {self.options.program} status   (or orphans, plan, events --follow)",
        )
        for number, control in enumerate(self.board.controls, 1):
            self.tell(Voice.SCRIPT, f"simulator {number}: the truth is at {control}/_sim/state")

    async def _become_ready(self, daemon: DaemonClient, url: str) -> None:
        daemon.url = self.board.url = url
        deadline = self.clock.monotonic() + READY_SECONDS
        while not await daemon.ready():
            if self.clock.monotonic() >= deadline:
                raise ChildError(f"the daemon was not ready within {READY_SECONDS:.0f} s", self.cast.daemon_tail)
            await self.clock.sleep(READY_POLL_SECONDS)
        self.board.daemon_up = True

    async def _have_markets(self, daemon: DaemonClient) -> None:
        """Wait until something can be rented in every account."""
        deadline = self.clock.monotonic() + READY_SECONDS
        while True:
            with contextlib.suppress(Silent):
                self.board.accounts = await daemon.accounts()
                if all(account.offers for account in self.board.accounts):
                    return
            if self.clock.monotonic() >= deadline:
                raise ChildError(f"no offers within {READY_SECONDS:.0f} s", self.cast.daemon_tail)
            self.screen.refresh()
            await self.clock.sleep(TICK_SECONDS)

    async def _kill(self, daemon: DaemonClient) -> None:
        await self.cast.kill_daemon()
        self.board.daemon_up = False
        await self.clock.sleep(DOWN_SECONDS)
        await self._become_ready(daemon, await self.cast.restart_daemon())

    async def _tell_story(self, stage: Stage) -> None:
        """One round: every beat at its time, then calm."""
        self.board.phase = "troubles are on"
        began = self.clock.monotonic()
        round_ = Round({})
        try:
            async with asyncio.timeout(self.pace.troubles + STORY_SECONDS_SPARE), asyncio.TaskGroup() as group:
                before = -1.0
                for beat in due(BEATS, before, TROUBLES_SHARE):
                    await self.clock.sleep(began + beat.share * self.pace.length - self.clock.monotonic())
                    task = group.create_task(beat.play(stage, round_), name=beat.name)
                    if beat.share < BEATS[2].share:
                        # The sessions that everything is about come first, one after the other.
                        await task
                await self.clock.sleep(began + self.pace.troubles - self.clock.monotonic())
        except TimeoutError as error:
            raise StoryError("a beat of the story took far too long") from error
        except ExceptionGroup as group_of_errors:
            _, unknown = group_of_errors.split((Silent, Refused, ChildError))
            if unknown is not None:
                raise
            raise StoryError(str(group_of_errors.exceptions[0])) from group_of_errors
        await calm(stage)

    async def _rest(self) -> None:
        self.board.phase = "belief and truth come together"
        await self.clock.sleep(self.pace.length - self.pace.troubles)

    async def _settle(self, stage: Stage) -> Outcome:
        """Wait until all agree, at least for the length asked for and at most for the bound; the last comparison."""
        self.board.phase = "belief and truth come together"
        bound: float = (await stage.daemon.get("/status"))["orphan_bound_seconds"]
        now = self.clock.monotonic()
        until = self.began + self.pace.length
        latest = max(until, now + self.pace.settle_max(bound))
        self.tell(
            Voice.SCRIPT,
            f"waits for belief and truth to agree; an orphan is gone within {bound:.0f} s by shopperd's published bound, "
            f"so this takes {latest - now:.0f} s at most",
        )
        while True:
            outcome = await self._compare(stage)
            now = self.clock.monotonic()
            # What was destroyed wrongfully stays so: then there is nothing to wait for either.
            decided = outcome is not None and (outcome.passed or bool(outcome.wrongful))
            if now >= latest or (now >= until and decided):
                break
            await self.clock.sleep(COMPARE_SECONDS)
        if outcome is None:
            raise StoryError("the daemon does not answer at the end")
        return outcome

    async def _compare(self, stage: Stage) -> Outcome | None:
        try:
            await self._read_trail(stage.daemon)
            belief = await stage.daemon.belief(tuple(self.trail))
        except (Silent, Refused):
            return None
        stage.record.heard = frozenset(self.cast.listener.heard)
        return compare([place.name for place in PLACES], stage.record, belief, await stage.truth())

    # --- the end ----------------------------------------------------------------------------------------------

    async def so_far(self) -> Outcome | None:
        """The comparison at the moment of an interruption, which may well come in the middle of something."""
        if self.stage is None or not self.stage.daemon.url:
            return None
        try:
            return await self._compare(self.stage)
        except (Silent, Refused):
            return None

    def sum_up(self, outcome: Outcome) -> int:
        """Print the summary; the exit status."""
        say = self._say
        say("")
        say(f"shopperd demo: {self.elapsed():.0f} s, seed {self.options.seed}")
        show_rows(self.console, outcome.rows)
        for sentence in outcome.wrongful:
            say(f"WRONGFUL DESTROY  {sentence}")
        for sentence in outcome.differences:
            say(f"DIFFERENCE  {sentence}")
        self.keep_logs = not outcome.passed
        if outcome.passed:
            say("Belief and truth agree, and nothing was destroyed wrongfully.")
            return 0
        say(f"Belief and truth do not agree. The daemon's log: {self.cast.daemon_log}")
        return 1

    def sum_up_interrupted(self, outcome: Outcome | None) -> int:
        """Print what can be said in the middle of the story; the exit status."""
        self._say("")
        self._say(f"shopperd demo: interrupted after {self.elapsed():.0f} s, perhaps in the middle of something")
        self.keep_logs = outcome is not None and bool(outcome.wrongful)
        if outcome is not None:
            show_rows(self.console, outcome.rows)
            for sentence in outcome.wrongful:
                self._say(f"WRONGFUL DESTROY  {sentence}")
        if self.keep_logs:
            self._say(f"The daemon's log: {self.cast.daemon_log}")
        return 1 if self.keep_logs or self.options.seconds is not None else 0

    def sum_up_broken(self, error: ChildError | StoryError) -> int:
        """Print why the story could not be told to its end; the exit status."""
        tail = error.tail if isinstance(error, ChildError) else self.cast.daemon_tail
        for line in tail.splitlines()[-TAIL_LINES:]:
            self._say(f"  | {line}")
        self._say(f"The demo could not go on: {error}. The logs: {self.cast.folder}")
        return 1

    def _say(self, text: str) -> None:
        print_plainly(self.console, text)


async def run(options: Options, console: Console, clock: Clock, environ: Mapping[str, str]) -> int:
    """The whole demo; the exit status. Its processes are ended and its folder is removed whatever happens."""
    pace = pace_for(options.seconds if options.seconds is not None else ROUND_SECONDS)
    board = Board(length=options.seconds)
    cast = Cast(pace, options.seed, options.port, environ, clock)
    show = Show(options, console, clock, cast, pace, board, screen_for(console, board))
    try:
        return await _run(show)
    finally:
        await cast.close(keep_logs=show.keep_logs)


async def _run(show: Show) -> int:
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session:
        with show.screen:
            story = asyncio.create_task(show.play(session))
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, story.cancel)
            await asyncio.wait([story])
        if story.cancelled():
            return show.sum_up_interrupted(await show.so_far())
        try:
            outcome = story.result()
        except (ChildError, StoryError) as error:
            return show.sum_up_broken(error)
        return show.sum_up(outcome)
