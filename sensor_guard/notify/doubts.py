"""Texts that may or may not be under way: the reply was lost, or the process that waited for it is no more.

Each is looked for once the provider has had time to list it. How long that takes is nowhere promised; most of the time
it is seconds, and hours have been seen (twilio-node issue 647). Beyond ``list_lag`` a text may go out twice, never not.
"""

from dataclasses import dataclass, replace

from sensor_guard.model import Instant, Notification, Span
from sensor_guard.notify.limits import is_critical, urgency


@dataclass(slots=True)
class Doubt:
    """One text. ``due_at``: when to look for it, and from when on its age counts."""

    notification: Notification
    due_at: Instant


class Doubts:
    """The texts in doubt, by id. ``list_lag``: how long the provider gets to list one."""

    def __init__(self, list_lag: Span) -> None:
        self._list_lag = list_lag
        self._fresh: list[Notification] = []
        self._open: dict[str, Doubt] = {}

    def __len__(self) -> int:
        return len(self._fresh) + len(self._open)

    def add(self, notification: Notification) -> None:
        """Doubt a text; its time runs from the next ``tick``, for the attempt itself may have lasted a time-out."""
        self._fresh.append(notification)

    def tick(self, now: Instant) -> None:
        """It is now."""
        for notification in self._fresh:
            self._open[notification.notification_id] = Doubt(notification, now + self._list_lag)
        self._fresh.clear()

    def due(self, now: Instant) -> list[Notification]:
        """Give the texts of one person to look for now, the most urgent one of all first; one list serves them all."""
        due = sorted((doubt.notification for doubt in self._open.values() if doubt.due_at <= now), key=urgency)
        return [one for one in due if one.recipient_id == due[0].recipient_id]

    def age(self, notification: Notification, now: Instant) -> Span:
        """Say for how long it has been looked for in vain."""
        return now - self._open[notification.notification_id].due_at

    def forget(self, notification: Notification) -> None:
        """It is found, or known not to be there."""
        self._open.pop(notification.notification_id, None)

    def next_at(self) -> Instant | None:
        """Say when the next one is due."""
        return min((doubt.due_at for doubt in self._open.values()), default=None)

    def has_critical(self) -> bool:
        """Say whether one of them is a call for help."""
        return any(is_critical(doubt.notification) for doubt in self._open.values())

    def shift(self, offset: Span) -> None:
        """The clock was set: by the new one these texts were tried at another time.

        Which of the two is right nobody knows here, so the search only ever reaches further back.
        """
        self._fresh = [_moved(notification, offset) for notification in self._fresh]
        for doubt in self._open.values():
            doubt.due_at += offset
            doubt.notification = _moved(doubt.notification, offset)


def _moved(notification: Notification, offset: Span) -> Notification:
    at = notification.attempted_at
    return notification if at is None else replace(notification, attempted_at=at + min(0, offset))
