"""A simulator on ports that the system chooses, its ledger, and the clients, each in an environment of its own."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from shopperd.simulator import SimulatorServer, WorldSettings
from tests.clients.programs import Clients, Ledger


@pytest.fixture
async def simulator() -> AsyncIterator[SimulatorServer]:
    """Machines start and stop at once, and nothing is rate-limited: the clients do not space their calls."""
    settings = WorldSettings(seed=7, offers=300, boot_seconds=0, stop_seconds=0, dock_linger_seconds=0, rate_scale=0)
    async with SimulatorServer(settings=settings) as server:
        yield server


@pytest.fixture
async def ledger(simulator: SimulatorServer) -> AsyncIterator[Ledger]:
    async with aiohttp.ClientSession(simulator.control_url) as session:
        yield Ledger(session)


@pytest.fixture
async def clients(simulator: SimulatorServer, tmp_path: Path) -> AsyncIterator[Clients]:
    required = os.environ.get("SHOPPERD_TEST_CLIENTS") == "required"
    started = Clients(simulator.vastai_url, simulator.tensordock_url, tmp_path, required)
    yield started
    await started.close()
