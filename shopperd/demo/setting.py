"""The scene of the demo: which accounts there are, and the configuration that the daemon is started with. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from shopperd.demo.pace import Pace

VASTAI, TENSORDOCK = "vastai", "tensordock"

BUDGET_PER_HOUR = 200.0
"""USD; more than the demo ever rents, so that the share of it can be seen and nothing is refused."""

_HOOK_ENV = "DEMO_HOOK_SECRET"
_VAST_SPACING = {"list": 0.5, "offers": 6.0, "show": 1.0, "create": 5.5, "destroy": 3.0}
"""Seconds between calls at full scale. Published are 1, 6, 2, 4.5 and 3."""

_DOCK_SPACING = 0.72
"""Between any two calls, at full scale: a little more than the published 100 a minute."""


HOOK_SECRET = "not-a-real-secret-of-a-hook"  # noqa: S105  # only the demo takes it
HOOK_EVENTS = ("session.", "orphan.")
"""What a hook is told if nobody says otherwise: the beginnings of the kinds."""


@frozen
class Place:
    """One account of the demo.

    Attributes:
        market: number of the simulator that serves it. The second TensorDock account has one of its own: in one simulator
            all keys of a provider see the same machines, as all members of one organisation do.
        api: TensorDock's dialect.
        secrets: keys of the account's table, and the environment variables that they name.
    """

    name: str
    provider: str
    market: int
    secrets: Mapping[str, str]
    api: str | None = None


VAST = Place("vast-demo", VASTAI, 0, {"api_key_env": "DEMO_VAST_KEY"})
DOCK = Place("td-demo", TENSORDOCK, 0, {"api_token_env": "DEMO_DOCK_TOKEN"}, api="v2")
DOCK_V0 = Place(
    "td-v0-demo", TENSORDOCK, 1, {"api_token_env": "DEMO_DOCK_V0_TOKEN", "auth_id_env": "DEMO_DOCK_V0_ID"}, api="v0"
)
PLACES = (VAST, DOCK, DOCK_V0)
MARKETS = 1 + max(place.market for place in PLACES)


@frozen
class Market:
    """Where one simulator listens: origins."""

    vastai_url: str
    tensordock_url: str
    control_url: str

    def origin(self, provider: str) -> str:
        """What an account's `base_url` is."""
        return self.vastai_url if provider == VASTAI else self.tensordock_url


def place_of(market: int, provider: str) -> Place | None:
    """The account that a simulator's machines of a provider belong to."""
    return next((place for place in PLACES if (place.market, place.provider) == (market, provider)), None)


def fake_secrets() -> dict[str, str]:
    """Keys that only a simulator takes, by environment variable."""
    names = [name for place in PLACES for name in place.secrets.values()]
    return {name: f"not-a-real-secret-{number}" for number, name in enumerate(names, 1)} | {_HOOK_ENV: HOOK_SECRET}


def configuration(pace: Pace, markets: Sequence[Market], folder: Path, port: int, hook_url: str) -> str:
    """The daemon's configuration file."""
    hook = ["[hooks.demo]", f'url = "{hook_url}"', f'secret_env = "{_HOOK_ENV}"', ""]
    return "\n".join([*_accounts(markets, pace), *hook, *_rules(pace, folder, port), ""])


def _accounts(markets: Sequence[Market], pace: Pace) -> list[str]:
    lines: list[str] = []
    for place in PLACES:
        lines += [
            f"[accounts.{place.name}]",
            f'provider = "{place.provider}"',
            f'base_url = "{markets[place.market].origin(place.provider)}"',
            *([f'api = "{place.api}"'] if place.api else []),
            *(f'{key} = "{name}"' for key, name in place.secrets.items()),
            f"request_timeout = {pace.request_timeout}",
            f"budget_per_hour = {BUDGET_PER_HOUR}",
            "",
        ]
        lines += [f"[accounts.{place.name}.limits]", *_limits(place.provider, pace), ""]
    return lines


def _limits(provider: str, pace: Pace) -> list[str]:
    """Where the limiter starts.

    Vast.ai's lists and reads begin too fast, so that there is something to learn. Creates do not: a 429 to one leaves open
    whether a machine was rented, and costs a session its create deadline.
    """
    spacing = _VAST_SPACING if provider == VASTAI else {"shared": _DOCK_SPACING}
    return [f"{key} = {seconds * pace.rate_scale:.3f}" for key, seconds in spacing.items()]


def _rules(pace: Pace, folder: Path, port: int) -> list[str]:
    return [
        "[jobs]",
        f"status = {{ interval = {pace.status} }}",
        f"sweep = {{ interval = {pace.sweep} }}",
        f"offers = {{ interval = {pace.offers} }}",
        "",
        "[orphans]",
        f"sightings = {pace.sightings}",
        f"grace = {pace.grace}",
        "# A round of the story has more orphans than an hour of real life may have.",
        "max_share_per_hour = 1.0",
        "",
        "[destroys]",
        f"retry_min = {pace.retry}",
        f"retry_max = {pace.retry_max}",
        "",
        "[sessions]",
        f"create_deadline = {pace.create_deadline}",
        "",
        "[web]",
        f'listen = "127.0.0.1:{port}"',
        "",
        "[store]",
        f"url = {json.dumps(f'sqlite:///{folder}/shopperd.db')}",
        "",
        "[log]",
        'format = "json"',
    ]
