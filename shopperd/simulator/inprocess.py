"""The door without sockets: requests of a caller in the same process, in the caller's own time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from shopperd.simulator.exchange import Answer, Request
from shopperd.simulator.world import World


class DroppedError(ConnectionResetError):
    """The connection was cut; whether the request had an effect is for the caller to find out."""


@frozen
class InProcess:
    """Serve requests by a plain call, or with their delays and cut connections acted out.

    Attributes:
        now: the caller's clock, epoch seconds.
        sleep: how a delay is waited for; a virtual clock's sleep makes it free.
    """

    world: World
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]

    def handle(self, provider: str, request: Request, now: float | None = None) -> Answer:
        """The answer with its delay and drop still to be carried out."""
        return self.world.handle(provider, request, self.now() if now is None else now)

    async def exchange(self, provider: str, request: Request) -> Answer:
        """The answer after its delay.

        Raises:
            DroppedError: the connection was cut instead.
        """
        answer = self.handle(provider, request)
        if answer.delay_seconds > 0:
            await self.sleep(answer.delay_seconds)
        if answer.drop is not None:
            raise DroppedError(f"connection dropped ({answer.drop})")
        return answer
