"""The two places where SQLite and PostgreSQL are spoken to differently. Everything else is one set of queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, Table, text
from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

_EVENTS_LOCK = 0x73686F70_00000001
"""Any number will do, as long as all replicas use the same; the upper half spells "shop"."""


def insert(database: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT, for the dialect of that name. Both write it alike; SQLAlchemy has a class for each."""
    if database != "postgresql":
        return sqlite.insert(table)
    # Imported when needed: most have no such database, and it takes its share of a start.
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def wait_for_turn(conn: Connection) -> None:
    """From here to the commit, no other transaction numbers an event.

    PostgreSQL hands out numbers before the commit, so without this a reader that follows the trail could see 8, and 7
    a moment later and never. The lock belongs to the transaction (it ends with it, behind a pooler too). SQLite has one
    writer anyway.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _EVENTS_LOCK})
