"""What a world has left in its journal, read with plain SQL, every instant brought back to the world's true time."""

import sqlite3
from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

from sensor_guard.journal.codec import decode
from sensor_guard.journal.tail import read_readings
from sensor_guard.model import (
    ClockStepped,
    Command,
    CommandKind,
    Drained,
    Input,
    Instant,
    LinkLost,
    LinkUp,
    Reading,
    Span,
)


class Step(NamedTuple):
    """One transition of an alarm. ``at``: true time; ``batch_seq``: the batch that caused it."""

    batch_seq: int
    alarm_id: str
    field: str
    after: str
    at: Instant
    reason: str
    actor_id: str | None

    @property
    def home_id(self) -> str:
        return self.alarm_id.split(".")[0]

    @property
    def rule_id(self) -> str:
        return self.alarm_id.split(".")[1]


class Row(NamedTuple):
    """One text of the outbox."""

    notification_id: str
    alarm_id: str
    kind: str
    severity: str
    step: int
    recipient_id: str
    code: str
    state: str
    attempts: int
    reason: str
    created_at: Instant
    due_at: Instant
    folded_into: str | None  # the digest that told it


class AlarmRow(NamedTuple):
    """One alarm as it stands at the end; true times."""

    alarm_id: str
    home_id: str
    rule_id: str
    severity: str
    condition: str
    response: str
    raised_at: Instant
    noticed_at: Instant
    acknowledged_at: Instant | None
    closed_at: Instant | None
    closed_by: str | None
    is_test: bool


class History:
    """See the module. ``seq`` is the order in which everything was fed."""

    def __init__(self, path: Path) -> None:
        db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        self.batches: list[tuple[int, Instant]] = db.execute("SELECT seq, now FROM batches ORDER BY seq").fetchall()
        raw = read_readings(db, 0, 1 << 62)
        self.events: list[tuple[int, Input]] = [
            (seq, decode(kind, body))
            for seq, kind, body in db.execute("SELECT seq, kind, body FROM events ORDER BY seq")
        ]
        self._step_seqs, self._offsets = [0], [0]
        for seq, item in self.events:
            if isinstance(item, ClockStepped):
                self._step_seqs.append(seq)
                self._offsets.append(self._offsets[-1] + item.offset)
        self.raw_readings = raw
        self.readings: list[tuple[int, Reading]] = [
            (
                seq,
                one._replace(observed_at=self.true(one.observed_at, seq), received_at=self.true(one.received_at, seq)),
            )
            for seq, one in raw
        ]
        self.steps = [
            Step(row[0], row[1], row[2], row[3], self.true(row[4], row[0]), row[5], row[6])
            for row in db.execute(
                "SELECT batch_seq, alarm_id, subject, after, at, reason, actor_id FROM trail"
                " WHERE what = 'transition' ORDER BY seq"
            )
        ]
        raised = {step.alarm_id: step.batch_seq for step in self.steps if step.reason == "raised"}
        closed = {step.alarm_id: step.batch_seq for step in self.steps if step.after == "closed"}
        acked = {step.alarm_id: step.batch_seq for step in self.steps if step.after == "acknowledged"}
        self.alarms = {
            row[0]: AlarmRow(
                *row[:6],
                self.true(row[6], raised.get(row[0], 0)),
                self.true(row[7], raised.get(row[0], 0)),
                row[8] and self.true(row[8], acked.get(row[0], 0)),
                row[9] and self.true(row[9], closed.get(row[0], 0)),
                row[10],
                '"test":true' in row[11].replace(" ", ""),
            )
            for row in db.execute(
                "SELECT alarm_id, home_id, rule_id, severity, condition, response, raised_at, noticed_at,"
                " acknowledged_at, closed_at, closed_by, evidence FROM alarms"
            )
        }
        wanted = {
            subject: self.fed_at(seq)
            for subject, seq in db.execute(
                "SELECT subject, batch_seq FROM trail WHERE what = 'notification' AND before = ''"
            )
        }
        self.outbox = [
            Row(*row[:10], wanted.get(row[0], row[10]), row[11], row[12])
            for row in db.execute(
                "SELECT notification_id, alarm_id, kind, severity, step, recipient_id, code, state, attempts, reason,"
                " created_at, due_at, folded_into FROM outbox ORDER BY created_at, rowid"
            )
        ]
        self._closings = {
            (item.target_id, self.true(item.at, seq)) for seq, item in self.commands() if item.kind == CommandKind.CLOSE
        }
        self.quarantined: int = db.execute(
            "SELECT coalesce(sum(count), 0) FROM counters WHERE scope = 'quarantine'"
        ).fetchone()[0]
        self.sink_rows: set[int] = {seq for seq, _ in raw} | {
            row[0] for row in db.execute("SELECT seq FROM trail WHERE what = 'transition'")
        }
        db.close()

    def offset(self, seq: int) -> Span:
        """By how much the wall clock had been set when this was fed."""
        return self._offsets[bisect_right(self._step_seqs, seq) - 1]

    def true(self, at: Instant, seq: int) -> Instant:
        return at - self.offset(seq)

    def fed_at(self, seq: int) -> Instant:
        """When this was fed, or the batch before it: what was written besides has no batch of its own."""
        place = max(0, bisect_right(self.batches, (seq, 1 << 62)) - 1)
        return self.true(self.batches[place][1], seq)

    def is_test_end(self, step: Step) -> bool:
        """Whether an alarm ended with the test in which it rose, and not by a person's own word."""
        return (step.alarm_id, step.at) not in self._closings

    def commands(self) -> list[tuple[int, Command]]:
        return [(seq, item) for seq, item in self.events if isinstance(item, Command)]

    def frozen(self) -> list[tuple[Instant, Instant]]:
        """The stretches in which the homes' time stood still, from the loss of the link until all was handed over."""
        found: list[tuple[Instant, Instant]] = []
        since: Instant | None = None
        for seq, item in self.events:
            if isinstance(item, LinkLost) and since is None:
                since = self.true(item.at, seq)
            elif isinstance(item, Drained) and since is not None:
                found.append((since, self.true(item.at, seq)))
                since = None
        return found if since is None else [*found, (since, 1 << 60)]

    def undecided_blind(self) -> list[tuple[Instant, Instant]]:
        """Of these stretches what was not decided yet: from where the daemon stood still, true times."""
        stretches, frozen_at = [], None
        for seq, item in self.events:
            if isinstance(item, LinkLost) and frozen_at is None:
                frozen_at = self.true(item.at, seq)
            elif isinstance(item, Drained):
                frozen_at = None
            elif isinstance(item, LinkUp) and item.blind_from is not None:
                begins = self.true(item.blind_from, seq) if frozen_at is None else frozen_at
                stretches.append((begins, self.true(item.at, seq)))
        return stretches

    def blind(self) -> list[tuple[Instant, Instant]]:
        """The stretches in which the daemon knows that it has missed something, true times."""
        return [
            (self.true(item.blind_from, seq), self.true(item.at, seq))
            for seq, item in self.events
            if isinstance(item, LinkUp) and item.blind_from is not None
        ]
