"""How a connection to the broker is opened: who we are, what we ask for, TLS. Everything that paho wants to be told."""

import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from sensor_guard.clock import format_at
from sensor_guard.config.settings import MqttSettings, TlsSettings
from sensor_guard.model import SECOND, Instant
from sensor_guard.mqtt.wire import Wire

CONNECT_WITHIN = 5.0
"""Real seconds for TCP, and again for the TLS handshake."""
_EXPIRY_LIMIT = 0xFFFFFFFE  # seconds; one more means "never" (MQTT 5, 3.1.2.11.2)


@dataclass(frozen=True, slots=True)
class Access:
    """The broker, and who we are there.

    ``gateway``: id of this box; ``password``: asked for at every connect, so that a rotated one needs no restart.
    """

    settings: MqttSettings
    gateway: str
    password: Callable[[], str] | None = None

    @property
    def is_v5(self) -> bool:
        """Whether we speak MQTT 5, not 3.1.1."""
        return self.settings.protocol == "5"

    def topic(self, word: str) -> str:
        """Give a topic of our own: ``sensor_guard/<gateway>/<word>``."""
        return f"sensor_guard/{self.gateway}/{word}"


class Filter(NamedTuple):
    """One subscription. ``retained``: 0 send what is retained, 1 only if the subscription is new, 2 never (MQTT 5)."""

    topic: str
    qos: int = 1
    retained: int = 1


class Will(NamedTuple):
    """What the broker says in our place, retained, when we are gone without a goodbye."""

    topic: str
    payload: bytes


def status_payload(state: str, *, reason: str = "", **times: Instant) -> bytes:
    """Write what stands retained on ``sensor_guard/<gateway>/status``: {"state": "online", "at": ...} and the like."""
    words = {"state": state, "reason": reason} if reason else {"state": state}
    return json.dumps(words | {name: format_at(at) for name, at in times.items()}).encode()


def open_client(
    access: Access, client_id: str, will: Will | None, prepare: Callable[[paho.Client], None]
) -> paho.Client:
    """Connect, without waiting for the broker's answer: the socket is open and CONNECT is on its way.

    A client lives for one connection, so that nothing of paho's memory outlives it. ``prepare`` sets its callbacks.

    Raises:
        OSError, ValueError: no route, refused, TLS, a certificate file that cannot be read.
        ConfigError: the password cannot be read.
    """
    settings = access.settings
    client = (_BlockClient if settings.buffered else paho.Client)(
        CallbackAPIVersion.VERSION2,
        client_id,
        # 3.1.1 says it here; MQTT 5 says it in connect(), whose default would wipe the session at every start.
        clean_session=None if access.is_v5 else False,
        protocol=MQTTProtocolVersion.MQTTv5 if access.is_v5 else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
        manual_ack=True,
    )
    client.connect_timeout = CONNECT_WITHIN
    client.max_inflight_messages_set(0)  # outgoing only: a canary and a status need no window
    if settings.username is not None:
        client.username_pw_set(settings.username, access.password() if access.password is not None else None)
    if settings.tls is not None:
        client.tls_set_context(_tls_context(settings.tls))
    if will is not None:
        client.will_set(will.topic, will.payload, qos=1, retain=True)
    prepare(client)
    keepalive = settings.keepalive // SECOND
    if access.is_v5:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = min(settings.session_expiry // SECOND, _EXPIRY_LIMIT)
        properties.ReceiveMaximum = settings.receive_maximum
        client.connect(settings.host, settings.port, keepalive, clean_start=False, properties=properties)
    else:
        client.connect(settings.host, settings.port, keepalive)
    return client


def subscribe(client: paho.Client, filters: list[Filter], *, is_v5: bool) -> int | None:
    """Send one SUBSCRIBE; give its message id, None if the connection is gone."""
    if is_v5:
        options = [(each.topic, SubscribeOptions(qos=each.qos, retainHandling=each.retained)) for each in filters]
        return client.subscribe(options)[1]
    return client.subscribe([(each.topic, each.qos) for each in filters])[1]


class _BlockClient(paho.Client):
    """paho over a ``Wire``, by a name that paho does not promise: a test pins it, ``mqtt.buffered`` goes round it."""

    def _create_socket(self) -> Wire:  # type: ignore[override]
        """Connect as paho does, and put a Wire in between."""
        sock = super()._create_socket()
        assert isinstance(sock, socket.socket), "neither websockets nor a proxy are ever asked for"
        return Wire(sock, is_v5=self.protocol == MQTTProtocolVersion.MQTTv5)

    @staticmethod
    def _filter_wildcard_len_check(_sub: bytes) -> MQTTErrorCode:
        """Find every filter well: ``config`` has looked at them. For 200,000 topics paho takes a second over it."""
        return MQTTErrorCode.MQTT_ERR_SUCCESS


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails; paho leaves it to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands, or close."""
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _tls_context(tls: TlsSettings) -> ssl.SSLContext:
    # Made for every connection: a renewed certificate counts from the next one on.
    context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
    # Python 3.13 also asks for extensions that a CA made with older commands does not have. An upgrade of the system
    # must not make the box blind; who vouches for whom, names and dates are checked as before.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.sslsocket_class = _TlsSocket
    if tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key)
    return context
