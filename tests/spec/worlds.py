"""Seeded worlds: some homes, what their sensors say on its way through a bad network, and what people and the box do.

A world is played against an engine batch by batch; what it does next may depend on which alarms are open and which
texts were asked for, as people do. ``Record`` keeps all that came of it in an order that is a promise: for each home
the order of its own steps. Which of two homes comes first within one feed is none.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from random import Random

from sensor_guard.engine import snapshot
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.plan import Condition, Form, HomePlan, Plan, Rule, Sensor
from sensor_guard.engine.views import view_home
from sensor_guard.model import (
    DAY,
    DEVICE_TIME,
    GATEWAY,
    HOUR,
    MINUTE,
    RETAINED,
    AlarmOutcome,
    ClockStepped,
    Command,
    CommandKind,
    DeliveryReport,
    Drained,
    Effects,
    Fault,
    Input,
    Instant,
    LinkLost,
    LinkUp,
    PlanChanged,
    Quantity,
    Reading,
    Severity,
)
from sensor_guard.testing import START, default_ladders
from simulators.faults import Delay, Drop, Duplicate, NoClock, Outage, inject
from simulators.homes import SENSORS, Home, live
from simulators.incidents import scatter
from tests.spec.conftest import GATEWAY_RULES, RULES

HOMES = ("a1", "a2", "b1", "b2", "meter")
DAYS = 3
MORE_RULES = (
    Rule("heater", Condition(Form.ABOVE, "power", None, 900.0, 10 * MINUTE), Severity.INFO, "welfare"),
    Rule("door_still", Condition(Form.QUIET, "door", None, 0.0, 9 * HOUR), Severity.INFO, "welfare", unless_away=True),
    Rule("night_water", Condition(Form.ACTIVE, "water", None, 0.0, 0, (1380, 300)), Severity.INFO, "welfare"),
    Rule("open_at_once", Condition(Form.IS, "door"), Severity.INFO, "welfare", latched=True),
    Rule("slow_smoke", Condition(Form.IS, "smoke", None, 0.0, 2 * MINUTE), Severity.WARNING, "urgent"),
)
_BECAME = ("accepted", "accepted", "delivered", "delivered", "delivered", "failed")
_SPANS = {"power": HOUR, "water": HOUR, "motion": 7 * HOUR, "door": 9 * HOUR}


BOX_RULES = {
    "broker_offline", "session_lost", "broker_dropped", "device_gap", "influxdb_offline", "sms_offline", "disk_full",
    "config_wrong", "clock_unsynchronised", "homes_blind",
}  # fmt: skip
"""Of the box's own rules those that the digests were taken with: one more would turn the dice, and tell nothing."""


class World:
    """One world of a seed, and its dice. ``feeds`` gives (numbered inputs, now) until the end."""

    restarts = 0.0004
    """How often after a reading the program is started anew."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(f"world {seed}")
        self.lateness = self.rng.choice([0, 5_000, 5_000, 90_000])
        box_rules = [rule for rule in GATEWAY_RULES if rule.rule_id in BOX_RULES]
        rules = [*RULES, *box_rules, *(MORE_RULES if seed % 2 else ())]
        self.plans = {"p0": self._plan(rules, HOMES), "p1": self._plan(rules[1:], HOMES[:-1]), "p2": self._other(rules)}
        self.engine = Engine(self.plans.__getitem__)
        self.record = Record()
        self.offset = 0  # by how much the wall clock was set so far
        self._seq = 0
        self._now: Instant = START
        self._lost_at: Instant | None = None
        self._seed = seed

    def play(self) -> "Record":
        """Run to the end."""
        self._feed([PlanChanged("p0", START)], START)
        batch: list[Input] = []
        for reading in self._readings():
            at = reading.received_at + self.offset
            if at > self._now and self.rng.random() < 0.7:
                self._feed(batch, self._now)
                batch = []
                self._time_passes(at)
                at = reading.received_at + self.offset
            self._now = max(self._now, at)
            batch.append(reading._replace(observed_at=reading.observed_at + self.offset, received_at=at))
            if self.rng.random() < 0.01:
                batch.extend(self._somebody_does())
            if self.rng.random() < 0.0004:
                batch.extend(self._happens_to_the_box())
            if self.rng.random() < self.restarts:
                self._feed(batch, self._now)
                batch = []
                self._restart()
        self._feed(batch, self._now)
        self._time_passes(self._now + 30 * HOUR)
        self._feed([], self._now + 30 * HOUR)
        self.record.effects(self.engine.finish())
        self.record.homes(self.engine)
        return self.record

    # -- what the sensors say -------------------------------------------------------------------------------------

    def _readings(self) -> Iterator[Reading]:
        end = START + DAYS * DAY
        homes = [
            Home(home_id, self._seed, incidents=tuple(scatter([home_id], START - DAY, end + 3 * DAY,
                 seed=self._seed, every=8 * HOUR, zone=Home("x").zone)))
            for home_id in HOMES
        ]  # fmt: skip
        quiet = Outage(START + 2 * DAY, START + 2 * DAY + 5 * HOUR, held=bool(self._seed % 3), home_id="b2")
        faults = [Drop(0.02, urgent_too=True), Delay(0.03), Duplicate(0.02), NoClock(0.05), quiet]
        if self._seed % 4 == 0:
            faults = []
        counted = {"power": 0.0, "water": 0.0}
        for reading in inject(live(homes, START, end), faults, seed=self._seed):
            if reading.home_id == "meter" and reading.quantity in (Quantity.POWER_W, Quantity.FLOW_L_MIN):
                yield _as_meter(reading, counted)
            elif self.rng.random() < 0.01:
                yield reading._replace(flags=reading.flags & ~DEVICE_TIME | RETAINED, observed_at=reading.received_at)
            elif self.rng.random() < 0.005:
                yield reading._replace(quantity=Quantity.LINK, value=float(self.rng.random() < 0.5))
            else:
                yield reading
            if reading.quantity == Quantity.SMOKE and self.rng.random() < 0.3:
                yield reading._replace(seq=-1, received_at=reading.received_at, value=1.0 - reading.value)

    # -- what people and the box do -------------------------------------------------------------------------------

    def _somebody_does(self) -> list[Input]:
        rng, now = self.rng, self._now
        asking = sorted(h for h, home in self.engine.homes.awake() if home.cases.open_by_rule and h != GATEWAY)
        home_id = rng.choice(asking if asking and rng.random() < 0.7 else HOMES)
        home = self.engine.homes.get(home_id)
        alarms = sorted(home.cases.open_by_rule.values()) if home is not None else []
        alarm_id = rng.choice(alarms) if alarms else f"{home_id}.none.x"
        rule_id = rng.choice([rule.rule_id for rule in self.plans["p0"].rules])
        spans = [20 * MINUTE, HOUR, 9 * HOUR]
        kind = rng.choice(
            [*[CommandKind.ACKNOWLEDGE, CommandKind.CLOSE] * 4, CommandKind.AWAY, CommandKind.BACK, CommandKind.MUTE,
             CommandKind.UNMUTE, CommandKind.TEST_MODE, CommandKind.NOTIFY_TEST]
        )  # fmt: skip
        until = now + rng.choice(spans) if kind not in (CommandKind.ACKNOWLEDGE, CommandKind.CLOSE) else None
        target = {CommandKind.MUTE: rule_id, CommandKind.UNMUTE: rule_id, CommandKind.ACKNOWLEDGE: alarm_id,
                  CommandKind.CLOSE: alarm_id}.get(kind, home_id)  # fmt: skip
        outcome = rng.choice([AlarmOutcome.FINE, AlarmOutcome.FALSE_ALARM]) if kind is CommandKind.CLOSE else None
        only = rng.choice([None, home_id]) if kind in (CommandKind.MUTE, CommandKind.UNMUTE) else None
        return [Command(f"c{self._seq}", kind, target, "worker1", now, "note", until, outcome, only)]

    def _happens_to_the_box(self) -> list[Input]:
        rng, now = self.rng, self._now
        choice = rng.randrange(5)
        if choice == 0:
            self._lost_at = now
            return [LinkLost(now)]
        if choice == 1:
            return [Fault(rng.choice(["broker_offline", "influxdb_offline"]), rng.random() < 0.6, now, "detail")]
        if choice == 2:
            offset = rng.choice([-3 * HOUR, -20_000, 40_000, 2 * HOUR])
            self.offset += offset
            self._now += offset
            return [ClockStepped(now, offset)]
        if choice == 3:
            return [PlanChanged(rng.choice(sorted(self.plans)), now)]
        blind = [None, now] if self._lost_at is None else [None, self._lost_at]
        self._lost_at = None
        return [LinkUp(now, session_present=True, blind_from=rng.choice(blind)), Drained(now)]

    def _restart(self) -> None:
        rows = {
            home_id: (self._seq, json.loads(json.dumps(snapshot.save_home(home))))
            for home_id, home in self.engine.homes.items()
        }
        link = json.loads(json.dumps(snapshot.save_link(self.engine)))
        self.engine = Engine(self.plans.__getitem__)
        snapshot.restore(self.engine, link, rows)

    # -- how it reaches the engine --------------------------------------------------------------------------------

    def _time_passes(self, until: Instant) -> None:
        """Wake the engine at random moments."""
        if self._lost_at is not None and self.rng.random() < 0.05:
            blind = self.rng.choice([None, self._lost_at])
            self._lost_at = None
            self._feed([LinkUp(self._now, session_present=blind is None, blind_from=blind)], self._now)
            self._feed([Drained(self._now)], self._now)
        # Not at the engine's own deadlines: those are lower bounds, which may be another one's tomorrow.
        while until - self._now > 1 and self.rng.random() < 0.4:
            self._now = self.rng.randrange(self._now, until)
            self._feed([], self._now)
        if self.rng.random() < 0.01:
            self.record.homes(self.engine)

    def _feed(self, items: list[Input], now: Instant) -> None:
        numbered = []
        for item in items:
            self._seq += 1
            numbered.append((self._seq, item))
        effects = self.engine.feed(numbered, now)
        self.record.inputs(numbered, now)
        self.record.effects(effects)
        reports: list[Input] = [
            DeliveryReport(
                note.notification_id,
                self.rng.choice(_BECAME),
                now,
            )
            for note in sorted(effects.notifications, key=lambda note: note.notification_id)
            if self.rng.random() < 0.3
        ]
        if reports:
            self._feed(reports, now)

    # -- plans ----------------------------------------------------------------------------------------------------

    def _plan(self, rules: list[Rule], home_ids: tuple[str, ...]) -> Plan:
        homes = [HomePlan(home_id, "s", "b", _sensors(home_id), default_ladders()) for home_id in home_ids]
        homes.append(HomePlan(GATEWAY, "", "", (), default_ladders()))
        return Plan(tuple(rules), tuple(homes), self.lateness, Home("x").zone, "Asia/Shanghai")

    def _other(self, rules: list[Rule]) -> Plan:
        """Holds of half the length, a motion sensor less, a rule off in one home, other people."""
        plan = self._plan(
            [replace(r, condition=replace(r.condition, hold_for=r.condition.hold_for // 2)) for r in rules], HOMES
        )
        homes = list(plan.homes)
        homes[0] = replace(homes[0], sensors=tuple(s for s in homes[0].sensors if s.sensor_id != "motion_bath"))
        homes[1] = replace(homes[1], muted_rules=("no_movement",), ladders=homes[1].ladders[1:])
        return replace(plan, homes=tuple(homes))


def _sensors(home_id: str) -> tuple[Sensor, ...]:
    meters = {"power": "counter", "water": "interval"} if home_id == "meter" else {}
    return tuple(
        Sensor(s.sensor_id, s.kind, _SPANS.get(s.kind, 25 * HOUR), meters.get(s.kind, "counter")) for s in SENSORS
    )


def _as_meter(reading: Reading, counted: dict[str, float]) -> Reading:
    """Say as energy and volume what the simulated meters say as power and flow."""
    if reading.quantity == Quantity.POWER_W:
        counted["power"] += reading.value / 12
        if counted["power"] > 4_000:
            counted["power"] = 0.0  # the counter was replaced
        return reading._replace(quantity=Quantity.ENERGY_WH, value=round(counted["power"], 3))
    return reading._replace(quantity=Quantity.VOLUME_L, value=round(reading.value * 3, 2))


class Record:
    """What came of a world, as digests: what went in, each home's own steps, and how the homes stood now and then."""

    def __init__(self) -> None:
        self._in, self._out = hashlib.sha256(), hashlib.sha256()
        self.counts = {"raised": 0, "steps": 0, "texts": 0}
        self.lines: list[str] | None = None  # filled where somebody wants to see a difference

    def digests(self) -> dict[str, object]:
        """Give what is compared."""
        return {"inputs": self._in.hexdigest()[:16], "outcome": self._out.hexdigest()[:16], **self.counts}

    def inputs(self, numbered: list[tuple[int, Input]], now: Instant) -> None:
        """Note what was fed."""
        self._in.update(repr((now, numbered)).encode())

    def effects(self, effects: Effects) -> None:
        """Note what came of it, home by home."""
        for step in sorted(effects.transitions, key=lambda step: step.alarm_id.partition(".")[0]):
            self._note("step", asdict(step))
            self.counts["steps"] += 1
            self.counts["raised"] += step.reason == "raised"
        for alarm_id in sorted(effects.alarms):
            self._note("alarm", asdict(effects.alarms[alarm_id]))
        for text in sorted(effects.notifications, key=lambda text: text.home_id):
            self._note("text", {name: value for name, value in asdict(text).items() if name != "alarm_at"})  # journal's
            self.counts["texts"] += 1
        self._note("cancelled", sorted(effects.cancelled))
        self._note("refused", effects.refused)

    def homes(self, engine: Engine) -> None:
        """Note how every home stands."""
        for home_id in sorted(engine.homes):
            self._note("home", asdict(view_home(engine, engine.homes[home_id])))

    def _note(self, what: str, value: object) -> None:
        line = f"{what} {json.dumps(value, sort_keys=True)}\n"
        if self.lines is not None:
            self.lines.append(line)
        self._out.update(line.encode())
