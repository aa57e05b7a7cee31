"""The append-only audit: one row for every step of an alarm, every state of a text, every word of a person."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from sensor_guard.journal.codec import storable
from sensor_guard.journal.numbers import Numbers
from sensor_guard.model import Command, CommandKind, Instant, Transition

NOTE_LIMIT = 2_000
"""Longest note in characters; the command as it came is in the events."""

_COMMANDS_KEPT = 1_000
"""More than a batch can hold."""

_ANSWERS = (CommandKind.ACKNOWLEDGE, CommandKind.CLOSE)

_INSERT = """
INSERT INTO trail (seq, batch_seq, alarm_id, n, what, subject, before, after, at, recorded_at, reason, actor_id, note)
VALUES (?1, ?2, ?3, (SELECT coalesce(max(n), 0) + 1 FROM trail WHERE alarm_id = ?3), ?4, ?5, ?6, ?7, ?8, ?9, ?10,
        ?11, ?12)
"""


class What(StrEnum):
    """What a row of the trail tells of."""

    TRANSITION = "transition"  # subject: the field; before and after: its values
    NOTIFICATION = "notification"  # subject: the notification's id; before and after: its states
    COMMAND = "command"  # subject: the command's id; after: its kind; before: its target
    REFUSAL = "refusal"  # subject: the command's id; note: why


class TrailEntry(NamedTuple):
    """One row. ``at``: when it became true; ``recorded_at``: when it was written; ``alarm_id`` "": of no alarm."""

    seq: int
    alarm_id: str
    what: str
    subject: str
    before: str
    after: str
    at: Instant
    recorded_at: Instant
    reason: str
    actor_id: str | None
    note: str


class Trail:
    """Writes the trail within a batch. ``batch_seq`` and ``now`` belong to the batch that is open."""

    def __init__(self, db: sqlite3.Connection, numbers: Numbers) -> None:
        self._db = db
        self._numbers = numbers
        self.batch_seq = 0
        self.now: Instant = 0
        self._alarm_of: dict[str, str] = {}  # command_id -> alarm_id, of the newest few commands

    def transitions(self, transitions: Sequence[Transition]) -> None:
        """Add the steps of alarms."""
        for step in transitions:
            self._add(
                step.alarm_id,
                (What.TRANSITION, step.field, step.before, step.after),
                step.at,
                reason=step.reason,
                actor_id=step.actor_id,
                note=step.note,
            )

    def command(self, command: Command) -> None:
        """Add what a person asked for, to the alarm that it names if there is one."""
        alarm_id = ""
        if command.kind in _ANSWERS:
            named = self._db.execute("SELECT alarm_id FROM alarms WHERE alarm_id = ?", (storable(command.target_id),))
            alarm_id = (named.fetchone() or ("",))[0]
        if len(self._alarm_of) >= _COMMANDS_KEPT:
            self._alarm_of.clear()  # none of them was refused: a refusal comes in the batch of its command
        self._alarm_of[command.command_id] = alarm_id
        self._add(
            alarm_id,
            (What.COMMAND, command.command_id, command.target_id, command.kind),
            command.at,
            reason=command.outcome or "",
            actor_id=command.actor_id,
            note=command.note,
        )

    def refusal(self, command_id: str, why: str) -> None:
        """Add that a command of this batch could not be carried out, to the alarm that it named."""
        alarm_id = self._alarm_of.pop(command_id, "")
        self._add(alarm_id, (What.REFUSAL, command_id, "", ""), self.now, reason="refused", note=why)

    def notification(
        self, alarm_id: str, notification_id: str, before: str, after: str, *, at: Instant, reason: str = ""
    ) -> None:
        """Add that a text changed its state."""
        self._add(alarm_id, (What.NOTIFICATION, notification_id, before, after), at, reason=reason)

    def unknown(self, transitions: Sequence[Transition], batch_seq: int) -> list[Transition]:
        """Give those of a replayed batch's transitions that the trail does not have."""
        rows = self._db.execute(
            "SELECT alarm_id, subject, before, after, at, reason, coalesce(actor_id, '') FROM trail"
            " WHERE batch_seq = ? AND what = 'transition'",
            (batch_seq,),
        )
        there = Counter(rows)
        missing = []
        for step in transitions:
            key = (
                step.alarm_id, step.field, step.before, step.after, step.at,
                step.reason, storable(step.actor_id or ""),
            )  # fmt: skip
            if there[key]:
                there[key] -= 1
            else:
                missing.append(step)
        return missing

    def _add(
        self,
        alarm_id: str,
        change: tuple[What, str, str, str],
        at: Instant,
        *,
        reason: str,
        actor_id: str | None = None,
        note: str = "",
    ) -> None:
        what, subject, before, after = change
        self._db.execute(
            _INSERT,
            (
                self._numbers.take(),
                self.batch_seq,
                alarm_id,
                what,
                storable(subject),
                storable(before),
                storable(after),
                at,
                self.now,
                storable(reason),
                None if actor_id is None else storable(actor_id),
                storable(note[:NOTE_LIMIT]),
            ),
        )
