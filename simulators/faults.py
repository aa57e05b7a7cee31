"""What happens to readings between the sensor and us: lost, doubled, late, cut off, wrong.

``inject(stream, faults, seed=...)`` wraps a stream; faults work in the order in which they are given, each with a
random source of its own, so that adding one does not change what another does. What they did is counted by name.
"""

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from sensor_guard.clock import parse_at
from sensor_guard.model import DEVICE_TIME, MINUTE, SECOND, Instant, Quantity, Reading, Span
from simulators.incidents import Expected, TruthRecord, parse_span
from simulators.stream import Stream, arrival

_URGENT = frozenset({Quantity.SMOKE, Quantity.PANIC})


class Fault(Protocol):
    """One way of spoiling a stream."""

    @property
    def name(self) -> str:
        """The word for it, on the command line and as part of its seed."""
        ...

    def apply(self, readings: Iterable[Reading], rng: Random, counts: Counter[str]) -> Stream:
        """Give the spoilt stream, sorted by arrival; count each reading touched under a word of one's own."""
        ...


def inject(
    readings: Iterable[Reading],
    faults: Sequence[Fault],
    *,
    seed: int,
    counts: Counter[str] | None = None,
) -> Stream:
    """Wrap a stream in faults. ``counts`` is filled while the stream is read."""
    tally = Counter[str]() if counts is None else counts
    stream: Stream = iter(readings)
    for place, fault in enumerate(faults):
        stream = fault.apply(stream, Random(f"{seed}:{place}:{fault.name}"), tally)
    return stream


@dataclass(frozen=True, slots=True)
class Drop:
    """Lose readings with probability ``rate``, each on its own.

    A press of the button or smoke itself (value 1) is spared unless ``urgent_too``: their devices send until they are
    heard, and the truth of an incident would no longer hold.
    """

    rate: float
    urgent_too: bool = False
    name: str = "drop"

    def apply(self, readings: Iterable[Reading], rng: Random, counts: Counter[str]) -> Stream:
        """Lose some."""
        for reading in readings:
            spared = reading.quantity in _URGENT and reading.value > 0 and not self.urgent_too
            if not spared and rng.random() < self.rate:
                counts["dropped"] += 1
            else:
                yield reading


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Bring readings twice with probability ``rate``: the same values, time and counter, up to ``within`` later."""

    rate: float
    within: Span = 30 * SECOND
    name: str = "duplicate"

    def apply(self, readings: Iterable[Reading], rng: Random, counts: Counter[str]) -> Stream:
        """Bring some twice."""

        def copies(reading: Reading) -> list[Reading]:
            if rng.random() >= self.rate:
                return [reading]
            counts["duplicated"] += 1
            return [reading, _later(reading, rng.randrange(self.within // SECOND + 1) * SECOND)]

        return _rearranged(readings, copies)


@dataclass(frozen=True, slots=True)
class Delay:
    """Bring readings late with probability ``rate``, by up to ``up_to``, so that later ones overtake them."""

    rate: float
    up_to: Span = 3 * MINUTE
    name: str = "delay"

    def apply(self, readings: Iterable[Reading], rng: Random, counts: Counter[str]) -> Stream:
        """Hold some back."""

        def late(reading: Reading) -> list[Reading]:
            if rng.random() >= self.rate:
                return [reading]
            counts["delayed"] += 1
            return [_later(reading, rng.randrange(1, max(self.up_to // SECOND, 1) + 1) * SECOND)]

        return _rearranged(readings, late)


@dataclass(frozen=True, slots=True)
class DeadBattery:
    """The battery of one sensor runs down from ``begins_at`` and it falls silent at ``dies_at``.

    Its own daily ``battery_pct`` is replaced by one that falls from 40 % to 2 %, said with every word of the sensor.
    """

    home_id: str
    sensor_id: str
    begins_at: Instant
    dies_at: Instant
    name: str = "dead_battery"

    def apply(self, readings: Iterable[Reading], rng: Random, counts: Counter[str]) -> Stream:
        """Run it down."""
        del rng  # nothing is left to chance
        for reading in readings:
            hit = (reading.home_id, reading.sensor_id) == (self.home_id, self.sensor_id)
            if not hit or reading.observed_at < self.begins_at:
                yield reading
            elif reading.observed_at >= self.dies_at:
                counts["silent"] += 1
            elif reading.quantity != Quantity.BATTERY_PCT:
                yield reading
                counts["battery_told"] += 1
                yield reading._replace(quantity=Quantity.BATTERY_PCT, value=self._pct(reading.observed_at))

    def truth(self, *, every: Span, observed_for: Span, low_pct: float = 15.0) -> TruthRecord:
        """Say what should come of it.

        ``every``: how often the sensor speaks; ``observed_for``: how long the configuration waits for it.
        """
        lasts = self.dies_at - self.begins_at
        low_at = self.begins_at + round(lasts * (40 - low_pct) / 38)
        gone_at = self.dies_at + observed_for
        return TruthRecord(
            self.home_id,
            self.name,
            self.begins_at,
            self.dies_at,
            (
                Expected("battery_low", low_at, low_at + every + MINUTE),
                Expected("sensor_silent", gone_at - every, gone_at + MINUTE),
            ),
            sensor_id=self.sensor_id,
        )

    def _pct(self, at: Instant) -> float:
        share = (at - self.begins_at) / max(self.dies_at - self.begins_at, 1)
        return round(40 - 38 * share, 1)


@dataclass(frozen=True, slots=True)
class Stuck:
    """One sensor says from ``begins_at`` to ``ends_at`` only what it last said, as often as before."""

    home_id: str
    sensor_id: str
    begins_at: Instant
    ends_at: Instant
    name: str = "stuck"

    def apply(self, readings: Iterable[Reading], rng: Random, counts: Counter[str]) -> Stream:
        """Freeze its values."""
        del rng
        last: dict[str, float] = {}
        for reading in readings:
            if (reading.home_id, reading.sensor_id) != (self.home_id, self.sensor_id):
                yield reading
            elif not self.begins_at <= reading.observed_at < self.ends_at:
                last[reading.quantity] = reading.value
                yield reading
            else:
                value = last.setdefault(reading.quantity, reading.value)
                counts["stuck"] += value != reading.value
                yield reading._replace(value=value)


@dataclass(frozen=True, slots=True)
class NoClock:
    """A share of the sensors has no clock: they send no time, and are known by when they arrive.

    Which ones is drawn from the seed and their names, so that a sensor stays what it is.
    """

    rate: float
    name: str = "no_clock"

    def apply(self, readings: Iterable[Reading], rng: Random, counts: Counter[str]) -> Stream:
        """Take the time away."""
        salt = rng.random()
        clockless: dict[tuple[str, str], bool] = {}
        for reading in readings:
            key = (reading.home_id, reading.sensor_id)
            if key not in clockless:
                clockless[key] = Random(f"{salt}:{key}").random() < self.rate
            if clockless[key]:
                counts["without_time"] += 1
                yield reading._replace(observed_at=reading.received_at, flags=reading.flags & ~DEVICE_TIME)
            else:
                yield reading


@dataclass(frozen=True, slots=True)
class Outage:
    """Nothing gets through from ``begins_at`` to ``ends_at``.

    ``held``: the devices keep it and send it afterwards, in order, with its own times; else it is lost.
    ``home_id`` None: all homes.
    """

    begins_at: Instant
    ends_at: Instant
    held: bool = False
    home_id: str | None = None
    name: str = "outage"

    def apply(self, readings: Iterable[Reading], rng: Random, counts: Counter[str]) -> Stream:
        """Cut the line."""
        del rng

        def through(reading: Reading) -> list[Reading]:
            hit = self.home_id is None or reading.home_id == self.home_id
            if not hit or not self.begins_at <= reading.received_at < self.ends_at:
                return [reading]
            if not self.held:
                counts["lost_in_outage"] += 1
                return []
            counts["held_in_outage"] += 1
            return [_later(reading, self.ends_at - reading.received_at)]

        return _rearranged(readings, through)


def parse_fault(text: str) -> Fault:
    """Read a fault as it is written on a command line: one of ``FORMS``.

    Raises:
        ValueError: with the way out.
    """
    word, *words = re.split("[=,]", text)
    maker = _MAKERS.get(word)
    try:
        if maker is not None:
            return maker(*words)
    except TypeError:
        pass  # too many words, or too few
    raise ValueError(f"{text!r}: write one of {', '.join(FORMS)}")


FORMS = (
    "drop=SHARE",
    "duplicate=SHARE[,SPAN]",
    "delay=SHARE[,SPAN]",
    "no_clock=SHARE",
    "dead_battery,HOME,SENSOR,FROM,UNTIL",
    "stuck,HOME,SENSOR,FROM,UNTIL",
    "outage,FROM,UNTIL[,held]",
)
_MAKERS: dict[str, Callable[..., Fault]] = {
    "drop": lambda share: Drop(_share(share)),
    "duplicate": lambda share, span="30s": Duplicate(_share(share), parse_span(span)),
    "delay": lambda share, span="3m": Delay(_share(share), parse_span(span)),
    "no_clock": lambda share: NoClock(_share(share)),
    "dead_battery": lambda home, sensor, start, end: DeadBattery(home, sensor, parse_at(start), parse_at(end)),
    "stuck": lambda home, sensor, start, end: Stuck(home, sensor, parse_at(start), parse_at(end)),
    "outage": lambda start, end, held="": Outage(parse_at(start), parse_at(end), held=held == "held"),
}


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is no share; write a number from 0 to 1, such as 0.02")
    return share


def _later(reading: Reading, by: Span) -> Reading:
    """Let a reading arrive later. What has no time of its own then counts as measured later, too."""
    received_at = reading.received_at + by
    observed_at = reading.observed_at if reading.flags & DEVICE_TIME else received_at
    return reading._replace(received_at=received_at, observed_at=observed_at)


def _rearranged(readings: Iterable[Reading], change: Callable[[Reading], list[Reading]]) -> Iterator[Reading]:
    """Replace each reading by what ``change`` makes of it, none earlier, and put all in order of arrival again.

    Holds what is still under way: the rate x the delay, or a whole held outage.
    """
    waiting: list[tuple[Instant, int, Reading]] = []
    for count, reading in enumerate(readings):
        while waiting and waiting[0][0] < reading.received_at:
            yield heapq.heappop(waiting)[2]
        for copy in change(reading):
            heapq.heappush(waiting, (arrival(copy), count, copy))
    while waiting:
        yield heapq.heappop(waiting)[2]
