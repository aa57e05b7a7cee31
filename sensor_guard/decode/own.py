"""Our own convention: one flat JSON object on ``guard/<site>/<home>/<sensor>``. docs/payloads.md is its contract."""

import re
from contextlib import suppress

from sensor_guard.config import TopicEntry
from sensor_guard.decode.envelope import number, read_object, shown
from sensor_guard.decode.times import observed_at
from sensor_guard.errors import DecodeError
from sensor_guard.model import (
    ID_PATTERN,
    KINDS,
    RANGES,
    Kind,
    Message,
    Quantity,
    Reading,
    RejectReason,
    Span,
    as_reading,
)

_ID = re.compile(ID_PATTERN)
_ID_FIELDS = frozenset(("site", "home", "sensor"))
# Plain texts: an enum's members are looked up slowly, and this is the hot path.
_BATTERY, _LINK = Quantity.BATTERY_PCT.value, Quantity.LINK.value
_OTHER_FIELDS = _ID_FIELDS | {"ts", "seq", _BATTERY, _LINK}
_QUANTITIES = {kind.value: tuple(name.value for name in KINDS[kind].quantities) for kind in Kind}
_URGENT = {kind.value for kind in Kind if KINDS[kind].urgent}
_SWITCHES = {name.value for name in (Quantity.DOOR_OPEN, Quantity.SMOKE, Quantity.MOTION, Quantity.PANIC)} | {_LINK}


class OwnDecoder:
    """Reads the quantities of the sensor's kind, the battery, and failing both a sign of life."""

    def companions(self, _topic: str) -> tuple[str, ...]:
        """Name no further topic: everything comes on the sensor's own."""
        return ()

    def decode(self, message: Message, sensor: TopicEntry, ahead: Span) -> list[Reading]:
        """Read one message.

        Raises:
            DecodeError: anything that docs/payloads.md does not allow.
        """
        body = read_object(message.payload)
        if not _ID_FIELDS.isdisjoint(body):
            _check_ids(body, sensor)
        _, home_id, sensor_id, kind, _ = sensor
        said: list[tuple[str, float]] = []
        for name in _QUANTITIES[kind]:
            value = body.get(name)
            if value is not None:
                said.append((name, value if type(value) is float and name not in _SWITCHES else _value(name, value)))
        # A cry for help is never refused for what stands beside it.
        is_cry = kind in _URGENT and bool(said) and said[0][1] == 1.0
        if not said:
            _refuse_strange_names(body, sensor)
        if _BATTERY in body:
            said.extend(_battery(body[_BATTERY], is_cry))
        if _LINK in body and not is_cry:
            said.extend(_link(body[_LINK]))
        if not said:
            said.append((_LINK, 1.0))
        seq = body.get("seq", -1)
        if type(seq) is not int or (seq < 0 and "seq" in body):
            seq = _sequence(seq, is_cry)
        received_at = message.received_at
        at, flags = observed_at(body.get("ts"), received_at, ahead)
        if len(said) == 1:  # nearly every message
            name, given = said[0]
            return [as_reading((home_id, sensor_id, name, given, at, received_at, seq, flags))]
        return [as_reading((home_id, sensor_id, name, given, at, received_at, seq, flags)) for name, given in said]


def _value(name: str, value: object) -> float:
    given = value if type(value) is float else number(value, name)
    if name in _SWITCHES and given not in {0.0, 1.0}:
        raise DecodeError(RejectReason.OUT_OF_RANGE, f"{name} is {shown(value)}; it is 0 or 1")
    return given


def _battery(value: object, is_cry: bool) -> list[tuple[str, float]]:
    if value is None:
        return []
    if not is_cry:
        return [(_BATTERY, number(value, _BATTERY))]
    lowest, highest = RANGES[_BATTERY]
    with suppress(DecodeError):
        given = number(value, _BATTERY)
        return [(_BATTERY, given)] if lowest <= given <= highest else []
    return []


def _link(value: object) -> list[tuple[str, float]]:
    return [] if value is None else [(_LINK, _value(_LINK, value))]


def _sequence(value: object, is_cry: bool) -> int:
    if type(value) is int and value >= 0:
        return value
    if value is None or is_cry:
        return -1
    raise DecodeError(RejectReason.BAD_VALUE, f"seq is {shown(value)}, not a whole number from 0 on")


def _check_ids(body: dict[str, object], sensor: TopicEntry) -> None:
    for name, expected in (("site", sensor.site_id), ("home", sensor.home_id), ("sensor", sensor.sensor_id)):
        if name not in body:
            continue
        value = body[name]
        if type(value) is not str or not _ID.fullmatch(value):
            detail = f"{name} is {shown(value)}; ids are 1 to 64 letters, digits, _ and -"
            raise DecodeError(RejectReason.BAD_ID, detail)
        if value != expected:
            raise DecodeError(RejectReason.ID_MISMATCH, f"{name} is {value}, but the topic is of {expected}")


def _refuse_strange_names(body: dict[str, object], sensor: TopicEntry) -> None:
    """A strange name beside a reading is passed over; without one it may be the reading, misspelt."""
    known = (*_QUANTITIES[sensor.kind], *_OTHER_FIELDS)
    strange = [name for name in body if name not in known]
    if strange:
        words = " or ".join(_QUANTITIES[sensor.kind])
        raise DecodeError(RejectReason.UNKNOWN_FIELD, f"{shown(strange[0])}; a {sensor.kind} sensor says {words}")
