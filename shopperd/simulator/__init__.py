"""Both marketplaces' HTTP APIs over one pretend world, with faults by name.

The world is pure: a request and a moment in, an answer and its effect out (`shopperd.simulator.world.World`). Two thin doors
lead to it: real sockets (`shopperd.simulator.server.SimulatorServer`) and none at all (`shopperd.simulator.inprocess`). What
belongs here: what the marketplaces do, what goes wrong with them, and the truth about what exists and what it cost. What does
not: anything of the daemon that is tested against it.
"""

from __future__ import annotations

from shopperd.simulator.exchange import Answer, Request
from shopperd.simulator.inprocess import InProcess
from shopperd.simulator.server import SimulatorServer
from shopperd.simulator.world import World, WorldSettings

__all__ = ["Answer", "InProcess", "Request", "SimulatorServer", "World", "WorldSettings"]
