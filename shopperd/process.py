"""The process around a daemon: what signals ask for, and what systemd is told."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import linecache
import math
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import define
from prometheus_client import CollectorRegistry

from shopperd.clock import SystemClock
from shopperd.daemon import Daemon, open_spool
from shopperd.jobs.context import log
from shopperd.logs import configure_logging
from shopperd.secrets import read_store_password
from shopperd.settings import Settings, SettingsError
from shopperd.settings_file import load, store_url
from shopperd.store import Store, StoreError
from shopperd.systemd import Systemd
from shopperd.telemetry import Metrics, register_process_collectors

EXIT_OK, EXIT_FAILED, EXIT_CONFIGURATION = 0, 1, 2

LOOK_SECONDS = 5.0
"""The longest pause between two looks at whether the loops turn."""

LOOKS_PER_WATCHDOG = 3
"""So often within the watchdog's time: one look that comes late must not kill a process that is well."""

CLOSE_SECONDS = 25.0
"""What a stop may take beyond its drain: work that is cut off, answers under way, the store, the spool."""


COLLECT_SECONDS = 3600.0
"""Between two looks at all that there is for garbage. What no name refers to any more goes at once; this is for rings alone."""

NEVER = 2**30
"""So many collections of what is young come before one of everything."""


def settle_memory() -> None:
    """Spare the running daemon long collections of garbage: beside 100,000 machines one of everything takes a second, in which nobody
    is answered.

    What is there at the start stays to the end and is not looked through again; the sources of what attrs wrote, which only a
    traceback would show, do not. From now on, everything is looked through only when that is asked for.
    """
    gc.freeze()
    linecache.clearcache()
    gc.set_threshold(*gc.get_threshold()[:2], NEVER)


@define
class Process:
    """A daemon, from its first breath to its last."""

    daemon: Daemon
    systemd: Systemd
    config: Path | None
    environ: Mapping[str, str]
    _serves: bool = False
    _reload_asked: bool = False

    async def live(self) -> None:
        """Start, serve until a signal, and stop in good order.

        Raises:
            SettingsError, StoreError, OSError: as `Daemon.start`.
        """
        self._listen()
        watch: asyncio.Task[None] | None = None
        try:
            self.systemd.status("Starts: takes up the store.")
            await self.daemon.start()
            self.systemd.ready(self.daemon.sentence())
            self._serves = True
            settle_memory()
            watch = asyncio.create_task(self._watch(), name="watch")
            if self._reload_asked:
                self.reload()
            await self.daemon.wait()
        finally:
            self._serves = False
            drain = self.daemon.context.settings.drain_seconds
            self.systemd.stopping(
                f"Stops: lets what is under way finish, for up to {drain:g} s.", drain + CLOSE_SECONDS
            )
            await self.daemon.stop()
            if watch is not None:
                watch.cancel()

    def reload(self) -> None:
        """Take the configuration anew; one that is wrong is refused. One that is asked for at the start waits for its end."""
        if not self._serves:
            self._reload_asked = True
            return
        self._reload_asked = False
        self.systemd.reloading()
        try:
            self.daemon.reload(load(self.config, self.environ))
        except SettingsError as error:
            self.daemon.refuse(error)
        finally:
            self.systemd.ready(self.daemon.sentence())

    async def _watch(self) -> None:
        """Feed the watchdog for as long as every loop turns, keep the sentence about the daemon true, and look for garbage."""
        pause = min(LOOK_SECONDS, (self.systemd.watchdog_seconds or math.inf) / LOOKS_PER_WATCHDOG)
        clock = self.daemon.context.clock
        collected_at = clock.monotonic()
        while True:
            if clock.monotonic() >= collected_at + COLLECT_SECONDS:
                gc.collect()
                collected_at = clock.monotonic()
            health = self.daemon.health()
            if self.daemon.context.stopping:
                self.systemd.alive("Stops: lets what is under way finish.")
            elif health.alive:
                self.systemd.alive(self.daemon.sentence())
            else:
                self.systemd.status(f"Hangs: {'; '.join(health.reasons)}.")
                log.error("loops.hang", reasons=list(health.reasons))
            await clock.sleep(pause)

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        loop.add_signal_handler(signal.SIGUSR1, self.daemon.run_all_now)

    def _stop(self) -> None:
        if self.daemon.context.stopping:
            log.error("stopped.at_once", detail="a second signal; what was in flight is on disk")
            os._exit(EXIT_FAILED)
        self.daemon.request_stop()


async def _run(settings: Settings, config: Path | None, environ: Mapping[str, str]) -> int:
    clock = SystemClock()
    registry = CollectorRegistry()
    register_process_collectors(registry)
    metrics = Metrics(registry)
    systemd = Systemd.from_environment(environ, os.getpid())
    systemd.status("Starts: opens the store.")
    password = read_store_password(settings, environ)
    store = Store.open(
        store_url(settings, environ), clock=clock, metrics=metrics, password=None if password is None else password.get
    )
    daemon = Daemon(settings, store, metrics, clock, environ=environ, spool=open_spool(settings, environ))
    await Process(daemon, systemd, config, environ).live()
    return EXIT_OK


def run(config: Path | None, environ: Mapping[str, str] | None = None) -> int:
    """Run the daemon in the foreground until a signal ends it; the exit status."""
    environ = os.environ if environ is None else environ
    try:
        settings = load(config, environ)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - there is no log yet, and the operator waits at the terminal
        return EXIT_CONFIGURATION
    configure_logging(settings.log, sys.stdout)
    if sys.stderr is not None:
        faulthandler.enable()  # killed by a watchdog (SIGABRT), it says where it hung: lines of code, no values
    try:
        return asyncio.run(_run(settings, config, environ))
    except (StoreError, OSError) as error:
        log.error("start.failed", detail=str(error))
        return EXIT_FAILED
    except SettingsError as error:
        log.error("start.failed", detail=str(error))
        return EXIT_CONFIGURATION
