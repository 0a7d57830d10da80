"""`check`: what is in force, everything that is wrong, and whether accounts work."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shopperd.cli.group import shopperd
from shopperd.simulator import SimulatorServer, WorldSettings
from tests.cli.served import LoopThread

GOOD = """
deployment = "prod"

[accounts.main]
provider = "vastai"
base_url = "{url}"
api_key_file = "{key}"
"""


@pytest.fixture(scope="module")
def marketplace() -> Iterator[SimulatorServer]:
    """A pretend Vast.ai, in a thread of its own."""
    thread = LoopThread()
    server = SimulatorServer(settings=WorldSettings(seed=1, offers=20, rate_scale=0.0))
    thread.run(server.__aenter__())
    yield server
    thread.run(server.__aexit__(None, None, None))
    thread.close()


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Check a configuration file that holds this text."""
    for name in ("VASTAI_API_KEY", "TENSORDOCK_API_TOKEN", "TENSORDOCK_AUTH_ID"):
        monkeypatch.delenv(name, raising=False)

    def run(text: str, *arguments: str, key: str = "a-good-key") -> Result:
        (tmp_path / "main.key").write_text(key)
        config = tmp_path / "shopperd.toml"
        config.write_text(text.replace("{key}", "main.key"))
        return CliRunner().invoke(shopperd, ["check", "--config", str(config), *arguments])

    return run


def test_the_settings_in_force_are_told_and_no_secret(check: Callable[..., Result]) -> None:
    result = check(GOOD.replace("{url}", "https://console.vast.ai"))
    assert result.exit_code == 0, result.output
    assert "deployment = prod\n" in result.output
    assert "orphans.grace = 5m\n" in result.output
    assert "accounts.main.api_key_file = " in result.output
    assert "a-good-key" not in result.output


def test_json_says_the_same(check: Callable[..., Result]) -> None:
    told = json.loads(check(GOOD.replace("{url}", "https://console.vast.ai"), "--json").stdout)
    assert (told["deployment"], told["accounts"]["main"]["provider"]) == ("prod", "vastai")


def test_everything_that_is_wrong_is_told_at_once(check: Callable[..., Result]) -> None:
    result = check(
        '[orphans]\nmode = "maybe"\nsighting = 3\n[accounts.a]\nprovider = "vastai"\napi_key_env = "NOT_SET"\n'
    )
    assert result.exit_code == 2
    assert result.stdout == ""
    places = [line.split(": ")[0] for line in result.stderr.splitlines()]
    assert sorted(places) == ["accounts.a.api_key_env", "orphans.mode", "orphans.sighting"]


def test_a_file_that_is_not_there_is_wrong(tmp_path: Path) -> None:
    result = CliRunner().invoke(shopperd, ["check", "--config", str(tmp_path / "none.toml")])
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


def test_accounts_that_work_are_told_so(check: Callable[..., Result], marketplace: SimulatorServer) -> None:
    result = check(GOOD.replace("{url}", marketplace.vastai_url), "--online")
    assert result.exit_code == 0, result.output
    assert "ok: main (vastai): 0 instances; the market answers" in result.output


def test_a_refused_key_is_a_failure_that_says_what_to_check(
    check: Callable[..., Result], marketplace: SimulatorServer
) -> None:
    result = check(GOOD.replace("{url}", marketplace.vastai_url), "--online", key="bad-key")
    assert result.exit_code == 1
    assert "FAILED: main (vastai)" in result.output
    assert "check the key" in result.output
    assert "bad-key" not in result.output


def test_the_right_to_rent_and_destroy_is_named_and_never_tried(
    check: Callable[..., Result], marketplace: SimulatorServer
) -> None:
    result = check(GOOD.replace("{url}", marketplace.vastai_url), "--online", "--json", key="readonly-key")
    assert result.exit_code == 0
    (finding,) = json.loads(result.stdout)["accounts"]
    assert "not tried: instance_write" in finding["detail"]
    assert {name: finding["rights"][name] for name in ("instance_read", "misc", "instance_write")} == {
        "instance_read": "ok",
        "misc": "ok",
        "instance_write": "not tried",
    }


@pytest.mark.parametrize("api", ["v2", "v0"])
def test_no_check_asks_a_marketplace_for_a_change(
    check: Callable[..., Result], marketplace: SimulatorServer, tmp_path: Path, api: str
) -> None:
    (tmp_path / "id.key").write_text("an-id")
    text = f"""
[accounts.dock]
provider = "tensordock"
api = "{api}"
base_url = "{marketplace.tensordock_url}"
api_token_file = "main.key"
""" + ('auth_id_file = "id.key"\n' if api == "v0" else "")
    assert check(text, "--online").exit_code == 0
    assert check(GOOD.replace("{url}", marketplace.vastai_url), "--online").exit_code == 0
    asked = {row.operation for row in marketplace.world.requests.after(0)}
    assert asked
    assert not asked & {"create", "destroy"}


def test_all_rights_and_what_is_left_are_told(check: Callable[..., Result], marketplace: SimulatorServer) -> None:
    result = check(GOOD.replace("{url}", marketplace.vastai_url), "--online", "--json")
    (finding,) = json.loads(result.stdout)["accounts"]
    assert set(finding["rights"]) == {"instance_read", "misc", "instance_write", "user_read"}
    assert finding["rights"].pop("instance_write") == "not tried"
    assert set(finding["rights"].values()) == {"ok"}
    assert "USD are left" in finding["detail"]


def test_a_marketplace_that_does_not_answer_is_a_failure(check: Callable[..., Result]) -> None:
    result = check(GOOD.replace("{url}", "http://127.0.0.1:1"), "--online", "--json")
    assert result.exit_code == 1
    (finding,) = json.loads(result.stdout)["accounts"]
    assert (finding["account"], finding["ok"]) == ("main", False)
    assert "Unclear" in finding["detail"]
    assert "can http://127.0.0.1:1 be reached from here" in finding["detail"]


def test_without_accounts_there_is_nothing_to_ask(check: Callable[..., Result]) -> None:
    result = check("", "--online")
    assert result.exit_code == 0
    assert "nothing to ask" in result.output
