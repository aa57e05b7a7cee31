"""A journal's row as a line of InfluxDB's line protocol: the schema, in one place.

``reading``  tags home, quantity, sensor         fields value (float, always), seq (int: the journal's)
``alarm``    tags event, home, rule              fields alarm_id (str), level (int), text (str)

The time is in ns: the instant in ms, followed by six digits of the journal's seq, so that two rows of one sensor in
the same ms stay two points. Measurement, tags and time are the key: the same row always gives the same line, so
writing it twice stores it once. Ids only; names and labels have no place here.
"""

from collections.abc import Sequence
from math import isfinite

from sensor_guard.model import Reading, Severity
from sensor_guard.sinks.protocol import AlarmEvent, Row

LEVELS: dict[str, int] = {Severity.MAINTENANCE: 0, Severity.INFO: 1, Severity.WARNING: 2, Severity.CRITICAL: 3}
"""``level`` of an alarm, so that a dashboard can compare; a word that is not known here is -1."""

TEXT_LIMIT = 1_000
"""Longest text of an alarm's event in characters; the rest is cut (InfluxDB's own limit is 64 kB)."""

PREFIX_LIMIT = 100_000
"""Most cached prefixes (about 30 MB); at the limit the cache starts anew."""

_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": " ", "\r": " ", "\0": ""})
_NS_PER_MS = 1_000_000
_prefixes: dict[tuple[str, str, str], str] = {}


def lines_of(rows: Sequence[Row]) -> list[str]:
    """Write each row as a line, without its line break.

    Raises:
        ValueError: a value is not finite, which InfluxDB cannot store and the journal never holds.
    """
    # Spelt out in one loop: this runs for every reading that the program ever takes in.
    lines: list[str] = []
    prefixes = _prefixes
    for seq, noun in rows:
        if not isinstance(noun, Reading):
            lines.append(_alarm_line(seq, noun))
            continue
        value = float(noun.value)  # an int or a bool would give the field another type, for ever
        if not isfinite(value):
            raise ValueError(f"seq {seq}: {noun.home_id} {noun.sensor_id} {noun.quantity} is {value}: not a number")
        key = noun[:3]  # home_id, sensor_id, quantity
        prefix = prefixes.get(key) or _prefix(*key)
        lines.append(f"{prefix}{value!r},seq={seq}i {noun.observed_at * _NS_PER_MS + seq % _NS_PER_MS}")
    return lines


def _prefix(home_id: str, sensor_id: str, quantity: str) -> str:
    """Make and keep what every line of one sensor's quantity begins with; tags in the order of their names."""
    if len(_prefixes) >= PREFIX_LIMIT:
        _prefixes.clear()
    # Ids are ^[A-Za-z0-9_-]{1,64}$ since the configuration was read: nothing in them needs an escape.
    prefix = f"reading,home={home_id},quantity={quantity},sensor={sensor_id} value="
    _prefixes[home_id, sensor_id, quantity] = prefix
    return prefix


def _alarm_line(seq: int, event: AlarmEvent) -> str:
    text = event.text[:TEXT_LIMIT].translate(_ESCAPED)
    level = LEVELS.get(event.severity, -1)
    # Several people are told in the same ms: the seq in the last digits keeps their events apart.
    return (
        f"alarm,event={event.event},home={event.home_id},rule={event.rule_id}"
        f' alarm_id="{event.alarm_id}",level={level}i,text="{text}"'
        f" {event.at * _NS_PER_MS + seq % _NS_PER_MS}"
    )
