"""A damaged journal is set aside and a new one begun with what can be read of it, so that the daemon always comes up.

    look      its small tables and their indexes, or all of it where that is quick; or somebody has found it damaged
              while it ran, and left word (``suspect``)
    head      the pages that say where everything is are kept a second time (``head``)
    salvage   into <journal>.mending, which is complete when it is called <journal>.mended
    set aside <journal>.damaged-<time>, with its -wal; the newest three are kept
    begin     <journal>.mended becomes <journal>

Cut short anywhere, it goes on with the next start. The damaged file is never written to.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sensor_guard.errors import JournalError
from sensor_guard.journal.check import unreadable
from sensor_guard.journal.connection import connect_reader
from sensor_guard.journal.errors import (
    ForeignFileError,
    JournalCorruptError,
    JournalUnavailableError,
    JournalVersionError,
    translate,
)
from sensor_guard.journal.lock import WriterLock
from sensor_guard.journal.migrations import APPLICATION_ID
from sensor_guard.journal.salvage import Salvaged, salvage
from sensor_guard.journal.store import Journal

KEEP_DAMAGED = 3
CHECK_WHOLE = 64 << 20
"""Bytes; a larger file has only its small tables looked through at a start: 64 MB take about half a second."""
SMALL_TABLES = ("meta", "alarms", "outbox", "home_state", "plans", "cursors", "sensors", "quantities", "recent_packets")
SALVAGE_SECONDS = 6.0
"""After so long no more readings are carried over: the daemon is up within ten seconds, whatever the file's size."""


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done. ``set_aside``: where the damaged file is now; ``why``: what was found."""

    set_aside: Path
    why: str
    salvaged: Salvaged


def suspect(path: Path, why: str) -> None:
    """Leave word for the next start that the journal is damaged; at worst that start finds it by itself.

    The first word stays; a mending that was cut short needs none.
    """
    if _word(path).exists() or _mended(path).exists():
        return
    with suppress(OSError):
        _word(path).write_text(why, encoding="utf-8")


def open_to_look(path: Path) -> Journal:
    """Open the journal for reading only where no daemon runs.

    Raises:
        AlreadyRunningError: another process writes this journal: it knows better.
        JournalError: and its other kinds, as ``Journal.open``.
    """
    WriterLock(path).release()
    return Journal.open(path, readonly=True)


def open_sound(path: Path) -> Journal:
    """Open the journal to write into it where no daemon runs; a damaged one is left as it is, with word of it.

    Raises:
        AlreadyRunningError: another process writes this journal.
        JournalCorruptError: it is damaged; the next start of the daemon mends it.
        JournalError: and its other kinds, as ``Journal.open``.
    """
    lock = WriterLock(path)
    try:
        why = "its mending was cut short" if _mended(path).exists() else _fault(path)
        if why:
            suspect(path, why)
            raise JournalCorruptError(path, why)
    finally:
        lock.release()
    return Journal.open(path)


def open_or_mend(path: Path, *, stamp: str, clock: Callable[[], float]) -> tuple[Journal, Mended | None]:
    """Open the journal; a damaged one is set aside, and a new one has what could be read of it.

    Args:
        path: the journal.
        stamp: the time, for the name of a file that is set aside.
        clock: counts real seconds.

    Raises:
        AlreadyRunningError: another process writes this journal.
        ForeignFileError: the file is another program's, and stays as it is.
        JournalError: anything that is no damage, see ``Journal.open``.
    """
    lock = WriterLock(path)
    try:
        _finish(path, stamp)
        why = _fault(path)
        mended = _mend(path, why, stamp, clock) if why else None
    finally:
        lock.release()
    try:
        journal = Journal.open(path)
        journal.keep_head()
    except JournalError as error:
        is_damage = isinstance(error, JournalCorruptError) or isinstance(error.__cause__, sqlite3.DatabaseError)
        is_other = isinstance(error, ForeignFileError | JournalUnavailableError | JournalVersionError)
        if mended is not None or is_other or not is_damage:
            raise
        suspect(path, str(error))
        return open_or_mend(path, stamp=stamp, clock=clock)
    return journal, mended


def _fault(path: Path) -> str:
    """Say what is wrong with the file, "" if nothing is seen."""
    if _word(path).exists():
        with suppress(OSError, UnicodeDecodeError):
            return _word(path).read_text(encoding="utf-8") or "found damaged"
        return "found damaged"
    return _fault_seen(path) if path.exists() and path.stat().st_size > 0 else ""


def _fault_seen(path: Path) -> str:
    """Look the file over; a large one is not read through."""
    try:
        with closing(connect_reader(path)) as db:
            tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if tables and "outbox" not in tables and not path.with_name(f"{path.name}.head").exists():
                raise ForeignFileError(path, "an SQLite file of another program")  # noqa: TRY301 - found in here
            if tables and db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                return "its mark is damaged"
            wanted = SMALL_TABLES if path.stat().st_size > CHECK_WHOLE else (1,)
            answers = (str(db.execute(f"PRAGMA integrity_check({one})").fetchone()[0]) for one in wanted)
            found = next((answer for answer in answers if answer != "ok"), "")
            return found or next(iter(unreadable(db, full=False)), "")
    except ForeignFileError:
        raise
    except (JournalCorruptError, UnicodeDecodeError) as error:
        return str(error)  # the latter: SQLite's own words on it, which quote what stands there
    except sqlite3.DatabaseError as error:
        # Whatever else it is, Journal.open says it better.
        return str(error) if isinstance(translate(error, path), JournalCorruptError) else ""
    except JournalError:
        return ""


def _mend(path: Path, why: str, stamp: str, clock: Callable[[], float]) -> Mended:
    mending = path.with_name(f"{path.name}.mending")
    for suffix in ("", "-wal", "-shm", ".lock"):
        mending.with_name(mending.name + suffix).unlink(missing_ok=True)
    began = clock()
    with Journal.open(mending) as journal:
        salvaged = journal.take_over(lambda db: salvage(path, db, is_late=lambda: clock() - began > SALVAGE_SECONDS))
        journal.checkpoint()
    mending.with_name(mending.name + ".lock").unlink(missing_ok=True)
    _sync(mending)
    mending.rename(_mended(path))
    _sync(path.parent)
    return Mended(_finish(path, stamp), why, salvaged)


def _finish(path: Path, stamp: str) -> Path:
    """Put the damaged file aside and the mended one in its place, if there is one; where the damaged one is now."""
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    if not _mended(path).exists():
        return aside
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    _mended(path).rename(path)
    _word(path).unlink(missing_ok=True)
    _sync(path.parent)
    for old in sorted(path.parent.glob(f"{path.name}.damaged-*Z"))[:-KEEP_DAMAGED]:
        for suffix in ("", "-wal", "-shm"):
            old.with_name(old.name + suffix).unlink(missing_ok=True)
    return aside


def _word(path: Path) -> Path:
    return path.with_name(f"{path.name}.suspect")


def _mended(path: Path) -> Path:
    return path.with_name(f"{path.name}.mended")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
