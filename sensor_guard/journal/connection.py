"""How the file is opened: one connection that writes, any number that read."""

import os
import sqlite3
from pathlib import Path

from sensor_guard.errors import JournalError
from sensor_guard.journal.errors import JournalReadOnlyError, translated
from sensor_guard.model import SECOND, Span

OLDEST_SQLITE = (3, 37, 0)
"""STRICT tables."""
BUSY_TIMEOUT: Span = 2 * SECOND
"""How long a stranger's lock (somebody's sqlite3 shell) is waited for before the batch counts as failed."""


def connect_writer(path: Path, *, busy_timeout: Span = BUSY_TIMEOUT) -> sqlite3.Connection:
    """Open the file for the engine's thread; made when it is not there, readable for its owner only.

    Raises:
        JournalError: and its kinds, see ``errors``.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise JournalError(f"SQLite {sqlite3.sqlite_version} is too old; 3.37 is the oldest that will do")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise JournalReadOnlyError(f"{path}: {error.strerror}; it must be a file that the daemon may write") from error
    db = _connect(path, "rw", busy_timeout)
    try:
        with translated(path):
            mode: str = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            # A WAL that grew behind a long reader is cut back to this at the next checkpoint.
            db.execute("PRAGMA journal_size_limit = 16777216")
    except BaseException:
        db.close()
        raise
    if mode != "wal":
        db.close()
        raise JournalError(f"{path}: this file system has no shared memory for SQLite; use a local disk")
    return db


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open the file for reading, while the daemon may be writing; one connection a thread.

    Raises:
        JournalError: it is not there, or cannot be read.
    """
    if not path.exists():
        raise JournalError(f"{path}: there is no journal; it is made when the daemon starts")
    db = _connect(path, "ro", BUSY_TIMEOUT)
    try:
        with translated(path):
            db.execute("PRAGMA query_only = ON")
            db.execute("PRAGMA schema_version")
    except BaseException:
        db.close()
        raise
    return db


def _connect(path: Path, mode: str, busy_timeout: Span) -> sqlite3.Connection:
    with translated(path):
        # isolation_level None: transactions begin and end where we say so.
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=busy_timeout / SECOND,
            isolation_level=None,
            cached_statements=256,
        )
    try:
        with translated(path):
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA cell_size_check = ON")
            db.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        db.close()
        raise
    return db
