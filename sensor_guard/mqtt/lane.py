"""What both connections do with their own story: subscribe, send the canary, notice a lost session, tell of outages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

import structlog

from sensor_guard.clock import Clock
from sensor_guard.inbox import Event, Inbox, Probe
from sensor_guard.model import SECOND, Fault, Instant, Message
from sensor_guard.mqtt.access import Access, Filter, Will
from sensor_guard.mqtt.connection import Connection
from sensor_guard.mqtt.link import Outages

BULK, URGENT = "bulk", "urgent"
UPTIME = "$SYS/broker/uptime"
PULSE_EVERY = 10.0
"""Real seconds between two pulses: canaries that prove the way from the broker through the loop and back."""
PULSE_WITHIN = 30.0
"""Real seconds without a pulse or a message, and with nothing left to acknowledge, after which a connection whose
socket seems well is opened anew."""
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

    ``known_until``: the ``now`` of the last batch; if the link was lost then, since when; None on a new box. Whether
    all that was published before had been handed over by then is not in the journal. The pulses prove it every few
    seconds, and one that stays away for ``PULSE_WITHIN`` ends the connection: so much earlier it was proven.
    ``had_session``: whether the broker ever kept a session for us, so that a missing one is a fault.
    ``was_offline``: the fault ``broker_offline`` has begun, and nobody has told of its end.
    """

    known_until: Instant | None = None
    had_session: bool = False
    was_offline: bool = False

    def proven_at(self, clock: Clock) -> Instant:
        """Say until when all that was published had been handed over."""
        if self.known_until is None:
            return clock.now()
        return self.known_until - round(PULSE_WITHIN * SECOND * clock.factor)


class Shared:
    """What both lanes use. Each lane runs on a thread of its own; only ``outages`` is touched by both."""

    def __init__(self, access: Access, inbox: Inbox, clock: Clock, *, was_offline: bool = False) -> None:
        self.access, self.inbox, self.clock = access, inbox, clock
        self._outages = Outages(is_told=was_offline)
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

    def trouble(self) -> str:
        """Say which lanes are not there, and why: "bulk: refused: Not authorized"; "" if all is well."""
        with self._lock:
            return self._outages.reasons()

    def settle(self, now: Instant) -> None:
        """Tell of an outage that lasts, or has ended."""
        with self._lock:
            self.put_all(self._outages.settle(now, self.clock.monotonic()))


class Lane:
    """What both lanes do: subscribe, send the canary, notice a lost session, tell of outages."""

    connection: Connection
    name = ""

    def __init__(self, shared: Shared, topics: Topics, before: Before) -> None:
        self.shared = shared
        self.wanted = topics
        self._topics = topics
        self._expects_session = before.had_session
        self._session_fault = False
        self.canary_topic = shared.access.topic("canary" if self.name == BULK else f"canary/{self.name}")
        self.canary = b""
        self._canaries = 0
        self.is_ready = False
        """Connected, and every SUBSCRIBE is answered."""
        self.is_drained = False
        """And the canary is back."""
        self.pulse = b""
        """The pulse that is on its way; empty when none is."""
        self._is_proving = False  # it is back, and on its way through the loop
        self._is_suspect = False  # the last connection was given up because the canary stayed away
        self._is_mute = False  # this one may not publish
        self._pulses = 0
        self._pulse_real = 0.0
        self._idle_real = 0.0  # since when nothing is left to acknowledge
        self._proven_real = 0.0
        self.proven_at: Instant | None = before.proven_at(shared.clock)
        """Whatever was published before this has been handed over, on this connection or an earlier one; None: that
        cannot be proven, because we may not publish."""
        self._canary_at: Instant = 0
        self._pulse_at: Instant = 0
        self.must_drain = False
        """A new canary is wanted, as after a gap though the connection was never lost."""
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

    def drains_again(self) -> None:
        """A new canary is about to go out."""

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
        self.canary = self.pulse = b""
        self._is_proving = self._is_mute = False
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
        elif not self._is_suspect:
            self.shared.back(self.name)
        if self.canary_topic in refused:
            self._is_mute, self.proven_at = True, None
        self._canaries += 1
        self._canary_at = now
        self._pulse_real = self.shared.clock.monotonic()
        self.canary = f"{self.name} {now} {self.connection.generation} {self._canaries}".encode()
        self.connection.publish(self.canary_topic, self.canary)

    def stumbled(self, message: Message) -> None:
        """Put it into the inbox unread."""
        is_urgent = self.name == URGENT
        self.shared.inbox.put(message._replace(urgent=is_urgent), urgent=is_urgent)

    def publish_refused(self, reason: str) -> None:
        """Call it an outage; and wait for no canary, which will not come."""
        self._is_mute = True
        self.proven_at = None
        self.shared.gone(self.name, self.shared.clock.now(), f"publish refused: {reason}")

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
        if self.must_drain and self.is_ready:
            self.must_drain = self.is_drained = False
            self.drains_again()
            self.subscribed(now, ())
        if self.is_ready:
            self._beat()
        self.shared.settle(now)

    def _beat(self) -> None:
        """Send a pulse when it is time. One that stays away while nothing else comes, either, ends the connection."""
        real = self.shared.clock.monotonic()
        if self.connection.unacknowledged:
            self._idle_real = real  # it is our turn, not the broker's, which may send nothing more
        since = max(self._pulse_real, self._idle_real, self.connection.delivered_real)
        if self._is_mute or self._is_proving:
            return
        if self.pulse or not self.is_drained:
            if real - since > PULSE_WITHIN:
                self._is_suspect = True
                log.warning("mqtt.pulse_missing", lane=self.name, seconds=round(real - since))
                self.connection.give_up("our own canary does not come back")
        elif real - self._pulse_real >= PULSE_EVERY:
            self._pulses += 1
            self._pulse_real = real
            self._pulse_at = self.shared.clock.now()
            self.pulse = f"{self.name} {self.connection.generation} pulse {self._pulses}".encode()
            self.connection.publish(self.canary_topic, self.pulse)

    def prove(self) -> None:
        """Something of this connection has gone through the loop. From any thread."""
        self._proven_real = self.shared.clock.monotonic()

    def proof_age(self, real: float) -> float | None:
        """Say for how many seconds nothing of this connection has gone through the loop; None while it is not up."""
        return real - self._proven_real if self.is_drained else None

    # -- helpers --------------------------------------------------------------------------------------------------

    def is_canary(self, message: Message) -> bool:
        """Acknowledge a canary, this connection's or a forgotten one; note when it is this one's."""
        if message.topic != self.canary_topic:
            return False
        if self.pulse and message.payload == self.pulse:
            self.pulse, self._is_proving = b"", True
            self.proven_at = self._pulse_at
            # Acknowledged like a reading, behind the loop's turn: so the whole way is proven.
            self.shared.inbox.put(Probe(lambda _none: self._beaten(message)), urgent=self.name == URGENT)
            return True
        self.connection.acknowledge((message,))
        if message.payload == self.canary and not self.is_drained:
            self.prove()
            self.is_drained = True
            self.proven_at = self._canary_at
            if self._is_suspect:
                self._is_suspect = False
                self.shared.back(self.name)
            self.drained(message.received_at)
        return True

    def _beaten(self, message: Message) -> None:
        self.connection.acknowledge((message,))
        self._is_proving = False
        self.prove()

    def end_session_fault(self, now: Instant) -> None:
        """A new session stands, and nothing waits in it: the loss is over."""
        if self._session_fault:
            self._session_fault = False
            self.shared.inbox.put(Fault("session_lost", active=False, at=now, detail=self.name))
