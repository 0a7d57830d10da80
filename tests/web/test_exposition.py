"""Metrics over HTTP."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.web.conftest import Client
from tests.web.deployment import Deployment


async def scrape(client: Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = await (await client.get("/metrics")).text()
    families = parse_text(text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


async def test_plain_text_is_what_comes_unasked(client: Client) -> None:
    response = await client.get("/metrics")
    assert response.status == 200
    assert response.content_type == "text/plain"
    assert not (await response.text()).endswith("# EOF\n")


async def test_openmetrics_comes_where_it_is_asked_for(client: Client) -> None:
    response = await client.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert response.content_type == "application/openmetrics-text"
    families = parse_openmetrics(await response.text())  # type: ignore[no-untyped-call]  # it has no annotations
    assert [family.name for family in families]


async def test_a_version_that_is_none_is_a_bad_request(client: Client) -> None:
    response = await client.get("/metrics", headers={"Accept": "application/openmetrics-text;version=new"})
    assert response.status == 400


async def test_ages_are_brought_up_to_date_before_they_are_read(client: Client, deployment: Deployment) -> None:
    deployment.seen()
    deployment.clock.advance(11)
    found = await scrape(client)
    assert found["shopperd_snapshot_age_seconds", (("account", "main"), ("provider", "vastai"))] == 11
    deployment.clock.advance(4)
    found = await scrape(client)
    assert found["shopperd_snapshot_age_seconds", (("account", "main"), ("provider", "vastai"))] == 15


async def test_what_alerts_look_at_is_told_from_the_start(client: Client, deployment: Deployment) -> None:
    found = await scrape(client)
    account = (("account", "main"), ("provider", "vastai"))
    assert found["shopperd_store_ok", ()] == 1
    assert found["shopperd_orphan_bound_seconds", ()] == 300 + 4 * 120 + 3 + 10
    assert found["shopperd_clock_jumped_seconds", ()] == 0
    assert found["shopperd_destroys_held", account] == found["shopperd_fleet_unsettled", account] == 0


async def test_a_clock_that_the_time_does_not_go_by_is_told_until_it_does(
    client: Client, deployment: Deployment
) -> None:
    deployment.clock.jumped_seconds = 86_400.0
    assert (await scrape(client))["shopperd_clock_jumped_seconds", ()] == 86_400
    deployment.clock.jumped_seconds = 0.0
    assert (await scrape(client))["shopperd_clock_jumped_seconds", ()] == 0


async def test_time_that_goes_by_is_no_jump(client: Client, deployment: Deployment) -> None:
    deployment.clock.advance(3600)
    assert (await scrape(client))["shopperd_clock_jumped_seconds", ()] == 0


async def test_requests_are_counted_by_the_pattern_of_their_route(client: Client) -> None:
    await client.get("/api/v1/sessions/00000000-0000-4000-8000-000000000001")
    await client.get("/api/v1/sessions/another")
    await client.post("/api/v1/freeze", json={"reason": "x"}, headers={"Origin": "https://evil.example"})
    for path in ("/wp-login.php", "/a", "/b"):
        await client.request("PROPFIND", path)
    found = {labels: value for (name, labels), value in (await scrape(client)).items() if "http_requests" in name}
    assert found == {
        (("code", "404"), ("method", "GET"), ("route", "/api/v1/sessions/{id}")): 2,
        (("code", "403"), ("method", "POST"), ("route", "/api/v1/freeze")): 1,
        (("code", "404"), ("method", "other"), ("route", "unmatched")): 3,
    }


async def test_the_time_of_requests_is_measured_by_route_alone(client: Client) -> None:
    await client.get("/healthz")
    found = await scrape(client)
    assert found["shopperd_http_request_duration_seconds_count", (("route", "/healthz"),)] == 1


async def test_what_was_never_read_is_infinitely_old_and_not_fresh(client: Client, deployment: Deployment) -> None:
    deployment.seen("dock")
    found = await scrape(client)
    assert found["shopperd_snapshot_age_seconds", (("account", "main"), ("provider", "vastai"))] == float("inf")
    assert found["shopperd_snapshot_age_seconds", (("account", "dock"), ("provider", "tensordock"))] == 0
