from pathlib import Path

import pytest

from shopperd.demo.pace import LENGTH_SECONDS_MIN, ROUND_SECONDS, pace_for
from shopperd.demo.setting import DOCK, DOCK_V0, MARKETS, PLACES, VAST, Market, configuration, fake_secrets, place_of
from shopperd.settings_file import load

HOOK = "http://127.0.0.1:4/"
MARKET = Market("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")


@pytest.mark.parametrize("length", [LENGTH_SECONDS_MIN, ROUND_SECONDS])
def test_the_daemon_takes_the_configuration(tmp_path: Path, length: float) -> None:
    file = tmp_path / "config.toml"
    file.write_text(configuration(pace_for(length), [MARKET] * MARKETS, tmp_path, 0, HOOK))
    settings = load(file, fake_secrets())
    assert set(settings.accounts) == {VAST.name, DOCK.name, DOCK_V0.name}
    assert [settings.accounts[place.name].api for place in PLACES] == [None, "v2", "v0"]
    assert settings.accounts[VAST.name].base_url == MARKET.vastai_url
    assert settings.accounts[DOCK.name].base_url == MARKET.tensordock_url
    assert [hook.url for hook in settings.hooks.values()] == [HOOK]
    assert settings.orphans.grace == pace_for(length).grace
    assert not any(account.exclusive for account in settings.accounts.values())


def test_the_store_lies_in_the_demo_s_own_folder_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" name'
    folder.mkdir()
    file = folder / "config.toml"
    file.write_text(configuration(pace_for(ROUND_SECONDS), [MARKET] * MARKETS, folder, 9877, HOOK))
    settings = load(file, fake_secrets())
    assert settings.store.url == f"sqlite:///{folder}/shopperd.db"
    assert settings.web.port == 9877


def test_no_secret_is_in_the_configuration() -> None:
    text = configuration(pace_for(ROUND_SECONDS), [MARKET] * MARKETS, Path("/nowhere"), 0, HOOK)
    assert not any(secret in text for secret in fake_secrets().values())


def test_no_two_accounts_share_their_machines() -> None:
    assert len({(place.market, place.provider) for place in PLACES}) == len(PLACES)
    assert all(place_of(place.market, place.provider) is place for place in PLACES)


def test_a_provider_that_a_simulator_serves_for_nobody_has_no_account() -> None:
    assert place_of(DOCK_V0.market, VAST.provider) is None
