"""A desk with a spool, on a store that lives in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from shopperd.store import Spool, Store
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.jobs.desk import Desk, make_desk


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is told to nobody need not be rendered."""
    with capture_logs():
        yield


@pytest.fixture
def store(clock: FakeClock) -> Iterator[Store]:
    store = Store.open("sqlite://", clock=clock, inline=True)
    yield store
    store.close_sync()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool.open(tmp_path / "shopperd.db.spool")
    yield spool
    spool.close()


@pytest.fixture
def desk(store: Store, clock: FakeClock, metrics: Metrics, spool: Spool) -> Desk:
    return make_desk(store, clock, metrics, spool)
