"""Texts that went out while the disk took nothing: how the outbox learns of them once it can be written again."""

import sqlite3
from collections.abc import Iterable

from sensor_guard.journal.codec import storable
from sensor_guard.journal.outbox import take_members
from sensor_guard.journal.trail import Trail
from sensor_guard.model import Notification, NotificationState


def mark_sent(db: sqlite3.Connection, trail: Trail, sent: Iterable[Notification]) -> list[str]:
    """Say of texts that wait that they are under way, as a lease would have; the ids of those that were found.

    ``sent``: as they were handed to the worker, with code and attempt. The worker's reports, or the search after a
    restart, say what became of them; so none is sent twice. The row takes the code that the person was sent. What one
    of them tells beside itself is under way with it.
    """
    marked = []
    for one in sent:
        notification_id = storable(one.notification_id)
        changed = db.execute(
            "UPDATE outbox SET state = 'sending', attempts = ?, attempted_at = ?, channel = ?, code = ?, reason = '',"
            " changed_at = ? WHERE notification_id = ? AND recipient_id = ? AND kind = ? AND state = 'pending'",
            (
                one.attempts, one.attempted_at, one.channel, one.code, trail.now, notification_id,
                storable(one.recipient_id), one.kind,
            ),
        ).rowcount  # fmt: skip
        if changed:
            trail.notification(
                one.alarm_id,
                notification_id,
                NotificationState.PENDING,
                NotificationState.SENDING,
                at=one.attempted_at or trail.now,
                reason="sent_unstored",
            )
            marked.append(one.notification_id)
    for told_by in marked:
        take_members(db, trail, storable(told_by), trail.now)
    return marked
