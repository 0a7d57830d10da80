"""Secrets at run time: read from the environment or a file, re-read when the file changes, and shown to nobody.

Every value that was ever read stays in a registry of this process, `known_values`, so that the log can mask it wherever
it turns up, also after it was replaced.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path

from shopperd.settings import Problem, SecretSource, Settings, SettingsError

SECRET_BYTES_MAX = 64 * 1024
"""No key is longer; what is, is the wrong file."""

MASKED_LENGTH_MIN = 6
"""Shorter values are no secrets, and masking them would black out ordinary words."""

SIGNING_LENGTH_MIN = 16
"""Who has one signed delivery can try a billion shorter secrets a second on it."""

_known: set[str] = set()
_known_lock = threading.Lock()


def remember(value: str) -> None:
    """Have the log mask this value from now on, wherever it stands. Values under `MASKED_LENGTH_MIN` are left alone."""
    if len(value) >= MASKED_LENGTH_MIN:
        with _known_lock:
            _known.add(value)


def known_values() -> frozenset[str]:
    """Every secret value that this process has read so far."""
    with _known_lock:
        return frozenset(_known)


class SecretUnreadable(Exception):
    """A secret cannot be had from its place. The text says why, and never what was found there."""


def fingerprint(place: str, secrets: Mapping[str, Secret]) -> str:
    """Tells these secrets at this place from any others. Nobody can tell from it what they are: keys cannot be guessed."""
    mark = hashlib.blake2b(place.encode(), digest_size=12, person=b"shopperd key")
    for name, secret in sorted(secrets.items()):
        mark.update(f"\0{name}\0{secret.get()}".encode())
    return mark.hexdigest()


class Secret:
    """One secret. Its repr, str and format tell where it is from, never what it is; only `get` gives the value.

    A file is looked at again on each `get` and read again when its time of change, inode or size differ. What cannot be
    read then, or is empty or no possible key, leaves the old value in force: files are often replaced in several steps.

    Attributes:
        refused: why what its file holds now is not taken, "" if it is.

    Raises:
        SecretUnreadable: at construction, if there is no value to begin with.
    """

    __slots__ = ("_file", "_news", "_origin", "_seen", "_value", "refused")

    def __init__(self, source: SecretSource, environ: Mapping[str, str]) -> None:
        self._file = source.file
        self._seen: tuple[int, int, int] | None = None
        self._news: str | None = None
        self.refused = ""
        if source.file is not None:
            self._origin = f"file {source.file}"
            self._value, self._seen = _read_file(source.file)
        elif source.env is not None:
            self._origin = f"environment {source.env}"
            self._value = _from_environment(source.env, environ)
        else:
            raise SecretUnreadable("names neither an environment variable nor a file")
        remember(self._value)

    def get(self) -> str:
        """The value as it is now."""
        if self._file is not None:
            try:
                if _signature(os.stat(self._file)) != self._seen:  # noqa: PTH116 - half the cost of Path.stat, on every request
                    self._replace(*_read_file(self._file))
            except (OSError, SecretUnreadable) as error:
                # Not marked as seen: it is tried again at the next call, since the replacement may be half done.
                self._refuse(f"cannot be read: {_reason(error)}" if isinstance(error, OSError) else str(error))
            else:
                self.refused = ""
        return self._value

    def look(self) -> str | None:
        """Bring it up to date, and tell what happened to its file since the last look, also if others looked meanwhile.

        "" stands for a new value, None for nothing new. Any other text says why what the file holds is not taken, which stands in
        `refused` for as long as it is so.
        """
        self.get()
        news, self._news = self._news, None
        return news

    def _replace(self, value: str, seen: tuple[int, int, int]) -> None:
        if value != self._value:
            self._news = ""
        elif self._news:
            self._news = None  # it was refused for a moment, of which nobody needs to hear any more
        self._value, self._seen = value, seen
        remember(value)

    def _refuse(self, why: str) -> None:
        if why != self.refused:
            self.refused = self._news = why

    def __repr__(self) -> str:
        return f"<Secret from {self._origin}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret cannot be copied out of the process")


def read_all(settings: Settings, environ: Mapping[str, str]) -> Mapping[str, Mapping[str, Secret]]:
    """The secrets of all enabled accounts: by account, then by the provider's word for them (``api_key`` ...).

    Raises:
        SettingsError: with every one that is missing, empty, unreadable or no possible key.
    """
    problems: list[Problem] = []
    secrets: dict[str, dict[str, Secret]] = {}
    for account in settings.accounts.values():
        if not account.enabled:
            continue
        secrets[account.name] = {}
        for name, source in account.secrets.items():
            try:
                secrets[account.name][name] = Secret(source, environ)
            except SecretUnreadable as error:
                suffix = "file" if source.file is not None else "env"
                problems.append(Problem(f"accounts.{account.name}.{name}_{suffix}", str(error)))
    if problems:
        raise SettingsError(problems)
    return secrets


def read_web_token(settings: Settings, environ: Mapping[str, str]) -> Secret | None:
    """The token that changes over HTTP need, None if none is set.

    Raises:
        SettingsError: it is set and cannot be read.
    """
    return _from_file(settings.web.token_file, "web.token_file", environ)


def read_store_password(settings: Settings, environ: Mapping[str, str]) -> Secret | None:
    """The password for PostgreSQL, None if the store needs none or its URL has it.

    Raises:
        SettingsError: it is set and cannot be read.
    """
    return _from_file(settings.store.password_file, "store.password_file", environ)


def read_hooks(settings: Settings, environ: Mapping[str, str]) -> Mapping[str, Secret]:
    """What each enabled hook signs with, by the hook's name.

    Raises:
        SettingsError: with every one that is missing, unreadable or so short that it can be guessed.
    """
    problems: list[Problem] = []
    found: dict[str, Secret] = {}
    for hook in settings.hooks.values():
        if not hook.enabled:
            continue
        place = f"hooks.{hook.name}.secret_{'file' if hook.secret.file is not None else 'env'}"
        try:
            found[hook.name] = Secret(hook.secret, environ)
        except SecretUnreadable as error:
            problems.append(Problem(place, str(error)))
        else:
            if len(found[hook.name].get()) < SIGNING_LENGTH_MIN:
                problems.append(
                    Problem(place, f"holds fewer than {SIGNING_LENGTH_MIN} characters, which can be guessed")
                )
    if problems:
        raise SettingsError(problems)
    return found


def _from_file(file: Path | None, place: str, environ: Mapping[str, str]) -> Secret | None:
    if file is None:
        return None
    try:
        return Secret(SecretSource(file=file), environ)
    except SecretUnreadable as error:
        raise SettingsError([Problem(place, str(error))]) from error


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    # A key that was pasted where the name of its variable belongs must not be repeated.
    shown = name if name.isupper() else "of that name"
    if name not in environ:
        raise SecretUnreadable(f"environment variable {shown} is not set")
    return _checked(environ[name], f"environment variable {shown}")


def _read_file(path: Path) -> tuple[str, tuple[int, int, int]]:
    """The value and the signature of the very file that it was read from, even if another takes its name meanwhile."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SecretUnreadable("is not a plain file")
            content = file.read(SECRET_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise SecretUnreadable(f"cannot be read: {_reason(error)} (looked in {path.parent})") from error
    if len(content) > SECRET_BYTES_MAX:
        raise SecretUnreadable(f"the file is larger than {SECRET_BYTES_MAX} bytes, which no secret is")
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        raise SecretUnreadable("the file holds other than printable ASCII characters, which no secret has") from None
    return _checked(text, "the file"), _signature(status)


def _without_waiting(path: str, flags: int) -> int:
    # Opening a pipe that nobody writes to would never come back.
    return os.open(path, flags | os.O_NONBLOCK)


def _checked(text: str, what: str) -> str:
    value = text.strip()
    if not value:
        raise SecretUnreadable(f"{what} is empty")
    # It goes into a header: anything else would be an error there, with the value in its text.
    if not all("!" <= character <= "~" for character in value):
        raise SecretUnreadable(f"{what} holds blanks or other than printable ASCII characters, which no secret has")
    return value


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_ino, status.st_size


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else "not a possible file name"
