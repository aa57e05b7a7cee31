"""A consistent copy of the journal while it is written: one file, whole or not there."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sensor_guard.errors import JournalError
from sensor_guard.journal.errors import translated


def copy_to(source: sqlite3.Connection, path: Path, target: Path) -> None:
    """Copy what ``source`` sees at this moment to ``target``, safe on disk when this returns.

    The copy is one read transaction: the writer goes on. It is written to ``<target>.partial`` and renamed.

    Raises:
        JournalError: the target is there already, or cannot be written.
    """
    if target.exists():
        raise JournalError(f"{target}: is there already; name another file, backups are never overwritten")
    partial = target.with_name(target.name + ".partial")
    try:
        # Kept exclusive: two backups to one name would write into each other.
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise JournalError(f"{partial}: another backup is under way, or was cut short; then delete it") from error
    except OSError as error:
        raise JournalError(f"{partial}: {error.strerror}; name a file in a folder that can be written") from error
    try:
        with translated(target), closing(sqlite3.connect(partial, isolation_level=None)) as copy:
            with translated(path):
                source.backup(copy)
            # One file without a -wal beside it, so that it can be carried away.
            copy.execute("PRAGMA journal_mode = DELETE")
        _sync(partial)
        partial.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise JournalError(f"{target}: {error.strerror}; the backup was not made") from error
    finally:
        partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
