"""Which accepted texts have not arrived yet, and when to ask for each.

A box behind a household router has no address that a provider could call, so receipts are fetched: after 15, 30, 60 and
120 s, then every 5 min for a day.
"""

import heapq
from dataclasses import dataclass

from sensor_guard.model import DAY, MINUTE, SECOND, Instant, Notification, Span

ASK_AFTER: tuple[Span, ...] = (15 * SECOND, 30 * SECOND, 60 * SECOND, 120 * SECOND)
ASK_EVERY: Span = 5 * MINUTE
ASK_UNTIL: Span = DAY
OVERDUE_AFTER: Span = 2 * MINUTE
"""A text that has not arrived by then may never: the ladder goes on, and the text is still followed."""


@dataclass(slots=True)
class Open:
    """A text on its way. ``sent_at``: when it was accepted; ``is_told``: that it is overdue."""

    notification: Notification
    receipt_id: str
    sent_at: Instant
    due_at: Instant
    is_told: bool = False

    def is_overdue(self, now: Instant) -> bool:
        """Say whether it should have arrived."""
        return now - self.sent_at >= OVERDUE_AFTER

    def is_over(self, now: Instant) -> bool:
        """Say whether nobody needs to ask any more."""
        return now - self.sent_at > ASK_UNTIL


class Receipts:
    """The texts on their way, the next to ask for first."""

    def __init__(self) -> None:
        self._open: dict[str, Open] = {}
        self._queue: list[tuple[Instant, str]] = []  # entries whose text is gone, or due otherwise, are passed over

    def __len__(self) -> int:
        return len(self._open)

    def follow(self, notification: Notification, receipt_id: str, sent_at: Instant, now: Instant) -> None:
        """Follow a text. One that was accepted before a restart is asked for at once."""
        due_at = _next_ask(sent_at, now) if now - sent_at < ASK_AFTER[0] else now
        one = Open(notification, receipt_id, sent_at, due_at)
        self._open[notification.notification_id] = one
        heapq.heappush(self._queue, (one.due_at, notification.notification_id))

    def next_at(self) -> Instant | None:
        """Say when the next question is due."""
        while self._queue:
            due_at, notification_id = self._queue[0]
            one = self._open.get(notification_id)
            if one is not None and one.due_at == due_at:
                return due_at
            heapq.heappop(self._queue)
        return None

    def due(self, now: Instant) -> Open | None:
        """Give the text to ask for now, already put down for its next time."""
        due_at = self.next_at()
        if due_at is None or due_at > now:
            return None
        one = self._open[heapq.heappop(self._queue)[1]]
        one.due_at = _next_ask(one.sent_at, now)
        heapq.heappush(self._queue, (one.due_at, one.notification.notification_id))
        return one

    def forget(self, notification_id: str) -> None:
        """It has arrived, or never will."""
        self._open.pop(notification_id, None)

    def shift(self, offset: Span) -> None:
        """The clock was set."""
        for one in self._open.values():
            one.sent_at += offset
            one.due_at += offset
        self._queue = [(one.due_at, notification_id) for notification_id, one in self._open.items()]
        heapq.heapify(self._queue)


def _next_ask(sent_at: Instant, now: Instant) -> Instant:
    """Give the first instant of the schedule after now."""
    for after in ASK_AFTER:
        if sent_at + after > now:
            return sent_at + after
    rounds = (now - sent_at - ASK_AFTER[-1]) // ASK_EVERY + 1
    return sent_at + ASK_AFTER[-1] + rounds * ASK_EVERY
