"""Secrets: where they come from, how a file's changes arrive, and that nothing shows them."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest

from shopperd.secrets import (
    SECRET_BYTES_MAX,
    Secret,
    SecretUnreadable,
    known_values,
    read_all,
    read_web_token,
    remember,
)
from shopperd.settings import AccountSettings, SecretSource, Settings, SettingsError, WebSettings


def replace(path: Path, text: str) -> None:
    """Put a new file in the old one's place, as careful tools do."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("first-canary\n")
    return path


def from_file(path: Path) -> Secret:
    return Secret(SecretSource(file=path), {})


class TestReading:
    def test_a_variable_is_read_without_blanks_around_it(self) -> None:
        assert Secret(SecretSource(env="KEY"), {"KEY": " canary-one\n"}).get() == "canary-one"

    def test_a_file_is_read_without_its_newline(self, path: Path) -> None:
        assert from_file(path).get() == "first-canary"

    @pytest.mark.parametrize(
        "content", [b"", b" \n", b"two words", b"a\x00b", "schlüssel".encode(), b"a\nb\n", b"\xff"]
    )
    def test_what_is_no_possible_key_is_refused_and_not_repeated(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(SecretUnreadable) as caught:
            from_file(path)
        assert "words" not in str(caught.value)

    def test_a_file_that_is_far_too_large_is_refused(self, path: Path) -> None:
        path.write_bytes(b"a" * (SECRET_BYTES_MAX + 1))
        with pytest.raises(SecretUnreadable, match="larger than"):
            from_file(path)

    def test_a_missing_one_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SecretUnreadable, match="No such file"):
            from_file(tmp_path / "nowhere")
        with pytest.raises(SecretUnreadable, match="KEY is not set"):
            Secret(SecretSource(env="KEY"), {})
        with pytest.raises(SecretUnreadable, match="neither"):
            Secret(SecretSource(), {})

    def test_a_folder_or_a_pipe_is_refused_and_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path, tmp_path / "pipe"):
            with pytest.raises(SecretUnreadable):
                from_file(path)


class TestChangeOfAFile:
    def test_a_replaced_file_gives_the_new_value(self, path: Path) -> None:
        secret = from_file(path)
        replace(path, "second-canary")
        assert secret.get() == "second-canary"

    def test_a_file_that_is_written_in_place_gives_the_new_value(self, path: Path) -> None:
        secret = from_file(path)
        path.write_text("a-longer-second-canary")
        assert secret.get() == "a-longer-second-canary"

    def test_a_link_that_points_elsewhere_now_gives_the_new_value(self, path: Path, tmp_path: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to(path)
        secret = from_file(link)
        (tmp_path / "other").write_text("second-canary")
        link.unlink()
        link.symlink_to(tmp_path / "other")
        assert secret.get() == "second-canary"

    @pytest.mark.parametrize("content", ["", "\n", "half a\n"])
    def test_one_that_holds_no_key_leaves_the_old_value_until_it_does(self, path: Path, content: str) -> None:
        secret = from_file(path)
        replace(path, content)
        assert secret.get() == "first-canary"
        replace(path, "second-canary")
        assert secret.get() == "second-canary"

    def test_one_that_is_gone_leaves_the_old_value(self, path: Path) -> None:
        secret = from_file(path)
        path.unlink()
        assert secret.get() == "first-canary"

    def test_one_that_did_not_change_is_not_read_again(self, path: Path) -> None:
        secret = from_file(path)
        status = path.stat()
        path.write_text("other-canary\n")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert secret.get() == "first-canary", "time, inode and size are as before"


class TestNews:
    def test_a_file_that_stays_as_it_is_is_no_news(self, path: Path) -> None:
        secret = from_file(path)
        assert secret.look() is None

    def test_a_new_value_is_told_once_also_if_a_request_met_it_first(self, path: Path) -> None:
        secret = from_file(path)
        replace(path, "second-canary")
        secret.get()
        assert [secret.look(), secret.look()] == ["", None]

    def test_a_file_that_was_only_touched_is_no_news(self, path: Path) -> None:
        secret = from_file(path)
        replace(path, "first-canary")
        assert secret.look() is None

    def test_what_is_refused_is_told_once_and_stands_for_as_long_as_it_is_so(self, path: Path) -> None:
        secret = from_file(path)
        replace(path, "two canaries")
        told = secret.look()
        assert told
        assert "holds blanks" in told
        assert "canar" not in told
        assert secret.look() is None
        assert secret.refused == told
        replace(path, "first-canary")
        assert secret.look() is None
        assert secret.refused == ""

    def test_a_file_that_is_gone_is_refused(self, path: Path) -> None:
        secret = from_file(path)
        path.unlink()
        assert secret.look() == "cannot be read: No such file or directory"

    def test_a_replacement_in_several_steps_is_told_as_one(self, path: Path) -> None:
        secret = from_file(path)
        replace(path, "")
        secret.get()
        replace(path, "second-canary")
        assert secret.look() == ""


class TestHiding:
    def test_no_way_of_printing_shows_it(self, path: Path) -> None:
        for secret in (from_file(path), Secret(SecretSource(env="KEY"), {"KEY": "first-canary"})):
            texts = [repr(secret), str(secret), f"{secret}", f"{secret!r:>60}", f"{[secret]}", "%s" % secret]  # noqa: UP031
            assert "canary" not in "".join(texts)
            assert not hasattr(secret, "__dict__")

    def test_it_cannot_be_copied_out(self, path: Path) -> None:
        with pytest.raises(TypeError):
            pickle.dumps(from_file(path))
        with pytest.raises(TypeError):
            copy.copy(from_file(path))

    def test_every_value_stays_known_also_the_old_one(self, path: Path) -> None:
        secret = from_file(path)
        replace(path, "second-canary")
        secret.get()
        assert {"first-canary", "second-canary"} <= known_values()

    def test_short_values_are_not_remembered(self) -> None:
        remember("short")
        remember("six-or-more-canary")
        assert "short" not in known_values()
        assert "six-or-more-canary" in known_values()


class TestSettings:
    def test_secrets_are_read_by_account_and_name(self, path: Path) -> None:
        settings = Settings(
            accounts={
                "a": AccountSettings("a", "vastai", secrets={"api_key": SecretSource(file=path)}),
                "off": AccountSettings("off", "vastai", enabled=False, secrets={"api_key": SecretSource(env="NO")}),
            }
        )
        secrets = read_all(settings, {})
        assert {account: list(each) for account, each in secrets.items()} == {"a": ["api_key"]}
        assert secrets["a"]["api_key"].get() == "first-canary"

    def test_all_that_cannot_be_read_are_told_at_once(self, tmp_path: Path) -> None:
        accounts = {
            "a": AccountSettings("a", "vastai", secrets={"api_key": SecretSource(file=tmp_path / "no")}),
            "b": AccountSettings("b", "vastai", secrets={"api_key": SecretSource(env="NO")}),
        }
        with pytest.raises(SettingsError) as caught:
            read_all(Settings(accounts=accounts), {})
        assert [problem.place for problem in caught.value.problems] == [
            "accounts.a.api_key_file",
            "accounts.b.api_key_env",
        ]

    def test_the_web_token_is_read_if_one_is_set(self, path: Path, tmp_path: Path) -> None:
        token = read_web_token(Settings(web=WebSettings(token_file=path)), {})
        assert token is not None
        assert token.get() == "first-canary"
        assert read_web_token(Settings(), {}) is None
        with pytest.raises(SettingsError, match=r"web\.token_file"):
            read_web_token(Settings(web=WebSettings(token_file=tmp_path / "no")), {})
