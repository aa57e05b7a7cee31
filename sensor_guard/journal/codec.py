"""Inputs as text for the events table, and back: exact and strict in both directions.

What is written can be read: a value of a wrong type is refused before it is stored, because after a restart it would
stand in the way of everything behind it. A field that a later version adds with a default may be missing.
"""

import json
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from math import isfinite
from types import NoneType
from typing import Any, NamedTuple, cast, get_args, get_type_hints

from sensor_guard.errors import JournalError
from sensor_guard.model import (
    ClockKnown,
    ClockStepped,
    Command,
    DeliveryReport,
    Drained,
    Evidence,
    Fault,
    Input,
    LinkLost,
    LinkUp,
    PlanChanged,
    Reading,
    SensorEvidence,
)

# json.dumps makes an encoder for each call, which takes longer than to write a row of a few fields.
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

INT_LIMIT = 1 << 63
"""SQLite's integers have 64 bits."""


class CodecError(JournalError):
    """A noun cannot be written, or a row cannot be read back."""


def encode(item: Input) -> tuple[str, str]:
    """Write an input as (kind, JSON).

    Raises:
        CodecError: a field has a type that the model does not give it, or a number that no row can hold.
    """
    shape = _SHAPES.get(_KIND_OF.get(type(item), ""))
    if shape is None:
        raise CodecError(f"{type(item).__name__} is no input of the engine")
    return shape.kind, _write(shape, item)


def decode(kind: str, body: str) -> Input:
    """Read an input back.

    Raises:
        CodecError: not what ``encode`` writes; the message names the kind and the field.
    """
    shape = _SHAPES.get(kind)
    if shape is None:
        raise CodecError(f"event of unknown kind {kind!r}")
    return cast("Input", _build(shape, _load(kind, body)))


def encode_evidence(evidence: Evidence) -> str:
    """Write why an alarm rose, for the alarms table."""
    row = _row(_EVIDENCE, evidence, skip="sensors")
    return _dump(row | {"sensors": [_row(_SENSOR, sensor) for sensor in evidence.sensors]})


def decode_evidence(body: str) -> Evidence:
    """Read it back.

    Raises:
        CodecError: not what ``encode_evidence`` writes.
    """
    row = _load("evidence", body)
    sensors = row.pop("sensors", [])
    if not isinstance(sensors, list) or not all(isinstance(sensor, dict) for sensor in sensors):
        raise CodecError("evidence.sensors: not a list of objects")
    evidence = cast("Evidence", _build(_EVIDENCE, row))
    return replace(evidence, sensors=tuple(cast("SensorEvidence", _build(_SENSOR, sensor)) for sensor in sensors))


def encode_params(params: tuple[tuple[str, str], ...]) -> str:
    """Write a notification's parameters, in their order."""
    return _dump([list(pair) for pair in params])


def decode_params(body: str) -> tuple[tuple[str, str], ...]:
    """Read them back."""
    return tuple((str(key), str(value)) for key, value in json.loads(body))


def storable(text: str) -> str:
    """Give text that a row can hold: a lone surrogate (half a character, from a strange JSON) becomes ``?``."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


class _Shape(NamedTuple):
    """What a noun looks like. ``types``: field -> the types its value may have; ``required``: without default."""

    kind: str
    make: Callable[..., object]
    types: dict[str, tuple[type, ...]]
    required: frozenset[str]


def _shape_of(kind: str, noun: type) -> _Shape:
    hints = get_type_hints(noun)
    types = {name: get_args(hint) or (hint,) for name, hint in hints.items()}
    if issubclass(noun, tuple):
        defaults = noun._field_defaults  # type: ignore[attr-defined]
        required = frozenset(types) - frozenset(defaults)
    else:
        # fields() wants a dataclass, which every other noun of the table is.
        required = frozenset(
            field.name
            for field in fields(noun)  # type: ignore[arg-type]
            if field.default is MISSING and field.default_factory is MISSING
        )
    return _Shape(kind, noun, types, required)


def _write(shape: _Shape, noun: object) -> str:
    return _dump(_row(shape, noun))


def _row(shape: _Shape, noun: object, skip: str = "") -> dict[str, object]:
    row: dict[str, object] = {}
    for name, types in shape.types.items():
        if name != skip:
            row[name] = _checked(shape.kind, name, getattr(noun, name), types)
    return row


def _build(shape: _Shape, row: dict[str, object]) -> object:
    unknown = row.keys() - shape.types.keys()
    missing = shape.required - row.keys()
    if unknown or missing:
        raise CodecError(f"{shape.kind}: unknown fields {sorted(unknown)}, missing fields {sorted(missing)}")
    return shape.make(**{name: _checked(shape.kind, name, value, shape.types[name]) for name, value in row.items()})


def _checked(kind: str, name: str, value: object, types: tuple[type, ...]) -> object:
    if isinstance(value, bool):
        fits = bool in types
    elif isinstance(value, int):
        fits = (int in types or float in types) and -INT_LIMIT <= value < INT_LIMIT
    elif isinstance(value, float):
        fits = float in types and isfinite(value)
    else:
        fits = isinstance(value, types)
    if not fits:
        wanted = " or ".join("null" if kind_of is NoneType else kind_of.__name__ for kind_of in types)
        raise CodecError(f"{kind}.{name}: {value!r:.80} is not {wanted}, or too large")
    return value


def _dump(value: object) -> str:
    try:
        text = _ENCODE(value)
    except ValueError as error:
        raise CodecError(f"{error}") from error
    # A lone surrogate cannot be stored as it is; escaped it can, and comes back as it was.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text


def _load(kind: str, body: str) -> dict[str, Any]:
    # Any: JSON; every value passes _checked before it is used.
    try:
        row = json.loads(body, parse_constant=_no_constant)
    except ValueError as error:
        raise CodecError(f"{kind}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise CodecError(f"{kind}: not an object")
    return row


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is no number")


_SHAPES: dict[str, _Shape] = {
    kind: _shape_of(kind, noun)
    for kind, noun in {
        "reading": Reading,
        "command": Command,
        "delivery_report": DeliveryReport,
        "link_lost": LinkLost,
        "link_up": LinkUp,
        "drained": Drained,
        "fault": Fault,
        "clock_stepped": ClockStepped,
        "clock_known": ClockKnown,
        "plan_changed": PlanChanged,
    }.items()
}
_KIND_OF: dict[type, str] = {cast("type", shape.make): kind for kind, shape in _SHAPES.items()}
_EVIDENCE = _shape_of("evidence", Evidence)
_SENSOR = _shape_of("evidence.sensors", SensorEvidence)
