"""Takes all pictures: python -m tests.deploy.pictures [--seconds S] [--prometheus HOST:PORT --page URL] [FOLDER]

Without --prometheus and --page it starts both, as `make observe` does, and lets them run for a while first. It needs Chromium and
Prometheus; with pngquant the pictures become a third as large.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.browser import BrowserError, Tab, browser, chromium
from tests.deploy.observed import ROOT, Prometheus, observed

BUILT = ROOT / ".venv-deploy/pictures"
"""Where `make screenshots` builds what is beside this file."""

DASHBOARDS = ROOT / "deploy/grafana"
PICTURES = ROOT / "docs/pictures"
RUN_SECONDS = 330.0
"""Some rounds of the demo's story, and every rate that is shown has its past."""

SHOWN_SECONDS, STEP_SECONDS, RATE = 300, 2, "15s"
"""Of the graphs; Prometheus scrapes every second here."""

DASHBOARD_WIDTH, DASHBOARD_HEIGHT = 1440, 3200
FIRST, FIRST_HEIGHT = "shopperd-overview", 790
"""The upper part of this one is a picture of its own, for where a picture must be small."""

WIDTHS = {"phone": (390, 844), "tablet": (820, 1180), "desktop": (1440, 900)}
PAGE_HEIGHT_MAX = 2400
"""Of a picture of the status page, whose list of events goes on."""

BYTES_MAX = 300_000
PATIENCE_SECONDS = 60.0


def main() -> int:
    """See the module."""
    arguments = argparse.ArgumentParser(description="Pictures of dashboards and status page, from a running demo.")
    arguments.add_argument("folder", nargs="?", type=Path, default=PICTURES)
    arguments.add_argument("--seconds", type=float, default=RUN_SECONDS, help="how long the demo runs before")
    arguments.add_argument("--prometheus", help="one that runs already: HOST:PORT")
    arguments.add_argument("--page", help="the status page that goes with it")
    asked = arguments.parse_args()
    program = chromium()
    missing = [name for name, found in (("chromium", program), ("prometheus", shutil.which("prometheus"))) if not found]
    if program is None or missing:
        print(f"Not installed: {', '.join(missing)}. On Debian: apt-get install chromium prometheus", file=sys.stderr)
        return 1
    asked.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        profile = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shopperd-pictures-")))
        if asked.prometheus is None:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shopperd-pictures-")))
            running = stack.enter_context(observed(scratch))
            print(f"The demo runs for {asked.seconds:.0f} s first", flush=True)
            time.sleep(asked.seconds)
            prometheus, page = running, running.page
        else:
            prometheus, page = Prometheus(asked.prometheus, asked.page), asked.page
        return asyncio.run(take(program, profile, prometheus, page, asked.folder))


async def take(program: str, profile: Path, prometheus: Prometheus, page: str, folder: Path) -> int:
    """All pictures; 1 if one is not as it should be."""
    problems: list[str] = []
    async with browser(program, profile) as tab, served() as origin:
        await page_pictures(tab, page, folder)
        for path in sorted(DASHBOARDS.glob("*.json")):
            empty = await dashboard_picture(tab, origin, prometheus, path, folder)
            problems += [f"{path.stem}: {title}: no data" for title in empty]
        problems += [f"the browser says: {line}" for line in tab.console]
    for picture in sorted(folder.glob("*.png")):
        shrink(picture)
        print(f"{picture.name:32} {picture.stat().st_size / 1000:6.0f} kB")
        if picture.stat().st_size > BYTES_MAX:
            problems.append(f"{picture.name} is larger than {BYTES_MAX} bytes")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[str]:
    """The drawing and the dashboards on loopback; their origin."""
    app = web.Application()
    # Where Grafana has its icons and fonts, seen from a page.
    app.router.add_static("/drawing/public/build/img", BUILT / "node_modules/@grafana/ui/dist/public/img")
    app.router.add_get("/drawing/public/fonts/inter/{name}", font)
    app.router.add_static("/drawing", BUILT / "dist")
    app.router.add_static("/dashboards", DASHBOARDS)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def font(request: web.Request) -> web.FileResponse:
    """One weight of the font that Grafana is set in."""
    weight = {"Inter-Regular.woff2": 400, "Inter-Medium.woff2": 500}[request.match_info["name"]]
    return web.FileResponse(BUILT / f"node_modules/@fontsource/inter/files/inter-latin-{weight}-normal.woff2")


async def dashboard_picture(tab: Tab, origin: str, prometheus: Prometheus, path: Path, folder: Path) -> list[str]:
    """One dashboard; the titles of panels without data."""
    end = int(time.time())
    asked = urlencode(
        {
            "dashboard": f"/dashboards/{path.name}",
            "prometheus": f"http://{prometheus.address}",
            "start": end - SHOWN_SECONDS,
            "end": end,
            "step": STEP_SECONDS,
            "rate": RATE,
        }
    )
    # As high as any: a table draws those of its rows that are in sight.
    await tab.look(DASHBOARD_WIDTH, DASHBOARD_HEIGHT)
    await tab.open(f"{origin}/drawing/index.html?{asked}")
    empty: list[str] = await tab.evaluate("window.drawn")
    height = await tab.evaluate("document.getElementById('root').scrollHeight")
    name = path.stem.replace("shopperd-", "dashboard-")
    await tab.picture(folder / f"{name}.png", height)
    if path.stem == FIRST:
        await tab.picture(folder / f"{name}-top.png", FIRST_HEIGHT)
    return empty


async def page_pictures(tab: Tab, page: str, folder: Path) -> None:
    """The status page at three widths, in both schemes, with something on it to decide."""
    for name, (width, height) in WIDTHS.items():
        for dark in (False, True):
            await tab.look(width, height, dark=dark)
            await something_to_decide(tab, page)
            await tab.picture(folder / f"status-{name}-{'dark' if dark else 'light'}.png", PAGE_HEIGHT_MAX)


async def something_to_decide(tab: Tab, page: str) -> None:
    """Open the page when an orphan is on it: now and then the demo kills its daemon.

    Raises:
        BrowserError: there is none for long.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(BrowserError):
            await tab.open(page)
            if await tab.evaluate("document.querySelectorAll('[aria-labelledby=orphans] tbody tr').length"):
                return
        if time.monotonic() > deadline:
            raise BrowserError(f"no orphan was on {page} for {PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(1)


def shrink(picture: Path) -> None:
    """To a palette: what is drawn has few colours."""
    if (program := shutil.which("pngquant")) is not None:
        subprocess.run([program, "--force", "--strip", "--skip-if-larger", "--output", picture, picture], check=False)


if __name__ == "__main__":
    sys.exit(main())
