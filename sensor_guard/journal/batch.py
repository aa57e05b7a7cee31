"""One transaction: what came in, what it caused, and what is to be told. All of it is on disk, or nothing."""

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from sensor_guard.journal.codec import encode
from sensor_guard.journal.digest import Folding
from sensor_guard.journal.errors import JournalCorruptError, translate, translated
from sensor_guard.journal.numbers import Numbers, read_number, write_meta
from sensor_guard.journal.outbox import Outbox
from sensor_guard.journal.packets import RecentPackets
from sensor_guard.journal.quarantine import Quarantine
from sensor_guard.journal.readings import ReadingTable
from sensor_guard.journal.rows import write_alarms
from sensor_guard.journal.trail import Trail
from sensor_guard.journal.unstored import mark_sent
from sensor_guard.model import (
    Command,
    DeliveryReport,
    Effects,
    Input,
    Instant,
    Notification,
    Quarantined,
    Reading,
    Span,
)


class HomeState(NamedTuple):
    """The engine's state of one home with every input up to ``upto_seq`` in it. ``state``: JSON text.

    ``wakes_at`` and ``seen_until``: what a start may go by instead (0003_sleepers.sql); None: it may not.
    """

    home_id: str
    upto_seq: int
    schema: int
    plan_hash: str
    state: str
    wakes_at: Instant | None = None
    seen_until: Instant | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What writes to the file, shared by one batch after the other."""

    db: sqlite3.Connection
    path: Path
    numbers: Numbers
    readings: ReadingTable
    packets: RecentPackets
    quarantine: Quarantine
    trail: Trail
    outbox: Outbox


class Batch:
    """A transaction, as a context manager: committed and on disk when the block ends, undone when it raises.

    Inputs are appended first, all of them, then fed, then their effects recorded: what is replayed after a restart is
    the batch as a whole. After an exception nothing has happened, and the same calls give the same numbers again.

    Raises:
        JournalUnavailableError: on leaving: keep the inputs and their effects, and commit the same batch later.
        JournalError: on leaving: stop.
    """

    def __init__(self, parts: Parts, now: Instant) -> None:
        self._parts = parts
        self._db = parts.db
        self._now = now
        self._input_seq: int | None = None
        self._last_seq = parts.numbers.next_seq - 1
        self._is_recorded = False
        self._has_readings = False

    def __enter__(self) -> Self:
        with translated(self._parts.path):
            self._db.execute("BEGIN IMMEDIATE")
        self._parts.trail.batch_seq, self._parts.trail.now = self._last_seq, self._now
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        failure = error
        if failure is None:
            try:
                self._finish()
                self._db.execute("COMMIT")
            except Exception as raised:  # noqa: BLE001 - raised again below, once everything is undone
                failure = raised
        if failure is None:
            parts = self._parts
            parts.numbers.settle()
            parts.readings.settle()
            parts.packets.settle()
            return
        self._undo()
        if isinstance(failure, sqlite3.Error):
            raise translate(failure, self._parts.path) from failure
        if failure is not error:
            raise failure

    @property
    def seq(self) -> int:
        """The number of this batch: its last input's, or its tick's; before either, the newest of the journal."""
        return self._last_seq if self._input_seq is None else self._input_seq

    # -- what comes in --------------------------------------------------------------------------------------------

    def append_readings(self, readings: Sequence[Reading]) -> list[tuple[int, Reading]]:
        """Store readings in their order and number them; those that are there already are left out.

        readings: every value finite, of configured sensors.
        """
        assert not self._is_recorded, "append everything before the effects are recorded"
        if not readings:
            return []
        numbered = self._parts.readings.append(readings)
        if numbered:
            self._has_readings = True
            self._fed(numbered[-1][0])
        return numbered

    def append_event(self, item: Input) -> int:
        """Store any other input and give its number. A person's command goes into the trail as well.

        Raises:
            CodecError: a field does not have the type that the model gives it; nothing of the batch is stored.
        """
        assert not self._is_recorded, "append everything before the effects are recorded"
        assert not isinstance(item, Reading), "readings have their own table"
        kind, body = encode(item)
        seq = self._parts.numbers.take()
        self._db.execute("INSERT INTO events (seq, kind, body) VALUES (?, ?, ?)", (seq, kind, body))
        self._fed(seq)
        if isinstance(item, Command):
            self._parts.trail.command(item)
        return seq

    def seen_packet(self, lane: str, packet_id: int, payload: bytes, *, duplicate: bool) -> bool:
        """Say whether a QoS 1 message was committed before; if not, remember it with this batch.

        To be asked for every QoS 1 message whose readings lack the device's own time. ``lane``: the connection and
        its session ("bulk:7"). ``duplicate``: its DUP flag; a message without it is never a copy.
        """
        return self._parts.packets.seen(lane, packet_id, payload, duplicate=duplicate)

    def quarantine(self, messages: Sequence[Quarantined]) -> int:
        """Count messages that could not be read, and keep those that there is room for; say how many."""
        return self._parts.quarantine.add(messages) if messages else 0

    def replayed(self, topics: Sequence[str]) -> int:
        """Mark dead letters of a sink that it has taken since, by their topic; say how many."""
        return self._parts.quarantine.replayed(topics)

    # -- what it caused -------------------------------------------------------------------------------------------

    def record(self, effects: Effects, *, replay_of: int | None = None) -> int:
        """Write what a feed caused: transitions, alarms as they are now, texts to be sent, texts taken back.

        Once a batch, after everything was appended; effects of time alone make the batch a tick of its own. Gives
        how many transitions and texts were new.

        With ``replay_of`` (a tail batch's seq) what the file has already is left as it is. Anything new is then a
        difference between this program and the one that wrote the file: it is stored, so that nobody is forgotten,
        and the caller must tell it.
        """
        trail, outbox = self._parts.trail, self._parts.outbox
        if replay_of is not None:
            trail.batch_seq = replay_of
            new_steps = trail.unknown(effects.transitions, replay_of)
        else:
            assert not self._is_recorded, "one feed and one record a batch"
            self._is_recorded = True
            if self._input_seq is None and (effects or effects.alarms):
                self._fed(self._parts.numbers.take())
            trail.batch_seq = self.seq
            new_steps = effects.transitions
        batch_seq = trail.batch_seq
        write_alarms(self._db, effects.alarms.values(), batch_seq, replayed=replay_of is not None)
        trail.transitions(new_steps)
        new_texts = sum(outbox.add(wanted, self._now) for wanted in effects.notifications)
        outbox.cancel(effects.cancelled, self._now)
        if replay_of is None:
            for command_id, why in effects.refused:
                trail.refusal(command_id, why)
        trail.batch_seq = self.seq
        return len(new_steps) + new_texts

    def lease(
        self,
        now: Instant,
        limit: int,
        *,
        channel: str = "",
        folding: Folding | None = None,
        critical_only: bool = False,
    ) -> list[Notification]:
        """Take due texts to be sent over ``channel``, at most ``limit``: most urgent first, newest alarm first.

        Each is ``sending`` with its attempt counted. Hand them over only after this batch is committed. ``folding``:
        when several texts to one person become one, None: never.
        """
        try:
            return self._parts.outbox.lease(now, limit, channel, folding=folding, critical_only=critical_only)
        except (ValueError, TypeError) as error:
            raise JournalCorruptError(self._parts.path, f"a text: {error}") from error

    def mark_sent(self, sent: Iterable[Notification]) -> list[str]:
        """Say of texts that went out before they could be stored that they are under way. See ``unstored``."""
        return mark_sent(self._db, self._parts.trail, sent)

    def report(self, report: DeliveryReport) -> bool:
        """Move a text to the reported state; False if that is no legal change: then it is counted, and not fed."""
        return self._parts.outbox.report(report, self._now)

    def report_all(self, report: DeliveryReport) -> list[DeliveryReport]:
        """Move a text, and with a digest every text that it tells; give the reports that counted, to be fed."""
        return self._parts.outbox.report_all(report, self._now)

    def shift_texts(self, offset: Span) -> None:
        """The clock was set by so much: what waits for a later try waits as long as before."""
        self._parts.outbox.shift(offset, self._now)

    def cancel(self, notification_ids: Iterable[str]) -> int:
        """Take back texts that still wait; one under way is not tried again. Says how many were taken back."""
        return self._parts.outbox.cancel(notification_ids, self._now)

    # -- what the engine and the sinks want kept --------------------------------------------------------------------

    def save_plan(self, plan_hash: str, body: str) -> None:
        """Keep a configuration (canonical JSON text) and make it the one in force."""
        self._db.execute(
            "UPDATE plans SET last_used_at = ? WHERE hash = (SELECT value FROM meta WHERE key = 'plan_hash')",
            (self._now,),
        )
        self._db.execute(
            "INSERT INTO plans (hash, body, first_used_at, last_used_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (hash) DO UPDATE SET last_used_at = excluded.last_used_at",
            (plan_hash, zlib.compress(body.encode("utf-8")), self._now, self._now),
        )
        write_meta(self._db, "plan_hash", plan_hash)

    def save_home_states(self, states: Iterable[HomeState]) -> None:
        """Keep the state of homes, in slices of about 200 a batch."""
        self._db.executemany(
            "INSERT INTO home_state (home_id, upto_seq, schema, plan_hash, state, wakes_at, seen_until)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (home_id) DO UPDATE SET upto_seq = excluded.upto_seq, schema = excluded.schema,"
            " plan_hash = excluded.plan_hash, state = excluded.state, wakes_at = excluded.wakes_at,"
            " seen_until = excluded.seen_until",
            states,
        )

    def delete_home_states(self, home_ids: Iterable[str]) -> None:
        """Forget homes that are no longer there."""
        self._db.executemany("DELETE FROM home_state WHERE home_id = ?", [(home_id,) for home_id in home_ids])

    def save_tail(self, tail_seq: int, engine_state: str) -> None:
        """Say from where a restart must replay, and keep the engine's own state at that point (JSON text).

        tail_seq: every home's row has every input up to here in it that concerned the home; never goes back.
        """
        assert read_number(self._db, "tail_seq") <= tail_seq <= self.seq
        write_meta(self._db, "tail_seq", tail_seq)
        write_meta(self._db, "engine_state", engine_state)

    def save_cursor(self, sink: str, seq: int) -> None:
        """Keep how far a sink has come. Save 0 when a sink is new: pruning waits for every sink that is known."""
        self._db.execute(
            "INSERT INTO cursors (sink, seq) VALUES (?, ?) ON CONFLICT (sink) DO UPDATE SET seq = excluded.seq",
            (sink, seq),
        )

    def delete_cursor(self, sink: str) -> None:
        """Forget a sink that is no longer configured, so that pruning does not wait for it for ever."""
        self._db.execute("DELETE FROM cursors WHERE sink = ?", (sink,))

    # -- the end ----------------------------------------------------------------------------------------------------

    def _fed(self, seq: int) -> None:
        self._input_seq = self._parts.trail.batch_seq = seq

    def _finish(self) -> None:
        if self._input_seq is not None:
            self._db.execute("INSERT INTO batches (seq, now) VALUES (?, ?)", (self._input_seq, self._now))
        self._parts.packets.write()
        if self._has_readings:
            self._parts.readings.flush()

    def _undo(self) -> None:
        try:
            # After some errors (a full disk) SQLite has rolled back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:
            # The error that brought us here is the one to tell; an open transaction fails the next BEGIN, loudly.
            pass
        parts = self._parts
        parts.numbers.revert()
        parts.readings.revert()
        parts.packets.revert()
        parts.quarantine.forget()
