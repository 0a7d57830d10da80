import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from shopperd.model import Event
from shopperd.store import (
    Store,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreMoved,
    StoreReadOnly,
    StoreUnreachable,
    events,
    meta,
)
from tests.clocks import FakeClock
from tests.store.nouns import START, later

_ROOT = Path(__file__).parents[2]

_OPEN = """
import sys
from shopperd.clock import SystemClock
from shopperd.model import Event
from shopperd.store import Store, events, meta
clock = SystemClock()
def event(number): return Event(clock.now(), "test.happened", "x" * 500, data={"number": number})
try:
    store = Store.open(sys.argv[1], clock=clock)
except Exception as error:
    print(type(error).__name__, error, flush=True)
    raise SystemExit(0)
"""


def _script(code: str, url: str, **options: object) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", _OPEN + code, url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env=environment,
        **options,  # type: ignore[call-overload]
    )


def _append(store: Store, number: int = 0) -> None:
    store.run_sync(events.append, Event(START, "test.happened", "x" * 500, data={"number": number}))


def _grow(store: Store, rows: int = 400) -> None:
    for number in range(rows):
        _append(store, number)


def test_a_new_store_is_for_its_owner_alone_whatever_the_umask(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store]
) -> None:
    mask = os.umask(0)
    try:
        store = open_store(sqlite_url)
        _append(store)
    finally:
        os.umask(mask)
    modes = {path.name: path.stat().st_mode & 0o777 for path in sqlite_path.parent.iterdir()}
    assert modes == dict.fromkeys(["shopperd.db", "shopperd.db-shm", "shopperd.db-wal", "shopperd.db.lock"], 0o600)
    assert sqlite_path.parent.stat().st_mode & 0o777 == 0o700


def test_a_store_that_others_could_read_is_closed_to_them(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store]
) -> None:
    open_store(sqlite_url).close_sync()
    sqlite_path.chmod(0o644)
    open_store(sqlite_url)
    assert sqlite_path.stat().st_mode & 0o777 == 0o600


def test_a_commit_is_on_the_disk_before_it_is_reported(sqlite_url: str, open_store: Callable[..., Store]) -> None:
    store = open_store(sqlite_url)

    def settings(conn: sa.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert store.run_sync(settings) == ["wal", 2, 1, 0]


def test_what_was_committed_before_a_kill_is_there_after_it(sqlite_url: str, open_store: Callable[..., Store]) -> None:
    process = _script(
        """
import itertools
def both(conn, number):
    events.append(conn, event(number))
    meta.put(conn, "count", number)
for number in itertools.count(1):
    store.run_sync(both, number)
    print(number, flush=True)
""",
        sqlite_url,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 25:
            break
    process.kill()
    last = max([25, *(int(line) for line in process.stdout if line.endswith("\n"))])
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    store = open_store(sqlite_url)
    numbers = [event.data["number"] for event in store.run_sync(events.page, limit=10**6)]
    assert len(numbers) >= last
    assert numbers == list(range(1, len(numbers) + 1))
    assert store.run_sync(meta.get, "count") == len(numbers)


def test_a_store_that_another_process_uses_is_refused_with_its_number(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store]
) -> None:
    process = _script("print('open', flush=True); sys.stdin.read()", sqlite_url, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    with pytest.raises(StoreLocked, match=f"process {process.pid}") as caught:
        open_store(sqlite_url)
    assert str(sqlite_path) in str(caught.value)
    process.communicate()
    open_store(sqlite_url)


def test_a_store_is_locked_under_every_name_of_its_file(
    sqlite_url: str, tmp_path: Path, open_store: Callable[..., Store]
) -> None:
    store = open_store(sqlite_url)
    (tmp_path / "alias").symlink_to(tmp_path / "state")
    with pytest.raises(StoreLocked):
        open_store(f"sqlite:///{tmp_path}/alias/shopperd.db")
    store.close_sync()
    open_store(f"sqlite:///{tmp_path}/alias/shopperd.db")


@pytest.mark.parametrize("content", [b"", b"not a database at all", b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_store_is_refused_and_left_alone(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store], content: bytes
) -> None:
    sqlite_path.parent.mkdir()
    sqlite_path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(StoreDamaged, match="backup"):
            open_store(sqlite_url)
    assert sqlite_path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store]
) -> None:
    sqlite_path.parent.mkdir()
    other = sqlite3.connect(sqlite_path)
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.commit()
    with pytest.raises(StoreDamaged, match="another program"):
        open_store(sqlite_url)
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    other.close()


def test_a_lone_write_ahead_log_is_no_new_store(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store]
) -> None:
    sqlite_path.parent.mkdir()
    sqlite_path.with_name("shopperd.db-wal").write_bytes(b"what was committed last")
    with pytest.raises(StoreDamaged, match="-wal"):
        open_store(sqlite_url)
    assert not sqlite_path.exists()


def test_flipped_bytes_are_noticed_at_the_start(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store]
) -> None:
    store = open_store(sqlite_url)
    _grow(store)
    store.close_sync()
    content = bytearray(sqlite_path.read_bytes())
    for page in range(len(content) // 8192 * 4096, len(content), 4096):
        content[page : page + 12] = bytes(byte ^ 0xFF for byte in content[page : page + 12])
    sqlite_path.write_bytes(content)
    with pytest.raises(StoreDamaged, match="damaged"):
        open_store(sqlite_url)
    assert sqlite_path.read_bytes() == content


def test_a_truncated_file_is_noticed_at_the_start(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store]
) -> None:
    store = open_store(sqlite_url)
    _grow(store)
    store.close_sync()
    os.truncate(sqlite_path, sqlite_path.stat().st_size // 8192 * 4096)
    with pytest.raises(StoreDamaged):
        open_store(sqlite_url)


def test_damage_that_is_met_at_work_lasts(sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store]) -> None:
    store = open_store(sqlite_url)
    _grow(store)
    store.run_sync(lambda conn: conn.exec_driver_sql("PRAGMA cache_size = 0") and None)
    store.close_sync()
    store = open_store(sqlite_url)
    size = sqlite_path.stat().st_size
    with sqlite_path.open("r+b") as file:
        for page in range(4096 * 3, size, 4096):
            file.seek(page)
            file.write(b"\xff" * 64)
    other = sqlite3.connect(sqlite_path)  # makes the store's connection forget the pages that it holds
    other.execute("PRAGMA user_version = 1")
    other.commit()
    other.close()
    with pytest.raises(StoreDamaged) as caught:
        store.run_sync(events.page, limit=1000)
    assert caught.value.lasting
    with pytest.raises(StoreDamaged):
        store.run_sync(meta.get, "count")
    assert store.problem is caught.value


def test_a_half_built_store_is_built_again(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store]
) -> None:
    sqlite_path.parent.mkdir()
    sqlite_path.with_name("shopperd.db.new").write_bytes(b"killed in the middle")
    sqlite_path.with_name("shopperd.db.new-journal").write_bytes(b"killed in the middle")
    store = open_store(sqlite_url)
    assert store.created
    assert not sqlite_path.with_name("shopperd.db.new").exists()


@pytest.mark.parametrize("name", ["shopperd.db", "shopperd.db-wal", "shopperd.db.lock"])
async def test_a_file_that_is_deleted_at_work_is_noticed_before_the_next_commit(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store], name: str
) -> None:
    store = open_store(sqlite_url)
    sqlite_path.with_name(name).unlink()
    with pytest.raises(StoreMoved, match=name):
        await store.check()
    assert isinstance(store.problem, StoreMoved)


def test_a_file_that_is_replaced_in_the_middle_of_a_transaction_is_noticed(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store]
) -> None:
    store = open_store(sqlite_url)

    def replace(conn: sa.Connection) -> None:
        meta.put(conn, "count", 1)
        shutil.copy(sqlite_path, sqlite_path.with_name("copy"))
        sqlite_path.with_name("copy").rename(sqlite_path)

    with pytest.raises(StoreMoved, match="replaced"):
        store.run_sync(replace)


def test_a_file_that_is_moved_away_and_back_is_well_again(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store]
) -> None:
    store = open_store(sqlite_url)
    sqlite_path.rename(sqlite_path.with_name("elsewhere"))
    with pytest.raises(StoreMoved):
        store.run_sync(events.last_id)
    sqlite_path.with_name("elsewhere").rename(sqlite_path)
    _append(store)
    assert store.problem is None


def test_a_store_that_was_put_back_in_place_is_not_continuous(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store]
) -> None:
    store = open_store(sqlite_url)
    store.run_sync(meta.bind, store.binding, START)
    store.close_sync()
    backup = sqlite_path.read_bytes()
    store = open_store(sqlite_url)
    assert not store.run_sync(meta.bind, store.binding, later(1))
    store.close_sync()
    sqlite_path.write_bytes(backup)  # keeps its inode
    store = open_store(sqlite_url)
    assert not store.created
    assert store.run_sync(meta.bind, store.binding, later(2))
    store.close_sync()
    store = open_store(sqlite_url)
    assert not store.run_sync(meta.bind, store.binding, later(3))


def test_a_store_that_was_copied_elsewhere_is_noticed(
    sqlite_url: str, sqlite_path: Path, tmp_path: Path, open_store: Callable[..., Store]
) -> None:
    store = open_store(sqlite_url)
    store.run_sync(meta.bind, store.binding, START)
    store.close_sync()
    shutil.copytree(sqlite_path.parent, tmp_path / "copy")
    copy = open_store(f"sqlite:///{tmp_path}/copy/shopperd.db")
    assert copy.run_sync(meta.bind, copy.binding, later(1))


def test_a_full_store_says_so_and_is_well_when_there_is_room(sqlite_url: str, open_store: Callable[..., Store]) -> None:
    store = open_store(sqlite_url)
    _append(store)
    pages = store.run_sync(lambda conn: conn.exec_driver_sql("PRAGMA page_count").scalar())
    store.run_sync(lambda conn: conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}") and None)
    with pytest.raises(StoreFull, match="space"):
        _grow(store)
    kept = store.run_sync(events.last_id)
    assert isinstance(store.problem, StoreFull)
    store.run_sync(lambda conn: conn.exec_driver_sql("PRAGMA max_page_count = 1000000") and None)
    _append(store)
    assert store.problem is None
    assert len(store.run_sync(events.page, limit=1000)) == kept + 1


def test_an_error_that_a_transaction_swallows_does_not_let_half_of_it_through(
    sqlite_url: str, open_store: Callable[..., Store]
) -> None:
    """SQLite ends a transaction by itself when it is full; what follows would be committed at once, alone."""
    store = open_store(sqlite_url)
    store.run_sync(meta.put, "count", 1)
    pages = store.run_sync(lambda conn: conn.exec_driver_sql("PRAGMA page_count").scalar())
    store.run_sync(lambda conn: conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}") and None)

    def swallow(conn: sa.Connection) -> None:
        meta.put(conn, "count", 2)
        try:
            meta.put(conn, "big", "x" * 10**6)
        except sa.exc.OperationalError:
            if not getattr(conn.connection.driver_connection, "in_transaction", True):
                return
        raise AssertionError("SQLite went on with the transaction")

    with pytest.raises(StoreError):
        store.run_sync(swallow)
    assert store.run_sync(meta.get, "count") == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("no small disk: this user may not mount one")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_nothing_that_was_committed_is_lost(
    small_disk: Path, open_store: Callable[..., Store]
) -> None:
    store = open_store(f"sqlite:///{small_disk}/shopperd.db")
    with (small_disk / "ballast").open("wb") as ballast:
        ballast.write(b"x" * 200_000)
    with pytest.raises(StoreFull):
        _grow(store, 5000)
    kept = store.run_sync(events.last_id)
    assert kept > 0
    (small_disk / "ballast").unlink()
    _append(store)
    assert store.problem is None
    store.close_sync()
    again = open_store(f"sqlite:///{small_disk}/shopperd.db")
    assert len(again.run_sync(events.page, limit=10**6)) == kept + 1


def test_no_room_for_a_new_store_is_said_and_leaves_none(small_disk: Path, open_store: Callable[..., Store]) -> None:
    with (small_disk / "ballast").open("wb") as ballast:
        ballast.write(b"x" * 1_000_000)
    with pytest.raises(StoreFull):
        open_store(f"sqlite:///{small_disk}/shopperd.db")
    (small_disk / "ballast").unlink()
    assert open_store(f"sqlite:///{small_disk}/shopperd.db").created


def test_a_limit_on_file_sizes_is_said_too(sqlite_url: str, open_store: Callable[..., Store]) -> None:
    process = _script(
        """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
try:
    for number in range(10_000):
        store.run_sync(events.append, event(number))
except Exception as error:
    print(type(error).__name__, store.run_sync(events.last_id), flush=True)
""",
        sqlite_url,
    )
    output, _ = process.communicate()
    kind, kept = output.split()
    assert kind in {StoreUnreachable.__name__, StoreFull.__name__}
    assert len(open_store(sqlite_url).run_sync(events.page, limit=10**6)) == int(kept) > 0
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 400_000


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """Permissions do not stop root; for root, the folder must be a mount."""
    if os.geteuid() == 0:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        yield
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        return
    folder.chmod(0o555)
    for path in folder.iterdir():
        path.chmod(0o444)
    yield
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return request.getfixturevalue("small_disk") if os.geteuid() == 0 else tmp_path


@pytest.mark.parametrize("existing", [True, False])
def test_a_store_that_may_not_be_written_is_refused_until_it_may(
    folder: Path, open_store: Callable[..., Store], existing: bool
) -> None:
    url = f"sqlite:///{folder}/shopperd.db"
    if existing:
        open_store(url).close_sync()
    with _read_only(folder), pytest.raises(StoreReadOnly, match=str(folder)):
        open_store(url)
    assert open_store(url).created is not existing


def test_an_unreadable_note_in_the_lock_file_only_means_that_the_past_is_unknown(
    sqlite_url: str, sqlite_path: Path, open_store: Callable[..., Store], clock: FakeClock
) -> None:
    open_store(sqlite_url).close_sync()
    sqlite_path.with_name("shopperd.db.lock").write_bytes(b"\xff{")
    store = open_store(sqlite_url)
    assert not store.binding.continuous
