"""From a message to its sensor's readings, or to quarantine with a reason. Nothing is ever dropped without a word."""

import re
from collections.abc import Mapping

from sensor_guard.config import ROOT, TopicEntry, Topics
from sensor_guard.decode.envelope import PAYLOAD_LIMIT
from sensor_guard.decode.protocol import DECODERS, Decoder
from sensor_guard.decode.times import AHEAD
from sensor_guard.errors import DecodeError
from sensor_guard.model import (
    ID_PATTERN,
    KINDS,
    RANGES,
    RETAINED,
    Message,
    Quantity,
    Quarantined,
    Reading,
    RejectReason,
)

WAYS_LIMIT = 20_000
"""Topics that are remembered with their ways; beyond it all are forgotten, and found again in a microsecond each."""
_URGENT = frozenset(kind for kind, row in KINDS.items() if row.urgent)
_ID = re.compile(ID_PATTERN)
_EDGES = {Quantity.MOTION, Quantity.PANIC}
_RANGES = {str(quantity): span for quantity, span in RANGES.items()}  # an enum's members are looked up slowly


class Router:
    """Knows every topic of the homes file, and nothing of any other: strangers cannot make it grow.

    Args:
        topics: each sensor's topic (``Config.topics``).
        factor: of the clock; see ``times.AHEAD``.
        decoders: the conventions by their word.
    """

    def __init__(
        self, topics: Mapping[str, TopicEntry], *, factor: float = 1.0, decoders: Mapping[str, Decoder] = DECODERS
    ) -> None:
        self._ahead = round(AHEAD * factor)
        self._topics, self._decoders = topics, decoders
        self._ways: dict[str, tuple[Decoder, TopicEntry]] = {}
        self._companions: dict[str, tuple[Decoder, TopicEntry]] = {}
        bulk = [f"{ROOT}/#"]  # strangers on our topics too: an installer finds his new sensor in the quarantine
        for topic, sensor in topics.named() if isinstance(topics, Topics) else topics.items():
            decoder = decoders[sensor.convention]
            companions = decoder.companions(topic)
            for each in companions:
                self._companions[each] = (decoder, sensor)
            # Only the device's own word is urgent, not what a gateway says about it. And what two subscriptions match
            # may come twice.
            bulk.extend(
                each
                for each in (companions if sensor.kind in _URGENT else (topic, *companions))
                if not each.startswith(f"{ROOT}/")
            )
        self.urgent_topics: tuple[str, ...] = tuple(
            topics.of_kinds(_URGENT)
            if isinstance(topics, Topics)
            else (topic for topic, sensor in topics.items() if sensor.kind in _URGENT)
        )
        """The topics of smoke and panic sensors, for the connection of their own."""
        self.filters: tuple[str, ...] = tuple(bulk)
        """What the bulk connection subscribes to."""

    def route(self, message: Message) -> list[Reading] | Quarantined:
        """Read one message: at least one reading, all of one sensor, finite and in range; or why not. Never raises."""
        way = self._ways.get(message.topic) or self._way_of(message.topic)
        if way is None:
            return _quarantined(message, *_stranger(message.topic))
        decoder, sensor = way
        try:
            readings = decoder.decode(message, sensor, self._ahead)
        except DecodeError as error:
            return _quarantined(message, error.reason, error.detail)
        except Exception as error:  # noqa: BLE001 - a decoder's mistake must not stop the line
            return _quarantined(message, RejectReason.DECODER_FAILED, f"{type(error).__name__}: {error}")
        for reading in readings:
            quantity, value = reading[2], reading[3]
            lowest, highest = _RANGES[quantity]
            if not lowest <= value <= highest:
                detail = f"{quantity} is {value:g}, outside {lowest:g} to {highest:g}"
                return _quarantined(message, RejectReason.OUT_OF_RANGE, detail)
        return _levels_only(readings) if message.retained else readings

    def _way_of(self, topic: str) -> tuple[Decoder, TopicEntry] | None:
        sensor = self._topics.get(topic)
        way = self._companions.get(topic) if sensor is None else (self._decoders[sensor.convention], sensor)
        if way is not None:
            if len(self._ways) >= WAYS_LIMIT:
                self._ways.clear()
            self._ways[topic] = way
        return way


def _levels_only(readings: list[Reading]) -> list[Reading]:
    """A retained message may be weeks old: a level at best; a press or a movement in it is nothing."""
    levels = [
        reading._replace(flags=reading.flags | RETAINED) for reading in readings if reading.quantity not in _EDGES
    ]
    if levels:
        return levels
    first = readings[0]
    return [first._replace(quantity=Quantity.LINK, value=1.0, flags=first.flags | RETAINED)]


def _stranger(topic: str) -> tuple[str, str]:
    """Say what is wrong with a topic that no sensor has."""
    levels = topic.split("/")
    if levels[0] != ROOT:
        if any(character in topic for character in "+#\0"):
            return RejectReason.BAD_ID, "the topic holds +, # or NUL"
        return RejectReason.UNKNOWN_SENSOR, "no sensor of the homes file has this topic"
    if len(levels) != 4:
        return RejectReason.BAD_TOPIC, f"our topics are {ROOT}/<site>/<home>/<sensor>"
    if not all(_ID.fullmatch(level) for level in levels[1:]):
        return RejectReason.BAD_ID, "ids are 1 to 64 letters, digits, _ and -"
    return RejectReason.UNKNOWN_SENSOR, "no sensor of the homes file has this topic"


def _quarantined(message: Message, reason: str, detail: str) -> Quarantined:
    return Quarantined(message.topic, message.payload[:PAYLOAD_LIMIT], reason, detail[:200], message.received_at)
