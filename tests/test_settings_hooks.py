"""The tables under ``[hooks]``, from a file and from the environment."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from shopperd.settings import HookSettings, SecretSource, SettingsError
from shopperd.settings_file import describe, load

SECRET = "a-secret-canary-of-a-hook"
ENVIRON = {"HOOK": SECRET}

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems(path: Path, environ: Mapping[str, str] = ENVIRON) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        load(path, environ)
    return {problem.place: problem.message for problem in caught.value.problems}


def test_a_hook_needs_a_url_and_a_secret_alone(write: Write) -> None:
    settings = load(write('[hooks.ci]\nurl = "https://ci.example/in"\nsecret_env = "HOOK"'), ENVIRON)
    assert settings.hooks == {"ci": HookSettings("ci", "https://ci.example/in", SecretSource(env="HOOK"))}


def test_its_secret_may_be_in_a_file_beside_the_settings(write: Write, tmp_path: Path) -> None:
    (tmp_path / "ci.secret").write_text(SECRET)
    settings = load(write('[hooks.ci]\nurl = "https://ci.example/in"\nsecret_file = "ci.secret"'), {})
    assert settings.hooks["ci"].secret == SecretSource(file=tmp_path / "ci.secret")


def test_it_can_be_declared_and_changed_from_the_environment(write: Write) -> None:
    of_ci = {
        "SHOPPERD_HOOKS__CI__URL": "http://127.0.0.1:9/in",
        "SHOPPERD_HOOKS__CI__SECRET_ENV": "HOOK",
        "SHOPPERD_HOOKS__CI__EVENTS": "session.*, orphan.detected",
    }
    (made,) = load(write(""), ENVIRON | of_ci).hooks.values()
    assert (made.name, made.url, made.events) == ("ci", "http://127.0.0.1:9/in", ("session.*", "orphan.detected"))
    path = write('[hooks.my-ci]\nurl = "https://ci.example/in"\nsecret_env = "HOOK"')
    assert load(path, ENVIRON | {"SHOPPERD_HOOKS__MY_CI__TIMEOUT": "3s"}).hooks["my-ci"].timeout == 3.0


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("SHOPPERD_HOOKS__CI__TIMEOUT", "no hook is spelled CI"),
        ("SHOPPERD_HOOKS__CI__A__B", "a hook's are SHOPPERD_HOOKS__<NAME>__<KEY>"),
    ],
)
def test_a_variable_of_no_hook_is_a_problem(write: Write, variable: str, told: str) -> None:
    assert told in problems(write(""), {variable: "1"})[f"environment {variable}"]


@pytest.mark.parametrize(
    "url",
    [
        "http://ci.example/in",
        "http://localhost.evil.example/in",
        "https://user:url-canary@ci.example/in",
        "ftp://ci.example/url-canary",
        "https:///in",
        "https://ci.example:99999/in",
        "https://[::1/in",
        "https://ci.example/a b",
        "https://ci.example/in#part",
    ],
)
def test_a_url_that_is_not_private_or_none_is_a_problem_and_not_repeated(write: Write, url: str) -> None:
    found = problems(write(f'[hooks.ci]\nurl = "{url}"\nsecret_env = "HOOK"'))
    assert list(found) == ["hooks.ci.url"]
    assert "canary" not in str(found)


@pytest.mark.parametrize("url", ["http://localhost:1/", "http://127.0.0.1/in", "http://[::1]:5/", "https://ci.example"])
def test_plain_http_goes_to_this_machine_alone(write: Write, url: str) -> None:
    assert load(write(f'[hooks.ci]\nurl = "{url}"\nsecret_env = "HOOK"'), ENVIRON).hooks["ci"].url == url


@pytest.mark.parametrize(
    ("lines", "place", "told"),
    [
        ('secret_env = "HOOK"', "hooks.ci.url", "is missing"),
        ('url = 5\nsecret_env = "HOOK"', "hooks.ci.url", "must be a text, not 5"),
        ('url = "https://a.example"', "hooks.ci.secret_file", "is missing"),
        ('url = "https://a.example"\nsecret = "secret-canary"', "hooks.ci.secret", "never in the settings"),
        ('url = "https://a.example"\nsecret_env = "NONE"', "hooks.ci.secret_env", "is not set"),
        ('url = "https://a.example"\nsecret_env = "SHORT"', "hooks.ci.secret_env", "fewer than 16 characters"),
        ('url = "https://a.example"\nsecret_env = "A"\nsecret_file = "b"', "hooks.ci.secret_file", "not both"),
        ('url = "https://a.example"\ntoken_env = "A"', "hooks.ci.token_env", "allowed are secret_env"),
        ('url = "https://a.example"\nsecret_env = "HOOK"\nevents = []', "hooks.ci.events", "at least one"),
        ('url = "https://a.example"\nsecret_env = "HOOK"\nevents = "all"', "hooks.ci.events", "a list of texts"),
        ('url = "https://a.example"\nsecret_env = "HOOK"\nevents = ["sess*"]', "hooks.ci.events", "must be *, or"),
        ('url = "https://a.example"\nsecret_env = "HOOK"\ntimeout = 0', "hooks.ci.timeout", "must be a duration"),
        ('url = "https://a.example"\nsecret_env = "HOOK"\nurls = 1', "hooks.ci.urls", "did you mean url?"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(write: Write, lines: str, place: str, told: str) -> None:
    found = problems(write(f"[hooks.ci]\n{lines}"), ENVIRON | {"SHORT": "too-short-canary"[:15]})
    assert told in found[place]
    assert "canary" not in str(found)


@pytest.mark.parametrize(("text", "place"), [("hooks = 1", "hooks"), ("[hooks]\nci = 1", "hooks.ci")])
def test_what_is_no_table_is_a_problem(write: Write, text: str, place: str) -> None:
    assert "must be" in problems(write(text))[place]


def test_two_that_the_environment_cannot_tell_apart_are_a_problem(write: Write) -> None:
    one = 'url = "https://a.example"\nsecret_env = "HOOK"\n'
    assert "is spelled like" in problems(write(f"[hooks.a-b]\n{one}[hooks.a_b]\n{one}"))["hooks.a_b"]


def test_a_hook_that_is_off_needs_no_secret_yet(write: Write) -> None:
    path = write('[hooks.ci]\nenabled = false\nurl = "https://a.example"\nsecret_env = "NONE"')
    assert not load(path, {}).hooks["ci"].enabled


def test_neither_its_secret_nor_its_path_is_shown(write: Write) -> None:
    url = "https://ci.example:8443/url-canary?key=url-canary"
    settings = load(write(f'[hooks.ci]\nurl = "{url}"\nsecret_env = "HOOK"'), ENVIRON)
    assert describe(settings)["hooks"]["ci"] == {
        "url": "https://ci.example:8443/...",
        "secret_env": "HOOK",
        "enabled": True,
        "events": ["session.*", "orphan.*"],
        "timeout": "10s",
    }
    assert "canary" not in f"{describe(settings)} {settings!r}"
