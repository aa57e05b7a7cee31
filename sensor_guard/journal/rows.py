"""Alarms and notifications as rows, and back."""

import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from sensor_guard.journal.codec import (
    CodecError,
    decode_evidence,
    decode_params,
    encode_evidence,
    encode_params,
    storable,
)
from sensor_guard.model import Alarm, Instant, Notification, NotificationState, Response, Severity, Truth

# Any: sqlite3 gives a row as a tuple of whatever the columns hold; STRICT tables hold what the schema says.
Row: TypeAlias = tuple[Any, ...]

ALARM_COLUMNS = (
    "alarm_id, rule_id, home_id, severity, condition, response, raised_at, noticed_at, evidence, acknowledged_at,"
    " acknowledged_by, cleared_at, closed_at, closed_by, outcome"
)
NOTIFICATION_COLUMNS = (
    "notification_id, alarm_id, home_id, rule_id, kind, severity, step, recipient_id, due_at, params, code, channel,"
    " state, attempts, attempted_at, receipt_id, alarm_at"
)
OPEN_STATES = (
    NotificationState.PENDING,
    NotificationState.SENDING,
    NotificationState.ACCEPTED,
    NotificationState.AMBIGUOUS,
)
"""States of a text of which more is to come."""

URGENCY: dict[str, int] = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2, Severity.MAINTENANCE: 3}
"""The rank of a severity, 0 first; an unknown one comes first."""

# Columns and placeholders are this module's own: nothing from outside is put into a statement.
_UPSERT_ALARM = f"""
INSERT INTO alarms ({ALARM_COLUMNS}, seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (alarm_id) DO UPDATE SET
    severity = excluded.severity, condition = excluded.condition, response = excluded.response,
    evidence = excluded.evidence, acknowledged_at = excluded.acknowledged_at,
    acknowledged_by = excluded.acknowledged_by, cleared_at = excluded.cleared_at, closed_at = excluded.closed_at,
    closed_by = excluded.closed_by, outcome = excluded.outcome, seq = excluded.seq
    WHERE excluded.seq > seq OR (excluded.seq = seq AND ?)
"""  # noqa: S608


def write_alarms(db: sqlite3.Connection, alarms: Iterable[Alarm], batch_seq: int, *, replayed: bool) -> None:
    """Store each alarm as it is now. A replayed batch changes no row that it or a later one has written."""
    db.executemany(
        _UPSERT_ALARM,
        [
            (
                alarm.alarm_id, alarm.rule_id, alarm.home_id, alarm.severity, alarm.condition, alarm.response,
                alarm.raised_at, alarm.noticed_at, encode_evidence(alarm.evidence), alarm.acknowledged_at,
                alarm.acknowledged_by and storable(alarm.acknowledged_by), alarm.cleared_at, alarm.closed_at,
                alarm.closed_by and storable(alarm.closed_by), alarm.outcome and storable(alarm.outcome),
                batch_seq, not replayed,
            )
            for alarm in alarms
        ],
    )  # fmt: skip


def read_alarm(row: Row) -> Alarm:
    """Build an alarm from ``ALARM_COLUMNS``.

    Raises:
        CodecError: the row holds words that the model does not know.
    """
    try:
        truth, response = Truth(row[4]), Response(row[5])
    except ValueError as error:
        raise CodecError(f"alarm {row[0]}: {error}") from error
    return Alarm(
        alarm_id=row[0],
        rule_id=row[1],
        home_id=row[2],
        severity=row[3],
        condition=truth,
        response=response,
        raised_at=row[6],
        noticed_at=row[7],
        evidence=decode_evidence(row[8]),
        acknowledged_at=row[9],
        acknowledged_by=row[10],
        cleared_at=row[11],
        closed_at=row[12],
        closed_by=row[13],
        outcome=row[14],
    )


def read_notification(row: Row) -> Notification:
    """Build a notification from ``NOTIFICATION_COLUMNS``."""
    return Notification(
        notification_id=row[0],
        alarm_id=row[1],
        home_id=row[2],
        rule_id=row[3],
        kind=row[4],
        severity=row[5],
        step=row[6],
        recipient_id=row[7],
        due_at=row[8],
        params=decode_params(row[9]),
        code=row[10],
        channel=row[11],
        state=row[12],
        attempts=row[13],
        attempted_at=row[14],
        receipt_id=row[15],
        alarm_at=row[16],
    )


def write_notification(db: sqlite3.Connection, wanted: Notification, code: str, now: Instant) -> None:
    """Put a text into the outbox, waiting to be sent. Its alarm, if it has one, is there already."""
    risen = db.execute("SELECT raised_at FROM alarms WHERE alarm_id = ?", (wanted.alarm_id,)).fetchone()
    alarm_at = risen[0] if risen else wanted.alarm_at or now
    db.execute(
        f"INSERT INTO outbox ({NOTIFICATION_COLUMNS}, reason, urgency, stop_wanted, created_at, changed_at)"  # noqa: S608
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, 0, ?, ?)",
        (
            storable(wanted.notification_id), wanted.alarm_id, wanted.home_id, wanted.rule_id, wanted.kind,
            wanted.severity, wanted.step, storable(wanted.recipient_id), wanted.due_at, encode_params(wanted.params),
            code, wanted.channel, NotificationState.PENDING, 0, None, None, alarm_at,
            URGENCY.get(wanted.severity, 0), now, now,
        ),
    )  # fmt: skip


class OutboxEntry(NamedTuple):
    """A text with what the model does not carry. ``reason``: of its present state."""

    notification: Notification
    reason: str
    created_at: Instant
    changed_at: Instant
