"""The spool: what it keeps is on the disk, fits on a full one, and is read back whole or not at all."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shopperd.model import tag_of
from shopperd.store import (
    AcceptedCreate,
    Spool,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreUnreachable,
)
from shopperd.store.databases import spool_path
from shopperd.store.spool import ROOM_BYTES, Disk
from tests.store.nouns import later

_ROOT = Path(__file__).parents[2]
Open = Callable[..., Spool]


def accepted(number: int, **changes: Any) -> AcceptedCreate:
    session_id = UUID(int=number, version=4)
    values: dict[str, Any] = {
        "account": "main",
        "provider": "vastai",
        "session_id": session_id,
        "instance_id": str(4_000_000 + number),
        "tag": tag_of(session_id),
        "price_per_hour": 0.42,
        "offer_id": f"vastai-{number}",
        "offer_provider_id": str(number),
        "offer_price_per_hour": 0.4,
        "gpu": "RTX 4090",
        "gpu_count": 1,
        "vram_gb": 24,
        "at": later(number),
    }
    return AcceptedCreate(**(values | changes))


@define
class WatchedDisk(Disk):
    """A disk that notes what it is asked for, in order, and fails when it is told to."""

    asked: list[str] = field(factory=list)
    fails: dict[str, int] = field(factory=dict)

    def _note(self, what: str) -> None:
        self.asked.append(what)
        if what in self.fails:
            number = self.fails[what]
            raise OSError(number, os.strerror(number))

    def write(self, file: int, data: bytes, offset: int) -> None:
        self._note("write")
        super().write(file, data, offset)

    def sync(self, file: int) -> None:
        self._note("sync")
        super().sync(file)

    def sync_folder(self, folder: Path) -> None:
        self._note("sync folder")
        super().sync_folder(folder)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "shopperd.db.spool"


@pytest.fixture
def open_spool(path: Path) -> Iterator[Open]:
    """Opens spools, and closes them in the end."""
    opened = []

    def open_one(at: Path = path, disk: Disk | None = None) -> Spool:
        spool = Spool.open(at, disk=disk)
        opened.append(spool)
        return spool

    yield open_one
    for spool in opened:
        spool.close()


def again(open_spool: Open, spool: Spool) -> Spool:
    """The spool as the next process finds it."""
    spool.close()
    return open_spool(spool.path)


class TestRoom:
    def test_a_new_one_has_its_room_on_the_disk_and_is_for_its_owner_alone(self, open_spool: Open, path: Path) -> None:
        mask = os.umask(0)
        try:
            spool = open_spool()
        finally:
            os.umask(mask)
        status = path.stat()
        assert (status.st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert status.st_size == ROOM_BYTES
        assert status.st_blocks * 512 >= ROOM_BYTES, "the room is only promised"
        assert (spool.waiting, spool.damaged, spool.shortage) == ((), (), None)

    def test_its_name_is_on_the_disk_before_it_is_used(self, open_spool: Open) -> None:
        disk = WatchedDisk()
        open_spool(disk=disk)
        assert disk.asked == ["write", "sync", "sync folder"]

    def test_what_others_could_read_is_closed_to_them(self, open_spool: Open, path: Path) -> None:
        open_spool().close()
        path.chmod(0o644)
        open_spool()
        assert path.stat().st_mode & 0o777 == 0o600

    def test_records_are_written_into_the_room_and_not_behind_it(self, open_spool: Open, path: Path) -> None:
        spool = open_spool()
        for number in range(100):
            spool.keep(accepted(number))
        assert path.stat().st_size == ROOM_BYTES

    def test_more_records_than_there_is_room_for_make_it_grow(self, open_spool: Open, path: Path) -> None:
        spool = open_spool()
        wanted = tuple(accepted(number) for number in range(200))
        for record in wanted:
            spool.keep(record)
        assert path.stat().st_size > ROOM_BYTES
        assert again(open_spool, spool).waiting == wanted

    def test_a_short_one_is_given_its_room_and_keeps_its_records(self, open_spool: Open, path: Path) -> None:
        spool = open_spool()
        spool.keep(accepted(1))
        spool.close()
        os.truncate(path, 700)
        spool = open_spool()
        assert path.stat().st_size == ROOM_BYTES
        assert spool.waiting == (accepted(1),)

    def test_without_room_it_says_so_and_is_used_all_the_same(self, open_spool: Open, path: Path) -> None:
        disk = WatchedDisk(fails={"write": errno.ENOSPC})
        spool = open_spool(disk=disk)
        assert isinstance(spool.shortage, StoreFull)
        disk.fails.clear()
        spool.keep(accepted(1))
        assert again(open_spool, spool).waiting == (accepted(1),)


class TestKeeping:
    def test_a_record_is_on_the_disk_before_it_counts_as_kept(self, open_spool: Open) -> None:
        disk = WatchedDisk()
        spool = open_spool(disk=disk)
        disk.asked.clear()
        spool.keep(accepted(1))
        assert disk.asked == ["write", "sync"]

    def test_what_was_kept_is_read_by_the_next_process_in_the_same_order(self, open_spool: Open) -> None:
        spool = open_spool()
        wanted = (accepted(2), accepted(1, price_per_hour=None, vram_gb=None), accepted(3, instance_id='a"\n\\é\x00'))
        for record in wanted:
            spool.keep(record)
        assert spool.waiting == wanted
        assert again(open_spool, spool).waiting == wanted

    def test_a_record_is_kept_once_however_often_it_is_given(self, open_spool: Open) -> None:
        spool = open_spool()
        for _ in range(3):
            spool.keep(accepted(1))
        assert again(open_spool, spool).waiting == (accepted(1),)

    @pytest.mark.parametrize(
        ("number", "kind"),
        [
            (errno.ENOSPC, StoreFull),
            (errno.EDQUOT, StoreFull),
            (errno.EROFS, StoreReadOnly),
            (errno.EIO, StoreUnreachable),
        ],
    )
    @pytest.mark.parametrize("where", ["write", "sync"])
    def test_what_is_not_on_the_disk_does_not_count_as_kept(
        self, open_spool: Open, where: str, number: int, kind: type[Exception]
    ) -> None:
        disk = WatchedDisk()
        spool = open_spool(disk=disk)
        disk.fails[where] = number
        with pytest.raises(kind):
            spool.keep(accepted(1))
        assert not spool.waiting
        disk.fails.clear()
        spool.keep(accepted(1))
        assert again(open_spool, spool).waiting == (accepted(1),)

    def test_a_try_that_failed_leaves_nothing_behind_what_is_kept_in_its_place(self, open_spool: Open) -> None:
        disk = WatchedDisk()
        spool = open_spool(disk=disk)
        disk.fails["sync"] = errno.EIO
        with pytest.raises(StoreUnreachable):
            spool.keep(accepted(1, gpu="a very long name " * 20))
        disk.fails.clear()
        spool.keep(accepted(2))
        spool.keep(accepted(3))
        spool = again(open_spool, spool)
        assert (spool.waiting, spool.damaged) == ((accepted(2), accepted(3)), ())

    def test_a_closed_one_keeps_nothing(self, open_spool: Open) -> None:
        spool = open_spool()
        spool.close()
        spool.close()
        with pytest.raises(StoreUnreachable, match="closed"):
            spool.keep(accepted(1))


class TestForgetting:
    def test_what_the_store_has_is_gone_from_the_disk(self, open_spool: Open, path: Path) -> None:
        disk = WatchedDisk()
        spool = open_spool(disk=disk)
        spool.keep(accepted(1))
        disk.asked.clear()
        spool.forget([accepted(1)])
        assert disk.asked == ["write", "sync"]
        assert path.read_bytes() == b"\n" * ROOM_BYTES
        assert again(open_spool, spool).waiting == ()

    def test_what_it_has_not_stays(self, open_spool: Open) -> None:
        spool = open_spool()
        for number in range(3):
            spool.keep(accepted(number))
        spool.forget([accepted(1)])
        spool.keep(accepted(4))
        wanted = (accepted(0), accepted(2), accepted(4))
        assert spool.waiting == wanted
        assert again(open_spool, spool).waiting == wanted

    def test_the_room_is_used_again(self, open_spool: Open, path: Path) -> None:
        spool = open_spool()
        for number in range(150):
            spool.keep(accepted(number))
            spool.forget([accepted(number)])
        assert path.stat().st_size == ROOM_BYTES

    def test_what_cannot_be_cleared_waits_no_more_but_is_read_again_after_a_restart(self, open_spool: Open) -> None:
        disk = WatchedDisk()
        spool = open_spool(disk=disk)
        spool.keep(accepted(1))
        disk.fails["write"] = errno.EROFS
        with pytest.raises(StoreReadOnly):
            spool.forget([accepted(1)])
        assert (spool.waiting, spool.untidy) == ((), True)
        disk.fails.clear()
        spool.forget(())
        assert not spool.untidy
        assert again(open_spool, spool).waiting == ()


class TestDamage:
    def test_a_torn_last_line_is_no_record_and_takes_none_with_it(self, open_spool: Open, path: Path) -> None:
        spool = open_spool()
        spool.keep(accepted(1))
        whole = len(path.read_bytes().rstrip(b"\n"))
        spool.keep(accepted(2))
        spool.close()
        content = path.read_bytes()
        end = len(content.rstrip(b"\n"))
        for torn in range(whole + 3, end, 11):
            path.write_bytes(content[:torn] + b"\n" * (len(content) - torn))
            spool = open_spool()
            assert spool.waiting == (accepted(1),)
            assert len(spool.damaged) == 1
            assert spool.untidy
            spool.close()

    def test_a_record_kept_after_a_torn_one_is_whole(self, open_spool: Open, path: Path) -> None:
        open_spool().close()
        path.write_bytes(b'{"kind":"create.accepted","record":{"acc')
        spool = open_spool()
        spool.keep(accepted(1))
        spool = again(open_spool, spool)
        assert spool.waiting == (accepted(1),)
        assert spool.damaged == ('{"kind":"create.accepted","record":{"acc',)
        spool.forget([accepted(1)])
        assert again(open_spool, spool).damaged == ()

    def test_zeros_that_a_file_system_gives_back_are_nothing(self, open_spool: Open, path: Path) -> None:
        spool = open_spool()
        spool.keep(accepted(1))
        spool.close()
        path.write_bytes(b"\x00" * 512 + path.read_bytes().rstrip(b"\n") + b"\n" + b"\x00" * 4096)
        spool = open_spool()
        assert (spool.waiting, spool.damaged) == ((accepted(1),), ())

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(place=st.integers(0, 2000), byte=st.integers(0, 255))
    def test_no_altered_byte_makes_another_record(self, tmp_path: Path, place: int, byte: int) -> None:
        path = tmp_path / "any.spool"
        path.unlink(missing_ok=True)
        wanted = (accepted(1), accepted(2))
        spool = Spool.open(path)
        for record in wanted:
            spool.keep(record)
        spool.close()
        content = bytearray(path.read_bytes())
        content[place % len(content.rstrip(b"\n"))] = byte
        path.write_bytes(content)
        spool = Spool.open(path)
        spool.close()
        assert set(spool.waiting) <= set(wanted)
        assert len(spool.waiting) >= 1

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(content=st.binary(max_size=300))
    def test_any_content_can_be_opened_and_added_to(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "any.spool"
        path.write_bytes(content)
        for _ in range(2):
            spool = Spool.open(path)
            spool.keep(accepted(1))
            assert spool.waiting == (accepted(1),)
            spool.close()

    def test_a_line_of_a_kind_that_is_not_known_is_put_aside(self, open_spool: Open, path: Path) -> None:
        spool = open_spool()
        spool.keep(accepted(1))
        spool.close()
        path.write_bytes(path.read_bytes().replace(b"create.accepted", b"create.imagined"))
        spool = open_spool()
        assert (spool.waiting, len(spool.damaged)) == ((), 1)


class TestPlaces:
    def test_it_belongs_beside_a_file(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/shopperd.db"
        assert spool_path(url, Path("/state")) == tmp_path.resolve() / "shopperd.db.spool"

    def test_a_store_in_memory_has_none(self) -> None:
        assert spool_path("sqlite://", Path("/state")) is None

    def test_a_servers_stores_have_each_their_own_in_the_state_folder(self) -> None:
        urls = ("postgresql://a:secret@host/one", "postgresql://a:changed@host/one", "postgresql://a@host/two")
        one, same, two = (spool_path(url, Path("/state")) for url in urls)
        assert one == same != two
        assert one is not None
        assert one.parent == Path("/state")
        assert "secret" not in one.name

    def test_two_processes_do_not_share_one(self, open_spool: Open) -> None:
        spool = open_spool()
        with pytest.raises(StoreLocked, match=r"store\.spool"):
            open_spool()
        spool.close()
        open_spool()

    def test_a_folder_that_cannot_be_made_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder")
        with pytest.raises(StoreUnreachable, match="cannot be used"):
            Spool.open(tmp_path / "file" / "spool")

    def test_another_kind_of_file_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "film"
        with path.open("wb") as file:
            file.truncate(20 * 1024 * 1024)
        with pytest.raises(StoreUnreachable, match="no spool"):
            Spool.open(path)
        assert path.stat().st_size == 20 * 1024 * 1024

    def test_one_that_was_deleted_at_work_is_made_anew_with_what_waits(self, open_spool: Open, path: Path) -> None:
        spool = open_spool()
        spool.keep(accepted(1))
        path.unlink()
        spool.keep(accepted(2))
        assert spool.waiting == (accepted(1), accepted(2))
        assert again(open_spool, spool).waiting == (accepted(1), accepted(2))

    def test_one_that_cannot_be_made_anew_forgets_nothing(self, open_spool: Open, path: Path) -> None:
        spool = open_spool()
        spool.keep(accepted(1))
        shutil.rmtree(path.parent)
        path.parent.write_text("in the way")
        with pytest.raises(StoreUnreachable):
            spool.keep(accepted(2))
        assert spool.waiting == (accepted(1),)
        path.parent.unlink()
        spool.keep(accepted(2))
        assert again(open_spool, spool).waiting == (accepted(1), accepted(2))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("no small disk: this user may not mount one")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _kept_until_it_fails(spool: Spool, most: int) -> type[StoreError] | None:
    try:
        for number in range(most):
            spool.keep(accepted(number))
    except StoreError as error:
        return type(error)
    return None


def test_a_full_disk_has_room_for_what_is_kept(small_disk: Path, open_spool: Open) -> None:
    spool = open_spool(small_disk / "shopperd.db.spool")
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(b"x" * 1_000_000)
    wanted = tuple(accepted(number) for number in range(100))
    for record in wanted:
        spool.keep(record)
    assert _kept_until_it_fails(spool, 500) == StoreFull
    assert spool.waiting[:100] == wanted
    spool = again(open_spool, spool)
    assert spool.waiting[:100] == wanted
    spool.forget(spool.waiting)
    spool.keep(accepted(1))
    assert spool.waiting == (accepted(1),)


_SCRIPT = """
import resource, sys
from pathlib import Path
from shopperd.store import Spool, StoreError
from tests.store.test_spool import accepted
spool = Spool.open(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, resource.RLIM_INFINITY))
number = 0
try:
    for number in range(1000):
        spool.keep(accepted(number))
        print(number, flush=True)
except StoreError as error:
    print(type(error).__name__, flush=True)
"""


def _script(path: Path) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(path)], stdout=subprocess.PIPE, text=True, cwd=_ROOT, env=environment
    )


def test_a_file_that_may_not_grow_has_room_for_what_is_kept(path: Path, open_spool: Open) -> None:
    output, _ = _script(path).communicate()
    *kept, said = output.split()
    assert said == "StoreFull"
    assert len(kept) > 100
    assert [record.session_id.int for record in open_spool(path).waiting] == [
        accepted(int(number)).session_id.int for number in kept
    ]


def test_what_was_kept_before_a_kill_is_there_after_it(path: Path, open_spool: Open) -> None:
    process = _script(path)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 25:
            break
    process.kill()
    rest = [int(line) for line in process.stdout if line.strip().isdigit()]
    process.stdout.close()
    assert process.wait() in (-signal.SIGKILL, 0)
    last = max([25, *rest])
    waiting = open_spool(path).waiting
    assert len(waiting) >= last + 1
    assert waiting == tuple(accepted(number) for number in range(len(waiting)))
