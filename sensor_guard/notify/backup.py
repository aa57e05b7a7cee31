"""The second way to people: while the first channel is down, calls for help also go out on the next one of ``order``.

"Also": such a text stays in the outbox and goes out on the first channel too when that works again, unless somebody has
answered by then. What the second way says of it counts for nothing: nobody knows whether a terminal was looked at, and
a ladder that stops for a text that nobody read would be silence. So a person may be told twice, and never not at all.

In memory only: a text is tried on the second way once it was offered, again until it is taken, and after a restart
once more.
"""

from collections.abc import Callable, Iterable, Sequence

import structlog

from sensor_guard.errors import NotifyError
from sensor_guard.model import SECOND, Instant, Notification, Span
from sensor_guard.notify.protocol import Contact, Directory, Notifier

ASK_EVERY: Span = 10 * SECOND
"""Between two looks into the outbox while the channel is down: somebody must be told within a minute."""
OFFER_LIMIT = 50
"""Calls for help of one look, the newest first."""
TOLD_LIMIT = 10_000
"""Texts that are remembered as told this way, the oldest forgotten first: it would be told once more."""

log = structlog.get_logger(__name__)


class Backup:
    """The channels behind the first one, by their names in the order in which they are tried. For one thread."""

    def __init__(self, ways: Sequence[tuple[str, Notifier]]) -> None:
        self._ways = ways
        self._told: dict[str, None] = {}
        self._waiting: dict[str, Notification] = {}
        self._asked_at: Instant | None = None
        self.sent_count = 0

    def wants(self, now: Instant) -> bool:
        """Say whether the outbox should be looked into, at most once in ``ASK_EVERY``."""
        if not self._ways or (self._asked_at is not None and 0 <= now - self._asked_at < ASK_EVERY):
            return False
        self._asked_at = now
        return True

    def offer(self, notifications: Iterable[Notification]) -> None:
        """Take the calls for help that are not sent; what is not among them any more needs nobody."""
        self._waiting = {one.notification_id: one for one in notifications if one.notification_id not in self._told}

    def clear(self) -> None:
        """The first channel works."""
        self._waiting.clear()
        self._asked_at = None

    def step(self, directory: Directory, render: Callable[[Notification, Contact], str]) -> bool:
        """Send one of them; False if there is none. What no way takes is offered again with the next look."""
        if not self._waiting:
            return False
        notification = self._waiting.pop(next(iter(self._waiting)))
        contact = directory.contact(notification.recipient_id)
        if contact is None:
            return True
        for name, notifier in self._ways:
            try:
                notifier.send(notification, contact, render(notification, contact))
            except NotifyError as error:
                log.warning("backup.failed", channel=name, reason=error.reason)
                continue
            except Exception as error:  # noqa: BLE001 - a fault of the second way must not end the first one's thread
                log.error("backup.crashed", channel=name, reason=type(error).__name__)  # noqa: TRY400 - no names
                continue
            self._remember(notification, name)
            break
        return True

    def close(self) -> None:
        """Let go of connections and secrets."""
        for _name, notifier in self._ways:
            notifier.close()

    def _remember(self, notification: Notification, name: str) -> None:
        self.sent_count += 1
        self._told[notification.notification_id] = None
        while len(self._told) > TOLD_LIMIT:
            del self._told[next(iter(self._told))]
        log.warning("notification.sent_elsewhere", notification_id=notification.notification_id, channel=name)
