"""Reading for people, sinks and metrics: a connection of its own that never stands in the writer's way.

Every answer is one look at what is committed at that moment. One reader a thread.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from sensor_guard.journal.backup import copy_to
from sensor_guard.journal.check import check
from sensor_guard.journal.codec import CodecError, storable
from sensor_guard.journal.connection import connect_reader
from sensor_guard.journal.errors import JournalCorruptError, translated
from sensor_guard.journal.migrations import require_newest
from sensor_guard.journal.numbers import last_batch, newest_seq, read_number
from sensor_guard.journal.rows import (
    ALARM_COLUMNS,
    NOTIFICATION_COLUMNS,
    OPEN_STATES,
    OutboxEntry,
    read_alarm,
    read_notification,
)
from sensor_guard.journal.tail import read_readings
from sensor_guard.journal.trail import TrailEntry
from sensor_guard.model import Alarm, Instant, NotificationKind, Quarantined, Reading, Transition

_MAX_SEQ = (1 << 63) - 1

_LAST_READINGS = """
SELECT s.home_id, s.sensor_id, q.name, l.value, l.observed_at, l.received_at, l.device_seq, l.flags, max(l.seq)
FROM (
    SELECT sensor, quantity, seq, value, observed_at, received_at, device_seq, flags FROM last_readings
    UNION ALL
    SELECT sensor, quantity, seq, value, observed_at, received_at, device_seq, flags FROM readings
    WHERE seq > (SELECT coalesce((SELECT value FROM meta WHERE key = 'last_readings_seq'), 0))
) AS l JOIN sensors AS s ON s.id = l.sensor JOIN quantities AS q ON q.id = l.quantity
WHERE ?1 IS NULL OR s.home_id = ?1
GROUP BY l.sensor, l.quantity ORDER BY s.home_id, s.sensor_id, q.name
"""

_TRAIL_COLUMNS = "seq, alarm_id, what, subject, before, after, at, recorded_at, reason, actor_id, note"


class AlarmStep(NamedTuple):
    """A transition with the severity of its alarm, for a sink."""

    transition: Transition
    severity: str


class Sizes(NamedTuple):
    """How large the journal is; cheap enough for every scrape of the metrics.

    ``first_seq`` and ``last_seq``: of the inputs that are kept; ``tail_seq``: a restart replays from there;
    ``texts``: state -> count, of the states from which more is to come; ``counters``: scope -> name -> count.
    """

    first_seq: int
    last_seq: int
    tail_seq: int
    last_now: Instant | None
    open_alarms: int
    texts: dict[str, int]
    quarantined: int
    counters: dict[str, dict[str, int]]
    cursors: dict[str, int]
    file_bytes: int
    wal_bytes: int


class Reader:
    """Answers from the journal. Use as a context manager, or ``close`` it."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the journal for reading, whether or not a daemon runs.

        Raises:
            JournalError: it is not there, damaged, or of another version.
        """
        db = connect_reader(path)
        try:
            require_newest(db, path)
        except BaseException:
            db.close()
            raise
        return cls(db, path)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    # -- alarms and texts -------------------------------------------------------------------------------------------

    def alarms(self, *, open_only: bool = False, home_id: str | None = None, limit: int = 100) -> list[Alarm]:
        """Give alarms, the newest first; ``open_only``: those that nobody has closed."""
        # Put together, because an index of open alarms is of no use to a condition that may be switched off.
        wanted = ["closed_at IS NULL"] * open_only + ["home_id = ?1"] * (home_id is not None)
        where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
        sql = f"SELECT {ALARM_COLUMNS} FROM alarms {where} ORDER BY raised_at DESC, alarm_id LIMIT ?2"  # noqa: S608
        rows = self._rows(sql, (home_id, limit))
        with self._readable():
            return [read_alarm(row) for row in rows]

    def alarm(self, alarm_id: str) -> Alarm | None:
        """Give one alarm."""
        found = self._rows(f"SELECT {ALARM_COLUMNS} FROM alarms WHERE alarm_id = ?", (storable(alarm_id),))  # noqa: S608
        with self._readable():
            return read_alarm(found[0]) if found else None

    def alarm_by_code(self, code: str) -> Alarm | None:
        """Give the alarm that a text with this code was about; of several, the one with the newest text."""
        found = self._rows(
            "SELECT alarm_id FROM outbox WHERE code = ? ORDER BY created_at DESC, rowid DESC LIMIT 1",
            (storable(code.strip().upper()),),
        )
        return self.alarm(found[0][0]) if found else None

    def codes(self, alarm_ids: Sequence[str]) -> dict[str, str]:
        """Give the code of each alarm's newest text: only where it names this alarm still, see ``alarm_by_code``."""
        rows = self._rows(
            "SELECT o.alarm_id, o.code FROM outbox AS o WHERE o.alarm_id IN (SELECT value FROM json_each(?))"
            # A closed alarm's code is given again: with the old one somebody would answer for another home.
            " AND NOT EXISTS (SELECT 1 FROM outbox AS n WHERE n.code = o.code AND n.alarm_id <> o.alarm_id"
            " AND (n.created_at, n.rowid) > (o.created_at, o.rowid)) ORDER BY o.created_at, o.rowid",
            (json.dumps(alarm_ids),),
        )
        return dict(rows)

    def untold(self, *, limit: int = 100) -> list[str]:
        """Give critical alarms that nobody has answered and whose newest texts nobody has taken, by their ids."""
        rows = self._rows(
            "SELECT a.alarm_id FROM alarms AS a WHERE a.closed_at IS NULL AND a.response = 'unanswered'"
            " AND a.severity = 'critical' AND EXISTS (SELECT 1 FROM outbox AS o WHERE o.alarm_id = a.alarm_id"
            " AND o.kind IN ('alarm', 'reminder') AND o.state NOT IN ('accepted', 'delivered', 'cancelled')"
            " AND o.created_at > coalesce((SELECT max(t.created_at) FROM outbox AS t WHERE t.alarm_id = a.alarm_id"
            " AND t.kind IN ('alarm', 'reminder') AND t.state IN ('accepted', 'delivered')), -1 << 62))"
            " ORDER BY a.raised_at LIMIT ?",
            (limit,),
        )
        return [row[0] for row in rows]

    def told_by_digest(self, code: str) -> list[tuple[str, str]] | None:
        """Give (alarm_id, code) of the open alarms that the digest with this code told, each once.

        None if the newest text with this code is no digest.
        """
        found = self._rows(
            "SELECT notification_id, kind FROM outbox WHERE code = ? ORDER BY created_at DESC, rowid DESC LIMIT 1",
            (storable(code.strip().upper()),),
        )
        if not found or found[0][1] != NotificationKind.DIGEST:
            return None
        return self._rows(
            "SELECT o.alarm_id, min(o.code) FROM outbox AS o JOIN alarms AS a USING (alarm_id)"
            " WHERE o.folded_into = ? AND a.closed_at IS NULL AND o.kind NOT IN ('stand_down', 'closed')"
            " GROUP BY o.alarm_id ORDER BY o.urgency, a.raised_at DESC",
            (found[0][0],),
        )

    def trail(self, alarm_id: str, *, limit: int = 10_000) -> list[TrailEntry]:
        """Give the audit of one alarm, oldest first; "": the newest of what concerns no alarm."""
        rows = self._rows(
            f"SELECT {_TRAIL_COLUMNS} FROM trail WHERE alarm_id = ? ORDER BY n DESC LIMIT ?",  # noqa: S608
            (storable(alarm_id), limit),
        )
        return [TrailEntry(*row) for row in reversed(rows)]

    def notifications(self, alarm_id: str) -> list[OutboxEntry]:
        """Give every text about one alarm, in the order in which they were wanted; "": the test texts."""
        rows = self._rows(
            f"SELECT {NOTIFICATION_COLUMNS}, reason, created_at, changed_at FROM outbox"  # noqa: S608
            " WHERE alarm_id = ? ORDER BY created_at, rowid",
            (storable(alarm_id),),
        )
        with self._readable():
            return [OutboxEntry(read_notification(row), *row[-3:]) for row in rows]

    # -- readings ---------------------------------------------------------------------------------------------------

    def last_readings(self, home_id: str | None = None) -> list[Reading]:
        """Give what each sensor said last, by quantity; of one home, or of all."""
        return [Reading(*row[:-1]) for row in self._rows(_LAST_READINGS, (home_id,))]

    def readings_after(self, seq: int, limit: int) -> list[tuple[int, Reading]]:
        """Give readings above ``seq``, in their order."""
        with translated(self._path):
            return read_readings(self._db, seq, _MAX_SEQ, limit)

    def rows_after(self, cursor: int, limit: int) -> Sequence[tuple[int, Reading | AlarmStep]]:
        """Give readings and the steps of alarms above ``cursor`` for a sink, in the order of seq.

        The same cursor always gives the same rows, but for those that retention has removed since.
        """
        with self._snapshot():
            rows: list[tuple[int, Reading | AlarmStep]] = [*read_readings(self._db, cursor, _MAX_SEQ, limit)]
            # Beyond the last reading of a full page there may be more readings in between.
            upto = rows[-1][0] if len(rows) == limit else _MAX_SEQ
            rows += [
                (row[0], AlarmStep(Transition(*row[1:9]), row[9]))
                for row in self._db.execute(
                    "SELECT t.seq, t.alarm_id, t.subject, t.before, t.after, t.at, t.reason, t.actor_id, t.note,"
                    " a.severity FROM trail AS t JOIN alarms AS a USING (alarm_id)"
                    " WHERE t.seq > ? AND t.seq <= ? AND t.what = 'transition' ORDER BY t.seq LIMIT ?",
                    (cursor, upto, limit),
                )
            ]
        rows.sort(key=lambda row: row[0])
        return rows[:limit]

    def head(self) -> int:
        """Give the highest seq of the journal, 0 where it is empty."""
        with translated(self._path):
            return newest_seq(self._db)

    # -- for the operator -------------------------------------------------------------------------------------------

    def quarantined(self, *, limit: int = 100) -> list[Quarantined]:
        """Give messages that could not be read, the newest first."""
        return [
            Quarantined(*row)
            for row in self._rows(
                "SELECT topic, payload, reason, detail, received_at FROM quarantine ORDER BY id DESC LIMIT ?", (limit,)
            )
        ]

    def refused(self, sink: str, *, limit: int = 10_000) -> list[Quarantined]:
        """Give the dead letters of a sink that it has not taken since, the oldest first."""
        return [
            Quarantined(*row)
            for row in self._rows(
                "SELECT topic, payload, reason, detail, received_at FROM quarantine"
                " WHERE reason = 'refused' AND topic LIKE ? ORDER BY id LIMIT ?",
                (f"{sink}/%", limit),
            )
        ]

    def sizes(self) -> Sizes:
        """Say how large the journal is and what is under way."""
        with self._snapshot():
            db = self._db
            newest = last_batch(db)
            first = db.execute(
                "SELECT coalesce(min(seq), 0) FROM"
                " (SELECT min(seq) AS seq FROM readings UNION ALL SELECT min(seq) FROM events)"
            ).fetchone()[0]
            counters: dict[str, dict[str, int]] = {}
            for scope, name, total in db.execute("SELECT scope, name, count FROM counters"):
                counters.setdefault(scope, {})[name] = total
            texts = {
                str(state): db.execute("SELECT count(*) FROM outbox WHERE state = ?", (state,)).fetchone()[0]
                for state in OPEN_STATES
            }
            return Sizes(
                first_seq=first,
                last_seq=newest[0] if newest else 0,
                tail_seq=read_number(db, "tail_seq"),
                last_now=newest[1] if newest else None,
                open_alarms=db.execute("SELECT count(*) FROM alarms WHERE closed_at IS NULL").fetchone()[0],
                texts=texts,
                quarantined=db.execute("SELECT count(*) FROM quarantine").fetchone()[0],
                counters=counters,
                cursors=dict(db.execute("SELECT sink, seq FROM cursors")),
                file_bytes=_bytes(self._path),
                wal_bytes=_bytes(self._path.with_name(self._path.name + "-wal")),
            )

    def backup(self, target: Path) -> None:
        """Copy the journal as it is at this moment, while the daemon goes on; on disk when this returns.

        Raises:
            JournalError: the target is there already, or cannot be written.
        """
        copy_to(self._db, self._path, target)

    def check(self, *, full: bool = False) -> list[str]:
        """Give every fault in words, an empty list if the journal is sound; ``full`` looks at every row."""
        with translated(self._path):
            return check(self._db, full=full)

    def _rows(self, sql: str, values: tuple[object, ...]) -> list[tuple]:  # type: ignore[type-arg]
        with translated(self._path):
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """What SQLite gives and we cannot read is damage like any other."""
        try:
            yield
        except (CodecError, ValueError, TypeError) as error:
            raise JournalCorruptError(self._path, f"a row: {error}") from error

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Several statements, one look."""
        with translated(self._path):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("ROLLBACK")


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
