"""When a device says that it saw something, and whether that can be believed."""

from datetime import UTC, datetime

from sensor_guard.clock import parse_at
from sensor_guard.model import BAD_DEVICE_CLOCK, DAY, DEVICE_TIME, MINUTE, SECOND, Instant, Span

EARLIEST: Instant = 1_577_836_800_000
"""2020-01-01T00:00:00Z. A clock that was never set says 1970 or 2000, or counts seconds since the device's start."""
AHEAD: Span = 2 * MINUTE
"""How far a device's clock may be ahead of ours; times the clock's factor, because the demo's minutes are short."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KNOWN_LIMIT = 1_000
_known: dict[str, Instant] = {}
"""The texts that were read last, and what they mean: a memory that changes no answer."""
_FAR = 1e17
_MILLISECONDS_FROM = 1e11
"""An epoch number from here on is in ms (1e11 s is the year 5138, 1e11 ms is 1973)."""


def observed_at(said: object, received_at: Instant, ahead: Span) -> tuple[Instant, int]:
    """Give the time of observation and its flag.

    A message never goes to quarantine for its time: a smoke alarm with a mad clock is a smoke alarm. What is older
    than 48 h keeps its own time too; the engine takes it as late.

    Args:
        said: ISO 8601 with a zone, or seconds or milliseconds since 1970; None where the device sends no time.
        received_at: when the message came.
        ahead: how much later than that the device's time may be.
    """
    if said is None:
        return received_at, 0
    at = _instant_of_text(said) if type(said) is str else _instant_of_number(said)
    if at is not None and EARLIEST <= at <= received_at + ahead:
        return at, DEVICE_TIME
    return received_at, BAD_DEVICE_CLOCK


def _instant_of_text(said: str) -> Instant | None:
    if said in _known:  # a thousand devices speak in the same second
        return _known[said]
    try:
        if said.endswith("Z"):  # nearly every device; a third of the time of parse_at
            since = datetime.fromisoformat(said) - _EPOCH
            at = since.days * DAY + since.seconds * SECOND + since.microseconds // 1_000
        else:
            at = parse_at(said)
    except (ValueError, OverflowError):
        return None
    if len(_known) >= _KNOWN_LIMIT:
        _known.clear()
    _known[said] = at
    return at


def _instant_of_number(said: object) -> Instant | None:
    # Below zero is no time of ours, and a large one times a thousand is infinite.
    if (type(said) is int or type(said) is float) and 0 <= said < _FAR:
        return round(said if said >= _MILLISECONDS_FROM else said * 1_000)
    return None
