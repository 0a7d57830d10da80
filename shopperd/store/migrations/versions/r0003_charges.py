"""What every machine cost, and what it is billed in its present state."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from shopperd.model import InstanceState
from shopperd.store.columns import Choice, Flag, Id, Moment, Number, key_text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("billed_per_hour", Number()))
    op.create_table(
        "charges",
        sa.Column("account", key_text(), nullable=False),
        sa.Column("instance_id", key_text(), nullable=False),
        sa.Column("started_at", Moment(), nullable=False),
        sa.Column("provider", key_text(), nullable=False),
        sa.Column("session_id", Id()),
        sa.Column("state", Choice(InstanceState), nullable=False),
        sa.Column("usd_per_hour", Number()),
        sa.Column("ended_at", Moment()),
        sa.Column("estimated", Flag(), nullable=False),
        sa.Column("usd", Number()),
        sa.PrimaryKeyConstraint("account", "instance_id", "started_at", name="pk_charges"),
        sqlite_strict=True,
    )
    op.create_index("ix_charges_ended_at", "charges", ["account", "ended_at"])
    op.create_index("ix_charges_session_id", "charges", ["session_id"])


def downgrade() -> None:
    op.drop_table("charges")
    op.drop_column("instances", "billed_per_hour")
