"""Whether every row of the tables that have seals is as its seal says, read past the queries."""

import sqlalchemy as sa
from sqlalchemy import Connection

from shopperd.store import schema
from shopperd.store.seals import SEAL, seal_of

SEALED = tuple(name for name, table in schema.metadata.tables.items() if SEAL in table.columns)


def broken_seals(conn: Connection) -> list[str]:
    """The rows that have no seal, or another one than that of what is stored there."""
    found = []
    for name in SEALED:
        for row in conn.execute(sa.select(sa.literal_column("*")).select_from(sa.table(name))).mappings():
            stored = [value for column, value in row.items() if column != SEAL]
            if row[SEAL] != seal_of(name, stored):
                found.append(f"{name}: {dict(row)}")
    return found
