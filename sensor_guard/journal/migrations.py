"""The numbered layouts in schema/: which one a file has, and how it comes to the newest."""

import os
import re
import sqlite3
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from sensor_guard.journal.backup import copy_to
from sensor_guard.journal.errors import ForeignFileError, JournalCorruptError, JournalVersionError, translated

APPLICATION_ID = 1397180977
"""The file's mark, as 0001_initial.sql sets it."""

FUTURE_LAYOUTS = 100
"""A file that claims to be so much newer is no newer one, but damaged."""

_NAME = re.compile(r"(\d{4})_\w+\.sql")


class Migration(NamedTuple):
    """One step. ``number``: the file's user_version afterwards."""

    number: int
    sql: str


def shipped() -> list[Migration]:
    """Read the steps that come with this version, in their order, numbered from 1 without a gap."""
    found = []
    for entry in resources.files(__package__).joinpath("schema").iterdir():
        match = _NAME.fullmatch(entry.name)
        if match:
            found.append(Migration(int(match[1]), entry.read_text(encoding="utf-8")))
    found.sort()
    assert [step.number for step in found] == list(range(1, len(found) + 1))
    return found


def migrate(db: sqlite3.Connection, path: Path, steps: Sequence[Migration]) -> None:
    """Bring the file to the newest layout, each step in a transaction of its own.

    A file that has data is copied to ``<path>.schema<number>.bak`` first; a copy that an earlier try left is kept.

    Raises:
        JournalVersionError: the file is newer than this program.
        JournalCorruptError: the file is damaged, or another program's.
        JournalUnavailableError: there is no space for the copy, say.
    """
    version = version_of(db, path, steps[-1].number)
    if 0 < version < steps[-1].number:
        target = backup_path(path, version)
        if not target.exists():
            copy_to(db, path, target)
    for step in steps[version:]:
        with translated(path):
            try:
                db.executescript(f"BEGIN IMMEDIATE;\n{step.sql}\nPRAGMA user_version = {step.number};\nCOMMIT;")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
    if version == 0:
        with translated(path):
            # Random, so that codes cannot be computed from ids; per installation, so that two boxes differ.
            db.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('salt', ?)", (os.urandom(16),))


def version_of(db: sqlite3.Connection, path: Path, newest: int) -> int:
    """Say which layout the file has, 0 for an empty file; refuse what this program cannot use."""
    with translated(path):
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        mark: int = db.execute("PRAGMA application_id").fetchone()[0]
        is_empty: bool = db.execute("SELECT NOT EXISTS (SELECT 1 FROM sqlite_master)").fetchone()[0]
    if mark != APPLICATION_ID and not (is_empty and version == 0):
        raise ForeignFileError(path, "an SQLite file of another program")
    if not 0 <= version <= newest + FUTURE_LAYOUTS:
        raise JournalCorruptError(path, f"layout {version}")
    if version > newest:
        raise JournalVersionError(
            f"{path}: written by a newer sensor_guard (layout {version}, this one knows {newest}); install that"
            f" version again, or put back {backup_path(path, newest).name}, the copy made before the upgrade"
        )
    return version


def require_newest(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that this program cannot read as it is.

    Raises:
        JournalVersionError: another version wrote it.
        JournalCorruptError: the file is damaged, or another program's.
    """
    newest = shipped()[-1].number
    version = version_of(db, path, newest)
    if version < newest:
        raise JournalVersionError(
            f"{path}: written by an older sensor_guard (layout {version}, this one reads {newest});"
            f" it is brought up to date when the daemon starts"
        )


def backup_path(path: Path, version: int) -> Path:
    """Name the copy that is made before an upgrade from this layout."""
    return path.with_name(f"{path.name}.schema{version}.bak")
