"""A subscriber of a test, on a connection of its own."""

import json
import queue
import threading

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


class Listener:
    """A subscriber that keeps what it hears."""

    def __init__(self, broker):
        self.heard = queue.Queue()
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("guard/#", 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _c, _u, message: self.heard.put((message.topic, json.loads(message.payload)))
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def __enter__(self):
        assert self._subscribed.wait(10)
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()

    def take(self, count):
        return [self.heard.get(timeout=10) for _ in range(count)]
