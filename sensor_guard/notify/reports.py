"""What became of each text, said to the outbox and to the log with the same words."""

from collections.abc import Callable

import structlog

from sensor_guard.model import DeliveryReport, Instant, Notification, NotificationState

_EVENTS: dict[NotificationState, str] = {
    NotificationState.PENDING: "notification.postponed",
    NotificationState.ACCEPTED: "notification.accepted",
    NotificationState.DELIVERED: "notification.delivered",
    NotificationState.FAILED: "notification.failed",
    NotificationState.AMBIGUOUS: "notification.doubted",
}

log = structlog.get_logger(__name__)


class Reports:
    """Hands every report to ``take``."""

    def __init__(self, take: Callable[[DeliveryReport], object]) -> None:
        self._take = take

    def say(
        self,
        notification: Notification,
        state: NotificationState,
        now: Instant,
        reason: str = "",
        receipt_id: str | None = None,
        *,
        retry_at: Instant | None = None,
    ) -> None:
        """Say where a text is. ``reason``: as ``outcome.worded`` gives it, "" where all is well."""
        tell = log.warning if state is NotificationState.FAILED else log.info
        tell(
            _EVENTS[state],
            notification_id=notification.notification_id,
            recipient_id=notification.recipient_id,
            reason=str(reason),
            attempts=notification.attempts,
        )
        self._take(DeliveryReport(notification.notification_id, state, now, str(reason), receipt_id, retry_at))

    def failed(self, notification: Notification, now: Instant, reason: str, receipt_id: str | None = None) -> None:
        """It is given up: the ladder goes on."""
        self.say(notification, NotificationState.FAILED, now, reason, receipt_id)

    def again(self, notification: Notification, now: Instant, reason: str, retry_at: Instant) -> None:
        """It goes back to the outbox, which hands it out again from ``retry_at`` on."""
        self.say(notification, NotificationState.PENDING, now, reason, retry_at=retry_at)
