"""The cases of every fault in the catalogue; `test_faults` runs each with and without its fault."""

from __future__ import annotations

import math
from typing import Any

from shopperd.simulator import Answer
from tests.simulator.cases import Case
from tests.simulator.visitor import TAG, Visitor

# --- what is done -------------------------------------------------------------------------------------------


def create(visitor: Visitor, _before: Any) -> Answer:
    return visitor.create()


def create_next_to_one(visitor: Visitor, _before: Any) -> Answer:
    return visitor.create("another-tag")


def one(visitor: Visitor) -> str:
    return visitor.conjure()[0]


def two(visitor: Visitor) -> list[str]:
    return visitor.conjure(2)


def many(visitor: Visitor) -> list[str]:
    return visitor.conjure(30)


def fifty_five(visitor: Visitor) -> list[str]:
    return visitor.conjure(55)


def listing(visitor: Visitor, _before: Any) -> Answer:
    return visitor.page()


def row(visitor: Visitor, _before: Any) -> Any:
    return visitor.rows()[0]


def second_page(visitor: Visitor, _before: Any) -> Answer:
    return visitor.page(after_token=visitor.page().json()["next_token"])


def show(visitor: Visitor, instance_id: Any) -> Answer:
    return visitor.show(instance_id)


def destroy(visitor: Visitor, instance_id: Any) -> Answer:
    return visitor.destroy(instance_id)


def destroy_first(visitor: Visitor, ids: Any) -> Answer:
    return visitor.destroy(ids[-1])


def destroy_and_wait(visitor: Visitor, instance_id: Any) -> Answer:
    answer = visitor.destroy(instance_id)
    visitor.wait(90)
    return answer


def search(visitor: Visitor, _before: Any) -> Answer:
    return visitor.search()


def pass_a_minute(visitor: Visitor, before: Any) -> Any:
    visitor.wait(60)
    return before


def rent_and_pass_a_minute(visitor: Visitor, _before: Any) -> str:
    instance_id = visitor.rent()
    visitor.wait(60)
    return instance_id


# --- what is seen -------------------------------------------------------------------------------------------


def status(wanted: int) -> Any:
    return lambda _visitor, answer: answer.status == wanted


def dropped_with_a_machine(visitor: Visitor, answer: Answer) -> bool:
    return answer.drop == "after" and len(visitor.existing()) == 1


def failed_with_a_machine(visitor: Visitor, answer: Answer) -> bool:
    return answer.status >= 400 and len(visitor.existing()) == 1


def refused_without_a_machine(visitor: Visitor, answer: Answer) -> bool:
    return not visitor.existing() and (answer.status >= 400 or b"error" in answer.body or b"false" in answer.body)


def refusal_with(text: str) -> Any:
    return lambda visitor, answer: refused_without_a_machine(visitor, answer) and text.encode() in answer.body


def still_there(visitor: Visitor, answer: Answer) -> bool:
    return answer.drop is None and len(visitor.existing()) == 1


def still_there_with(code: int) -> Any:
    return lambda visitor, answer: answer.status == code and len(visitor.existing()) == 1


def gone_with(code: int) -> Any:
    return lambda visitor, answer: answer.status == code and not visitor.existing()


def price_of(visitor: Visitor, shown: dict[str, Any]) -> Any:
    return shown.get({"vastai": "dph_total", "v2": "rateHourly", "v0": "total_price"}[visitor.dialect])


def status_of(visitor: Visitor, shown: dict[str, Any]) -> Any:
    return shown["actual_status" if visitor.dialect == "vastai" else "status"]


def phase(visitor: Visitor, instance_id: str) -> str:
    instance = visitor.world.truth.find(visitor.provider, instance_id)
    return instance.at(visitor.now).phase.value if instance else "gone"


def gpu_price(offer: dict[str, Any]) -> Any:
    if "dph_total" in offer:
        return offer["dph_total"]
    if isinstance(offer.get("gpus"), list):
        return offer["gpus"][0]["price_per_hr"]
    return next(iter(offer["specs"]["gpu"].values()))["price"]


def list_member(visitor: Visitor, answer: Answer) -> Any:
    return answer.json().get({"vastai": "instances", "v2": "data", "v0": "virtualmachines"}[visitor.dialect], "absent")


CREATE: tuple[Case, ...] = (
    Case("create_answer_lost", create, dropped_with_a_machine),
    Case("create_gateway_timeout", create, failed_with_a_machine),
    Case("create_slow", create, lambda v, a: a.delay_seconds == 60 and len(v.existing()) == 1),
    Case("create_without_id", create, lambda v, a: a.status == 200 and v.existing()[0].encode() not in a.body),
    Case("create_empty_answer", create, lambda v, a: a.body == b"" and len(v.existing()) == 1),
    Case("create_unreadable_answer", create, lambda v, a: not a.body.endswith(b"}") and len(v.existing()) == 1),
    Case("create_rate_limited_after_effect", create, lambda v, a: b"frequent" in a.body and len(v.existing()) == 1),
    Case(
        "create_takes_effect_late",
        lambda v, _: (v.create().status, len(v.existing()), v.wait(31), len(v.existing())),
        lambda _v, seen: seen == (504, 0, None, 1),
    ),
    Case(
        "create_error_with_contract",
        create,
        lambda v, a: (
            a.status == 400 and str(a.json()["new_contract"]) in v.existing() and phase(v, v.existing()[0]) == "stopped"
        ),
    ),
    Case("create_success_false_with_id", create, lambda v, a: a.json()["success"] is False and len(v.existing()) == 1),
    Case("create_empty_400", create, lambda v, a: a.status == 400 and a.body == b"" and not v.existing()),
    Case(
        "create_empty_400",
        create,
        lambda v, a: a.status == 400 and a.body == b"" and len(v.existing()) == 1,
        parameters={"effect": True},
    ),
    Case("create_dropped", create, lambda v, a: a.drop == "before" and not v.existing()),
    Case("create_fails", create, status(502)),
    Case("create_success_false", create, refused_without_a_machine),
    Case("create_no_offer", create, refusal_with("no_such_ask  Instance"), dialects=("vastai",)),
    Case("create_no_offer", create, status(410), dialects=("vastai",), parameters={"status": 410}),
    Case("create_no_offer", create, refusal_with("No available nodes found"), dialects=("v2", "v0")),
    Case("create_no_credit", create, refusal_with("insufficient_credit"), dialects=("vastai",)),
    Case("create_no_credit", create, refusal_with("need at least"), dialects=("v2", "v0")),
    Case("create_spend_limit", create, refusal_with("spend_rate_limit")),
    Case("create_label_rejected", create, refusal_with("label_too_long")),
    Case("create_not_own_offer", create, refusal_with("not your own")),
    Case("create_no_public_ip", create, refusal_with("No available public IPs on hostnode")),
    Case("create_unexpected_error", create, refusal_with("unexpected error during deployment")),
    Case("create_hostnode_unavailable", create, refusal_with("Hostnode unavailable")),
    Case("create_server_page_500", create, lambda _v, a: a.status == 500 and b"<title>" in a.body),
    Case("create_twice", create, lambda v, _a: len(v.existing()) == 2),
    Case("create_tag_missing", create, lambda v, _a: not v.tag_of(v.rows()[0])),
    Case("create_tag_truncated", create, lambda v, _a: v.tag_of(v.rows()[0]) == TAG[:20]),
    Case("create_tag_altered", create, lambda v, _a: v.tag_of(v.rows()[0]) == TAG.upper()),
    Case(
        "create_ports_dropped",
        create,
        lambda v, _a: not (v.rows()[0].get("portForwards") or v.rows()[0].get("port_forwards")),
    ),
    Case(
        "create_id_as_text",
        lambda v, _: v.rent(),
        lambda v, seen: v.world.faults.fired.get("create_id_as_text") == 1 and seen.strip() == v.existing()[0],
    ),
    Case(
        "create_unwrapped",
        create,
        lambda _v, a: "data" not in a.json() and a.json()["status"] == "queued",
        dialects=("v2",),
    ),
    Case("create_of_another_tag", create_next_to_one, lambda v, a: v.existing()[0].encode() in a.body, prepare=one),
)

DESTROY: tuple[Case, ...] = (
    Case("destroy_ignored", destroy, still_there_with(200), prepare=one),
    Case("destroy_refused", destroy, still_there_with(200), prepare=one),
    Case("destroy_fails", destroy, still_there_with(500), prepare=one),
    Case("destroy_error_then_effect", destroy, gone_with(500), prepare=one),
    Case(
        "destroy_error_then_effect",
        lambda v, i: (v.destroy(i).status, len(v.existing()), v.wait(30), len(v.existing())),
        lambda _v, seen: seen == (500, 1, None, 0),
        prepare=one,
        parameters={"delay": 30},
    ),
    Case(
        "destroy_takes_effect_late",
        lambda v, i: (v.destroy(i).status, len(v.existing()), v.wait(30), len(v.existing())),
        lambda _v, seen: seen == (200, 1, None, 0),
        prepare=one,
    ),
    Case("destroy_accepted_202", destroy, still_there_with(202), prepare=one),
    Case("destroy_answer_lost", destroy, lambda v, a: a.drop == "after" and not v.existing(), prepare=one),
    Case("destroy_dropped", destroy, lambda v, a: a.drop == "before" and len(v.existing()) == 1, prepare=one),
    Case("destroy_auth_error_404", destroy, still_there_with(404), prepare=one),
    Case("destroy_html_404", destroy, lambda v, a: a.status == 404 and b"<html" in a.body, prepare=one),
    Case(
        "destroy_says_not_found", destroy, lambda v, a: a.status in (404, 500) and len(v.existing()) == 1, prepare=one
    ),
    Case(
        "destroy_minimum_period",
        destroy,
        lambda _v, a: a.status == 409 and a.headers["Retry-After"] == "120",
        prepare=one,
    ),
    Case("destroy_lingers", lambda v, i: (v.destroy(i), v.wait(30)), lambda v, _a: len(v.listed()) == 1, prepare=one),
    Case("destroy_removes_another", destroy_first, lambda v, _a: not v.existing(), prepare=two),
    Case(
        "destroy_bill_continues",
        destroy_and_wait,
        lambda v, _a: v.world.truth.billed(v.provider) > 1.02 * v.world.truth.everything().__next__().running_rate,
        prepare=one,
    ),
    Case("destroy_undone", destroy_and_wait, lambda v, _a: len(v.existing()) == 1, prepare=one),
    Case(
        "destroy_id_reused",
        destroy_and_wait,
        lambda v, _a: [r["label"] for r in v.rows()] == ["training-run-7"],
        prepare=one,
    ),
)

LISTING: tuple[Case, ...] = (
    Case("list_empty", listing, lambda v, a: v.rows(a) == [], prepare=two),
    Case("list_partial", listing, lambda v, a: 0 < len(v.rows(a)) < 20, prepare=lambda v: v.conjure(20)),
    Case(
        "list_flickers",
        lambda v, _: [len(v.listed()) for _ in range(4)],
        lambda _v, seen: seen == [0, 2, 0, 2],
        prepare=two,
    ),
    Case(
        "list_lag",
        lambda v, _: (v.rent(), v.listed(), v.wait(10), len(v.listed()))[1:],
        lambda _v, seen: seen == ([], None, 1),
    ),
    Case(
        "list_lag",
        lambda v, _: (v.rent(), [len(v.listed()) for _ in range(4)])[1],
        lambda _v, seen: seen == [0, 0, 1, 1],
        parameters={"lag": 0, "polls": 2},
    ),
    Case(
        "list_shows_destroyed",
        lambda v, i: (v.destroy(i), v.wait(30), v.listed())[2],
        lambda _v, seen: len(seen) == 1,
        prepare=one,
    ),
    Case("list_hides_stopped", listing, lambda v, a: v.rows(a) == [], prepare=lambda v: v.conjure(state="stopped")),
    Case(
        "list_of_another_account",
        listing,
        lambda v, a: (
            all(row["id"] not in v.existing() for row in v.rows(a))
            and str(v.tag_of(v.rows(a)[0])).startswith("someone")
        ),
        prepare=two,
    ),
    Case("list_cached", lambda v, _: (v.listed(), v.conjure(), v.listed())[2], lambda _v, seen: seen == []),
    Case(
        "list_ends_early",
        listing,
        lambda _v, a: a.json()["next_token"] is None and a.json()["total_instances"] == 30,
        prepare=many,
    ),
    Case(
        "list_one_behind",
        lambda v, _: (v.listed(), v.conjure(), len(v.listed()), len(v.listed()))[2:],
        lambda _v, seen: seen == (0, 1),
    ),
    Case(
        "list_ends_early_silently",
        listing,
        lambda _v, a: a.json()["next_token"] is None and a.json()["total_instances"] == 25,
        prepare=many,
    ),
    Case(
        "list_rows_missing",
        listing,
        lambda _v, a: len(a.json()["instances"]) == 1 and a.json()["total_instances"] == 2,
        prepare=two,
    ),
    Case("list_page_fails", second_page, status(503), prepare=many),
    Case(
        "list_cursor_repeats",
        lambda v, _: (v.page().json()["next_token"], second_page(v, None).json()["next_token"]),
        lambda _v, seen: seen[0] == seen[1],
        prepare=fifty_five,
    ),
    Case(
        "list_never_ends",
        lambda v, _: (
            [v.page(**query).json()["next_token"] for query in ({}, {"after_token": "x"}, {"after_token": "y"})]
            if v.world.faults.active
            else [None]
        ),
        lambda _v, seen: len(dict.fromkeys(seen)) == 3,
        prepare=two,
    ),
    Case("list_count_wrong", listing, lambda _v, a: a.json()["total_instances"] == 3, prepare=two),
    Case("list_duplicate_row", listing, lambda v, a: len(v.rows(a)) == 3, prepare=two, dialects=("vastai", "v2")),
    Case("list_without_key", listing, lambda v, a: list_member(v, a) == "absent"),
    Case("list_null", listing, lambda v, a: list_member(v, a) is None),
    Case("list_text", listing, lambda v, a: list_member(v, a) == ""),
    Case("list_object", listing, lambda v, a: "id" in list_member(v, a), prepare=one, dialects=("vastai", "v2")),
    Case("list_bare", listing, lambda _v, a: isinstance(a.json(), list)),
    Case(
        "list_success_false",
        listing,
        lambda v, a: a.json().get("success") is False and list_member(v, a) == [],
        prepare=one,
    ),
    Case(
        "list_shape",
        listing,
        lambda _v, a: len(a.json()["data"]["instances"]) == 1 if "instances" in a.json()["data"] else False,
        prepare=one,
        dialects=("v2",),
    ),
    Case(
        "list_shape",
        listing,
        lambda _v, a: isinstance(a.json()["data"], dict) and a.json()["data"]["type"] == "list",
        prepare=one,
        dialects=("v2",),
        parameters={"shape": 3},
    ),
    Case(
        "list_shape",
        listing,
        lambda _v, a: "virtual_machines" in a.json()["data"],
        prepare=one,
        dialects=("v2",),
        parameters={"shape": 4},
    ),
    Case("list_retired", listing, status(410)),
    Case(
        "list_retired",
        listing,
        lambda _v, a: a.status == 200 and b"deprecated" in a.body,
        parameters={"mode": "200-deprecated"},
    ),
    Case(
        "list_retired",
        listing,
        lambda v, a: a.status == 200 and not list_member(v, a),
        prepare=one,
        parameters={"mode": "200-empty"},
    ),
    Case(
        "v0_list",
        lambda v, _: v.ask("GET", "/api/v0/instances/"),
        lambda _v, a: a.status == 200 and a.json() == {"instances": []},
        prepare=one,
    ),
)

ROWS: tuple[Case, ...] = (
    Case("row_without_id", row, lambda _v, r: "id" not in r, prepare=one, dialects=("vastai", "v2")),
    Case("row_id_strange", row, lambda _v, r: r["id"] == 0, prepare=one),
    Case("row_id_as_text", row, lambda _v, r: isinstance(r["id"], str), prepare=one, dialects=("vastai",)),
    Case("row_id_as_float", row, lambda _v, r: isinstance(r["id"], float), prepare=one),
    Case("row_tag_missing", row, lambda v, r: v.tag_of(r) is None, prepare=one),
    Case("row_tag_truncated", row, lambda v, r: v.tag_of(r) == TAG[:20], prepare=one),
    Case("row_tag_altered", row, lambda v, r: v.tag_of(r) == TAG.upper(), prepare=one),
    Case("row_tag_altered", row, lambda v, r: v.tag_of(r) == "x", prepare=one, parameters={"tag": "x"}),
    Case("row_status_unknown", row, lambda v, r: status_of(v, r) == "hibernating", prepare=one),
    Case("row_status_shouts", row, lambda v, r: status_of(v, r) == "RUNNING", prepare=one),
    Case("row_price_strange", row, lambda v, r: price_of(v, r) is None, prepare=one, dialects=("vastai", "v0")),
    Case(
        "row_price_strange",
        row,
        lambda v, r: math.isnan(price_of(v, r)),
        prepare=one,
        dialects=("vastai", "v0"),
        parameters={"value": "NaN"},
    ),
    Case(
        "row_price_strange",
        lambda v, i: v.show(i).json(),
        lambda v, r: price_of(v, r) == -1,
        prepare=one,
        dialects=("v2",),
        parameters={"value": -1},
    ),
    Case(
        "row_numbers_as_text", row, lambda v, r: isinstance(price_of(v, r), str), prepare=one, dialects=("vastai", "v0")
    ),
    Case("row_bare", row, lambda _v, r: len(r) == 2, prepare=one),
    Case("row_nulls", row, lambda v, r: status_of(v, r) is None, prepare=one),
    Case("row_extra_keys", row, lambda _v, r: "x_new_member" in r, prepare=one),
    Case("row_start_strange", row, lambda _v, r: r["start_date"] == 0, prepare=one),
    Case("row_status_contradicts", row, lambda _v, r: r["actual_status"] != r["intended_status"], prepare=one),
    Case(
        "row_not_an_object",
        listing,
        lambda v, a: list_member(v, a) == v.existing(),
        prepare=one,
        dialects=("vastai", "v2"),
    ),
)

LOOK: tuple[Case, ...] = (
    Case(
        "show_lag",
        lambda v, _: (v.show(i := v.rent()).body, v.wait(10), v.show(i).body),
        lambda _v, seen: len(seen[0]) < 60 < len(seen[2]),
    ),
    Case("show_nothing", show, lambda _v, a: a.status == 404 or a.json() == {"instances": None}, prepare=one),
    Case("show_not_found", show, status(404), prepare=one),
    Case("show_html_404", show, lambda _v, a: a.status == 404 and b"<html" in a.body, prepare=one),
    Case("show_empty_404", show, lambda _v, a: a.status == 404 and a.body == b"", prepare=one),
    Case("show_auth_error_404", show, lambda _v, a: a.status == 404 and b"Invalid user key" in a.body, prepare=one),
    Case(
        "show_another_machine",
        lambda v, ids: v.show(ids[0]),
        lambda v, a: v.existing()[1].encode() in a.body,
        prepare=two,
        dialects=("vastai", "v2"),
    ),
    Case("show_wrapped", show, lambda _v, a: "data" in a.json(), prepare=one),
    Case("show_as_list", show, lambda _v, a: isinstance(a.json()["instances"], list), prepare=one),
    Case("address_missing", row, lambda _v, r: r.get("ipAddress", r.get("ip_address")) is None, prepare=one),
    Case("show_error_in_200", show, lambda _v, a: a.status == 200 and a.json().get("status") == 500, prepare=one),
    Case("show_status_unknown", show, lambda _v, a: b"hibernating" in a.body, prepare=one),
)

TRANSPORT: tuple[Case, ...] = (
    Case("server_error", create, lambda v, a: a.status == 500 and not v.existing()),
    Case("server_error", create, lambda _v, a: a.json().get("error") == "server_error", parameters={"body": "json"}),
    Case("server_error_after_effect", create, failed_with_a_machine),
    Case("connection_reset", create, lambda v, a: a.drop == "before" and not v.existing()),
    Case("connection_reset_after_effect", create, dropped_with_a_machine),
    Case("connection_cut_midway", listing, lambda _v, a: a.drop == "midway"),
    Case("slow", create, lambda v, a: a.delay_seconds == 5 and len(v.existing()) == 1),
    Case("slow_body", listing, lambda _v, a: (a.drip_seconds, a.drip_bytes) == (1.0, 1)),
    Case("truncated_json", listing, lambda _v, a: not a.body.endswith(b"}")),
    Case("html_page", listing, lambda _v, a: a.status == 200 and a.body.startswith(b"<!doctype")),
    Case("garbage", listing, lambda _v, a: len(a.body) == 256),
    Case("empty_body", listing, lambda _v, a: a.body == b""),
    Case("strange_status", listing, status(418)),
    Case("json_of_wrong_kind", listing, lambda _v, a: a.json() is None),
    Case("deep_nesting", listing, lambda _v, a: len(a.body) == 200_000),
    Case("byte_order_mark", listing, lambda _v, a: a.body.startswith(b"\xef\xbb\xbf")),
    Case("not_utf8", listing, lambda _v, a: b"\xff\xfe" in a.body),
    Case("huge_number", listing, lambda _v, a: len(a.body) > 100_000),
    Case("huge_header", listing, lambda _v, a: len(a.headers.get("X-Filler", "")) > 100_000),
    Case("wrong_content_type", listing, lambda _v, a: a.headers["Content-Type"].startswith("text/html")),
    Case(
        "gzip_bomb",
        listing,
        lambda _v, a: a.headers.get("Content-Encoding") == "gzip" and len(a.body) < 20_000,
        parameters={"megabytes": 8},
    ),
    Case("huge_body", listing, lambda _v, a: len(a.body) == 1024 * 1024, parameters={"megabytes": 1}),
    Case("redirect", listing, lambda _v, a: a.status == 302 and a.headers["Location"] == "http://elsewhere.invalid/"),
    Case("maintenance", listing, lambda _v, a: a.status == 503 and a.headers["Retry-After"] == "300"),
)

ACCESS: tuple[Case, ...] = (
    Case("rate_limited", listing, lambda _v, a: a.status == 429 and "Retry-After" not in a.headers),
    Case(
        "rate_limited",
        listing,
        lambda _v, a: a.body.startswith(b"API requests too frequent: endpoint"),
        dialects=("vastai",),
        parameters={"shape": 1},
    ),
    Case(
        "rate_limited",
        listing,
        lambda _v, a: "threshold=3" in a.json().get("detail", ""),
        dialects=("vastai",),
        parameters={"shape": 2},
    ),
    Case(
        "rate_limited",
        listing,
        lambda _v, a: a.json().get("code") == "429 Too Many Requests",
        dialects=("vastai",),
        parameters={"shape": 4},
    ),
    Case(
        "rate_limited",
        listing,
        lambda _v, a: a.headers.get("X-RateLimit-Reset") == "1795392000",
        dialects=("vastai",),
        parameters={"shape": 5},
    ),
    Case("rate_limited", listing, lambda _v, a: a.headers.get("Retry-After") == "7", parameters={"retry_after": 7}),
    Case("rate_limited_after_effect", create, lambda v, a: a.status == 429 and len(v.existing()) == 1),
    Case(
        "rate_limited_in_200",
        listing,
        lambda _v, a: a.status == 200 and (b"frequent" in a.body or b"Rate limit" in a.body),
    ),
    Case("rate_limited_with_json_hint", listing, lambda _v, a: a.json().get("retry_after") == 30),
    Case("search_quota_exceeded", search, lambda _v, a: a.json().get("error") == "search_quota_exceeded"),
    Case(
        "limits_tightened",
        lambda v, _: v.world.truth.limits.scale,
        lambda _v, scale: scale == 10.0,
        prepare=lambda v: setattr(v.world.truth.limits, "scale", 1.0),
    ),
    Case("key_refused", listing, status(401)),
    Case(
        "key_refused",
        search,
        lambda _v, a: a.status == 404 and b"auth_error" in a.body,
        dialects=("vastai",),
        parameters={"status": 404},
    ),
    Case(
        "key_loses_write_scope", lambda v, _: (v.create().status, v.page().status), lambda _v, seen: seen == (403, 200)
    ),
    Case(
        "key_loses_list_scope",
        lambda v, i: (v.page().status, v.show(i).status),
        lambda _v, seen: seen == (403, 200),
        prepare=one,
    ),
    Case("session_expired", listing, lambda _v, a: a.status == 404 and b"log in again" in a.body),
)

MACHINES: tuple[Case, ...] = (
    Case("machine_vanishes", lambda v, _: v.listed(), lambda _v, seen: len(seen) == 1, prepare=two),
    Case("fleet_vanishes", lambda v, _: v.listed(), lambda _v, seen: seen == [], prepare=two),
    Case("machine_stops", pass_a_minute, lambda v, i: phase(v, i) == "stopped", prepare=one),
    Case(
        "machine_stops",
        pass_a_minute,
        lambda v, i: phase(v, i) == "exited",
        prepare=one,
        parameters={"reason": "exited"},
    ),
    Case(
        "machine_stops",
        pass_a_minute,
        lambda v, i: phase(v, i) == "released",
        prepare=one,
        parameters={"reason": "outbid"},
    ),
    Case(
        "credit_stop",
        lambda v, ids: (v.wait(60), [phase(v, i) for i in ids], v.create().body)[1:],
        lambda _v, seen: seen[0] == ["stopped"] * 2 and (b"insufficient" in seen[1] or b"need at least" in seen[1]),
        prepare=two,
    ),
    Case("host_lost", lambda v, i: phase(v, i), lambda _v, seen: seen == "offline", prepare=one),
    Case(
        "machine_price_changes",
        lambda v, i: v.world.truth.find(v.provider, i).running_rate_at(v.now),
        lambda _v, rate: rate == 20.0,
        prepare=lambda v: v.conjure(price_per_hour=2.0)[0],
    ),
    Case(
        "machine_duplicated",
        lambda v, _: [v.tag_of(r) for r in v.rows()],
        lambda _v, seen: seen == [TAG, TAG],
        prepare=one,
    ),
    Case(
        "machine_migrates",
        lambda v, i: (v.listed(), i),
        lambda _v, seen: len(seen[0]) == 1 and seen[0][0] != seen[1],
        prepare=one,
    ),
    Case("machine_tag_edited", row, lambda v, r: v.tag_of(r) == "renamed-by-hand", prepare=one),
    Case("machines_appear", lambda v, _: v.listed(), lambda _v, seen: len(seen) == 20),
    Case("new_machine_stuck", rent_and_pass_a_minute, lambda v, i: phase(v, i) == "loading"),
    Case("new_machine_fails", rent_and_pass_a_minute, lambda v, i: phase(v, i) == "failed"),
    Case(
        "new_machine_bad_image",
        lambda v, _: (v.rent(), v.wait(61), v.rows()[0])[2],
        lambda _v, r: (r["actual_status"], r["intended_status"]) == ("loading", "stopped"),
    ),
    Case("new_machine_stops", rent_and_pass_a_minute, lambda v, i: phase(v, i) == "stopped"),
    Case("new_machine_vanishes", rent_and_pass_a_minute, lambda v, i: phase(v, i) == "gone"),
    Case(
        "new_machine_without_address",
        lambda v, _: (v.rent(), v.wait(60), v.rows()[0])[2],
        lambda _v, r: "ipAddress" not in r,
        dialects=("v2",),
    ),
    Case(
        "start_queued",
        lambda v, i: (
            v.ask("PUT", f"/api/v0/instances/{i}/", {"state": "running"}).json()["success"],
            phase(v, i),
            v.wait(60),
            phase(v, i),
        ),
        lambda _v, seen: seen == (False, "queued", None, "running"),
        prepare=lambda v: v.conjure(state="stopped")[0],
    ),
    Case(
        "start_refused",
        lambda v, i: v.ask("POST", f"/api/v2/instances/{i}/start"),
        status(400),
        prepare=lambda v: v.conjure(state="stopped")[0],
        dialects=("v2",),
    ),
)

MARKET: tuple[Case, ...] = (
    Case("offers_empty", search, lambda v, a: v.offers(a) == []),
    Case("offers_cut", search, lambda v, a: len(v.offers(a)) == 5, parameters={"rows": 5}),
    Case("offers_price_strange", search, lambda v, a: math.isnan(gpu_price(v.offers(a)[0])), dialects=("vastai",)),
    Case("offers_price_strange", search, lambda v, a: gpu_price(v.offers(a)[0]) is None, parameters={"value": None}),
    Case("offers_without_price", search, lambda v, a: "dph_total" not in v.offers(a)[0]),
    Case("offers_price_jump", search, lambda v, a: gpu_price(v.offers(a)[0]) > 1000, parameters={"factor": 1e6}),
    Case("offers_duplicated", search, lambda v, a: v.offers(a)[0] == v.offers(a)[-1], dialects=("vastai", "v2")),
    Case("offers_null_cores", search, lambda v, a: v.offers(a)[0]["cpu_cores"] is None),
    Case("offers_reliability_absurd", search, lambda v, a: v.offers(a)[0]["reliability2"] == 1233),
    Case("offers_numbers_as_text", search, lambda v, a: isinstance(v.offers(a)[0]["dph_total"], str)),
    Case("offers_extra_keys", search, lambda v, a: "x_new_member" in v.offers(a)[0]),
    Case("offers_unknown_gpu", search, lambda v, a: v.offers(a)[0]["gpu_name"] == "RTX 9090 Hyper"),
    Case("offers_row_not_an_object", search, lambda v, a: v.offers(a)[0] is None, dialects=("vastai", "v2")),
    Case("offers_without_key", search, lambda _v, a: not {"offers", "hostnodes", "data"} & a.json().keys()),
    Case(
        "offers_cached",
        lambda v, _: (v.search(), v.create(), len(v.offers()))[2],
        lambda _v, seen: seen == 60,
        dialects=("vastai",),
    ),
    Case("offers_ignore_filters", search, lambda v, a: v.offers(a)[-1]["rented"] is True),
    Case(
        "dock_price_component_missing",
        search,
        lambda v, a: "per_gb_ram_hr" not in v.offers(a)[0]["gpus"][0]["pricing"],
        dialects=("v2",),
    ),
    Case(
        "dock_price_component_missing",
        search,
        lambda v, a: "price" not in v.offers(a)[0]["specs"]["ram"],
        dialects=("v0",),
    ),
    Case(
        "dock_nothing_free",
        search,
        lambda v, a: all(g["max_count"] == 0 for row in v.offers(a) for g in row["gpus"]),
        dialects=("v2",),
    ),
    Case("dock_tier_unknown", search, lambda v, a: v.offers(a)[0]["tier"] == 9, dialects=("v2",)),
    Case(
        "dock_display_name_missing",
        search,
        lambda v, a: "displayName" not in v.offers(a)[0]["gpus"][0],
        dialects=("v2",),
    ),
)

EVERY_CASE = (*CREATE, *DESTROY, *LISTING, *ROWS, *LOOK, *TRANSPORT, *ACCESS, *MACHINES, *MARKET)
