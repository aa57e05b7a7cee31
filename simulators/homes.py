"""Simulated homes: seven sensors of six kinds that say what a resident's day makes them say.

A home is a small discrete-event simulation. Everything follows from (seed, home_id, time), nothing from the order in
which homes are run or from where the data begin, so that one home can be cut out of a city and looked at alone.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from random import Random
from zoneinfo import ZoneInfo

from sensor_guard.clock import local_time
from sensor_guard.model import DAY, DEVICE_TIME, HOUR, MINUTE, SECOND, Instant, Kind, Quantity, Reading, Span
from simulators.habits import Channel, Habits, Use, plan_day
from simulators.incidents import POWER_EVERY, Incident, TruthRecord, footprint, truth_of, without
from simulators.stream import Stream, merged

WATER_EVERY: Span = 10 * MINUTE
MOTION_EVERY: Span = 2 * HOUR
DOOR_EVERY: Span = 4 * HOUR
_CLEAR_AFTER: Span = 90 * SECOND  # a PIR takes back its movement after this long without another
_REPEAT_AFTER: Span = 60 * SECOND  # and says it at most once a minute


@dataclass(frozen=True, slots=True)
class SensorKind:
    """One sensor of every home. ``every``: it speaks at least this often; ``battery``: it reports one, daily."""

    sensor_id: str
    kind: Kind
    quantity: Quantity
    every: Span
    battery: bool


SENSORS: tuple[SensorKind, ...] = (
    SensorKind("door", Kind.DOOR, Quantity.DOOR_OPEN, DOOR_EVERY, battery=True),
    SensorKind("smoke", Kind.SMOKE, Quantity.SMOKE, DAY, battery=True),
    SensorKind("panic", Kind.PANIC, Quantity.PANIC, DAY, battery=True),
    SensorKind("motion_living", Kind.MOTION, Quantity.MOTION, MOTION_EVERY, battery=True),
    SensorKind("motion_bath", Kind.MOTION, Quantity.MOTION, MOTION_EVERY, battery=True),
    SensorKind("water", Kind.WATER, Quantity.FLOW_L_MIN, WATER_EVERY, battery=False),
    SensorKind("power", Kind.POWER, Quantity.POWER_W, POWER_EVERY, battery=False),
)
"""The six kinds, motion twice. Their order is that of ``Channel``."""


@dataclass(frozen=True, slots=True)
class Home:
    """One simulated home. The same (seed, home_id, incidents) gives the same readings on every machine."""

    home_id: str
    seed: int = 1
    zone: tzinfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))
    incidents: tuple[Incident, ...] = ()

    def readings(self, start: Instant, end: Instant) -> Stream:
        """Give what the home's sensors say in [start, end), sorted by time.

        Every sensor speaks once at ``start``, as after being switched on.

        Raises:
            ValueError: an incident of another home, or one that begins before the day of ``start``.
        """
        return _Run(self, start, end).readings()

    def truth(self, end: Instant) -> list[TruthRecord]:
        """Say what should come of the home's incidents in data that end at ``end``, in their order."""
        return [truth_of(one, self.zone, end) for one in self.incidents if one.begins_at < end]


def live(homes: Iterable[Home], start: Instant, end: Instant) -> Stream:
    """Run homes side by side: one stream, sorted by time, about 30 kB of memory a home."""
    return merged(home.readings(start, end) for home in homes)


_HELLO = len(SENSORS)  # a sensor speaks once
_PLAN = _HELLO + 1  # a new day begins
_CLEAR = _PLAN + 1  # a PIR may have to take back its movement
_TICK = _CLEAR + 1  # a sensor's regular word
_BATTERY = _TICK + 1


class _Run:
    """The events of one home in order of time: (at, what, which sensor, amount). Uses come as their channel."""

    def __init__(self, home: Home, start: Instant, end: Instant) -> None:
        self._home, self._start, self._end = home, start, end
        self._habits = Habits.of(home.seed, home.home_id)
        self._noise = Random(home.seed)
        self._queue: list[tuple[Instant, int, int, float]] = []
        self._amounts = [0.0] * len(SENSORS)  # what is open, flows, burns now
        self._moved_at = [-DAY] * len(SENSORS)  # when a PIR last said 1
        self._used_wms = 0.0  # watts x ms since the last word of the power meter
        self._used_from = self._told_at = start
        phases = Random(f"{home.seed}:{home.home_id}:phases")
        self._phases = [phases.randrange(sensor.every // SECOND) * SECOND for sensor in SENSORS]
        self._charges = [phases.random() for _ in SENSORS]

    def readings(self) -> Iterator[Reading]:
        midnight = _midnight(self._start, self._home.zone)
        self._check(midnight)
        self._used_from = self._told_at = midnight
        self._push(midnight, _PLAN)
        for which, sensor in enumerate(SENSORS):
            self._push(self._start, _HELLO, which)
            self._push(midnight + (self._phases[which] - midnight) % sensor.every, _TICK, which)
            if sensor.battery:
                self._push(midnight + (self._phases[which] + MINUTE - midnight) % DAY, _BATTERY, which)
        for incident in self._home.incidents:
            self._push_uses(footprint(incident))
        seqs = [-1] * len(SENSORS)
        while self._queue and self._queue[0][0] < self._end:
            at, what, which, amount = heapq.heappop(self._queue)
            said = self._happen(at, what, which, amount)
            if said is None or at < self._start:
                continue
            seqs[which] += 1
            quantity, value = said
            sensor_id = SENSORS[which].sensor_id
            yield Reading(self._home.home_id, sensor_id, quantity, value, at, at, seqs[which], DEVICE_TIME)

    def _check(self, midnight: Instant) -> None:
        for one in self._home.incidents:
            if one.home_id != self._home.home_id:
                raise ValueError(f"{one.kind} of home {one.home_id} was given to home {self._home.home_id}")
            if one.begins_at < midnight + 5 * MINUTE:
                raise ValueError(f"{one.kind} of home {one.home_id} begins before the first day of the data")

    def _push(self, at: Instant, what: int, which: int = 0, amount: float = 0.0) -> None:
        heapq.heappush(self._queue, (at, what, which, amount))

    def _push_uses(self, uses: Iterable[Use]) -> None:
        for use in uses:
            self._push(use.start, use.channel, use.channel, use.amount)
            if use.end > use.start:
                self._push(use.end, use.channel, use.channel, -use.amount)

    def _happen(self, at: Instant, what: int, which: int, amount: float) -> tuple[Quantity, float] | None:
        """Let one event happen; give what the sensor says to it, None if nothing."""
        if what == _PLAN:
            self._plan(at)
            return None
        if what == _CLEAR:
            still = at - self._moved_at[which] >= _CLEAR_AFTER
            return (Quantity.MOTION, 0.0) if still else None
        if what == _TICK:
            self._push(at + SENSORS[which].every, _TICK, which)
            return (SENSORS[which].quantity, self._mean_w(at) if which == Channel.LOAD else self._level(which))
        if what == _HELLO:
            return (SENSORS[which].quantity, self._level(which))
        if what == _BATTERY:
            self._push(at + DAY, _BATTERY, which)
            return (Quantity.BATTERY_PCT, self._battery_pct(at, which))
        return self._use(at, which, amount)

    def _plan(self, midnight: Instant) -> None:
        """Fill the day that begins, and come back for the next one."""
        home = self._home
        today = local_time(midnight, home.zone).date()
        rng = Random(f"{home.seed}:{home.home_id}:{today}")
        self._noise = Random(f"{home.seed}:{home.home_id}:{today}:noise")
        at_home = tuple(at for one in home.incidents for at in (one.begins_at, one.ends_at))
        uses: Iterable[Use] = plan_day(self._habits, rng, today, midnight, at_home)
        for incident in home.incidents:
            uses = without(uses, incident)
        self._push_uses(uses)
        self._push(_midnight(midnight + DAY + 2 * HOUR, home.zone), _PLAN)  # 2 h: the day may have 25

    def _use(self, at: Instant, which: int, amount: float) -> tuple[Quantity, float] | None:
        quantity = SENSORS[which].quantity
        if quantity is Quantity.PANIC:
            return (quantity, 1.0)
        if quantity is Quantity.MOTION:
            if at - self._moved_at[which] < _REPEAT_AFTER:
                return None
            self._moved_at[which] = at
            self._push(at + _CLEAR_AFTER, _CLEAR, which)
            return (quantity, 1.0)
        if which == Channel.LOAD:
            self._measure(at)
        before = self._level(which)
        self._amounts[which] += amount
        after = self._level(which)
        return None if which == Channel.LOAD or before == after else (quantity, after)

    def _level(self, which: int) -> float:
        """Say what a sensor would say now, were it asked."""
        amount = self._amounts[which]
        match SENSORS[which].quantity:
            case Quantity.DOOR_OPEN | Quantity.SMOKE:
                return 1.0 if amount > 0.5 else 0.0
            case Quantity.FLOW_L_MIN:
                return max(round(amount, 2), 0.0)
            case Quantity.POWER_W:
                return round(amount + self._habits.standby_w, 1)
            case _:
                return 0.0

    def _measure(self, at: Instant) -> None:
        self._used_wms += self._amounts[Channel.LOAD] * (at - self._used_from)
        self._used_from = at

    def _mean_w(self, at: Instant) -> float:
        """Give the mean since the meter's last word; the standby wavers by 0.4 W."""
        self._measure(at)
        mean = self._used_wms / max(at - self._told_at, 1)
        self._used_wms, self._told_at = 0.0, at
        return round(max(mean, 0.0) + self._habits.standby_w + self._noise.uniform(-0.4, 0.4), 1)

    def _battery_pct(self, at: Instant, which: int) -> float:
        """Fall from 100 to 30 % in 700 days, then somebody changes it."""
        used = (at / (700 * DAY) + self._charges[which]) % 1.0
        return float(round(100 - 70 * used))


def _midnight(at: Instant, zone: tzinfo) -> Instant:
    """Give the last local midnight at or before ``at``."""
    local = local_time(at, zone)
    return round(datetime(local.year, local.month, local.day, tzinfo=zone).timestamp() * 1_000)
