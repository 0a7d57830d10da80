"""Where the story is played: what the script may do, each act noted in the demo's own record before it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from uuid import UUID, uuid5

from attrs import define, field

from shopperd.clock import Clock
from shopperd.demo.belief import STATES_OVER
from shopperd.demo.clients import DaemonClient, Refused, Silent, SimulatorClient, epoch_seconds
from shopperd.demo.pace import Pace
from shopperd.demo.record import Asked, Conjured, Record, Role
from shopperd.demo.setting import Place
from shopperd.demo.truth import Machine, Request, Truth
from shopperd.demo.words import Voice, short

LOOK_SECONDS = 0.2
MAX_PRICE_PER_HOUR = 2.0

CONJURED_USD_PER_HOUR = 0.4

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKj5yZBSLGPyE5Dy1iYkZ1bXk1dGVzdGtleWZvcmRlbW9v demo@example.org"
"""TensorDock rents nothing without one. Nobody has its private half."""

_KEYS = UUID("6f2d1c9e-0f43-4a57-9a9d-5b1f6d1f7a10")
"""Names idempotency keys; any fixed UUID would do."""


class Teller(Protocol):
    """Takes one line of the demo's own."""

    def __call__(self, voice: Voice, text: str, account: str = "") -> None:
        """Tell it."""


@define
class Stage:
    """See the module.

    Attributes:
        tell: shows a line of the demo's own.
        kill_daemon: kills the daemon with SIGKILL, starts it again on the same store, and waits until it is ready.
    """

    pace: Pace
    clock: Clock
    daemon: DaemonClient
    simulators: tuple[SimulatorClient, ...]
    tell: Teller
    kill_daemon: Callable[[], Awaitable[None]]
    record: Record = field(factory=Record)
    _last_key: int = 0

    def now(self) -> float:
        """Epoch seconds, to compare with the simulators' log."""
        return self.clock.now().timestamp()

    def simulator(self, place: Place) -> SimulatorClient:
        """The simulator that serves an account."""
        return self.simulators[place.market]

    async def open(self, place: Place, purpose: str, *, keep: bool = False) -> Asked:
        """Ask for the cheapest machine of an account.

        Raises:
            Silent, Refused: the daemon would not for a long time.
        """
        wish: dict[str, Any] = {
            "account": place.name,
            "gpu_count": 1,
            "max_price_per_hour": MAX_PRICE_PER_HOUR,
            "ssh_key": PUBLIC_KEY,
        }
        self._last_key += 1
        made = await self.daemon.change("/sessions", wish, key=str(uuid5(_KEYS, str(self._last_key))))
        asked = Asked(
            id=made["id"],
            account=place.name,
            tag=made["tag"],
            purpose=purpose,
            keep=keep,
            expires_at=epoch_seconds(made["expires_at"]),
        )
        self.record.asked[asked.id] = asked
        self.tell(Voice.SCRIPT, f"asks for session {short(asked.id)}: {purpose}", place.name)
        return asked

    async def limit(self, asked: Asked, seconds: float) -> None:
        """Give a session so many seconds to live.

        Raises:
            Silent, Refused: the daemon would not for a long time.
        """
        # Before the request: the daemon may act on it before its answer is here.
        asked.expires_at = self.now() + seconds
        self.tell(Voice.SCRIPT, f"gives session {short(asked.id)} another {seconds:.0f} s to live", asked.account)
        made = await self.daemon.change(f"/sessions/{asked.id}/extend", {"lifetime": seconds})
        asked.expires_at = epoch_seconds(made["expires_at"])

    async def end(self, asked: Asked, why: str) -> None:
        """Ask for a session's end, as an operator does.

        Raises:
            Silent, Refused: the daemon would not for a long time.
        """
        # Before the request: the daemon may act on it before its answer is here.
        asked.end_asked_at = self.now()
        self.tell(Voice.SCRIPT, f"ends session {short(asked.id)}: {why}", asked.account)
        await self.daemon.change(f"/sessions/{asked.id}/end", {"reason": why})

    async def session(self, asked: Asked) -> Any:
        """A session as the daemon has it now; None if it does not answer."""
        try:
            return await self.daemon.get(f"/sessions/{asked.id}")
        except (Silent, Refused):
            return None

    async def wait_until(self, asked: Asked, *states: str, seconds: float) -> bool:
        """Wait for a session to reach one of the states; whether it did, in time and before it was over."""
        deadline = self.clock.monotonic() + seconds
        while self.clock.monotonic() < deadline:
            session = await self.session(asked)
            if session is not None and session["state"] in states:
                return True
            if session is not None and session["state"] in STATES_OVER:
                return False
            await self.clock.sleep(LOOK_SECONDS)
        return False

    async def fault(self, place: Place, name: str, **parameters: Any) -> None:
        """Let something go wrong at an account's marketplace."""
        await self.simulator(place).ask("POST", "/faults", {"name": name, "provider": place.provider, **parameters})

    async def conjure(self, place: Place, tag: str, role: Role, *, age_seconds: float = 0.0) -> str:
        """Put a machine into an account behind the daemon's back; its id."""
        at = self.now()
        wish = {
            "provider": place.provider,
            "tag": tag,
            "state": "running",
            "age_seconds": age_seconds,
            "price_per_hour": CONJURED_USD_PER_HOUR,
        }
        row = await self.simulator(place).ask("POST", "/instances", wish)
        self.record.conjured.append(Conjured(place.name, str(row["id"]), tag, role, at))
        return str(row["id"])

    async def take_away(self, place: Place, asked: Asked) -> str | None:
        """End a session's machine as a dying host does; its id, None if the session has none."""
        session = await self.session(asked)
        if session is None or session["instance_id"] is None:
            return None
        instance_id: str = session["instance_id"]
        asked.machine_lost_at = self.now()
        await self.simulator(place).ask("DELETE", f"/instances/{place.provider}/{instance_id}")
        return instance_id

    async def truth(self) -> Truth:
        """All that is true now."""
        now = 0.0
        machines: list[Machine] = []
        requests: list[Request] = []
        for simulator in self.simulators:
            at, found = await simulator.machines()
            now = max(now, at)
            machines.extend(found)
            requests.extend(await simulator.requests())
        return Truth(now, tuple(machines), tuple(requests))

    async def switch_off_faults(self) -> None:
        """Let everything be well again."""
        for simulator in self.simulators:
            await simulator.ask("DELETE", "/faults")
