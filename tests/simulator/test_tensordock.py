"""Both TensorDock dialects over the same machines: shapes, rules, and what each refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from shopperd.simulator.keys import BAD_KEY, READONLY_KEY
from tests.simulator.visitor import TAG, Visitor


@pytest.fixture
def v2() -> Visitor:
    return Visitor("v2", dock_linger_seconds=0)


@pytest.fixture
def v0() -> Visitor:
    return Visitor("v0", dock_linger_seconds=0)


# --- v2: market ---------------------------------------------------------------------------------------------


def test_locations_price_one_gpu_and_hold_their_unit_prices_in_each_entry(v2: Visitor) -> None:
    entry = v2.offers()[0]["gpus"][0]
    assert set(entry) == {
        "v0Name",
        "displayName",
        "max_count",
        "price_per_hr",
        "resources",
        "pricing",
        "network_features",
    }
    assert entry["pricing"] == {"per_vcpu_hr": 0.003, "per_gb_ram_hr": 0.002, "per_gb_storage_hr": 0.00005}


def test_locations_answer_without_a_token_and_hostnodes_do_not() -> None:
    visitor = Visitor("v2", key="")
    assert visitor.search().status == 200
    assert visitor.ask("GET", "/api/v2/hostnodes").status == 401


def test_hostnodes_can_be_filtered_and_looked_at(v2: Visitor) -> None:
    nodes = v2.ask("GET", "/api/v2/hostnodes").json()["data"]["hostnodes"]
    gpu = nodes[0]["available_resources"]["gpus"][0]["v0Name"]
    some = v2.ask("GET", "/api/v2/hostnodes", query={"gpu": gpu}).json()["data"]["hostnodes"]
    assert 0 < len(some) < len(nodes)
    assert v2.ask("GET", f"/api/v2/hostnodes/{nodes[0]['id']}").json()["data"] == nodes[0]
    assert v2.ask("GET", "/api/v2/hostnodes/none").status == 404


def test_renting_lowers_what_is_free(v2: Visitor) -> None:
    node = v2.node()
    gpu = next(iter(node.gpus))
    before = node.gpus[gpu]
    instance_id = v2.rent()
    assert node.gpus[gpu] == before - 1
    v2.destroy(instance_id)
    assert node.gpus[gpu] == before


# --- v2: machines -------------------------------------------------------------------------------------------


def test_a_create_is_wrapped_and_says_running_before_there_is_an_address() -> None:
    visitor = Visitor("v2", boot_seconds=10)
    created = visitor.create().json()
    assert set(created["data"]) == {"type", "id", "name", "status"}
    assert created["data"]["status"] == "running"
    assert "ipAddress" not in visitor.rows()[0]
    visitor.wait(12)
    assert visitor.rows()[0]["ipAddress"].startswith("198.51.100.")


def test_the_list_is_a_flat_array_and_one_machine_is_not_wrapped(v2: Visitor) -> None:
    assert v2.page().json() == {"data": []}
    instance_id = v2.rent()
    assert [row["id"] for row in v2.page().json()["data"]] == [instance_id]
    shown = v2.show(instance_id).json()
    assert shown["id"] == instance_id
    assert shown["name"] == TAG
    assert "rateHourly" not in v2.rows()[0]


def test_the_rate_is_the_sum_of_all_parts_with_the_noise_of_floats(v2: Visitor) -> None:
    node = v2.node()
    gpu = next(iter(node.gpus))
    shown = v2.show(v2.rent()).json()
    exact = node.gpu_prices[gpu] + 4 * 0.003 + 16 * 0.002 + 100 * 0.00005
    assert shown["rateHourly"] == pytest.approx(exact, abs=2e-6)
    assert shown["rateHourly"] != exact


def test_the_external_port_is_the_servers_choice(v2: Visitor) -> None:
    ports = v2.show(v2.rent()).json()["portForwards"]
    assert [port["internal_port"] for port in ports] == [22]
    assert ports[0]["external_port"] != 22


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"name": None}, "invalid_type", "Required"),
        ({"image": "ubuntu2404_nvidia_570"}, "invalid_enum_value", "Invalid enum value"),
        ({"port_forwards": []}, "custom", "SSH port (22) must be forwarded for Ubuntu VMs"),
        ({"ssh_key": None}, "custom", "SSH key is required"),
        ({"ssh_key_id": "x"}, "custom", "not both"),
        ({"location_id": None}, "custom", "Exactly one of"),
        ({"hostnode_id": "x"}, "custom", "Exactly one of"),
        ({"resources": None}, "invalid_type", "Required"),
        (
            {"resources": {"vcpu_count": 3, "ram_gb": 16, "storage_gb": 100, "gpus": {"x": {"count": 1}}}},
            "custom",
            "even",
        ),
        (
            {"resources": {"vcpu_count": 4, "ram_gb": 17, "storage_gb": 100, "gpus": {"x": {"count": 1}}}},
            "custom",
            "RAM",
        ),
        (
            {"resources": {"vcpu_count": 4, "ram_gb": 16, "storage_gb": 50, "gpus": {"x": {"count": 1}}}},
            "too_small",
            "100",
        ),
        ({"resources": {"vcpu_count": 4, "ram_gb": 16, "storage_gb": 100}}, "custom", "At least one GPU"),
        ({"resources": {"vcpu_count": 4, "ram_gb": 16, "storage_gb": 100, "gpus": [1]}}, "invalid_type", "object"),
        ({"resources": {"vcpu_count": "4", "ram_gb": 16, "storage_gb": 100}}, "invalid_type", "integer"),
    ],
)
def test_a_create_that_breaks_a_rule_is_400_with_an_array_of_issues(
    v2: Visitor, changes: dict[str, Any], code: str, message: str
) -> None:
    answer = v2.create(**changes)
    assert answer.status == 400
    assert any(issue["code"] == code and message in issue["message"] for issue in answer.json())
    assert v2.existing() == []


def test_windows_needs_no_key_and_a_dedicated_address_no_port(v2: Visitor) -> None:
    assert v2.create(image="windows10", ssh_key=None, port_forwards=[]).status == 200
    node = next(node for node in v2.world.truth.dock.nodes.values() if node.dedicated_ips and any(node.gpus.values()))
    gpu = next(name for name, count in node.gpus.items() if count)
    wish = v2.wish(node.site.id, gpu, TAG, hostnode_id=node.id, location_id=None, useDedicatedIp=True, port_forwards=[])
    before = node.dedicated_ips
    created = v2.ask("POST", "/api/v2/instances", wish)
    assert created.status == 200
    assert node.dedicated_ips == before - 1
    assert v2.show(created.json()["data"]["id"]).json()["portForwards"] == []


def test_what_cannot_be_had_is_refused_with_http_200(v2: Visitor) -> None:
    nowhere = v2.create(location_id="nowhere")
    assert (nowhere.status, nowhere.json()) == (200, {"status": 400, "error": "No available nodes found"})
    node = v2.create(location_id=None, hostnode_id="none")
    assert node.json()["error"] == "Hostnode unavailable"


def test_without_money_a_create_is_refused_with_http_200() -> None:
    answer = Visitor("v2", credit=0.5).create()
    assert answer.status == 200
    assert "need at least" in answer.json()["error"]


def test_a_deleted_machine_answers_for_a_moment_and_is_then_not_found() -> None:
    visitor = Visitor("v2", dock_linger_seconds=2)
    instance_id = visitor.rent()
    answer = visitor.destroy(instance_id)
    assert answer.json() == {"data": {"type": "success", "attributes": {"message": "Instance deleted successfully"}}}
    assert visitor.show(instance_id).status == 200
    assert visitor.listed() == [instance_id]
    visitor.wait(2)
    assert visitor.show(instance_id).status == 404
    assert visitor.listed() == []
    assert visitor.destroy(instance_id).status == 404


def test_stop_keeps_the_gpu_and_start_is_refused_while_it_runs(v2: Visitor) -> None:
    instance_id = v2.rent()
    path = f"/api/v2/instances/{instance_id}"
    assert v2.ask("POST", f"{path}/start").status == 409
    stopping = v2.ask("POST", f"{path}/stop")
    assert stopping.json()["data"]["attributes"] == {"status": "stopping"}
    v2.wait(3)
    assert v2.show(instance_id).json()["status"] == "stopped"
    assert v2.ask("POST", f"{path}/start", {}).json()["data"]["attributes"] == {"status": "starting"}
    assert v2.show(instance_id).json()["status"] == "running"


def test_a_machine_is_modified_only_while_it_is_stopped(v2: Visitor) -> None:
    path = f"/api/v2/instances/{v2.rent()}"
    body = {"cpuCores": 4, "ramGb": 16, "diskGb": 150, "gpus": {"gpuV0Name": "x", "count": 1}}
    assert v2.ask("PUT", f"{path}/modify", body).status == 400
    v2.ask("POST", f"{path}/stop")
    v2.wait(3)
    assert v2.ask("PUT", f"{path}/modify", body).status == 200
    assert v2.ask("PUT", f"{path}/modify", body | {"diskGb": 50}).status == 400


def test_a_secret_is_kept_without_its_value(v2: Visitor) -> None:
    attributes = {"name": "mine", "type": "SSHKEY", "value": "ssh-ed25519 SECRET"}
    body = {"data": {"type": "secret", "attributes": attributes}}
    made = v2.ask("POST", "/api/v2/secrets", body).json()["data"]
    listed = v2.ask("GET", "/api/v2/secrets")
    assert listed.json()["data"]["secrets"] == [made]
    assert b"SECRET" not in listed.body
    assert v2.ask("DELETE", f"/api/v2/secrets/{made['id']}").status == 200
    assert v2.ask("GET", f"/api/v2/secrets/{made['id']}").status == 404


@pytest.mark.parametrize("key", ["", BAD_KEY, "an-id:a-token"])
def test_a_missing_or_bad_token_is_401(key: str) -> None:
    answer = Visitor("v2", key=key).page()
    assert (answer.status, answer.body) == (401, b"Unauthorized")


@pytest.mark.parametrize("dialect", ["v2", "v0"])
def test_a_readonly_token_reads_and_changes_nothing(dialect: str) -> None:
    visitor = Visitor(dialect, key=READONLY_KEY)
    assert visitor.page().status == 200
    assert visitor.create().status == 403
    assert visitor.existing() == []


def test_an_unknown_route_is_404(v2: Visitor, v0: Visitor) -> None:
    assert v2.ask("GET", "/api/v2/nothing").status == 404
    assert v0.form("client/nothing").status == 404


# --- v0 -----------------------------------------------------------------------------------------------------


def test_both_dialects_see_the_same_machines(v2: Visitor) -> None:
    instance_id = v2.rent()
    v2.dialect = "v0"
    assert v2.listed() == [instance_id]
    v2.destroy(instance_id)
    v2.dialect = "v2"
    assert v2.listed() == []


def test_hostnodes_answer_without_credentials_and_follow_their_filters() -> None:
    visitor = Visitor("v0", key="")
    everything = visitor.ask("GET", "/api/v0/client/deploy/hostnodes").json()
    big = visitor.ask("GET", "/api/v0/client/deploy/hostnodes", query={"minVRAM": "80", "minGPUCount": "1"}).json()
    assert everything["success"] is True
    assert 0 < len(big["hostnodes"]) < len(everything["hostnodes"])
    one = next(iter(everything["hostnodes"]))
    single = visitor.ask("GET", f"/api/v0/client/deploy/hostnodes/{one}").json()
    assert single["hostnode"] == everything["hostnodes"][one]


def test_a_deploy_answers_the_id_the_ports_and_the_cost(v0: Visitor) -> None:
    port = v0.node().ports[0]
    created = v0.create().json()
    assert created["success"] is True
    assert created["port_forwards"] == {str(port): "22"}
    assert created["cost"]["total_price"] == pytest.approx(
        created["cost"]["compute_price"] + created["cost"]["storage_price"]
    )
    row = v0.rows()[0]
    assert row["status"] == "Running"
    assert row["timestamp_creation"] == "Sun, 22 Nov 2026 22:00:00 GMT"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"password": "short"}, 400),
        ({"vcpus": 3}, 400),
        ({"ram": 15}, 400),
        ({"operating_system": "BeOS"}, 400),
        ({"storage": 10}, 400),
        ({"hostnode": "none"}, 400),
        ({"gpu_count": 99}, 400),
        ({"gpu_count": "two"}, 400),
        ({"external_ports": "{1}"}, 500),
        ({"external_ports": "{1, 1}"}, 400),
        ({"cloudinit_script": "a\nb"}, 500),
    ],
)
def test_a_deploy_that_breaks_a_rule_is_refused(v0: Visitor, changes: dict[str, Any], status: int) -> None:
    assert v0.create(**changes).status == status
    assert v0.existing() == []


def test_a_deploy_tolerates_the_word_none_and_a_list_in_brackets(v0: Visitor) -> None:
    port = v0.node().ports[1]
    assert v0.create(price="None", external_ports=f"[{port}]", internal_ports="[22]").status == 200


def test_one_machine_comes_under_both_recorded_names(v0: Visitor) -> None:
    shown = v0.show(v0.rent()).json()
    assert shown["virtualmachine"] == shown["virtualmachines"]


@pytest.mark.parametrize(("release", "status"), [("True", "StoppedDisassociated"), ("false", "Stopped")])
def test_a_stop_releases_the_gpu_only_if_asked(v0: Visitor, release: str, status: str) -> None:
    instance_id = v0.rent()
    node = v0.world.truth.find("tensordock", instance_id).node  # type: ignore[union-attr]  # a TensorDock machine
    gpu = next(iter(node.gpus))
    held = node.gpus[gpu]
    v0.form("client/stop/single", server=instance_id, disassociate_resources=release)
    v0.wait(3)
    assert v0.rows()[0]["status"] == status
    assert node.gpus[gpu] == held + (release == "True")
    v0.destroy(instance_id)
    assert node.gpus[gpu] == held + 1


def test_a_released_gpu_that_others_took_cannot_be_started_again(v0: Visitor) -> None:
    instance_id = v0.rent()
    v0.form("client/stop/single", server=instance_id, disassociate_resources="true")
    v0.wait(3)
    node = v0.world.truth.find("tensordock", instance_id).node  # type: ignore[union-attr]  # a TensorDock machine
    node.gpus = dict.fromkeys(node.gpus, 0)
    assert v0.form("client/start/single", server=instance_id).status == 500


def test_a_state_conflict_is_500_in_the_recorded_words(v0: Visitor) -> None:
    instance_id = v0.rent()
    answer = v0.form("client/start/single", server=instance_id)
    assert answer.status == 500
    assert answer.json() == {"success": False, "error": "Machine is running, therefore it cannot be started"}
    v0.form("client/stop/single", server=instance_id, disassociate_resources="true")
    v0.wait(3)
    again = v0.form("client/stop/single", server=instance_id)
    assert again.json()["error"] == "Machine is stoppeddisassociated, therefore it cannot be stopped"


def test_deleting_twice_says_already_terminated(v0: Visitor) -> None:
    instance_id = v0.rent()
    assert v0.destroy(instance_id).json() == {"success": True}
    assert "already terminated" in v0.destroy(instance_id).json()["error"]


def test_the_balance_tells_what_is_left_and_what_it_costs(v0: Visitor) -> None:
    v0.conjure(price_per_hour=1.5)
    assert v0.form("billing/balance").json() == {"success": True, "balance": 9998.5, "hourly_cost": 1.5}


def test_bad_credentials_are_401_and_a_token_without_its_id_is_none() -> None:
    assert Visitor("v0", key=BAD_KEY).form("auth/test").status == 401
    assert Visitor("v0", key="").form("auth/test", api_token="alone").status == 401
    assert Visitor("v0").form("auth/test").json() == {"success": True}


def test_credentials_may_come_as_multipart(v0: Visitor) -> None:
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % pair
        for pair in ((b"api_key", b"an-id"), (b"api_token", b"a-token"))
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert v0.ask("POST", "/api/v0/auth/test", body=body + b"--b--", headers=headers).status == 200


@pytest.mark.parametrize("route", ["auth/list", "client/spot/validate/new", "client/spot/validate/existing"])
def test_the_smaller_v0_routes_answer(v0: Visitor, route: str) -> None:
    assert v0.form(route).json()["success"] is True
