"""Sessions and machines into a store, many at once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from shopperd.model import Session, Track
from shopperd.store import instances, sessions


def fill(conn: Connection, claims: Sequence[Session], tracks: Sequence[Track] = ()) -> None:
    """Write these to a store that holds none yet. The tracks are of the account of the first session."""
    for claim in claims:
        sessions.insert(conn, claim)
    if tracks:
        instances.save(conn, claims[0].account, tracks)
