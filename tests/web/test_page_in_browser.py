"""The status page in a real browser: at three widths, by keyboard, with and without its script, whatever the labels are.

A browser is a tool of the deployment's tests: `make test-deploy` runs these.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shopperd.store import destroys
from shopperd.web.door import Door
from shopperd.web.page.view import View, view_of
from tests.browser import Tab, browser, chromium
from tests.web.conftest import Client
from tests.web.deployment import Deployment
from tests.web.test_page import HOSTILE, unknown

pytestmark = pytest.mark.deploy

WIDTHS = (390, 820, 1440)
CONTROLS = (
    "[...document.querySelectorAll('a[href], button, input:not([type=hidden])')].filter(each => each.checkVisibility())"
)
LABELS = (
    HOSTILE,
    "x" * 4000,
    "\u202e\u2067right to left\u2066 " * 20,
    "\U0001f469\u200d\U0001f680" * 200,
    "\x1b[2J\x1b]0;owned\x07",
    "z\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308" * 50,
    "</bdi></table></main><h1>done</h1><img src=x onerror=alert(1)>",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629\u3042\u6f22\u5b57" * 100,
)


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    program = chromium()
    if program is None:
        pytest.skip("no Chromium is installed here")
    async with browser(program, tmp_path) as opened:
        yield opened


@pytest.fixture
async def crowded(client: Client, deployment: Deployment) -> Client:
    """Machines with every label that somebody might think of, some of them orphans, and a long reason to be frozen."""
    deployment.seen()
    for number, label in enumerate(LABELS):
        deployment.track(f"f{number}", tag=label, gpu=label, gpu_count=8)
        deployment.event("orphan.detected", account="main", instance_id=label)
    unknown(deployment, "u" * 255, tag=HOSTILE, price_per_hour=123456.789)
    deployment.orphan("7", 1)
    deployment.orphan("8", 2, exempt=True)
    assert (await client.post("/api/v1/freeze", json={"reason": "y" * 900})).status == 200
    return client


PAGES = (
    "",
    f"machine?account=main&id={'u' * 255}&act=destroy",
    "machine?account=main&id=7",
    "machine?account=main&id=f1",
)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
async def test_nothing_hangs_over_the_edge_and_the_console_is_quiet(
    crowded: Client, tab: Tab, width: int, dark: bool
) -> None:
    for path in PAGES:
        await tab.look(width, 900, dark=dark)
        await tab.open(str(crowded.make_url("/")) + path)
        assert await tab.evaluate("document.documentElement.scrollWidth") <= width, path
        assert await tab.evaluate("document.querySelectorAll('h1').length") == 1, path
        small = f"{CONTROLS}.filter(each => each.matches('.button, button') && each.clientHeight < 32).length"
        assert await tab.evaluate(small) == 0, path
    assert tab.console == []


@pytest.mark.parametrize("width", WIDTHS)
async def test_every_control_can_be_reached_with_the_keyboard_in_order_and_shows_it(
    crowded: Client, tab: Tab, width: int
) -> None:
    for path in PAGES[:2]:
        await tab.look(width, 900)
        await tab.open(str(crowded.make_url("/")) + path)
        await tab.evaluate(f"window.controls = {CONTROLS}; 0")
        count = await tab.evaluate("controls.length")
        assert count >= 5
        reached = []
        for _ in range(count):
            await tab.press("Tab")
            reached.append(await tab.evaluate("controls.indexOf(document.activeElement)"))
            shown = "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
            assert await tab.evaluate(shown)
        assert reached == list(range(count))


async def test_a_machine_is_destroyed_by_keyboard_alone_and_without_script(
    client: Client, deployment: Deployment, tab: Tab
) -> None:
    deployment.seen()
    unknown(deployment)
    await tab.look(390, 844, script=False)
    await tab.open(str(client.make_url("/")))
    assert await tab.evaluate("document.querySelector('#pause').checkVisibility()") is False
    await reach(tab, "Destroy\u2026 instance 7 of account main")
    await follow(tab)
    await reach(tab, "reason")
    await tab.write("nobody uses it")
    await reach(tab, "confirmed")
    await tab.press(" ")
    await reach(tab, "Destroy it")
    await follow(tab)
    assert await tab.evaluate("document.querySelectorAll('.banner.good').length") == 1
    (job,) = deployment.store.run_sync(destroys.open_jobs, "main")
    assert (job.instance_id, job.reason) == ("7", "nobody uses it")


async def reach(tab: Tab, name: str) -> None:
    """Press Tab until what has that name or text has the focus."""
    for _ in range(40):
        await tab.press("Tab")
        if name in await tab.evaluate("[document.activeElement.name, document.activeElement.textContent.trim()]"):
            return
    raise AssertionError(f"Tab does not lead to {name}")


async def follow(tab: Tab) -> None:
    """Press Enter where that leads to another page."""
    async with tab.loading():
        await tab.press("Enter")


async def test_the_policy_lets_style_and_script_work(client: Client, deployment: Deployment, tab: Tab) -> None:
    """The button to pause is shown by the script alone."""
    unknown(deployment, tag=HOSTILE)
    await tab.open(str(client.make_url("/")))
    assert await tab.evaluate("document.querySelector('#pause').checkVisibility()") is True
    assert await tab.evaluate("getComputedStyle(document.querySelector('.cards')).display") == "grid"
    assert "alert(1)" in await tab.evaluate("document.querySelector('main').innerText")
    assert tab.console == []


async def test_it_refreshes_itself_until_it_is_told_to_pause(
    client: Client, deployment: Deployment, tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.orphan("1", 1)
    views: list[View] = []

    async def seen(door: Door) -> View:
        views.append(await view_of(door))
        deployment.context.frozen = True
        return views[-1]

    monkeypatch.setattr("shopperd.web.page.handlers.view_of", seen)
    await tab.open(str(client.make_url("/")))
    assert "Frozen" not in await text_of(tab)
    await tab.pass_time(30)
    assert "Frozen" in await text_of(tab)
    await tab.evaluate("document.querySelector('#pause').click()")
    before = len(views)
    await tab.pass_time(60)
    assert len(views) == before


async def text_of(tab: Tab) -> Any:
    return await tab.evaluate("document.querySelector('main').innerText")
