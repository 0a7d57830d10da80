"""Settings: what a file and the environment may say, and how all that is wrong is told at once."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shopperd import settings_accounts, settings_file
from shopperd.settings import (
    AccountSettings,
    HookSettings,
    LimitSettings,
    SecretSource,
    Settings,
    SettingsError,
    WebSettings,
    format_duration,
    parse_duration,
)
from shopperd.settings_file import describe, load, store_url
from shopperd.settings_shape import differences, leaves

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"
KEYS = {"VASTAI_API_KEY": "vast-key-canary", "TENSORDOCK_API_TOKEN": "dock-token-canary"}

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _no_file_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings_file, "DEFAULT_PATH", tmp_path / "etc" / "config.toml")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems(path: Path | None, environ: Mapping[str, str] = KEYS) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        load(path, environ)
    return {problem.place: problem.message for problem in caught.value.problems}


class TestExampleFile:
    def test_loading_it_gives_exactly_the_defaults(self) -> None:
        assert attrs.evolve(load(EXAMPLE, KEYS), source=None) == load(None, KEYS)
        assert attrs.evolve(load(EXAMPLE, {}), source=None) == Settings()

    def test_every_key_that_is_off_is_a_key_that_can_be_switched_on(self, tmp_path: Path) -> None:
        path = tmp_path / "config.toml"
        path.write_text(re.sub(r"(?m)^#(?=\S)", "", EXAMPLE.read_text()))
        for name in ("vast-ci.key", "dock-old.token", "other.password", "hook-ci.secret"):
            (tmp_path / name).write_text(f"value-of-{name}")
        found = problems(path, KEYS | {"TENSORDOCK_AUTH_ID": "an-auth-id"})
        assert list(found) == ["accounts.other.provider"], "only the plug-in is not there"

    def test_every_setting_stands_in_it(self) -> None:
        text = EXAMPLE.read_text()
        for *_, key in leaves():
            assert re.search(rf"(?m)^{key} = |[{{,] {key} = ", text), key
        for field in attrs.fields(AccountSettings):
            if field.name not in ("name", "secrets"):
                assert re.search(rf"(?m)^#{field.name} = |^#\[accounts\.[a-z-]+\.{field.name}\]", text), field.name
        for field in attrs.fields(LimitSettings):
            assert re.search(rf"(?m)^#{field.name} = ", text), field.name
        for field in attrs.fields(HookSettings):
            if field.name not in ("name", "secret"):
                assert re.search(rf"(?m)^#{field.name} = ", text), field.name
        for secrets in settings_accounts.SECRETS_OF.values():
            for secret, variable in secrets.items():
                assert f'#{secret}_env = "{variable}"' in text

    def test_every_key_has_a_comment_of_its_own_or_of_its_group(self) -> None:
        before = ""
        for line in EXAMPLE.read_text().splitlines():
            if re.match(r"#?\[", line) or re.match(r"#?\w+ = ", line):
                assert before, f"nothing is said about: {line}"
            before = line


class TestSources:
    def test_without_a_file_the_defaults_hold(self) -> None:
        assert load(None, {}) == Settings()

    def test_the_file_of_the_system_is_read_if_it_is_there(self, tmp_path: Path) -> None:
        settings_file.DEFAULT_PATH.parent.mkdir()
        settings_file.DEFAULT_PATH.write_text('deployment = "prod"')
        settings = load(None, {})
        assert settings.deployment == "prod"
        assert settings.source == settings_file.DEFAULT_PATH

    def test_a_file_that_is_named_and_missing_is_a_problem(self, tmp_path: Path) -> None:
        path = tmp_path / "no.toml"
        assert problems(path) == {str(path): "cannot be read: No such file or directory"}

    def test_values_of_every_kind_are_read(self, write: Write) -> None:
        settings = load(
            write(
                """
                deployment = "prod"
                drain_seconds = "1m30s"
                [accounts.main]
                provider = "vastai"
                exclusive = true
                budget_per_hour = 12
                base_url = "https://vast.example/"
                limits = { list = "1s", create = 2 }
                [jobs]
                status = { interval = 0.05 }
                sweep = { enabled = false }
                [orphans]
                mode = "report"
                max_share_per_hour = 1
                [log]
                level = "debug"
                """
            ),
            KEYS,
        )
        main = settings.accounts["main"]
        assert (settings.deployment, settings.drain_seconds) == ("prod", 90.0)
        assert (main.provider, main.exclusive, main.budget_per_hour) == ("vastai", True, 12.0)
        assert main.base_url == "https://vast.example"
        assert main.limits == LimitSettings(list=1.0, create=2.0)
        assert main.secrets == {"api_key": SecretSource(env="VASTAI_API_KEY")}
        assert settings.jobs.status.interval == 0.05
        assert (settings.jobs.sweep.interval, settings.jobs.sweep.enabled) == (120.0, False)
        assert (settings.orphans.mode, settings.orphans.max_share_per_hour) == ("report", 1.0)
        assert settings.log.level == "debug"

    def test_a_byte_order_mark_is_no_problem(self, tmp_path: Path) -> None:
        path = tmp_path / "config.toml"
        path.write_bytes(b'\xef\xbb\xbfdeployment = "a"\r\n')
        assert load(path, {}).deployment == "a"


class TestBrokenFiles:
    def test_a_syntax_error_is_told_with_line_and_column(self, write: Write) -> None:
        found = problems(write("[orphans]\nmode destroy\n"))
        assert list(found) == ["config.toml line 2, column 6"]

    def test_what_is_not_utf8_is_told_with_its_line(self, tmp_path: Path) -> None:
        path = tmp_path / "config.toml"
        path.write_bytes(b"[log]\nlevel = '\xff'\n")
        assert problems(path) == {"config.toml line 2": "is not UTF-8 text"}

    def test_a_file_that_is_far_too_large_is_not_read_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "config.toml"
        path.write_bytes(b"#" * (settings_file.FILE_BYTES_MAX + 1))
        assert "is larger than" in problems(path)["config.toml"]

    def test_deep_nesting_is_told_and_not_a_crash(self, write: Write) -> None:
        assert problems(write("a = " + "[" * 100_000)) == {"config.toml": "is nested too deeply"}

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        assert problems(tmp_path) == {str(tmp_path): "cannot be read: Is a directory"}


class TestProblems:
    def test_all_are_told_at_once(self, write: Write) -> None:
        found = problems(
            write(
                """
                deployment = "No Capitals"
                colour = 1
                orphans = 3
                [accounts.main]
                provider = "vastia"
                exclusive = "yes"
                limits = { list = -1, lisst = 1 }
                [accounts.td]
                provider = "tensordock"
                base_url = "https://user:pass@host/path"
                api_key_env = "X"
                [jobs]
                offers = "60s"
                status = { interval = 0.01 }
                [sessions]
                create_attempts = 0
                grace = "5m"
                [web]
                listen = "9877"
                """
            )
        )
        assert found.keys() == {
            "deployment",
            "colour",
            "orphans",
            "accounts.main.provider",
            "accounts.main.exclusive",
            "accounts.main.limits.list",
            "accounts.main.limits.lisst",
            "accounts.td.base_url",
            "accounts.td.api_key_env",
            "jobs.offers",
            "jobs.status.interval",
            "sessions.create_attempts",
            "sessions.grace",
            "web.listen",
        }
        assert "did you mean vastai?" in found["accounts.main.provider"]
        assert "did you mean list?" in found["accounts.main.limits.lisst"]
        assert "did you mean orphans.grace?" in found["sessions.grace"]
        assert "did you mean api_token_env?" in found["accounts.td.api_key_env"]
        assert found["accounts.main.exclusive"] == "must be true or false, not 'yes'"
        assert 'interval = "60s"' in found["jobs.offers"]
        assert "at least 50ms" in found["jobs.status.interval"]
        assert "pass" not in found["accounts.td.base_url"]

    def test_the_error_reads_as_one_line_for_each(self, write: Write) -> None:
        with pytest.raises(SettingsError) as caught:
            load(write('[log]\nlevel = "loud"\n[orphans]\nsightings = 0'), {})
        assert str(caught.value).splitlines() == [
            "orphans.sightings: must be a whole number, at least 1 and at most 1000, not 0",
            "log.level: must be one of debug, info, warning, error, not 'loud'",
        ]

    @pytest.mark.parametrize(
        ("section", "line"),
        [
            ("orphans", "sightings = 3.0"),
            ("orphans", "sightings = true"),
            ("orphans", 'sightings = "3"'),
            ("orphans", "max_share_per_sweep = 1.01"),
            ("orphans", "max_share_per_sweep = nan"),
            ("orphans", "max_share_per_hour = -0.1"),
            ("orphans", "max_destroys_per_sweep = -1"),
            ("orphans", "observe_sweeps = -1"),
            ("orphans", "grace = -1"),
            ("orphans", "grace = true"),
            ("orphans", 'grace = "5 minutes"'),
            ("orphans", 'grace = ""'),
            ("orphans", "grace = inf"),
            ("orphans", "grace = 1e300"),
            ("orphans", "grace = 2026-01-01"),
            ("orphans", "grace = [1]"),
            ("sessions", "create_deadline = 0"),
            ("sessions", "max_lifetime = {}"),
            ("destroys", "retry_min = 0"),
            ("destroys", 'retry_min = "1h"'),
            ("destroys", "stuck_attempts = 0"),
            ("destroys", "stuck_after = 0"),
            ("destroys", "retry_stuck = 0"),
            ("store", "spool = 3"),
            ("web", "listen = 9877"),
            ("web", 'listen = "127.0.0.1"'),
            ("web", 'listen = "127.0.0.1:70000"'),
            ("web", "token_file = 3"),
            ("store", "password_file = 3"),
            ("store", 'url = "mysql://host/db"'),
            ("store", 'url = "shopperd.db"'),
            ("log", 'format = "xml"'),
        ],
    )
    def test_a_value_that_is_not_allowed_is_told_at_its_place(self, write: Write, section: str, line: str) -> None:
        assert list(problems(write(f"[{section}]\n{line}\n"))) == [f"{section}.{line.split(' = ')[0]}"]

    def test_a_default_gives_way_to_a_setting_that_it_would_contradict(self, write: Write) -> None:
        assert load(write("[destroys]\nretry_max = 1"), {}).destroys.retry_min == 1.0
        slow = load(write("[destroys]\nretry_stuck = 2"), {}).destroys
        assert (slow.retry_min, slow.retry_max, slow.retry_stuck) == (2.0, 2.0, 2.0)

    def test_a_stuck_destroy_is_repeated_six_times_more_slowly_unless_it_is_set(self, write: Write) -> None:
        assert load(write(""), {}).destroys.retry_stuck == 3600.0
        assert load(write('[destroys]\nretry_max = "1m"'), {}).destroys.retry_stuck == 360.0
        assert load(write('[destroys]\nretry_max = "1m"\nretry_stuck = "2m"'), {}).destroys.retry_stuck == 120.0
        assert load(write('[destroys]\nretry_max = "36500d"'), {}).destroys.retry_stuck == 36500 * 86400.0

    def test_a_stuck_destroy_is_never_repeated_faster_than_others(self, write: Write) -> None:
        found = problems(write('[destroys]\nretry_max = "1h"\nretry_stuck = "10m"'))
        assert found == {"destroys.retry_stuck": "must be at least destroys.retry_max (1h)"}

    def test_a_relative_spool_lies_beside_the_file(self, write: Write, tmp_path: Path) -> None:
        assert load(write('[store]\nspool = "room"'), {}).store.spool == tmp_path / "room"
        assert load(write('[store]\nspool = ""'), {}).store.spool is None

    @pytest.mark.parametrize(
        ("section", "line"),
        [
            ("orphans", "sightings = 1"),
            ("orphans", "max_share_per_sweep = 0"),
            ("orphans", "max_share_per_sweep = 1"),
            ("orphans", "max_destroys_per_sweep = 0"),
            ("orphans", "grace = 0"),
            ("orphans", 'grace = "1h30m"'),
            ("sessions", "create_deadline = 0.05"),
            ("destroys", "retry_max = 5"),
            ("web", 'listen = "[::1]:0"'),
            ("web", 'listen = "localhost:80"'),
            ("web", 'token_file = ""'),
            ("store", 'url = "postgresql+psycopg://host/db"'),
            ("store", 'url = "sqlite://"'),
            ("store", 'url = ""'),
        ],
    )
    def test_a_value_at_the_edge_is_allowed(self, write: Write, section: str, line: str) -> None:
        load(write(f"[{section}]\n{line}\n"), {})

    def test_a_wrong_value_is_not_judged_by_the_default_in_its_place(self, write: Write) -> None:
        assert list(problems(write('[destroys]\nretry_min = "1h"\nretry_max = "long"\n'))) == ["destroys.retry_max"]

    def test_a_long_text_is_not_repeated_since_it_may_be_a_secret(self, write: Write) -> None:
        assert "canary" not in str(problems(write(f'[log]\nlevel = "{"canary" * 6}"')))


_SCALARS = st.sampled_from(
    [
        None,
        "",
        "x",
        "5m",
        "vastai",
        "tensordock",
        "v0",
        "https://h",
        "0.0.0.0:1",
        "destroy",
        0,
        1,
        -1,
        0.5,
        10**30,
        True,
        [],
    ]
)
_KEYS = st.sampled_from(
    sorted({key for path in leaves() for key in path})
    + [field.name for field in attrs.fields(AccountSettings)]
    + ["accounts", "vastai", "a-b", "a.b", "list", "api_key_env", "auth_id_file", "api_key", "", "é"]
)
_TREES = st.recursive(_SCALARS, lambda inner: st.dictionaries(_KEYS, inner, max_size=5), max_leaves=25)


class TestAnything:
    @hypothesis_settings(deadline=None)
    @given(
        tree=st.dictionaries(_KEYS, _TREES, max_size=5),
        variables=st.dictionaries(_KEYS, st.text(max_size=5), max_size=2),
    )
    def test_a_file_of_any_content_gives_settings_or_problems(
        self, tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any], variables: dict[str, str]
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "any.toml"
        path.write_text("\n".join(f"{json.dumps(key)} = {as_toml(value)}" for key, value in tree.items()))
        environ = {f"SHOPPERD_ORPHANS__{key.upper()}": value for key, value in variables.items()}
        try:
            describe(load(path, KEYS | environ))
        except SettingsError as error:
            assert error.problems, "an error without a problem tells nothing"  # noqa: PT017 - either way is right here


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(each)}" for key, each in value.items()) + "}"
    return json.dumps("none" if value is None else value)


class TestAccounts:
    def test_without_a_table_each_secret_in_the_environment_makes_one(self) -> None:
        environ = {**KEYS, "TENSORDOCK_AUTH_ID": "an-auth-id"}
        assert dict(load(None, environ).accounts) == {
            "vastai": AccountSettings("vastai", "vastai", secrets={"api_key": SecretSource(env="VASTAI_API_KEY")}),
            "tensordock": AccountSettings(
                "tensordock",
                "tensordock",
                secrets={
                    "api_token": SecretSource(env="TENSORDOCK_API_TOKEN"),
                    "auth_id": SecretSource(env="TENSORDOCK_AUTH_ID"),
                },
            ),
        }

    @pytest.mark.parametrize("environ", [{}, {"VASTAI_API_KEY": ""}, {"TENSORDOCK_AUTH_ID": "an-auth-id"}])
    def test_without_a_secret_there_is_none(self, environ: Mapping[str, str]) -> None:
        assert not load(None, environ).accounts

    def test_with_a_table_there_are_only_those_in_the_file(self, write: Write) -> None:
        assert list(load(write('[accounts.mine]\nprovider = "vastai"'), KEYS).accounts) == ["mine"]

    def test_one_that_is_called_like_a_provider_need_not_name_it(self, write: Write) -> None:
        assert load(write("[accounts.tensordock]"), KEYS).accounts["tensordock"].provider == "tensordock"

    def test_any_other_must_name_it(self, write: Write) -> None:
        found = problems(write("[accounts.mine]"))
        assert found == {"accounts.mine.provider": "is missing; allowed are tensordock, vastai and plug-ins' names"}

    def test_a_secret_that_is_not_there_is_a_problem(self, write: Write) -> None:
        path = write(
            """
            [accounts.a]
            provider = "vastai"
            [accounts.b]
            provider = "vastai"
            api_key_file = "b.key"
            [accounts.c]
            provider = "vastai"
            api_key_env = "EMPTY"
            """
        )
        found = problems(path, {"EMPTY": " \n"})
        assert found["accounts.a.api_key_env"] == "environment variable VASTAI_API_KEY is not set"
        assert found["accounts.b.api_key_file"].startswith("cannot be read: No such file or directory")
        assert found["accounts.c.api_key_env"] == "environment variable EMPTY is empty"

    def test_a_secret_of_a_disabled_account_is_not_looked_for(self, write: Write) -> None:
        assert not load(write('[accounts.a]\nprovider = "vastai"\nenabled = false'), {}).accounts["a"].enabled

    def test_a_secret_in_the_file_is_refused_and_not_repeated(self, write: Write) -> None:
        found = problems(write('[accounts.a]\nprovider = "vastai"\napi_key = "canary-canary"'))
        assert found["accounts.a.api_key"].startswith(
            "a secret is never in the settings; name its variable with api_key_env"
        )
        assert "canary" not in str(found)

    def test_a_secret_pasted_where_its_name_belongs_is_not_repeated(self, write: Write) -> None:
        path = write(
            """
            accounts.a = { provider = "vastai", api_key_env = "canary64" }
            accounts.b = { provider = "vastai", api_key_env = "64-canary" }
            accounts.c = { provider = "vastai", api_key_file = "canary" }
            """
        )
        found = problems(path)
        assert list(found) == ["accounts.b.api_key_env", "accounts.a.api_key_env", "accounts.c.api_key_file"]
        assert "canary" not in str(found)

    def test_two_places_for_one_secret_are_refused(self, write: Write) -> None:
        found = problems(write('[accounts.vastai]\napi_key_env = "VASTAI_API_KEY"\napi_key_file = "key"'))
        assert found["accounts.vastai.api_key_file"] == "give api_key_env or api_key_file, not both"

    def test_the_environment_s_place_for_a_secret_beats_the_file_s(self, write: Write, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("a-key")
        environ = {"SHOPPERD_ACCOUNTS__VASTAI__API_KEY_FILE": "key"}
        settings = load(write('[accounts.vastai]\napi_key_env = "NOT_SET"'), environ)
        assert settings.accounts["vastai"].secrets == {"api_key": SecretSource(file=tmp_path / "key")}

    def test_relative_files_come_from_the_credentials_directory_then_from_beside_the_file(
        self, write: Write, tmp_path: Path
    ) -> None:
        credentials = tmp_path / "credentials"
        credentials.mkdir()
        (credentials / "one").write_text("a-key")
        (tmp_path / "one").write_text("another-key")
        (tmp_path / "two").write_text("a-token")
        text = '[accounts.vastai]\napi_key_file = "one"\n[web]\ntoken_file = "two"'
        settings = load(write(text), {"CREDENTIALS_DIRECTORY": str(credentials)})
        assert settings.accounts["vastai"].secrets["api_key"].file == credentials / "one"
        assert settings.web.token_file == tmp_path / "two"
        assert load(write(text), {}).accounts["vastai"].secrets["api_key"].file == tmp_path / "one"

    def test_v0_needs_an_auth_id(self, write: Write) -> None:
        text = '[accounts.tensordock]\napi = "v0"'
        assert "v0 needs an auth_id" in problems(write(text))["accounts.tensordock.api"]
        secrets = load(write(text), {**KEYS, "TENSORDOCK_AUTH_ID": "id"}).accounts["tensordock"].secrets
        assert secrets["auth_id"] == SecretSource(env="TENSORDOCK_AUTH_ID")

    def test_v2_needs_none(self, write: Write) -> None:
        assert load(write('[accounts.tensordock]\napi = "v2"'), KEYS).accounts["tensordock"].api == "v2"

    @pytest.mark.parametrize(("provider", "api"), [("tensordock", "v1"), ("vastai", "v0")])
    def test_a_dialect_that_the_provider_has_not_is_refused(self, write: Write, provider: str, api: str) -> None:
        assert list(problems(write(f'[accounts.{provider}]\napi = "{api}"'))) == [f"accounts.{provider}.api"]

    @pytest.mark.parametrize(
        "url",
        [
            "console.vast.ai",
            "ftp://host",
            "https://",
            "https://host/api",
            "https://host//",
            "https://host?x=1",
            "https://host#x",
            "https://key@host",
            "https://host:port",
            "https://host:0",
            "https://ho st",
            "http://[::1",
        ],
    )
    def test_what_is_no_origin_is_refused(self, write: Write, url: str) -> None:
        found = problems(write(f'[accounts.vastai]\nbase_url = "{url}"'))
        assert list(found) == ["accounts.vastai.base_url"]

    @pytest.mark.parametrize("url", ["https://host", "http://127.0.0.1:8000", "http://[::1]:8000", "https://host/"])
    def test_an_origin_is_accepted(self, write: Write, url: str) -> None:
        assert load(write(f'[accounts.vastai]\nbase_url = "{url}"'), KEYS).accounts["vastai"].base_url == url.rstrip(
            "/"
        )

    def test_a_request_may_not_outlast_the_create_deadline(self, write: Write) -> None:
        found = problems(write('[accounts.vastai]\nrequest_timeout = "11m"'))
        assert "at most sessions.create_deadline (10m)" in found["accounts.vastai.request_timeout"]

    def test_the_default_time_of_a_request_shrinks_with_the_create_deadline(self, write: Write) -> None:
        settings = load(write("[accounts.vastai]\n[sessions]\ncreate_deadline = 5"), KEYS)
        assert settings.accounts["vastai"].request_timeout == 5.0

    def test_the_same_credentials_twice_are_refused(self, write: Write) -> None:
        text = 'accounts.a = { provider = "vastai" }\naccounts.b = { provider = "vastai" }'
        assert "same credentials as a" in problems(write(text))["accounts.b"]

    def test_the_same_credentials_at_another_origin_are_another_account(self, write: Write) -> None:
        text = 'accounts.a = { provider = "vastai" }\naccounts.b = { provider = "vastai", base_url = "http://localhost:1" }'
        assert len(load(write(text), KEYS).accounts) == 2

    def test_names_that_the_environment_spells_alike_are_refused(self, write: Write) -> None:
        text = 'accounts.a-b = { provider = "vastai" }\naccounts.a_B = { provider = "tensordock" }'
        assert "spelled like a-b" in problems(write(text))["accounts.a_B"]

    @pytest.mark.parametrize("name", ["a b", "", "a.b", "a__b", "-a", "a" * 63])
    def test_a_name_that_cannot_be_a_label_or_variable_is_refused(self, write: Write, name: str) -> None:
        assert "an account's name" in str(problems(write(f'[accounts."{name}"]\nprovider = "vastai"')))

    def test_what_should_be_a_table_is_told(self, write: Write) -> None:
        assert "must be tables" in problems(write("accounts = 3"))["accounts"]
        assert "must be a table" in problems(write('[accounts]\nprovider = "vastai"'))["accounts.provider"]
        assert "must be a table" in problems(write("[accounts.vastai]\noptions = 3"))["accounts.vastai.options"]

    def test_a_plug_in_s_account_has_its_own_secrets_and_options(
        self, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        point = EntryPoint(name="lambda", value="package:Adapter", group=settings_accounts.PLUGIN_GROUP)
        monkeypatch.setattr(settings_accounts, "entry_points", lambda group: EntryPoints([point]).select(group=group))
        environ = {"LAMBDA_PASSWORD": "a-password", "SHOPPERD_ACCOUNTS__L__OPTIONS__ZONE": "b"}
        text = '[accounts.l]\nprovider = "lambda"\npassword_env = "LAMBDA_PASSWORD"\noptions = { region = "eu", n = 3 }'
        account = load(write(text), environ).accounts["l"]
        assert account.secrets == {"password": SecretSource(env="LAMBDA_PASSWORD")}
        assert account.options == {"region": "eu", "n": 3, "zone": "b"}

    def test_a_built_in_provider_has_no_options(self, write: Write) -> None:
        assert "only plug-ins" in problems(write("[accounts.vastai.options]\na = 1"))["accounts.vastai.options"]


class TestEnvironment:
    def test_it_beats_the_file(self, write: Write) -> None:
        path = write('[accounts.vast-main]\nprovider = "vastai"\n[orphans]\nmode = "destroy"\ngrace = 60')
        settings = load(
            path,
            {
                **KEYS,
                "SHOPPERD_DEPLOYMENT": "prod",
                "SHOPPERD_DRAIN_SECONDS": "7",
                "SHOPPERD_ORPHANS__MODE": "report",
                "SHOPPERD_ORPHANS__SIGHTINGS": "2",
                "SHOPPERD_ORPHANS__MAX_SHARE_PER_SWEEP": "0.5",
                "SHOPPERD_JOBS__STATUS__INTERVAL": "5s",
                "SHOPPERD_JOBS__SWEEP__ENABLED": "False",
                "SHOPPERD_ACCOUNTS__VAST_MAIN__EXCLUSIVE": "true",
                "SHOPPERD_ACCOUNTS__VAST_MAIN__LIMITS__LIST": "250ms",
                "SHOPPERD_WEB__LISTEN": "127.0.0.1:0",
            },
        )
        assert (settings.deployment, settings.drain_seconds) == ("prod", 7.0)
        assert (settings.orphans.mode, settings.orphans.sightings, settings.orphans.grace) == ("report", 2, 60.0)
        assert settings.orphans.max_share_per_sweep == 0.5
        assert settings.jobs.status.interval == 5.0
        assert settings.jobs.sweep.enabled is False
        assert settings.accounts["vast-main"].exclusive is True
        assert settings.accounts["vast-main"].limits.list == 0.25
        assert settings.web.port == 0

    def test_it_can_set_every_key(self) -> None:
        for path in leaves():
            name = "SHOPPERD_" + "__".join(path).upper()
            values = ("10", "1", "true", "report", "json", "debug", "127.0.0.1:1", "sqlite://", "a")
            accepted = 0
            for value in values:
                with contextlib.suppress(SettingsError):
                    load(None, {name: value})
                    accepted += 1
            if path in (("web", "token_file"), ("store", "password_file")):
                assert list(problems(None, {name: "/nowhere/secret"})) == [f"environment {name}"]
            else:
                assert accepted, path

    def test_nothing_in_a_variable_unsets_a_text_of_the_file(self, write: Write) -> None:
        assert load(write('[web]\ntoken_file = "gone"'), {"SHOPPERD_WEB__TOKEN_FILE": ""}).web.token_file is None

    def test_what_is_wrong_is_told_at_the_variable(self) -> None:
        found = problems(
            None,
            {
                **KEYS,
                "SHOPPERD_ORPHANS__MODE": "kill",
                "SHOPPERD_ORFANS__MODE": "report",
                "SHOPPERD_DEPLOYMENTS": "x",
                "SHOPPERD_JOBS__STATUS__INTERVAL": "",
                "SHOPPERD_ACCOUNTS__VASTAI__EXCLUSIVE": "maybe",
                "SHOPPERD_ACCOUNTS__VASTAI__EXCLUSIV": "true",
                "SHOPPERD_ACCOUNTS__NOBODY__EXCLUSIVE": "true",
                "SHOPPERD_ACCOUNTS__VASTAI": "x",
                "SHOPPERD_ACCOUNTS__VASTAI__API_KEY": "canary-canary",
                "SHOPPERD_ACCOUNTS__VASTAI__BASE_URL": "nowhere",
            },
        )
        assert {place.removeprefix("environment ") for place in found} == {
            "SHOPPERD_ORPHANS__MODE",
            "SHOPPERD_ORFANS__MODE",
            "SHOPPERD_DEPLOYMENTS",
            "SHOPPERD_JOBS__STATUS__INTERVAL",
            "SHOPPERD_ACCOUNTS__VASTAI__EXCLUSIVE",
            "SHOPPERD_ACCOUNTS__VASTAI__EXCLUSIV",
            "SHOPPERD_ACCOUNTS__NOBODY__EXCLUSIVE",
            "SHOPPERD_ACCOUNTS__VASTAI",
            "SHOPPERD_ACCOUNTS__VASTAI__API_KEY",
            "SHOPPERD_ACCOUNTS__VASTAI__BASE_URL",
        }
        assert "did you mean SHOPPERD_ORPHANS__MODE?" in found["environment SHOPPERD_ORFANS__MODE"]
        assert "there are vastai, tensordock" in found["environment SHOPPERD_ACCOUNTS__NOBODY__EXCLUSIVE"]
        assert "canary" not in str(found)

    def test_it_can_declare_an_account(self) -> None:
        environ = {**KEYS, "SHOPPERD_ACCOUNTS__NEW_ONE__PROVIDER": "vastai"}
        assert list(load(None, environ).accounts) == ["new_one"]

    def test_it_can_change_an_account_that_it_made(self) -> None:
        environ = {**KEYS, "SHOPPERD_ACCOUNTS__VASTAI__BASE_URL": "http://127.0.0.1:1"}
        settings = load(None, environ)
        assert settings.accounts["vastai"].base_url == "http://127.0.0.1:1"
        assert settings.accounts["tensordock"].base_url is None

    def test_a_key_of_two_accounts_that_are_spelled_alike_is_refused(self, write: Write) -> None:
        text = 'accounts.a-b = { provider = "vastai" }\naccounts.a_b = { provider = "tensordock" }'
        found = problems(write(text), {**KEYS, "SHOPPERD_ACCOUNTS__A_B__EXCLUSIVE": "true"})
        assert "a-b and a_b" in found["environment SHOPPERD_ACCOUNTS__A_B__EXCLUSIVE"]

    @pytest.mark.parametrize(
        "name",
        [
            "SHOPPERD_URL",
            "SHOPPERD_TOKEN",
            "SHOPPERD_SERVICE_HOST",
            "SHOPPERD_SERVICE_PORT_HTTP",
            "SHOPPERD_PORT",
            "SHOPPERD_PORT_9877_TCP_ADDR",
            "SHOPPERD_METRICS_SERVICE_PORT",
            "SHOPPERD_METRICS_PORT_9877_TCP",
            "SHOPPER_ORPHANS__MODE",
        ],
    )
    def test_what_is_no_setting_of_ours_is_left_alone(self, name: str) -> None:
        assert load(None, {name: "tcp://10.0.0.1:9877"}) == Settings()

    def test_it_cannot_go_below_what_is_no_table(self, write: Write) -> None:
        assert list(problems(write("orphans = 3"), {"SHOPPERD_ORPHANS__MODE": "report"})) == ["orphans"]


class TestWeb:
    def test_a_listener_that_others_can_reach_needs_a_token(self, write: Write, tmp_path: Path) -> None:
        text = '[web]\nlisten = "0.0.0.0:9877"\n'
        assert list(problems(write(text))) == ["web.token_file"]
        (tmp_path / "token").write_text("a-long-token")
        settings = load(write(f'{text}token_file = "token"'), {})
        assert (settings.web.host, settings.web.port, settings.web.loopback) == ("0.0.0.0", 9877, False)

    @pytest.mark.parametrize(
        ("listen", "host", "loopback"),
        [
            ("127.0.0.1:1", "127.0.0.1", True),
            ("127.9.9.9:1", "127.9.9.9", True),
            ("localhost:1", "localhost", True),
            ("[::1]:1", "::1", True),
            ("[::]:1", "::", False),
            ("10.0.0.1:1", "10.0.0.1", False),
            ("localhost.evil.example:1", "localhost.evil.example", False),
        ],
    )
    def test_loopback_is_told_from_the_address(self, listen: str, host: str, loopback: bool) -> None:
        web = WebSettings(listen)
        assert (web.host, web.port, web.loopback) == (host, 1, loopback)

    def test_a_token_that_is_not_there_is_a_problem(self, write: Write) -> None:
        assert list(problems(write('[web]\ntoken_file = "nowhere"'))) == ["web.token_file"]


class TestStorePassword:
    def test_it_comes_from_a_file_like_other_secrets(self, write: Write, tmp_path: Path) -> None:
        (tmp_path / "password").write_text("a-password")
        path = write('[store]\nurl = "postgresql://shopperd@host/db"\npassword_file = "password"')
        assert load(path, {}).store.password_file == tmp_path / "password"

    def test_one_that_is_not_there_is_a_problem(self, write: Write) -> None:
        path = write('[store]\nurl = "postgresql://host/db"\npassword_file = "nowhere"')
        assert list(problems(path)) == ["store.password_file"]

    @pytest.mark.parametrize("url", ["", "sqlite:////var/lib/x.db", "postgresql://u:store-canary@host/db"])
    def test_it_goes_with_a_server_and_with_no_other_password(self, write: Write, tmp_path: Path, url: str) -> None:
        (tmp_path / "password").write_text("a-password")
        found = problems(write(f'[store]\nurl = "{url}"\npassword_file = "password"'))
        assert list(found) == ["store.password_file"]
        assert "canary" not in str(found)


class TestStoreUrl:
    def test_the_setting_wins(self) -> None:
        settings = load(None, {"SHOPPERD_STORE__URL": "postgresql://host/db"})
        assert store_url(settings, {"STATE_DIRECTORY": "/var/lib/x"}) == "postgresql://host/db"

    def test_then_the_first_state_directory(self) -> None:
        assert store_url(Settings(), {"STATE_DIRECTORY": "/var/lib/x:/var/lib/y"}) == "sqlite:////var/lib/x/shopperd.db"

    def test_then_the_user_s_state_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", "/home/somebody/state")
        monkeypatch.setattr("os.getuid", lambda: 1000)
        assert store_url(Settings(), {}) == "sqlite:////home/somebody/state/shopperd/shopperd.db"


class TestDescription:
    def test_it_shows_what_is_in_force_and_no_secret(self, write: Write, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("token-canary")
        path = write(
            """
            [accounts.vastai]
            budget_per_hour = 3
            [web]
            token_file = "token"
            [store]
            url = "postgresql://user:store-canary@host/db"
            """
        )
        settings = load(path, KEYS)
        described = describe(settings)
        assert described["source"] == str(path)
        assert described["orphans"]["grace"] == "5m"
        assert described["jobs"]["sweep"] == {"interval": "2m", "enabled": True}
        assert described["accounts"]["vastai"]["api_key_env"] == "VASTAI_API_KEY"
        assert described["accounts"]["vastai"]["budget_per_hour"] == 3.0
        assert described["web"]["token_file"] == str(tmp_path / "token")
        assert described["store"]["url"] == "postgresql://***"
        assert "canary" not in repr(described)
        assert "canary" not in repr(settings)

    def test_a_plug_in_s_options_are_named_and_not_shown(self) -> None:
        settings = Settings(accounts={"l": AccountSettings("l", "lambda", options={"pin": "canary"})})
        assert describe(settings)["accounts"]["l"]["options"] == ["pin"]


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("250ms", 0.25),
            ("90s", 90.0),
            ("5m", 300.0),
            ("12h", 43200.0),
            ("1h30m", 5400.0),
            ("1d", 86400.0),
            ("1w", 604800.0),
            ("1m1ms", 60.001),
            ("1.5h", 5400.0),
            ("20", 20.0),
            (" 5s ", 5.0),
            (3, 3.0),
            (0.05, 0.05),
        ],
    )
    def test_numbers_and_texts_are_read(self, text: str | float, seconds: float) -> None:
        assert parse_duration(text) == seconds

    @pytest.mark.parametrize(
        "text", ["", "m", "5x", "5m5m", "1s1h", "-5s", "5 m", "5M", "nan", "inf", "1e99", True, -1]
    )
    def test_what_is_no_duration_is_refused(self, text: str | float) -> None:
        with pytest.raises(ValueError, match="a duration is"):
            parse_duration(text)

    @given(st.floats(min_value=0, max_value=1e9) | st.integers(min_value=0, max_value=10**9))
    def test_what_is_written_is_read_back(self, seconds: float) -> None:
        assert parse_duration(format_duration(seconds)) == seconds

    def test_the_text_is_the_usual_one(self) -> None:
        assert [format_duration(each) for each in (0, 0.05, 1.5, 90, 300, 5400, 86400)] == [
            "0s",
            "50ms",
            "1.5s",
            "1m30s",
            "5m",
            "1h30m",
            "1d",
        ]


class TestDifferences:
    def between(self, before: str, after: str, write: Write) -> list[str]:
        return differences(load(write(before), KEYS), load(write(after), KEYS))

    def test_the_same_settings_differ_in_nothing(self, write: Write) -> None:
        assert self.between("deployment = 'a'\n", "deployment = 'a' # said otherwise\n", write) == []

    def test_keys_are_named_as_a_file_names_them(self, write: Write) -> None:
        before = "[accounts.main]\nprovider = 'vastai'\n[jobs]\nstatus = { interval = 20 }\n"
        after = (
            "drain_seconds = 5\n[accounts.main]\nprovider = 'vastai'\napi_key_env = 'TENSORDOCK_API_TOKEN'\n"
            "[accounts.main.limits]\nlist = 3\n[jobs]\nstatus = { interval = 21 }\n"
        )
        assert {*self.between(before, after, write)} == {
            "accounts.main.api_key",
            "accounts.main.limits.list",
            "jobs.status.interval",
            "drain_seconds",
        }

    def test_an_account_that_comes_or_goes_is_named_whole(self, write: Write) -> None:
        one, two = "[accounts.main]\nprovider = 'vastai'\n", "[accounts.dock]\nprovider = 'tensordock'\n"
        assert self.between(one, one + two, write) == ["accounts.dock"]
        assert self.between(one + two, one, write) == ["accounts.dock"]

    def test_no_value_is_shown(self, write: Write) -> None:
        before, after = (f"[store]\nurl = 'postgresql://u:{word}-canary@h/d'\n" for word in ("old", "new"))
        assert self.between(before, after, write) == ["store.url"]
