"""The status page: what it shows, what its forms carry, and that nothing on it is anybody else's."""

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from shopperd.model import HoldReason, OrphanKind, Ownership
from shopperd.reasons import HOLDS
from shopperd.store import StoreError, destroys, instances
from shopperd.web.page.rendering import SCRIPT, STYLE, environment
from tests.web.conftest import Client, Serve
from tests.web.deployment import TOKEN, Deployment, token
from tests.web.pages import Page

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202egnp.exe 🤖 \" onmouseover='x' &amp;\x00\u2066"
STRANGER = UUID(int=99, version=4)


async def get(client: Client, path: str = "/", status: int = 200) -> Page:
    response = await client.get(path)
    assert response.status == status, await response.text()
    assert response.content_type == "text/html"
    return Page(await response.text())


def own(client: Client) -> dict[str, str]:
    return {"Origin": f"http://{client.host}:{client.port}"}


def form_of(page: Page) -> dict[str, str]:
    """What a browser would send from the page's form as it is."""
    return {
        box.attributes["name"]: box.attributes.get("value", "")
        for box in page.find("input")
        if box.attributes.get("type") != "checkbox"
    }


async def send(
    client: Client, fields: dict[str, str], status: int, headers: dict[str, str] | None = None
) -> Page | None:
    response = await client.post(
        "/act", data=fields, headers=own(client) if headers is None else headers, allow_redirects=False
    )
    assert response.status == status, await response.text()
    if response.content_type != "text/html":
        return None
    return Page(await response.text())


def unknown(deployment: Deployment, id_: str = "7", **changes: Any) -> None:
    deployment.track(
        id_,
        STRANGER,
        **({"ownership": Ownership.UNKNOWN, "kind": OrphanKind.UNKNOWN, "kind_sightings": 3} | changes),
    )


class TestWhatIsShown:
    async def test_an_empty_deployment_has_a_page(self, client: Client) -> None:
        page = await get(client)
        assert "No orphans." in page.text
        assert "No machines." in page.text
        assert "never seen whole" in page.text

    async def test_accounts_machines_orphans_costs_and_events_are_on_it(
        self, client: Client, deployment: Deployment
    ) -> None:
        deployment.seen()
        session = deployment.session(1, instance_id="6")
        deployment.track("6", session.id, gpu="RTX 4090", gpu_count=2, price_per_hour=0.75)
        deployment.track("8", price_per_hour=1.5)
        unknown(deployment, price_per_hour=0.25)
        deployment.event("orphan.detected", account="main", instance_id="7")
        deployment.context.accounts["main"].leaked_usd = 1.234
        deployment.context.accounts["dock"].leaked_usd = 0.001
        deployment.clock.advance(3661)
        page = await get(client)
        for told in (
            "Burn, USD per hour 2.500",
            "Orphans, USD per hour 0.250",
            "Leaked since shopperd started, USD 1.23",
        ):
            assert told in page.text
        rows = {row.children[0].text: row.text for row in page.find("tr") if row.children}
        assert "1 h 1 min" in rows["main vastai"]
        assert rows["dock tensordock"].endswith("<0.01"), "that is not nothing"
        assert f"ours {session.id} running running 2 \u00d7 RTX 4090 0.750" in rows["6 main"]
        assert "foreign none running" in rows["8 main"]
        assert "orphan.detected main instance 7: it happened" in page.text

    async def test_a_hold_is_told_in_words_with_what_would_change_it(
        self, client: Client, deployment: Deployment
    ) -> None:
        unknown(deployment, first_seen_at=deployment.clock.now() - timedelta(hours=1))
        page = await get(client)
        assert HOLDS[HoldReason.OBSERVING].hold in page.text
        assert "unknown: its tag is ours, and nobody here remembers its session" in page.text

    async def test_banners_tell_what_stops_everything(self, client: Client, deployment: Deployment) -> None:
        assert "Frozen" not in (await get(client)).text
        await client.post("/api/v1/freeze", json={"reason": HOSTILE.replace("\x00", "")})
        page = await get(client)
        assert "Frozen since 2026-11-22T22:00:00Z: <script>alert(1)</script>\\x1b[31m\\u202egnp.exe" in page.text
        assert page.find("title")[0].text == "shopperd: frozen"

    async def test_it_is_there_while_the_store_does_not_answer(
        self, client: Client, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise StoreError("sqlite:///x", "it is on fire")

        monkeypatch.setattr(deployment.store, "run", fail)
        page = await get(client)
        assert "the store does not answer" in page.text

    async def test_a_long_list_is_cut_and_says_so(
        self, client: Client, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("shopperd.web.page.view.MACHINES_MAX", 2)
        monkeypatch.setattr("shopperd.web.page.view.ORPHANS_MAX", 1)
        for number in range(3):
            deployment.orphan(str(number), number + 1)
        page = await get(client)
        assert "2 more: see shopperd orphans" in page.text
        assert "There are more: see shopperd instances list" in page.text

    async def test_a_label_without_end_is_cut_in_the_list_and_whole_on_its_own_page(
        self, client: Client, deployment: Deployment
    ) -> None:
        label = "x" * 4000
        deployment.track("9", tag=label)
        page = await get(client)
        assert f"{label[:120]}…" in page.text
        assert label[:121] not in page.text
        assert label in (await get(client, "/machine?account=main&id=9")).text

    async def test_a_command_in_a_remedy_stands_out_and_foreign_text_in_it_stays_text(
        self, client: Client, deployment: Deployment
    ) -> None:
        unknown(deployment, first_seen_at=deployment.clock.now() - timedelta(hours=1))
        page = await get(client)
        assert "`" not in page.text
        assert str(environment().filters["marked"]("`<b>` \x1b<i>")) == "<code>&lt;b&gt;</code> \\x1b&lt;i&gt;"

    async def test_what_is_not_as_it_was_set_up_is_told(self, client: Client, deployment: Deployment) -> None:
        deployment.notices.append("refused <b>: `shopperd check` tells why")
        page = await get(client)
        assert "Notice: refused <b>: shopperd check tells why." in page.text


class TestSafety:
    async def test_hostile_labels_are_text_and_nothing_else(self, client: Client, deployment: Deployment) -> None:
        plain = await get(client)
        unknown(deployment, tag=HOSTILE, gpu=HOSTILE)
        deployment.track(HOSTILE.replace("\x00", ""), address=HOSTILE, provider_state=HOSTILE)
        deployment.event("instance.seen", account="main", instance_id=HOSTILE)
        for path in ("/", "/machine?account=main&id=7&act=destroy"):
            response = await client.get(path)
            html = await response.text()
            page = Page(html)
            assert len(page.find("script")) == (len(plain.find("script")) if path == "/" else 0)
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", html)
            assert not any(name.startswith("on") for element in page.all for name in element.attributes)
            assert "<script>alert(1)</script>\\x1b[31m\\u202egnp.exe 🤖" in page.text
            labels = [element for element in page.find("bdi") if "alert(1)" in element.text]
            assert labels

    @pytest.mark.parametrize("path", ["/", "/machine?account=main&id=7", "/machine?account=main&id=404"])
    async def test_nothing_comes_from_elsewhere_or_is_allowed_to(
        self, client: Client, deployment: Deployment, path: str
    ) -> None:
        unknown(deployment)
        response = await client.get(path)
        html = await response.text()
        assert "//" not in re.sub(r"^\s*//.*$", "", html, flags=re.MULTILINE).replace("<!doctype html>", "")
        assert "style=" not in html
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Cache-Control"] == "no-store"
        for element in Page(html).find("script"):
            assert element.attributes == {}

    async def test_the_policy_knows_the_very_text_of_style_and_script(self, client: Client) -> None:
        html = await (await client.get("/")).text()
        assert f"<style>{STYLE}</style>" in html
        assert f"<script>{SCRIPT}</script>" in html

    async def test_another_name_does_not_open_it(self, client: Client) -> None:
        assert (await client.get("/", headers={"Host": "evil.example"})).status == 403


class TestAccessibility:
    @pytest.fixture
    async def pages(self, client: Client, deployment: Deployment) -> list[Page]:
        unknown(deployment)
        return [await get(client), await get(client, "/machine?account=main&id=7&act=adopt")]

    async def test_it_has_a_language_a_title_one_heading_and_a_way_past_the_head(self, pages: list[Page]) -> None:
        for page in pages:
            assert page.find("html")[0].attributes["lang"] == "en"
            assert page.find("title")[0].text
            assert len(page.find("h1")) == 1
            assert page.find("a", class_="skip", href="#content")
            assert page.find("main", id="content")
            assert page.find("meta", name="viewport")

    async def test_tables_keep_their_meaning_as_cards(self, pages: list[Page]) -> None:
        for page in pages:
            ids = {element.attributes["id"] for element in page.all if "id" in element.attributes}
            assert page.find("table")
            for table in page.find("table"):
                assert table.attributes["role"] == "table"
                assert table.attributes["aria-labelledby"] in ids
            assert all(cell.attributes.get("scope") in ("col", "row") for cell in page.find("th"))
            assert all(cell.attributes.get("role") == "cell" for cell in page.find("td"))

    async def test_every_field_has_a_label_and_every_link_says_where_it_goes(self, pages: list[Page]) -> None:
        labelled = [box for page in pages for label in page.find("label") for box in label.children]
        for page in pages:
            for box in page.find("input"):
                assert box.attributes["type"] == "hidden" or box in labelled
            targets = [link.text for link in page.find("a", class_="button")]
            assert len(targets) == len(set(targets))
        assert "Destroy… instance 7 of account main" in [link.text for link in pages[0].find("a")]

    async def test_text_has_enough_contrast_in_both_schemes(self) -> None:
        def light(colour: str) -> float:
            digits = colour if len(colour) == 6 else "".join(digit * 2 for digit in colour)
            parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
            linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

        schemes = [dict(re.findall(r"--([a-z-]+): #([0-9a-f]{3,6});", block)) for block in STYLE.split("@media")[:2]]
        for scheme in schemes:
            for front, back in (
                *(("text", "back"), ("soft", "back"), ("link", "back"), ("bad", "back"), ("good", "back")),
                *(("warn", "back"), ("bad", "bad-back"), ("warn", "warn-back"), ("text", "card"), ("soft", "card")),
                ("good", "card"),
            ):
                darker, lighter = sorted((light(scheme[front]), light(scheme[back])))
                assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (front, back)


class TestDeciding:
    @pytest.fixture
    async def guarded(self, serve: Serve, deployment: Deployment) -> Client:
        unknown(deployment)
        return await serve(deployment, token=token())

    async def test_buttons_lead_to_a_page_that_explains_and_asks_again(self, guarded: Client) -> None:
        links = [
            link.attributes["href"] for link in (await get(guarded)).find("a") if "act=" in link.attributes["href"]
        ]
        assert links == [f"machine?account=main&id=7&act={act}" for act in ("adopt", "exempt", "destroy")]
        for link in links:
            page = await get(guarded, f"/{link}")
            (form,) = page.find("form")
            assert (form.attributes["method"], form.attributes["action"]) == ("post", "act")
            assert {"action", "account", "id", "reason", "token"} <= form_of(page).keys()
            (box,) = page.find("input", type="checkbox")
            assert box.attributes.keys() >= {"required", "name"}
            assert page.find("input", type="password")[0].attributes.keys() >= {"required"}
            assert "sightings" in page.text

    @pytest.mark.parametrize("act", ["adopt", "exempt", "destroy"])
    async def test_a_decision_with_token_and_confirmation_is_carried_out(
        self, guarded: Client, deployment: Deployment, act: str
    ) -> None:
        page = await get(guarded, f"/machine?account=main&id=7&act={act}")
        fields = form_of(page) | {"reason": "it is mine", "token": TOKEN, "confirmed": "true"}
        response = await guarded.post("/act", data=fields, headers=own(guarded))
        assert response.status == 200
        assert response.url.path == "/"
        assert len(Page(await response.text()).find("p", class_="banner good")) == 1
        track = deployment.store.run_sync(instances.get, "main", "7")
        assert track is not None
        job = deployment.store.run_sync(destroys.for_instance, "main", "7")
        found = {
            "adopt": track.instance.ownership is Ownership.OURS,
            "exempt": track.exempt,
            "destroy": job is not None and job.reason == "it is mine",
        }
        assert [name for name, done in found.items() if done] == [act]

    async def test_without_token_confirmation_or_reason_nothing_is_done(
        self, guarded: Client, deployment: Deployment
    ) -> None:
        page = await get(guarded, "/machine?account=main&id=7&act=destroy")
        whole = form_of(page) | {"reason": "x", "token": TOKEN, "confirmed": "true"}
        for missing, status in (("token", 401), ("confirmed", 409), ("reason", 400), ("action", 400)):
            again = await send(guarded, {name: text for name, text in whole.items() if name != missing}, status)
            assert again is not None
            (alert,) = again.find("p", role="alert")
            assert alert.text.lower().count("nothing was done") <= 1
            assert TOKEN not in str(again.all)
        wrong = await send(guarded, whole | {"token": "wrong", "reason": HOSTILE.replace("\x00", "")}, 401)
        assert wrong is not None
        assert form_of(wrong)["reason"] == HOSTILE.replace("\x00", "")
        assert form_of(wrong)["token"] == ""
        assert deployment.store.run_sync(destroys.open_jobs, "main") == []

    async def test_another_page_cannot_send_the_form(self, client: Client, deployment: Deployment) -> None:
        unknown(deployment)
        fields = {"action": "destroy", "account": "main", "id": "7", "reason": "x", "confirmed": "true"}
        for headers in (
            {},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            own(client) | {"Sec-Fetch-Site": "same-site"},
        ):
            await send(client, fields, 403, headers)
        response = await client.post("/act", json=fields, headers=own(client))
        assert response.status == 415
        response = await client.post("/api/v1/freeze", data={"reason": "x"}, headers=own(client))
        assert response.status == 415
        assert deployment.store.run_sync(destroys.open_jobs, "main") == []
        await send(client, fields, 303)
        assert len(deployment.store.run_sync(destroys.open_jobs, "main")) == 1

    async def test_on_loopback_without_a_token_none_is_asked_for(self, client: Client, deployment: Deployment) -> None:
        unknown(deployment)
        page = await get(client, "/machine?account=main&id=7&act=exempt")
        assert page.find("input", type="password") == []

    async def test_what_cannot_be_done_is_told_on_the_page(self, client: Client, deployment: Deployment) -> None:
        deployment.track("8")
        fields = {"action": "destroy", "account": "main", "id": "8", "reason": "x", "confirmed": "true"}
        page = await send(client, fields, 409)
        assert page is not None
        assert "never touches it" in page.find("p", role="alert")[0].text
        assert await send(client, fields | {"id": "404"}, 404) is not None
        await get(client, "/machine?account=main&id=404", 404)

    async def test_a_strange_id_comes_back_as_it_was(self, client: Client, deployment: Deployment) -> None:
        strange = 'a b&"<i>\u202e\x1b'
        deployment.orphan(strange, 1)
        (link,) = [
            link.attributes["href"] for link in (await get(client)).find("a") if "act=exempt" in link.attributes["href"]
        ]
        page = await get(client, f"/{link}")
        assert form_of(page)["id"] == strange
        await send(client, form_of(page) | {"reason": "x", "confirmed": "true"}, 303)
        track = deployment.store.run_sync(instances.get, "main", strange)
        assert track is not None
        assert track.exempt

    async def test_an_exempt_one_or_one_that_goes_offers_what_still_makes_sense(
        self, client: Client, deployment: Deployment
    ) -> None:
        deployment.orphan("1", 1, exempt=True)
        deployment.orphan("2", 2)
        await client.post("/api/v1/instances/main/2/destroy", json={"reason": "x"})
        deployment.track("3")

        async def offered(id_: str) -> list[str]:
            links = (await get(client, f"/machine?account=main&id={id_}")).find("a")
            return [link.attributes["href"].rpartition("=")[2] for link in links if "act=" in link.attributes["href"]]

        assert await offered("1") == ["adopt", "unexempt"]
        assert await offered("2") == ["exempt"]
        assert await offered("3") == []
