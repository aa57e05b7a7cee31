"""Reads what can be read of a damaged journal, table by table, into a new one.

What people live by goes first: open alarms and their texts, the audit, the homes' states; readings go last, the newest
first, within what is left of the time. A row goes over as it is, if the new file takes it and the codec can read it;
what lies on a damaged page is found by halving the range of rowids around it.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensor_guard.errors import JournalError
from sensor_guard.journal.codec import decode, encode_evidence
from sensor_guard.journal.errors import SQLITE_FAILED, translated
from sensor_guard.journal.head import copy_with_head, remove_copy
from sensor_guard.journal.numbers import newest_seq, read_number, write_meta
from sensor_guard.journal.rows import ALARM_COLUMNS, NOTIFICATION_COLUMNS, read_alarm, read_notification
from sensor_guard.model import Evidence, Truth

FAILED_LIMIT = 5_000
"""Failed looks into one table; then the rest of what is damaged in it is given up: some 200 ms."""
PAGE = 2_000
"""Rows read at once, and committed at once."""

# Any: rows of a file that nobody trusts; STRICT tables and the codec decide what goes over.
Row = tuple[Any, ...]


@dataclass(slots=True)
class Salvaged:
    """What came over. ``lost``: tables of which something could not be read, or did not go over for lack of time."""

    kept: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    lost_reading: int = 0
    """The highest seq at which a reading may be missing."""
    tail_seq: int = 0

    @property
    def is_whole(self) -> bool:
        """Say whether a restart finds everything that it needs, so that it comes to the very same state."""
        return not _OF_A_START & self.lost.keys() and self.lost_reading <= self.tail_seq


_ORDER = (
    "meta", "alarms", "outbox", "trail", "plans", "home_state", "cursors", "batches", "events", "sensors",
    "quantities", "recent_packets", "counters", "last_readings", "readings", "quarantine",
)  # fmt: skip
_OF_A_START = {"meta", "alarms", "outbox", "plans", "home_state", "batches", "events", "sensors", "quantities"}
_NEWEST_FIRST = {"readings", "quarantine", "trail"}
_WITHOUT_ROWID = {"meta", "recent_packets", "counters", "cursors", "last_readings"}

# What the program itself must be able to read back; the first columns of each row, as its reader wants them.
_READERS: dict[str, tuple[str, Callable[[Row], object]]] = {
    "alarms": (ALARM_COLUMNS, read_alarm),
    "outbox": (NOTIFICATION_COLUMNS, read_notification),
    "events": ("kind, body", lambda row: decode(row[0], row[1])),
}

_DETAILS: dict[str, tuple[tuple[str, str], ...]] = {
    "alarms": (("evidence", encode_evidence(Evidence(0, 0, 0))), ("condition", Truth.UNKNOWN)),
    "outbox": (("params", "[]"),),
}
"""What a row can be without, and what stands there instead."""


def salvage(path: Path, target: sqlite3.Connection, *, is_late: Callable[[], bool]) -> Salvaged:
    """Copy what can be read of ``path`` into ``target``, a new and empty journal.

    is_late: asked between two pages of readings and of unreadable messages; what is not there by then is lost.

    Raises:
        JournalUnavailableError: the new file cannot be written.
    """
    salvaged = Salvaged()
    with translated(path):
        target.execute("PRAGMA foreign_keys = OFF")
        source = _open(path)
        copy = None
        if source is None:
            copy = copy_with_head(path)
            source = None if copy is None else _open(copy)
        if source is None:
            salvaged.lost = dict.fromkeys(_ORDER, 1)
            return salvaged
        with ExitStack() as stack:
            if copy is not None:
                stack.callback(remove_copy, copy)
            stack.enter_context(closing(source))
            for table in [*_ORDER, *_others(target)]:
                _Table(source, target, table, salvaged).copy(is_late if table in ("readings", "quarantine") else None)
                if table == "meta":
                    salvaged.tail_seq = read_number(target, "tail_seq")
        _settle(target)
    return salvaged


def _open(path: Path) -> sqlite3.Connection | None:
    # Read only: closing another kind of connection would write the -wal file's pages into the damaged file.
    for mode in ("mode=ro", "immutable=1"):
        with suppress(*SQLITE_FAILED):
            db = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
            try:
                db.text_factory = _any_text
                names = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
                if not {"alarms", "outbox", "home_state"} <= names:
                    raise sqlite3.DatabaseError("what it says of its tables is damaged")
            except SQLITE_FAILED:
                db.close()
                raise
            return db
    return None


def _any_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


class _Table:
    """One table's way over."""

    def __init__(self, source: sqlite3.Connection, target: sqlite3.Connection, name: str, salvaged: Salvaged) -> None:
        self._source, self._target, self._name, self._salvaged = source, target, name, salvaged
        # The damaged file may be of an older layout, the new one never is.
        there = _columns(source, name)
        self._columns = [column for column in _columns(target, name) if column in there]
        self._failed = 0
        self._has_rowid = name not in _WITHOUT_ROWID
        reader = _READERS.get(name)
        # Where the layout itself is damaged columns are missing, too: then the new file's own limits judge each row.
        is_whole = reader is not None and set(_names(reader[0])) <= set(self._columns)
        self._check = (_places(reader[0], self._columns), reader[1]) if reader is not None and is_whole else None

    def copy(self, is_late: Callable[[], bool] | None) -> None:
        name, salvaged = self._name, self._salvaged
        if not self._columns:
            salvaged.lost[name] = 1
            return
        kept = lost = 0
        pages = self._pages() if self._has_rowid else self._whole()
        for rows in pages:
            if is_late is not None and is_late():
                lost += 1
                if name == "readings" and rows:
                    salvaged.lost_reading = max(salvaged.lost_reading, int(rows[0][1]))
                break
            self._target.execute("BEGIN IMMEDIATE")
            taken = [self._take(row) for row in rows]
            self._target.execute("COMMIT")
            kept += sum(taken)
            lost += len(taken) - sum(taken)
        if kept:
            salvaged.kept[name] = kept
        if lost or self._failed:
            salvaged.lost[name] = lost + self._failed

    def _take(self, row: Row) -> bool:
        """Put one row into the new file; False if it is no row of ours."""
        if self._put(row):
            return True
        # An alarm is an alarm, and a text a text, though why it rose cannot be read any more.
        for column, instead in _DETAILS.get(self._name, ()):
            place = 1 + self._columns.index(column)
            row = (*row[:place], instead, *row[place + 1 :])
            if self._put(row):
                return True
        return False

    def _put(self, row: Row) -> bool:
        values = row[1:]
        if self._name == "meta" and values[0] == "salt" and not (isinstance(values[1], bytes) and len(values[1]) == 16):
            return False  # the new file has one
        try:
            if self._check is not None:
                places, read = self._check
                read(tuple(values[place] for place in places))
            rowid = self._has_rowid
            columns = ["rowid", *self._columns] if rowid else self._columns
            sql = f"INSERT INTO {self._name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
            if self._name == "meta":
                sql = sql.replace("INSERT", "INSERT OR REPLACE", 1)  # the new file has a salt of its own
            self._target.execute(sql, row if rowid else values)
        except (sqlite3.IntegrityError, sqlite3.DataError, JournalError, ValueError, TypeError, OverflowError):
            return False
        return True

    def _pages(self) -> Iterator[list[Row]]:
        """Read by ranges of rowids, the newest first where there may be no time for all."""
        newest = self._name in _NEWEST_FIRST
        ranges = [self._range()]
        while ranges and self._failed < FAILED_LIMIT:
            low, high = ranges.pop()
            if low > high:
                continue
            rows, is_broken = self._read(low, high, backwards=newest)
            if rows:
                yield rows
                if newest:
                    high = rows[-1][0] - 1
                else:
                    low = rows[-1][0] + 1
            if not is_broken:
                if len(rows) == PAGE:
                    ranges.append((low, high))
                continue
            self._failed += 1
            if self._name == "readings":
                self._salvaged.lost_reading = max(self._salvaged.lost_reading, high)
            if low == high:
                continue
            middle = (low + high) // 2
            halves = [(low, middle), (middle + 1, high)]
            ranges += halves if newest else reversed(halves)

    def _read(self, low: int, high: int, *, backwards: bool) -> tuple[list[Row], bool]:
        """Read up to a page of rows from one end of a range; and whether something stood in the way."""
        rows: list[Row] = []
        sql = (
            f"SELECT rowid, {', '.join(self._columns)} FROM {self._name} NOT INDEXED WHERE rowid BETWEEN ? AND ?"  # noqa: S608
            f" ORDER BY rowid {'DESC' if backwards else 'ASC'} LIMIT {PAGE}"
        )
        last = high + 1 if backwards else low - 1
        try:
            for row in self._source.execute(sql, (low, high)):
                # A damaged tree may lead in a circle, or give rows that are not of the range.
                in_order = low <= row[0] < last if backwards else last < row[0] <= high
                if not in_order:
                    return rows, True
                rows.append(row)
                last = row[0]
        except (*SQLITE_FAILED, OverflowError):
            return rows, True
        return rows, False

    def _range(self) -> tuple[int, int]:
        edges = []
        for edge, otherwise in (("min", 1), ("max", 1 << 40)):
            try:
                found = self._source.execute(f"SELECT {edge}(rowid) FROM {self._name} NOT INDEXED").fetchone()[0]  # noqa: S608
            except SQLITE_FAILED:
                found = otherwise
                self._failed += 1
            edges.append(0 if found is None else found)
        return edges[0], edges[1]

    def _whole(self) -> Iterator[list[Row]]:
        """Read a small table from both ends; rows that come twice do not go over twice."""
        seen: set[Row] = set()
        for order in ("ASC", "DESC"):
            rows = []
            sql = f"SELECT {', '.join(self._columns)} FROM {self._name} ORDER BY 1 {order}"  # noqa: S608
            try:
                for row in self._source.execute(sql):
                    if row not in seen:
                        seen.add(row)
                        rows.append((0, *row))
            except (*SQLITE_FAILED, OverflowError):
                self._failed += 1
            for start in range(0, len(rows), PAGE):
                yield rows[start : start + PAGE]


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def _others(db: sqlite3.Connection) -> list[str]:
    """Name tables that a later layout has added."""
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1")
    return [name for (name,) in tables if name not in (*_ORDER, "pruning")]


def _names(wanted: str) -> list[str]:
    return [name.strip() for name in wanted.split(",")]


def _places(wanted: str, columns: list[str]) -> list[int]:
    return [columns.index(name) for name in _names(wanted)]


def _settle(db: sqlite3.Connection) -> None:
    """No number is given twice, and nothing refers to a row that did not come over."""
    for table in ("readings", "last_readings"):
        db.execute(
            f"DELETE FROM {table} WHERE sensor NOT IN (SELECT id FROM sensors)"  # noqa: S608
            " OR quantity NOT IN (SELECT id FROM quantities)"
        )
    highest: int = db.execute(
        "SELECT max(coalesce((SELECT max(seq) FROM cursors), 0), coalesce((SELECT max(upto_seq) FROM home_state), 0),"
        " coalesce((SELECT value FROM meta WHERE key = 'tail_seq'), 0))"
    ).fetchone()[0]
    write_meta(db, "last_seq", max(newest_seq(db), int(highest)))
