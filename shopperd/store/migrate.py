"""From whatever schema is there to today's, in one transaction, or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from shopperd.store import lease, migrations, schema
from shopperd.store.errors import RESTORE_ADVICE, StoreDamaged, StoreLocked, StoreTooNew

_REPLICAS_LOCK = 0x73686F70_00000002
"""Two replicas that start on an empty PostgreSQL must not both make the tables."""

_WAIT_SECONDS = 60
"""How long a replica waits for another one's migration, or for the rows that it changes."""

_one_at_a_time = threading.Lock()
"""Alembic's environment is global to the process."""


def configuration(conn: Connection | None = None) -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    folder = Path(migrations.__file__).parent
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    return config


def migrate(conn: Connection, location: str, revision: str = "head") -> bool:
    """Bring the schema up to `revision`. True if there was none before.

    Raises:
        StoreTooNew: the schema is of a newer shopperd.
        StoreDamaged: there are tables, but nothing says of which schema.
        StoreLocked: another shopperd acts on it, which would go on writing what is of the schema before.
    """
    with _one_at_a_time:
        if conn.dialect.name == "postgresql":
            # Who waited must see the tables that the other one made; a serializable snapshot would be older than those.
            conn.exec_driver_sql(
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0;"
                f" SET LOCAL lock_timeout = '{_WAIT_SECONDS}s'"
            )
            conn.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _REPLICAS_LOCK})
        config = configuration(conn)
        steps = ScriptDirectory.from_config(config)
        found = MigrationContext.configure(conn).get_current_heads()
        if not found:
            present = set(sa.inspect(conn).get_table_names())
            if present & (set(schema.metadata.tables) | {"alembic_version"}):
                raise StoreDamaged(location, f"it has tables of ours, but no schema version; {RESTORE_ADVICE}")
        ours = {step.revision for step in steps.walk_revisions()}
        if newer := set(found) - ours:
            raise StoreTooNew(
                location,
                f"its schema ({', '.join(sorted(newer))}) is newer than this shopperd; install the version that wrote it, or a later one",
            )
        if set(found) != set(steps.get_heads()) or revision != "head":
            _nobody_must_act(conn, location)
            command.upgrade(config, revision)
        return not found


def _nobody_must_act(conn: Connection, location: str) -> None:
    """SQLite's file is ours alone by its lock. On PostgreSQL an older shopperd may hold the lease, and would write rows without seals."""
    if conn.dialect.name != "postgresql" or not sa.inspect(conn).has_table(schema.meta.name):
        return
    if (other := lease.holder(conn)) is not None:
        raise StoreLocked(
            location,
            f"its schema is older than this shopperd, and another one acts on it until {other.until.isoformat()}; "
            "stop all of them before this one brings it up to date",
        )
