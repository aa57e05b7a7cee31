"""The ``tests:`` of a rule file as typed objects. They are run elsewhere, on the virtual clock; here they are read.

Everything that a file may leave out is filled in: which sensors the home has, whose reading it is, when time begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from zoneinfo import ZoneInfo

from sensor_guard.config.grammar import CaseEntry
from sensor_guard.config.homes import sensor_from
from sensor_guard.config.shape import did_you_mean, validated
from sensor_guard.config.source import Document, Way
from sensor_guard.config.table import Spot
from sensor_guard.engine.plan import Rule, Sensor
from sensor_guard.errors import Problem
from sensor_guard.model import KIND_OF_QUANTITY, KINDS, RANGES, Instant, Kind, Span

START_DAY = datetime(2026, 3, 2)  # noqa: DTZ001 - a Monday; the test's zone is put to it
"""Midnight of this day, in the test's time zone, is where a test begins that names no ``start``."""


@dataclass(frozen=True, slots=True)
class GivenReading:
    """At ``at`` after the start the sensor says ``value``; again ``every`` so often, the last time at ``until``."""

    at: Span
    sensor_id: str
    quantity: str
    value: float
    every: Span | None = None
    until: Span | None = None


@dataclass(frozen=True, slots=True)
class GivenAway:
    """At ``at`` the home goes away (``until``: back by itself then) or comes back."""

    at: Span
    away: bool
    until: Span | None = None


Given: TypeAlias = GivenReading | GivenAway


@dataclass(frozen=True, slots=True)
class Expected:
    """At ``at`` the open alarms of the rule are in these states, in the order in which they rose."""

    at: Span
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One test of one rule. ``sensors``: all that its home has. ``given`` and ``then`` are in order of time."""

    name: str
    rule_id: str
    sensors: tuple[Sensor, ...]
    given: tuple[Given, ...]
    then: tuple[Expected, ...]
    start: Instant
    zone_name: str
    file: str
    line: int


def read_test(
    document: Document, way: Way, rules: Mapping[str, Rule], known: frozenset[str], problems: list[Problem]
) -> RuleTest | None:
    """Read one entry of ``tests:``; None where it is wrong, told in ``problems``.

    ``rules``: the rules that were read well; ``known``: every rule id that stands anywhere.
    """
    before = len(problems)
    entry = validated(CaseEntry, document, way, problems)
    if entry is None:
        return None
    rule = rules.get(entry.rule)
    if entry.rule not in known:
        message = f"there is no rule {entry.rule!r} in these files{did_you_mean(entry.rule, known)}"
        problems.append(document.problem((*way, "rule"), message))
    zone_name = _zone(entry, document, way, problems)
    start = _start(entry, zone_name, document, way, problems)
    reader = _TestReader(document, way, rule, problems)
    reader.declare(entry)
    for place in range(len(entry.given)):
        reader.give(entry, place)
    if len(problems) > before or rule is None:
        return None
    reader.imply(rule.condition.kind or Kind.DOOR)
    return RuleTest(
        entry.name,
        entry.rule,
        tuple(reader.sensors.values()),
        tuple(sorted(reader.given, key=lambda given: given.at)),
        tuple(sorted((Expected(then.at, then.alarms) for then in entry.then), key=lambda then: then.at)),
        start,
        zone_name,
        document.file,
        document.place(way).line,
    )


class _TestReader:
    def __init__(self, document: Document, way: Way, rule: Rule | None, problems: list[Problem]) -> None:
        self.sensors: dict[str, Sensor] = {}
        self.given: list[Given] = []
        self._document = document
        self._way = way
        self._rule_kind = rule.condition.kind if rule is not None else None
        self._problems = problems

    def declare(self, entry: CaseEntry) -> None:
        for place, sensor in enumerate(entry.sensors):
            here: Way = (*self._way, "sensors", place)
            spot = Spot(
                self._document.file,
                self._document.place(here).line,
                {},
                self._document,
                here,
                {"sensor": (*here, "id")},
            )
            row = {"sensor": sensor.id, **sensor.model_dump(exclude={"id"})}
            made = sensor_from(row, spot, self._problems)
            if sensor.id in self.sensors:
                self._problems.append(spot.problem("sensor", f"{sensor.id!r} stands here twice"))
            elif made is not None:
                self.sensors[sensor.id] = made

    def give(self, entry: CaseEntry, place: int) -> None:
        given = entry.given[place]
        here: Way = (*self._way, "given", place)
        values = given.values()
        if given.away is None and not values:
            self._tell(here, "says nothing; write a quantity such as power_w: 3, or away: true")
        elif given.away is not None and (values or given.every is not None or given.sensor is not None):
            self._tell(here, "away stands alone, with at and until; write the readings in an entry of their own")
        elif given.away is not None:
            if given.until is not None and (not given.away or given.until <= given.at):
                self._tell((*here, "until"), "is no later than at, or the home is not away; correct or delete it")
            self.given.append(GivenAway(given.at, given.away, given.until))
        self._check_times(given.at, given.every, given.until, here, is_reading=given.away is None)
        sensor = given.sensor
        # What is measured comes first: battery and link in the same entry are the same sensor's.
        for quantity in sorted(values, key=lambda name: name not in KIND_OF_QUANTITY):
            found = self._reading(sensor, quantity, values[quantity], (given.at, given.every, given.until), here)
            if quantity in KIND_OF_QUANTITY and len([name for name in values if name in KIND_OF_QUANTITY]) == 1:
                sensor = found

    def imply(self, kind: str) -> None:
        """Without any sensor the home gets one of the rule's kind."""
        if not self.sensors:
            self._sensor_of(kind, None, ())

    def _reading(
        self, sensor: str | None, quantity: str, value: float, times: tuple[Span, Span | None, Span | None], here: Way
    ) -> str | None:
        low, high = RANGES[quantity]
        if not low <= value <= high:
            self._tell((*here, quantity), f"{value:g} is outside {low:g} to {high:g}, which no sensor leaves")
            return None
        sensor_id = self._sensor_of(KIND_OF_QUANTITY.get(quantity), sensor, here)
        if sensor_id is not None:
            self.given.append(GivenReading(times[0], sensor_id, quantity, value, times[1], times[2]))
        return sensor_id

    def _sensor_of(self, kind: str | None, sensor_id: str | None, here: Way) -> str | None:
        """Find whose reading it is; ``kind`` None: battery and link, which every sensor has."""
        if sensor_id is None:
            wanted = kind or self._rule_kind
            fitting = [known for known in self.sensors.values() if wanted is None or known.kind == wanted]
            if len(fitting) > 1:
                what = f"of kind {wanted}" if wanted is not None else "in this home"
                self._tell(here, f"there are several sensors {what}; say which: sensor: {fitting[0].sensor_id}")
                return None
            sensor_id = fitting[0].sensor_id if fitting else str(wanted or Kind.DOOR)
        known = self.sensors.get(sensor_id)
        if known is None:
            row = KINDS[kind or self._rule_kind or Kind.DOOR]
            self.sensors[sensor_id] = Sensor(sensor_id, row.kind.value, row.observed_for)
        elif kind is not None and known.kind != kind:
            self._tell((*here, "sensor"), f"{sensor_id} is a sensor of kind {known.kind}, which does not say this")
            return None
        return sensor_id

    def _check_times(self, at: Span, every: Span | None, until: Span | None, here: Way, *, is_reading: bool) -> None:
        if not is_reading:
            return
        if (every is None) != (until is None):
            self._tell(here, "every and until belong together; add the missing one")
        elif until is not None and until < at:
            self._tell((*here, "until"), "is before at")

    def _tell(self, way: Way, message: str) -> None:
        self._problems.append(self._document.problem(way, message))


def _zone(entry: CaseEntry, document: Document, way: Way, problems: list[Problem]) -> str:
    name = entry.timezone or "UTC"
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        message = f"{name!r} is not a time zone; write a place such as Asia/Shanghai"
        problems.append(document.problem((*way, "timezone"), message))
        return "UTC"
    return name


def _start(entry: CaseEntry, zone_name: str, document: Document, way: Way, problems: list[Problem]) -> Instant:
    midnight = START_DAY.replace(tzinfo=ZoneInfo(zone_name))
    if entry.start is None:
        return round(midnight.timestamp() * 1_000)
    try:
        moment = datetime.fromisoformat(entry.start)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        message = f"write a time with its zone such as 2026-03-01T21:00:00+08:00, not {entry.start!r}"
        problems.append(document.problem((*way, "start"), message))
        return round(midnight.timestamp() * 1_000)
    return round(moment.timestamp() * 1_000)
