"""What GPUs cost, each time that a market was read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from shopperd.store.columns import Flag, Moment, key_text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "market_prices",
        sa.Column("at", Moment(), nullable=False),
        sa.Column("account", key_text(), nullable=False),
        sa.Column("partial", Flag(), nullable=False),
        sa.Column("gpus", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("at", "account", name="pk_market_prices"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    op.drop_table("market_prices")
