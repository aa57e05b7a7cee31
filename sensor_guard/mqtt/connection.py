"""One connection to the broker, opened again and again. A thread of parts.py turns it; paho starts none of its own.

Everything of paho happens on that thread. Other threads may only ``acknowledge``, ``wake`` and ``stop``: they leave a
note and wake the poll. A turn never raises: an exception would end the thread, and with it the smoke alarms, while the
rest of the program looked well.
"""

import contextlib
import select
import socket
import ssl
from collections import deque
from collections.abc import Iterable, Sequence
from threading import Event

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sensor_guard.clock import Clock
from sensor_guard.errors import SensorGuardError
from sensor_guard.model import SECOND, Instant, Message, as_message
from sensor_guard.mqtt.access import Access, Filter, open_client, subscribe
from sensor_guard.mqtt.handler import Handler
from sensor_guard.mqtt.wire import KEPT_BYTES, MalformedError, Publish, Wire

BACK_OFF = (0.25, 8.0)
"""Real seconds, first and longest: a broker that has come back is found within 10 s (paho's own limit is 120 s)."""
STEADY_AFTER = 10.0
"""A connection that lived so long was a good one; before that the back-off grows on, or two daemons with the same
client id would throw each other out many times a second."""
ANSWER_WITHIN = 10.0
_SUBSCRIBED_WITHIN = 30.0
"""Real seconds for CONNACK, and then for the SUBACKs, after which a connection is given up. The latter count anew
with each message: what waits in the session comes first, and may be a day's."""
_GOODBYE_WITHIN = 1.0  # real seconds for the PUBACK of the last status
CALL_WITHIN = 120.0
"""Real seconds that a connect may take before its thread counts as stuck: a resolver that gets no answer asks every
name server again and again."""
UNACKNOWLEDGED_LIMIT = 2_000
"""Beyond so many messages without acknowledgement the socket is not read on. The receive maximum should keep it far
below, but mosquitto 2.0.11 sends as many again for every acknowledgement once a session has a backlog."""
LEFT_OUT_FOR = 30.0
"""Real seconds after which a connection is opened anew so that a message comes again that could not be taken."""
BURST = 200
"""Packets read before acknowledgements are sent and deadlines looked at."""
_FILTERS_AT_ONCE = 100
log = structlog.get_logger(__name__)


class Connection:
    """See the module. ``name`` is for the log; ``urgent`` marks its messages."""

    def __init__(self, access: Access, name: str, client_id: str, clock: Clock, handler: Handler) -> None:
        self.name = name
        self.turned_at = clock.monotonic()
        """Clock.monotonic() of the last turn: a stuck or dead thread shows here."""
        self.generation = 0
        """Counts the connections of this process; a message belongs to the one that brought it."""
        self.is_up = False
        self.unacknowledged = 0
        """Messages of this connection that wait for our acknowledgement."""
        self.delivered_real = 0.0
        """Clock.monotonic() when the last message was read."""
        self._access, self._client_id, self._clock, self._handler = access, client_id, clock, handler
        self._client: paho.Client | None = None
        self._acks: deque[tuple[int, int]] = deque()
        self._waiting_subacks: dict[int, list[Filter]] = {}
        self._refused: list[str] = []
        self._answer_by = 0.0
        self._up_since = 0.0
        self._heard_at: Instant = 0
        self._heard_real = 0.0
        self._reason = ""
        self._told_reason = ""
        self._delay = BACK_OFF[0]
        self._retry_at = 0.0
        self._handled = 0
        self._given_up = ""
        self._has_paused = False
        self._left_out_real: float | None = None
        self._said_real = 0.0
        self._last_words: int | None = None
        self._is_begun = False
        self._is_calling = False
        self._stopping = Event()
        self._finished = Event()
        self._waker, self._wakee = socket.socketpair()
        self._waker.setblocking(False)
        self._wakee.setblocking(False)
        self._poller = select.poll()
        self._poller.register(self._wakee, select.POLLIN)
        self._polled: int | None = None

    # -- from any thread ------------------------------------------------------------------------------------------

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Let the broker forget these messages; those of an earlier connection are passed over."""
        self._acks.extend((each.generation, each.packet_id) for each in messages if each.qos)
        self.wake()

    def wake(self) -> None:
        """End the wait of the turn that is under way."""
        with contextlib.suppress(OSError):  # full: it is awake; closed: it has ended
            self._waker.send(b"\0")

    def is_turning(self, limit: float) -> bool:
        """Say whether the last turn began less than ``limit`` real seconds ago; calling a broker may take longer."""
        return self._clock.monotonic() - self.turned_at < (max(limit, CALL_WITHIN) if self._is_calling else limit)

    def stop(self) -> None:
        """Ask for a clean end; ``join`` waits for it."""
        self._stopping.set()
        if not self._is_begun:
            self._end()  # no thread has ever turned it
        self.wake()

    def join(self, within: float) -> bool:
        """Wait until the connection has ended cleanly; False if it has not ``within`` real seconds."""
        return self._finished.wait(within)

    # -- the thread's body ----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Turn until stopped."""
        while self.step():
            pass

    def step(self, timeout: float = 0.5) -> bool:
        """Do one turn, waiting at most ``timeout`` real seconds for something to do; False when it was the last."""
        self.turned_at = self._clock.monotonic()
        self._is_begun = True
        try:
            if self._finished.is_set():
                return False
            if self._stopping.is_set():
                self._finish()
                return False
            self._turn(timeout)
        except Exception as error:
            log.exception("mqtt.turn_failed", lane=self.name)
            self._drop(f"{type(error).__name__} in our own code")
        return not self._finished.is_set()

    def _turn(self, timeout: float) -> None:
        client = self._client
        if client is None:
            ahead = self._retry_at - self._clock.monotonic()
            if ahead > 0:
                self._poll(None, min(timeout, ahead))
            else:
                self._connect()
            self._handler.turned(self._clock.now())
            return
        try:
            self._exchange(client, timeout)
        except MalformedError as error:
            self._drop(f"malformed packet: {error}")
            return
        except OSError as error:
            self._drop(f"{type(error).__name__}: {error}")
            return
        if self._client is None:
            return
        if client.socket() is None:
            self._drop(self._reason or "connection lost")
        elif (self._waiting_subacks or not self.is_up) and self._clock.monotonic() > self._answer_by:
            self._drop("no answer from the broker")
        elif self._left_out_real is not None and self._clock.monotonic() - self._left_out_real > LEFT_OUT_FOR:
            self._drop("a message could not be taken")
        else:
            self._handler.turned(self._clock.now())
            if self._given_up:
                self._drop(self._given_up)

    def _exchange(self, client: paho.Client, timeout: float) -> None:
        """Wait for something to do on the socket, and do it."""
        is_readable = self._poll(client, timeout)
        if is_readable:
            self._read(client)
        self._send_acks(client)
        if self.unacknowledged >= UNACKNOWLEDGED_LIMIT:
            self._has_paused = True
            self._keep_alive(client)
        elif not is_readable:
            self._has_paused = False
        if not self._has_paused:  # the answer to the last PINGREQ may still stand behind what we have not read
            client.loop_misc()  # PINGREQ, and the time-out of its answer
        if client.want_write():
            client.loop_write()
        wire = _wire(client)
        if wire is not None:
            wire.flush()

    def _poll(self, client: paho.Client | None, timeout: float) -> bool:
        """Wait for the socket, or for ``wake``; say whether there is something to read."""
        sock = client.socket() if client is not None else None
        if client is not None and sock is not None:
            wanted = select.POLLIN if self.unacknowledged < UNACKNOWLEDGED_LIMIT else 0
            wire = _wire(client)
            behind = sock if isinstance(sock, ssl.SSLSocket) else wire
            if wanted and behind is not None and behind.pending():
                return True  # read or decrypted already: the kernel knows nothing of it
            has_output = client.want_write() or (wire is not None and wire.has_output)
            self._watch(sock.fileno(), wanted | (select.POLLOUT if has_output else 0))
        else:
            self._watch(None, 0)
        readable = False
        for descriptor, flags in self._poller.poll(timeout * 1_000):
            if descriptor == self._wakee.fileno():
                with contextlib.suppress(BlockingIOError):
                    self._wakee.recv(4_096)
            else:
                readable = bool(flags & ~select.POLLOUT)
        return readable

    def _watch(self, descriptor: int | None, events: int) -> None:
        """Let the poll watch this socket and no other. One that was closed leaves the kernel's list by itself only."""
        if self._polled is not None and self._polled != descriptor:
            self._poller.unregister(self._polled)
        if descriptor is not None:
            self._poller.register(descriptor, events)  # again: for other events
        self._polled = descriptor

    def _read(self, client: paho.Client) -> None:
        self._heard_at, self._heard_real = self._clock.now(), self._clock.monotonic()
        first = self._handled
        wire = _wire(client)
        if wire is not None:
            self._read_blocks(client, wire)
        else:
            self._read_packets(client)
        if self.is_up and self._handled > first:
            self._answer_by = max(self._answer_by, self._heard_real + _SUBSCRIBED_WITHIN)

    def _read_packets(self, client: paho.Client) -> None:
        for _ in range(BURST):
            before = self._handled
            if not _loop_read(client) or self._handled == before:
                break  # gone, or nothing more that is whole

    def _read_blocks(self, client: paho.Client, wire: Wire) -> None:
        wire.fill()
        left = BURST
        while left > 0:
            packets = wire.publishes(left)
            left -= len(packets)
            for packet in packets:
                self._deliver(packet)
            if not wire.grant() or not _loop_read(client):
                return
            left -= 1

    def _send_acks(self, client: paho.Client) -> None:
        packet_ids: list[int] = []
        while self._acks:
            generation, packet_id = self._acks.popleft()
            # An id of an earlier connection may be another message's by now.
            if generation == self.generation and self.is_up:
                packet_ids.append(packet_id)
        if not packet_ids:
            return
        self.unacknowledged -= len(packet_ids)
        wire = _wire(client)
        if wire is not None:
            wire.acknowledge(packet_ids)
            return
        for packet_id in packet_ids:
            client.ack(packet_id, 1)

    def _keep_alive(self, client: paho.Client) -> None:
        """Say something now and then while nothing is read: paho's PINGREQ would miss its answer."""
        real = self._clock.monotonic()
        if real - self._said_real >= self._access.settings.keepalive / SECOND / 3:
            self._said_real = real
            client.publish(self._access.topic("paused"), b"", qos=0)

    # -- opening and losing ---------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self.generation += 1
        self.unacknowledged, self._has_paused, self._left_out_real = 0, False, None
        self._given_up = ""
        self._reason = ""
        self._answer_by = self._clock.monotonic() + ANSWER_WITHIN
        now = self._clock.now()
        self._heard_at, self._heard_real = now, self._clock.monotonic()
        self._is_calling = True
        try:
            self._client = open_client(self._access, self._client_id, self._handler.will(now), self._prepare)
        except (OSError, ValueError, SensorGuardError) as error:
            self._drop(f"{type(error).__name__}: {error}")
        finally:
            self._is_calling = False

    def _prepare(self, client: paho.Client) -> None:
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        # With this set paho writes only when loop_write is called, not inside ack() and publish().
        client.on_socket_register_write = _nothing

    def _drop(self, reason: str) -> None:
        """Give the connection up, tell, and plan the next one."""
        client, self._client = self._client, None
        was_up, self.is_up = self.is_up, False
        if client is not None:
            _close(client)
        real = self._clock.monotonic()
        if was_up and real - self._up_since >= STEADY_AFTER:
            self._delay = BACK_OFF[0]
        self._retry_at = real + self._delay
        self._delay = min(self._delay * 2, BACK_OFF[1])
        self._waiting_subacks.clear()
        if was_up or reason != self._told_reason:  # one line an outage, not one a try
            self._told_reason = reason
            log.warning("mqtt.connection_lost" if was_up else "mqtt.connect_failed", lane=self.name, reason=reason)
        # A half-open connection is found after one or two keepalives: it was worth nothing since the last word.
        silent = real - self._heard_real >= self._access.settings.keepalive / SECOND
        self._handler.lost(self._heard_at if was_up and silent else self._clock.now(), reason)

    def _finish(self) -> None:
        """Say goodbye: what is acknowledged goes out, then the last status, then DISCONNECT; the session stays."""
        client = self._client
        try:
            if client is not None and self.is_up:
                self._send_acks(client)
                words = self._handler.farewell(self._clock.now())
                if words is not None:
                    self._last_words = client.publish(words.topic, words.payload, qos=1, retain=True).mid
                deadline = self._clock.monotonic() + _GOODBYE_WITHIN
                while self._last_words is not None and self._clock.monotonic() < deadline and client.socket():
                    self._exchange(client, 0.1)
                client.disconnect()
                client.loop_write()
        finally:
            self._end()

    def _end(self) -> None:
        if self._client is not None:
            _close(self._client)
        self._client, self.is_up = None, False
        self._waker.close()
        self._wakee.close()
        self._finished.set()
        log.info("mqtt.stopped", lane=self.name)

    # -- what the handler asks for --------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1, from the connection's own thread; nothing happens while it is down."""
        if self._client is not None:
            self._client.publish(topic, payload, qos=1, retain=retain)

    def give_up(self, reason: str) -> None:
        """Drop the connection when this turn is over, and open another one."""
        self._given_up = reason

    def subscribe(self, filters: Sequence[Filter]) -> None:
        """Subscribe, from the connection's own thread, a hundred topics a packet."""
        for start in range(0, len(filters), _FILTERS_AT_ONCE):
            if self._client is None:
                return
            part = list(filters[start : start + _FILTERS_AT_ONCE])
            packet_id = subscribe(self._client, part, is_v5=self._access.is_v5)
            if packet_id is not None:
                self._waiting_subacks[packet_id] = part
        self._answer_by = self._clock.monotonic() + _SUBSCRIBED_WITHIN

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """Unsubscribe, likewise. That it is answered is not waited for."""
        for start in range(0, len(topics), _FILTERS_AT_ONCE):
            if self._client is not None:
                self._client.unsubscribe(list(topics[start : start + _FILTERS_AT_ONCE]))

    # -- paho's callbacks -----------------------------------------------------------------------------------------

    def _on_connect(
        self, _client: paho.Client, _: object, flags: paho.ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._handled += 1
        if code.is_failure:
            self._reason = f"refused: {code}"
            return  # paho closes the socket, and the turn finds it closed
        self.is_up = True
        self._up_since = self._clock.monotonic()
        self._told_reason = ""
        log.info("mqtt.connected", lane=self.name, session_present=flags.session_present, generation=self.generation)
        granted = getattr(properties, "SessionExpiryInterval", None)
        if isinstance(granted, int) and granted < self._access.settings.session_expiry // SECOND:
            log.warning("mqtt.session_expiry_cut", lane=self.name, granted_s=granted)
        self._refused = []
        self._handler.connected(self._clock.now(), session_present=flags.session_present)
        self.subscribe(self._handler.filters())

    def _on_subscribe(
        self, _client: paho.Client, _: object, packet_id: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        self._handled += 1
        asked = self._waiting_subacks.pop(packet_id, [])
        self._refused.extend(each.topic for each, code in zip(asked, codes, strict=False) if code.is_failure)
        if not self._waiting_subacks:
            refused, self._refused = self._refused, []
            self._handler.subscribed(self._clock.now(), refused)

    def _on_message(self, _client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        """Take a message that paho has read; with a Wire it sees none."""
        self._handled += 1
        if message.qos > 1:
            raise MalformedError(f"a message of QoS {message.qos}, which nobody has asked for")
        payload = bytes(message.payload[:KEPT_BYTES])
        try:
            topic = message.topic.encode()
        except UnicodeDecodeError:
            topic = b"\xff"
        self._deliver(Publish(topic, payload, message.qos, bool(message.retain), bool(message.dup), message.mid))

    def _deliver(self, packet: Publish) -> None:
        topic_bytes, payload, qos, retained, duplicate, packet_id = packet
        if qos:
            self.unacknowledged += 1
        try:
            topic = topic_bytes.decode()
        except UnicodeDecodeError:
            topic = "\N{REPLACEMENT CHARACTER}"
        self.delivered_real = self._heard_real
        message = as_message(
            (topic, payload, qos, retained, duplicate, packet_id, self.generation, self._heard_at, False)
        )
        try:
            self._handler.message(message)
        except Exception:
            log.exception("mqtt.message_failed", lane=self.name)
            self._pass_on(message)

    def _pass_on(self, message: Message) -> None:
        """Hand over a message that our own code has stumbled on, as it came: the decoders have a quarantine."""
        try:
            self._handler.stumbled(message)
        except Exception:
            # Unacknowledged, it comes again with the next connection, which is not long in coming.
            log.exception("mqtt.message_failed", lane=self.name)
            self._left_out_real = self._left_out_real or self._clock.monotonic()

    def _on_publish(
        self, _client: paho.Client, _: object, packet_id: int, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._handled += 1
        if packet_id == self._last_words:
            self._last_words = None
        if code.is_failure:
            log.warning("mqtt.publish_refused", lane=self.name, reason=str(code))
            self._handler.publish_refused(str(code))

    def _on_disconnect(
        self,
        _client: paho.Client,
        _: object,
        _flags: paho.DisconnectFlags,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._reason = self._reason or str(code)


def _wire(client: paho.Client) -> Wire | None:
    """Give what paho takes for its socket; None where it has a plain one, or none any more."""
    sock: object = client.socket()
    return sock if isinstance(sock, Wire) else None


def _loop_read(client: paho.Client) -> bool:
    """Let paho read a packet; False if the connection has ended by it. paho believes what a broker sends.

    Raises:
        MalformedError: it stumbled, or a callback of ours did.
    """
    try:
        return client.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
    except MalformedError:
        raise
    except Exception as error:
        log.exception("mqtt.packet_failed")
        raise MalformedError(f"{type(error).__name__}: {error}") from error


def _close(client: paho.Client) -> None:
    sock = client.socket()
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.close()


def _nothing(_client: paho.Client, _: object, _sock: object) -> None:
    """Stand for an event loop, which we are."""
