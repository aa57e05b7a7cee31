"""What a resident does in a day: uses of light, kettle, tap and door, and movements in two rooms.

Bounds that the truth of the incidents stands on, for every seed: between two days at most 11 h pass without 5 W, 11 h
without movement and 20 h without water; no draw of water lasts 30 min; no door stands open for more than 2 min.
``tests/simulators/test_homes.py`` holds them.
"""

from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from random import Random
from typing import NamedTuple

from sensor_guard.model import MINUTE, SECOND, Instant


class Channel(IntEnum):
    """What a use changes. The order is the order in which uses of one instant count."""

    DOOR = 0  # open
    SMOKE = 1
    PANIC = 2  # an edge
    LIVING = 3  # a movement in the living room: an edge
    BATH = 4  # a movement in the bathroom: an edge
    FLOW = 5  # litres a minute
    LOAD = 6  # watts


class Use(NamedTuple):
    """Something that adds ``amount`` to its channel from ``start`` to ``end``; an edge has both at one instant."""

    start: Instant
    end: Instant
    channel: Channel
    amount: float = 1.0


@dataclass(frozen=True, slots=True)
class Habits:
    """One resident's ways; times of day in minutes after local midnight.

    ``standby_w``: what the metered circuit draws with nobody about: below 5 W, because the fridge hangs on a circuit
    of its own, as where an alarm on low consumption is to mean anything.
    """

    wakes_at: float
    sleeps_at: float
    lunch_at: float
    dinner_at: float
    night_visits: int
    goes_out: float
    showers_on: frozenset[int]
    washes_on: frozenset[int]
    standby_w: float

    @classmethod
    def of(cls, seed: int, home_id: str) -> "Habits":
        """Draw a resident; the same for the same seed and home on every machine."""
        rng = Random(f"{seed}:{home_id}:habits")
        return cls(
            wakes_at=rng.uniform(5.5 * 60, 7 * 60),
            sleeps_at=rng.uniform(21 * 60, 22.5 * 60),
            lunch_at=rng.uniform(11 * 60, 11.75 * 60),
            dinner_at=rng.uniform(17 * 60, 17.75 * 60),
            night_visits=rng.choice((0, 1, 1, 2, 3)),
            goes_out=rng.uniform(0.3, 0.85),
            showers_on=frozenset(rng.sample(range(7), 4)),
            washes_on=frozenset(rng.sample(range(7), 2)),
            standby_w=rng.uniform(1.0, 3.6),
        )


def plan_day(
    habits: Habits,
    rng: Random,
    day: date,
    midnight: Instant,
    at_home: tuple[Instant, ...] = (),
) -> list[Use]:
    """Say what the resident does on a day that begins at ``midnight``, in no order.

    ``at_home``: instants at which the resident must not be out (an incident begins or ends there).
    """
    plan = _Day(rng, midnight, at_home)
    wakes_at = habits.wakes_at + rng.uniform(-15, 15)
    sleeps_at = habits.sleeps_at + rng.uniform(-15, 15)
    weekday = day.weekday()
    for _ in range(habits.night_visits):
        plan.night_visit(rng.uniform(30, 4.75 * 60))
    plan.get_up(wakes_at)
    outings = _outings(habits, rng, weekday, wakes_at, plan)
    at_table = [(at, at + 80) for at in (habits.lunch_at, habits.dinner_at)]
    for at, until in at_table:
        if not any(start < until and at < end for start, end in outings):
            plan.cook(at + rng.uniform(-8, 8))
    plan.watch_television(max(habits.dinner_at + 90, 18.6 * 60), sleeps_at)
    if weekday in habits.showers_on:
        plan.shower(rng.uniform(19.3, 20.3) * 60)
    if weekday in habits.washes_on:
        plan.wash_clothes(wakes_at + rng.uniform(55, 75))
    nap_at = habits.lunch_at + 90
    away = [*outings, (nap_at, nap_at + rng.uniform(40, 90))]
    plan.potter(wakes_at + 2, sleeps_at, away)
    plan.go_to_bed(sleeps_at)
    return plan.uses


def _outings(habits: Habits, rng: Random, weekday: int, wakes_at: float, plan: "_Day") -> list[tuple[float, float]]:
    """Choose when the resident is out: Sundays sometimes with the family, else the market and the park."""
    chosen: list[tuple[float, float]] = []
    market_at = wakes_at + rng.uniform(125, 160)
    candidates = [(market_at, market_at + rng.uniform(40, 75)), (14.5 * 60, 14.5 * 60 + rng.uniform(50, 130))]
    if weekday == 6 and rng.random() < 0.35:
        candidates = [(10.4 * 60, 10.4 * 60 + rng.uniform(240, 330))]
    for leaves_at, returns_at in candidates:
        willing = rng.random() < (habits.goes_out if weekday < 5 else 0.5)
        if willing and plan.go_out(leaves_at, returns_at):
            chosen.append((leaves_at, returns_at))
    return chosen


class _Day:
    """Collects the uses of one day; every method takes minutes after midnight."""

    def __init__(self, rng: Random, midnight: Instant, at_home: tuple[Instant, ...]) -> None:
        self.uses: list[Use] = []
        self._rng = rng
        self._midnight = midnight
        self._at_home = at_home

    def night_visit(self, at: float) -> None:
        self._load(at, 6, 14)
        self._toilet(at + 1)

    def get_up(self, at: float) -> None:
        self._toilet(at + 1)
        self._load(at, 45, 36)  # lamp
        self._load(at + 8, 70, 12)  # radio
        self._draw(at + 9, 15, 6)
        self._load(at + 10, 4, 1_800)  # kettle
        self._draw(at + 16, 80, 5)  # washing
        self._draw(at + 44, 60, 4.5)  # the cup

    def go_out(self, leaves_at: float, returns_at: float) -> bool:
        """Leave and come back, unless the resident must be at home; say whether it happened."""
        start, end = self._instant(leaves_at - 10), self._instant(returns_at + 10)
        if any(start <= at <= end for at in self._at_home):
            return False
        for at in (leaves_at, returns_at):
            opened = self._instant(at)
            self.uses.append(Use(opened, opened + round(self._rng.uniform(8, 25)) * SECOND, Channel.DOOR))
        self._move(Channel.LIVING, leaves_at - 0.3)
        self._move(Channel.LIVING, returns_at + 0.4)
        self._load(returns_at + 0.5, 12, 30)
        self._draw(returns_at + 2, 25, 4.5)
        return True

    def cook(self, at: float) -> None:
        self._draw(at, 110, 5)
        self._load(at + 3, 26, 620)  # rice cooker
        self._load(at + 8, 14, 1_350)  # hob
        self._draw(at + 22, 30, 4)
        self._draw(at + 55, 200, 5.5)  # dishes

    def watch_television(self, start: float, end: float) -> None:
        self._load(start, end - start, 85)
        self._load(start - 10, end - start + 12, 22)  # lamp

    def shower(self, at: float) -> None:
        for minutes in (0, 2, 6, 11):
            self._move(Channel.BATH, at + minutes)
        self._draw(at + 1, round(self._rng.uniform(240, 540)), 7)

    def wash_clothes(self, at: float) -> None:
        self._load(at, 48, 340)
        for minutes in (1, 16, 29):
            self._draw(at + minutes, 130, 8)

    def potter(self, start: float, end: float, away: list[tuple[float, float]]) -> None:
        """Move about the living room, and go to the toilet now and then, while awake and at home."""
        at = start
        visit_at = start + self._rng.uniform(100, 180)
        while at < end:
            if not any(leaves <= at <= returns for leaves, returns in away):
                self._move(Channel.LIVING, at)
                if at >= visit_at:
                    self._toilet(at)
                    visit_at = at + self._rng.uniform(110, 210)
            at += min(2 + self._rng.expovariate(1 / 8), 30)

    def go_to_bed(self, at: float) -> None:
        self._toilet(at - 6)
        self._draw(at - 3, 35, 4)

    def _toilet(self, at: float) -> None:
        self._move(Channel.BATH, at)
        self._move(Channel.BATH, at + 1.6)
        self._draw(at + 2, 55, 6.5)
        self._draw(at + 3, 18, 4)

    def _move(self, room: Channel, at: float) -> None:
        instant = self._instant(at)
        self.uses.append(Use(instant, instant, room))

    def _load(self, at: float, minutes: float, watts: float) -> None:
        start = self._instant(at)
        self.uses.append(Use(start, start + round(minutes * 60) * SECOND, Channel.LOAD, watts))

    def _draw(self, at: float, seconds: int, l_min: float) -> None:
        start = self._instant(at)
        self.uses.append(Use(start, start + seconds * SECOND, Channel.FLOW, l_min))

    def _instant(self, minutes: float) -> Instant:
        """Whole seconds, so that nothing is lost where a time is written as text."""
        return self._midnight + round(minutes * MINUTE / SECOND) * SECOND
