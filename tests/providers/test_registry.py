"""Names of marketplaces and who answers to them."""

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from shopperd.providers import registry
from shopperd.providers.registry import ProviderUnusable, open_provider, provider_names
from shopperd.secrets import Secret
from shopperd.settings import AccountSettings, SecretSource
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.providers.senders import ListSender

SECRETS = {
    name: Secret(SecretSource(env="KEY"), {"KEY": "a-key-of-some-length"})
    for name in ("api_key", "api_token", "auth_id")
}


def opened(clock: FakeClock, metrics: Metrics, provider: str, **more: Any) -> Any:
    settings = AccountSettings(name="main", provider=provider)
    told = {"secrets": SECRETS, "sender": ListSender(Exception()), **more}
    return open_provider(settings, deployment="prod", clock=clock, metrics=metrics, **told)


def plug_in(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    points = EntryPoints([EntryPoint(name, value, registry.GROUP)])
    monkeypatch.setattr(registry, "entry_points", lambda *, group: points.select(group=group))


def opener(settings: AccountSettings, **told: Any) -> tuple[AccountSettings, dict[str, Any]]:
    return settings, told


@pytest.mark.parametrize("name", ["vastai", "tensordock"])
def test_a_built_in_marketplace_answers_to_its_name(clock: FakeClock, metrics: Metrics, name: str) -> None:
    assert opened(clock, metrics, name).name == name
    assert name in provider_names()


def test_an_unknown_name_is_refused_with_the_known_ones(clock: FakeClock, metrics: Metrics) -> None:
    with pytest.raises(ProviderUnusable, match=r"accounts\.main\.provider is 'nobody'; known are tensordock, vastai"):
        opened(clock, metrics, "nobody")


def test_settings_that_are_not_enough_are_refused(clock: FakeClock, metrics: Metrics) -> None:
    with pytest.raises(ProviderUnusable, match=r"accounts\.main needs api_key"):
        opened(clock, metrics, "vastai", secrets={})


def test_a_plug_in_is_handed_what_the_built_in_ones_are(
    clock: FakeClock, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, "elsewhere", f"{__name__}:opener")
    settings, told = opened(clock, metrics, "elsewhere")
    assert settings.provider == "elsewhere"
    assert set(told) == {"deployment", "secrets", "clock", "metrics", "sender"}
    assert "elsewhere" in provider_names()


def test_a_plug_in_that_does_not_load_is_said(
    clock: FakeClock, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, "elsewhere", "no_such_module_anywhere:opener")
    with pytest.raises(ProviderUnusable, match="does not load"):
        opened(clock, metrics, "elsewhere")


def test_a_plug_in_never_takes_a_built_in_name(
    clock: FakeClock, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, "vastai", f"{__name__}:opener")
    assert opened(clock, metrics, "vastai").name == "vastai"
