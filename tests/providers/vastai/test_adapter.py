"""The adapter over recorded answers: every call, every answer, what it means."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from aioresponses import aioresponses
from attrs import evolve

from shopperd.model import InstanceState, Offer, Ownership, Snapshot
from shopperd.providers.contract import (
    AuthFailed,
    BadAnswer,
    CreatedInstance,
    CreateRequest,
    Feature,
    InstanceNotFound,
    OfferFilter,
    OfferUnavailable,
    ProviderError,
    RateLimited,
    Refused,
    Unclear,
)
from shopperd.providers.sender import AiohttpSender
from shopperd.providers.transport import Reply, Throttled
from shopperd.providers.vastai.adapter import PAGES_MAX, open_vastai
from shopperd.settings import AccountSettings, LimitSettings
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.providers.senders import Answer
from tests.providers.vastai.recordings import FOLDER, KEY, account, read, recorded, reply

TAG = "shopper-3f0c2b1e-9a4d-4f7c-8f11-5f6c0b7f2a10"
OFFER = Offer(
    id="vastai-45100011",
    provider="vastai",
    provider_id="45100011",
    account="main",
    gpu="RTX 4090",
    gpu_count=1,
    vram_gb=24,
    price_per_hour=0.3,
)
REQUEST = CreateRequest(tag=TAG, offer=OFFER, env={"TOKEN": "hunter22"})


def page(*rows: Any, total: Any, token: Any = None, **more: Any) -> Reply:
    told = {"success": True, "instances_found": len(rows), "total_instances": total, "next_token": token}
    return reply({**told, "instances": list(rows), **more})


def machine(id: Any, **fields: Any) -> dict[str, Any]:
    return {"id": id, "actual_status": "running", "intended_status": "running", "label": TAG, **fields}


async def listed(clock: FakeClock, metrics: Metrics, *answers: Answer) -> Snapshot:
    vast, _ = account(clock, metrics, *answers)
    return await vast.list_all_instances()


# Listing.


async def test_a_later_page_that_is_refused_within_a_200_is_asked_for_again(clock: FakeClock, metrics: Metrics) -> None:
    refusal = reply(
        {"success": False, "error": "rate_limit", "msg": "API requests too frequent endpoint threshold=1.0"}
    )
    first, last = page(machine(1), total=2, token="a"), page(machine(2), total=2)
    snapshot = await listed(clock, metrics, first, refusal, last)
    assert (snapshot.complete, snapshot.pages, len(snapshot.instances)) == (True, 2, 2)


async def test_all_pages_make_one_complete_snapshot(clock: FakeClock, metrics: Metrics) -> None:
    vast, sender = account(clock, metrics, recorded("list_first_page"), recorded("list_last_page"))
    snapshot = await vast.list_all_instances()
    assert (snapshot.complete, snapshot.reason, snapshot.pages) == (True, "", 2)
    assert (snapshot.account, snapshot.provider) == ("main", "vastai")
    seen = {instance.id: instance for instance in snapshot.instances}
    assert [seen[number].ownership for number in ("61200001", "61200003", "61200004")] == [
        Ownership.OURS,
        Ownership.OURS,
        Ownership.FOREIGN,
    ]
    assert [seen[number].state for number in ("61200001", "61200003", "61200004")] == [
        InstanceState.RUNNING,
        InstanceState.STARTING,
        InstanceState.STOPPED,
    ]
    assert seen["61200004"].price_per_hour == 0.0044444444
    first, second = sender.requests
    assert first.url == (
        "https://console.vast.ai/api/v1/instances/?limit=25&order_by=%5B%7B%22col%22%3A+%22id%22%2C+%22dir%22%3A+%22asc%22%7D%5D"
    )
    assert second.url == f"{first.url}&after_token=eyJ2YWx1ZXMiOiB7ImlkIjogNjEyMDAwMDN9fQ%3D%3D"


async def test_an_empty_account_is_complete(clock: FakeClock, metrics: Metrics) -> None:
    snapshot = await listed(clock, metrics, recorded("list_nothing"))
    assert (snapshot.complete, snapshot.instances) == (True, ())


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("list_missing_list", BadAnswer),
        ("list_failed", BadAnswer),
        ("list_retired_200", BadAnswer),
        ("list_retired_410", BadAnswer),
        ("list_bad_key", AuthFailed),
        ("throttled_inside_200", RateLimited),
        ("throttled_plain", RateLimited),
    ],
)
async def test_a_first_page_that_is_none_is_an_error_and_never_an_empty_account(
    clock: FakeClock, metrics: Metrics, name: str, error: type[ProviderError]
) -> None:
    with pytest.raises(error):
        await listed(clock, metrics, recorded(name))


@pytest.mark.parametrize(
    "answer",
    [
        recorded("list_retired_200"),
        recorded("list_missing_list"),
        recorded("throttled_plain"),
        recorded("list_bad_key"),
        Reply(503),
        Unclear("no answer", "timeout"),
        BadAnswer("over the limit"),
    ],
    ids=lambda answer: str(getattr(answer, "status", answer)),
)
async def test_a_later_page_that_fails_keeps_what_was_read_and_proves_no_absence(
    clock: FakeClock, metrics: Metrics, answer: Answer
) -> None:
    snapshot = await listed(clock, metrics, recorded("list_first_page"), answer)
    assert (snapshot.complete, snapshot.reason) == (False, "page_failed")
    assert [instance.id for instance in snapshot.instances] == ["61200001", "61200003"]
    assert snapshot.detail


@pytest.mark.parametrize(
    ("pages", "reason"),
    [
        ([page(machine(1), total=2)], "count_mismatch"),
        ([page(machine(1), total=0)], "count_mismatch"),
        ([page(machine(1), total=1, instances_found=2)], "count_mismatch"),
        ([page(machine(1), total=2, token="a"), page(machine(2), total=3)], "count_mismatch"),
        ([page(machine(1), total=None)], "count_missing"),
        ([page(machine(1), total=2, token="a"), page(machine(1), total=2)], "count_mismatch"),
        ([page(machine(1), machine(1, label="x"), total=1)], "conflict"),
        ([page(machine(1), total=3, token="a"), page(machine(2), total=3, token="a")], "cursor_repeated"),
        ([page(machine(1), machine(None), total=2)], "bad_row"),
        ([page(machine(1), "row", total=2)], "bad_row"),
        ([page(machine(1), machine(0), total=2)], "bad_row"),
        ([page(machine(1), machine(-5), total=2)], "bad_row"),
        ([page(machine(1), machine(5.5), total=2)], "bad_row"),
        ([page(machine(1), machine("x"), total=2)], "bad_row"),
    ],
)
async def test_a_listing_that_does_not_add_up_is_not_complete_but_still_shows_what_it_shows(
    clock: FakeClock, metrics: Metrics, pages: list[Reply], reason: str
) -> None:
    snapshot = await listed(clock, metrics, *pages)
    assert (snapshot.complete, snapshot.reason) == (False, reason)
    assert snapshot.instances[0].id == "1"
    assert snapshot.detail


@pytest.mark.parametrize(
    "pages",
    [
        [page(machine(1), machine("2"), machine(3.0), total=3)],
        [page(machine(1), machine(1), total=1)],
        [page(machine(1), total=2, token="a"), page(total=2, token="b"), page(machine(2), total=2)],
        [page(machine(1), total="1")],
        [page(machine(1, dph_total=None, gpu_name=None), total=1, instances_found=None)],
    ],
)
async def test_a_listing_that_adds_up_is_complete(clock: FakeClock, metrics: Metrics, pages: list[Reply]) -> None:
    snapshot = await listed(clock, metrics, *pages)
    assert (snapshot.complete, snapshot.detail) == (True, "")


async def test_a_cursor_that_never_ends_is_not_followed_for_ever(clock: FakeClock, metrics: Metrics) -> None:
    pages = [page(total=1, token=f"t{number}") for number in range(PAGES_MAX + 5)]
    vast, sender = account(clock, metrics, *pages)
    snapshot = await vast.list_all_instances()
    assert snapshot.reason == "too_many_pages"
    assert len(sender.requests) == PAGES_MAX == snapshot.pages


async def test_a_snapshot_spans_its_requests(clock: FakeClock, metrics: Metrics) -> None:
    began = clock.now()

    def slow(request: object) -> Reply:
        clock.advance(2.0)
        return recorded("list_nothing")

    snapshot = await listed(clock, metrics, slow)
    assert (snapshot.started_at, snapshot.ended_at) == (began, began + timedelta(seconds=2))


async def test_pages_wait_for_their_turn(clock: FakeClock, metrics: Metrics) -> None:
    vast, _ = account(clock, metrics, recorded("list_first_page"), recorded("list_last_page"), limits=LimitSettings())
    await vast.list_all_instances()
    assert clock.monotonic() == 1.0


async def test_the_deployment_decides_whose_an_instance_is(clock: FakeClock, metrics: Metrics) -> None:
    vast, _ = account(clock, metrics, page(machine(1), total=1), deployment="prod")
    assert (await vast.list_all_instances()).instances[0].ownership is Ownership.FOREIGN


# One instance.


async def test_one_instance_is_read_by_itself(clock: FakeClock, metrics: Metrics) -> None:
    vast, sender = account(clock, metrics, recorded("show_running"))
    seen = await vast.get_instance_status("61200001")
    assert (seen.id, seen.tag, seen.state) == ("61200001", TAG, InstanceState.RUNNING)
    assert sender.requests[0].url == "https://console.vast.ai/api/v0/instances/61200001/"


async def test_a_bad_image_reads_as_stopped(clock: FakeClock, metrics: Metrics) -> None:
    vast, _ = account(clock, metrics, recorded("show_bad_image"))
    seen = await vast.get_instance_status("61200001")
    assert (seen.state, seen.provider_state) == (InstanceState.STOPPED, "loading, intended stopped")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("show_null", InstanceNotFound),
        ("show_not_found", InstanceNotFound),
        ("show_another", BadAnswer),
        ("show_bad_key", AuthFailed),
        ("show_gateway", BadAnswer),
        ("throttled_detail", RateLimited),
        ("list_first_page", BadAnswer),
        ("destroy_done", BadAnswer),
        ("destroy_route", BadAnswer),
    ],
)
async def test_only_the_providers_own_words_say_that_an_instance_is_gone(
    clock: FakeClock, metrics: Metrics, name: str, error: type[ProviderError]
) -> None:
    vast, _ = account(clock, metrics, recorded(name))
    with pytest.raises(error):
        await vast.get_instance_status("61200001")


@pytest.mark.parametrize("id", ["", "x", "0", "-1", "7/../8", "7?x"])
async def test_an_id_that_cannot_be_is_never_sent(clock: FakeClock, metrics: Metrics, id: str) -> None:
    vast, sender = account(clock, metrics, Reply(200))
    with pytest.raises(BadAnswer):
        await vast.get_instance_status(id)
    with pytest.raises(Refused):
        await vast.destroy_instance(id)
    assert not sender.requests


# Destroying.


async def test_a_destroy_is_one_request(clock: FakeClock, metrics: Metrics) -> None:
    vast, sender = account(clock, metrics, recorded("destroy_done"))
    await vast.destroy_instance("61200001")
    (request,) = sender.requests
    assert (request.method, request.url) == ("DELETE", "https://console.vast.ai/api/v0/instances/61200001/")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (recorded("destroy_gone"), InstanceNotFound),
        (recorded("destroy_gone_documented"), InstanceNotFound),
        (recorded("destroy_bad_key"), AuthFailed),
        (recorded("destroy_gateway"), BadAnswer),
        (recorded("destroy_route"), BadAnswer),
        (recorded("destroy_refused"), Refused),
        (recorded("destroy_bad_id"), Refused),
        (recorded("throttled_success"), Throttled),
        (reply({"success": False}), Unclear),
        (reply({}), Unclear),
        (reply({"success": "yes"}), Unclear),
        (reply({"success": False, "error": "no_such_instance"}), InstanceNotFound),
        (reply([]), BadAnswer),
        (reply(b""), BadAnswer),
        (reply(b"", 404), BadAnswer),
        (reply(b"", 400), BadAnswer),
        (reply(b"<html>", 401), AuthFailed),
        (reply({"msg": "no"}, 403), AuthFailed),
        (reply(b"", 408), Unclear),
        (reply({"error": "oops"}, 500), Unclear),
        (reply(b"", 302), BadAnswer),
    ],
    ids=lambda value: getattr(value, "__name__", None) or f"{value.status} {value.body[:40]!r}",
)
async def test_a_destroy_is_done_by_a_yes_alone(
    clock: FakeClock, metrics: Metrics, answer: Reply, error: type[ProviderError]
) -> None:
    vast, sender = account(clock, metrics, answer)
    with pytest.raises(ProviderError) as caught:
        await vast.destroy_instance("61200001")
    assert type(caught.value) is error
    assert len(sender.requests) == 1


# Renting.


@pytest.mark.parametrize("name", ["create_done", "create_done_text", "create_low_bid", "create_no_success"])
async def test_an_id_in_the_answer_binds_whatever_else_it_says(clock: FakeClock, metrics: Metrics, name: str) -> None:
    vast, sender = account(clock, metrics, recorded(name))
    assert await vast.create_instance(REQUEST) == CreatedInstance("61200009")
    (request,) = sender.requests
    assert (request.method, request.url) == ("PUT", "https://console.vast.ai/api/v0/asks/45100011/")
    sent = json.loads(request.body or b"")
    assert sent["label"] == sent["env"]["SHOPPERD_TAG"] == TAG


@pytest.mark.parametrize(
    ("status", "told"), [(429, {}), (500, {}), (401, {"error": "auth_error"}), (404, {"msg": "no_such_ask"})]
)
async def test_an_id_comes_before_every_error(
    clock: FakeClock, metrics: Metrics, status: int, told: dict[str, Any]
) -> None:
    vast, _ = account(clock, metrics, reply({**told, "new_contract": 9}, status))
    assert (await vast.create_instance(REQUEST)).id == "9"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("create_no_money", "insufficient_credit"),
        ("create_no_money_flag", "insufficient_credit"),
        ("create_spend_limit", "spend_rate_limit"),
        ("create_bad_args", "invalid_args"),
    ],
)
async def test_a_refusal_in_the_providers_words_is_certain(
    clock: FakeClock, metrics: Metrics, name: str, code: str
) -> None:
    vast, _ = account(clock, metrics, recorded(name))
    with pytest.raises(Refused) as caught:
        await vast.create_instance(REQUEST)
    assert caught.value.code == code


@pytest.mark.parametrize("name", ["create_gone_400", "create_gone_404", "create_gone_410", "create_not_ours"])
async def test_an_offer_that_is_gone_leaves_others_to_try(clock: FakeClock, metrics: Metrics, name: str) -> None:
    vast, _ = account(clock, metrics, recorded(name))
    with pytest.raises(OfferUnavailable):
        await vast.create_instance(REQUEST)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (recorded("create_no_id"), Unclear),
        (recorded("create_no_words"), Unclear),
        (recorded("create_bad_id"), Unclear),
        (recorded("create_empty_400"), Unclear),
        (recorded("create_gateway_400"), Unclear),
        (recorded("create_gateway_504"), Unclear),
        (recorded("create_unreadable"), Unclear),
        (recorded("create_bad_key"), AuthFailed),
        (recorded("throttled_framework"), Throttled),
        (recorded("throttled_plain"), Throttled),
        (reply(b"", 404), Unclear),
        (reply({}, 400), Unclear),
        (reply([], 400), Unclear),
        (reply({"new_contract": 0}), Unclear),
        (reply({"success": False, "error": "something_new"}), Unclear),
        (reply(b"", 408), Unclear),
        (reply({"error": "oops"}, 500), Unclear),
        (reply(b"", 307), BadAnswer),
        (Unclear("no answer", "timeout"), Unclear),
    ],
    ids=lambda value: (
        getattr(value, "__name__", None) or f"{getattr(value, 'status', value)} {getattr(value, 'body', b'')[:30]!r}"
    ),
)
async def test_everything_else_proves_nothing_and_is_never_sent_again(
    clock: FakeClock, metrics: Metrics, answer: Answer, error: type[ProviderError]
) -> None:
    vast, sender = account(clock, metrics, answer)
    with pytest.raises(ProviderError) as caught:
        await vast.create_instance(REQUEST)
    assert type(caught.value) is error
    assert len(sender.requests) == 1


async def test_what_cannot_be_sent_is_refused_before_anything_is(clock: FakeClock, metrics: Metrics) -> None:
    vast, sender = account(clock, metrics, Reply(200))
    with pytest.raises(Refused):
        await vast.create_instance(evolve(REQUEST, disk_gb=1.0))
    assert not sender.requests


async def test_a_create_has_a_time_limit_of_its_own(clock: FakeClock, metrics: Metrics) -> None:
    vast, sender = account(clock, metrics, recorded("create_done"))
    await vast.create_instance(evolve(REQUEST, timeout_seconds=7.0))
    await vast.create_instance(REQUEST)
    assert [request.timeout_seconds for request in sender.requests] == [7.0, 120.0]


async def test_no_secret_is_in_an_error(clock: FakeClock, metrics: Metrics) -> None:
    said = {"success": False, "error": "invalid_args", "msg": f"env TOKEN=hunter22 of key {KEY} is too long"}
    vast, _ = account(clock, metrics, reply(said, 400))
    with pytest.raises(Refused) as caught:
        await vast.create_instance(REQUEST)
    assert str(caught.value) == (
        "PUT /api/v0/asks/45100011/: HTTP 400: invalid_args; env TOKEN=*** of key *** is too long"
    )


# Too many requests.


@pytest.mark.parametrize(
    ("name", "threshold", "retry_after"),
    [
        ("throttled_plain", None, None),
        ("throttled_plain_threshold", 1.5, None),
        ("throttled_detail", 2.0, None),
        ("throttled_success", 3.0, None),
        ("throttled_framework", 9.0, None),
        ("throttled_inside_200", 1.0, None),
        ("throttled_retry_after", None, 12.0),
        ("throttled_retry_key", None, 9.5),
    ],
)
async def test_a_refusal_for_frequency_is_known_in_every_shape(
    clock: FakeClock, metrics: Metrics, name: str, threshold: float | None, retry_after: float | None
) -> None:
    vast, _ = account(clock, metrics, recorded(name), recorded("list_nothing"))
    with pytest.raises(Throttled) as caught:
        await vast.list_all_instances()
    assert (caught.value.threshold_seconds, caught.value.retry_after_seconds) == (threshold, retry_after)
    await vast.list_all_instances()
    assert clock.monotonic() >= max(1.0, threshold or 0.0, retry_after or 0.0)


@pytest.mark.parametrize("told", [True, False])
async def test_a_used_up_search_quota_stops_searches_until_midnight_and_nothing_else(
    clock: FakeClock, metrics: Metrics, told: bool
) -> None:
    quota = recorded("search_quota")
    quota = quota if told else evolve(quota, headers={})
    vast, _ = account(clock, metrics, quota, recorded("list_nothing"), recorded("search_nothing"))
    with pytest.raises(Throttled) as caught:
        await vast.list_offers(OfferFilter())
    assert caught.value.cause == "quota"
    await vast.list_all_instances()
    assert clock.monotonic() == 0.0
    await vast.list_offers(OfferFilter())
    assert 7200 <= clock.monotonic() < 7210


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ({}, 7200.0 - 3600.0),
        ({"Date": "Sun, 22 Nov 2026 23:59:50 GMT"}, 10.0),
        ({"Date": "Mon, 23 Nov 2026 04:59:50 +0500"}, 10.0),
        ({"Date": "Fri, 31 Dec 9999 23:59:50 GMT"}, 10.0),
        ({"Date": "Mon, 23 Nov 2026 00:00:00 GMT", "X-RateLimit-Reset": "1795392005"}, 5.0),
    ],
)
async def test_a_search_quota_is_used_up_until_the_providers_midnight_though_our_time_stayed_behind(
    clock: FakeClock, metrics: Metrics, told: dict[str, str], seconds: float
) -> None:
    clock.jumped_seconds = 3600.0
    vast, _ = account(clock, metrics, evolve(recorded("search_quota"), headers=told))
    with pytest.raises(Throttled) as caught:
        await vast.list_offers(OfferFilter())
    assert caught.value.retry_after_seconds == pytest.approx(seconds)


async def test_a_search_is_not_repeated_before_its_retry_after_though_the_quota_begins_anew(
    clock: FakeClock, metrics: Metrics
) -> None:
    headers = {"Date": "Sun, 22 Nov 2026 23:30:00 GMT", "Retry-After": "2400"}
    vast, _ = account(clock, metrics, evolve(recorded("search_quota"), headers=headers))
    with pytest.raises(Throttled) as caught:
        await vast.list_offers(OfferFilter())
    assert caught.value.retry_after_seconds == pytest.approx(2400.0)


async def test_a_retry_after_beside_a_shorter_one_in_the_body_is_waited_for(clock: FakeClock, metrics: Metrics) -> None:
    both = evolve(recorded("throttled_retry_key"), headers={"Retry-After": "60"})
    vast, _ = account(clock, metrics, both, recorded("list_nothing"))
    began = clock.monotonic()
    with pytest.raises(Throttled):
        await vast.list_all_instances()
    await vast.list_all_instances()
    assert clock.monotonic() - began >= 60.0


async def test_a_word_of_the_search_quota_elsewhere_is_an_ordinary_refusal(clock: FakeClock, metrics: Metrics) -> None:
    vast, _ = account(clock, metrics, evolve(recorded("search_quota"), headers={}), recorded("destroy_done"))
    with pytest.raises(Throttled):
        await vast.destroy_instance("61200001")
    await vast.destroy_instance("61200001")
    assert clock.monotonic() <= 2.0


# The rest.


def test_it_can_do_all_there_is(clock: FakeClock, metrics: Metrics) -> None:
    vast, _ = account(clock, metrics, Reply(200))
    assert vast.name == "vastai"
    assert all(vast.supports_feature(feature) for feature in Feature)


async def test_closing_closes_the_sender(clock: FakeClock, metrics: Metrics) -> None:
    vast, sender = account(clock, metrics, Reply(200))
    await vast.close()
    assert sender.closed


def test_without_a_key_there_is_no_account(clock: FakeClock, metrics: Metrics) -> None:
    settings = AccountSettings(name="main", provider="vastai")
    with pytest.raises(ValueError, match=r"accounts\.main needs api_key"):
        open_vastai(settings, deployment="", secrets={}, clock=clock, metrics=metrics)


async def test_calls_of_one_account_run_beside_each_other(clock: FakeClock, metrics: Metrics) -> None:
    vast, _ = account(clock, metrics, recorded("list_nothing"))
    await asyncio.gather(*(vast.list_all_instances() for _ in range(3)))


async def test_it_works_over_aiohttp(clock: FakeClock, metrics: Metrics, http: aioresponses) -> None:
    vast, _ = account(clock, metrics, Reply(200))
    real = AiohttpSender()
    vast._transport._sender = real
    http.post("https://console.vast.ai/api/v0/bundles/", body=recorded("search_ten").body)
    try:
        assert len(await vast.list_offers(OfferFilter())) == 10
    finally:
        await vast.close()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
async def test_every_recording_is_an_answer_or_an_error_of_the_contract_on_every_call(
    clock: FakeClock, metrics: Metrics, path: Any
) -> None:
    vast, _ = account(clock, metrics, read(path).reply)
    for call in (
        vast.list_offers(OfferFilter()),
        vast.list_all_instances(),
        vast.get_instance_status("61200001"),
        vast.create_instance(REQUEST),
        vast.destroy_instance("61200001"),
    ):
        (came,) = await asyncio.gather(call, return_exceptions=True)
        assert isinstance(came, ProviderError) or not isinstance(came, BaseException)
        assert KEY not in str(came)


# What peers got wrong.


@pytest.mark.parametrize("rows", [None, 0])
async def test_an_empty_page_is_not_the_whole_where_the_api_counts_machines(
    clock: FakeClock, metrics: Metrics, rows: int | None
) -> None:
    snapshot = await listed(clock, metrics, page(total=3, instances_found=rows))
    assert (snapshot.complete, snapshot.reason, snapshot.instances) == (False, "count_mismatch", ())


async def test_a_cursor_that_comes_again_is_no_end_even_where_the_count_agrees(
    clock: FakeClock, metrics: Metrics
) -> None:
    pages = [page(machine(1), total=2, token="a"), page(machine(2), total=2, token="a")]
    snapshot = await listed(clock, metrics, *pages)
    assert (snapshot.complete, snapshot.reason) == (False, "cursor_repeated")


async def test_a_retired_route_is_no_empty_account_whatever_list_comes_with_it(
    clock: FakeClock, metrics: Metrics
) -> None:
    with pytest.raises(BadAnswer, match="retired"):
        await listed(clock, metrics, page(total=0, success=None, error="deprecated_endpoint"))


@pytest.mark.parametrize(
    "answer",
    [
        recorded("show_gateway"),
        recorded("show_bad_key"),
        recorded("destroy_route"),
        reply(b"<html>not found</html>", 404),
        reply({"error": "auth_error", "msg": "no such instance"}, 404),
        reply({"detail": "Not Found"}, 404),
        reply({"error": "not_found"}),
        reply(b"", 404),
        reply(b"", 410),
        reply({}),
    ],
    ids=lambda answer: f"{answer.status} {answer.body[:40]!r}",
)
async def test_words_of_anybody_else_never_say_that_an_instance_is_gone(
    clock: FakeClock, metrics: Metrics, answer: Reply
) -> None:
    vast, _ = account(clock, metrics, answer)
    for call in (vast.get_instance_status("61200001"), vast.destroy_instance("61200001")):
        with pytest.raises(ProviderError) as caught:
            await call
        assert not isinstance(caught.value, InstanceNotFound)


@pytest.mark.parametrize("name", ["show_null", "show_not_found"])
async def test_its_own_words_do(clock: FakeClock, metrics: Metrics, name: str) -> None:
    vast, _ = account(clock, metrics, recorded(name))
    with pytest.raises(InstanceNotFound):
        await vast.get_instance_status("61200001")


# Money and rights.


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ({"credit": 12.5, "balance": 0}, 12.5),
        ({"credit": "0"}, 0.0),
        ({"credit": None, "balance": 7}, None),
        ({"balance": 7}, None),
    ],
)
async def test_the_credit_is_what_is_left_and_nothing_else_stands_for_it(
    clock: FakeClock, metrics: Metrics, told: dict[str, Any], left: float | None
) -> None:
    vast, sender = account(clock, metrics, reply({"id": 1, **told}))
    assert await vast.balance_usd() == left
    assert sender.requests[0].url.endswith("/api/v0/users/current/")
