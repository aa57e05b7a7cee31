"""The journal: the one durable truth on the box. One file, one writer, one transaction a batch."""

import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from sensor_guard.errors import JournalError
from sensor_guard.journal.batch import Batch, HomeState, Parts
from sensor_guard.journal.codec import CodecError, decode
from sensor_guard.journal.connection import BUSY_TIMEOUT, connect_reader, connect_writer
from sensor_guard.journal.errors import JournalCorruptError, translated
from sensor_guard.journal.head import keep_head
from sensor_guard.journal.lock import WriterLock
from sensor_guard.journal.migrations import migrate, require_newest, shipped
from sensor_guard.journal.numbers import Numbers, last_batch, read_number, read_text
from sensor_guard.journal.outbox import Outbox, code_for
from sensor_guard.journal.packets import RecentPackets
from sensor_guard.journal.prune import Pruned, make_room, prune
from sensor_guard.journal.quarantine import Quarantine
from sensor_guard.journal.reader import Reader
from sensor_guard.journal.readings import ReadingTable
from sensor_guard.journal.rows import NOTIFICATION_COLUMNS, OPEN_STATES, URGENCY, Row, read_notification
from sensor_guard.journal.tail import TailBatch, read_tail
from sensor_guard.journal.trail import Trail
from sensor_guard.model import Command, DeliveryReport, Instant, Notification, NotificationState, Span

T = TypeVar("T")

PRUNE_LIMIT = 5_000
"""Rows of a kind removed in one step: some 20 ms, so that a batch that waits behind it is not late."""


class StoredPlan(NamedTuple):
    """A configuration that was in force. ``body``: its canonical JSON text."""

    plan_hash: str
    body: str
    first_used_at: Instant


class Journal:
    """The writer's hand on the file; used on one thread. Others read through a ``Reader`` of their own.

    A journal that was opened with ``readonly`` answers everything but ``batch`` and ``prune``, and takes no lock: for
    back-tests on a copy.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, lock: WriterLock | None) -> None:
        self._db = db
        self._lock = lock
        self.path = path
        self._parts: Parts | None = None
        self._reader: Reader | None = None
        self._quarantine = Quarantine(db)
        self._salt = _salt(db, path)
        if lock is not None:
            numbers = Numbers(db)
            trail = Trail(db, numbers)
            self._parts = Parts(
                db=db,
                path=path,
                numbers=numbers,
                readings=ReadingTable(db, numbers),
                packets=RecentPackets(db),
                quarantine=self._quarantine,
                trail=trail,
                outbox=Outbox(db, trail, self._salt),
            )

    @classmethod
    def open(cls, path: Path, *, readonly: bool = False, busy_timeout: Span = BUSY_TIMEOUT) -> Self:
        """Open the journal, making it or bringing it to the newest layout where that is needed.

        busy_timeout: how long another program's lock on the file is waited for.

        Raises:
            AlreadyRunningError: another process writes this journal.
            JournalCorruptError: the file is damaged, or no journal.
            JournalVersionError: a newer version wrote it (or, with ``readonly``, an older one).
            JournalError: anything else, see ``journal.errors``.
        """
        if readonly:
            return cls._open_readonly(path)
        lock = WriterLock(path)
        db: sqlite3.Connection | None = None
        try:
            db = connect_writer(path, busy_timeout=busy_timeout)
            migrate(db, path, shipped())
            with translated(path):
                return cls(db, path, lock)
        except BaseException:
            if db is not None:
                db.close()
            lock.release()
            raise

    @classmethod
    def _open_readonly(cls, path: Path) -> Self:
        db = connect_reader(path)
        try:
            require_newest(db, path)
            with translated(path):
                return cls(db, path, None)
        except BaseException:
            db.close()
            raise

    def close(self) -> None:
        """Close the file and let the next writer in. Nothing is lost: what was acknowledged is on disk."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._db.close()
        self._parts = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    # -- writing ----------------------------------------------------------------------------------------------------

    def batch(self, now: Instant) -> Batch:
        """Begin a transaction; ``now`` is what the engine is fed with. See ``Batch``.

        Raises:
            JournalUnavailableError: the file cannot be written now.
        """
        return Batch(self._writer(), now)

    def prune(self, now: Instant, *, keep_readings: Span, keep_alarms: Span, limit: int = PRUNE_LIMIT) -> Pruned:
        """Take one step of retention, in a transaction of its own; ``limit``: rows of a kind. See ``prune``."""
        return self._remove(lambda: prune(self._db, now, keep_readings, keep_alarms, limit))

    def make_room(self, now: Instant, *, limit: int = PRUNE_LIMIT) -> Pruned:
        """Take one step for a full disk, in a transaction of its own. See ``make_room``."""
        return self._remove(lambda: make_room(self._db, now, limit))

    def _remove(self, step: Callable[[], Pruned]) -> Pruned:
        parts = self._writer()
        with translated(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                pruned = step()
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        if pruned.quarantined:
            parts.quarantine.forget()
        return pruned

    def keep_head(self) -> None:
        """Keep the pages that say where everything is a second time. See ``head``."""
        self._writer()
        with translated(self.path):
            keep_head(self._db, self.path)

    def take_over(self, fill: Callable[[sqlite3.Connection], T]) -> T:
        """Let ``fill`` write into a new journal behind its back; it must be opened anew before it is used."""
        self._writer()
        return fill(self._db)

    def free_bytes(self) -> int:
        """Say how much of the file is free to be written again: it does not get smaller by what is removed."""
        with translated(self.path):
            pages: int = self._db.execute("PRAGMA freelist_count").fetchone()[0]
            size: int = self._db.execute("PRAGMA page_size").fetchone()[0]
        return pages * size

    def checkpoint(self) -> None:
        """Move what the -wal file holds into the journal, and cut it; for a quiet moment."""
        self._writer()
        with translated(self.path):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # -- starting again ---------------------------------------------------------------------------------------------

    @property
    def last_seq(self) -> int:
        """The seq of the newest batch, 0 where nothing was ever fed."""
        with translated(self.path):
            newest = last_batch(self._db)
        return newest[0] if newest else 0

    def last_now(self) -> Instant | None:
        """Say what time it was at the newest batch, None where nothing was ever fed."""
        with translated(self.path):
            newest = last_batch(self._db)
        return newest[1] if newest else None

    def tail_seq(self) -> int:
        """Say up to where the saved states reach, 0 where none were saved."""
        with translated(self.path):
            return read_number(self._db, "tail_seq")

    def engine_state(self) -> str | None:
        """Give the engine's own state at ``tail_seq`` (JSON text), None where none was saved."""
        with translated(self.path):
            return read_text(self._db, "engine_state")

    def home_states(self) -> Iterator[HomeState]:
        """Give every saved home; ``wakes_at`` is None as well where the state is no JSON."""
        with translated(self.path):
            cursor = self._db.execute(
                "SELECT home_id, upto_seq, schema, plan_hash, state,"
                " iif(json_valid(state), wakes_at, NULL), seen_until FROM home_state"
            )
            while page := cursor.fetchmany(500):
                yield from (HomeState(*row) for row in page)

    def tail(self) -> Iterator[TailBatch]:
        """Give every batch behind ``tail_seq`` as it was fed, oldest first.

        It ends with the batch that is the newest when it begins: what is fed meanwhile is fed once.
        """
        with translated(self.path):
            yield from read_tail(self._db, read_number(self._db, "tail_seq"), self.last_seq)

    def commands_since(self, seq: int) -> list[Command]:
        """Give what people asked for behind ``seq``, in its order, as far as it can be read."""
        found = []
        with translated(self.path):
            rows = self._db.execute(
                "SELECT kind, body FROM events WHERE seq > ? AND kind = 'command' ORDER BY seq", (seq,)
            )
            for kind, body in rows:
                with suppress(CodecError):
                    item = decode(kind, body)
                    if isinstance(item, Command):
                        found.append(item)
        return found

    def plan(self, plan_hash: str) -> StoredPlan | None:
        """Give a configuration that was ever in force and is still needed."""
        with translated(self.path):
            row = self._db.execute(
                "SELECT hash, body, first_used_at FROM plans WHERE hash = ?", (plan_hash,)
            ).fetchone()
        if row is None:
            return None
        try:
            return StoredPlan(row[0], zlib.decompress(row[1]).decode("utf-8"), row[2])
        except (zlib.error, UnicodeDecodeError) as error:
            raise JournalCorruptError(self.path, f"plan {plan_hash}: {error}") from error

    def last_plan(self) -> StoredPlan | None:
        """Give the configuration that was in force last, None on a new box."""
        with translated(self.path):
            plan_hash = read_text(self._db, "plan_hash")
        return None if plan_hash is None else self.plan(plan_hash)

    def cursor(self, sink: str) -> int | None:
        """Say how far a sink had come, None where it is new."""
        with translated(self.path):
            row = self._db.execute("SELECT seq FROM cursors WHERE sink = ?", (sink,)).fetchone()
        return None if row is None else int(row[0])

    # -- texts ------------------------------------------------------------------------------------------------------

    def outbox_open(self) -> list[Notification]:
        """Give every text of which more is to come: pending, sending, accepted or ambiguous; oldest first.

        Those that a digest tells are left out: the digest is sent, not they.
        """
        with translated(self.path):
            rows = self._db.execute(
                f"SELECT {NOTIFICATION_COLUMNS} FROM outbox"  # noqa: S608
                f" WHERE state IN ({', '.join('?' for _ in OPEN_STATES)}) AND folded_into IS NULL"
                " ORDER BY created_at, rowid",
                OPEN_STATES,
            ).fetchall()
        return self._texts(rows)

    def code_of(self, notification_id: str) -> str:
        """Give the code that a text would have, without looking at the file: for one that goes out unstored."""
        return code_for(self._salt, notification_id, 0)

    def was_committed(self, lane: str, packet_id: int, payload: bytes) -> bool:
        """Say whether a packet was committed before, without looking at the file. See ``Batch.seen_packet``."""
        return self._writer().packets.was_committed(lane, packet_id, payload)

    def next_text_at(self, *, critical_only: bool = False) -> Instant | None:
        """Say when the next waiting text is due, None if none waits."""
        with translated(self.path):
            due: Instant | None = self._db.execute(
                "SELECT min(due_at) FROM outbox INDEXED BY outbox_waiting"
                " WHERE state = 'pending' AND folded_into IS NULL AND urgency <= ?",
                (0 if critical_only else len(URGENCY),),
            ).fetchone()[0]
        return due

    def critical_unsent(self, limit: int) -> list[Notification]:
        """Give the calls for help of which nobody knows that they were sent, the newest alarm's first."""
        with translated(self.path):
            rows = self._db.execute(
                f"SELECT {NOTIFICATION_COLUMNS} FROM outbox"  # noqa: S608
                " WHERE state IN ('pending', 'sending', 'ambiguous') AND urgency = 0"
                " AND kind IN ('alarm', 'reminder', 'unclosed') ORDER BY alarm_at DESC, rowid LIMIT ?",
                (limit,),
            ).fetchall()
        return self._texts(rows)

    def _texts(self, rows: list[Row]) -> list[Notification]:
        try:
            return [read_notification(row) for row in rows]
        except (CodecError, ValueError, TypeError) as error:
            raise JournalCorruptError(self.path, f"a text: {error}") from error

    def texts_tried_between(self, since: Instant, now: Instant) -> list[tuple[str, Instant, str]]:
        """Give (recipient_id, attempted_at, kind) of every text that was tried since then: a person's day so far.

        What was tried after ``now`` was tried before the clock was set back: of the last day's texts the times were
        moved with it, and older ones are no part of this day.
        """
        with translated(self.path):
            return self._db.execute(
                "SELECT recipient_id, attempted_at, kind FROM outbox WHERE attempted_at BETWEEN ? AND ?"
                " ORDER BY attempted_at",
                (since, now),
            ).fetchall()

    def ambiguous_at_start(self, now: Instant) -> list[DeliveryReport]:
        """Give a report for every text found ``sending``: its reply may have been lost with the last process.

        To be handled like a worker's reports (``Batch.report``, fed to the engine) before anything is sent.
        """
        with translated(self.path):
            rows = self._db.execute(
                "SELECT notification_id FROM outbox WHERE state = 'sending' AND folded_into IS NULL ORDER BY rowid"
            )
            return [
                DeliveryReport(row[0], NotificationState.AMBIGUOUS, now, reason="found_sending_at_start")
                for row in rows
            ]

    # -- reading ----------------------------------------------------------------------------------------------------

    @property
    def reader(self) -> Reader:
        """A reader for this thread, on a connection of its own."""
        if self._reader is None:
            self._reader = Reader.open(self.path)
        return self._reader

    def backup(self, target: Path) -> None:
        """See ``Reader.backup``."""
        self.reader.backup(target)

    def check(self, *, full: bool = False) -> list[str]:
        """See ``Reader.check``."""
        return self.reader.check(full=full)

    def _writer(self) -> Parts:
        if self._parts is None:
            raise JournalError(f"{self.path}: closed, or opened for reading only")
        return self._parts


def _salt(db: sqlite3.Connection, path: Path) -> bytes:
    row = db.execute("SELECT value FROM meta WHERE key = 'salt'").fetchone()
    if row is None or not isinstance(row[0], bytes):
        raise JournalCorruptError(path, "the salt is missing")
    return row[0]
