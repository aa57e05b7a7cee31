"""Readings into the file: small integers for ids, and each redelivered reading only once."""

import sqlite3
from collections.abc import Sequence

from sensor_guard.journal.numbers import Numbers, read_number, write_meta
from sensor_guard.model import Reading

FLUSH_AFTER = 5_000
"""After so many seqs the sensors' last words are brought up to date: one statement, instead of an index on sensor
that every reading would pay for. A reader looks through at most this many newer rows."""

# The conflict names its index: every other broken constraint must fail the batch, not drop a reading.
_INSERT = """
INSERT INTO readings (seq, sensor, quantity, value, observed_at, received_at, device_seq, flags)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (observed_at, sensor, quantity, device_seq, value) WHERE flags & 1 DO NOTHING
"""

# SQLite takes the bare columns from the row that has the maximum.
_FLUSH = """
INSERT INTO last_readings (sensor, quantity, seq, value, observed_at, received_at, device_seq, flags)
SELECT sensor, quantity, max(seq), value, observed_at, received_at, device_seq, flags
FROM readings WHERE seq > ? AND seq <= ? GROUP BY sensor, quantity
ON CONFLICT (sensor, quantity) DO UPDATE SET
    seq = excluded.seq, value = excluded.value, observed_at = excluded.observed_at,
    received_at = excluded.received_at, device_seq = excluded.device_seq, flags = excluded.flags
"""


class ReadingTable:
    """The writer's side of sensors, quantities, readings and last_readings.

    The ids are kept in RAM for as long as the process lives: as many as there are configured sensors, because
    readings of unknown ones never come this far.
    """

    def __init__(self, db: sqlite3.Connection, numbers: Numbers) -> None:
        self._db = db
        self._numbers = numbers
        self._sensors: dict[tuple[str, str], int] = {}
        self._quantities: dict[str, int] = dict(db.execute("SELECT name, id FROM quantities"))
        self._new_sensors: list[tuple[str, str]] = []
        self._new_quantities: list[str] = []
        self._flushed = self._flushed_mark = read_number(db, "last_readings_seq")

    def append(self, readings: Sequence[Reading]) -> list[tuple[int, Reading]]:
        """Store readings in their order; what is there already is left out."""
        first = seq = self._numbers.next_seq
        sensors, quantities = self._sensors, self._quantities
        rows: list[tuple[int, int, int, float, int, int, int, int]] = []
        for home_id, sensor_id, quantity, value, observed_at, received_at, device_seq, flags in readings:
            sensor = sensors.get((home_id, sensor_id)) or self._add_sensor(home_id, sensor_id)
            kind = quantities.get(quantity) or self._add_quantity(quantity)
            rows.append((seq, sensor, kind, value, observed_at, received_at, device_seq, flags))
            seq += 1
        before = self._db.total_changes
        self._db.executemany(_INSERT, rows)
        stored = self._db.total_changes - before
        if stored == len(rows):
            self._numbers.next_seq = seq
            return list(zip(range(first, seq), readings, strict=True))
        if not stored:
            return []
        self._numbers.next_seq = seq
        there = {row[0] for row in self._db.execute("SELECT seq FROM readings WHERE seq >= ?", (first,))}
        return [(number, reading) for number, reading in enumerate(readings, first) if number in there]

    def flush(self) -> None:
        """Bring the sensors' last words up to date, if it is time."""
        newest = self._numbers.next_seq - 1
        if newest - self._flushed < FLUSH_AFTER:
            return
        self._db.execute(_FLUSH, (self._flushed, newest))
        write_meta(self._db, "last_readings_seq", newest)
        self._flushed = newest

    def settle(self) -> None:
        """The batch is on disk."""
        self._new_sensors.clear()
        self._new_quantities.clear()
        self._flushed_mark = self._flushed

    def revert(self) -> None:
        """The batch is not: forget the ids that it made."""
        for key in self._new_sensors:
            del self._sensors[key]
        for name in self._new_quantities:
            del self._quantities[name]
        self._flushed = self._flushed_mark
        self.settle()

    def _add_sensor(self, home_id: str, sensor_id: str) -> int:
        key = (home_id, sensor_id)
        row = self._db.execute("SELECT id FROM sensors WHERE home_id = ? AND sensor_id = ?", key).fetchone()
        if row is None:
            cursor = self._db.execute("INSERT INTO sensors (home_id, sensor_id) VALUES (?, ?)", key)
            row = (cursor.lastrowid,)
            self._new_sensors.append(key)
        self._sensors[key] = row[0]
        return int(row[0])

    def _add_quantity(self, name: str) -> int:
        cursor = self._db.execute("INSERT INTO quantities (name) VALUES (?)", (name,))
        assert cursor.lastrowid is not None
        self._quantities[name] = cursor.lastrowid
        self._new_quantities.append(name)
        return cursor.lastrowid
