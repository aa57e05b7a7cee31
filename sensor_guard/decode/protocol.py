"""What a decoder is. A further convention is one file beside this one and one row of ``DECODERS``."""

from typing import Protocol

from sensor_guard.config import TopicEntry
from sensor_guard.decode.own import OwnDecoder
from sensor_guard.decode.zigbee2mqtt import Zigbee2MqttDecoder
from sensor_guard.model import Message, Reading, Span


class Decoder(Protocol):
    """Reads the messages of one convention. Pure: no clock, no state, the same message gives the same readings."""

    def companions(self, topic: str) -> tuple[str, ...]:
        """Name the further topics on which the device with this topic speaks (availability, say)."""
        ...

    def decode(self, message: Message, sensor: TopicEntry, ahead: Span) -> list[Reading]:
        """Read one message of ``sensor``: at least one reading, ``link`` = 1 where it carries no other.

        Args:
            message: on the sensor's topic or one of its companions.
            sensor: whose topic it is.
            ahead: how much later than ``message.received_at`` the device's own time may be.

        Raises:
            DecodeError: with a word of ``RejectReason``; the message goes to quarantine.
        """
        ...


DECODERS: dict[str, Decoder] = {"own": OwnDecoder(), "zigbee2mqtt": Zigbee2MqttDecoder()}
"""The conventions by their word in the homes file (``config.homes.CONVENTIONS``)."""
