"""What can be wrong with the journal, by what can be done about it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sensor_guard.errors import JournalError


class JournalUnavailableError(JournalError):
    """Nothing of this batch is stored, and the same batch can be committed later. The base of the four below.

    ``reason`` is the word for log and counter.
    """

    reason = "unavailable"


class JournalFullError(JournalUnavailableError):
    """No space is left on the disk."""

    reason = "full"


class JournalIOError(JournalUnavailableError):
    """The disk does not read or write, or a limit of the process stops it."""

    reason = "io"


class JournalReadOnlyError(JournalUnavailableError):
    """The file or its file system cannot be written."""

    reason = "read_only"


class JournalBusyError(JournalUnavailableError):
    """Another program holds the file's write lock."""

    reason = "busy"


class JournalCorruptError(JournalError):
    """The file is damaged, or no journal at all. ``path`` names it."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(
            f"{path}: not a sound journal ({detail}); when the daemon starts it moves {path.name} aside and goes on"
            f" with what can be read of it; for what cannot there is your newest backup"
        )
        self.path = path


class ForeignFileError(JournalCorruptError):
    """The file is another program's: it is left alone."""


class JournalVersionError(JournalError):
    """The file was written by another version of sensor_guard."""


_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_HINDERED: dict[int, tuple[type[JournalUnavailableError], str]] = {
    sqlite3.SQLITE_FULL: (JournalFullError, "no space is left on the disk; free some"),
    sqlite3.SQLITE_IOERR: (JournalIOError, "the disk does not read or write; look at the kernel's log"),
    sqlite3.SQLITE_CANTOPEN: (JournalIOError, "cannot be opened; look at the folder and its permissions"),
    sqlite3.SQLITE_NOMEM: (JournalIOError, "no memory is left"),
    sqlite3.SQLITE_READONLY: (JournalReadOnlyError, "cannot be written; look at the mount and the permissions"),
    sqlite3.SQLITE_PERM: (JournalReadOnlyError, "may not be written; look at the permissions"),
    sqlite3.SQLITE_BUSY: (JournalBusyError, "another program is writing to it; end that program"),
    sqlite3.SQLITE_LOCKED: (JournalBusyError, "another program is writing to it; end that program"),
    sqlite3.SQLITE_PROTOCOL: (JournalBusyError, "another program holds its locks; end that program"),
}


def translate(error: sqlite3.Error, path: Path) -> JournalError:
    """Say whose fault SQLite's error is, naming the file and the way out."""
    # Errors of the sqlite3 module itself (a value that cannot be bound) carry no code.
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    primary = code & 0xFF  # the rest of an extended code says where in SQLite it was
    if primary in _DAMAGED or str(error).startswith("Could not decode to UTF-8"):
        return JournalCorruptError(path, str(error))
    if primary in _HINDERED:
        kind, way_out = _HINDERED[primary]
        return kind(f"{path}: {way_out} ({error})")
    return JournalError(f"{path}: {error}")


SQLITE_FAILED = (sqlite3.Error, UnicodeDecodeError)
"""What a call of SQLite may raise on a damaged file: its own message quotes names from the file, and is decoded."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise SQLite's errors from inside as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except UnicodeDecodeError as error:
        raise JournalCorruptError(path, "names in it are damaged") from error
