"""The Vast.ai dialect: market, renting, listing, one machine, and what each refusal says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shopperd.simulator.keys import BAD_KEY, READONLY_KEY
from tests.simulator.visitor import KEY, START, Visitor


@pytest.fixture
def visitor() -> Visitor:
    return Visitor(offers=300)


# --- market -------------------------------------------------------------------------------------------------


def test_a_search_answers_offers_with_exactly_the_content_type_that_the_official_client_demands(
    visitor: Visitor,
) -> None:
    answer = visitor.search()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert len(answer.json()["offers"]) == 300


def test_an_offer_has_the_hundred_members_of_a_recorded_row(visitor: Visitor) -> None:
    offer = visitor.offers()[0]
    assert len(offer) == 100
    assert offer["id"] == offer["ask_contract_id"]
    assert offer["duration"] == offer["end_date"] - START
    assert offer["public_ipaddr"].endswith("\n")


def test_the_disk_that_is_asked_for_is_in_the_price(visitor: Visitor) -> None:
    small = {offer["id"]: offer for offer in visitor.offers()}
    for offer in visitor.offers(allocated_storage=80):
        assert offer["dph_total"] == pytest.approx(offer["dph_base"] + offer["storage_cost"] * 80 / 720)
        assert small[offer["id"]]["dph_total"] == pytest.approx(offer["dph_base"] + offer["storage_cost"] * 8 / 720)


def test_a_bid_search_prices_at_the_minimum_bid(visitor: Visitor) -> None:
    for offer in visitor.offers(type="bid"):
        assert offer["is_bid"] is True
        assert offer["dph_base"] == offer["min_bid"]


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        ({"gpu_name": {"eq": "RTX 4090"}}, lambda o: o["gpu_name"] == "RTX 4090"),
        ({"gpu_name": {"in": ["RTX 4090", "RTX 3090"]}}, lambda o: o["gpu_name"] in ("RTX 4090", "RTX 3090")),
        ({"gpu_name": {"notin": ["RTX 4090"]}}, lambda o: o["gpu_name"] != "RTX 4090"),
        ({"gpu_name": {"neq": "RTX 4090"}}, lambda o: o["gpu_name"] != "RTX 4090"),
        ({"num_gpus": {"eq": "1"}}, lambda o: o["num_gpus"] == 1),
        ({"num_gpus": {"gte": 2, "lte": 4}}, lambda o: 2 <= o["num_gpus"] <= 4),
        ({"dph_total": {"lt": "0.5"}}, lambda o: o["dph_total"] < 0.5),
        ({"gpu_ram": {"gt": 24000.0}}, lambda o: o["gpu_ram"] > 24000),
        ({"reliability": {"gt": "0.99"}}, lambda o: o["reliability2"] > 0.99),
        ({"verified": {"eq": True}}, lambda o: o["verification"] == "verified"),
        ({"verified": {"eq": "false"}}, lambda o: o["verification"] != "verified"),
        ({"datacenter": {"eq": True}}, lambda o: o["hosting_type"] == 1),
        ({"geolocation": {"in": ["US", "CA"]}}, lambda o: o["geolocation"].endswith((", US", ", CA"))),
        ({"driver_version": {"gte": 570124004}}, lambda o: o["driver_vers"] >= 570124004),
        ({"compute_cap": {"gte": 890}}, lambda o: o["compute_cap"] >= 890),
        ({"duration": {"gte": 30 * 86400}}, lambda o: o["duration"] >= 30 * 86400),
        ({"static_ip": {"eq": True}}, lambda o: o["static_ip"]),
    ],
)
def test_a_filter_lets_through_what_fits_and_nothing_else(
    visitor: Visitor, filters: dict[str, Any], holds: Any
) -> None:
    everything = visitor.offers()
    found = visitor.offers(**filters)
    assert [offer["id"] for offer in found] == [offer["id"] for offer in everything if holds(offer)]
    assert 0 < len(found) < len(everything)


def test_an_unknown_filter_and_an_absent_value_filter_nothing(visitor: Visitor) -> None:
    assert len(visitor.offers(external={"eq": False}, ubuntu_version={"eq": "22"}, gpu_name=None)) == 300


def test_a_filter_by_id_finds_nothing_as_on_the_real_service(visitor: Visitor) -> None:
    wanted = visitor.offers()[0]["id"]
    assert visitor.offers(id={"eq": wanted}) == []
    assert [offer["id"] for offer in visitor.offers(ask_contract_id={"eq": wanted})] == [wanted]


def test_rows_come_in_the_asked_order_and_number(visitor: Visitor) -> None:
    prices = [offer["dph_total"] for offer in visitor.offers(order=[["dph_total", "asc"]], limit=20)]
    assert prices == sorted(prices)
    assert len(prices) == 20
    several = visitor.offers(order=[["num_gpus", "desc"], ["dph_total", "asc"]])
    assert several == sorted(several, key=lambda offer: (-offer["num_gpus"], offer["dph_total"]))


def test_without_a_key_at_most_64_rows_come_and_not_the_cheapest() -> None:
    visitor = Visitor(offers=300)
    order: dict[str, Any] = {"order": [["dph_total", "asc"]]}
    cheapest = [offer["id"] for offer in visitor.offers(**order, limit=64)]
    visitor.key = ""
    some = [offer["id"] for offer in visitor.offers(**order)]
    assert len(some) == 64
    assert set(some) != set(cheapest)


def test_unverified_rows_are_in_the_answer_unless_the_filter_is_sent(visitor: Visitor) -> None:
    assert {offer["verification"] for offer in visitor.offers()} == {"verified", "unverified", "deverified"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", "invalid_request"),
        (b"[]", "bad_request"),
        (b'{"gpu_name": "RTX 4090"}', "bad_request"),
        (b'{"num_gpus": {"about": 2}}', "bad_request"),
        (b'{"order": "dph_total"}', "bad_request"),
        (b'{"limit": "many"}', "bad_request"),
    ],
)
def test_a_search_that_cannot_be_read_is_refused(visitor: Visitor, body: bytes, error: str) -> None:
    answer = visitor.ask("POST", "/api/v0/bundles/", body=body)
    assert answer.status == 400
    assert answer.json()["error"] == error


def test_the_three_search_routes_answer_the_same(visitor: Visitor) -> None:
    wanted = {"gpu_name": {"eq": "RTX 4090"}}
    posted = visitor.search(**wanted).body
    asked = visitor.ask("GET", "/api/v0/bundles/", query={"q": json.dumps(wanted)}).body
    put = visitor.ask("PUT", "/api/v0/search/asks/", {"select_cols": ["*"], "q": wanted}).body
    assert posted == asked == put


def test_the_strict_search_refuses_other_members(visitor: Visitor) -> None:
    answer = visitor.ask("PUT", "/api/v0/search/asks/", {"rentable": {"eq": True}})
    assert answer.status == 400
    assert "rentable: Extra inputs are not permitted" in answer.json()["msg"]


# --- renting ------------------------------------------------------------------------------------------------


def test_a_rented_offer_leaves_the_market_with_everything_that_shares_its_gpus(visitor: Visitor) -> None:
    before = {offer["id"]: offer for offer in visitor.offers()}
    whole = next(
        offer
        for offer in before.values()
        if offer["gpu_frac"] == 1 and sum(o["machine_id"] == offer["machine_id"] for o in before.values()) > 1
    )
    instance_id = visitor.rent(offer=whole["id"])
    left = [offer["machine_id"] for offer in visitor.offers()]
    assert whole["machine_id"] not in left
    visitor.destroy(instance_id)
    assert len(visitor.offers()) == len(before)


def test_a_slice_leaves_slices_without_its_gpus_on_the_market(visitor: Visitor) -> None:
    offers = visitor.offers()
    one, other = next(
        (a, b)
        for a in offers
        for b in offers
        if a["machine_id"] == b["machine_id"] and not set(a["gpu_ids"]) & set(b["gpu_ids"])
    )
    visitor.rent(offer=one["id"])
    assert other["id"] in [offer["id"] for offer in visitor.offers()]


def test_a_create_answers_the_id_and_the_machine_carries_what_was_asked(visitor: Visitor) -> None:
    answer = visitor.create(
        disk=20, env={"A": "1", "-p 8000:8000": "1"}, onstart="echo hi", runtype="ssh_direc ssh_proxy"
    )
    assert answer.json()["success"] is True
    shown = visitor.rows()[0]
    assert shown["id"] == answer.json()["new_contract"]
    assert shown["extra_env"] == [["A", "1"], ["-p 8000:8000", "1"]]
    assert shown["disk_space"] == 20
    assert set(shown["ports"]) == {"22/tcp", "8000/tcp"}
    assert shown["image_runtype"] == "ssh_direc ssh_proxy"


def test_a_machine_without_a_label_has_null(visitor: Visitor) -> None:
    visitor.rent(tag=None)
    assert visitor.rows()[0]["label"] is None
    assert visitor.page().json()["label_counts"] == {"": 1}


def test_renting_an_offer_twice_is_refused_in_the_recorded_words(visitor: Visitor) -> None:
    offer = visitor.offers()[0]["id"]
    visitor.rent(offer=offer)
    answer = visitor.create(offer=offer)
    assert answer.status == 400
    assert answer.json() == {
        "success": False,
        "error": "invalid_args",
        "msg": f"error 404/3603: no_such_ask  Instance type by id {offer} is not available.",
        "ask_id": offer,
    }


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"image": None}, "invalid_args"),
        ({"image": "x" * 1025}, "invalid_args"),
        ({"label": "x" * 257}, "label_too_long"),
        ({"label": 5}, "invalid_args"),
        ({"disk": 4}, "invalid_args"),
        ({"disk": 1e9}, "invalid_args"),
        ({"price": 0}, "invalid_args"),
        ({"price": 129}, "invalid_price"),
        ({"price": "cheap"}, "invalid_price"),
        ({"onstart": "x" * 4049}, "invalid_args"),
    ],
)
def test_a_create_that_makes_no_sense_is_refused_and_rents_nothing(
    visitor: Visitor, fields: dict[str, Any], error: str
) -> None:
    tag = fields.pop("label", "tag")
    answer = visitor.create(tag, **fields)
    assert answer.status == 400
    assert answer.json()["error"] == error
    assert visitor.existing() == []


def test_without_money_a_create_is_refused_without_the_word_success() -> None:
    visitor = Visitor(credit=0)
    answer = visitor.create()
    assert answer.status == 400
    assert answer.json()["error"] == "insufficient_credit"
    assert "success" not in answer.json()


def test_a_bid_below_the_minimum_makes_a_stopped_machine_and_an_error_with_its_id(visitor: Visitor) -> None:
    offer = visitor.offers()[0]
    answer = visitor.create(offer=offer["id"], price=offer["min_bid"] / 2)
    assert answer.status == 400
    assert visitor.existing() == [str(answer.json()["new_contract"])]
    shown = visitor.rows()[0]
    assert (shown["actual_status"], shown["intended_status"], shown["is_bid"]) == ("created", "stopped", True)


def test_a_bid_above_the_minimum_runs_at_its_price(visitor: Visitor) -> None:
    offer = visitor.offers()[0]
    visitor.rent(offer=offer["id"], price=offer["min_bid"] + 1)
    shown = visitor.rows()[0]
    assert shown["is_bid"] is True
    assert shown["dph_base"] == pytest.approx(offer["min_bid"] + 1)


def test_several_offers_can_be_rented_at_once(visitor: Visitor) -> None:
    offers = [offer["id"] for offer in visitor.offers(num_gpus={"eq": 1}, limit=2)]
    answer = visitor.ask("POST", "/api/v0/asks/bulk/", {"ids": offers, "image": "x"})
    assert len(answer.json()["results"]) == 2
    assert len(visitor.existing()) == 2


# --- life ---------------------------------------------------------------------------------------------------


def test_a_machine_is_null_then_loading_then_running() -> None:
    visitor = Visitor(boot_seconds=10)
    instance_id = visitor.rent()
    seen = []
    for _ in range(30):
        row = visitor.show(instance_id).json()["instances"]
        seen.append((row["actual_status"], bool(row["ports"]), row["public_ipaddr"] is not None))
        visitor.wait(0.5)
    assert list(dict.fromkeys(seen)) == [(None, False, False), ("loading", False, True), ("running", True, True)]


def test_stop_and_start_go_through_their_words(visitor: Visitor) -> None:
    instance_id = visitor.rent()

    def words() -> tuple[str, str, str]:
        row = visitor.rows()[0]
        return row["actual_status"], row["intended_status"], row["cur_state"]

    path = f"/api/v0/instances/{instance_id}/"
    assert visitor.ask("PUT", path, {"state": "stopped"}).json() == {"success": True}
    assert words() == ("running", "stopped", "running")
    visitor.wait(3)
    assert words() == ("exited", "stopped", "stopped")
    assert visitor.ask("PUT", path, {"state": "running"}).json() == {"success": True}
    assert words() == ("running", "running", "running")


def test_a_label_can_be_changed_and_a_long_one_is_refused(visitor: Visitor) -> None:
    path = f"/api/v0/instances/{visitor.rent()}/"
    assert visitor.ask("PUT", path, {"label": "x" * 1024}).status == 200
    assert visitor.rows()[0]["label"] == "x" * 1024
    assert visitor.ask("PUT", path, {"label": "x" * 1025}).json()["error"] == "label_too_long"


def test_a_bid_can_be_changed_on_an_interruptible_machine_only(visitor: Visitor) -> None:
    offer = visitor.offers()[0]
    interruptible = visitor.rent(offer=offer["id"], price=offer["min_bid"])
    other = visitor.rent()
    body = {"client_id": "me", "price": 0.9}
    assert visitor.ask("PUT", f"/api/v0/instances/bid_price/{interruptible}/", body).status == 200
    assert visitor.rows()[0]["dph_base"] == pytest.approx(0.9)
    assert visitor.ask("PUT", f"/api/v0/instances/bid_price/{other}/", body).status == 400


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_a_destroy_works_with_and_without_a_body(visitor: Visitor, body: bytes) -> None:
    instance_id = visitor.rent()
    answer = visitor.ask("DELETE", f"/api/v0/instances/{instance_id}/", body=body)
    assert answer.json() == {"success": True}
    assert visitor.existing() == []
    assert visitor.show(instance_id).json() == {"instances": None}
    assert visitor.listed() == []


def test_a_second_destroy_says_that_there_is_no_such_instance(visitor: Visitor) -> None:
    instance_id = visitor.rent()
    visitor.destroy(instance_id)
    answer = visitor.destroy(instance_id)
    assert answer.status == 404
    assert answer.json()["error"] == "no_such_instance"


def test_a_destroy_with_a_bad_id_is_an_invalid_argument(visitor: Visitor) -> None:
    assert visitor.destroy("abc").json()["error"] == "invalid_args"


def test_several_machines_can_be_destroyed_at_once(visitor: Visitor) -> None:
    ids = visitor.conjure(3)
    answer = visitor.ask("DELETE", "/api/v0/instances/", {"instance_ids": [int(i) for i in ids]})
    assert answer.json()["success"] is True
    assert visitor.existing() == []


# --- listing ------------------------------------------------------------------------------------------------


def test_pages_hold_25_rows_and_add_up_to_the_total(visitor: Visitor) -> None:
    ids = visitor.conjure(60)
    seen: list[str] = []
    sizes, token = [], None
    while True:
        page = visitor.page(**({"after_token": token} if token else {})).json()
        seen += [str(row["id"]) for row in page["instances"]]
        sizes.append(page["instances_found"])
        assert page["total_instances"] == 60
        token = page["next_token"]
        if token is None:
            break
    assert seen == ids
    assert sizes == [25, 25, 10]


def test_a_machine_destroyed_during_the_walk_moves_no_other(visitor: Visitor) -> None:
    ids = visitor.conjure(40)
    token = visitor.page().json()["next_token"]
    visitor.destroy(ids[0])
    rest = [str(row["id"]) for row in visitor.page(after_token=token).json()["instances"]]
    assert rest == ids[25:]


@pytest.mark.parametrize(("limit", "rows"), [("10", 10), ("500", 25), ("0", 5), ("-3", 5)])
def test_the_limit_is_at_most_25_and_below_one_means_five(visitor: Visitor, limit: str, rows: int) -> None:
    visitor.conjure(30)
    assert len(visitor.page(limit=limit).json()["instances"]) == rows


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"after_token": "!!"}, "invalid_token"),
        ({"after_token": "e30="}, "invalid_token"),
        ({"select_filters": '{"dph_total": {"gt": 1}}'}, "invalid_request"),
        ({"select_filters": "[]"}, "invalid_request"),
        ({"select_filters": "{"}, "invalid_request"),
        ({"order_by": '[{"col": "num_gpus"}]'}, "invalid_request"),
        ({"limit": "all"}, "invalid_request"),
    ],
)
def test_a_listing_that_cannot_be_read_is_refused(visitor: Visitor, query: dict[str, str], error: str) -> None:
    answer = visitor.page(**query)
    assert (answer.status, answer.json()["error"]) == (400, error)


def test_a_listing_can_be_filtered_ordered_and_cut_to_columns(visitor: Visitor) -> None:
    first, second = visitor.rent("a"), visitor.rent("b")
    unlabelled = visitor.rent(None)
    wanted = json.dumps({"label": {"in": ["b", None]}})
    order = json.dumps([{"col": "id", "dir": "desc"}])
    page = visitor.page(select_filters=wanted, order_by=order, select_cols='["label", "unknown"]').json()
    assert page["instances"] == [
        {"id": int(unlabelled), "label": None, "unknown": None},
        {"id": int(second), "label": "b", "unknown": None},
    ]
    assert first not in str(page)


def test_pages_in_another_order_hold_every_machine_once(visitor: Visitor) -> None:
    ids = [visitor.rent(f"t{number % 7}") for number in range(30)]
    order = json.dumps([{"col": "label", "dir": "desc"}])
    first = visitor.page(order_by=order).json()
    second = visitor.page(order_by=order, after_token=first["next_token"]).json()
    rows = first["instances"] + second["instances"]
    assert sorted(str(row["id"]) for row in rows) == sorted(ids)
    assert [row["label"] for row in rows] == sorted((row["label"] for row in rows), reverse=True)


@pytest.mark.parametrize(
    ("mode", "status", "content"),
    [("410", 410, "deprecated_endpoint"), ("200-deprecated", 200, "deprecated_endpoint"), ("200-empty", 200, "[]")],
)
def test_the_retired_list_never_tells_of_a_machine(mode: str, status: int, content: str) -> None:
    visitor = Visitor(v0_list=mode)
    instance_id = visitor.rent()
    answer = visitor.ask("GET", "/api/v0/instances/")
    assert answer.status == status
    assert content.encode() in answer.body
    assert instance_id.encode() not in answer.body


# --- slashes, keys, account ---------------------------------------------------------------------------------


def test_a_read_without_its_slash_is_redirected_to_it(visitor: Visitor) -> None:
    answer = visitor.ask("GET", "/api/v1/instances")
    assert (answer.status, answer.headers["Location"]) == (307, "/api/v1/instances/")


def test_a_write_without_its_slash_is_not_found_and_does_nothing(visitor: Visitor) -> None:
    instance_id = visitor.rent()
    assert visitor.ask("DELETE", f"/api/v0/instances/{instance_id}").status == 404
    assert visitor.existing() == [instance_id]


def test_the_user_is_answered_with_and_without_slash_and_without_any_key(visitor: Visitor) -> None:
    for path in ("/api/v0/users/current", "/api/v0/users/current/"):
        answer = visitor.ask("GET", path)
        assert answer.json()["credit"] == 10_000
        assert KEY.encode() not in answer.body


def test_a_bad_key_is_404_on_searches_and_money_and_401_elsewhere() -> None:
    visitor = Visitor(key=BAD_KEY)
    assert visitor.search().status == 404
    assert visitor.ask("GET", "/api/v0/charges/").status == 404
    assert visitor.page().status == 401
    assert visitor.create().status == 401
    assert visitor.page().json() == {"success": False, "error": "auth_error", "msg": "Invalid user key"}


def test_without_a_key_only_the_market_is_open() -> None:
    visitor = Visitor(key="")
    assert visitor.search().status == 200
    assert visitor.page().status == 401
    assert visitor.ask("GET", "/api/v0/charges/").status == 403


def test_a_readonly_key_reads_and_changes_nothing() -> None:
    visitor = Visitor(key=READONLY_KEY)
    assert visitor.page().status == 200
    assert visitor.create().status == 403
    assert visitor.existing() == []


def test_only_the_configured_key_is_good_when_there_is_one() -> None:
    assert Visitor(only_key="this-one", key="this-one").page().status == 200
    assert Visitor(only_key="this-one", key="another").page().status == 401


def test_charges_need_a_range_and_tell_what_each_machine_cost(visitor: Visitor) -> None:
    assert visitor.ask("GET", "/api/v0/charges/").status == 400
    instance_id = visitor.conjure(price_per_hour=2.0)[0]
    day = json.dumps({"day": {"gte": START - 7 * 86_400, "lte": START}})
    rows = visitor.ask("GET", "/api/v0/charges/", query={"select_filters": day}).json()["results"]
    assert [(row["source"], row["amount"]) for row in rows] == [(f"instance-{instance_id}", 2.0)]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v0/gpu_names/unique/"),
        ("GET", "/api/v0/instances/filters/"),
        ("GET", "/api/v0/instances/pending-price-increases/"),
        ("GET", "/api/v0/audit_logs/"),
        ("GET", "/api/v1/audit_logs/"),
        ("GET", "/api/v1/invoices/"),
        ("POST", "/api/v0/auth/apikeys/"),
    ],
)
def test_the_smaller_routes_answer(visitor: Visitor, method: str, path: str) -> None:
    assert visitor.ask(method, path).status == 200


def test_a_machine_can_be_rebooted_and_given_a_key(visitor: Visitor) -> None:
    instance_id = visitor.rent()
    path = f"/api/v0/instances/{instance_id}/ssh/"
    assert visitor.ask("POST", path, {"ssh_key": "ssh-ed25519 AAAA"}).status == 200
    assert visitor.ask("POST", path, {"ssh_key": "nonsense"}).status == 400
    assert visitor.ask("GET", path).json()["ssh_keys"][0]["public_key"] == "ssh-ed25519 AAAA"
    assert visitor.ask("PUT", f"/api/v0/instances/reboot/{instance_id}/", {}).json() == {"success": True}
    assert visitor.ask("PUT", "/api/v0/instances/reboot/1/", {}).status == 400
