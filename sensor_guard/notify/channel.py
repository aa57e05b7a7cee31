"""Whether texts get through, when to try again, and when to say that they do not."""

import random
from collections.abc import Callable
from enum import StrEnum

import structlog

from sensor_guard.errors import NotifyError
from sensor_guard.model import MINUTE, SECOND, Fault, Instant, Span
from sensor_guard.notify.outcome import Action, Reason, action_of

FAULT = "sms_offline"
BACKOFF_FIRST: Span = SECOND
BACKOFF_LIMIT: Span = 30 * SECOND
"""An alarm that is written during an outage waits no longer than this for its first try once the outage is over."""
OUTAGE_AFTER: Span = MINUTE
"""Failures only, for so long, and at least two: an outage. What only a person can mend is told at once."""
REFUSED_LIMIT = 3
"""So many people running whose texts are refused: it is not the people."""

_LOGIN_PAGE = (Reason.UNREADABLE, Reason.REDIRECTED)

log = structlog.get_logger(__name__)


class ChannelState(StrEnum):
    """How a channel stands, for ``status`` and metrics."""

    UP = "up"
    FAILING = "failing"  # the last try failed; not yet worth a fault
    DOWN = "down"


class Channel:
    """The health of one way to people. ``tell`` takes the fault ``sms_offline``, begun and ended."""

    def __init__(self, tell: Callable[[Fault], object], jitter: random.Random) -> None:
        self._tell = tell
        self._jitter = jitter
        self._failures = 0  # running, for the back-off
        self._failing_since: Instant = 0
        self._posts_fail = False  # a text failed since the last one that was accepted
        self._only_arrival_counts = False  # accepted texts did not arrive, and not for their recipients' sake
        self._arrived_at: Instant = 0  # when the latest text was sent of which that is known
        self._refused: set[str] = set()
        self._told = False
        self._told_once = False
        self.held_until: Instant = 0
        self.critical_held_until: Instant = 0
        """For a critical text: never more than ``BACKOFF_LIMIT`` ahead, whatever the provider asks for."""
        self.reason = ""

    @property
    def state(self) -> ChannelState:
        """Say how it stands."""
        if self._told:
            return ChannelState.DOWN
        return ChannelState.FAILING if self._failures else ChannelState.UP

    def is_held(self, now: Instant, *, critical: bool = False) -> bool:
        """Say whether the next try has to wait."""
        return now < (self.critical_held_until if critical else self.held_until)

    def is_probing(self) -> bool:
        """Say whether the next text is a try, and the others better wait for how it ends."""
        return self._failures > 0

    def failed(self, error: NotifyError, now: Instant, *, is_post: bool) -> None:
        """A request failed, and not because of its recipient. Hold everything back for a while."""
        if self._failures == 0:
            self._failing_since = now
        self._failures += 1
        self._posts_fail = self._posts_fail or is_post
        self.reason = error.reason
        # Equal jitter: never at once again, and boxes that failed together do not come back together.
        ceiling = min(BACKOFF_LIMIT, BACKOFF_FIRST << min(self._failures, 10))
        wait = max(ceiling // 2 + self._jitter.randint(0, ceiling // 2), error.retry_after or 0)
        self.held_until = max(self.held_until, now + wait)
        # "Come again in an hour" is no answer to a call for help: it knocks once every half minute.
        self.critical_held_until = max(self.critical_held_until, now + min(wait, BACKOFF_LIMIT))
        lasting = self._failures > 1 and now - self._failing_since >= OUTAGE_AFTER
        if lasting or action_of(error) is Action.CHANNEL_DOWN or error.reason in _LOGIN_PAGE:
            self._say_down(error.reason, now)

    def lost(self, error: NotifyError, sent_at: Instant, now: Instant) -> None:
        """A text was accepted, and then nothing gets through: that the next one is accepted will mean nothing."""
        if sent_at > self._arrived_at:  # else a later one has arrived: it is over
            self._only_arrival_counts = True
            self.failed(error, now, is_post=True)

    def refused(self, recipient_id: str, error: NotifyError, now: Instant) -> None:
        """The provider will not send to this person; it works, then, unless it refuses everybody."""
        self._refused.add(recipient_id)
        self._posts_fail = False
        if len(self._refused) >= REFUSED_LIMIT:
            self.reason = error.reason
            self._say_down(error.reason, now)
        elif not self._told:
            self._works(now)

    def accepted(self, now: Instant) -> None:
        """A text was accepted: all is well."""
        self._refused.clear()
        if self._only_arrival_counts:
            self.held_until = self.critical_held_until = now + BACKOFF_LIMIT  # its receipt comes first
            return
        self._posts_fail = False
        self._works(now)

    def arrived(self, sent_at: Instant, now: Instant) -> None:
        """A text was delivered."""
        self._arrived_at = max(self._arrived_at, sent_at)
        if self._only_arrival_counts:
            self._only_arrival_counts = self._posts_fail = False
            self._works(now)

    def answered(self, now: Instant) -> None:
        """A question was answered. That says nothing about texts: an account without funds answers questions too."""
        if not self._posts_fail and not self._refused:
            self._works(now)

    def open(self) -> None:
        """Try at once: the configuration or a secret has changed."""
        self.held_until = self.critical_held_until = 0

    def shift(self, offset: Span) -> None:
        """The clock was set."""
        self.held_until += offset
        self.critical_held_until += offset
        self._failing_since += offset
        self._arrived_at += offset

    def _works(self, now: Instant) -> None:
        self._failures = 0
        self.held_until = self.critical_held_until = 0
        self.reason = ""
        if self._told:
            log.info("channel.recovered")
        if self._told or not self._told_once:  # once after a start too: the fault may have begun before it
            self._told, self._told_once = False, True
            self._tell(Fault(FAULT, active=False, at=now))

    def _say_down(self, reason: str, now: Instant) -> None:
        if self._told:
            return
        self._told = self._told_once = True
        log.error("channel.failed", reason=reason)
        self._tell(Fault(FAULT, active=True, at=now, detail=reason))
