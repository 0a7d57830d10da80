"""The tables as they are now. `migrations` leads every older store here; a test compares the two.

Column names are the attribute names of the nouns in `shopperd.model`, so a row is its noun.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, MetaData, Table, text

from shopperd.model import (
    CreateOutcome,
    DestroyOrigin,
    HoldReason,
    InstanceState,
    OrphanKind,
    Ownership,
    SessionState,
    Spec,
)
from shopperd.store.columns import Choice, Flag, Id, Json, Moment, Number, Words, count, key_text, row_number
from shopperd.store.seals import SEAL

REVISION = "0004"
"""The newest of the `migrations`: a store that is there needs none of them. A test compares the two."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


def _seal() -> Column[int]:
    """For rows that a destroy follows from; the last of a table's columns when it was added, and no part of what is sealed."""
    return Column(SEAL, count())


sessions = Table(
    "sessions",
    metadata,
    Column("id", Id(), primary_key=True),
    Column("account", key_text(), nullable=False),
    Column("provider", key_text(), nullable=False),
    Column("state", Choice(SessionState), nullable=False),
    Column("tag", key_text(), nullable=False),
    Column("created_at", Moment(), nullable=False),
    Column("spec", Json(Spec), nullable=False),  # its environment may hold the user's secrets: never logged
    Column("instance_id", key_text()),
    Column("offer_id", Words()),
    Column("gpu", Words()),
    Column("gpu_count", count()),
    Column("price_per_hour", Number()),
    Column("expires_at", Moment()),
    Column("ended_at", Moment()),
    Column("reason", Words()),
    Column("exempt", Flag(), nullable=False),
    Column("create_outcome", Choice(CreateOutcome), nullable=False),
    Column("create_deadline_at", Moment()),
    Column("state_since", Moment()),
    Column("deadline_set_at", Moment()),
    Column("version", count(), nullable=False),  # compared and set: the fence between two writers
    _seal(),
    Index("ix_sessions_created_at", "created_at", "id"),  # pages, newest first; retention
    Index("ix_sessions_account_state", "account", "state"),  # every snapshot asks for the live ones of its account
    Index("ix_sessions_instance", "account", "instance_id"),  # whose machine is this, whatever its tag says
    sqlite_strict=True,
)

tombstones = Table(  # what is left of a forgotten session for ever: enough to know that it was ours and is over
    "tombstones",
    metadata,
    Column("id", Id(), primary_key=True),
    Column("account", key_text(), nullable=False),
    Column("provider", key_text(), nullable=False),
    Column("tag", key_text(), nullable=False),
    Column("created_at", Moment(), nullable=False),
    Column("ended_at", Moment()),
    Column("reason", Words()),
    Column("instance_id", key_text()),
    _seal(),
    Index("ix_tombstones_instance", "account", "instance_id"),  # as for sessions
    sqlite_strict=True,
)

idempotency_keys = Table(  # which session a repeated POST already made
    "idempotency_keys",
    metadata,
    Column("key", key_text(), primary_key=True),
    Column("fingerprint", key_text(), nullable=False),  # of the body, to refuse the same key with another wish
    Column("session_id", Id(), ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Moment(), nullable=False),
    Index("ix_idempotency_keys_session_id", "session_id"),  # for the cascade
    sqlite_strict=True,
)

instances = Table(  # one row a machine, an `Instance` and its `Track` side by side; a gone one stays as a tombstone
    "instances",
    metadata,
    Column("account", key_text(), primary_key=True),
    Column("id", key_text(), primary_key=True),
    Column("provider", key_text(), nullable=False),
    Column("tag", Words()),
    Column("session_id", Id()),  # what the tag says; no reference, since it may name a session we never had
    Column("ownership", Choice(Ownership), nullable=False),
    Column("state", Choice(InstanceState), nullable=False),
    Column("provider_state", Words()),
    Column("gpu", Words()),
    Column("gpu_count", count()),
    Column("vram_gb", count()),
    Column("price_per_hour", Number()),
    Column("address", Words()),
    Column("ssh_port", count()),
    Column("started_at", Moment()),
    Column("first_seen_at", Moment(), nullable=False),
    Column("last_seen_at", Moment(), nullable=False),
    Column("sightings", count(), nullable=False),
    Column("absences", count(), nullable=False),
    Column("kind", Choice(OrphanKind)),
    Column("kind_sightings", count(), nullable=False),
    Column("orphan_since", Moment()),
    Column("ever_seen", Flag(), nullable=False),
    Column("exempt", Flag(), nullable=False),
    Column("missed_at", Moment()),
    Column("gone_at", Moment()),
    Column("billed_per_hour", Number()),
    _seal(),
    Index("ix_instances_gone_at", "gone_at"),  # retention
    Index("ix_instances_session_id", "session_id"),  # is a machine left that carries this session's tag
    sqlite_strict=True,
)

destroys = Table(  # open until gone_at is set
    "destroys",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("account", key_text(), nullable=False),
    Column("instance_id", key_text(), nullable=False),
    Column("origin", Choice(DestroyOrigin), nullable=False),
    Column("reason", Words(), nullable=False),
    Column("requested_at", Moment(), nullable=False),
    Column("next_attempt_at", Moment(), nullable=False),
    Column("session_id", Id()),
    Column("kind", Choice(OrphanKind)),
    Column("tag", Words()),
    Column("instance_started_at", Moment()),
    Column("attempts", count(), nullable=False),
    Column("accepted_at", Moment()),
    Column("gone_at", Moment()),
    Column("last_error", Words()),
    Column("hold", Choice(HoldReason)),
    _seal(),
    Index(  # one open job a machine
        "uq_destroys_open",
        "account",
        "instance_id",
        unique=True,
        sqlite_where=text("gone_at IS NULL"),
        # The migrations say it to PostgreSQL too. To name it here would load its dialect for everybody, which takes 2 MB.
    ),
    Index("ix_destroys_instance", "account", "instance_id"),  # the newest job of a machine, open or not
    Index("ix_destroys_session_id", "session_id"),  # is a destroy for this session still open
    Index("ix_destroys_requested_at", "account", "requested_at"),  # the hourly blast limit
    Index("ix_destroys_gone_at", "gone_at"),  # retention
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

events = Table(  # the audit trail; ids grow in the order of the commits, so a reader that follows misses none
    "events",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("at", Moment(), nullable=False),
    Column("kind", key_text(), nullable=False),
    Column("message", Words(), nullable=False),
    Column("account", key_text()),
    Column("session_id", Id()),
    Column("instance_id", key_text()),
    Column("data", Json(), nullable=False),
    Index("ix_events_at", "at"),  # retention
    Index("ix_events_session_id", "session_id", "id"),  # a session with its events
    Index("ix_events_instance_id", "instance_id", "id"),  # why was this machine destroyed
    sqlite_autoincrement=True,  # an id is never given twice, or a reader's `after` would skip rows
    sqlite_strict=True,
)

market_prices = Table(  # what GPUs cost each time that a market was read; `store.prices` says how it is packed
    "market_prices",
    metadata,
    Column("at", Moment(), primary_key=True),  # before the account: retention and pages go by time
    Column("account", key_text(), primary_key=True),
    Column("partial", Flag(), nullable=False),
    Column("gpus", LargeBinary(), nullable=False),
    sqlite_strict=True,
)

charges = Table(  # what every machine cost, a row for each time in which nothing about that changed
    "charges",
    metadata,
    Column("account", key_text(), primary_key=True),
    Column("instance_id", key_text(), primary_key=True),
    Column("started_at", Moment(), primary_key=True),
    Column("provider", key_text(), nullable=False),
    Column("session_id", Id()),  # who had it then; no reference, as for instances
    Column("state", Choice(InstanceState), nullable=False),
    Column("usd_per_hour", Number()),
    Column("ended_at", Moment()),
    Column("estimated", Flag(), nullable=False),
    Column("usd", Number()),  # of what is over, so that a month is summed up by the database
    Index("ix_charges_ended_at", "account", "ended_at"),  # what is open, a day, a month, and retention
    Index("ix_charges_session_id", "session_id"),
    sqlite_strict=True,
)

memory = Table(  # runs of heartbeats; what lies between two was slept through
    "memory",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("started_at", Moment(), nullable=False),
    Column("last_beat_at", Moment(), nullable=False),
    Index("ix_memory_last_beat_at", "last_beat_at"),  # retention, and the spans since a moment
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

meta = Table(  # single values: the store's identity, the kill switch
    "meta",
    metadata,
    Column("key", key_text(), primary_key=True),
    Column("value", Json(), nullable=False),
    sqlite_strict=True,
)
