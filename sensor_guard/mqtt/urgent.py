"""The urgent connection: smoke and panic."""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from sensor_guard.model import Instant, Message
from sensor_guard.mqtt.access import Filter
from sensor_guard.mqtt.lane import ALWAYS, UPTIME, URGENT, Before, Lane, Shared, Topics


class UrgentLane(Lane):
    """Smoke and panic: into the urgent lane of the inbox at once, held for nothing.

    The broker remembers for us, in a retained message, which topics this session holds.
    """

    name = URGENT

    def __init__(self, shared: Shared, topics: Topics, before: Before) -> None:
        super().__init__(shared, topics, before)
        self._memory_topic = shared.access.topic("urgent")
        self._own = frozenset(topics.urgent)
        self._digest = _digest(topics.urgent)
        self._remembered = b""
        self._session_present = False
        self._is_passed = False
        self.is_settled = False
        """Subscribed, and what the broker remembers has come."""
        self.on_news: Callable[[], None] = _nobody

    @property
    def covers(self) -> bool:
        """Whether what the bulk connection brings on urgent topics is in this connection's session as well.

        It is if the session has held just these topics since before, or if a mark that was published when it held
        them has come by the bulk connection.
        """
        return self.is_ready and (self._is_passed or (self._session_present and self._remembered == self._digest))

    def passed(self, mark: bytes) -> None:
        """What the bulk connection brings from now on was published after ``mark`` was our canary."""
        if mark == self.canary:
            self._is_passed = True

    def follow(self, topics: Topics) -> None:
        """Cover nothing until the new topics are subscribed. From any thread."""
        if topics.urgent != self.wanted.urgent:
            self.is_ready = self._is_passed = False
            self._digest = _digest(topics.urgent)
        self.wanted = topics

    def sensor_filters(self, topics: Topics) -> tuple[str, ...]:
        """Subscribe to each sensor's topic."""
        return topics.urgent

    def inner_filters(self) -> tuple[Filter, ...]:
        """Subscribe to what the broker remembers, and behind it to what it always says: then the former has come."""
        return Filter(self._memory_topic, qos=0, retained=ALWAYS), Filter(UPTIME, qos=0, retained=ALWAYS)

    def connected(self, now: Instant, *, session_present: bool) -> None:
        """Begin to cover afresh."""
        super().connected(now, session_present=session_present)
        self._session_present, self._remembered = session_present, b""
        self._is_passed = self.is_settled = False

    def subscribed(self, now: Instant, refused: Sequence[str]) -> None:
        """Let the broker remember what this session holds from now on."""
        super().subscribed(now, refused)
        if self._remembered != self._digest and not refused:
            self.connection.publish(self._memory_topic, self._digest, retain=True)

    def message(self, message: Message) -> None:
        """Put it into the urgent lane."""
        if message.topic in self._own:
            self.shared.inbox.put(message._replace(urgent=True), urgent=True)
            return
        if self.is_canary(message):
            return
        self.connection.acknowledge((message,))
        if message.topic == self._memory_topic:
            if message.retained:  # else our own words coming back: they say nothing of the time before
                self._remembered = message.payload
        elif message.topic != UPTIME:
            # A sensor that is no longer in the homes file, or no longer of an urgent kind.
            self.connection.unsubscribe([message.topic])
        elif not self.is_settled:
            self.is_settled = True
            self.on_news()

    def turned(self, now: Instant) -> None:
        """Follow a changed configuration."""
        if self.wanted is not self._topics:
            self._own = frozenset(self.wanted.urgent)
        super().turned(now)
        if self.is_drained and not self.is_settled:
            self.is_settled = True
            self.on_news()

    def drained(self, now: Instant) -> None:
        """Let the bulk connection know."""
        self.end_session_fault(now)
        self.on_news()


def _digest(topics: Iterable[str]) -> bytes:
    return hashlib.blake2b("\n".join(sorted(topics)).encode(), digest_size=16).hexdigest().encode()


def _nobody() -> None:
    """Stand for nobody who wants to know."""
