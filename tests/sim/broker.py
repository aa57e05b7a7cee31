"""A broker in memory, and the daemon's connections to it: the subscriber's handlers without a socket.

As mosquitto does it: one session a client id, first in first out; what is not acknowledged comes again with DUP; at
most the receive maximum is under way; retained messages; $SYS. What it can do wrong is switched on from outside: be
gone, be started again with or without what it held, forget a session, drop messages, keep a dead connection open.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sensor_guard.clock import Clock
from sensor_guard.model import Instant, Message
from sensor_guard.mqtt.access import Access, Filter
from sensor_guard.mqtt.bulk import DROPPED
from sensor_guard.mqtt.connection import BACK_OFF
from sensor_guard.mqtt.lane import NEVER, UPTIME, Lane

RECEIVE_MAXIMUM = 500


@dataclass(eq=False, slots=True)
class Packet:
    """One message on its way. ``uid``: of what a device published, -1 for the broker's and the daemon's own."""

    topic: str
    payload: bytes
    qos: int
    uid: int = -1
    retained: bool = False


@dataclass(eq=False)
class Session:
    """What the broker keeps for one client id."""

    exact: set[str] = field(default_factory=set)
    prefixes: set[str] = field(default_factory=set)
    queue: deque[Packet] = field(default_factory=deque)
    inflight: "OrderedDict[int, Packet]" = field(default_factory=OrderedDict)
    last_mid: int = 0
    line: "SimConnection | None" = None

    def wants(self, topic: str) -> bool:
        return topic in self.exact or any(topic.startswith(prefix) for prefix in self.prefixes)


class Broker:
    """``now``: true time. ``acknowledged``: called with each packet of a device that a client has acknowledged."""

    def __init__(self, now: Callable[[], Instant], acknowledged: Callable[[Packet], None]) -> None:
        self._now, self._acknowledged = now, acknowledged
        self.sessions: dict[str, Session] = {}
        self.retained: dict[str, bytes] = {}
        self.is_up = True
        self.is_reachable = True
        self.started_at = now() - 30 * 86_400_000
        self.dropped = 0
        self.queue_limit: int | None = None
        self.lost: list[Packet] = []
        self.kept: dict[str, bytes] = {}
        """What devices have left, by topic; the daemon's own words are in ``retained``."""
        self.handed_over: dict[int, Instant] = {}
        """QoS 0 messages that went to a client which was there, and when."""
        self.told: Callable[[str], None] = lambda _name: None

    # -- what clients do ------------------------------------------------------------------------------------------

    def connect(self, client_id: str, line: "SimConnection") -> bool | None:
        """Take a client; whether its session was there, None if nobody answers."""
        if not self.is_up or not self.is_reachable:
            return None
        present = client_id in self.sessions
        session = self.sessions.setdefault(client_id, Session())
        session.line = line
        for mid, packet in session.inflight.items():
            line.inbound.append((packet, mid, True))
        self._pump(session)
        return present

    def subscribe(self, client_id: str, filters: Sequence[Filter]) -> None:
        session = self.sessions[client_id]
        for one in filters:
            is_new = one.topic not in session.exact and one.topic.removesuffix("#") not in session.prefixes
            if one.topic.endswith("/#"):
                session.prefixes.add(one.topic[:-1])
            else:
                session.exact.add(one.topic)
            if one.retained == NEVER or (one.retained == 1 and not is_new) or session.line is None:
                continue
            for topic, left in self.kept.items():
                if topic == one.topic or (one.topic.endswith("/#") and topic.startswith(one.topic[:-1])):
                    self.told("retained")
                    session.queue.append(Packet(topic, left, 1, retained=True))
            body = self._system(one.topic) if one.topic.startswith("$SYS/") else self.retained.get(one.topic)
            if body is not None:
                session.line.inbound.append((Packet(one.topic, body, 0, retained=True), 0, False))
        self._pump(session)

    def unsubscribe(self, client_id: str, topics: Iterable[str]) -> None:
        session = self.sessions[client_id]
        for topic in topics:
            session.exact.discard(topic)
            session.prefixes.discard(topic.removesuffix("#"))

    def publish(self, packet: Packet, *, retain: bool = False) -> bool:
        """Take a message from anybody; False if the broker is not there: then it must be published again."""
        if not self.is_up:
            return False
        if retain and packet.uid >= 0:
            self.kept[packet.topic] = packet.payload
        elif retain:
            self.retained[packet.topic] = packet.payload
        wanting = [session for session in self.sessions.values() if session.wants(packet.topic)]
        if not wanting and packet.uid >= 0 and packet.qos:
            self.lost.append(packet)  # taken, and for nobody: the session of the one who wants it is gone
        for session in wanting:
            if packet.qos == 0:
                # Never queued: who is not there does not get it.
                if session.line is not None:
                    if packet.uid >= 0:
                        self.handed_over[packet.uid] = self._now()
                    session.line.inbound.append((packet, 0, False))
                    session.line.wake()
                else:
                    self.told("qos0_lost")
                continue
            if self.queue_limit is not None and packet.uid >= 0 and len(session.queue) >= self.queue_limit:
                self.dropped += 1
                self.lost.append(packet)
                self.tell(DROPPED)
                continue
            session.queue.append(packet)
            self._pump(session)
        return True

    def acknowledge(self, client_id: str, mid: int) -> None:
        session = self.sessions.get(client_id)
        packet = session.inflight.pop(mid, None) if session is not None else None
        if session is not None and packet is not None:
            if packet.uid >= 0:
                self._acknowledged(packet)
            self._pump(session)

    def gone(self, client_id: str) -> None:
        """The client's connection is no more."""
        session = self.sessions.get(client_id)
        if session is not None:
            session.line = None

    # -- what goes wrong ------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Be gone; every connection breaks."""
        self.is_up = False
        self.cut(silently=False)

    def start(self, *, keeps: bool) -> None:
        """Come back, with what it held or without."""
        self.is_up = True
        self.started_at = self._now()
        self.dropped = 0
        if not keeps:
            for session in self.sessions.values():
                self.lost.extend([*session.queue, *session.inflight.values()])
            self.sessions.clear()
            self.retained.clear()
            self.kept.clear()

    def start_from_old_save(self) -> None:
        """Come back after a power cut: who had subscribed to what is known, what was held since is gone."""
        for session in self.sessions.values():
            self.lost.extend([*session.queue, *session.inflight.values()])
            session.queue.clear()
            session.inflight.clear()
        self.start(keeps=True)

    def forget(self) -> None:
        """Give every session up, as after its expiry."""
        self.cut(silently=False)
        for session in self.sessions.values():
            self.lost.extend([*session.queue, *session.inflight.values()])
        self.sessions.clear()

    def cut(self, *, silently: bool) -> None:
        """Break the connections, by a reset or without a word."""
        for session in self.sessions.values():
            if session.line is not None:
                session.line.breaks("silent" if silently else "reset")
                session.line.wake()
                session.line = None

    def tell(self, topic: str) -> None:
        """Say something of the broker itself to whoever has subscribed to it."""
        for session in self.sessions.values():
            if topic in session.exact and session.line is not None:
                session.line.inbound.append((Packet(topic, self._system(topic), 0), 0, False))
                session.line.wake()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _system(self, topic: str) -> bytes:
        if topic == UPTIME:
            return f"{(self._now() - self.started_at) // 1_000} seconds".encode()
        return str(self.dropped).encode()

    def _pump(self, session: Session) -> None:
        line = session.line
        if line is None:
            return
        while session.queue and len(session.inflight) < RECEIVE_MAXIMUM:
            packet = session.queue.popleft()
            session.last_mid = session.last_mid % 65_535 + 1
            while session.last_mid in session.inflight:
                session.last_mid = session.last_mid % 65_535 + 1
            session.inflight[session.last_mid] = packet
            line.inbound.append((packet, session.last_mid, False))
            line.wake()


class SimConnection:
    """What ``sensor_guard.mqtt.connection.Connection`` is to the lanes and to the subscriber, without a socket."""

    def __init__(
        self, access: Access, name: str, client_id: str, clock: Clock, handler: Lane, *, broker: Broker,
        wake: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.name, self.generation, self.is_up = name, 0, False
        self.unacknowledged = 0
        self.delivered_real = 0.0
        self.turned_at = clock.monotonic()
        self.inbound: deque[tuple[Packet, int, bool]] = deque()
        self.broken = ""
        self.keepalive = access.settings.keepalive
        self._client_id, self._clock, self._handler, self._broker = client_id, clock, handler, broker
        self._wake = wake
        self._acks: deque[tuple[int, int]] = deque()
        self._suback = False
        self._retry_at = 0.0
        self._delay = BACK_OFF[0]
        self._heard_at: Instant = clock.now()
        self._heard_real = clock.monotonic()

    # -- what the lanes and the subscriber call -------------------------------------------------------------------

    def wake(self) -> None:
        self._wake(self.name)

    def acknowledge(self, messages: Iterable[Message]) -> None:
        self._acks.extend((each.generation, each.packet_id) for each in messages if each.qos)
        self.wake()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if self.is_up and not self.broken:
            self._broker.publish(Packet(topic, payload, 1), retain=retain)

    def subscribe(self, filters: Sequence[Filter]) -> None:
        if self.is_up and not self.broken:
            self._broker.subscribe(self._client_id, filters)
            self._suback = True

    def unsubscribe(self, topics: Sequence[str]) -> None:
        if self.is_up and not self.broken:
            self._broker.unsubscribe(self._client_id, topics)

    def give_up(self, _reason: str) -> None:
        self.breaks("reset")
        self.wake()

    def is_turning(self, _limit: float) -> bool:
        return True

    def run(self) -> None:
        raise AssertionError("the simulation turns it by step()")

    def stop(self) -> None:
        """Nothing: the simulation ends connections by killing the process."""

    def join(self, _within: float) -> bool:
        return True

    def retry_now(self) -> None:
        if not self.is_up:
            self._retry_at = 0.0
            self.wake()

    def breaks(self, how: str) -> None:
        """The connection is worth nothing from now on. Until now an answer to each PINGREQ has come."""
        if not self.broken:
            self._heard_at, self._heard_real = self._clock.now(), self._clock.monotonic()
        self.broken = how

    # -- a turn ---------------------------------------------------------------------------------------------------

    def step(self) -> float:
        """Do one turn; give for how many seconds there is nothing to do."""
        self.turned_at = real = self._clock.monotonic()
        if not self.is_up:
            if real >= self._retry_at:
                self._open(real)
        else:
            if self.inbound and self.broken != "silent":
                self._heard_at, self._heard_real = self._clock.now(), real
            self._read()
            self._send_acks()
            silent_for = real - self._heard_real
            if self.broken == "reset" or (self.broken and silent_for >= self.keepalive / 1_000):
                self._drop(real)
        self._handler.turned(self._clock.now())
        if self.inbound or self._suback:
            return 0.0
        return self._idle(self._clock.monotonic())

    def _idle(self, real: float) -> float:
        if not self.is_up:
            return max(0.0, self._retry_at - real)
        if not self.broken:
            self._heard_at, self._heard_real = self._clock.now(), real  # a PINGRESP would have come
        link = getattr(self._handler, "link", None)
        is_calm = self._handler.is_drained and (link is None or link.stage == "drained")
        if not is_calm or self.broken:
            return 1.0
        drops = getattr(self._handler, "drops", None)
        return 30.0 if drops is not None and drops._over_at is not None else 3_600.0

    def _open(self, real: float) -> None:
        present = self._broker.connect(self._client_id, self)
        if present is None:
            self._retry_at = real + self._delay
            # When the back-off is at its end, the tries that must fail are skipped: the world says when to try again.
            self._delay = self._delay * 2 if self._delay < BACK_OFF[1] else 600.0
            self._handler.lost(self._clock.now(), "refused")
            return
        self.generation += 1
        self.unacknowledged = 0
        self.is_up, self.broken, self._suback = True, "", False
        self._delay = BACK_OFF[0]
        self._heard_at, self._heard_real = self._clock.now(), real
        self._handler.connected(self._clock.now(), session_present=present)
        self.subscribe(self._handler.filters())

    def _read(self) -> None:
        while self.inbound:
            packet, mid, duplicate = self.inbound.popleft()
            if self.broken == "silent":
                continue  # it never reached us
            self.delivered_real = self._heard_real
            self.unacknowledged += bool(packet.qos)
            self._handler.message(
                Message(
                    packet.topic, packet.payload, packet.qos, packet.retained, duplicate, mid, self.generation,
                    self._heard_at,
                )
            )  # fmt: skip
        if self._suback:
            self._suback = False
            self._handler.subscribed(self._clock.now(), ())

    def _send_acks(self) -> None:
        while self._acks:
            generation, mid = self._acks.popleft()
            if generation == self.generation and self.is_up and not self.broken:
                self.unacknowledged -= 1
                self._broker.acknowledge(self._client_id, mid)

    def _drop(self, real: float) -> None:
        silent = self.broken == "silent"
        self.is_up, self.broken, self._suback = False, "", False
        self.inbound.clear()
        self._broker.gone(self._client_id)
        self._retry_at = real + self._delay
        self._delay = min(self._delay * 2, BACK_OFF[1])
        self._handler.lost(self._heard_at if silent else self._clock.now(), "connection lost")
