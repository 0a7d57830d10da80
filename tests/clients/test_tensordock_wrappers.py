"""The two public wrappers of TensorDock's v0 API against the simulator.

`tensordock` raises when a status is not 200. `pytensordock` never raises: it prints and answers ``{"error": ...}``, and its two
market calls print what they got and return nothing.
"""

import json
from typing import Any

import aiohttp
import pytest

from tests.clients.programs import Caller, ClientError, Clients, Ledger

pytestmark = pytest.mark.clients

KEY, TOKEN = "11111111-2222-3333-4444-555555555555", "a-good-token"
GPU = "geforcertx4090-pcie-24gb"


@pytest.fixture
async def api(clients: Clients) -> Caller:
    return await clients.caller("tensordock", "tensordock_api", clients.tensordock_url, KEY, TOKEN)


@pytest.fixture
async def wrapper(clients: Clients) -> Caller:
    return await clients.caller("pytensordock", "pytensordock_wrapper", clients.tensordock_url, KEY, TOKEN)


def node_with_gpu(hostnodes: dict[str, Any]) -> tuple[str, list[int]]:
    """A node with a free GPU of the wanted model, and its free ports."""
    for node_id, node in hostnodes.items():
        if node["specs"]["gpu"].get(GPU, {}).get("amount", 0) >= 1:
            return node_id, node["networking"]["ports"]
    raise AssertionError(f"no node has a {GPU}")


# --- tensordock ---------------------------------------------------------------------------------------------


async def test_tensordock_tests_its_authorization_and_reads_the_balance(api: Caller, ledger: Ledger) -> None:
    assert await api.call("authorization.test_authorization") == {"success": True}
    assert (await api.call("authorization.list_authorizations"))["success"] is True
    balance = await api.call("billing.get_balance")
    assert (balance["success"], balance["hourly_cost"]) == (True, 0)
    assert balance["balance"] > 0
    assert await ledger.requests() == [
        "POST /api/v0/auth/test 200",
        "POST /api/v0/auth/list 200",
        "POST /api/v0/billing/balance 200",
    ]


async def test_tensordock_rents_looks_stops_starts_and_deletes(api: Caller, ledger: Ledger) -> None:
    nodes = (await api.call("virtual_machines.get_available_hostnodes", min_gpu_count=1))["hostnodes"]
    node, ports = node_with_gpu(nodes)
    single = (await api.call("virtual_machines.get_hostnode_details", node))["hostnode"]
    assert single["specs"] == nodes[node]["specs"]
    made = await api.call(
        "virtual_machines.deploy_vm",
        name="fleet-a",
        gpu_count=1,
        gpu_model=GPU,
        vcpus=4,
        ram=16,
        external_ports=f"{{{ports[0]}, {ports[1]}}}",
        internal_ports="{22, 8080}",
        hostnode=node,
        storage=100,
        operating_system="Ubuntu 22.04 LTS",
        password="Long-enough-1",
    )
    server = made["server"]
    assert made["port_forwards"] == {str(ports[0]): "22", str(ports[1]): "8080"}
    prices = single["specs"]
    expected = (
        prices["gpu"][GPU]["price"]
        + 4 * prices["cpu"]["price"]
        + 16 * prices["ram"]["price"]
        + 100 * prices["storage"]["price"]
    )
    assert made["cost"]["total_price"] == pytest.approx(expected, abs=1e-5)

    listed = (await api.call("virtual_machines.list_vms"))["virtualmachines"]
    assert list(listed) == [server]
    assert (listed[server]["name"], listed[server]["status"]) == ("fleet-a", "Running")
    assert listed[server]["specs"] == {"gpu": {"amount": 1, "type": GPU}, "ram": 16, "storage": 100, "vcpus": 4}
    assert (await api.call("virtual_machines.get_vm_details", server))["virtualmachine"]["hostnode"] == node
    assert (await api.call("billing.get_balance"))["hourly_cost"] == pytest.approx(expected, abs=0.001)

    # It writes Python's True into the form.
    await api.call("virtual_machines.stop_vm", server, disassociate_resources=True)
    details = await api.call("virtual_machines.get_vm_details", server)
    assert details["virtualmachine"]["status"] == "StoppedDisassociated"
    await api.call("virtual_machines.start_vm", server)
    details = await api.call("virtual_machines.get_vm_details", server)
    assert details["virtualmachine"]["status"] == "Running"
    assert await api.call("virtual_machines.delete_vm", server) == {"success": True}
    assert (await api.call("virtual_machines.list_vms"))["virtualmachines"] == {}
    assert await ledger.existing() == []
    done = [effect.partition(":")[0] for effect in await ledger.effects()]
    assert done == ["created", "stopped", "started", "destroyed"]


async def test_tensordock_is_told_why_a_machine_cannot_do_that_now(api: Caller, ledger: Ledger) -> None:
    server = await ledger.conjure(provider="tensordock", tag="fleet", state="running")
    with pytest.raises(ClientError, match="Machine is running, therefore it cannot be started"):
        await api.call("virtual_machines.start_vm", server)
    await api.call("virtual_machines.delete_vm", server)
    with pytest.raises(ClientError, match="already terminated"):
        await api.call("virtual_machines.delete_vm", server)


async def test_tensordock_cannot_rent_odd_numbers_of_cores(api: Caller, ledger: Ledger) -> None:
    nodes = (await api.call("virtual_machines.get_available_hostnodes"))["hostnodes"]
    node, ports = node_with_gpu(nodes)
    form = {"name": "fleet", "gpu_count": 1, "gpu_model": GPU, "vcpus": 3, "ram": 16, "storage": 100, "hostnode": node}
    access = {"operating_system": "Ubuntu 22.04 LTS", "password": "Long-enough-1", "internal_ports": "{22}"}
    with pytest.raises(ClientError, match="even"):
        await api.call("virtual_machines.deploy_vm", **form, **access, external_ports=f"{{{ports[0]}}}")
    assert await ledger.existing() == []


async def test_tensordock_with_a_bad_token_is_refused(clients: Clients) -> None:
    api = await clients.caller("tensordock", "tensordock_api", clients.tensordock_url, KEY, "bad-key")
    with pytest.raises(ClientError, match="Invalid API key or token"):
        await api.call("virtual_machines.list_vms")


# --- pytensordock -------------------------------------------------------------------------------------------


async def test_pytensordock_prints_the_market_and_returns_nothing(wrapper: Caller, ledger: Ledger) -> None:
    said = await wrapper.outcome("list_available_hostnodes", min_gpu_count=1)
    assert said["result"] is None
    nodes = json.loads(said["printed"])["hostnodes"]
    node, _ = node_with_gpu(nodes)
    single = json.loads(await wrapper.printed("get_specific_hostnode", node))
    assert single["hostnode"]["specs"] == nodes[node]["specs"]
    assert await ledger.requests() == [
        "GET /api/v0/client/deploy/hostnodes 200",
        f"GET /api/v0/client/deploy/hostnodes/{node} 200",
    ]


async def test_pytensordock_rents_looks_stops_starts_and_deletes(wrapper: Caller, ledger: Ledger) -> None:
    assert await wrapper.call("test_authorization") == {"success": True}
    nodes = json.loads(await wrapper.printed("list_available_hostnodes", min_gpu_count=1))["hostnodes"]
    node, ports = node_with_gpu(nodes)
    # Its form says price=None in words.
    made = await wrapper.call(
        "deploy_machine",
        name="fleet-b",
        gpu_count=1,
        gpu_model=GPU,
        vcpus=4,
        ram=16,
        external_ports=[ports[0]],
        internal_ports=[22],
        hostnode=node,
        storage=100,
        operating_system="Ubuntu 22.04 LTS",
        password="Long-enough-1",
    )
    server = made["server"]
    listed = (await wrapper.call("list_virtual_machines"))["virtualmachines"]
    assert [(key, row["name"], row["type"]) for key, row in listed.items()] == [(server, "fleet-b", "ondemand")]
    assert (await wrapper.call("get_vm_details", server))["virtualmachine"]["port_forwards"] == {str(ports[0]): "22"}
    assert await wrapper.call("stop_server", server, disassociate_resources=False) == {"success": True}
    assert (await wrapper.call("get_vm_details", server))["virtualmachine"]["status"] == "Stopped"
    assert await wrapper.call("start_server", server) == {"success": True}
    assert (await wrapper.call("retrieve_balance"))["hourly_cost"] > 0
    assert await wrapper.call("delete_server", server) == {"success": True}
    assert (await wrapper.call("list_virtual_machines"))["virtualmachines"] == {}
    assert await ledger.existing() == []
    done = [effect.partition(":")[0] for effect in await ledger.effects()]
    assert done == ["created", "stopped", "started", "destroyed"]


async def test_pytensordock_answers_errors_instead_of_raising(clients: Clients, ledger: Ledger) -> None:
    server = await ledger.conjure(provider="tensordock", tag="fleet")
    stranger = await clients.caller("pytensordock", "pytensordock_wrapper", clients.tensordock_url, KEY, "bad-key")
    assert "401" in (await stranger.call("delete_server", server))["error"]
    assert await ledger.existing() == [server]


async def test_the_wrapper_sees_the_same_machines_as_the_newer_api(
    wrapper: Caller, ledger: Ledger, clients: Clients
) -> None:
    server = await ledger.conjure(provider="tensordock", tag="fleet", state="running")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{clients.tensordock_url}/api/v2/instances"
    async with aiohttp.request("GET", url, headers=headers) as answer:
        newer = await answer.json()
    older = (await wrapper.call("list_virtual_machines"))["virtualmachines"]
    assert [(row["id"], row["name"]) for row in newer["data"]] == [(server, "fleet")]
    assert [(key, row["name"]) for key, row in older.items()] == [(server, "fleet")]
