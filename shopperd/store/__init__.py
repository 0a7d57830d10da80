"""What must survive: the schema, its migrations, and the queries.

A transaction is a plain function of a connection, run whole by `Store.run`. What belongs here: one module of queries a
noun, each a plain function ``(conn, ...)`` without a clock and without an await. What does not: deciding anything.
"""

from shopperd.store import charges, destroys, events, hooks, instances, lease, memory, meta, prices, sessions
from shopperd.store.engine import Store, StoreMetrics
from shopperd.store.errors import (
    BadCursor,
    Conflict,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreMoved,
    StoreOfAnother,
    StoreReadOnly,
    StoreTooNew,
    StoreUnreachable,
    UnknownCursor,
)
from shopperd.store.meta import Binding, StoreIdentity
from shopperd.store.paging import Page
from shopperd.store.spool import AcceptedCreate, Spool

__all__ = [
    "AcceptedCreate",
    "BadCursor",
    "Binding",
    "Conflict",
    "Page",
    "Spool",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreIdentity",
    "StoreLocked",
    "StoreMetrics",
    "StoreMoved",
    "StoreOfAnother",
    "StoreReadOnly",
    "StoreTooNew",
    "StoreUnreachable",
    "UnknownCursor",
    "charges",
    "destroys",
    "events",
    "hooks",
    "instances",
    "lease",
    "memory",
    "meta",
    "prices",
    "sessions",
]
