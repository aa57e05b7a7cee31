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
    ``per_day_digests``: of several texts in one, whatever came before: a person who had too many is told by these.
    ``waiting``: most texts taken from the outbox at a time: the rest waits where it can still be called back.
    ``list_lag``: how long the provider may take to list a text it has accepted.
    """

    per_second: float = 1.0
    burst: int = 5
    per_day: int = 6
    per_day_critical: int = 60
    per_day_digests: int = 4
    waiting: int = 5
    list_lag: Span = 10 * SECOND


def urgency(notification: Notification) -> int:
    """Rank a text, 0 first; an unknown severity comes first."""
    return _URGENCY.get(notification.severity, 0)


def is_critical(notification: Notification) -> bool:
    """Say whether life may be at stake."""
    return notification.severity == Severity.CRITICAL


def is_first_call(notification: Notification) -> bool:
    """Say whether this is the first try of a call for help."""
    return is_critical(notification) and notification.attempts <= 1


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
    """Who has been sent how much within 24 hours. At most ``per_day_critical`` instants a person.

    A digest counts as one text, and against a limit of its own.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._sent: dict[str, deque[Instant]] = {}
        self._digests: dict[str, deque[Instant]] = {}

    def allows(self, notification: Notification, now: Instant) -> bool:
        """Say whether this text may still go to its recipient."""
        limits, count = self._limits, _count(self._sent, notification.recipient_id, now)
        if is_critical(notification) or notification.kind == NotificationKind.TEST:
            return count < limits.per_day_critical
        if notification.kind == NotificationKind.DIGEST:
            return _count(self._digests, notification.recipient_id, now) < limits.per_day_digests
        return count < limits.per_day - (ASKING_RESERVE if notification.kind in _NEWS else 0)

    def record(self, recipient_id: str, at: Instant, kind: str = "") -> None:
        """This person was sent a text then."""
        books = (self._sent, self._digests) if kind == NotificationKind.DIGEST else (self._sent,)
        for book in books:
            book.setdefault(recipient_id, deque(maxlen=self._limits.per_day_critical)).append(at)

    def shift(self, offset: Span) -> None:
        """The clock was set."""
        for sent in (*self._sent.values(), *self._digests.values()):
            for place, at in enumerate(sent):
                sent[place] = at + offset


def _count(book: dict[str, deque[Instant]], recipient_id: str, now: Instant) -> int:
    """Count what stands there of the last 24 hours, and forget the rest."""
    sent = book.get(recipient_id)
    if sent is None:
        return 0
    while sent and sent[0] <= now - DAY:
        sent.popleft()
    if not sent:
        del book[recipient_id]
    return len(sent)
