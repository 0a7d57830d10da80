"""How the demo speaks to the daemon's API and to the simulators' control APIs, as any user's script would."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from shopperd.clock import Clock
from shopperd.demo.belief import Belief, Happening, instances_of, orphans_of, sessions_of, trail_of
from shopperd.demo.board import AccountView
from shopperd.demo.setting import Market, place_of
from shopperd.demo.truth import Machine, Request, machine_of, request_of

ANSWER_SECONDS = 10.0
PATIENCE_SECONDS = 120.0
"""How long a change is tried again: the daemon may be dead for a while, and a market may not be read yet."""

AGAIN_SECONDS = 0.25
PAGE = 500
PAGES_MAX = 1000

READY_STATUS = 200
_TRY_AGAIN = frozenset({409, 500, 503})
_ERRORS_FROM = 400

INTERVALS_METRIC = "shopperd_ratelimit_interval_seconds"


class Silent(Exception):
    """Nobody answers at that URL now."""


class Refused(Exception):
    """The request was answered with an error; the text has its status and words."""


async def _json(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    params: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any]:
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with session.request(method, url, params=params, json=body, headers=headers, timeout=timeout) as answer:
            return answer.status, await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Silent(f"{method} {url}: {type(error).__name__}") from error


class DaemonClient:
    """The daemon's API. `url` changes when the daemon comes back on another port."""

    def __init__(self, session: aiohttp.ClientSession, clock: Clock) -> None:
        self.url = ""
        self._session = session
        self._clock = clock

    async def get(self, path: str, **params: str) -> Any:
        """A read.

        Raises:
            Silent: the daemon does not answer.
            Refused: it answered with an error.
        """
        status, content = await _json(self._session, "GET", f"{self.url}/api/v1{path}", params=params)
        if status >= _ERRORS_FROM:
            raise Refused(f"GET {path}: {status} {content}")
        return content

    async def list(self, path: str, **params: str) -> list[Any]:
        """Every item of a list, over all its pages."""
        items: list[Any] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            more = {"cursor": cursor} if cursor is not None else {}
            page = await self.get(path, **params, **more)
            items.extend(page["items"])
            cursor = page.get("next")
            if cursor is None:
                break
        return items

    async def change(self, path: str, body: Mapping[str, Any], *, key: str | None = None) -> Any:
        """A change, repeated while the daemon is away or not able yet. Every one that the demo makes may be repeated.

        Raises:
            Silent, Refused: it could not be made within `PATIENCE_SECONDS`.
        """
        headers = {"Idempotency-Key": key} if key is not None else None
        deadline = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                url = f"{self.url}/api/v1{path}"
                status, content = await _json(self._session, "POST", url, body=body, headers=headers)
            except Silent:
                if self._clock.monotonic() >= deadline:
                    raise
            else:
                if status < _ERRORS_FROM:
                    return content
                if status not in _TRY_AGAIN or self._clock.monotonic() >= deadline:
                    raise Refused(f"POST {path}: {status} {content}")
            await self._clock.sleep(AGAIN_SECONDS)

    async def ready(self) -> bool:
        """Whether `/readyz` says so."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        try:
            async with self._session.get(f"{self.url}/readyz", timeout=timeout) as answer:
                return answer.status == READY_STATUS
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def trail(self, after: int) -> tuple[Happening, ...]:
        """The rows of the audit trail with a number above `after`."""
        rows: list[Happening] = []
        for _ in range(PAGES_MAX):
            page = await self.get("/events", after=str(after), limit=str(PAGE))
            fresh = trail_of(page["items"])
            rows.extend(fresh)
            if len(fresh) < PAGE:
                break
            after = fresh[-1].id
        return tuple(rows)

    async def belief(self, trail: tuple[Happening, ...]) -> Belief:
        """All that the daemon believes now, beside the trail that was read."""
        return Belief(
            sessions=sessions_of(await self.list("/sessions", limit=str(PAGE))),
            instances=instances_of(await self.list("/instances")),
            orphans=orphans_of(await self.list("/orphans")),
            trail=trail,
        )

    async def accounts(self) -> tuple[AccountView, ...]:
        """How the accounts stand, with the spacing of calls that the limiter has learned."""
        spacing = await self._spacing()
        return tuple(
            AccountView(
                name=row["name"],
                provider=row["provider"],
                healthy=row["healthy"],
                reason=row["reason"] or "",
                snapshot_age_seconds=row["snapshot_age_seconds"],
                instances=row["instances"],
                sessions=row["sessions"],
                orphans=row["orphans"],
                burn_per_hour=row["burn_per_hour"] or 0.0,
                offers=row["offers"],
                limits=spacing.get(row["name"], {}),
            )
            for row in await self.list("/accounts")
        )

    async def _spacing(self) -> dict[str, dict[str, float]]:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        try:
            async with self._session.get(f"{self.url}/metrics", timeout=timeout) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Silent(f"GET /metrics: {type(error).__name__}") from error
        spacing: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(text):
            if family.name == INTERVALS_METRIC:
                for sample in family.samples:
                    spacing.setdefault(sample.labels["account"], {})[sample.labels["endpoint"]] = sample.value
        return spacing


class SimulatorClient:
    """One simulator's control API."""

    def __init__(self, session: aiohttp.ClientSession, number: int, market: Market) -> None:
        self.number = number
        self.market = market
        self._session = session
        self._requests: list[Request] = []
        self._read_up_to = 0

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, **params: str) -> Any:
        """One request below `/_sim`.

        Raises:
            Silent, Refused: there is no simulator, or it would not.
        """
        url = f"{self.market.control_url}/_sim{path}"
        status, content = await _json(self._session, method, url, params=params, body=body)
        if status >= _ERRORS_FROM:
            raise Refused(f"{method} /_sim{path}: {status} {content}")
        return content

    async def machines(self) -> tuple[float, tuple[Machine, ...]]:
        """The world's time, and every machine of the demo's accounts that exists or existed."""
        state = await self.ask("GET", "/state")
        found = []
        for row in state["instances"]:
            place = place_of(self.number, row["provider"])
            if place is not None:
                found.append(machine_of(place.name, row))
        return float(state["now"]), tuple(found)

    async def requests(self) -> tuple[Request, ...]:
        """Every request of the demo's accounts so far."""
        for _ in range(PAGES_MAX):
            page = await self.ask("GET", "/requests", after=str(self._read_up_to))
            rows = page["requests"]
            if not rows:
                break
            self._read_up_to = rows[-1]["n"]
            for row in rows:
                place = place_of(self.number, row["provider"])
                if place is not None:
                    self._requests.append(request_of(place.name, row))
        return tuple(self._requests)


def epoch_seconds(text: str | None) -> float | None:
    """An RFC 3339 time as epoch seconds."""
    return datetime.fromisoformat(text).timestamp() if text else None
