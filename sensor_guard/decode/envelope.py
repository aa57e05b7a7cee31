"""JSON from a stranger, with limits: what comes out of here is finite, flat enough, small enough and said once.

The fast way is pydantic-core's parser, which is strict about NaN, UTF-8 and depth but takes the last of two equal keys
and makes infinity of 1e999. Both are found by one walk over the values: a message without a backslash has exactly two
quotation marks for each key and each text, so a key that was swallowed leaves marks over. Whatever has a backslash, or
fails, goes the slow way, which finds the reason.
"""

import json

from pydantic_core import from_json

from sensor_guard.errors import DecodeError
from sensor_guard.model import RejectReason

PAYLOAD_LIMIT = 4_096
"""Bytes. A device needs a hundred; Zigbee2MQTT with device information and 20 timers stays below 2,000."""
DEPTH_LIMIT = 8
INTEGER_LIMIT = 1 << 53
"""Beyond it a double, which is what the journal and InfluxDB keep, cannot hold every integer."""
_FLOAT_LIMIT = 1.7976931348623157e308
_BACKSLASH, _QUOTE = b'\\"'  # as numbers: a byte is found three times as fast as a text of one byte


def read_value(payload: bytes) -> object:
    """Read one JSON value.

    Raises:
        DecodeError: too_large, bad_json, duplicate_key, too_deep, not_finite or bad_value.
    """
    if len(payload) > PAYLOAD_LIMIT:
        raise DecodeError(RejectReason.TOO_LARGE, f"{len(payload)} bytes, at most {PAYLOAD_LIMIT}")
    if _BACKSLASH in payload:
        return _read_slowly(payload)
    try:
        value = from_json(payload, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        return _read_slowly(payload)
    texts = _texts_of_object(value) if type(value) is dict else _texts(value, 1)
    return value if payload.count(_QUOTE) == 2 * texts else _read_slowly(payload)


def read_object(payload: bytes) -> dict[str, object]:
    """Read a JSON object.

    Raises:
        DecodeError: as ``read_value``, or not_an_object.
    """
    value = read_value(payload)
    if type(value) is not dict:
        raise DecodeError(RejectReason.NOT_AN_OBJECT, f"is {shown(value)}, not an object")
    return value


def number(value: object, name: str) -> float:
    """Give a field's number; neither true nor "3.2" is one.

    Raises:
        DecodeError: bad_value.
    """
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    raise DecodeError(RejectReason.BAD_VALUE, f"{name} is {shown(value)}, not a number")


def shown(value: object) -> str:
    """Write a stranger's value for the detail of a rejection: short, and nothing in it can break a line."""
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _texts_of_object(body: dict[str, object]) -> int:
    """Do as ``_texts`` does, without a call for each value: nearly every message is flat."""
    texts = len(body)
    for item in body.values():
        kind = type(item)
        if kind is float or kind is int:
            if not -INTEGER_LIMIT <= item <= INTEGER_LIMIT:  # type: ignore[operator]
                _texts(item, 2)  # a float may be larger; it says what is wrong
        elif kind is str:
            texts += 1
        elif kind is dict or kind is list:
            texts += _texts(item, 2)
    return texts


def _texts(value: object, depth: int) -> int:
    """Count keys and texts, and check every number on the way."""
    if isinstance(value, str):
        return 1
    if isinstance(value, float):
        if not -_FLOAT_LIMIT <= value <= _FLOAT_LIMIT:
            raise DecodeError(RejectReason.NOT_FINITE, "a number is infinite")
        return 0
    if isinstance(value, int):  # true and false too, which are in range
        if not -INTEGER_LIMIT <= value <= INTEGER_LIMIT:
            raise DecodeError(RejectReason.BAD_VALUE, "an integer is beyond 2^53")
        return 0
    if isinstance(value, (dict, list)):
        if depth > DEPTH_LIMIT:
            raise DecodeError(RejectReason.TOO_DEEP, f"nested deeper than {DEPTH_LIMIT}")
        count, items = (len(value), value.values()) if isinstance(value, dict) else (0, value)
        for item in items:
            count += _texts(item, depth + 1)
        return count
    return 0


def _read_slowly(payload: bytes) -> object:
    """Read with the standard library, whose hooks see every pair and every odd number."""
    try:
        value: object = json.loads(
            payload.decode("utf-8"),  # by ourselves: loads() would guess UTF-16 and UTF-32 as well
            object_pairs_hook=_pairs,
            parse_int=_integer,
            parse_constant=_constant,
        )
    except RecursionError as error:
        raise DecodeError(RejectReason.TOO_DEEP, f"nested deeper than {DEPTH_LIMIT}") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are two
        raise DecodeError(RejectReason.BAD_JSON, str(error)[:80]) from error
    _texts(value, 1)
    _check_texts(value)
    return value


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    body = dict(pairs)
    if len(body) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DecodeError(RejectReason.DUPLICATE_KEY, f"{shown(twice)} stands there twice")
    return body


def _integer(text: str) -> int:
    if len(text) > 17:  # 2^53 has 16 digits; int() of 5,000 digits raises or is slow
        raise DecodeError(RejectReason.BAD_VALUE, "an integer is beyond 2^53")
    return int(text)


def _constant(text: str) -> float:
    raise DecodeError(RejectReason.NOT_FINITE, f"{text} is not a number")


def _check_texts(value: object) -> None:
    """Refuse NUL and halves of surrogate pairs, which neither SQLite nor a log can hold. Its depth is checked."""
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise DecodeError(RejectReason.BAD_VALUE, "a text holds NUL or half a character")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_texts(key)
            _check_texts(item)
    elif isinstance(value, list):
        for item in value:
            _check_texts(item)
