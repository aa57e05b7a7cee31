"""What is published, and what must come of it: a stream whose n-th reading follows from n alone.

So everything can be judged afterwards without having been written down: whether a row of the journal was ever
published, which incidents there were, which alarms and texts they must have caused. What the broker acknowledged is
written down, by a publisher in a process of its own.
"""

import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple, TextIO

import paho.mqtt.client as paho

from sensor_guard.clock import AcceleratedClock, Clock
from sensor_guard.model import DEVICE_TIME, SECOND, Instant, Reading
from simulators.publish import Broker, Publisher
from simulators.roster import SensorRow, topic_of

SITE = "demo"
SENSORS = ("power", "motion", "water", "panic", "smoke")
RATES_CHANGE_AFTER = 1_000
"""Readings, after which the rate is drawn anew."""

BEHIND_LIMIT = 2_500
"""Readings that the daemon may be behind. Then the publisher slows down to ``BRAKED_RATE`` a second: a machine that is
too busy for the load must not turn a test of faults into one of speed."""
BRAKED_RATE = 100
LOOKS_EVERY = 0.5  # real seconds

RULES = """\
rules:
  - id: panic
    name: {en: Panic button}
    when: {kind: panic, is: pressed}
    severity: critical
    ladder: urgent
    message: {en: "{home}: PANIC BUTTON. Call and go there now."}
  - id: smoke
    name: {en: Smoke}
    when: {kind: smoke, is: detected}
    severity: critical
    ladder: urgent
    message: {en: "{home}: SMOKE. Call them now."}
  - id: overload
    name: {en: Overload}
    when: {kind: power, above: 3000 W, for: 1m}
    severity: warning
    ladder: welfare
    message: {en: "{home}: uses too much electricity."}
  - id: unused
    name: {en: Nothing is used}
    when: {kind: power, below: 5 W, for: %s}
    severity: warning
    ladder: welfare
    message: {en: "{home}: no electricity is used."}
"""
URGENT = ("panic", "smoke")
KINDS = (*URGENT, "overload")


class Incident(NamedTuple):
    """The alarm that one home must have."""

    home_id: str
    rule_id: str


@dataclass(frozen=True)
class Load:
    """The whole of it. ``start``: when the first reading is due, on the accelerated clock.

    ``incident_every``: readings from one incident to the next; each home has at most one of a kind. An incident
    takes the place of a movement, so that every home's meter speaks in every round.
    ``unused_for``: how long the rule ``unused`` holds; every home uses electricity again before that.
    """

    homes: int = 12
    seed: int = 1
    rates: tuple[int, ...] = (600, 1_000, 2_000)
    incident_every: int = 300
    first_incident: int = 151
    unused_for: str = "2h"
    qos: int = 1
    start: Instant = 0

    def home(self, number: int) -> str:
        return f"h{number:03}"

    def home_ids(self) -> list[str]:
        return [self.home(number) for number in range(self.homes)]

    def rows(self) -> list[SensorRow]:
        # A sensor of these homes is named by its kind.
        return [SensorRow(SITE, "b1", home, home, sensor, sensor) for home in self.home_ids() for sensor in SENSORS]

    def __post_init__(self) -> None:
        assert self.incident_every % 3 == 0
        assert self.first_incident % 3 == 1

    # -- the stream -----------------------------------------------------------------------------------------------

    def incident(self, n: int) -> Incident | None:
        """Give the incident that begins with reading ``n``."""
        if n < self.first_incident or (n - self.first_incident) % self.incident_every:
            return None
        number = (n - self.first_incident) // self.incident_every
        if number >= self.homes * len(KINDS):
            return None
        round_, place = divmod(number, self.homes)
        return Incident(self.home(place), KINDS[(place + round_) % len(KINDS)])

    def incidents(self, count: int) -> dict[int, Incident]:
        """Give every incident among the first ``count`` readings, by its reading's number."""
        found = {}
        for number in range(self.homes * len(KINDS)):
            n = self.first_incident + number * self.incident_every
            incident = self.incident(n)
            if n < count and incident is not None:
                found[n] = incident
        return found

    def telling(self, n: int, count: int) -> Iterator[int]:
        """Give the readings among the first ``count`` that tell of the incident of reading ``n``."""
        yield n
        incident = self.incident(n)
        if incident is not None and incident.rule_id == "overload":
            cycle, meter = self.homes * 3, self.home_ids().index(incident.home_id) * 3
            yield from range(n + (meter - n) % cycle, count, cycle)

    def may_end(self, n: int) -> bool:
        """Say whether the stream may end before reading ``n``: every home has just used electricity."""
        return n % (self.homes * 6) == self.homes * 3

    def said(self, n: int) -> tuple[str, str, str, float, bool]:
        """Say what reading ``n`` is: home, sensor, quantity, value, and whether it carries the device's own time."""
        incident = self.incident(n)
        if incident is not None and incident.rule_id in URGENT:
            return incident.home_id, incident.rule_id, incident.rule_id, 1.0, True
        cycle, place = divmod(n, self.homes * 3)
        number, what = divmod(place, 3)
        home = self.home(number)
        if incident is not None:  # an overload: it begins here and stays
            return incident.home_id, "power", "power_w", 3_600.0, True
        if what == 0:
            if n > self._overload_from(number):
                return home, "power", "power_w", 3_600.0, True
            return home, "power", "power_w", 2.0 if cycle % 2 else 60.0 + cycle % 50, True
        if what == 1:
            return home, "motion", "motion", float(cycle % 2), False
        return home, "water", "flow_l_min", float(cycle % 7), True

    def _overload_from(self, number: int) -> float:
        for round_ in range(len(KINDS)):
            if KINDS[(number + round_) % len(KINDS)] == "overload":
                return self.first_incident + (round_ * self.homes + number) * self.incident_every
        return float("inf")

    def readings(self, factor: float, braked_at: Callable[[int], Instant]) -> Iterator[Reading]:
        """Give the readings in their order, each with the time at which it is due.

        ``braked_at``: asked with a reading's number, gives what time it is if the daemon is too far behind, else 0.
        """
        rng, at, rate, n = Random(self.seed), float(self.start), self.rates[0], 0
        while True:
            if n % RATES_CHANGE_AFTER == 0:
                rate = rng.choice(self.rates)
            home, sensor, quantity, value, own_time = self.said(n)
            due = round(at)
            yield Reading(home, sensor, quantity, value, due, due, n, DEVICE_TIME if own_time else 0)
            now = braked_at(n)
            # What is overdue is not made up for while the brake is on.
            at = max(at, now) + SECOND * factor / (BRAKED_RATE if now else rate)
            n += 1


# -- the publisher's process --------------------------------------------------------------------------------------


class Ledger:
    """Writes down what the broker has acknowledged, and when: ``n<TAB>virtual ms``."""

    def __init__(self, file: TextIO, clock: Clock) -> None:
        self._file, self._clock = file, clock
        self.closed = False

    def write(self, line: str) -> None:
        self._file.write(f"{line.rpartition(chr(9))[2].strip()}\t{self._clock.now()}\n")

    def flush(self) -> None:
        self._file.flush()


class Brake:
    """Says whether the daemon is too far behind, by what it has stored last."""

    def __init__(self, journal: Path, clock: Clock) -> None:
        self._uri, self._clock = f"{journal.as_uri()}?mode=ro", clock
        self._looked_at = 0.0
        self._stored = 0
        self._is_on = False

    def __call__(self, n: int) -> Instant:
        """Say what time it is while the brake is on, else 0."""
        return self._clock.now() if self._is_behind(n) else 0

    def _is_behind(self, n: int) -> bool:
        now = self._clock.monotonic()
        if now - self._looked_at >= LOOKS_EVERY:
            self._looked_at = now
            self._look()
        behind = n - self._stored
        self._is_on = behind > (BEHIND_LIMIT // 4 if self._is_on else BEHIND_LIMIT)
        return self._is_on

    def _look(self) -> None:
        try:
            db = sqlite3.connect(self._uri, uri=True, timeout=1)
            try:
                row = db.execute("SELECT device_seq FROM readings ORDER BY seq DESC LIMIT 1").fetchone()
            finally:
                db.close()
        except sqlite3.Error:  # it is just being made
            return
        self._stored = max(self._stored, row[0]) if row else self._stored


@dataclass(frozen=True)
class Order:
    """What the publisher's process is told. ``result``: where it leaves how many it has published."""

    load: Load
    port: int
    clock: str
    ledger: str
    result: str
    journal: str
    first: int = 0
    client_id: str = "sensors"

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Order":
        row = json.loads(path.read_text(encoding="utf-8"))
        row["load"] = Load(**{**row["load"], "rates": tuple(row["load"]["rates"])})
        return cls(**row)


def publish(path: Path) -> int:
    """Publish until SIGTERM; then wait until everything is acknowledged, and tell."""
    order = Order.read(path)
    clock = AcceleratedClock.load(Path(order.clock))
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    if order.load.qos == 2:
        _publish_at_2()

    brake = Brake(Path(order.journal), clock)

    def stream() -> Iterator[Reading]:
        for reading in order.load.readings(clock.factor, brake):
            if stopped and order.load.may_end(reading.seq):
                return
            if reading.seq >= order.first:
                yield reading

    with Path(order.ledger).open("w", encoding="utf-8") as file:
        publisher = Publisher(
            Broker(port=order.port, client_id=order.client_id),
            lambda home, sensor: topic_of(SITE, home, sensor),
            clock=clock,
            patience=300.0,
            ledger=Ledger(file, clock),  # type: ignore[arg-type] # it writes and flushes, more is not asked
        )
        tally = publisher.run(stream())
    result = Path(order.result)
    fresh = result.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(tally)), encoding="utf-8")
    fresh.replace(result)
    return 0 if tally.is_complete else 1


def _publish_at_2() -> None:
    original = paho.Client.publish

    def publish_at_2(self, topic, payload=None, qos=0, **named):
        del qos
        return original(self, topic, payload, 2, **named)

    paho.Client.publish = publish_at_2
