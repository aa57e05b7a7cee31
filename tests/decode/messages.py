"""Messages and sensors for the tests of the decoders."""

import json

from sensor_guard.config import TopicEntry
from sensor_guard.decode import Router
from sensor_guard.model import Message, Quarantined

NOW = 1_772_352_000_000
"""2026-03-01T08:00:00Z."""
ISO = "2026-03-01T08:00:00Z"


def router(kind="power", convention="own", topic=None, **more):
    """A router that knows one sensor: h1/sensor of site s."""
    return Router({topic or topic_of(convention): TopicEntry("s", "h1", "sensor", kind, convention)}, **more)


def topic_of(convention):
    return "guard/s/h1/sensor" if convention == "own" else "zigbee2mqtt/front door"


def message(payload, *, topic="guard/s/h1/sensor", retained=False, at=NOW):
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Message(topic, body, 1, retained, False, 1, 1, at)


def read(payload, kind="power", convention="own", **more):
    """The readings of one message as (quantity, value), or the reason why there are none."""
    return values(route(payload, kind, convention, **more))


def route(payload, kind="power", convention="own", *, topic=None, factor=1.0, **more):
    topic = topic or topic_of(convention)
    return router(kind, convention, topic=topic, factor=factor).route(message(payload, topic=topic, **more))


def values(answer):
    if isinstance(answer, Quarantined):
        return str(answer.reason)
    return [(str(reading.quantity), reading.value) for reading in answer]
