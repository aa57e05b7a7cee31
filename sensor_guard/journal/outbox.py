"""The transactional outbox: a text is written with the alarm that wants it, and its state moves by a table.

pending -> sending          lease: the attempt is on disk before the provider hears of it
sending -> accepted ...     the worker's report
pending -> cancelled        nobody needs it any more
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from hashlib import sha256

from sensor_guard.journal.codec import storable
from sensor_guard.journal.numbers import count
from sensor_guard.journal.rows import NOTIFICATION_COLUMNS, OPEN_STATES, read_notification, write_notification
from sensor_guard.journal.trail import Trail
from sensor_guard.model import DAY, DeliveryReport, Instant, Notification, NotificationState, Span

PENDING = NotificationState.PENDING
SENDING = NotificationState.SENDING
ACCEPTED = NotificationState.ACCEPTED
DELIVERED = NotificationState.DELIVERED
FAILED = NotificationState.FAILED
AMBIGUOUS = NotificationState.AMBIGUOUS
CANCELLED = NotificationState.CANCELLED

REPORT_TABLE: dict[tuple[NotificationState, NotificationState], NotificationState] = {
    # Given up, or folded into another text, before anybody tried to send it.
    (PENDING, FAILED): FAILED,
    (PENDING, CANCELLED): CANCELLED,
    # The provider's answer, or that there was none.
    (SENDING, ACCEPTED): ACCEPTED,
    (SENDING, DELIVERED): DELIVERED,
    (SENDING, FAILED): FAILED,
    (SENDING, AMBIGUOUS): AMBIGUOUS,
    (SENDING, PENDING): PENDING,
    # Reconciled: found at the provider, or to be sent again.
    (AMBIGUOUS, ACCEPTED): ACCEPTED,
    (AMBIGUOUS, DELIVERED): DELIVERED,
    (AMBIGUOUS, FAILED): FAILED,
    (AMBIGUOUS, PENDING): PENDING,
    # Receipts. Still accepted: not delivered within the time, say. Pending: the network asks for another try.
    (ACCEPTED, ACCEPTED): ACCEPTED,
    (ACCEPTED, DELIVERED): DELIVERED,
    (ACCEPTED, FAILED): FAILED,
    (ACCEPTED, PENDING): PENDING,
    # A receipt that comes after the text was given up.
    (FAILED, DELIVERED): DELIVERED,
}
"""(state, reported state) -> state. What is not here is ignored and counted: nothing leads out of delivered or
cancelled. A text that would be pending again but is no longer wanted becomes cancelled."""

CODE_ALPHABET = "CDFGHJKMNPQRTVWXY34679"
"""Without vowels (no words), and without what is mistaken for one another: 0 O, 1 I L, 2 Z, 5 S, 8 B, U V."""
CODE_LENGTH = 4
CODE_UNIQUE_FOR: Span = 7 * DAY
CODE_TRIES = 64
"""22^4 = 234,256 codes: with 10,000 texts a week one in 23 tries meets a taken code. After so many an alarm's text
goes out with a taken one: the newest text wins when it is used."""


class Ignored(StrEnum):
    """Why a report changed nothing; the counter's name in scope ``report``."""

    UNKNOWN = "unknown_notification"
    ILLEGAL = "illegal_change"
    REPEATED = "repeated"


class Outbox:
    """The writer's side of the outbox, within a batch."""

    def __init__(self, db: sqlite3.Connection, trail: Trail, salt: bytes) -> None:
        self._db = db
        self._trail = trail
        self._salt = salt

    def add(self, wanted: Notification, now: Instant) -> bool:
        """Write a text that the engine asks for, with its code; False if it is there already."""
        known = self._db.execute("SELECT 1 FROM outbox WHERE notification_id = ?", (storable(wanted.notification_id),))
        if known.fetchone():
            return False
        code = self._free_code(wanted.notification_id, now)
        write_notification(self._db, wanted, code, now)
        self._trail.notification(wanted.alarm_id, wanted.notification_id, "", PENDING, at=now, reason=wanted.kind)
        return True

    def lease(self, now: Instant, limit: int, channel: str) -> list[Notification]:
        """Take due texts, the most urgent first and the newest first among these, and mark each as being sent."""
        due = self._db.execute(
            f"SELECT {NOTIFICATION_COLUMNS} FROM outbox INDEXED BY outbox_waiting"  # noqa: S608
            " WHERE state = 'pending' AND due_at <= ?"
            " ORDER BY urgency, due_at DESC, rowid LIMIT ?",
            (now, limit),
        ).fetchall()
        leased = []
        for row in due:
            waiting = read_notification(row)
            taken = replace(
                waiting,
                state=SENDING,
                attempts=waiting.attempts + 1,
                attempted_at=now,
                channel=channel or waiting.channel,
            )
            self._db.execute(
                "UPDATE outbox SET state = 'sending', attempts = ?, attempted_at = ?, channel = ?, reason = '',"
                " changed_at = ? WHERE notification_id = ?",
                (taken.attempts, now, taken.channel, now, taken.notification_id),
            )
            self._trail.notification(taken.alarm_id, taken.notification_id, PENDING, SENDING, at=now)
            leased.append(taken)
        return leased

    def report(self, report: DeliveryReport, now: Instant) -> bool:
        """Move a text to its next state; False if the report changes nothing."""
        notification_id = storable(report.notification_id)
        row = self._db.execute(
            "SELECT alarm_id, state, reason, receipt_id, stop_wanted FROM outbox WHERE notification_id = ?",
            (notification_id,),
        ).fetchone()
        if row is None:
            return self._ignore(Ignored.UNKNOWN)
        alarm_id, before, old_reason, old_receipt, stop_wanted = row
        after = next_state(before, report.state, stop_wanted=bool(stop_wanted))
        if after is None:
            return self._ignore(Ignored.ILLEGAL)
        reason, receipt_id = storable(report.reason), report.receipt_id and storable(report.receipt_id)
        if after == before and reason == old_reason and receipt_id in (None, old_receipt):
            return self._ignore(Ignored.REPEATED)
        # Sent again it gets another receipt: the old one must not be polled for it.
        kept = None if after is PENDING else receipt_id or old_receipt
        due_at = report.at if report.retry_at is None else report.retry_at
        self._db.execute(
            "UPDATE outbox SET state = ?1, reason = ?2, receipt_id = ?3, changed_at = ?4,"
            " due_at = CASE WHEN ?1 = 'pending' THEN ?5 ELSE due_at END WHERE notification_id = ?6",
            (after, reason, kept, now, due_at, notification_id),
        )
        self._trail.notification(alarm_id, notification_id, before, after, at=report.at, reason=reason)
        return True

    def cancel(self, notification_ids: Iterable[str], now: Instant) -> int:
        """Take back what still waits; what is under way is not tried again. Says how many were taken back."""
        cancelled = 0
        for notification_id in notification_ids:
            row = self._db.execute(
                "SELECT alarm_id, state FROM outbox WHERE notification_id = ?", (notification_id,)
            ).fetchone()
            if row is None:
                continue
            alarm_id, state = row
            if state == PENDING:
                self._db.execute(
                    "UPDATE outbox SET state = 'cancelled', changed_at = ? WHERE notification_id = ?",
                    (now, notification_id),
                )
                self._trail.notification(alarm_id, notification_id, PENDING, CANCELLED, at=now, reason="not_needed")
                cancelled += 1
            elif state in OPEN_STATES:
                self._db.execute("UPDATE outbox SET stop_wanted = 1 WHERE notification_id = ?", (notification_id,))
        return cancelled

    def _ignore(self, why: Ignored) -> bool:
        count(self._db, "report", why)
        return False

    def _free_code(self, notification_id: str, now: Instant) -> str:
        code = ""
        for attempt in range(CODE_TRIES):
            code = code_for(self._salt, notification_id, attempt)
            taken = self._db.execute(
                "SELECT 1 FROM outbox LEFT JOIN alarms USING (alarm_id) WHERE code = ?"
                " AND (created_at > ? OR (alarms.alarm_id IS NOT NULL AND closed_at IS NULL))",
                (code, now - CODE_UNIQUE_FOR),
            ).fetchone()
            if taken is None:
                break
        return code


def next_state(before: str, reported: str, *, stop_wanted: bool = False) -> NotificationState | None:
    """Look a report up in ``REPORT_TABLE``; None if it must be ignored."""
    try:
        after = REPORT_TABLE.get((NotificationState(before), NotificationState(reported)))
    except ValueError:
        return None
    return CANCELLED if after is PENDING and stop_wanted else after


def code_for(salt: bytes, notification_id: str, attempt: int) -> str:
    """Derive the code of a text: the same in every retry of a failed batch, and guessed by nobody without the salt."""
    digest = sha256(b"\0".join((salt, notification_id.encode("utf-8", "replace"), str(attempt).encode()))).digest()
    number = int.from_bytes(digest[:8], "big")
    letters = []
    for _ in range(CODE_LENGTH):
        number, letter = divmod(number, len(CODE_ALPHABET))
        letters.append(CODE_ALPHABET[letter])
    return "".join(letters)
