"""The spool: room set aside for what must be kept while the store takes nothing.

A create that was accepted is known by an id, and while the store is full, locked or away that id is nowhere but in this
process. The spool is a small file whose bytes are on the disk before they are needed and are overwritten in place, so that a
full disk has room for it. (A file system that copies on write may still refuse.) It knows nothing of the database.

Each record is one line of JSON with a checksum; the rest of the file is empty lines. What is kept is on the disk before
`Spool.keep` returns. A line that a crash has torn is no record: it is put aside as damaged, and said.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec
from attrs import frozen

from shopperd.store.errors import StoreError, StoreLocked, StoreUnreachable
from shopperd.store.files import FOLDER_MODE, MODE, os_error

ROOM_BYTES = 64 * 1024
"""Room for more than a hundred records. While one waits no create is begun, so there are as many as were under way at once."""

READ_BYTES_MAX = 16 * 1024 * 1024
"""More than any spool grows to; what is larger is another file."""

DAMAGED_CHARS_MAX = 500
"""So much of a damaged line is told."""

CREATE_ACCEPTED = "create.accepted"
_SUM_BYTES = 8


@frozen
class AcceptedCreate:
    """A create that a provider accepted, with all that the store wants to know of it. Nothing in it is secret.

    Attributes:
        price_per_hour: USD, as the provider's answer told it.
        offer_id, offer_provider_id, offer_price_per_hour, gpu, gpu_count, vram_gb: of the offer that was rented.
        at: when the answer came.
    """

    account: str
    provider: str
    session_id: UUID
    instance_id: str
    tag: str
    price_per_hour: float | None
    offer_id: str
    offer_provider_id: str
    offer_price_per_hour: float
    gpu: str
    gpu_count: int
    vram_gb: int | None
    at: datetime


@frozen
class _Line:
    kind: str
    sum: str
    record: msgspec.Raw


@frozen
class _Entry:
    """A record in the file: the bytes from `offset` on, as many as `length`."""

    offset: int
    length: int
    record: AcceptedCreate


class Disk:
    """What the spool asks of the operating system to be on the disk. A test may put another in its place."""

    def write(self, file: int, data: bytes, offset: int) -> None:
        """Write all of it at that place."""
        while data:
            written = os.pwrite(file, data, offset)
            data, offset = data[written:], offset + written

    def sync(self, file: int) -> None:
        """Return when what was written is on the disk."""
        os.fsync(file)

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in the folder are on the disk."""
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@frozen
class _Found:
    """What a file holds: `end` is where its last line ends, `size` where the file does."""

    entries: tuple[_Entry, ...]
    damaged: tuple[str, ...]
    end: int
    size: int


class Spool:
    """Records that the store has not taken yet. Its methods may be called from any thread, and block until the disk has answered.

    Attributes:
        path: the file; for its owner alone, and locked for as long as it is open.
        shortage: why there is no room set aside, None if there is. Records are tried to be kept all the same.
        damaged: lines that are no records, as text.
    """

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = path
        self.shortage: StoreError | None = None
        self.damaged: tuple[str, ...] = ()
        self._disk = disk
        self._lock = threading.Lock()
        self._file = -1
        self._closed = False
        self._waiting: tuple[_Entry, ...] = ()
        self._homeless: tuple[AcceptedCreate, ...] = ()  # of a file that was taken away, and not in the new one yet
        self._done: tuple[_Entry, ...] = ()
        self._end = 0  # where the next record goes
        self._soiled = 0  # up to where there may be anything but line feeds

    @classmethod
    def open(cls, path: Path, *, disk: Disk | None = None) -> Spool:
        """Open the file, or make it with its room, and read what waits in it.

        Raises:
            StoreLocked: another process has it.
            StoreReadOnly, StoreFull, StoreUnreachable: there can be no such file.
        """
        spool = cls(path, disk or Disk())
        spool._open()
        return spool

    @property
    def waiting(self) -> tuple[AcceptedCreate, ...]:
        """The records that the store has not taken yet, in the order in which they were kept."""
        return (*(entry.record for entry in self._waiting), *self._homeless)

    @property
    def untidy(self) -> bool:
        """Whether there are bytes in the file that nobody needs any more."""
        return bool(self._done or self.damaged)

    def keep(self, record: AcceptedCreate) -> None:
        """Put a record on the disk. To keep it twice is harmless.

        Raises:
            StoreFull, StoreReadOnly, StoreUnreachable: it is not on the disk.
        """
        with self._lock:
            try:
                self._be_in_place()
                if record not in self.waiting:
                    self._append(record)
            except OSError as error:
                raise os_error(error, str(self.path)) from error

    def forget(self, records: Collection[AcceptedCreate]) -> None:
        """Take out what the store has now, durably, and clear away what is no record.

        Raises:
            StoreError: they do not wait any more, but are still in the file and are read again at the next start.
        """
        with self._lock:
            self._done += tuple(entry for entry in self._waiting if entry.record in records)
            self._waiting = tuple(entry for entry in self._waiting if entry.record not in records)
            self._homeless = tuple(record for record in self._homeless if record not in records)
            try:
                self._be_in_place()
                self._wipe()
            except OSError as error:
                raise os_error(error, str(self.path)) from error

    def close(self) -> None:
        """Give the file and its lock back. To close twice is harmless."""
        with self._lock:
            self._closed = True
            self._let_go()

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        except OSError as error:
            raise os_error(error, str(self.path)) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(OSError):  # somebody else's file on purpose: not ours to change
                os.fchmod(self._file, MODE)
            size = os.fstat(self._file).st_size
            if size > READ_BYTES_MAX:
                raise StoreUnreachable(
                    str(self.path), f"a file of {size} bytes is no spool; set store.spool to another"
                )
            self._take(_found_in(os.pread(self._file, size, 0)))
        except StoreError:
            self._let_go()
            raise
        except OSError as error:
            self._let_go()
            if isinstance(error, BlockingIOError):
                raise StoreLocked(
                    str(self.path), "another shopperd uses this spool; give each one its own with store.spool"
                ) from error
            raise os_error(error, str(self.path)) from error

    def _take(self, found: _Found) -> None:
        self._waiting, self.damaged, self._end = found.entries, found.damaged, found.end
        self._done, self._soiled, self.shortage = (), found.end, None
        try:
            if found.size < ROOM_BYTES:
                self._disk.write(self._file, b"\n" * (ROOM_BYTES - found.size), found.size)
                self._disk.sync(self._file)
            # Also where the file was there before: its maker may have been killed before its name was on the disk.
            self._disk.sync_folder(self.path.parent)
        except OSError as error:
            self.shortage = os_error(error, str(self.path))

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _be_in_place(self) -> None:
        """See that the name leads to the file that is open; else begin anew under it, and bring along what waits.

        What is written to a file that was deleted or replaced would be gone with the process.
        """
        if self._closed:
            raise StoreUnreachable(str(self.path), "the spool is closed")
        if not self._is_there():
            before = self._homeless = self.waiting
            self._waiting = ()
            self._let_go()
            self._open()
            self._homeless = ()
            found = self.waiting
            self._homeless = tuple(record for record in before if record not in found)
        while self._homeless:
            self._append(self._homeless[0])
            self._homeless = self._homeless[1:]

    def _is_there(self) -> bool:
        if self._file < 0:
            return False
        try:
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        except FileNotFoundError:
            return False

    def _append(self, record: AcceptedCreate) -> None:
        # The line feed ahead ends whatever a torn write may have left before it.
        data = b"\n" + _encode(record) + b"\n"
        # A try that failed may have left a longer line in the same place.
        padded = data.ljust(self._soiled - self._end, b"\n")
        self._soiled = self._end + len(padded)
        self._disk.write(self._file, padded, self._end)
        self._disk.sync(self._file)
        self._waiting += (_Entry(self._end, len(data), record),)
        self._end += len(data)

    def _wipe(self) -> None:
        if not self._waiting:
            if self._soiled:
                self._disk.write(self._file, b"\n" * self._soiled, 0)
                self._disk.sync(self._file)
            self._end = self._soiled = 0
            self._done, self.damaged = (), ()
        elif self._done:
            for entry in self._done:
                self._disk.write(self._file, b"\n" * entry.length, entry.offset)
            self._disk.sync(self._file)
            self._done = ()


def _found_in(content: bytes) -> _Found:
    """The records of a file, and the lines in it that are none."""
    entries: list[_Entry] = []
    damaged: list[str] = []
    offset = end = 0
    for line in content.split(b"\n"):
        # A file system may give back zeros for what was not on the disk when the power went.
        text = line.strip(b"\x00 \r\t")
        if text:
            end = min(offset + len(line) + 1, len(content))
            record = _decode(text)
            if record is None:
                damaged.append(text.decode(errors="replace")[:DAMAGED_CHARS_MAX])
            else:
                entries.append(_Entry(offset, len(line), record))
        offset += len(line) + 1
    return _Found(tuple(entries), tuple(damaged), end, len(content))


def _encode(record: AcceptedCreate) -> bytes:
    raw = msgspec.json.encode(record)
    return msgspec.json.encode(_Line(CREATE_ACCEPTED, _sum_of(CREATE_ACCEPTED, raw), msgspec.Raw(raw)))


def _decode(text: bytes) -> AcceptedCreate | None:
    """The record that a line is; None if it is torn, altered, or of a kind that this version does not know."""
    try:
        line = msgspec.json.decode(text, type=_Line)
        raw = bytes(line.record)
        if line.kind != CREATE_ACCEPTED or line.sum != _sum_of(line.kind, raw):
            return None
        return msgspec.json.decode(raw, type=AcceptedCreate)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _sum_of(kind: str, raw: bytes) -> str:
    return hashlib.blake2b(kind.encode() + b"\n" + raw, digest_size=_SUM_BYTES).hexdigest()
