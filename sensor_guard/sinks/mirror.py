"""Follows the journal with a cursor and hands its rows to a sink, whatever the sink does.

Owns no thread: parts.py calls ``step`` in a loop and waits as long as it says. The cursor moves only after the sink
has stored the rows, so a crash repeats a write and never leaves one out; the sink stores a row twice as once.

What happens to a write that fails (``SinkFailure``):

outage         the same rows again, without end: full-jitter back-off from 1 s to 5 min, or the server's Retry-After
misconfigured  the same rows again every minute, until a person has mended it
too_large      half as many rows from now on
expired        the rows that are older than what the server keeps are left out, the others written again
refused        a known-good row first: if that fails too, nothing is wrong with our rows, and they are kept.
               Else half of them, and half again, down to the single row, which goes to the dead letters
server_error   an outage; the third time running, refused

A fault begins with the first outage or misconfiguration and ends with the next rows that are stored.
"""

import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import structlog

from sensor_guard.model import MINUTE, SECOND, Fault, Instant, Reading, Span
from sensor_guard.sinks.protocol import (
    AlarmEvent,
    ReadingSink,
    Row,
    RowSource,
    SinkError,
    SinkFailure,
    instant_of,
)

BATCH_LIMIT = 5_000
"""Most rows of one write: about 500 kB of lines, 60 kB on the wire."""
LINGER: Span = SECOND
"""Pause after a write that emptied the backlog, so that a trickle is not one request a reading."""
BACKOFF_FIRST: Span = SECOND
BACKOFF_LIMIT: Span = 5 * MINUTE
PAUSE: Span = MINUTE
"""Between two tries of something that only a person can mend."""
SERVER_ERROR_LIMIT = 3
"""So many 500s running for the same rows, and the rows themselves are suspected."""
DEAD_LIMIT = 100
"""So many dead letters running are no coincidence: a pause and a fault before the next hundred."""

log = structlog.get_logger(__name__)


class DeadLetter(NamedTuple):
    """A row that the sink will not have. ``line``: as it was sent; ``detail``: the server's words."""

    seq: int
    line: str
    detail: str
    at: Instant


class MirrorState(StrEnum):
    """What the mirror is at, for ``status`` and metrics."""

    STARTING = "starting"  # no write has been tried yet
    CURRENT = "current"  # everything is stored
    BEHIND = "behind"  # storing; there is more
    OUTAGE = "outage"
    MISCONFIGURED = "misconfigured"


@dataclass(frozen=True, slots=True)
class MirrorStatus:
    """How it stands. ``depth``: seqs of the journal that are not stored, at most (not every seq is a row).

    ``age``: of the oldest row that is not stored, in ms, 0 if there is none. ``last_error`` stays after the
    recovery, with ``last_error_at``. The counts are since the start; an expired row was older than what the server
    keeps.
    """

    state: MirrorState
    cursor: int
    depth: int
    age: Span
    last_error: str
    last_error_at: Instant | None
    last_stored_at: Instant | None
    stored_count: int
    failed_count: int
    dead_count: int
    expired_count: int


class Mirror:
    """One sink's cursor. ``step`` and ``resume`` are called on one thread; ``status`` on any.

    ``cursor``: seq of the last row stored before. ``save_cursor`` and ``bury`` hand their argument to whoever writes
    the journal, in the order of the calls: a dead letter always before the cursor that passes it. ``report`` takes
    the fault ``<name>_offline``.
    """

    def __init__(  # noqa: PLR0913 - all but two are named at the call
        self,
        sink: ReadingSink,
        source: RowSource,
        *,
        cursor: int,
        save_cursor: Callable[[int], None],
        bury: Callable[[DeadLetter], None],
        report: Callable[[Fault], None],
        name: str = "influxdb",
        limit: int = BATCH_LIMIT,
        jitter: random.Random | None = None,
    ) -> None:
        self._sink = sink
        self._source = source
        self._save_cursor = save_cursor
        self._bury = bury
        self._report = report
        self._name = name
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads boxes in time, guards no secret
        self._cursor = cursor
        self._limit = limit
        # Seqs up to which a piece of refused rows reaches, the smallest last. Each refusal adds one, halfway to the
        # last one: at most log2(limit) of them.
        self._pieces: list[int] = []
        self._expired: set[int] = set()  # seqs of the rows before us that the server does not keep any more
        self._wait_from: Instant = 0
        self._wait: Span = 0
        self._failures = 0  # running, for the back-off
        self._server_errors = 0  # running, for the same rows
        self._dead = 0  # running
        self._told: SinkFailure | None = None  # what the last report said; None: that all is well
        self._told_once = False
        self._state = MirrorState.STARTING
        self._head = cursor
        self._oldest_at: Instant | None = None
        self._last_error = ""
        self._last_error_at: Instant | None = None
        self._last_stored_at: Instant | None = None
        self._stored_count = self._failed_count = self._dead_count = self._expired_count = 0

    def step(self, now: Instant) -> float:
        """Do at most one write (and a probe), and say for how many seconds there is nothing to do.

        A call before that time does no harm and writes nothing while a wait for the server lasts.
        """
        # A wall clock set back would make the wait as long as the step: then it ends at once.
        remaining = self._wait_from + self._wait - now if now >= self._wait_from else 0
        if remaining > 0:
            return remaining / SECOND
        self._wait = 0
        self._head = self._source.head()
        rows = self._next_rows()
        if not rows:
            self._oldest_at = None
            if self._state is MirrorState.BEHIND:
                self._state = MirrorState.CURRENT
            return LINGER / SECOND
        self._oldest_at = instant_of(rows[0])
        more = len(rows) >= self._limit or bool(self._pieces)
        kept = [row for row in rows if row[0] not in self._expired]
        try:
            if kept:
                self._attempt(lambda: self._sink.write(kept))
        except SinkError as error:
            return self._failed(error, rows, kept, now)
        self._stored(rows, kept, now)
        if more:
            return 0.0
        self._oldest_at = None
        self._state = MirrorState.CURRENT
        return self._pause(LINGER, now)

    def resume(self) -> None:
        """Try at once: the configuration or a secret has changed."""
        self._wait = 0
        self._sink.close()

    def status(self, now: Instant) -> MirrorStatus:
        """Say how it stands, as of the last step."""
        oldest_at = self._oldest_at
        return MirrorStatus(
            state=self._state,
            cursor=self._cursor,
            depth=max(0, self._head - self._cursor) if oldest_at is not None else 0,
            age=max(0, now - oldest_at) if oldest_at is not None else 0,
            last_error=self._last_error,
            last_error_at=self._last_error_at,
            last_stored_at=self._last_stored_at,
            stored_count=self._stored_count,
            failed_count=self._failed_count,
            dead_count=self._dead_count,
            expired_count=self._expired_count,
        )

    def _next_rows(self) -> list[Row]:
        rows: list[Row] = [
            (seq, noun if isinstance(noun, Reading) else AlarmEvent.of(noun.transition, noun.severity))
            for seq, noun in self._source.rows_after(self._cursor, self._limit)
        ]
        if not self._pieces:
            return rows
        piece = [row for row in rows if row[0] <= self._pieces[-1]]
        if not piece:  # retention took the rows while we were at them
            self._pieces.clear()
            return rows
        return piece

    def _attempt(self, request: Callable[[], None]) -> None:
        try:
            request()
        except SinkError:
            raise
        except Exception as error:
            # A fault in a plug-in must not end the thread unseen: it is told, and tried again.
            # No traceback into the log: a renderer may add the frames' variables, and one of them is the token.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            log.error("mirror.crashed", sink=self._name, reason=type(error).__name__, where=where)  # noqa: TRY400
            raise SinkError(SinkFailure.OUTAGE, f"the sink failed: {type(error).__name__}") from error

    def _stored(self, rows: list[Row], kept: list[Row], now: Instant) -> None:
        if kept:
            self._stored_count += len(kept)
            self._dead = 0
            self._last_stored_at = now
        self._expired_count += len(rows) - len(kept)
        self._advance(rows[-1][0], now)

    def _advance(self, seq: int, now: Instant) -> None:
        """Move the cursor, and forget what was known about the rows that it passes."""
        self._cursor = seq
        while self._pieces and self._pieces[-1] <= seq:
            self._pieces.pop()
        self._expired.clear()
        self._failures = self._server_errors = 0
        self._state = MirrorState.BEHIND
        self._save_cursor(seq)
        if self._told:
            log.info("mirror.recovered", sink=self._name, cursor=seq)
        if self._told or not self._told_once:  # once after a start too: the fault may have begun before it
            self._told, self._told_once = None, True
            self._report(Fault(f"{self._name}_offline", active=False, at=now))

    def _failed(self, error: SinkError, rows: list[Row], kept: list[Row], now: Instant) -> float:
        self._failed_count += 1
        self._note(error, now)
        if error.failure is SinkFailure.SERVER_ERROR:
            self._server_errors += 1
            if self._server_errors < SERVER_ERROR_LIMIT:
                return self._retry_later(error, now)
        elif error.failure is SinkFailure.TOO_LARGE and len(kept) > 1:
            # What the server takes is its own setting and stays: we keep to the half until we are started again.
            self._limit = len(kept) // 2
            return 0.0
        elif error.failure in (SinkFailure.OUTAGE, SinkFailure.MISCONFIGURED):
            return self._retry_later(error, now)
        return self._suspect(error, rows, kept, now)

    def _suspect(self, error: SinkError, rows: list[Row], kept: list[Row], now: Instant) -> float:
        """The rows themselves may be at fault: find out whether they are, and then which."""
        self._server_errors = 0
        try:
            self._attempt(lambda: self._sink.probe(now))
        except SinkError as probe_error:
            self._note(probe_error, now)
            if probe_error.failure is SinkFailure.OUTAGE:
                return self._retry_later(probe_error, now)
            detail = f"a known-good line is not taken either: {probe_error.detail}"
            return self._retry_later(SinkError(SinkFailure.MISCONFIGURED, detail), now)
        self._failures = 0
        if error.failure is SinkFailure.EXPIRED and 0 < error.dropped <= len(kept):
            # The server says how many, not which; it judges by age alone. Should we take too few, it says so again.
            oldest = sorted(kept, key=instant_of)[: error.dropped]
            self._expired.update(seq for seq, _noun in oldest)
            return 0.0
        if len(rows) > 1:
            self._pieces.append(rows[len(rows) // 2 - 1][0])
            return 0.0
        return self._bury_row(kept[0], error, now)

    def _bury_row(self, row: Row, error: SinkError, now: Instant) -> float:
        letter = DeadLetter(row[0], self._sink.render(row), error.detail, now)
        log.error("row.buried", sink=self._name, seq=letter.seq, line=letter.line, detail=letter.detail)
        self._bury(letter)
        self._dead_count += 1
        self._dead += 1
        self._advance(row[0], now)
        if self._dead < DEAD_LIMIT:
            return 0.0
        self._dead = 0
        detail = f"{DEAD_LIMIT} rows running were refused, though a known-good line is taken: {error.detail}"
        return self._retry_later(SinkError(SinkFailure.MISCONFIGURED, detail), now)

    def _retry_later(self, error: SinkError, now: Instant) -> float:
        misconfigured = error.failure is SinkFailure.MISCONFIGURED
        kind = SinkFailure.MISCONFIGURED if misconfigured else SinkFailure.OUTAGE
        self._note(error, now)
        self._state = MirrorState(kind)
        if self._told != kind:
            # One fault an episode; a second only when another kind of help is needed.
            self._told, self._told_once = kind, True
            log.warning("mirror.failed", sink=self._name, reason=str(kind), detail=error.detail)
            self._report(Fault(f"{self._name}_offline", active=True, at=now, detail=f"{kind}: {error.detail}"))
        if misconfigured:
            return self._pause(max(PAUSE, error.retry_after or 0), now)
        # The exponent is held where the limit has long been reached, so that it cannot grow for a year.
        ceiling = min(BACKOFF_LIMIT, BACKOFF_FIRST << min(self._failures, 20))
        self._failures += 1
        return self._pause(max(self._jitter.randint(0, ceiling), error.retry_after or 0), now)

    def _pause(self, span: Span, now: Instant) -> float:
        self._wait_from, self._wait = now, span
        return span / SECOND

    def _note(self, error: SinkError, now: Instant) -> None:
        self._last_error, self._last_error_at = str(error), now
