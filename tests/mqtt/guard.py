"""The subscriber as parts.py runs it, a device that publishes, and waits with a deadline instead of sleeps."""

import threading
import time
from collections.abc import Callable

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from sensor_guard.clock import SystemClock
from sensor_guard.config.settings import MqttSettings
from sensor_guard.inbox import Inbox, Probe
from sensor_guard.model import Drained, Fault, LinkLost, LinkUp, Message
from sensor_guard.mqtt import Access, Before, Subscriber, Topics

WITHIN = 30.0  # real seconds, for a machine that is busy; every wait ends as soon as it can
TOPICS = Topics(bulk=("guard/#",), urgent=("guard/s/h1/smoke", "guard/s/h1/panic"))
NEW = Before()


def settings(broker, **changes):
    """Settings for this broker; ``changes`` are not validated, so that a test need not wait for real keepalives."""
    return MqttSettings().model_copy(update={"port": broker.port, **changes})


class HastyClock(SystemClock):
    """Seconds of time-outs pass twenty times as fast."""

    def monotonic(self):
        return super().monotonic() * 20


class Guard:
    """A running subscriber, and everything that it has put into the inbox."""

    def __init__(self, broker, *, before=NEW, topics=TOPICS, clock=None, password=None, inbox=None, **changes):
        self.broker = broker
        self.clock = clock or SystemClock()
        self.inbox = inbox or Inbox(linger=0.0)
        self.access = Access(settings(broker, **changes), "box1", password)
        self.subscriber = Subscriber(self.access, topics, self.inbox, self.clock, before)
        self.events = []
        self._turned = 0
        self._pause = threading.Event()
        self.threads = [threading.Thread(target=body, name=name) for name, body in self.subscriber.start()]
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.subscriber.stop()
        for thread in self.threads:
            thread.join(WITHIN)
            assert not thread.is_alive()

    def cut(self):
        """End the bulk connection's socket without a word, as a cut cable, seen from the broker."""
        sock = self.subscriber.bulk._client.socket()
        getattr(sock, "_sock", sock).shutdown(2)

    def take(self, timeout=0.2):
        """Take what has arrived; nothing is acknowledged."""
        taken = self.inbox.take(timeout)
        self.events.extend(taken)
        return taken

    def until(self, is_there: Callable[[], object], what=""):
        """Take until something is there, and give it."""
        deadline = time.monotonic() + WITHIN
        while True:
            found = is_there()
            if found:
                return found
            assert time.monotonic() < deadline, f"{what or 'it'} never came; there was {self.events[-20:]}"
            self.take()

    def until_quiet(self, is_there):
        """Wait without taking anything."""
        deadline = time.monotonic() + WITHIN
        while not is_there():
            assert time.monotonic() < deadline
            self._pause.wait(0.02)

    def drained(self, times=1):
        """Wait until the link has drained so often, and give its whole story."""
        self.until(lambda: len(self.of(Drained)) >= times, "Drained")
        self.until(lambda: self.subscriber._urgent_lane.covers, "the urgent connection's cover")
        return self.story()

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def story(self):
        return self.of((LinkLost, LinkUp, Drained))

    def faults(self, fault_id):
        return [fault.active for fault in self.of(Fault) if fault.fault_id == fault_id]

    def messages(self, count=None):
        """Wait until so many messages have come, and give them all."""
        if count is not None:
            self.until(lambda: len(self.of(Message)) >= count, f"message {count}")
        return self.of(Message)

    def payloads(self, count=None):
        return [message.payload.decode() for message in self.messages(count)]

    def ack(self, messages):
        """Acknowledge, and wait until the broker has it."""
        self.subscriber.ack(messages)
        news = [each for each in messages if each.generation == self._connection(each).generation]
        if news:
            heard = f"Received PUBACK from {self._connection(news[-1])._client_id} (Mid: {news[-1].packet_id},"
            self.until(lambda: heard in self.broker.log, heard)
        self.until(lambda: not self.subscriber.bulk._acks and not self.subscriber.urgent._acks)

    def turn_loop(self):
        """Stand for the loop: answer the probes that have been taken, and acknowledge every message."""
        self.take(0.05)
        events, self._turned = self.events[self._turned :], len(self.events)
        for event in events:
            if isinstance(event, Probe):
                event.reply(event.question() if event.question is not None else None)
            elif isinstance(event, Message):
                self.subscriber.ack([event])

    def _connection(self, message):
        return self.subscriber.urgent if message.urgent else self.subscriber.bulk


class Device:
    """A client that publishes and waits for the PUBACK; and keeps what it is subscribed to."""

    def __init__(self, broker, *, client_id="device", username=None, password=None, tls=None, topics=()):
        self.heard = []
        self.connack = None
        self._news = threading.Condition()
        self._codes = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.max_inflight_messages_set(0)
        if username is not None:
            self._client.username_pw_set(username, password)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe
        self._client.connect("localhost" if tls is not None else "127.0.0.1", broker.port, clean_start=True)
        self._client.loop_start()
        self._wait(lambda: self.connack is not None)
        for topic in topics:
            self.subscribe(topic)

    def subscribe(self, topic):
        """Subscribe, and wait until the broker says that it is done."""
        mid = self._client.subscribe(topic, qos=1)[1]
        self._wait(lambda: mid in self._codes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic, payload, *, qos=1, retain=False):
        """Publish, and give the broker's reason code: 0 well, 0x87 not authorised."""
        return self.publish_all([(topic, payload)], qos=qos, retain=retain)[0]

    def publish_all(self, rows, *, qos=1, retain=False):
        infos = [self._client.publish(topic, payload, qos=qos, retain=retain) for topic, payload in rows]
        self._wait(lambda: all(info.mid in self._codes for info in infos))
        return [self._codes[info.mid] for info in infos]

    def hears(self, topic, is_meant=lambda _payload: True):
        """Wait for a message, and give its payload."""
        found = []

        def look():
            found[:] = [payload for heard, payload in self.heard if heard == topic and is_meant(payload)]
            return found

        self._wait(look)
        return found[-1]

    def _wait(self, is_there):
        with self._news:
            assert self._news.wait_for(is_there, WITHIN), self.heard

    def _on_connect(self, _client, _userdata, _flags, code, _properties):
        with self._news:
            self.connack = code
            self._news.notify_all()

    def _on_message(self, _client, _userdata, message):
        with self._news:
            self.heard.append((message.topic, message.payload))
            self._news.notify_all()

    def _on_subscribe(self, _client, _userdata, mid, codes, _properties):
        with self._news:
            self._codes[mid] = codes[0].value
            self._news.notify_all()

    def _on_publish(self, _client, _userdata, mid, code, _properties):
        with self._news:
            self._codes[mid] = code.value
            self._news.notify_all()


def wait_for_uptime(broker, seconds):
    """Wait until the broker says that it has been up for so long."""
    with Device(broker, client_id="uptime", topics=["$SYS/broker/uptime"]) as device:
        device.hears("$SYS/broker/uptime", lambda payload: int(payload.split()[0]) >= seconds)
