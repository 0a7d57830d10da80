"""What the HTTP interface does is what its own document says: schemathesis asks it all that is allowed, and much that is not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from shopperd.simulator import SimulatorServer
from tests.daemon.house import simulated
from tests.deploy.tools import tool
from tests.system.processes import KEYS, account, configuration, shopperd

TOKEN = "a-token-of-some-length"
SEED = 20261127
EXAMPLES = 5
"""Of each operation, beside all bounds of all parameters: about 1,900 requests."""


@pytest.mark.timeout(300)
async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    program = tool("http", "schemathesis")
    async with simulated() as simulator:
        machine = simulator.world.conjure({"provider": "vastai", "tag": "of-somebody-else"})
        config = _config(simulator, tmp_path)
        (tmp_path / "schemathesis.toml").write_text(_known(machine))
        async with shopperd("run", "--config", str(config), folder=tmp_path, environ=KEYS) as daemon:
            ready = await daemon.logged("ready")
            words = ("--seed", str(SEED), "--max-examples", str(EXAMPLES), "--continue-on-failure", "--no-shrink")
            asked = await asyncio.create_subprocess_exec(
                *(program, "--no-color", "run", f"{ready['url']}/api/v1/openapi.json", *words),
                *("--header", f"Authorization: Bearer {TOKEN}", "--warnings", "off"),
                cwd=tmp_path,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            said = (await asked.communicate())[0].decode()
            assert asked.returncode == 0, said
            assert "No issues found" in said


def _config(simulator: SimulatorServer, folder: Path) -> Path:
    accounts = [
        account("vast", "vastai", simulator.vastai_url),
        account("dock", "tensordock", simulator.tensordock_url),
    ]
    config = configuration(simulator, folder, accounts=accounts)
    (folder / "token").write_text(TOKEN)
    config.write_text(config.read_text().replace("[web]\n", f'[web]\ntoken_file = "{folder / "token"}"\n'))
    return config


def _known(machine: dict[str, Any]) -> str:
    """What is there to ask about, or every machine that is asked for is unknown; and what the document cannot say.

    A time that ends before it begins is refused, and there are no words for one parameter that depends on another.
    """
    names = json.dumps(machine["id"])
    return f"""
[[operations]]
include-path-regex = "/instances/"
parameters = {{ "path.account" = "vast", "path.id" = {names} }}

[[operations]]
include-path = "/machine"
parameters = {{ "query.account" = "vast", "query.id" = {names} }}

[[operations]]
include-path = ["/api/v1/costs", "/api/v1/offers/history"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "304", "400", "401", "403", "404"]
"""
