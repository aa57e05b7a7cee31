"""How much may be sent: a pace for the sender, a budget for each recipient.

A person who gets too many texts reads none of them, and carriers hold back what looks like spam: to mainland China five
different texts to one number within a day were enough for a day's delay (Twilio support, article 360016612253).
"""

from collections import deque
from dataclasses import dataclass

from sensor_guard.model import DAY, SECOND, Instant, Notification, NotificationKind, Severity, Span

ASKING_RESERVE = 2
"""Of the day's texts so many are kept for those that ask somebody to act: news of an answer does not use them up."""
_URGENCY: dict[str, int] = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2, Severity.MAINTENANCE: 3}
_NEWS = (NotificationKind.STAND_DOWN, NotificationKind.CLOSED)


@dataclass(frozen=True, slots=True)
class Limits:
    """``per_second``: of one sender (a number sends one segment a second); ``burst``: so many at once, the first ones.

    ``per_day``: texts to one person within 24 h; ``per_day_critical``: where life may be at stake, and for tests.
    ``waiting``: most texts taken from the outbox at a time: the rest waits where it can still be called back.
    ``list_lag``: how long the provider may take to list a text it has accepted.
    """

    per_second: float = 1.0
    burst: int = 5
    per_day: int = 6
    per_day_critical: int = 60
    waiting: int = 5
    list_lag: Span = 10 * SECOND


def urgency(notification: Notification) -> int:
    """Rank a text, 0 first; an unknown severity comes first."""
    return _URGENCY.get(notification.severity, 0)


def is_critical(notification: Notification) -> bool:
    """Say whether life may be at stake."""
    return notification.severity == Severity.CRITICAL


class Pace:
    """A token bucket, kept as the one instant at which it will be full again."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = round(SECOND / per_second)
        self._slack = self._interval * (burst - 1)
        self.full_at: Instant = 0

    def next_at(self) -> Instant:
        """Say from when on the next text may go."""
        return self.full_at - self._slack

    def take(self, now: Instant, segment_count: int = 1) -> None:
        """One text goes now."""
        self.full_at = max(self.full_at, now) + self._interval * segment_count

    def shift(self, offset: Span) -> None:
        """The clock was set."""
        self.full_at += offset


class Budget:
    """Who has been sent how much within 24 hours. At most ``per_day_critical`` instants a person."""

    def __init__(self, per_day: int, per_day_critical: int) -> None:
        self._per_day = per_day
        self._per_day_critical = per_day_critical
        self._sent: dict[str, deque[Instant]] = {}

    def allows(self, notification: Notification, now: Instant) -> bool:
        """Say whether this text may still go to its recipient."""
        sent = self._sent.get(notification.recipient_id)
        if sent is None:
            return True
        while sent and sent[0] <= now - DAY:
            sent.popleft()
        if not sent:
            del self._sent[notification.recipient_id]
            return True
        if is_critical(notification) or notification.kind == NotificationKind.TEST:
            return len(sent) < self._per_day_critical
        return len(sent) < self._per_day - (ASKING_RESERVE if notification.kind in _NEWS else 0)

    def record(self, recipient_id: str, at: Instant) -> None:
        """This person was sent a text then."""
        self._sent.setdefault(recipient_id, deque(maxlen=self._per_day_critical)).append(at)

    def shift(self, offset: Span) -> None:
        """The clock was set."""
        for sent in self._sent.values():
            for place, at in enumerate(sent):
                sent[place] = at + offset
