"""Is the journal sound? SQLite's own check, and what must hold between the tables."""

import sqlite3
from collections.abc import Callable

from sensor_guard.errors import JournalError
from sensor_guard.journal.codec import decode
from sensor_guard.journal.numbers import newest_seq
from sensor_guard.journal.rows import ALARM_COLUMNS, NOTIFICATION_COLUMNS, read_alarm, read_notification

SHOWN = 20
"""Most rows named by one fault; the rest are the same fault."""

# Each query gives the rows that should not be there; {} is filled with the row.
_INVARIANTS = (
    (
        "text {} belongs to no alarm",
        "SELECT notification_id FROM outbox LEFT JOIN alarms USING (alarm_id)"
        " WHERE alarms.alarm_id IS NULL AND outbox.alarm_id <> ''",
    ),
    (
        "alarm {} has no first transition in the trail",
        "SELECT alarm_id FROM alarms WHERE NOT EXISTS (SELECT 1 FROM trail WHERE trail.alarm_id = alarms.alarm_id"
        " AND n = 1 AND what = 'transition' AND before = '')",
    ),
    (
        "the trail of alarm {} has a gap",
        "SELECT alarm_id FROM trail WHERE alarm_id <> '' GROUP BY alarm_id HAVING count(*) <> max(n)",
    ),
    (
        "the trail of what concerns no alarm has a gap{}",
        "SELECT '' FROM trail WHERE alarm_id = '' GROUP BY alarm_id HAVING count(*) <> max(n) - min(n) + 1",
    ),
    ("trail row of no alarm: {}", "SELECT alarm_id FROM trail WHERE alarm_id NOT IN (SELECT alarm_id FROM alarms)"
                                  " AND alarm_id <> '' GROUP BY alarm_id"),
    ("seq {} is an event and a reading", "SELECT seq FROM events JOIN readings USING (seq)"),
    (
        "seq {} lies behind the last batch and would never be replayed",
        "SELECT seq FROM (SELECT max(seq) AS seq FROM readings UNION ALL SELECT max(seq) FROM events)"
        " WHERE seq > (SELECT coalesce(max(seq), 0) FROM batches)",
    ),
    (
        "a removal of trail rows was left open: {}",
        "SELECT alarm_id FROM pruning",
    ),
)  # fmt: skip

_BOUNDED = (
    ("the cursor of sink {} lies behind the end of the journal", "SELECT sink FROM cursors WHERE seq > ?"),
    ("the state of home {} lies behind the end of the journal", "SELECT home_id FROM home_state WHERE upto_seq > ?"),
    ("{} lies behind the end of the journal", "SELECT key FROM meta WHERE key = 'tail_seq' AND value > ?"),
)


def check(db: sqlite3.Connection, *, full: bool) -> list[str]:
    """Give every fault in words, an empty list if the journal is sound; one consistent look at it.

    ``full``: every index against its table and every row read back; takes minutes for some GB.
    """
    db.execute("BEGIN")
    try:
        faults = _sqlite_faults(db, full=full)
        if faults:  # what stands in damaged pages says nothing
            return faults
        faults = _dangling(db)
        newest = newest_seq(db)
        for text, sql in _INVARIANTS:
            faults += [text.format(row[0]) for row in db.execute(f"{sql} LIMIT {SHOWN}")]
        for text, sql in _BOUNDED:
            faults += [text.format(row[0]) for row in db.execute(f"{sql} LIMIT {SHOWN}", (newest,))]
        faults += unreadable(db, full=full)
        return faults
    finally:
        db.execute("ROLLBACK")


def _sqlite_faults(db: sqlite3.Connection, *, full: bool) -> list[str]:
    try:
        found = db.execute(f"PRAGMA {'integrity_check' if full else 'quick_check'}({SHOWN})").fetchall()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        return [f"SQLite: {error}"]
    return [f"SQLite: {row[0]}" for row in found if row[0] != "ok"]


def _dangling(db: sqlite3.Connection) -> list[str]:
    return [
        f"{row[0]} row {row[1]} refers to a row of {row[2]} that is not there"
        for row in db.execute("PRAGMA foreign_key_check").fetchmany(SHOWN)
    ]


def unreadable(db: sqlite3.Connection, *, full: bool) -> list[str]:
    """Name alarms and texts, and with ``full`` events, that the program itself cannot read back."""
    faults: list[str] = []
    readers: list[tuple[str, str, Callable[[tuple[str, ...]], object]]] = [
        ("alarm", f"SELECT {ALARM_COLUMNS} FROM alarms", read_alarm),  # noqa: S608
        ("text", f"SELECT {NOTIFICATION_COLUMNS} FROM outbox", read_notification),  # noqa: S608
    ]
    if full:
        readers.append(("event", "SELECT kind, body FROM events", lambda row: decode(*row)))
    for noun, sql, read in readers:
        for row in db.execute(sql):
            try:
                read(row)
            except (JournalError, ValueError, TypeError) as error:
                faults.append(f"{noun} {row[0]} cannot be read: {error}")
                if len(faults) >= SHOWN:
                    return faults
    return faults
