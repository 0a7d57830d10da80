"""`config.example.toml` as types: what an operator may set, its unit, its default and the reason for it.

Durations are seconds. Defaults are the ones that ship; a test compares them with the example file. `shopperd.settings_file`
reads files and the environment into these types, and is where they are checked.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from attrs import Factory, field, frozen

DURATION_SECONDS_MAX = 100 * 365 * 86400.0
"""A hundred years: beyond it, adding to a date could overflow."""

INTERVAL_SECONDS_MIN = 0.05
"""Shorter intervals would only be a busy loop; tests use this one."""

_UNIT_SECONDS = {"w": 7 * 86400.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile("".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit}(?![a-z]))?" for unit in _UNIT_SECONDS))
_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:\[\]/@]+)):(\d{1,5})")


@frozen
class Problem:
    """One thing that is wrong with the settings.

    Attributes:
        place: where, such as ``accounts.vast-main.limits.list`` or ``environment SHOPPERD_ORPHANS__MODE``.
        message: what is wrong and what is allowed; never a secret.
    """

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class SettingsError(Exception):
    """The settings cannot be used. `problems` holds all that is wrong, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@frozen
class Bounds:
    """What a number may be, both ends included. `seconds`: a duration, which may also be text such as ``"5m"``."""

    least: float = 0.0
    most: float = math.inf
    seconds: bool = False


Duration = Annotated[float, Bounds(0.0, DURATION_SECONDS_MAX, seconds=True)]
Interval = Annotated[float, Bounds(INTERVAL_SECONDS_MIN, DURATION_SECONDS_MAX, seconds=True)]
Share = Annotated[float, Bounds(0.0, 1.0)]
Dollars = Annotated[float, Bounds()]
Count = Annotated[int, Bounds(0, 1_000_000)]
Times = Annotated[int, Bounds(1, 1_000)]


def parse_duration(value: float | str) -> float:
    """Seconds from a number, a number as text, or text such as ``250ms``, ``90s``, ``5m``, ``1h30m``, ``2d``, ``1w``.

    Raises:
        ValueError: it is none of these, negative, not finite, or longer than `DURATION_SECONDS_MAX`.
    """
    seconds = math.nan
    text = value.strip() if isinstance(value, str) else ""
    if text and (match := _DURATION.fullmatch(text)):
        parts = zip(match.groups(), _UNIT_SECONDS.values(), strict=True)
        seconds = math.fsum(float(number) * size for number, size in parts if number)
    elif not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            seconds = float(value)
    if not 0.0 <= seconds <= DURATION_SECONDS_MAX:
        raise ValueError("a duration is a number of seconds or text such as 90s, 5m, 1h30m; at most a hundred years")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest usual text for a duration, such as ``1h30m``; `parse_duration` reads it back."""
    if seconds != int(seconds):
        text = f"{round(seconds * 1000)}ms"
        if seconds < 1 and parse_duration(text) == seconds:
            return text
        # A very small number is written with an exponent, which goes with no unit.
        return repr(seconds) if "e" in repr(seconds) else f"{seconds!r}s"
    rest, parts = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


@frozen
class SecretSource:
    """Where a secret is: an environment variable or a file. The value itself is read by `shopperd.secrets`, never kept here."""

    env: str | None = None
    file: Path | None = None


@frozen
class LimitSettings:
    """Starting intervals of the limiter, in seconds.

    Attributes:
        list, offers, show, create, destroy: between two calls of this kind; left out, what the provider publishes.
        shared: between any two calls of the account; left out, what is published, but never longer than the shortest interval that
            is set here.
        learn: off makes it the plain limiter: these intervals hold whatever happens.
        pause: how long a refusal shuts what it is about while `learn` is off, or longer if it says so.
    """

    list: Duration | None = None
    offers: Duration | None = None
    show: Duration | None = None
    create: Duration | None = None
    destroy: Duration | None = None
    shared: Duration | None = None
    learn: bool = True
    pause: Duration = 30.0


@frozen
class AccountSettings:
    """One set of credentials at one marketplace.

    Attributes:
        base_url: an origin without a path; None for the provider's own.
        secrets: by the provider's word for them: ``api_key``; ``api_token``, ``auth_id``.
        api: the dialect, where a provider has several (tensordock: ``v2``, ``v0``).
        exclusive: nobody else uses tags of our form in this account, so that an unknown one can be a verdict.
        budget_per_hour: USD; 0 = no limit. A create that would pass it is refused.
        request_timeout: seconds that one request may take in all.
        options: what a plug-in understands, passed on as it is.
    """

    name: str
    provider: str
    enabled: bool = True
    base_url: str | None = None
    api: str | None = None
    secrets: Mapping[str, SecretSource] = Factory(dict)
    exclusive: bool = False
    budget_per_hour: Dollars = 0.0
    request_timeout: Interval = 120.0
    limits: LimitSettings = LimitSettings()
    options: Mapping[str, Any] = Factory(dict)


@frozen
class JobSettings:
    """One periodic job. `interval` in seconds."""

    interval: Interval
    enabled: bool = True


@frozen
class JobsSettings:
    """The periodic jobs of every account."""

    offers: JobSettings = JobSettings(60.0)
    status: JobSettings = JobSettings(20.0)
    sweep: JobSettings = JobSettings(120.0)
    housekeeping: JobSettings = JobSettings(3600.0)


@frozen
class OrphanSettings:
    """When a verdict of the sweep may become an act.

    Attributes:
        mode: ``report`` looks and tells, and destroys nothing.
        sightings: complete snapshots, in a row, that must agree; at least 1.
        grace: seconds since the instance was first seen.
        max_destroys_per_sweep, max_share_per_sweep: the larger of the two counts; both 0 = nothing may be destroyed.
        max_share_per_hour: 1.0 = no hourly limit; never below a sweep's limit.
        observe_sweeps: sweeps that only look, after a start with a new or changed store.
    """

    mode: Literal["destroy", "report"] = "destroy"
    sightings: Times = 3
    grace: Duration = 300.0
    max_destroys_per_sweep: Count = 3
    max_share_per_sweep: Share = 0.10
    max_share_per_hour: Share = 0.20
    observe_sweeps: Count = 1


RETRY_STUCK_TIMES = 6
"""Unless it is set, a stuck destroy is repeated so much more slowly than at the slowest ordinary pace: an hour with the defaults."""


@frozen
class DestroySettings:
    """How a destroy is repeated until its instance is proven gone.

    Attributes:
        retry_min, retry_max: seconds from try to try, doubling from the first to the last.
        stuck_attempts, stuck_after: from so many requests on, or so many seconds without proof, it counts as stuck.
        retry_stuck: seconds from try to try of a stuck one; left out, six times `retry_max`.
    """

    retry_min: Interval = 5.0
    retry_max: Interval = 600.0
    stuck_attempts: Times = 20
    stuck_after: Interval = 86400.0
    retry_stuck: Interval = field(
        default=Factory(lambda self: min(self.retry_max * RETRY_STUCK_TIMES, DURATION_SECONDS_MAX), takes_self=True)
    )


@frozen
class SessionSettings:
    """Deadlines of sessions, in seconds.

    Attributes:
        max_lifetime: 0 = none.
        create_deadline: how long an unclear create is looked for.
        resurrection_window: how long a lost session takes its instance back.
        create_attempts: offers that one session may try, if they are refused as unavailable.
    """

    max_lifetime: Duration = 0.0
    create_deadline: Interval = 600.0
    resurrection_window: Duration = 86400.0
    create_attempts: Times = 3


@frozen
class HookSettings:
    """Where events are sent as they happen.

    Attributes:
        url: https, or http to this machine; its path may be as good as a key, so it is shown to nobody.
        secret: what the deliveries are signed with.
        events: the kinds that are sent: ``*``, ``session.*``, ``orphan.detected``.
        timeout: seconds that one delivery may take in all.
    """

    name: str
    url: str = field(repr=lambda url: repr(shown_url(url)))
    secret: SecretSource
    enabled: bool = True
    events: tuple[str, ...] = ("session.*", "orphan.*")
    timeout: Interval = 10.0


def shown_url(url: str) -> str:
    """A hook's URL for people: its origin alone."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "..."
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/..."


def is_loopback(host: str) -> bool:
    """Whether only this machine can be meant. A name other than ``localhost`` is not trusted to be it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_listen(listen: str) -> tuple[str, int]:
    """Host and port of ``host:port``, ``[::1]:port``.

    Raises:
        ValueError: it is neither.
    """
    match = _LISTEN.fullmatch(listen)
    if match is None or int(match[3]) > 65535:
        raise ValueError("must be host:port, such as 127.0.0.1:9877 or [::1]:9877")
    return match[1] or match[2], int(match[3])


@frozen
class WebSettings:
    """The listener. Changes need the token of `token_file`, unless it listens on loopback and none is set."""

    listen: str = "127.0.0.1:9877"
    token_file: Path | None = None

    @property
    def host(self) -> str:
        """The address or name to listen on, an IPv6 one without its brackets."""
        return split_listen(self.listen)[0]

    @property
    def port(self) -> int:
        """The port; 0 lets the system choose."""
        return split_listen(self.listen)[1]

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the listener."""
        return is_loopback(self.host)


@frozen
class StoreSettings:
    """Where the store is, as an SQLAlchemy URL; None for the state folder.

    Attributes:
        password_file: where the password for PostgreSQL is, if not in the URL.
        keep_events: seconds that the audit trail is kept.
        keep_sessions: seconds that ended sessions are kept; their ids are kept as tombstones for ever.
        keep_prices: seconds that the prices of GPUs are kept.
        keep_costs: seconds that it is kept what each machine cost.
        spool: the file with room set aside for what must be kept while the store takes nothing; None for one beside an SQLite
            store, or in the state folder.
    """

    url: str | None = field(default=None, repr=lambda url: "None" if url is None else url.split(":", 1)[0] + "://...")
    password_file: Path | None = None
    keep_events: Interval = 90 * 86400.0
    keep_sessions: Interval = 90 * 86400.0
    keep_prices: Interval = 30 * 86400.0
    keep_costs: Interval = 400 * 86400.0
    spool: Path | None = None


@frozen
class LogSettings:
    """Log lines. ``auto`` is console on a terminal, else JSON lines on stdout."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


@frozen
class Settings:
    """Everything that an operator may set, checked."""

    deployment: str = ""
    accounts: Mapping[str, AccountSettings] = Factory(dict)
    hooks: Mapping[str, HookSettings] = Factory(dict)
    jobs: JobsSettings = JobsSettings()
    orphans: OrphanSettings = OrphanSettings()
    destroys: DestroySettings = DestroySettings()
    sessions: SessionSettings = SessionSettings()
    web: WebSettings = WebSettings()
    store: StoreSettings = StoreSettings()
    log: LogSettings = LogSettings()
    drain_seconds: Duration = 30.0
    source: Path | None = None
