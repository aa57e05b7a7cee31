"""What goes wrong in a home, and the truth about it: which rule should fire, and when.

The truth is worked out from what happens, never from what the sensors say and never by the program's own rules. Times
of firing are windows, because a meter speaks every five minutes.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from enum import StrEnum
from random import Random

from sensor_guard.clock import format_at, local_time, parse_at
from sensor_guard.model import DAY, HOUR, MINUTE, SECOND, Instant, Span
from simulators.habits import Channel, Use

POWER_EVERY: Span = 5 * MINUTE
"""How often the power meter speaks: the mean of the last five minutes."""


class IncidentKind(StrEnum):
    """What can happen."""

    COLLAPSE = "collapse"  # all activity stops, nobody presses the button, until somebody comes
    POWER_LOW = "power_low"  # no electricity is used, though somebody moves about
    TAP_LEFT_ON = "tap_left_on"
    HOLIDAY = "holiday"  # gone, and nobody was told: looks like a collapse
    HOLIDAY_ANNOUNCED = "holiday_announced"  # gone, and the home should be set away for the time
    SMOKE = "smoke"
    PANIC = "panic"
    DOOR_OPEN_NIGHT = "door_open_night"


LASTS: dict[IncidentKind, Span] = {
    IncidentKind.COLLAPSE: 26 * HOUR,
    IncidentKind.POWER_LOW: 14 * HOUR,
    IncidentKind.TAP_LEFT_ON: 3 * HOUR,
    IncidentKind.HOLIDAY: 3 * DAY,
    IncidentKind.HOLIDAY_ANNOUNCED: 4 * DAY,
    IncidentKind.SMOKE: 10 * MINUTE,
    IncidentKind.PANIC: 0,
    IncidentKind.DOOR_OPEN_NIGHT: 90 * MINUTE,
}
"""How long an incident lasts where nobody says."""

_GONE = (IncidentKind.COLLAPSE, IncidentKind.HOLIDAY, IncidentKind.HOLIDAY_ANNOUNCED)
_EVERYTHING = frozenset({Channel.DOOR, Channel.LIVING, Channel.BATH, Channel.FLOW, Channel.LOAD})
_NIGHT_BEGINS, _NIGHT_ENDS = 22, 6  # hours, as in the shipped rule door_open_night


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that happens in one home, from ``begins_at`` to ``ends_at``."""

    kind: IncidentKind
    home_id: str
    begins_at: Instant
    ends_at: Instant

    @classmethod
    def of(cls, kind: IncidentKind, home_id: str, begins_at: Instant, lasts: Span | None = None) -> "Incident":
        """Make an incident that lasts as long as its kind usually does, or ``lasts``."""
        return cls(kind, home_id, begins_at, begins_at + (LASTS[kind] if lasts is None else lasts))

    @classmethod
    def parse(cls, text: str) -> "Incident":
        """Read ``KIND,HOME,TIME[,SPAN]``, such as ``collapse,home-003,2026-03-03T09:10:00+08:00,16h``.

        Raises:
            ValueError: with the way out.
        """
        parts = [part.strip() for part in text.split(",")]
        kinds = ", ".join(IncidentKind)
        if len(parts) not in {3, 4} or parts[0] not in set(IncidentKind):
            raise ValueError(f"{text!r}: write KIND,HOME,TIME or KIND,HOME,TIME,SPAN; KIND is one of {kinds}")
        lasts = parse_span(parts[3]) if len(parts) == 4 else None
        return cls.of(IncidentKind(parts[0]), parts[1], parse_at(parts[2]), lasts)


@dataclass(frozen=True, slots=True)
class Expected:
    """A rule that should fire (an alarm's ``raised_at``) between two instants, both included."""

    rule_id: str
    earliest: Instant
    latest: Instant


@dataclass(frozen=True, slots=True)
class TruthRecord:
    """What happened, and what should come of it.

    ``expect``: must fire; ``may``: is under way when the incident or the data end, so that either is right.
    ``away``: set the home away from ``begins_at`` to ``ends_at``, then nothing may fire.
    """

    home_id: str
    incident: str
    begins_at: Instant
    ends_at: Instant
    expect: tuple[Expected, ...] = ()
    may: tuple[Expected, ...] = ()
    away: bool = False
    sensor_id: str | None = None

    def as_json(self) -> str:
        """Write one line of a ``.truth.jsonl`` file."""
        row: dict[str, object] = {
            "home_id": self.home_id,
            "incident": self.incident,
            "from": format_at(self.begins_at),
            "until": format_at(self.ends_at),
            "expect": [_expected_row(one) for one in self.expect],
            "may": [_expected_row(one) for one in self.may],
            "away": self.away,
        }
        if self.sensor_id is not None:
            row["sensor_id"] = self.sensor_id
        return json.dumps(row, ensure_ascii=False)


def truth_of(incident: Incident, zone: tzinfo, end: Instant) -> TruthRecord:
    """Say what should come of an incident in data that end at ``end``."""
    expect, may = [], []
    sees_until = min(incident.ends_at if incident.kind not in _EDGES else end, end)
    for one in _consequences(incident, zone):
        if one.latest <= sees_until:
            expect.append(one)
        elif one.earliest <= sees_until:
            may.append(one)
    return TruthRecord(
        incident.home_id,
        incident.kind,
        incident.begins_at,
        incident.ends_at,
        tuple(expect),
        tuple(may),
        away=incident.kind is IncidentKind.HOLIDAY_ANNOUNCED,
    )


def footprint(incident: Incident) -> list[Use]:
    """Say what an incident itself adds to the day.

    A collapse or a departure is preceded by light, water and a movement, so that it is known since when there is
    none; its end is somebody at the door, light and a kettle.
    """
    begins_at, ends_at = incident.begins_at, incident.ends_at
    match incident.kind:
        case IncidentKind.COLLAPSE:
            return [*_last_acts(begins_at), *_first_acts(ends_at)]
        case IncidentKind.HOLIDAY | IncidentKind.HOLIDAY_ANNOUNCED:
            leaves = Use(begins_at, begins_at + 12 * SECOND, Channel.DOOR)
            return [*_last_acts(begins_at), leaves, *_first_acts(ends_at)]
        case IncidentKind.POWER_LOW:
            return [Use(begins_at - 3 * MINUTE, begins_at, Channel.LOAD, 1_800), *_first_acts(ends_at)]
        case IncidentKind.TAP_LEFT_ON:
            return [Use(begins_at, begins_at, Channel.LIVING), Use(begins_at, ends_at, Channel.FLOW, 4.2)]
        case IncidentKind.SMOKE:
            return [Use(begins_at, begins_at, Channel.LIVING), Use(begins_at, ends_at, Channel.SMOKE)]
        case IncidentKind.PANIC:
            return [Use(begins_at, begins_at, Channel.PANIC)]
        case IncidentKind.DOOR_OPEN_NIGHT:
            return [Use(begins_at, ends_at, Channel.DOOR)]


def without(uses: Iterable[Use], incident: Incident) -> Iterator[Use]:
    """Take out of a planned day what the incident prevents; what was under way ends when it begins."""
    begins_at, ends_at, channels = incident.begins_at, incident.ends_at, _EVERYTHING
    if incident.kind is IncidentKind.POWER_LOW:
        channels = frozenset({Channel.LOAD})
    elif incident.kind is IncidentKind.TAP_LEFT_ON:
        # The two hours must begin with this tap, not with a draw that happened to run before.
        begins_at, ends_at, channels = begins_at - 15 * MINUTE, begins_at, frozenset({Channel.FLOW})
    elif incident.kind not in _GONE:
        channels = frozenset()
    for use in uses:
        if use.channel not in channels or use.start >= ends_at or max(use.end, use.start + 1) <= begins_at:
            yield use
        elif use.start < begins_at:
            yield use._replace(end=begins_at)


def scatter(
    home_ids: Iterable[str], start: Instant, end: Instant, *, seed: int, every: Span, zone: tzinfo
) -> list[Incident]:
    """Strew incidents of all kinds: in each home one per ``every`` on average, with two days of peace between."""
    found: list[Incident] = []
    for home_id in home_ids:
        rng = Random(f"{seed}:{home_id}:incidents")
        at = start + DAY
        while True:
            at += round(rng.expovariate(1 / every) / SECOND) * SECOND
            kind = rng.choice(list(IncidentKind))
            if kind is IncidentKind.DOOR_OPEN_NIGHT:
                evening = local_time(at, zone).replace(hour=22, minute=0, second=0, microsecond=0)
                at = round((evening + timedelta(minutes=rng.randrange(60, 240))).timestamp() * 1_000)
            one = Incident.of(kind, home_id, at)
            if one.ends_at + 2 * DAY > end:
                break
            found.append(one)
            at = one.ends_at + 2 * DAY
    return found


def parse_span(text: str) -> Span:
    """Read 45s, 30m, 12h or 2d.

    Raises:
        ValueError: with the way out.
    """
    units = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
    try:
        span = round(float(text[:-1]) * units[text[-1:]])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{text!r}: write a span such as 45s, 30m, 12h or 2d") from error
    if span < 0:
        raise ValueError(f"{text!r}: a span is not negative")
    return span


_EDGES = (IncidentKind.SMOKE, IncidentKind.PANIC)


def _consequences(incident: Incident, zone: tzinfo) -> list[Expected]:
    """Name the shipped rules that an incident of unlimited length sets off."""
    at = incident.begins_at
    low = Expected("electricity_low", at + 12 * HOUR, at + 12 * HOUR + 2 * POWER_EVERY + MINUTE)
    match incident.kind:
        case IncidentKind.COLLAPSE | IncidentKind.HOLIDAY:
            # The last movement and the last water lie within the minute before.
            still = Expected("no_movement", at + 12 * HOUR - MINUTE, at + 12 * HOUR + MINUTE)
            dry = Expected("water_none", at + 24 * HOUR - MINUTE, at + 24 * HOUR + MINUTE)
            return [low, still, dry]
        case IncidentKind.HOLIDAY_ANNOUNCED:
            return []
        case IncidentKind.POWER_LOW:
            return [low]
        case IncidentKind.TAP_LEFT_ON:
            return [Expected("water_running", at + 2 * HOUR, at + 2 * HOUR + MINUTE)]
        case IncidentKind.SMOKE:
            return [Expected("smoke", at, at + MINUTE)]
        case IncidentKind.PANIC:
            return [Expected("panic", at, at + MINUTE)]
        case IncidentKind.DOOR_OPEN_NIGHT:
            open_at_night = _night_from(at, zone)
            return [Expected("door_open_night", open_at_night + 30 * MINUTE, open_at_night + 31 * MINUTE)]


def _night_from(at: Instant, zone: tzinfo) -> Instant:
    """Give ``at`` if half an hour of night is left then, else the next beginning of the night."""
    local, later = local_time(at, zone), local_time(at + 30 * MINUTE, zone)
    if all(moment.hour >= _NIGHT_BEGINS or moment.hour < _NIGHT_ENDS for moment in (local, later)):
        return at
    begins = local.replace(hour=_NIGHT_BEGINS, minute=0, second=0, microsecond=0)
    return round(begins.timestamp() * 1_000)


def _last_acts(at: Instant) -> list[Use]:
    return [
        Use(at - 3 * MINUTE, at, Channel.LOAD, 40),
        Use(at - 50 * SECOND, at - 20 * SECOND, Channel.FLOW, 4),
        Use(at, at, Channel.LIVING),
    ]


def _first_acts(at: Instant) -> list[Use]:
    moves = [Use(at + m * MINUTE, at + m * MINUTE, Channel.LIVING) for m in (1, 3, 7, 12)]
    return [
        Use(at, at + 15 * SECOND, Channel.DOOR),
        *moves,
        Use(at + MINUTE, at + 40 * MINUTE, Channel.LOAD, 40),
        Use(at + 4 * MINUTE, at + 4 * MINUTE + 20 * SECOND, Channel.FLOW, 6),
        Use(at + 5 * MINUTE, at + 9 * MINUTE, Channel.LOAD, 1_800),
    ]


def _expected_row(one: Expected) -> dict[str, str]:
    return {"rule_id": one.rule_id, "earliest": format_at(one.earliest), "latest": format_at(one.latest)}
