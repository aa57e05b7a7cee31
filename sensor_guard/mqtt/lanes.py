"""What each of the two connections does with what comes: the bulk lane and the urgent lane."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

import structlog

from sensor_guard.clock import Clock
from sensor_guard.inbox import Event, Inbox
from sensor_guard.model import Drained, Fault, Instant, Message
from sensor_guard.mqtt.access import Access, Filter, Will, status_payload
from sensor_guard.mqtt.connection import Connection
from sensor_guard.mqtt.link import DropWatch, Link, Outages, Stage

UPTIME = "$SYS/broker/uptime"
DROPPED = "$SYS/broker/publish/messages/dropped"
BULK, URGENT = "bulk", "urgent"
_ALWAYS, _NEVER = 0, 2  # retained messages on subscribing

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Topics:
    """What to subscribe to. ``bulk``: filters, wildcards allowed; ``urgent``: the topics of smoke and panic sensors."""

    bulk: tuple[str, ...]
    urgent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Before:
    """What the journal knows of the time before this start.

    ``known_until``: the ``now`` of the last batch; if the link was lost then, since when; None on a new box.
    ``had_session``: whether the broker ever kept a session for us, so that a missing one is a fault.
    """

    known_until: Instant | None = None
    had_session: bool = False


class Shared:
    """What both lanes use. Each lane runs on a thread of its own; only ``outages`` is touched by both."""

    def __init__(self, access: Access, inbox: Inbox, clock: Clock) -> None:
        self.access, self.inbox, self.clock = access, inbox, clock
        self._outages = Outages()
        self._lock = Lock()

    def put_all(self, events: Iterable[Event]) -> None:
        """Put events into the inbox, in their order."""
        for event in events:
            self.inbox.put(event)

    def gone(self, lane: str, at: Instant, reason: str) -> None:
        """This lane is not there, or not whole."""
        with self._lock:
            self._outages.gone(lane, at, self.clock.monotonic(), reason)

    def back(self, lane: str) -> None:
        """This lane is there again."""
        with self._lock:
            self._outages.back(lane)

    def settle(self, now: Instant) -> None:
        """Tell of an outage that lasts, or has ended."""
        with self._lock:
            self.put_all(self._outages.settle(now, self.clock.monotonic()))


class _Lane:
    """What both lanes do: subscribe, send the canary, notice a lost session, tell of outages."""

    connection: Connection
    name = ""

    def __init__(self, shared: Shared, topics: Topics, *, expects_session: bool) -> None:
        self.shared = shared
        self.wanted = topics
        self._topics = topics
        self._expects_session = expects_session
        self._session_fault = False
        self.canary_topic = shared.access.topic("canary" if self.name == BULK else f"canary/{self.name}")
        self.canary = b""
        self.is_drained = False
        shared.gone(self.name, shared.clock.now(), "not yet connected")

    # -- what differs ---------------------------------------------------------------------------------------------

    def sensor_filters(self, topics: Topics) -> tuple[str, ...]:
        """Give the sensors' part of the subscriptions."""
        raise NotImplementedError

    def inner_filters(self) -> tuple[Filter, ...]:
        """Give further subscriptions, which come first."""
        return ()

    def drained(self, now: Instant) -> None:
        """The canary is back."""
        self.end_session_fault(now)

    # -- Handler --------------------------------------------------------------------------------------------------

    def will(self, now: Instant) -> Will | None:
        """Have none: the bulk connection speaks for both."""
        del now
        return None

    def farewell(self, now: Instant) -> Will | None:
        """Say nothing, likewise."""
        del now
        return None

    def filters(self) -> Sequence[Filter]:
        """Name the subscriptions: ours first, so that the uptime is known soon; the canary's last."""
        self._topics = self.wanted
        sensors = [Filter(topic) for topic in self.sensor_filters(self._topics)]
        return [*self.inner_filters(), *sensors, Filter(self.canary_topic, retained=_NEVER)]

    def connected(self, now: Instant, *, session_present: bool) -> None:
        """Notice a session that the broker no longer has."""
        self.is_drained = False
        self.canary = f"{self.connection.generation} {now}".encode()
        if self._expects_session and not session_present:
            self._session_fault = True
            log.error("mqtt.session_lost", lane=self.name)
            self.shared.inbox.put(Fault("session_lost", active=True, at=now, detail=self.name))
        self._expects_session = True

    def subscribed(self, now: Instant, refused: Sequence[str]) -> None:
        """Send the canary behind everything that waits in the session."""
        refused = [topic for topic in refused if not topic.startswith("$SYS/")]
        if refused:
            log.error("mqtt.subscription_refused", lane=self.name, topics=refused[:10], count=len(refused))
            self.shared.gone(self.name, now, f"subscription refused: {refused[0]}")
        else:
            self.shared.back(self.name)
        self.connection.publish(self.canary_topic, self.canary)

    def lost(self, at: Instant, reason: str) -> None:
        """Tell of the outage."""
        self.is_drained = False
        self.shared.gone(self.name, at, reason)

    def turned(self, now: Instant) -> None:
        """Follow a changed configuration, and tell of outages that last."""
        if self.wanted is not self._topics and self.connection.is_up:
            before, self._topics = self._topics, self.wanted
            old, new = set(self.sensor_filters(before)), self.sensor_filters(self._topics)
            self.connection.unsubscribe(sorted(old.difference(new)))
            self.connection.subscribe([Filter(topic) for topic in new if topic not in old])
        self.shared.settle(now)

    # -- helpers --------------------------------------------------------------------------------------------------

    def is_canary(self, message: Message) -> bool:
        """Acknowledge a canary, this connection's or a forgotten one; note when it is this one's."""
        if message.topic != self.canary_topic:
            return False
        self.connection.acknowledge((message,))
        if message.payload == self.canary and not self.is_drained:
            self.is_drained = True
            self.drained(message.received_at)
        return True

    def end_session_fault(self, now: Instant) -> None:
        """A new session stands, and nothing waits in it: the loss is over."""
        if self._session_fault:
            self._session_fault = False
            self.shared.inbox.put(Fault("session_lost", active=False, at=now, detail=self.name))


class UrgentLane(_Lane):
    """Smoke and panic: into the urgent lane of the inbox at once, held for nothing.

    ``covers``: what the bulk connection brings on urgent topics is in this connection's session as well.
    """

    name = URGENT

    def __init__(self, shared: Shared, topics: Topics, *, expects_session: bool) -> None:
        super().__init__(shared, topics, expects_session=expects_session)
        self._own = frozenset(topics.urgent)
        self.covers = False
        self.on_drained: Callable[[], None] = _nobody

    def sensor_filters(self, topics: Topics) -> tuple[str, ...]:
        """Subscribe to each sensor's topic."""
        return topics.urgent

    def connected(self, now: Instant, *, session_present: bool) -> None:
        """An old session covers whatever the other one holds; a new one only what comes after its canary."""
        super().connected(now, session_present=session_present)
        self.covers = session_present

    def lost(self, at: Instant, reason: str) -> None:
        """Let the bulk connection stand in: nobody knows whether the broker still keeps this session."""
        self.covers = False
        super().lost(at, reason)

    def message(self, message: Message) -> None:
        """Put it into the urgent lane."""
        if message.topic in self._own:
            self.shared.inbox.put(message._replace(urgent=True), urgent=True)
        elif not self.is_canary(message):
            # A sensor that is no longer in the homes file, or no longer of an urgent kind.
            self.connection.acknowledge((message,))
            self.connection.unsubscribe([message.topic])

    def turned(self, now: Instant) -> None:
        """Follow a changed configuration."""
        self._own = self._own if self.wanted is self._topics else frozenset(self.wanted.urgent)
        super().turned(now)

    def drained(self, now: Instant) -> None:
        """Let the bulk connection know."""
        super().drained(now)
        self.on_drained()


class BulkLane(_Lane):
    """Everything else, and the story of the link, in one order.

    Its wildcards bring smoke and panic a second time. That copy is acknowledged and dropped, unless the urgent
    connection does not cover it: then it is the only one.
    """

    name = BULK

    def __init__(self, shared: Shared, topics: Topics, before: Before, urgent: UrgentLane) -> None:
        super().__init__(shared, topics, expects_session=before.had_session)
        known_until = shared.clock.now() if before.known_until is None else before.known_until
        self.link = Link(known_until, shared.clock.factor)
        self.drops = DropWatch()
        self._urgent = urgent
        self._elsewhere = frozenset(topics.urgent)
        self._memory_topic = shared.access.topic("dropped")
        self._status_topic = shared.access.topic("status")
        self._inner: dict[str, Callable[[Message], None]] = {
            UPTIME: self._uptime,
            DROPPED: self._dropped,
            self._memory_topic: self._remembered,
            urgent.canary_topic: self._urgent_canary,
        }
        self._sys_is_readable = True
        urgent.on_drained = self._wake

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
            Filter(self._urgent.canary_topic, retained=_NEVER),
            Filter(self._memory_topic, retained=_ALWAYS),
            Filter(DROPPED, qos=0, retained=_ALWAYS),
            Filter(UPTIME, qos=0, retained=_ALWAYS),
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
        self.link.connected(self.shared.clock.monotonic(), session_present=session_present)

    def subscribed(self, now: Instant, refused: Sequence[str]) -> None:
        """Say that we are here, and go on learning."""
        super().subscribed(now, refused)
        self.connection.publish(self._status_topic, status_payload("online", at=now), retain=True)
        self.shared.put_all(self.link.subscribed(now, self.shared.clock.monotonic()))

    def message(self, message: Message) -> None:
        """Put it into the inbox, or hold it until LinkUp."""
        topic = message.topic
        if topic in self._elsewhere:
            if self._urgent.covers:
                self.connection.acknowledge((message,))
            else:
                self.shared.inbox.put(message, urgent=True)
        elif topic in self._inner:
            self.connection.acknowledge((message,))
            self._inner[topic](message)
        elif not self.is_canary(message):
            self.shared.put_all(self.link.message(message))

    def turned(self, now: Instant) -> None:
        """Look at the time-outs."""
        if self.wanted is not self._topics:
            self._elsewhere = frozenset(self.wanted.urgent)
        super().turned(now)
        real = self.shared.clock.monotonic()
        was = self.link.stage
        events = self.link.tick(now, real, others_drained=self._urgent.is_drained)
        self.shared.put_all(events)
        if any(isinstance(event, Drained) for event in events):
            self.end_session_fault(now)
            log.info("mqtt.drained", by_canary=self.is_drained)
        if was is Stage.LEARNING and self.link.stage is Stage.DRAINING and self._sys_is_readable:
            # It came up by the time-out: the broker does not tell us about itself.
            self._sys_is_readable = False
            log.warning("mqtt.sys_unreadable", topic=UPTIME, hint="every gap will count as blind; see the ACL")
        if self.link.stage in (Stage.DRAINING, Stage.DRAINED):
            faults, is_new = self.drops.settle(now, real)
            self.shared.put_all(faults)
            if is_new:
                self.connection.publish(self._memory_topic, str(self.drops.count).encode(), retain=True)

    def lost(self, at: Instant, reason: str) -> None:
        """Tell of the gap."""
        super().lost(at, reason)
        self.shared.put_all(self.link.lost(at))

    def drained(self, now: Instant) -> None:
        """Tell the link; the fault of a lost session ends with its Drained."""
        del now
        self.link.canary()

    def _uptime(self, message: Message) -> None:
        seconds = _count(message.payload)
        if seconds is not None:
            self._sys_is_readable = True
            self.shared.put_all(self.link.uptime(seconds, message.received_at, self.shared.clock.monotonic()))

    def _dropped(self, message: Message) -> None:
        self.drops.seen(_count(message.payload))

    def _remembered(self, message: Message) -> None:
        self.drops.remembered(_count(message.payload))

    def _urgent_canary(self, message: Message) -> None:
        # Behind everything that was published before the urgent connection had subscribed.
        if message.payload == self._urgent.canary:
            self._urgent.covers = True


def _count(payload: bytes) -> int | None:
    """Read "417" or "417 seconds"; None for anything else that somebody may have put there."""
    word = payload.split(b" ", 1)[0]
    return int(word) if word.isdigit() and len(word) <= 18 else None


def _nobody() -> None:
    """Stand for nobody who wants to know."""
