"""Zigbee2MQTT: one JSON object per device with its whole state, or one topic per attribute.

What each attribute means, and its unit, is from the device pages of Zigbee2MQTT 2.x; every trap that is named here was
reported by somebody (docs/payloads.md). Every message is a sign of life, whatever it holds.
"""

from collections.abc import Callable
from contextlib import suppress

from sensor_guard.config import TopicEntry
from sensor_guard.decode.envelope import PAYLOAD_LIMIT, number, read_object, read_value, shown
from sensor_guard.decode.times import observed_at
from sensor_guard.errors import DecodeError
from sensor_guard.model import RANGES, Kind, Message, Quantity, Reading, RejectReason, Span

AVAILABILITY = "/availability"
_WORDS = {"online": 1.0, "offline": 0.0}
_ATTRIBUTES = {
    "contact", "smoke", "occupancy", "presence", "action", "flow", "water_consumed", "power", "energy", "battery",
    "last_seen",
}  # fmt: skip
"""What may be the last level of a configured topic, in the output mode ``attribute``; its payload is bare then."""
_LITRES_BESIDE = ("last_valve_open_duration", "last_irrigation_duration")
"""Timer valves have one of these, and their water_consumed is in litres; a meter's is in m3."""

# Plain texts: an enum's members are looked up slowly, and this is the hot path.
_BATTERY, _LINK = Quantity.BATTERY_PCT.value, Quantity.LINK.value
_DOOR_OPEN, _SMOKE, _MOTION, _PANIC = (
    name.value for name in (Quantity.DOOR_OPEN, Quantity.SMOKE, Quantity.MOTION, Quantity.PANIC)
)
_POWER_W, _ENERGY_WH, _FLOW_L_MIN, _VOLUME_L = (
    name.value for name in (Quantity.POWER_W, Quantity.ENERGY_WH, Quantity.FLOW_L_MIN, Quantity.VOLUME_L)
)

_Said = list[tuple[str, float]]


class Zigbee2MqttDecoder:
    """Reads what fits the sensor's kind, the battery, and failing both a sign of life."""

    def companions(self, topic: str) -> tuple[str, ...]:
        """Name the topic on which Zigbee2MQTT says whether the device answers."""
        return (topic + AVAILABILITY,)

    def decode(self, message: Message, sensor: TopicEntry, ahead: Span) -> list[Reading]:
        """Read one message.

        Raises:
            DecodeError: it is not JSON within limits, or an attribute of the sensor's kind has another type.
        """
        received_at = message.received_at
        if message.topic.endswith(AVAILABILITY):
            link = _availability(message.payload)
            return [Reading(sensor.home_id, sensor.sensor_id, _LINK, link, received_at, received_at)]
        body = _body(message)
        said = _READERS[sensor.kind](body)
        battery = _battery(body.get("battery"))
        if battery is not None:
            said.append((_BATTERY, battery))
        if not said:
            said.append((_LINK, 1.0))
        at, flags = observed_at(body.get("last_seen"), received_at, ahead)
        home_id, sensor_id = sensor.home_id, sensor.sensor_id
        return [Reading(home_id, sensor_id, name, value, at, received_at, -1, flags) for name, value in said]


def _body(message: Message) -> dict[str, object]:
    payload = message.payload
    attribute = message.topic.rpartition("/")[2]
    if attribute not in _ATTRIBUTES or payload.lstrip()[:1] in (b"{", b"["):
        return read_object(payload)
    try:
        return {attribute: read_value(payload)}
    except DecodeError as error:
        if error.reason != RejectReason.BAD_JSON:
            raise
    return {attribute: _text(payload)}


def _text(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(RejectReason.BAD_JSON, "neither JSON nor text") from error


def _availability(payload: bytes) -> float:
    # {"state":"online"} since Zigbee2MQTT 2.0, before that also the bare word.
    word: object = payload.decode("utf-8", "replace") if len(payload) < 16 else None
    if word not in _WORDS:
        word = read_object(payload[: PAYLOAD_LIMIT + 1]).get("state")
    if type(word) is not str or word not in _WORDS:
        raise DecodeError(RejectReason.BAD_VALUE, f"state is {shown(word)}, neither online nor offline")
    return _WORDS[word]


def _switch(body: dict[str, object], name: str) -> bool | None:
    value = body.get(name)
    if value is None or type(value) is bool:
        return value
    raise DecodeError(RejectReason.BAD_VALUE, f"{name} is {shown(value)}, neither true nor false")


def _door(body: dict[str, object]) -> _Said:
    closed = _switch(body, "contact")  # true: the magnet touches, the door is shut
    return [] if closed is None else [(_DOOR_OPEN, 0.0 if closed else 1.0)]


def _smoke(body: dict[str, object]) -> _Said:
    smoke = _switch(body, "smoke")
    return [] if smoke is None else [(_SMOKE, 1.0 if smoke else 0.0)]


def _motion(body: dict[str, object]) -> _Said:
    seen = [flag for name in ("occupancy", "presence") if (flag := _switch(body, name)) is not None]
    return [(_MOTION, 1.0 if any(seen) else 0.0)] if seen else []


def _panic(body: dict[str, object]) -> _Said:
    # "" and null come after a press, on an announcement of the device, and when the connection is renewed.
    return [(_PANIC, 1.0)] if body.get("action") == "emergency" else []


def _power(body: dict[str, object]) -> _Said:
    said: _Said = []
    if body.get("power") is not None:
        said.append((_POWER_W, number(body["power"], "power")))
    if body.get("energy") is not None:
        said.append((_ENERGY_WH, number(body["energy"], "energy") * 1_000.0))  # kWh
    return said


def _water(body: dict[str, object]) -> _Said:
    # water_leak is a puddle on the floor, not water that runs.
    said: _Said = []
    if body.get("flow") is not None:
        said.append((_FLOW_L_MIN, number(body["flow"], "flow") * 1_000.0 / 60.0))  # m3/h
    if body.get("water_consumed") is not None:
        litres = 1.0 if any(name in body for name in _LITRES_BESIDE) else 1_000.0
        said.append((_VOLUME_L, number(body["water_consumed"], "water_consumed") * litres))
    return said


def _battery(value: object) -> float | None:
    """Older versions wrote "100.00"; what cannot be a percentage is passed over, the device lives all the same."""
    if type(value) is str and len(value) <= 8:
        with suppress(ValueError):
            value = float(value)
    if type(value) is not int and type(value) is not float:
        return None
    lowest, highest = RANGES[_BATTERY]
    return float(value) if lowest <= value <= highest else None


_READERS: dict[str, Callable[[dict[str, object]], _Said]] = {
    Kind.DOOR: _door,
    Kind.SMOKE: _smoke,
    Kind.MOTION: _motion,
    Kind.PANIC: _panic,
    Kind.POWER: _power,
    Kind.WATER: _water,
}
