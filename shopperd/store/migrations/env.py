"""Alembic's entrance. The connection, with its transaction open, comes from `shopperd.store.migrate`."""

from __future__ import annotations

from alembic import context

from shopperd.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    # Both databases take schema changes in a transaction; ours is around all the steps, so none can be left half done.
    transactional_ddl=True,
)
context.run_migrations()
