"""Who may ask for what."""

from typing import Any

import pytest

from shopperd.redaction import MASK
from shopperd.web.failures import SECONDS_PER_TRY, TRIES
from tests.web.conftest import Client, Serve
from tests.web.deployment import AUTHORIZED, Deployment, token

FREEZE = "/api/v1/freeze"
WHY = {"reason": "a drill"}


async def frozen(client: Client, headers: dict[str, str] | None = None, **more: Any) -> int:
    """The status of an attempt to throw the kill switch."""
    response = await client.post(FREEZE, headers=headers, **({"json": WHY} | more))
    if response.status >= 400:
        assert response.content_type == "application/problem+json"
    return response.status


def own(client: Client, scheme: str = "http") -> str:
    return f"{scheme}://{client.host}:{client.port}"


class TestToken:
    async def test_a_change_with_the_token_is_done(self, serve: Serve, deployment: Deployment) -> None:
        client = await serve(deployment, token=token())
        assert await frozen(client, AUTHORIZED) == 200
        assert deployment.context.frozen

    @pytest.mark.parametrize(
        "authorization",
        [
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer a-token-of-some-lengtH",
            "Bearer a-token-of-some-length-and-more",
            "Basic a-token-of-some-length",
            "a-token-of-some-length",
            "Bearer \u00e4",
        ],
    )
    async def test_a_change_with_another_token_or_none_is_not(
        self, serve: Serve, deployment: Deployment, authorization: str | None
    ) -> None:
        client = await serve(deployment, token=token())
        headers = {} if authorization is None else {"Authorization": authorization}
        response = await client.post(FREEZE, json=WHY, headers=headers)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        text = await response.text()
        assert "a-token" not in text
        assert "the one in web.token_file" in text
        assert MASK not in text, "what to do is no secret"
        assert not deployment.context.frozen

    async def test_a_guesser_is_soon_not_listened_to_and_others_are(self, serve: Serve, deployment: Deployment) -> None:
        client = await serve(deployment, token=token())
        wrong = {"Authorization": "Bearer guess"}
        assert [await frozen(client, wrong) for _ in range(TRIES)] == [401] * TRIES
        assert await frozen(client, wrong) == 429
        response = await client.post(FREEZE, json=WHY, headers=AUTHORIZED)
        assert (response.status, response.headers["Retry-After"]) == (429, "6")
        assert not deployment.context.frozen
        assert (await client.get("/api/v1/status")).status == 200
        deployment.clock.advance(SECONDS_PER_TRY)
        assert await frozen(client, AUTHORIZED) == 200

    async def test_two_tokens_are_none(self, serve: Serve, deployment: Deployment) -> None:
        client = await serve(deployment, token=token())
        response = await client.post(FREEZE, json=WHY, headers=[*AUTHORIZED.items(), ("Authorization", "Bearer x")])
        assert response.status == 401

    async def test_reads_need_no_token(self, serve: Serve, deployment: Deployment) -> None:
        client = await serve(deployment, token=token())
        assert (await client.get("/api/v1/status")).status == 200

    async def test_without_a_token_loopback_takes_changes(self, client: Client) -> None:
        assert await frozen(client) == 200

    async def test_without_a_token_no_other_listener_does(self, serve: Serve, deployment: Deployment) -> None:
        client = await serve(deployment, loopback=False)
        assert await frozen(client) == 403
        assert await frozen(client, AUTHORIZED) == 403
        assert not deployment.context.frozen

    async def test_other_listeners_take_changes_with_the_token(self, serve: Serve, deployment: Deployment) -> None:
        client = await serve(deployment, token=token(), loopback=False)
        assert await frozen(client, AUTHORIZED) == 200


class TestHost:
    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9877", "127.0.0.1", "127.8.9.1:80", "[::1]:9877"])
    async def test_loopback_answers_to_its_own_names(self, client: Client, host: str) -> None:
        assert (await client.get("/api/v1/status", headers={"Host": host})).status == 200
        assert await frozen(client, {"Host": host}) == 200

    @pytest.mark.parametrize(
        "host",
        ["evil.example", "evil.example:9877", "127.0.0.1.evil.example", "10.0.0.1", "localhost@evil", "[::1", ""],
    )
    async def test_loopback_answers_to_no_other(self, client: Client, deployment: Deployment, host: str) -> None:
        assert (await client.get("/api/v1/status", headers={"Host": host})).status in (400, 403)
        response = await client.post(FREEZE, json=WHY, headers={"Host": host})
        assert response.status in (400, 403)
        assert not deployment.context.frozen

    @pytest.mark.parametrize("path", ["/metrics", "/healthz"])
    async def test_scrapes_and_probes_come_under_any_name(self, client: Client, path: str) -> None:
        assert (await client.get(path, headers={"Host": "shopperd.monitoring.svc"})).status == 200

    async def test_the_configured_name_is_ours_too(self, client: Client, deployment: Deployment) -> None:
        web = type(deployment.context.settings.web)(listen="my-box:9877")
        deployment.change_settings(web=web)
        assert (await client.get("/api/v1/status", headers={"Host": "my-box:9877"})).status == 200

    async def test_a_listener_that_others_reach_answers_to_any_name(self, serve: Serve, deployment: Deployment) -> None:
        client = await serve(deployment, token=token(), loopback=False)
        assert (await client.get("/api/v1/status", headers={"Host": "shopperd.example"})).status == 200


class TestOrigin:
    async def test_our_own_page_may_change_something(self, client: Client) -> None:
        assert await frozen(client, {"Origin": own(client), "Sec-Fetch-Site": "same-origin"}) == 200
        # Behind a proxy that speaks TLS.
        assert await frozen(client, {"Origin": own(client, "https")}) == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1"},
            {"Origin": "http://127.0.0.1:1"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site", "Origin": "own"},
        ],
    )
    @pytest.mark.parametrize("with_token", [False, True])
    async def test_another_page_may_not_whatever_it_knows(
        self, serve: Serve, deployment: Deployment, headers: dict[str, str], with_token: bool
    ) -> None:
        client = await serve(deployment, token=token() if with_token else None)
        sent = {name: own(client) if value == "own" else value for name, value in headers.items()}
        assert await frozen(client, sent | (AUTHORIZED if with_token else {})) == 403
        assert not deployment.context.frozen

    async def test_another_page_gets_no_leave_to_read(self, client: Client) -> None:
        response = await client.get("/api/v1/status", headers={"Origin": "https://evil.example"})
        assert not [name for name in response.headers if name.lower().startswith("access-control")]

    async def test_a_preflight_is_refused(self, client: Client) -> None:
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        assert (await client.options(FREEZE, headers=headers)).status in (403, 405)


class TestContent:
    async def test_json_is_read(self, client: Client) -> None:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        assert await frozen(client, headers, json=None, data=b'{"reason": "a drill"}') == 200

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
    async def test_what_a_plain_form_can_send_is_not(self, client: Client, deployment: Deployment, kind: str) -> None:
        status = await frozen(client, {"Content-Type": kind}, json=None, data=b'{"reason": "a drill"}')
        assert status == 415
        assert not deployment.context.frozen
