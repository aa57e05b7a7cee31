"""The disk: SQLite really finds it full or locked, an I/O error is put in its way, and a kill leaves what was there."""

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from sensor_guard.journal import Batch, Journal
from sensor_guard.journal.errors import JournalIOError, JournalReadOnlyError
from sensor_guard.model import Instant

_PAGES = 1_073_741_823
PAGE = 4_096
BALLAST_PAGES = 128
"""A world's journal is a thousandth of a box's, and so is its ballast."""
FLOOR_PAGES = 32
PLENTY = 1 << 40


class Disk:
    """``mode``: ok, full, busy, io, io_commit or read_only. The journal of each process goes through it."""

    def __init__(self, path: Path, failpoint: Callable[[str], None], told: Callable[[str], None]) -> None:
        self.path = path
        self.mode = "ok"
        self._failpoint, self._told = failpoint, told
        self._locker: sqlite3.Connection | None = None
        self._journal: Journal | None = None

        self.ballast = SimBallast(self)
        self.capacity = 0  # pages, while the disk is full: of the journal and the ballast together

    def open(self) -> "DiskJournal":
        journal = Journal.open(self.path, busy_timeout=0)
        # A kill is what this models, and a committed transaction survives it either way; what a power cut does to a
        # disk that keeps its word is the same. The real fsync is measured and tested elsewhere.
        journal._db.execute("PRAGMA synchronous = OFF")
        self._journal = journal
        self.set(self.mode)
        return DiskJournal(journal, self)

    def set(self, mode: str) -> None:
        """Let the disk be so from now on."""
        self.mode = mode
        if self._locker is not None:
            self._locker.close()
            self._locker = None
        if self._journal is not None:
            pages = self._journal._db.execute("PRAGMA page_count").fetchone()[0]
            self.capacity = pages + self.ballast.pages if mode == "full" else _PAGES
            self.limit()
        if mode == "busy":
            self._locker = sqlite3.connect(self.path, isolation_level=None)
            self._locker.execute("BEGIN IMMEDIATE")

    def pages(self) -> int:
        """How long the journal is."""
        return 0 if self._journal is None else self._journal._db.execute("PRAGMA page_count").fetchone()[0]

    def limit(self) -> None:
        """Leave the journal what the ballast does not take."""
        if self._journal is not None:
            self._journal._db.execute(f"PRAGMA max_page_count = {max(1, self.capacity - self.ballast.pages)}")

    def kill(self, *, torn: bool) -> None:
        """The process is gone: the files stay as they are at this moment. ``torn``: half a frame hangs behind them."""
        assert self._journal is not None
        if self._locker is not None:
            self._locker.close()
            self._locker = None
        files = [self.path, self.path.with_name(self.path.name + "-wal")]
        for file in files:
            if file.exists():
                shutil.copyfile(file, f"{file}.kept")
        self._journal.close()
        self._journal = None
        for file in files:
            kept = Path(f"{file}.kept")
            file.unlink(missing_ok=True)
            if kept.exists():
                kept.rename(file)
        self.path.with_name(self.path.name + "-shm").unlink(missing_ok=True)
        if torn and files[1].exists():
            with files[1].open("ab") as wal:
                wal.write(b"\x00\x00\x00\x07" + b"torn" * 500)

    def remove(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        for end in ("", "-wal", "-shm", ".kept", "-wal.kept"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}{end}").unlink()


class SimBallast:
    """What ``sensor_guard.journal.Ballast`` is to the room, in pages of the simulated disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.size, self.floor = BALLAST_PAGES * PAGE, FLOOR_PAGES * PAGE
        self.pages = 0

    def free(self) -> int:
        disk = self._disk
        return PLENTY if disk.mode != "full" else max(0, disk.capacity - self.pages - disk.pages()) * PAGE

    def total(self) -> int:
        return PLENTY

    def is_there(self) -> bool:
        return self.pages * PAGE >= self.floor

    def make(self, *, least: int, spare: int = 0) -> bool:
        size = min(self.size, self.pages * PAGE + self.free() - spare)
        if size > self.pages * PAGE and size >= least:
            self.pages = size // PAGE
            self._disk.limit()
        return self.is_there()

    def release(self) -> bool:
        was_there, self.pages = self.pages > 0, 0
        self._disk.limit()
        if was_there:
            self._disk._told("ballast_released")
        return was_there


class DiskJournal:
    """The real journal; each transaction meets the disk as it is."""

    def __init__(self, journal: Journal, disk: Disk) -> None:
        self._journal, self._disk = journal, disk

    def __getattr__(self, name: str) -> object:
        return getattr(self._journal, name)

    @contextlib.contextmanager
    def batch(self, now: Instant) -> Iterator[Batch]:
        disk = self._disk
        if disk.mode != "ok":
            disk._told(f"disk_{disk.mode}")
        if disk.mode == "io":
            raise JournalIOError("the disk does not read or write")
        if disk.mode == "read_only":
            raise JournalReadOnlyError("cannot be written")
        with self._journal.batch(now) as batch:
            yield batch
            if disk.mode == "io_commit":
                raise JournalIOError("the disk does not write")
            disk._failpoint("before_commit")
        disk._failpoint("after_commit")
