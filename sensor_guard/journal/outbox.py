"""The transactional outbox: a text is written with the alarm that wants it, and its state moves by a table.

pending -> sending          lease: the attempt is on disk before the provider hears of it
sending -> accepted ...     the worker's report
pending -> cancelled        nobody needs it any more

A text that is folded into another one (``folded_into``) has that one's state, and is never leased itself: into a digest
(``digest``), or, while it still waits, into the next call to the same person about the same alarm. A ladder that climbs
through a day without a provider leaves one text a person, not one for every rung.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from hashlib import sha256

from sensor_guard.journal.codec import storable
from sensor_guard.journal.digest import (
    Folding,
    digest_for,
    is_digest,
    members_of,
    plan_for,
    recipients_to_fold,
    renew,
    waiting_digest,
)
from sensor_guard.journal.numbers import count
from sensor_guard.journal.rows import NOTIFICATION_COLUMNS, OPEN_STATES, URGENCY, read_notification, write_notification
from sensor_guard.journal.trail import Trail
from sensor_guard.model import DAY, DeliveryReport, Instant, Notification, NotificationKind, NotificationState, Span

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


CALLS = (NotificationKind.ALARM, NotificationKind.REMINDER, NotificationKind.UNCLOSED)
"""Texts that ask a person to do something about an alarm."""


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
        if wanted.kind in CALLS:
            self._supersede(wanted.alarm_id, wanted.recipient_id, now)
        self._trail.notification(wanted.alarm_id, wanted.notification_id, "", PENDING, at=now, reason=wanted.kind)
        return True

    def lease(
        self, now: Instant, limit: int, channel: str, *, folding: Folding | None = None, critical_only: bool = False
    ) -> list[Notification]:
        """Take due texts and mark each as being sent: the most urgent first, those of the newest alarm first of these.

        A text that is tried again keeps its place. ``folding``: when texts become one; None: never.
        """
        if folding is not None and not critical_only:
            for recipient_id in recipients_to_fold(self._db, now):
                self._fold(recipient_id, now, folding)
        due = self._db.execute(
            f"SELECT {NOTIFICATION_COLUMNS} FROM outbox INDEXED BY outbox_waiting"  # noqa: S608
            " WHERE state = 'pending' AND folded_into IS NULL AND due_at <= ? AND urgency <= ?"
            " ORDER BY urgency, alarm_at DESC, due_at, rowid LIMIT ?",
            (now, 0 if critical_only else len(URGENCY), limit),
        ).fetchall()
        leased = []
        for row in due:
            waiting = read_notification(row)
            take_members(self._db, self._trail, waiting.notification_id, now)
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
            "SELECT alarm_id, state, reason, receipt_id, stop_wanted, kind, recipient_id FROM outbox"
            " WHERE notification_id = ?",
            (notification_id,),
        ).fetchone()
        if row is None:
            return self._ignore(Ignored.UNKNOWN)
        alarm_id, before, old_reason, old_receipt, stop_wanted, kind, recipient_id = row
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
        if after is PENDING and kind in CALLS:
            self._supersede(alarm_id, recipient_id, now)
        return True

    def report_all(self, report: DeliveryReport, now: Instant) -> list[DeliveryReport]:
        """Move a text, and with it every text that it tells; give the reports that counted, for the engine.

        The engine knows nothing of digests: it is given what became of the texts that it asked for.
        """
        notification_id = storable(report.notification_id)
        # Asked before: a text that waits again may be told by a newer one from here on.
        members = [replace(report, notification_id=member) for member in members_of(self._db, notification_id)]
        if not self.report(report, now):
            return []
        counted = [member for member in members if self.report(member, now)]
        if not is_digest(self._db, notification_id):
            return [report, *counted]
        if report.state == PENDING:
            self._settle_digest(notification_id, now)
        return counted

    def shift(self, offset: Span, now: Instant) -> None:
        """The clock was set at ``now``: what waits for a later try waits as long as before, and no longer.

        What is compared with it moves too: since when a text waits, which of an alarm's texts is the newest, and how
        many a person had today.
        """
        self._db.execute(
            "UPDATE outbox SET due_at = due_at + ?1, alarm_at = alarm_at + ?1 WHERE state = 'pending'", (offset,)
        )
        self._db.execute(
            "UPDATE outbox SET created_at = created_at + ? WHERE state = 'pending'"
            " OR alarm_id IN (SELECT alarm_id FROM alarms WHERE closed_at IS NULL)",
            (offset,),
        )
        self._db.execute(
            # Up to the step: what lies beyond was tried before the clock was set back, and stayed where it was then.
            "UPDATE outbox SET attempted_at = attempted_at + ? WHERE attempted_at > ? AND attempted_at <= ?",
            (offset, now - offset - DAY, now - offset),
        )

    def cancel(self, notification_ids: Iterable[str], now: Instant) -> int:
        """Take back what still waits; what is under way is not tried again. Says how many were taken back."""
        cancelled, digests = 0, set[str | None]()
        for notification_id in notification_ids:
            row = self._db.execute(
                "SELECT alarm_id, state, folded_into FROM outbox WHERE notification_id = ?", (notification_id,)
            ).fetchone()
            if row is None:
                continue
            alarm_id, state, folded_into = row
            if state == PENDING:
                self._db.execute(
                    "UPDATE outbox SET state = 'cancelled', changed_at = ? WHERE notification_id = ?",
                    (now, notification_id),
                )
                self._trail.notification(alarm_id, notification_id, PENDING, CANCELLED, at=now, reason="not_needed")
                cancelled += 1
                digests.add(folded_into)
            elif state in OPEN_STATES:
                self._db.execute("UPDATE outbox SET stop_wanted = 1 WHERE notification_id = ?", (notification_id,))
        for digest_id in digests - {None}:
            self._settle_digest(str(digest_id), now)
        return cancelled

    def _fold(self, recipient_id: str, now: Instant, folding: Folding) -> None:
        """Make one text of several to this person, or let them wait for one another."""
        plan = plan_for(self._db, recipient_id, now, folding)
        for notification_id in plan.hold:
            self._db.execute(
                "UPDATE outbox SET due_at = ? WHERE notification_id = ?", (plan.hold_until, notification_id)
            )
        if not plan.fold:
            return
        digest_id = waiting_digest(self._db, recipient_id)
        if digest_id is None:
            digest = digest_for(self._db, recipient_id, now)
            digest_id = digest.notification_id
            self.add(digest, now)
        self._absorb(digest_id, plan.fold, now)
        renew(self._db, digest_id, now)

    def _supersede(self, alarm_id: str, recipient_id: str, now: Instant) -> None:
        """Of several calls about one alarm that wait for one person, the newest tells the others."""
        waiting = self._db.execute(
            "SELECT notification_id FROM outbox WHERE alarm_id = ? AND recipient_id = ? AND state = 'pending'"
            " AND folded_into IS NULL AND kind IN ('alarm', 'reminder', 'unclosed') ORDER BY rowid DESC",
            (alarm_id, recipient_id),
        ).fetchall()
        if len(waiting) > 1:
            self._absorb(waiting[0][0], [row[0] for row in waiting[1:]], now)

    def _absorb(self, teller_id: str, told_ids: Iterable[str], now: Instant) -> None:
        """Let one text tell others, and what these were to tell."""
        self._db.executemany(
            "UPDATE outbox SET folded_into = ?1, changed_at = ?2 WHERE notification_id = ?3 OR folded_into = ?3",
            [(teller_id, now, told_id) for told_id in told_ids],
        )

    def _settle_digest(self, digest_id: str, now: Instant) -> None:
        """Some of what a waiting digest tells is not needed any more; perhaps the whole of it."""
        if (
            is_digest(self._db, digest_id)
            and not renew(self._db, digest_id, now)
            and self._db.execute(
                "UPDATE outbox SET state = 'cancelled', changed_at = ? WHERE notification_id = ? AND state = 'pending'",
                (now, digest_id),
            ).rowcount
        ):
            self._trail.notification("", digest_id, PENDING, CANCELLED, at=now, reason="not_needed")

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


def take_members(db: sqlite3.Connection, trail: Trail, teller_id: str, now: Instant) -> None:
    """What a text tells beside itself is being sent with it."""
    members = db.execute(
        "UPDATE outbox SET state = 'sending', reason = '', changed_at = ? WHERE folded_into = ?"
        " AND state = 'pending' RETURNING alarm_id, notification_id",
        (now, teller_id),
    ).fetchall()
    for alarm_id, notification_id in members:
        trail.notification(alarm_id, notification_id, PENDING, SENDING, at=now, reason="in_another")


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
