"""Spans, thresholds and times of day: what people write, and how people are told.

A parser raises ValueError whose text is the way out; ``shape`` puts file, line and column before it.
"""

import re
import unicodedata

from sensor_guard.model import DAY, HOUR, MINUTE, SECOND, Quantity, Span

SPAN_PATTERN = r"^(?=.)([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?$"
WINDOW_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
THRESHOLD_PATTERN = r"^-?[0-9]+(\.[0-9]+)? ?(W|kW|L/min|L/h|m3/h|%)$"

# A unit as people write it (case does not matter): its quantity, and what one of it is in the quantity's own unit.
UNITS: dict[str, tuple[Quantity, float]] = {
    "W": (Quantity.POWER_W, 1.0),
    "kW": (Quantity.POWER_W, 1_000.0),
    "L/min": (Quantity.FLOW_L_MIN, 1.0),
    "L/h": (Quantity.FLOW_L_MIN, 1 / 60),
    "m3/h": (Quantity.FLOW_L_MIN, 1_000 / 60),
    "%": (Quantity.BATTERY_PCT, 1.0),
}
UNIT_OF: dict[str, str] = {Quantity.POWER_W: "W", Quantity.FLOW_L_MIN: "L/min", Quantity.BATTERY_PCT: "%"}

_SPAN = re.compile(SPAN_PATTERN)
_SIZES: tuple[tuple[str, Span], ...] = (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND))
_WORDS = {
    "zh": {"d": "{}天", "h": "{}小时", "m": "{}分钟", "s": "{}秒"},
    "en": {"d": "{} d ", "h": "{} h ", "m": "{} min ", "s": "{} s "},
}


def parse_span(value: object) -> Span:
    """Read a span such as 12h, 30m, 45s, 2d or 1h30m.

    Raises:
        ValueError: anything else; the text says how to write it.
    """
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"write a duration such as 12h, 30m, 45s or 2d, not {shown(value)}{full_width_hint(value)}")
    return sum(
        int(part[:-1]) * size for part, (_, size) in zip(found.groups(), _SIZES, strict=True) if part is not None
    )


def write_span(span: Span) -> str:
    """Write a span as files do: 12h, 1h30m, 0s."""
    parts = []
    for letter, size in _SIZES:
        count, span = divmod(span, size)
        if count:
            parts.append(f"{count}{letter}")
    return "".join(parts) or "0s"


def say_span(span: Span, language: str) -> str:
    """Say a span to a person, in its two largest units: 2 d 3 h, 12 h, 1小时30分钟."""
    words = _WORDS.get(language, _WORDS["en"])
    said: list[str] = []
    for place, (letter, size) in enumerate(_SIZES):
        count, span = divmod(span, size)
        if count:
            said.append(words[letter].format(count))
            if place + 1 < len(_SIZES):
                next_letter, next_size = _SIZES[place + 1]
                if span // next_size:
                    said.append(words[next_letter].format(span // next_size))
            break
    return "".join(said).strip() or words["s"].format(0).strip()


def parse_threshold(value: object) -> tuple[float, Quantity]:
    """Read a number with its unit; give it in the unit of the quantity that the unit belongs to.

    Raises:
        ValueError: no number, no unit or an unknown unit; the text says how to write it.
    """
    example = "such as 5 W, 0.1 L/min or 15 %"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(f"write the unit as well, {example}, not {shown(value)}")  # noqa: TRY004 - pydantic's
    found = re.fullmatch(r"(-?[0-9]{1,30}(?:\.[0-9]{1,9})?)\s*(\S+)", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"write a number with its unit, {example}, not {shown(value)}{full_width_hint(value)}")
    for unit, (quantity, factor) in UNITS.items():
        if unit.lower() == found[2].lower():
            return float(found[1]) * factor, quantity
    known = ", ".join(UNITS)
    raise ValueError(f"{found[2]!r} is not a unit here; the units are {known}{full_width_hint(value)}")


def parse_window(value: object) -> tuple[int, int]:
    """Read hours of the day such as 22:00-06:00; give both in minutes after midnight, the end at most 1440.

    Raises:
        ValueError: anything else; the text says how to write it.
    """
    if not isinstance(value, str) or not re.fullmatch(WINDOW_PATTERN, value):
        raise ValueError(f"write hours of the day such as 22:00-06:00, not {shown(value)}{full_width_hint(value)}")
    start, end = (int(clock[:2]) * 60 + int(clock[3:]) for clock in value.split("-"))
    if start == end % 1440 and (start, end) != (0, 1440):
        raise ValueError(f"{value} is no time at all; for the whole day leave `between` out")
    if (start, end) == (0, 1440):
        raise ValueError("00:00-24:00 is the whole day; leave `between` out")
    return start, end


def window_length(window: tuple[int, int]) -> Span:
    """Say how long a window of the day is."""
    start, end = window
    return ((end - start) % 1440 or 1440) * MINUTE


def write_window(window: tuple[int, int]) -> str:
    """Write a window as files do: 22:00-06:00."""
    return "-".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in window)


def shown(value: object) -> str:
    """Show a value as the person wrote it, at most 40 characters."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a block of keys"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:36] + "..." + text[-1]


def full_width_hint(value: object) -> str:
    """Say so when a text was typed with full-width characters, as a Chinese input method does."""
    if isinstance(value, str) and unicodedata.normalize("NFKC", value) != value:
        return f" (full-width characters: type {unicodedata.normalize('NFKC', value)!r} in the ASCII mode)"
    return ""
