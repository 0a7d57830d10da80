"""Who gave wrong tokens lately. A guesser gets a few tries a minute, and the log a few lines.

Whoever shares an address with a guesser, behind one proxy, waits with it. Stopping the daemon stops everything at once, and needs no
token.
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field

TRIES = 10
"""Wrong tokens that are answered in a row: a person with a typo, or a tool with an old token, needs fewer."""

SECONDS_PER_TRY = 6.0
"""After those, one more try comes back in this time."""

PEERS_MAX = 1000
"""Addresses that are remembered; the one heard of longest ago goes first."""


@define
class Failures:
    """Wrong tokens by address. `_full_at`: by address, when all its tries will be back, on the steady clock."""

    _full_at: OrderedDict[str | None, float] = field(factory=OrderedDict)

    def wait_seconds(self, peer: str | None, now: float) -> float:
        """How long this address is not listened to; 0 if it is."""
        spent = max(0.0, self._full_at.get(peer, now) - now)
        return max(0.0, spent - (TRIES - 1) * SECONDS_PER_TRY)

    def count(self, peer: str | None, now: float) -> None:
        """Note a wrong token."""
        self._full_at[peer] = max(now, self._full_at.get(peer, now)) + SECONDS_PER_TRY
        self._full_at.move_to_end(peer)
        if len(self._full_at) > PEERS_MAX:
            self._full_at.popitem(last=False)
