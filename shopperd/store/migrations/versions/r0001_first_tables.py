"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from shopperd.model import (
    CreateOutcome,
    DestroyOrigin,
    HoldReason,
    InstanceState,
    OrphanKind,
    Ownership,
    SessionState,
)
from shopperd.store.columns import Choice, Flag, Id, Json, Moment, Number, Words, count, key_text, row_number

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OPEN = sa.text("gone_at IS NULL")


def upgrade() -> None:
    _sessions()
    _instances()
    _destroys()
    _events()
    op.create_table(
        "memory",
        sa.Column("id", row_number(), primary_key=True),
        sa.Column("started_at", Moment(), nullable=False),
        sa.Column("last_beat_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_memory"),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index("ix_memory_last_beat_at", "memory", ["last_beat_at"])
    op.create_table(
        "meta",
        sa.Column("key", key_text(), nullable=False),
        sa.Column("value", Json(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    for table in ("meta", "memory", "events", "destroys", "instances", "idempotency_keys", "tombstones", "sessions"):
        op.drop_table(table)


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", Id(), nullable=False),
        sa.Column("account", key_text(), nullable=False),
        sa.Column("provider", key_text(), nullable=False),
        sa.Column("state", Choice(SessionState), nullable=False),
        sa.Column("tag", key_text(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("spec", Json(), nullable=False),
        sa.Column("instance_id", key_text()),
        sa.Column("offer_id", Words()),
        sa.Column("gpu", Words()),
        sa.Column("gpu_count", count()),
        sa.Column("price_per_hour", Number()),
        sa.Column("expires_at", Moment()),
        sa.Column("ended_at", Moment()),
        sa.Column("reason", Words()),
        sa.Column("exempt", Flag(), nullable=False),
        sa.Column("create_outcome", Choice(CreateOutcome), nullable=False),
        sa.Column("create_deadline_at", Moment()),
        sa.Column("state_since", Moment()),
        sa.Column("deadline_set_at", Moment()),
        sa.Column("version", count(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sqlite_strict=True,
    )
    op.create_index("ix_sessions_created_at", "sessions", ["created_at", "id"])
    op.create_index("ix_sessions_account_state", "sessions", ["account", "state"])
    op.create_index("ix_sessions_instance", "sessions", ["account", "instance_id"])
    op.create_table(
        "tombstones",
        sa.Column("id", Id(), nullable=False),
        sa.Column("account", key_text(), nullable=False),
        sa.Column("provider", key_text(), nullable=False),
        sa.Column("tag", key_text(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("ended_at", Moment()),
        sa.Column("reason", Words()),
        sa.Column("instance_id", key_text()),
        sa.PrimaryKeyConstraint("id", name="pk_tombstones"),
        sqlite_strict=True,
    )
    op.create_index("ix_tombstones_instance", "tombstones", ["account", "instance_id"])
    op.create_table(
        "idempotency_keys",
        sa.Column("key", key_text(), nullable=False),
        sa.Column("fingerprint", key_text(), nullable=False),
        sa.Column("session_id", Id(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_idempotency_keys_session_id", ondelete="CASCADE"
        ),
        sqlite_strict=True,
    )
    op.create_index("ix_idempotency_keys_session_id", "idempotency_keys", ["session_id"])


def _instances() -> None:
    op.create_table(
        "instances",
        sa.Column("account", key_text(), nullable=False),
        sa.Column("id", key_text(), nullable=False),
        sa.Column("provider", key_text(), nullable=False),
        sa.Column("tag", Words()),
        sa.Column("session_id", Id()),
        sa.Column("ownership", Choice(Ownership), nullable=False),
        sa.Column("state", Choice(InstanceState), nullable=False),
        sa.Column("provider_state", Words()),
        sa.Column("gpu", Words()),
        sa.Column("gpu_count", count()),
        sa.Column("vram_gb", count()),
        sa.Column("price_per_hour", Number()),
        sa.Column("address", Words()),
        sa.Column("ssh_port", count()),
        sa.Column("started_at", Moment()),
        sa.Column("first_seen_at", Moment(), nullable=False),
        sa.Column("last_seen_at", Moment(), nullable=False),
        sa.Column("sightings", count(), nullable=False),
        sa.Column("absences", count(), nullable=False),
        sa.Column("kind", Choice(OrphanKind)),
        sa.Column("kind_sightings", count(), nullable=False),
        sa.Column("orphan_since", Moment()),
        sa.Column("ever_seen", Flag(), nullable=False),
        sa.Column("exempt", Flag(), nullable=False),
        sa.Column("missed_at", Moment()),
        sa.Column("gone_at", Moment()),
        sa.PrimaryKeyConstraint("account", "id", name="pk_instances"),
        sqlite_strict=True,
    )
    op.create_index("ix_instances_gone_at", "instances", ["gone_at"])
    op.create_index("ix_instances_session_id", "instances", ["session_id"])


def _destroys() -> None:
    op.create_table(
        "destroys",
        sa.Column("id", row_number(), primary_key=True),
        sa.Column("account", key_text(), nullable=False),
        sa.Column("instance_id", key_text(), nullable=False),
        sa.Column("origin", Choice(DestroyOrigin), nullable=False),
        sa.Column("reason", Words(), nullable=False),
        sa.Column("requested_at", Moment(), nullable=False),
        sa.Column("next_attempt_at", Moment(), nullable=False),
        sa.Column("session_id", Id()),
        sa.Column("kind", Choice(OrphanKind)),
        sa.Column("tag", Words()),
        sa.Column("instance_started_at", Moment()),
        sa.Column("attempts", count(), nullable=False),
        sa.Column("accepted_at", Moment()),
        sa.Column("gone_at", Moment()),
        sa.Column("last_error", Words()),
        sa.Column("hold", Choice(HoldReason)),
        sa.PrimaryKeyConstraint("id", name="pk_destroys"),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index(
        "uq_destroys_open",
        "destroys",
        ["account", "instance_id"],
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_index("ix_destroys_instance", "destroys", ["account", "instance_id"])
    op.create_index("ix_destroys_session_id", "destroys", ["session_id"])
    op.create_index("ix_destroys_requested_at", "destroys", ["account", "requested_at"])
    op.create_index("ix_destroys_gone_at", "destroys", ["gone_at"])


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", row_number(), primary_key=True),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("kind", key_text(), nullable=False),
        sa.Column("message", Words(), nullable=False),
        sa.Column("account", key_text()),
        sa.Column("session_id", Id()),
        sa.Column("instance_id", key_text()),
        sa.Column("data", Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index("ix_events_at", "events", ["at"])
    op.create_index("ix_events_session_id", "events", ["session_id", "id"])
    op.create_index("ix_events_instance_id", "events", ["instance_id", "id"])
