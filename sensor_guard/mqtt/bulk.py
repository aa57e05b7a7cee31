"""The bulk connection: everything else, and the story of the link."""

import json
from collections.abc import Callable, Iterable, Sequence

import structlog

from sensor_guard.clock import format_at
from sensor_guard.inbox import Event, Probe
from sensor_guard.model import Drained, Instant, Message
from sensor_guard.mqtt.access import Filter, Will, status_payload
from sensor_guard.mqtt.lane import ALWAYS, BULK, UPTIME, Before, Lane, Shared, Topics
from sensor_guard.mqtt.link import DropWatch, Link, Stage
from sensor_guard.mqtt.urgent import UrgentLane

HEALTH_EVERY = 30.0
"""Real seconds between two words about how we are."""
STALLED_AFTER = 90.0
"""Real seconds without an answer of the loop after which this thread says so in its place."""
DROPPED = "$SYS/broker/publish/messages/dropped"

log = structlog.get_logger(__name__)


class BulkLane(Lane):
    """Everything else, and the story of the link, in one order.

    Its wildcards bring smoke and panic a second time. That copy is acknowledged and dropped, unless the urgent
    connection does not cover it: then it is the only one.
    """

    name = BULK

    def __init__(self, shared: Shared, topics: Topics, before: Before, urgent: UrgentLane) -> None:
        super().__init__(shared, topics, before)
        known_until = shared.clock.now() if before.known_until is None else before.known_until
        self.link = Link(known_until, shared.clock.factor, self.proven_at)
        self.drops = DropWatch()
        self._urgent = urgent
        self._elsewhere = frozenset(topics.urgent)
        self._memory_topic = shared.access.topic("dropped")
        self._status_topic = shared.access.topic("status")
        self.report: Callable[[], dict[str, object]] | None = None
        """Says how the daemon is, on the engine's thread."""
        self._health_topic = shared.access.topic("health")
        self._health: bytes | None = None  # to be published
        self._asked_real: float | None = None
        self._is_asking = False  # one question at a time waits in the inbox
        self._answered_real = shared.clock.monotonic()
        self._inner: dict[str, Callable[[Message], None]] = {
            UPTIME: self._uptime,
            DROPPED: self._dropped,
            self._memory_topic: self._remembered,
        }
        self._own_topics = frozenset((*self._inner, self.canary_topic))
        self._sys_is_readable = True
        self._mark = b""
        urgent.on_news = self._wake

    def _wake(self) -> None:
        self.connection.wake()

    def begin(self) -> None:
        """Say since when nothing is known."""
        self.shared.inbox.put(self.link.begin())

    def sensor_filters(self, topics: Topics) -> tuple[str, ...]:
        """Subscribe as the decoders say."""
        return topics.bulk

    def inner_filters(self) -> tuple[Filter, ...]:
        """Subscribe to what the broker says of itself; the uptime last, so that the others are there when it is."""
        return (
            Filter(self._memory_topic, qos=0, retained=ALWAYS),
            Filter(DROPPED, qos=0, retained=ALWAYS),
            Filter(UPTIME, qos=0, retained=ALWAYS),
        )

    def will(self, now: Instant) -> Will | None:
        """Let the broker say that we are gone; it cannot say when, so it says since when we were there."""
        return Will(self._status_topic, status_payload("offline", reason="connection lost", connected_at=now))

    def farewell(self, now: Instant) -> Will | None:
        """Say that we go on purpose."""
        return Will(self._status_topic, status_payload("offline", reason="stopped", at=now))

    def connected(self, now: Instant, *, session_present: bool) -> None:
        """Begin to learn how the gap was."""
        super().connected(now, session_present=session_present)
        self._mark = b""
        self.link.connected(self.shared.clock.monotonic(), session_present=session_present)

    def subscribed(self, now: Instant, refused: Sequence[str]) -> None:
        """Say that we are here, and go on learning."""
        super().subscribed(now, refused)
        self.connection.publish(self._status_topic, status_payload("online", at=now), retain=True)
        self.link.subscribed()

    def message(self, message: Message) -> None:
        """Put it into the inbox, or hold it until LinkUp."""
        topic = message.topic
        if topic not in self._own_topics and topic not in self._elsewhere and self.link.stage is not Stage.LEARNING:
            self.shared.inbox.put(message)  # nearly every message
            return
        handle = self._inner.get(topic)
        if handle is not None:
            self.connection.acknowledge((message,))
            handle(message)
        elif self.is_canary(message):
            self._urgent.passed(message.payload)
        else:
            self._put(self.link.message(message))

    def turned(self, now: Instant) -> None:
        """Look at the time-outs."""
        if self.wanted is not self._topics:
            self._elsewhere = frozenset(self.wanted.urgent)
        super().turned(now)
        real = self.shared.clock.monotonic()
        was, urgent = self.link.stage, self._urgent
        is_settled = urgent.is_ready and urgent.is_settled
        events = self.link.tick(now, real, urgent_settled=is_settled, urgent_drained=urgent.is_drained)
        self._put(events)
        if self.is_ready and is_settled and not urgent.covers and self._mark != urgent.canary:
            # What comes behind this mark was published when the urgent connection was subscribed.
            self._mark = urgent.canary
            self.connection.publish(self.canary_topic, self._mark)
        if was is Stage.LEARNING and self.link.stage is not Stage.LEARNING and self.is_ready:
            self._note_whether_sys_is_readable()
        if events and isinstance(events[-1], Drained):
            self.end_session_fault(now)
            log.info("mqtt.drained", by_canary=self.is_drained)
        if self.is_ready:
            self._publish_health(now, real)
        if self.link.stage in (Stage.DRAINING, Stage.DRAINED):
            faults, is_new = self.drops.settle(now, real)
            self._put(faults)
            if is_new:
                self.connection.publish(self._memory_topic, str(self.drops.count).encode(), retain=True)

    def _publish_health(self, now: Instant, real: float) -> None:
        """Ask the loop how it is, and publish its answer; where none comes, say that."""
        if self.report is not None and (self._asked_real is None or real - self._asked_real >= HEALTH_EVERY):
            if self._asked_real is not None and real - self._answered_real > STALLED_AFTER:
                self._health = _json({"state": "stalled", "at": format_at(now)})
            self._asked_real = real
            if not self._is_asking:
                self._is_asking = True
                self.shared.inbox.put(Probe(self._reported, self.report))
        health, self._health = self._health, None
        if health is not None:
            self.connection.publish(self._health_topic, health, retain=True)

    def _reported(self, answer: object) -> None:
        """Keep the answer for the connection's own thread. Called on the engine's."""
        self._is_asking = False
        self._answered_real = self.shared.clock.monotonic()
        self._health = _json(answer if isinstance(answer, dict) else {"state": "stalled"})
        self.connection.wake()

    def lost(self, at: Instant, reason: str) -> None:
        """Tell of the gap."""
        super().lost(at, reason)
        self._asked_real = None  # the next connection says at once how we are
        # Smoke and panic go by the other connection, which a broker that dies leaves behind as well.
        proven = [each for each in (self.proven_at, self._urgent.proven_at) if each is not None]
        self._put(self.link.lost(at, min(proven, default=None)))

    def drains_again(self) -> None:
        """Tell the link: it is not drained until the new canary is back."""
        self.link.again(self.shared.clock.monotonic())

    def drained(self, now: Instant) -> None:
        """Tell the link; the fault of a lost session ends with its Drained."""
        del now
        self.link.canary()

    def _put(self, events: Iterable[Event]) -> None:
        """Put into the inbox what is ours, and of smoke and panic what nobody else has."""
        for event in events:
            if not isinstance(event, Message) or event.topic not in self._elsewhere:
                self.shared.inbox.put(event)
            elif self._urgent.covers:
                self.connection.acknowledge((event,))
            else:
                self.shared.inbox.put(event, urgent=True)

    def _note_whether_sys_is_readable(self) -> None:
        is_readable = self.link.uptime is not None
        if self._sys_is_readable and not is_readable:
            log.warning("mqtt.sys_unreadable", topic=UPTIME, hint="every gap will count as blind; see the ACL")
        self._sys_is_readable = is_readable

    def _uptime(self, message: Message) -> None:
        seconds = _count(message.payload)
        self.link.uptime = seconds if seconds is not None else self.link.uptime

    def _dropped(self, message: Message) -> None:
        self.drops.seen(_count(message.payload))

    def _remembered(self, message: Message) -> None:
        self.drops.remembered(_count(message.payload))


def _json(row: dict[str, object]) -> bytes:
    return json.dumps(row).encode()


def _count(payload: bytes) -> int | None:
    """Read "417" or "417 seconds"; None for anything else that somebody may have put there."""
    word = payload.split(b" ", 1)[0]
    return int(word) if word.isdigit() and len(word) <= 18 else None
