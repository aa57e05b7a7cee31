"""Messages of a capture (`mosquitto_sub -F %j`) to readings, also of homes that no configuration knows."""

from collections.abc import Mapping

from sensor_guard.config import TopicEntry
from sensor_guard.decode import Router
from sensor_guard.decode.envelope import read_object
from sensor_guard.errors import DecodeError
from sensor_guard.model import GATEWAY, KIND_OF_QUANTITY, Kind, Message, Quantity, Quarantined, Reading, RejectReason


class CaptureReader:
    """Reads a capture by the homes file, and our own topics of strangers by what they say.

    Args:
        topics: of the configuration; empty where there is none.
    """

    def __init__(self, topics: Mapping[str, TopicEntry]) -> None:
        self._known = Router(topics)
        self._topics = topics
        self._strangers: dict[str, Router] = {}

    def decode(self, message: Message) -> list[Reading]:
        """Read one message.

        Raises:
            DecodeError: it cannot be read; the daemon would have put it into quarantine.
        """
        router = self._strangers.get(message.topic, self._known)
        read = router.route(message)
        if isinstance(read, Quarantined) and read.reason == RejectReason.UNKNOWN_SENSOR:
            stranger = self._stranger(message)
            if stranger is None:
                raise DecodeError(read.reason, f"{read.detail}; give the homes with --config")
            read = stranger.route(message)
        if isinstance(read, Quarantined):
            raise DecodeError(read.reason, read.detail)
        return read

    def _stranger(self, message: Message) -> Router | None:
        levels = message.topic.split("/")
        if len(levels) != 4 or levels[0] != "guard":
            return None
        body = read_object(message.payload)
        kind = next((KIND_OF_QUANTITY[name] for name in body if name in KIND_OF_QUANTITY), None)
        _, site_id, home_id, sensor_id = levels
        if home_id == GATEWAY:
            raise DecodeError(RejectReason.BAD_ID, f"{GATEWAY} is the box itself, not a home")
        # A word about battery or link alone does not say what the sensor is: any kind reads it, for now.
        entry = TopicEntry(site_id, home_id, sensor_id, kind or Kind.DOOR, "own")
        router = Router({message.topic: entry})
        if kind is not None or Quantity.BATTERY_PCT not in body:
            self._strangers[message.topic] = router
        return router
