"""Seals for the rows that a destroy follows from. Those that are there are sealed as they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from shopperd.store.columns import UnreadableValueError, count
from shopperd.store.seals import seal_of

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SEALED = {"sessions": ("id",), "tombstones": ("id",), "instances": ("account", "id"), "destroys": ("id",)}
"""The tables, and what names a row of each."""


def upgrade() -> None:
    for name, key in SEALED.items():
        op.add_column(name, sa.Column("seal", count()))
        _seal(op.get_bind(), name, key)


def downgrade() -> None:
    for name in SEALED:
        op.drop_column(name, "seal")


def _seal(conn: sa.Connection, name: str, key: tuple[str, ...]) -> None:
    table = sa.table(name, *(sa.column(part) for part in (*key, "seal")))
    seals = []
    for row in conn.execute(sa.select(sa.literal_column("*")).select_from(table)).mappings():
        stored = [value for column, value in row.items() if column != "seal"]
        try:
            seal = seal_of(name, stored)
        except UnicodeEncodeError:  # bytes that are no text
            row_key = ", ".join(repr(row[part]) for part in key)
            raise UnreadableValueError(f"a text in the row {row_key} of its table {name} is none") from None
        seals.append({f"same_{part}": row[part] for part in key} | {"new_seal": seal})
    if seals:
        same = (table.c[part] == sa.bindparam(f"same_{part}") for part in key)
        conn.execute(sa.update(table).where(*same).values(seal=sa.bindparam("new_seal")), seals)
