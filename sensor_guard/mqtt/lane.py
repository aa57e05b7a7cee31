"""What both connections do with their own story: subscribe, send the canary, notice a lost session, tell of outages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

import structlog

from sensor_guard.clock import Clock
from sensor_guard.inbox import Event, Inbox
from sensor_guard.model import Fault, Instant, Message
from sensor_guard.mqtt.access import Access, Filter, Will
from sensor_guard.mqtt.connection import Connection
from sensor_guard.mqtt.link import Outages

BULK, URGENT = "bulk", "urgent"
UPTIME = "$SYS/broker/uptime"
ALWAYS, NEVER = 0, 2
"""What a Filter may say of retained messages, besides 1."""

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


class Lane:
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
        self._canaries = 0
        self.is_ready = False
        """Connected, and every SUBSCRIBE is answered."""
        self.is_drained = False
        """And the canary is back."""
        shared.gone(self.name, shared.clock.now(), "not yet connected")

    # -- what differs ---------------------------------------------------------------------------------------------

    def sensor_filters(self, topics: Topics) -> tuple[str, ...]:
        """Give the sensors' part of the subscriptions."""
        raise NotImplementedError

    def inner_filters(self) -> tuple[Filter, ...]:
        """Give further subscriptions, which come first."""
        raise NotImplementedError

    def drained(self, now: Instant) -> None:
        """The canary is back."""
        raise NotImplementedError

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
        return [*self.inner_filters(), *sensors, Filter(self.canary_topic, retained=NEVER)]

    def connected(self, now: Instant, *, session_present: bool) -> None:
        """Notice a session that the broker no longer has."""
        self.is_drained = self.is_ready = False
        self.canary = b""
        if self._expects_session and not session_present:
            self._session_fault = True
            log.error("mqtt.session_lost", lane=self.name)
            self.shared.inbox.put(Fault("session_lost", active=True, at=now, detail=self.name))
        self._expects_session = True

    def subscribed(self, now: Instant, refused: Sequence[str]) -> None:
        """Send the canary behind everything that waits in the session."""
        self.is_ready = True
        refused = [topic for topic in refused if not topic.startswith("$SYS/")]
        if refused:
            log.error("mqtt.subscription_refused", lane=self.name, topics=refused[:10], count=len(refused))
            self.shared.gone(self.name, now, f"subscription refused: {refused[0]}")
        else:
            self.shared.back(self.name)
        self._canaries += 1
        self.canary = f"{self.name} {now} {self.connection.generation} {self._canaries}".encode()
        self.connection.publish(self.canary_topic, self.canary)

    def stumbled(self, message: Message) -> None:
        """Put it into the inbox unread."""
        is_urgent = self.name == URGENT
        self.shared.inbox.put(message._replace(urgent=is_urgent), urgent=is_urgent)

    def lost(self, at: Instant, reason: str) -> None:
        """Tell of the outage."""
        self.is_drained = self.is_ready = False
        self.shared.gone(self.name, at, reason)

    def turned(self, now: Instant) -> None:
        """Follow a changed configuration, and tell of outages that last."""
        if self.wanted is not self._topics and self.connection.is_up:
            before, self._topics = self._topics, self.wanted
            old, new = set(self.sensor_filters(before)), self.sensor_filters(self._topics)
            self.connection.unsubscribe(sorted(old.difference(new)))
            added = [Filter(topic) for topic in new if topic not in old]
            if added:
                self.connection.subscribe(added)
            else:
                self.subscribed(now, ())
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
