"""Sessions and machines into a store, many at once."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from attrs import fields
from sqlalchemy import Connection

from shopperd.model import Session, Track
from shopperd.store import instances
from shopperd.store.schema import sessions


def fill(conn: Connection, claims: Sequence[Session], tracks: Sequence[Track] = ()) -> None:
    """Write these to a store that holds none yet. The tracks are of the account of the first session."""
    names = [field.name for field in fields(Session)]
    if claims:
        conn.execute(sa.insert(sessions), [{name: getattr(claim, name) for name in names} for claim in claims])
    if tracks:
        instances.save(conn, claims[0].account, tracks)
