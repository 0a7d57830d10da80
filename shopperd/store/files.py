"""The SQLite store as files: who may use it, whether it is ours, and whether it is still there.

Once SQLite has a file open, nothing here opens it too: closing such a second handle would drop the locks that SQLite
holds on it (POSIX advisory locks belong to the process). Only names are looked at then.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
from attrs import evolve, frozen

from shopperd.store.errors import (
    FULL_ADVICE,
    READ_ONLY_ADVICE,
    RESTORE_ADVICE,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreMoved,
    StoreReadOnly,
    StoreUnreachable,
)
from shopperd.store.meta import Binding

MAGIC = b"SQLite format 3\x00"
MODE = 0o600
FOLDER_MODE = 0o700
_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


@frozen
class _LockNote:
    """What the lock file says.

    Attributes:
        opens: how often the store was opened. A store that says less, or more, was put back from elsewhere.
        beat: the newest heartbeat that the store was seen to keep. One that has none as new was put back, too.
    """

    pid: int = 0
    host: str = ""
    opens: int = -1
    beat: datetime | None = None


class StoreFile:
    """A database file, its lock beside it (``<name>.lock``), and where both were when they were opened."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.lock_path = self.path.with_name(self.path.name + ".lock")
        self.draft_path = self.path.with_name(self.path.name + ".new")
        self._wal_path = self.path.with_name(self.path.name + "-wal")
        self._lock: int | None = None
        self._note = _LockNote()
        self._anchors: dict[Path, tuple[int, int]] = {}

    def lock(self) -> None:
        """Make the folder, and take the lock until `release` or the end of the process, however it ends.

        Raises:
            StoreLocked: another process, or another store of this one, has it.
            StoreReadOnly, StoreFull, StoreUnreachable: there can be no lock file.
        """
        try:
            self.path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        except OSError as error:
            raise os_error(error, str(self.path)) from error
        note = _read_note(lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have removed the file between our open and our lock.
            if not os.path.samestat(os.fstat(lock), self.lock_path.stat()):
                raise BlockingIOError(errno.EWOULDBLOCK, "the lock file was replaced")
        except OSError as error:
            os.close(lock)
            if isinstance(error, BlockingIOError | FileNotFoundError):
                holder = f" (process {note.pid} on {note.host})" if note.pid else ""
                raise StoreLocked(
                    str(self.path),
                    f"another shopperd uses this store{holder}; stop that one, or give this one a store of its own",
                ) from error
            raise os_error(error, str(self.path)) from error
        self._lock, self._note = lock, _read_note(lock)

    def release(self) -> None:
        """Give the lock back. Its file stays: removing it would race with the next holder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def exists(self) -> bool:
        """Whether there is a store to open, after looking whether it can be one of ours.

        Raises:
            StoreDamaged: something is there that is no database, or there is a part of one.
            StoreReadOnly, StoreUnreachable: it cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                start = file.read(len(MAGIC))
        except FileNotFoundError:
            with suppress(OSError):
                if self._wal_path.stat().st_size:
                    raise StoreDamaged(
                        str(self.path), f"the database is missing, but its -wal file is there; {RESTORE_ADVICE}"
                    ) from None
            return False
        except OSError as error:
            raise os_error(error, str(self.path)) from error
        if not start:
            raise StoreDamaged(str(self.path), f"the file is empty; {RESTORE_ADVICE}")
        if start != MAGIC:
            raise StoreDamaged(str(self.path), f"the file is no SQLite database; {RESTORE_ADVICE}")
        return True

    def draft(self) -> Path:
        """An empty file to build a new store in, so that a half-built one never has the store's name."""
        try:
            for leftover in ("", "-journal", "-wal", "-shm"):
                self.draft_path.with_name(self.draft_path.name + leftover).unlink(missing_ok=True)
            os.close(os.open(self.draft_path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE))
        except OSError as error:
            raise os_error(error, str(self.path)) from error
        return self.draft_path

    def publish(self) -> None:
        """Give the built draft the store's name, durably."""
        try:
            self.draft_path.rename(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise os_error(error, str(self.path)) from error

    def tighten(self) -> None:
        """Leave the file to its owner alone: the specs in it may hold users' secrets."""
        with suppress(OSError):  # somebody else's file on purpose: not ours to change
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(MODE)

    def anchor(self) -> None:
        """Remember which files these are; call it after the first write, when all of them are there."""
        self._anchors = {}
        for path in (self.path, self._wal_path, self.lock_path):
            with suppress(FileNotFoundError):
                status = path.stat()
                self._anchors[path] = (status.st_dev, status.st_ino)

    def verify(self) -> None:
        """Make sure that the names still lead to the files that we write to.

        Raises:
            StoreMoved: one does not. What is written now would be gone with the next start.
        """
        for path, identity in self._anchors.items():
            try:
                status = path.stat()
            except FileNotFoundError:
                raise StoreMoved(
                    str(self.path), f"{path.name} was deleted or moved while in use; stop shopperd and put it back"
                ) from None
            except OSError as error:
                raise os_error(error, str(self.path)) from error
            if (status.st_dev, status.st_ino) != identity:
                raise StoreMoved(
                    str(self.path), f"{path.name} was replaced while in use; restart shopperd to use the new one"
                )

    def binding(self, opens: int, beat: datetime | None) -> Binding:
        """Where the store is, and whether the lock file remembers the same number of openings before this one, and no newer beat."""
        status, noted = self.path.stat(), self._note.beat
        return Binding(
            host=host_id(),
            path=str(self.path),
            inode=f"{status.st_dev}:{status.st_ino}",
            continuous=self._note.opens == opens and (noted is None or (beat is not None and beat >= noted)),
        )

    def note_opens(self, opens: int) -> None:
        """Write into the lock file who holds it, and the number of openings with this one.

        Call it after the store itself has it: a crash in between then only looks like a store that was put back.
        """
        self._write_note(_LockNote(os.getpid(), platform.node(), opens, self._note.beat))

    def note_beat(self, beat: datetime) -> None:
        """Write the newest heartbeat into the lock file, once the store has it.

        A copy that was made before it and is written over the store later, be it in place, then tells itself.
        """
        self._write_note(evolve(self._note, beat=beat))

    def _write_note(self, note: _LockNote) -> None:
        if self._lock is None:
            return
        self._note = note
        try:
            text = msgspec.json.encode(note)
            os.pwrite(self._lock, text, 0)
            os.ftruncate(self._lock, len(text))
        except OSError as error:
            raise os_error(error, str(self.path)) from error


def host_id() -> str:
    """What tells this machine from others: its machine id, or its name where it has none (as in many containers)."""
    for path in _MACHINE_IDS:
        with suppress(OSError):
            if text := path.read_text(encoding="ascii", errors="replace").strip():
                return text
    return platform.node()


def os_error(error: OSError, location: str) -> StoreError:
    """What an error of the operating system means for the store."""
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return StoreReadOnly(location, f"{READ_ONLY_ADVICE} ({error.strerror})")
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return StoreFull(location, FULL_ADVICE)
    return StoreUnreachable(location, f"cannot be used: {error.strerror}")


def _read_note(lock: int) -> _LockNote:
    try:
        return msgspec.json.decode(os.pread(lock, 4096, 0), type=_LockNote)
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return _LockNote()
