"""The v2 dialect through the adapter: what is sent, and what recorded answers mean."""

import json
from typing import Any

import pytest

from shopperd.model import InstanceState, Ownership
from shopperd.providers.contract import (
    AuthFailed,
    BadAnswer,
    InstanceNotFound,
    OfferFilter,
    OfferUnavailable,
    ProviderError,
    RateLimited,
    Refused,
    Unclear,
)
from shopperd.providers.transport import Reply
from tests.providers.tensordock.account import FOREIGN_VM, LOCATION, TAG, TOKEN, VM, account, answer, attributes, order


async def test_the_token_is_in_the_header_of_every_request_and_nowhere_else() -> None:
    provider, sender = account("v2", "v2_locations", "v2_list_flat", "v2_show", "v2_create", "v2_delete")
    await provider.list_offers(OfferFilter())
    await provider.list_all_instances()
    await provider.get_instance_status(VM)
    await provider.create_instance(order())
    await provider.destroy_instance(VM)
    assert [(request.method, request.url) for request in sender.requests] == [
        ("GET", "https://dashboard.tensordock.com/api/v2/locations"),
        ("GET", "https://dashboard.tensordock.com/api/v2/instances"),
        ("GET", f"https://dashboard.tensordock.com/api/v2/instances/{VM}"),
        ("POST", "https://dashboard.tensordock.com/api/v2/instances"),
        ("DELETE", f"https://dashboard.tensordock.com/api/v2/instances/{VM}"),
    ]
    for request in sender.requests:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert TOKEN.encode() not in (request.body or b"")


async def test_a_flat_list_is_read_with_foreign_machines() -> None:
    provider, _ = account("v2", "v2_list_flat")
    snapshot = await provider.list_all_instances()
    ours, foreign = snapshot.instances
    assert snapshot.complete
    assert (ours.id, ours.tag, ours.ownership) == (VM, TAG, Ownership.OURS)
    assert (ours.state, ours.address, ours.ssh_port) == (InstanceState.RUNNING, "192.0.2.41", 21777)
    assert ours.price_per_hour is None
    assert (foreign.id, foreign.ownership, foreign.session_id) == (FOREIGN_VM, Ownership.FOREIGN, None)
    assert foreign.state is InstanceState.STOPPED


@pytest.mark.parametrize("shape", ["v2_list_nested", "v2_list_getting_started"])
async def test_the_documented_list_shapes_are_read_and_running_is_taken_at_its_word(shape: str) -> None:
    provider, _ = account("v2", shape)
    snapshot = await provider.list_all_instances()
    assert snapshot.complete
    assert [(each.id, each.tag, each.state) for each in snapshot.instances] == [(VM, TAG, InstanceState.RUNNING)]


async def test_an_empty_list_is_complete() -> None:
    provider, _ = account("v2", "v2_list_empty")
    snapshot = await provider.list_all_instances()
    assert snapshot.complete
    assert snapshot.instances == ()


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        "ok",
        {"data": None},
        {"data": {}},
        {"data": "none"},
        {"instances": []},
        {"data": {"instances": {}}},
    ],
    ids=repr,
)
async def test_an_unknown_list_shape_is_never_read_as_no_machines(body: object) -> None:
    provider, _ = account("v2", answer(body))
    with pytest.raises(BadAnswer):
        await provider.list_all_instances()


@pytest.mark.parametrize(
    ("row", "left"),
    [
        ({"name": TAG, "status": "running"}, 1),
        ({"id": "", "name": TAG}, 1),
        ({"id": "../x", "name": TAG}, 1),
        ({"id": -4}, 1),
        (None, 1),
        ("vm", 1),
        ({"id": "other", "name": ["x"]}, 2),
    ],
    ids=repr,
)
async def test_a_row_that_cannot_be_identified_makes_the_snapshot_incomplete_and_keeps_the_others(
    row: object, left: int
) -> None:
    provider, _ = account("v2", answer({"data": [row, {"id": VM, "name": TAG, "status": "running"}]}))
    snapshot = await provider.list_all_instances()
    assert (snapshot.complete, snapshot.reason) == (False, "bad_row")
    assert len(snapshot.instances) == left
    assert snapshot.instances[-1].id == VM


async def test_an_id_that_comes_twice_makes_the_snapshot_incomplete() -> None:
    provider, _ = account("v2", answer({"data": [{"id": VM, "name": TAG}, {"id": VM, "name": "else"}]}))
    snapshot = await provider.list_all_instances()
    assert (snapshot.complete, snapshot.reason) == (False, "duplicate_id")
    assert len(snapshot.instances) == 1


@pytest.mark.parametrize("sign", [{"next": "/api/v2/instances?page=2"}, {"hasMore": True}, {"total": 26}], ids=repr)
async def test_signs_of_more_rows_make_the_snapshot_incomplete(sign: dict[str, Any]) -> None:
    provider, _ = account("v2", answer({"data": [{"id": VM, "name": TAG}], **sign}))
    snapshot = await provider.list_all_instances()
    assert (snapshot.complete, snapshot.reason) == (False, "count_mismatch")


async def test_a_total_that_agrees_leaves_the_snapshot_complete() -> None:
    provider, _ = account("v2", answer({"data": [{"id": VM, "name": TAG}], "total": 1, "next": None}))
    assert (await provider.list_all_instances()).complete


@pytest.mark.parametrize("word", ["terminated", "Deleted"])
async def test_a_row_that_the_provider_calls_gone_is_left_out_and_a_single_read_says_not_found(word: str) -> None:
    row = {"id": VM, "name": TAG, "status": word}
    provider, _ = account("v2", answer({"data": [row]}), answer(row))
    snapshot = await provider.list_all_instances()
    assert snapshot.complete
    assert snapshot.instances == ()
    with pytest.raises(InstanceNotFound):
        await provider.get_instance_status(VM)


@pytest.mark.parametrize("word", ["deleting", "error", "failed", "relocating", None, 7])
async def test_any_other_word_is_unknown_and_stays_listed(word: object) -> None:
    provider, _ = account("v2", answer({"data": [{"id": VM, "name": TAG, "status": word}]}))
    assert [each.state for each in (await provider.list_all_instances()).instances] == [InstanceState.UNKNOWN]


@pytest.mark.parametrize("shape", ["v2_show", "v2_show_wrapped"])
async def test_a_single_read_fills_price_gpu_and_port(shape: str) -> None:
    provider, _ = account("v2", shape)
    found = await provider.get_instance_status(VM)
    assert (found.gpu, found.gpu_count, found.vram_gb) == ("RTX A6000", 2, 48)
    assert found.price_per_hour == 0.893999
    assert (found.address, found.ssh_port, found.state) == ("192.0.2.41", 21777, InstanceState.RUNNING)


async def test_running_without_an_address_is_starting() -> None:
    provider, _ = account("v2", "v2_show_no_address")
    found = await provider.get_instance_status(VM)
    assert (found.state, found.provider_state, found.ssh_port) == (InstanceState.STARTING, "running", None)


async def test_no_port_forwards_with_an_address_means_port_22() -> None:
    body = {"id": VM, "name": TAG, "status": "running", "ipAddress": "192.0.2.5", "portForwards": []}
    provider, _ = account("v2", answer(body))
    assert (await provider.get_instance_status(VM)).ssh_port == 22


@pytest.mark.parametrize("rate", [-1, 1e9, "x", None, True], ids=repr)
async def test_an_absurd_price_is_not_told(rate: object) -> None:
    provider, _ = account("v2", answer({"id": VM, "name": TAG, "rateHourly": rate}))
    assert (await provider.get_instance_status(VM)).price_per_hour is None


@pytest.mark.parametrize("body", [{"id": FOREIGN_VM, "name": TAG}, {"name": TAG}, {"data": {}}, {}, []], ids=repr)
async def test_a_single_read_about_something_else_is_a_bad_answer(body: object) -> None:
    provider, _ = account("v2", answer(body))
    with pytest.raises(BadAnswer):
        await provider.get_instance_status(VM)


@pytest.mark.parametrize("words", ["v2_show_404", "v2_show_200_404"])
async def test_the_providers_own_words_for_gone_are_not_found(words: str) -> None:
    provider, _ = account("v2", words, words)
    with pytest.raises(InstanceNotFound):
        await provider.get_instance_status(VM)
    with pytest.raises(InstanceNotFound):
        await provider.destroy_instance(VM)


@pytest.mark.parametrize(
    "reply",
    [
        "v2_not_found_page",
        answer({}, 404),
        answer({"error": "Route not found"}, 404),
        answer({"error": "Token not found"}, 404),
        answer({"error": "gone fishing"}, 404),
    ],
)
async def test_any_other_404_proves_nothing(reply: Any) -> None:
    provider, _ = account("v2", reply)
    with pytest.raises(BadAnswer):
        await provider.get_instance_status(VM)
    with pytest.raises(BadAnswer):
        await provider.destroy_instance(VM)


@pytest.mark.parametrize("bad", ["", "../instances", "a/b", "x?y", ".."])
async def test_an_id_that_would_change_the_address_is_never_sent(bad: str) -> None:
    provider, sender = account("v2", "v2_delete")
    with pytest.raises(BadAnswer):
        await provider.destroy_instance(bad)
    with pytest.raises(BadAnswer):
        await provider.get_instance_status(bad)
    assert sender.requests == []


@pytest.mark.parametrize("yes", ["v2_delete", "v2_delete_other", answer({"message": "deleted"}), Reply(204)])
async def test_a_destroy_that_is_confirmed_returns(yes: Any) -> None:
    provider, _ = account("v2", yes)
    await provider.destroy_instance(VM)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer({"success": False, "error": "locked for an hour"}), Refused),
        (answer({"error": "minimum rental period", "status": 409}), Refused),
        (answer([{"code": "custom", "message": "no"}], 400), Refused),
        (answer({"error": "x", "status": 500}), Unclear),
        (answer({}), BadAnswer),
        (answer({"data": {}}), BadAnswer),
        (answer({"unheard_of": True}), BadAnswer),
        (answer("ok"), BadAnswer),
        ("v2_bad_gateway", Unclear),
        ("v2_unauthorized", AuthFailed),
        (answer({"error": "Unauthorized"}), AuthFailed),
        (answer({"error": "x", "status": 401}), AuthFailed),
    ],
)
async def test_a_destroy_that_is_not_confirmed_raises(reply: Any, error: type[ProviderError]) -> None:
    provider, _ = account("v2", reply)
    with pytest.raises(error):
        await provider.destroy_instance(VM)


async def test_an_address_of_its_own_is_asked_for_where_there_is_one() -> None:
    provider, sender = account("v2", "v2_create")
    created = await provider.create_instance(order())
    sent = attributes(sender.requests[0])
    assert created.id == VM
    assert (sent["name"], sent["image"], sent["location_id"]) == (TAG, "ubuntu2404", LOCATION)
    assert sent["resources"] == {
        "vcpu_count": 8,
        "ram_gb": 32,
        "storage_gb": 100,
        "gpus": {"geforcertx4090-pcie-24gb": {"count": 1}},
    }
    assert sent["useDedicatedIp"] is True
    assert "port_forwards" not in sent
    assert sent["ssh_key"].startswith("ssh-ed25519 ")


async def test_port_22_is_forwarded_where_there_is_none() -> None:
    provider, sender = account("v2", "v2_create_bare")
    offer = f"{LOCATION}:geforcertx4090-pcie-24gb:2:16:64:100:forward"
    assert (await provider.create_instance(order(offer, disk_gb=120.5, image="ubuntu2204"))).id == VM
    sent = attributes(sender.requests[0])
    assert sent["port_forwards"] == [{"internal_port": 22, "external_port": 22}]
    assert "useDedicatedIp" not in sent
    assert sent["resources"]["storage_gb"] == 150
    assert sent["image"] == "ubuntu2204"


async def test_a_create_waits_two_minutes_unless_told() -> None:
    provider, sender = account("v2", "v2_create")
    await provider.create_instance(order())
    await provider.create_instance(order(timeout_seconds=5.0))
    assert [request.timeout_seconds for request in sender.requests] == [120.0, 5.0]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ssh_key": None}, "ssh_key_required"),
        ({"provider_id": "41000001"}, "invalid_offer"),
        ({"env": {"A B": "1"}}, "invalid_env"),
        ({"env": {"A": "1\0"}}, "invalid_env"),
    ],
)
async def test_what_could_only_be_refused_is_refused_before_any_request(changes: dict[str, Any], code: str) -> None:
    provider, sender = account("v2", "v2_create")
    with pytest.raises(Refused) as caught:
        await provider.create_instance(order(**changes))
    assert caught.value.code == code
    assert sender.requests == []


@pytest.mark.parametrize(
    ("reply", "error", "code"),
    [
        ("v2_create_no_nodes", OfferUnavailable, None),
        ("v2_create_hostnode", OfferUnavailable, None),
        ("v2_create_no_public_ip", OfferUnavailable, None),
        ("v2_create_balance", Refused, "insufficient_credit"),
        ("v2_create_bad_image", Refused, "invalid_request"),
        ("v2_create_ssh_port", Refused, "invalid_request"),
        ("v2_create_unexpected", Unclear, None),
        ("v2_create_empty_id", Unclear, None),
        (answer({}), Unclear, None),
        (answer({"error": "something new"}, 400), Unclear, None),
        (answer({"error": "No available nodes found"}, 500), Unclear, None),
        ("v2_bad_gateway", Unclear, None),
        ("v2_unauthorized", AuthFailed, None),
        ("v2_rate_limited", RateLimited, None),
        (answer({"error": "Too many requests", "status": 429}), RateLimited, None),
    ],
)
async def test_only_known_refusals_prove_that_nothing_was_rented(
    reply: Any, error: type[ProviderError], code: str | None
) -> None:
    provider, sender = account("v2", reply)
    with pytest.raises(error) as caught:
        await provider.create_instance(order())
    assert getattr(caught.value, "code", None) == code
    assert len(sender.requests) == 1


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_an_id_beside_an_error_binds_whatever_the_status(status: int) -> None:
    provider, _ = account("v2", answer({"error": "low balance", "data": {"id": VM}}, status))
    assert (await provider.create_instance(order())).id == VM


async def test_an_empty_2xx_to_a_create_is_unclear() -> None:
    provider, _ = account("v2", answer(""))
    with pytest.raises(Unclear):
        await provider.create_instance(order())


async def test_a_values_of_env_is_not_repeated_in_an_error() -> None:
    provider, _ = account("v2", answer([{"code": "custom", "message": "bad value hunter2hunter2"}], 400))
    with pytest.raises(Refused) as caught:
        await provider.create_instance(order(env={"PASSWORD": "hunter2hunter2"}))
    assert "hunter2" not in str(caught.value)


async def test_the_retry_hint_of_a_429_is_kept() -> None:
    provider, _ = account("v2", "v2_rate_limited")
    with pytest.raises(RateLimited) as caught:
        await provider.list_all_instances()
    assert caught.value.retry_after_seconds == 7.0


async def test_the_start_up_commands_reach_cloud_init() -> None:
    provider, sender = account("v2", "v2_create")
    await provider.create_instance(order(env={"A": "1"}, onstart="echo hi"))
    commands = attributes(sender.requests[0])["cloud_init"]["runcmd"]
    assert any("SHOPPERD_TAG" in line and TAG in line for line in commands)
    assert any("echo hi" in line for line in commands)
    assert json.dumps(commands).count("A=1") >= 1


@pytest.mark.parametrize("word", ["stopped", "Stopped", "stoppeddisassociated", "StoppedDisassociated", "outbid"])
async def test_a_stopped_machine_stays_listed(word: str) -> None:
    row = {"id": VM, "name": TAG, "status": word}
    provider, _ = account("v2", answer({"data": [row]}), answer(row))
    (listed,) = (await provider.list_all_instances()).instances
    shown = await provider.get_instance_status(VM)
    assert listed.state is shown.state is InstanceState.STOPPED
