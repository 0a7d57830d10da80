"""What a row of instances means."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopperd.model import Instance, InstanceState, Ownership
from shopperd.providers.vastai import wire
from shopperd.providers.vastai.instances import identified, state_of, to_instance
from tests.providers.vastai.recordings import recorded

NOW = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
SESSION = UUID("3f0c2b1e-9a4d-4f7c-8f11-5f6c0b7f2a10")
TAG = f"shopper-{SESSION}"


def instance(deployment: str = "", **fields: Any) -> Instance:
    row = wire.read_row({"id": 5, **fields}, wire.InstanceRow)
    assert row is not None
    return to_instance(row, "5", "main", deployment, NOW)


def test_a_running_machine_is_read_in_full() -> None:
    row = wire.read_instance(recorded("show_running").body)
    assert row is not None
    assert identified(row) == "61200001"
    assert to_instance(row, "61200001", "main", "", NOW) == Instance(
        account="main",
        provider="vastai",
        id="61200001",
        tag=TAG,
        session_id=SESSION,
        ownership=Ownership.OURS,
        state=InstanceState.RUNNING,
        provider_state="running",
        gpu="RTX 4090",
        gpu_count=1,
        vram_gb=24,
        price_per_hour=0.2955444444,
        address="198.51.100.12",
        ssh_port=42110,
        started_at=datetime.fromtimestamp(1795381200.5, UTC),
        billed_per_hour=0.2955444444,
    )


def test_a_row_with_nothing_but_an_id_is_an_instance_of_which_nothing_is_known() -> None:
    assert instance() == Instance(account="main", provider="vastai", id="5", provider_state="null")


# Whose it is.


@pytest.mark.parametrize(
    "label",
    [
        f" {TAG}",
        f"{TAG}\n",
        TAG.upper(),
        f"{TAG}x",
        f"shopper-prod-{SESSION}",
        "shopper-",
        "shopper-test",
        "x" * 1024,
        "<b>",
        5,
        [TAG],
    ],
)
def test_a_label_that_is_not_exactly_ours_is_foreign(label: Any) -> None:
    seen = instance(label=label)
    assert (seen.ownership, seen.session_id) == (Ownership.FOREIGN, None)


def test_a_deployment_knows_its_own_tags_and_no_others() -> None:
    mine = instance("prod", label=f"shopper-prod-{SESSION}")
    assert (mine.ownership, mine.session_id) == (Ownership.OURS, SESSION)
    assert instance("prod", label=TAG).ownership is Ownership.FOREIGN


@pytest.mark.parametrize("label", [None, "", "  "])
def test_without_a_label_the_environment_tells_the_tag(label: str | None) -> None:
    seen = instance(label=label, extra_env=[["A", "b"], ["SHOPPERD_TAG", TAG]])
    assert (seen.tag, seen.ownership) == (TAG, Ownership.OURS)


def test_with_a_label_the_environment_is_not_looked_at() -> None:
    assert instance(label="mine", extra_env=[["SHOPPERD_TAG", TAG]]).ownership is Ownership.FOREIGN


# What it does.


@pytest.mark.parametrize(
    ("actual", "intended", "contract", "state"),
    [
        (None, "running", "running", InstanceState.STARTING),
        (None, "running", None, InstanceState.STARTING),
        (None, None, "running", InstanceState.STARTING),
        (None, None, None, InstanceState.UNKNOWN),
        (None, "stopped", "stopped", InstanceState.STOPPED),
        ("created", "running", "running", InstanceState.STARTING),
        ("created", "stopped", "stopped", InstanceState.STOPPED),
        ("loading", "running", "running", InstanceState.STARTING),
        ("loading", "stopped", None, InstanceState.STOPPED),
        ("rebooting", "running", "running", InstanceState.STARTING),
        ("running", "running", "running", InstanceState.RUNNING),
        ("RUNNING ", "running", "running", InstanceState.RUNNING),
        ("running", "stopped", "running", InstanceState.RUNNING),
        ("running", "stopped", "stopped", InstanceState.RUNNING),
        ("running", None, "unloaded", InstanceState.RUNNING),
        ("exited", "running", "running", InstanceState.STOPPED),
        ("exited", "stopped", "stopped", InstanceState.STOPPED),
        ("stopped", "running", "stopped", InstanceState.STOPPED),
        ("frozen", "frozen", "running", InstanceState.STOPPED),
        ("offline", "running", "running", InstanceState.UNKNOWN),
        ("unknown", "running", "running", InstanceState.UNKNOWN),
        ("melting", "running", "running", InstanceState.UNKNOWN),
        ("", "running", "running", InstanceState.STARTING),
    ],
)
def test_the_state_is_judged_by_all_fields(
    actual: str | None, intended: str | None, contract: str | None, state: InstanceState
) -> None:
    assert instance(actual_status=actual, intended_status=intended, cur_state=contract).state is state


def test_the_providers_words_are_kept_where_they_differ() -> None:
    assert instance(actual_status="running", intended_status="running").provider_state == "running"
    assert instance(actual_status="loading", intended_status="stopped").provider_state == "loading, intended stopped"
    assert instance(actual_status="exited", next_state="unloaded").provider_state == "exited, unloading"


# What it costs.


@pytest.mark.parametrize(
    ("fields", "price"),
    [
        ({"actual_status": "running", "dph_total": 0.5, "instance": {"totalHour": 0.4}}, 0.5),
        ({"actual_status": "running", "dph_total": 0.4, "instance": {"totalHour": 0.5}}, 0.5),
        ({"actual_status": "running", "dph_total": None, "instance": {"totalHour": "0.5"}}, 0.5),
        ({"actual_status": "exited", "cur_state": "stopped", "dph_total": 0.5, "instance": {"totalHour": 0.01}}, 0.01),
        ({"actual_status": "exited", "cur_state": "running", "dph_total": 0.5, "instance": {"totalHour": 0.01}}, 0.5),
        (
            {"actual_status": "exited", "intended_status": "running", "dph_total": 0.5, "instance": {"totalHour": 0}},
            0.5,
        ),
        ({"actual_status": "exited", "dph_total": 0.5, "storage_total_cost": 0.02}, 0.02),
        ({"actual_status": "exited", "dph_total": 0.5}, 0.5),
        ({"actual_status": "offline", "dph_total": 0.5, "instance": {"totalHour": 0}}, 0.5),
        ({"actual_status": "running", "dph_total": -1}, None),
        ({"actual_status": "running", "dph_total": 1e9}, None),
        ({"actual_status": "running", "dph_total": 1e9, "instance": {"totalHour": 0.5}}, 0.5),
        ({"actual_status": "running", "instance": "free"}, None),
    ],
)
def test_the_price_is_the_upper_one_where_it_is_in_doubt(fields: dict[str, Any], price: float | None) -> None:
    assert instance(**fields).price_per_hour == price


@pytest.mark.parametrize(
    ("fields", "rate"),
    [
        ({"actual_status": None, "cur_state": "running"}, 0.01),
        ({"actual_status": "loading", "cur_state": "running"}, 0.01),
        ({"actual_status": "created", "cur_state": "running"}, 0.01),
        ({"actual_status": "running", "cur_state": "running"}, 0.5),
        ({"actual_status": "running", "cur_state": "running", "intended_status": "stopped"}, 0.5),
        ({"actual_status": "rebooting", "cur_state": "running"}, 0.5),
        ({"actual_status": "exited", "cur_state": "running"}, 0.5),
        ({"actual_status": "exited", "cur_state": "stopped"}, 0.01),
        ({"actual_status": "exited", "cur_state": "stopped", "intended_status": "running"}, 0.01),
        ({"actual_status": "offline", "cur_state": "running"}, 0.0),
        ({"actual_status": "unknown", "cur_state": "running"}, 0.5),
        ({"actual_status": "loading", "cur_state": "running", "instance": None, "storage_total_cost": 0.02}, 0.02),
        ({"actual_status": "loading", "cur_state": "running", "instance": None}, 0.5),
    ],
)
def test_what_is_billed_follows_the_state(fields: dict[str, Any], rate: float) -> None:
    assert instance(**({"dph_total": 0.5, "instance": {"totalHour": 0.01}} | fields)).rate_per_hour == rate


# Where it is.

DIRECT = {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "41022"}]}
PROXY = {"ssh_host": "ssh4.vast.ai", "ssh_port": 31712}


@pytest.mark.parametrize(
    ("fields", "door"),
    [
        ({"ports": DIRECT, "public_ipaddr": "203.0.113.9 \n", **PROXY}, ("203.0.113.9", 41022)),
        ({"ports": {}, "public_ipaddr": "203.0.113.9", **PROXY}, ("ssh4.vast.ai", 31712)),
        ({"ports": DIRECT, "public_ipaddr": None, **PROXY}, ("ssh4.vast.ai", 31712)),
        (
            {"ports": {"22/tcp": [{"HostPort": "x"}, {"HostPort": 22022}]}, "public_ipaddr": "203.0.113.9"},
            ("203.0.113.9", 22022),
        ),
        ({"ports": {"22/tcp": None}, "public_ipaddr": "203.0.113.9"}, ("203.0.113.9", None)),
        ({"ports": [1], "public_ipaddr": "; rm -rf /"}, (None, None)),
        ({"ports": {"22/tcp": [{"HostPort": "70000"}]}, "public_ipaddr": "203.0.113.9"}, ("203.0.113.9", None)),
        ({"ssh_host": "-oProxyCommand=x", "ssh_port": 22}, (None, None)),
        ({"ssh_host": "ssh4.vast.ai", "ssh_port": 0}, (None, None)),
        ({"machine_dir_ssh_port": 5}, (None, None)),
    ],
)
def test_the_door_is_the_direct_port_or_the_proxy(fields: dict[str, Any], door: tuple[str | None, int | None]) -> None:
    seen = instance(**fields)
    assert (seen.address, seen.ssh_port) == door


# Since when.


@pytest.mark.parametrize(
    ("start", "known"),
    [
        (1795381200, True),
        ("1795381200.5", True),
        (NOW.timestamp() + 60, True),
        (NOW.timestamp() + 3600, False),
        (0, False),
        (-1, False),
        (1e300, False),
        (None, False),
    ],
)
def test_a_start_that_cannot_be_is_not_known(start: Any, known: bool) -> None:
    assert (instance(start_date=start).started_at is not None) is known


@pytest.mark.parametrize("count", [0, -1, 1.5, 10**9, "many", None])
def test_an_absurd_number_of_gpus_is_not_known(count: Any) -> None:
    assert instance(num_gpus=count).gpu_count is None


@given(
    st.fixed_dictionaries(
        {},
        optional={
            attribute.name: st.none()
            | st.integers()
            | st.floats()
            | st.text()
            | st.lists(st.text())
            | st.dictionaries(st.sampled_from(["22/tcp", "totalHour", "HostPort"]), st.text() | st.lists(st.integers()))
            for attribute in wire.InstanceRow.__attrs_attrs__
        },
    )
)
def test_no_row_is_too_strange_to_be_an_instance(fields: dict[str, Any]) -> None:
    seen = instance(**fields)
    assert seen.price_per_hour is None or 0 <= seen.price_per_hour <= 10_000
    row = wire.read_row(fields, wire.InstanceRow)
    assert row is not None
    state_of(row)
