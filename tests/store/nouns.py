"""Nouns for the store's tests: plain ones, and every shape that hypothesis can think of."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from shopperd.model import (
    CreateOutcome,
    DestroyJob,
    DestroyOrigin,
    Event,
    HoldReason,
    Instance,
    InstanceState,
    OrphanKind,
    Ownership,
    Session,
    SessionState,
    Spec,
    Track,
    tag_of,
)

START = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
moments = st.timedeltas(timedelta(days=-56 * 365), timedelta(days=200 * 365)).map(lambda since: START + since)
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


specs = st.builds(
    Spec,
    offer_id=_maybe(words),
    gpu=_maybe(words),
    gpu_count=counts,
    min_vram_gb=_maybe(counts),
    max_price_per_hour=_maybe(numbers),
    image=_maybe(words),
    disk_gb=_maybe(numbers),
    env=st.dictionaries(words, words, max_size=3),
    ssh_key=_maybe(words),
    onstart=_maybe(words),
)
sessions = st.builds(
    Session,
    id=st.uuids(),
    account=words,
    provider=words,
    state=st.sampled_from(SessionState),
    tag=words,
    created_at=moments,
    spec=specs,
    instance_id=_maybe(words),
    offer_id=_maybe(words),
    gpu=_maybe(words),
    gpu_count=_maybe(counts),
    price_per_hour=_maybe(numbers),
    expires_at=_maybe(moments),
    ended_at=_maybe(moments),
    reason=_maybe(words),
    create_outcome=st.sampled_from(CreateOutcome),
    create_deadline_at=_maybe(moments),
    state_since=_maybe(moments),
    version=st.integers(1, 2**40),
)
instances = st.builds(
    Instance,
    account=st.just("main"),
    provider=words,
    id=words,
    tag=_maybe(words),
    session_id=_maybe(st.uuids()),
    ownership=st.sampled_from(Ownership),
    state=st.sampled_from(InstanceState),
    provider_state=_maybe(words),
    gpu=_maybe(words),
    gpu_count=_maybe(counts),
    vram_gb=_maybe(counts),
    price_per_hour=_maybe(numbers),
    address=_maybe(words),
    ssh_port=_maybe(counts),
    started_at=_maybe(moments),
)
tracks = st.builds(
    Track,
    instance=instances,
    first_seen_at=moments,
    last_seen_at=moments,
    sightings=counts,
    absences=counts,
    kind=_maybe(st.sampled_from(OrphanKind)),
    kind_sightings=counts,
    orphan_since=_maybe(moments),
    gone_at=_maybe(moments),
)
jobs = st.builds(
    DestroyJob,
    id=st.just(0),
    account=words,
    instance_id=words,
    origin=st.sampled_from(DestroyOrigin),
    reason=words,
    requested_at=moments,
    next_attempt_at=moments,
    session_id=_maybe(st.uuids()),
    kind=_maybe(st.sampled_from(OrphanKind)),
    tag=_maybe(words),
    instance_started_at=_maybe(moments),
    attempts=counts,
    accepted_at=_maybe(moments),
    last_error=_maybe(words),
    hold=_maybe(st.sampled_from(HoldReason)),
)
events = st.builds(
    Event,
    at=moments,
    kind=words,
    message=words,
    account=_maybe(words),
    session_id=_maybe(st.uuids()),
    instance_id=_maybe(words),
    data=st.dictionaries(words, json_values, max_size=3),
)


def later(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def session(number: int, **changes: Any) -> Session:
    values: dict[str, Any] = {
        "id": UUID(int=number),
        "account": "main",
        "provider": "vastai",
        "state": SessionState.RUNNING,
        "tag": tag_of(UUID(int=number)),
        "created_at": later(number),
        "spec": Spec(),
    }
    return Session(**(values | changes))


def track(instance_id: str, *, instance: dict[str, Any] | None = None, **changes: Any) -> Track:
    machine = Instance(**({"account": "main", "provider": "vastai", "id": instance_id} | (instance or {})))
    return Track(**({"instance": machine, "first_seen_at": START, "last_seen_at": START} | changes))


def job(instance_id: str, **changes: Any) -> DestroyJob:
    values: dict[str, Any] = {
        "id": 0,
        "account": "main",
        "instance_id": instance_id,
        "origin": DestroyOrigin.VERDICT,
        "reason": "its session is over",
        "requested_at": START,
        "next_attempt_at": START,
        "kind": OrphanKind.ENDED,
    }
    if changes.get("origin") is DestroyOrigin.COMMAND:
        values["kind"] = None
    return DestroyJob(**(values | changes))
