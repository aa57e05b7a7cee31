"""The one number space of the journal, and what several parts of a batch share."""

import sqlite3

from sensor_guard.model import Instant

_NEWEST = """
SELECT max(
    (SELECT coalesce(max(seq), 0) FROM batches), (SELECT coalesce(max(seq), 0) FROM readings),
    (SELECT coalesce(max(seq), 0) FROM events), (SELECT coalesce(max(seq), 0) FROM trail),
    coalesce((SELECT value FROM meta WHERE key = 'last_seq'), 0))
"""


class Numbers:
    """Gives out seqs, and takes them back when a batch fails. ``next_seq``: the next one; the first is 1."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.next_seq: int = newest_seq(db) + 1
        self._mark = self.next_seq

    def take(self) -> int:
        """Give the next number."""
        seq = self.next_seq
        self.next_seq = seq + 1
        return seq

    def settle(self) -> None:
        """The batch is on disk."""
        self._mark = self.next_seq

    def revert(self) -> None:
        """The batch is not: the same inputs will get the same numbers."""
        self.next_seq = self._mark


def newest_seq(db: sqlite3.Connection) -> int:
    """Read the highest number ever given to a row, 0 where there is none."""
    seq: int = db.execute(_NEWEST).fetchone()[0]
    return seq


def count(db: sqlite3.Connection, scope: str, name: str, by: int = 1) -> None:
    """Add to a persistent counter."""
    db.execute(
        "INSERT INTO counters (scope, name, count) VALUES (?, ?, ?)"
        " ON CONFLICT (scope, name) DO UPDATE SET count = count + excluded.count",
        (scope, name, by),
    )


def write_meta(db: sqlite3.Connection, key: str, value: int | str | bytes) -> None:
    """Keep one value under its name."""
    db.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def read_number(db: sqlite3.Connection, key: str) -> int:
    """Read a number of meta, 0 where it was never written."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return int(row[0]) if row else 0


def read_text(db: sqlite3.Connection, key: str) -> str | None:
    """Read a text of meta, None where it was never written."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else None


def last_batch(db: sqlite3.Connection) -> tuple[int, Instant] | None:
    """Read the newest batch as (seq, now), None where nothing was ever fed."""
    row = db.execute("SELECT seq, now FROM batches ORDER BY seq DESC LIMIT 1").fetchone()
    return (row[0], row[1]) if row else None
