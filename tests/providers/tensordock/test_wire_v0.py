"""The v0 dialect through the adapter."""

import base64
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from shopperd.model import InstanceState, Ownership
from shopperd.providers.contract import (
    AuthFailed,
    BadAnswer,
    InstanceNotFound,
    OfferFilter,
    OfferUnavailable,
    ProviderError,
    Refused,
    Unclear,
)
from shopperd.providers.transport import HttpRequest
from tests.providers.tensordock.account import AUTH_ID, FOREIGN_VM, TAG, TOKEN, VM, account, answer, order

NODE = "a6e3b5d8-14c7-49f2-8d60-5b9e7c2f1a34"
OFFER = f"{NODE}:rtxa5000-pcie-24gb:1:8:32:100:30015"


def form(request: HttpRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs((request.body or b"").decode()).items()}


async def test_the_credentials_are_in_the_form_of_every_post_and_nowhere_else() -> None:
    provider, sender = account("v0", "v0_hostnodes", "v0_list", "v0_show", "v0_deploy", "v0_success")
    await provider.list_offers(OfferFilter())
    await provider.list_all_instances()
    await provider.get_instance_status(VM)
    await provider.create_instance(order(OFFER))
    await provider.destroy_instance(VM)
    market, *posts = sender.requests
    assert (market.method, market.url) == (
        "GET",
        "https://marketplace.tensordock.com/api/v0/client/deploy/hostnodes",
    )
    assert market.body is None
    routes = ["client/list", "client/get/single", "client/deploy/single", "client/delete/single"]
    assert [post.url for post in posts] == [f"https://marketplace.tensordock.com/api/v0/{route}" for route in routes]
    for post in posts:
        assert (form(post)["api_key"], form(post)["api_token"]) == (AUTH_ID, TOKEN)
        assert "Authorization" not in post.headers
        assert TOKEN not in repr(post)
    assert form(posts[1])["server"] == form(posts[3])["server"] == VM


async def test_a_list_is_read_with_price_time_and_port() -> None:
    provider, _ = account("v0", "v0_list")
    snapshot = await provider.list_all_instances()
    (found,) = snapshot.instances
    assert snapshot.complete
    assert (found.id, found.tag, found.ownership) == (VM, TAG, Ownership.OURS)
    assert (found.state, found.provider_state) == (InstanceState.RUNNING, "Running")
    assert (found.gpu, found.gpu_count, found.price_per_hour) == ("RTX A5000", 1, 0.303)
    assert (found.address, found.ssh_port) == ("192.0.2.77", 30015)
    assert found.started_at == datetime(2026, 11, 10, 8, 30, tzinfo=UTC)


async def test_an_old_record_tells_less_and_is_read_all_the_same() -> None:
    provider, _ = account("v0", "v0_list_old")
    (found,) = (await provider.list_all_instances()).instances
    assert (found.state, found.address, found.ssh_port) == (InstanceState.RUNNING, None, 30118)
    assert (found.gpu_count, found.price_per_hour) == (1, None)


async def test_an_empty_map_is_complete() -> None:
    provider, _ = account("v0", "v0_list_empty")
    snapshot = await provider.list_all_instances()
    assert (snapshot.complete, snapshot.instances) == (True, ())


@pytest.mark.parametrize(
    "body", [{"success": True}, {"success": True, "virtualmachines": []}, {"virtualmachines": {}}, [], None], ids=repr
)
async def test_an_unknown_list_shape_is_never_read_as_no_machines(body: object) -> None:
    provider, _ = account("v0", answer(body))
    with pytest.raises(BadAnswer):
        await provider.list_all_instances()


@pytest.mark.parametrize(
    ("rows", "left"),
    [({VM: None}, 1), ({VM: "x"}, 1), ({"": {"name": TAG}}, 0), ({VM: {"name": 7}}, 1)],
    ids=repr,
)
async def test_a_row_that_cannot_be_identified_makes_the_snapshot_incomplete(rows: object, left: int) -> None:
    provider, _ = account("v0", answer({"success": True, "virtualmachines": rows}))
    snapshot = await provider.list_all_instances()
    assert (snapshot.complete, snapshot.reason, len(snapshot.instances)) == (False, "bad_row", left)


@pytest.mark.parametrize("shape", ["v0_show", "v0_show_plural", "v0_show_by_id"])
async def test_a_single_read_is_found_under_either_key(shape: str) -> None:
    provider, _ = account("v0", shape)
    found = await provider.get_instance_status(VM)
    assert (found.id, found.tag, found.price_per_hour) == (VM, TAG, 0.303)


async def test_an_outbid_machine_is_stopped_and_its_host_name_is_its_address() -> None:
    provider, _ = account("v0", "v0_show_outbid")
    found = await provider.get_instance_status(VM)
    assert (found.state, found.address, found.ssh_port) == (InstanceState.STOPPED, "192.0.2.90", 60098)


async def test_a_single_read_about_another_machine_is_a_bad_answer() -> None:
    other = {"name": TAG, "status": "Running", "hostname": FOREIGN_VM}
    bodies: list[dict[str, object]] = [
        {"virtualmachine": other},
        {"virtualmachines": {FOREIGN_VM: other}},
        {"virtualmachine": {}},
    ]
    for body in bodies:
        provider, _ = account("v0", answer({"success": True, **body}))
        with pytest.raises(BadAnswer):
            await provider.get_instance_status(VM)


async def test_a_deployment_asks_for_the_nodes_port_and_has_a_password_that_nobody_knows() -> None:
    provider, sender = account("v0", "v0_deploy")
    first = await provider.create_instance(order(OFFER, env={"A": "x y"}, onstart="echo 'hi'\necho \\n"))
    await provider.create_instance(order(OFFER))
    sent, again = (form(request) for request in sender.requests)
    assert (first.id, first.price_per_hour) == (VM, 0.303)
    assert (sent["hostnode"], sent["gpu_model"], sent["gpu_count"]) == (NODE, "rtxa5000-pcie-24gb", "1")
    assert (sent["vcpus"], sent["ram"], sent["storage"]) == ("8", "32", "100")
    assert (sent["external_ports"], sent["internal_ports"]) == ("{30015}", "{22}")
    assert len(sent["password"]) > 32
    assert sent["password"] != again["password"]
    assert any(each.isupper() for each in sent["password"])
    assert any(each.isdigit() for each in sent["password"])
    assert "\n" not in sent["cloudinit_script"]
    head, packed = sent["cloudinit_script"].split("- echo ")
    script = base64.b64decode(packed.split(" | ")[0]).decode()
    assert head == "runcmd:\\n"
    assert "echo 'hi'" not in sent["cloudinit_script"]
    assert f"SHOPPERD_TAG={TAG}" in script


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer({"success": False, "error": "Hostnode unavailable"}), OfferUnavailable),
        (answer({"success": False, "error": "No available nodes found"}, 500), OfferUnavailable),
        (answer({"success": False, "error": "Insufficient funds"}, 400), Refused),
        (answer({"success": False, "error": "There are not enough resources"}, 400), OfferUnavailable),
        (answer({"success": False, "error": "vcpus must be even"}, 400), Refused),
        (answer({"success": False, "error": "vcpus must be even"}, 500), Unclear),
        (answer({"success": False, "error": "who knows"}, 400), Unclear),
        (answer({"success": True}), Unclear),
        (answer({"success": True, "server": ""}), Unclear),
        ("v0_deploy_500", Unclear),
    ],
)
async def test_only_known_refusals_prove_that_nothing_was_deployed(reply: Any, error: type[ProviderError]) -> None:
    provider, sender = account("v0", reply)
    with pytest.raises(error):
        await provider.create_instance(order(OFFER))
    assert len(sender.requests) == 1


async def test_an_id_beside_an_error_binds() -> None:
    provider, _ = account("v0", answer({"success": False, "error": "late", "server": VM}, 500))
    assert (await provider.create_instance(order(OFFER))).id == VM


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("v0_delete_again", InstanceNotFound),
        ("v0_delete_500", Unclear),
        ("v0_conflict", Refused),
        (answer({"success": False, "error": "no idea"}, 500), Unclear),
        (answer({"success": False, "error": "Invalid API key"}), AuthFailed),
        (answer({"error": "x"}, 401), AuthFailed),
        (answer({}), BadAnswer),
        (answer({"success": "maybe"}), BadAnswer),
    ],
)
async def test_a_delete_that_is_not_confirmed_raises(reply: Any, error: type[ProviderError]) -> None:
    provider, _ = account("v0", reply)
    with pytest.raises(error):
        await provider.destroy_instance(VM)


async def test_a_delete_that_is_confirmed_returns() -> None:
    provider, _ = account("v0", "v0_success")
    await provider.destroy_instance(VM)


async def test_nodes_become_offers_and_the_others_are_counted() -> None:
    provider, _ = account("v0", "v0_hostnodes")
    offers = await provider.list_offers(OfferFilter())
    assert [(offer.gpu, offer.gpu_count) for offer in offers] == [("RTX A5000", 1), ("RTX A5000", 2), ("RTX A5000", 4)]
    assert offers.rejected == {"no_stock": 1, "no_access": 1, "offline": 1}
    one, two, four = offers
    assert one.location == "Oslo, Norway"
    assert one.reliability == 0.9987
    # 8 vCPU, 32 GB, 100 GB around one GPU; three quarters of the node around two; all of it around four.
    assert one.price_per_hour == pytest.approx(0.21 + 8 * 0.003 + 32 * 0.002 + 100 * 0.00005)
    assert two.provider_id == f"{NODE}:rtxa5000-pcie-24gb:2:16:64:100:30015"
    assert four.provider_id == f"{NODE}:rtxa5000-pcie-24gb:4:32:112:100:30015"


async def test_restrictions_of_a_node_bound_the_machine() -> None:
    node = {
        "networking": {"ports": ["30001"]},
        "specs": {
            "gpu": {"l4-pcie-24gb": {"amount": "1", "price": "0.2"}},
            "cpu": {"amount": 64, "price": 0.003},
            "ram": {"amount": 256, "price": 0.002},
            "storage": {"amount": 900, "price": 0.00005},
            "restrictions": {"1": {"cpu": {"min": 11, "max": 16}, "ram": {"max": 20}, "storage": {"min": 210}}},
        },
    }
    provider, _ = account("v0", answer({"hostnodes": {NODE: node}}))
    (offer,) = await provider.list_offers(OfferFilter())
    assert offer.provider_id == f"{NODE}:l4-pcie-24gb:1:12:16:250:30001"


@pytest.mark.parametrize(
    "reply", ["v0_hostnodes_404", answer({"success": True, "hostnodes": {}}), answer({"hostnodes": []})]
)
async def test_no_nodes_at_all_is_a_bad_answer(reply: Any) -> None:
    provider, _ = account("v0", reply)
    with pytest.raises(BadAnswer):
        await provider.list_offers(OfferFilter())
