"""Streams to a real broker: our own payloads on ``guard/<site>/<home>/<sensor>``, QoS 1, each until its PUBACK.

One thread, one socket, at most ``WINDOW`` messages under way. What the broker has not acknowledged when the connection
breaks goes out again on the next one with the same seq and ts, so that nothing is lost and a copy can be recognised.
Each connection has a client of its own: nothing of paho's memory outlives it.

After a break, messages go one by one, then two, four, ... with each PUBACK: mosquitto 2.0 closes the connection after
it has refused a message, and a reset throws away the refusal unread where more were under way, for ever.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import TextIO

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sensor_guard.clock import AcceleratedClock, Clock, format_at
from sensor_guard.model import DEVICE_TIME, SECOND, Reading

WINDOW = 500
"""Most messages without a PUBACK. Beyond it we wait, and the stream is not read on."""
_RECONNECT_WITHIN = (0.1, 2.0)  # real seconds: first and longest wait between two attempts
_CONNECT_TIMEOUT = 5.0  # real seconds, for TCP and then again for CONNACK
_KEEPALIVE = 10
_HOPELESS = (0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C)  # CONNACK: version, client id, password, authorisation, banned, method
_PROGRESS_EVERY = 1.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to publish. ``password`` belongs to ``username``; ``ca``: TLS, checked against this certificate."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password: str | None = None
    ca: Path | None = None
    client_id: str = "simulators"


class Pace(StrEnum):
    """When a reading goes out."""

    CLOCK = "clock"  # when the clock reaches its time of arrival
    FLAT = "flat"  # as fast as the broker takes them, or as ``rate`` says


@dataclass(slots=True)
class Tally:
    """What a run did. Done well: ``acknowledged == published`` and the rest of no concern."""

    published: int = 0  # readings, each counted once
    acknowledged: int = 0
    refused: int = 0  # PUBACK with an error: not authorised, over quota
    resent: int = 0
    connections: int = 0
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether the broker has everything."""
        return self.acknowledged == self.published and self.refused == 0


@dataclass(frozen=True, slots=True)
class _Outgoing:
    topic: str
    payload: bytes
    seq: int


def payload_of(reading: Reading) -> bytes:
    """Write a reading as our own payload; without ``ts`` if the device has no clock."""
    value = int(reading.value) if float(reading.value).is_integer() else reading.value
    body: dict[str, object] = {str(reading.quantity): value}
    if reading.flags & DEVICE_TIME:
        body["ts"] = format_at(reading.observed_at)
    if reading.seq >= 0:
        body["seq"] = reading.seq
    return json.dumps(body).encode()


class Publisher:
    """Brings one stream to one broker.

    ``topic_of``: (home_id, sensor_id) -> topic; ``patience``: real seconds without any progress after which a run
    gives up; ``ledger``: gets a line ``topic<TAB>seq`` for each acknowledged message; ``progress``: gets a line now
    and then.

    Raises:
        ValueError: an accelerated clock and a broker that is not on this machine.
    """

    def __init__(
        self,
        broker: Broker,
        topic_of: Callable[[str, str], str],
        *,
        clock: Clock,
        patience: float = 30.0,
        ledger: TextIO | None = None,
        progress: TextIO | None = None,
    ) -> None:
        if isinstance(clock, AcceleratedClock) and broker.host not in _LOOPBACK:
            raise ValueError(f"an accelerated clock is for a broker on this machine, not for {broker.host}")
        self.tally = Tally()
        self.refusal = ""  # why the broker does not want us, in its words
        self._broker, self._topic_of, self._clock = broker, topic_of, clock
        self._patience, self._ledger, self._progress = patience, ledger, progress
        self._client: paho.Client | None = None
        self._ready = False  # CONNACK is in
        self._called_at = 0.0  # when this connection was begun
        self._window = self._offered = WINDOW  # how many may be under way now, and at most
        self._progressed = False  # this connection has brought an acknowledgement
        self._unacknowledged: OrderedDict[int, _Outgoing] = OrderedDict()  # by message id, in order of publishing
        self._again: list[_Outgoing] = []  # of a connection that broke, to go out first
        self._wait = Event()  # never set: a wait that is no sleep
        self._back_off = _RECONNECT_WITHIN[0]
        self._moved_at = self._told_at = self._started = clock.monotonic()

    def run(self, readings: Iterable[Reading], pace: Pace = Pace.CLOCK, *, rate: float = 0.0) -> Tally:
        """Publish all; wait for the last PUBACK, or until patience ends.

        ``rate``: messages a real second with ``Pace.FLAT``, 0: no limit. Look at ``tally.is_complete``.
        """
        self._started = self._moved_at = self._clock.monotonic()
        try:
            for reading in readings:
                if not self._publish(reading, self._due(reading, pace, rate)):
                    break
            while self._unfinished() and self._is_patient():
                self._step(0.05)
        finally:
            self._close()
        self.tally.seconds = self._clock.monotonic() - self._started
        self._tell(last=True)
        return self.tally

    def _due(self, reading: Reading, pace: Pace, rate: float) -> float:
        """Say at which monotonic second a reading is to go out."""
        now = self._clock.monotonic()
        if pace is Pace.CLOCK:
            return now + (reading.received_at - self._clock.now()) / SECOND / self._clock.factor
        return self._started + self.tally.published / rate if rate else now

    def _publish(self, reading: Reading, due: float) -> bool:
        """Wait until it is time and there is room, then send; False when patience has ended."""
        while True:
            ahead = due - self._clock.monotonic()
            has_room = self._ready and not self._again and len(self._unacknowledged) < self._window
            if ahead <= 0 and has_room:
                break
            if ahead > 0 and not self._unfinished():
                self._moved_at = self._clock.monotonic()  # nothing to hope for: waiting for the next reading
            if not self._is_patient():
                return False
            self._step(min(ahead, 0.5) if has_room else 0.5)
        topic = self._topic_of(reading.home_id, reading.sensor_id)
        self.tally.published += 1
        self._send(_Outgoing(topic, payload_of(reading), reading.seq))
        if self.tally.published % 32 == 0:
            self._step(0.0)
        return True

    def _unfinished(self) -> bool:
        return bool(self._unacknowledged or self._again)

    def _is_patient(self) -> bool:
        return not self.refusal and self._clock.monotonic() - self._moved_at < self._patience

    def _step(self, timeout: float) -> None:
        """Do what can be done within ``timeout`` real seconds: connect, resend, read acknowledgements."""
        self._tell()
        if self._client is None:
            self._connect()
            return
        while self._ready and self._again and len(self._unacknowledged) < self._window:
            self.tally.resent += 1
            self._send(self._again.pop(0))
        self._listen(timeout)

    def _listen(self, timeout: float) -> None:
        if self._client is None:  # lost while sending
            return
        no_answer = not self._ready and self._clock.monotonic() - self._called_at > _CONNECT_TIMEOUT
        if self._client.loop(timeout) != MQTTErrorCode.MQTT_ERR_SUCCESS or no_answer:
            self._lose()

    def _connect(self) -> None:
        broker = self._broker
        client = paho.Client(CallbackAPIVersion.VERSION2, broker.client_id, protocol=MQTTProtocolVersion.MQTTv5)
        client.max_inflight_messages_set(0)  # the window is ours
        client.max_queued_messages_set(0)
        client.connect_timeout = _CONNECT_TIMEOUT
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        if broker.ca is not None:
            client.tls_set(ca_certs=str(broker.ca))
        try:
            client.connect(broker.host, broker.port, keepalive=_KEEPALIVE, clean_start=True)
        except OSError:
            self._hold_back()
            return
        self._client, self._called_at = client, self._clock.monotonic()

    def _hold_back(self) -> None:
        self._wait.wait(self._back_off)
        self._back_off = min(self._back_off * 2, _RECONNECT_WITHIN[1])

    def _lose(self) -> None:
        """Take everything unacknowledged back, in its order, for the next connection."""
        self._again = [*self._unacknowledged.values(), *self._again]
        self._unacknowledged.clear()
        self._client, self._ready = None, False
        self._window = 1
        if not self._progressed:
            self._hold_back()

    def _send(self, outgoing: _Outgoing) -> None:
        assert self._client is not None, "sent only while connected"
        info = self._client.publish(outgoing.topic, outgoing.payload, qos=1)
        self._unacknowledged[info.mid] = outgoing
        if info.rc not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN}:
            self._lose()

    def _on_connect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata, flags
        if reason_code.is_failure:
            if reason_code.value in _HOPELESS:
                self.refusal = str(reason_code)
            return  # the broker closes the connection
        self.tally.connections += 1
        self._ready, self._progressed = True, False
        offered = getattr(properties, "ReceiveMaximum", None)
        self._offered = min(WINDOW, offered) if isinstance(offered, int) else WINDOW
        self._window = min(self._window, self._offered)

    def _on_publish(
        self,
        client: paho.Client,
        userdata: object,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata, properties
        outgoing = self._unacknowledged.pop(mid, None)
        if outgoing is None:
            return
        self._moved_at = self._clock.monotonic()
        self._progressed, self._back_off = True, _RECONNECT_WITHIN[0]
        self._window = min(self._window * 2, self._offered)
        if reason_code.is_failure:
            self.tally.refused += 1
            return
        self.tally.acknowledged += 1
        if self._ledger is not None:
            self._ledger.write(f"{outgoing.topic}\t{outgoing.seq}\n")

    def _close(self) -> None:
        if self._ledger is not None:
            self._ledger.flush()
        if self._client is not None and self._ready:
            self._client.disconnect()
        self._client, self._ready = None, False

    def _tell(self, *, last: bool = False) -> None:
        """Write a line of progress, once a second, and bring the ledger to disk as often."""
        now = self._clock.monotonic()
        if not last and now - self._told_at < _PROGRESS_EVERY:
            return
        self._told_at = now
        if self._ledger is not None and not self._ledger.closed:
            self._ledger.flush()
        if self._progress is not None:
            tally, at = self.tally, format_at(self._clock.now())
            waiting = len(self._unacknowledged) + len(self._again)
            state = "" if self._ready or last else ", not connected"
            print(
                f"{at}  published {tally.published}, acknowledged {tally.acknowledged}, waiting {waiting}{state}",
                file=self._progress,
                flush=True,
            )
