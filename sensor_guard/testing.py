"""Given readings, when time passes, then alarms: the engine on a virtual clock, for tests of rules and of the program.

Public, because whoever writes rules wants it too::

    home = Home(rules=load_rules(...))
    home.reads(power_w=3, every="5m").passes("12h")
    assert home.alarms() == [("electricity_low", "active")]
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sensor_guard.engine.engine import Engine
from sensor_guard.engine.plan import HomePlan, Ladder, Plan, Rule, Sensor, Step
from sensor_guard.model import (
    DAY,
    GATEWAY,
    HOUR,
    KIND_OF_QUANTITY,
    KINDS,
    MINUTE,
    SECOND,
    Alarm,
    AlarmOutcome,
    Command,
    CommandKind,
    Effects,
    Input,
    Instant,
    Notification,
    PlanChanged,
    Reading,
    Span,
    Transition,
)

START: Instant = 1_772_323_200_000
"""2026-03-01T00:00:00Z, a Sunday: where virtual time begins unless a test says otherwise."""

_SPANS = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


def span(text: str | Span) -> Span:
    """Read "11h59m", "45s", "2d" or a number of ms.

    Raises:
        ValueError: anything else; the message says how to write it.
    """
    if isinstance(text, int):
        return text
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        raise ValueError(f"{text!r} is not a span of time; write it like 12h, 11h59m, 45s or 2d")
    return round(sum(float(number) * _SPANS[unit] for number, unit in parts))


class VirtualClock:
    """A clock that stands still until it is told to move. Satisfies ``clock.Clock``."""

    factor = 1.0

    def __init__(self, at: Instant = START) -> None:
        self.at = at
        self._step: Span = 0

    def now(self) -> Instant:
        """Say what virtual time it is."""
        return self.at

    def monotonic(self) -> float:
        """Count virtual seconds."""
        return self.at / SECOND

    def stepped(self) -> Span:
        """Say by how much ``step`` set the clock since the last call."""
        offset, self._step = self._step, 0
        return offset

    def passes(self, duration: str | Span) -> None:
        """Let time pass."""
        self.at += span(duration)

    def step(self, offset: str | Span) -> None:
        """Set the wall clock, as an operator or NTP does."""
        self._step += span(offset)
        self.at += span(offset)


def default_ladders() -> tuple[tuple[str, Ladder], ...]:
    """Give ladders with one person on each rung, for tests of rules."""
    return (
        ("welfare", Ladder((Step(0, ("worker1",)), Step(15 * MINUTE, ("family1",))), HOUR, 12 * HOUR)),
        ("urgent", Ladder((Step(0, ("worker1", "family1")), Step(3 * MINUTE, ("boss1",))), 10 * MINUTE, 4 * HOUR)),
        ("technical", Ladder((Step(0, ("keeper1",)),), DAY, 7 * DAY)),
    )


def plan_for(rules: Sequence[Rule], sensors: Sequence[Sensor], *, home_id: str = "h1", lateness: Span = 0) -> Plan:
    """Give a plan with one home and the box itself."""
    ladders = default_ladders()
    return Plan(
        rules=tuple(rules),
        homes=(
            HomePlan(home_id, "site1", "b1", tuple(sensors), ladders),
            HomePlan(GATEWAY, "", "", (), ladders),
        ),
        lateness=lateness,
    )


def one_sensor_of_each_kind() -> list[Sensor]:
    """Give six sensors, named after their kind, observed for as long as their kind's default."""
    return [Sensor(str(row.kind), row.kind, row.observed_for) for row in KINDS.values()]


@dataclass(frozen=True, slots=True)
class _Repeat:
    sensor_id: str
    quantity: str
    value: float
    every: Span
    until: Instant


class Home:
    """One home, its engine and a clock that moves only by ``passes``.

    Args:
        rules: what to judge by.
        sensors: one of each kind where None.
        tick: the engine is called at least this often; the alarms must not depend on it.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        sensors: Sequence[Sensor] | None = None,
        *,
        start: Instant = START,
        tick: Span | None = None,
        plan: Plan | None = None,
    ) -> None:
        self.home_id = "h1"
        self.plan = plan or plan_for(rules, sensors if sensors is not None else one_sensor_of_each_kind())
        self.clock = VirtualClock(start)
        self.start = start
        self.tick = tick
        self.engine = Engine(lambda _hash: self.plan)
        self.transitions: list[Transition] = []
        self.notifications: list[Notification] = []
        self.cancelled: list[str] = []
        self.fed: list[tuple[Instant, list[tuple[int, Input]]]] = []
        self._seq = 0
        self._repeats: dict[tuple[str, str], _Repeat] = {}
        self._next: dict[tuple[str, str], Instant] = {}
        self.feed(PlanChanged("plan", start))

    # -- given ----------------------------------------------------------------------------------------------------

    def reads(
        self, *, sensor: str | None = None, every: str | Span | None = None, until: str | Span | None = None,
        **values: float,
    ) -> "Home":  # fmt: skip
        """A sensor says something now, and again ``every`` so often until ``until`` (a span from now).

        A repetition ends when the same sensor's same quantity is repeated anew, or by ``silent``.
        """
        for quantity, value in values.items():
            self.gives(sensor or self._sensor_of(quantity), quantity, value, every=every, until=until)
        return self

    def gives(
        self, sensor_id: str, quantity: str, value: float,
        *, every: str | Span | None = None, until: str | Span | None = None,
    ) -> "Home":  # fmt: skip
        """Do as ``reads`` does, for one sensor and quantity; without ``every`` a repetition goes on beside it."""
        key = (sensor_id, quantity)
        if every is not None:
            end = self.clock.at + span(until) if until is not None else 1 << 60
            self._repeats[key] = _Repeat(sensor_id, quantity, float(value), span(every), end)
            self._next[key] = self.clock.at + span(every)
        return self.says(sensor_id, quantity, value)

    def says(
        self, sensor_id: str, quantity: str, value: float, *, observed_at: Instant | None = None, flags: int = 0
    ) -> "Home":
        """One reading arrives now; observed now, or when ``observed_at`` says."""
        now = self.clock.at
        at = now if observed_at is None else observed_at
        self.feed(Reading(self.home_id, sensor_id, quantity, float(value), at, now, flags=flags))
        return self

    def silent(self, quantity: str | None = None) -> "Home":
        """The repeated readings end (of one quantity, or all)."""
        self._repeats = {key: r for key, r in self._repeats.items() if quantity is not None and key[1] != quantity}
        return self

    # -- when -----------------------------------------------------------------------------------------------------

    def passes(self, duration: str | Span) -> "Home":
        """Let time pass: repeated readings come, deadlines fire."""
        end = self.clock.at + span(duration)
        while True:
            due = [(self._next[key], key) for key, repeat in self._repeats.items() if self._next[key] <= repeat.until]
            at, key = min(due, default=(1 << 60, ("", "")))
            if at > end:
                break
            self._tick_to(at)
            repeat = self._repeats[key]
            self._next[key] = at + repeat.every
            self.says(repeat.sensor_id, repeat.quantity, repeat.value)
        self._tick_to(end)
        return self

    def feed(self, *inputs: Input) -> Effects:
        """Feed inputs at the clock's now."""
        numbered: list[tuple[int, Input]] = []
        for item in inputs:
            self._seq += 1
            numbered.append((self._seq, item))
        self.fed.append((self.clock.at, numbered))
        effects = self.engine.feed(numbered, self.clock.at)
        self._note(effects)
        return effects

    def command(
        self, kind: CommandKind, target: str = "h1", *, by: str = "worker1", until: str | None = None,
        outcome: str | None = None, note: str = "",
    ) -> Effects:  # fmt: skip
        """Somebody says something; ``until`` is a span from now."""
        end = self.clock.at + span(until) if until is not None else None
        return self.feed(Command(f"c{self._seq}", kind, target, by, self.clock.at, note, end, outcome))

    def acknowledge(self, rule_id: str, by: str = "worker1") -> Effects:
        """Somebody answers the open alarm of this rule."""
        return self.command(CommandKind.ACKNOWLEDGE, self.open_alarm(rule_id).alarm_id, by=by)

    def close(self, rule_id: str, outcome: str = AlarmOutcome.FINE, by: str = "worker1") -> Effects:
        """Somebody closes the open alarm of this rule."""
        return self.command(CommandKind.CLOSE, self.open_alarm(rule_id).alarm_id, by=by, outcome=outcome)

    def away(self, until: str | None = None) -> Effects:
        """The resident goes away."""
        return self.command(CommandKind.AWAY, until=until)

    def back(self) -> Effects:
        """The resident is back."""
        return self.command(CommandKind.BACK)

    # -- then -----------------------------------------------------------------------------------------------------

    def alarms(self, rule_id: str | None = None) -> list[tuple[str, str]]:
        """Give (rule, state) of every alarm that is not closed, in the order in which they rose."""
        return [
            (alarm.rule_id, str(alarm.state))
            for alarm in self._alarms()
            if alarm.closed_at is None and rule_id in (None, alarm.rule_id)
        ]

    def open_alarm(self, rule_id: str) -> Alarm:
        """Give the open alarm of this rule.

        Raises:
            LookupError: there is none.
        """
        alarm = self.engine.homes[self.home_id].cases.open_alarm(rule_id)
        if alarm is None:
            raise LookupError(f"no open alarm of {rule_id}; open are {self.alarms()}")
        return alarm

    def raised(self) -> list[tuple[str, str]]:
        """Give (rule, time since the start as "12h0m") of every alarm that ever rose."""
        return [
            (t.alarm_id.split(".")[1], format_span(t.at - self.start)) for t in self.transitions if t.reason == "raised"
        ]

    def texts(self) -> list[tuple[str, str]]:
        """Give (recipient, kind) of every text asked for so far."""
        return [(note.recipient_id, str(note.kind)) for note in self.notifications]

    # -- inside ---------------------------------------------------------------------------------------------------

    def _alarms(self) -> list[Alarm]:
        return sorted(self.engine.homes[self.home_id].cases.alarms.values(), key=lambda alarm: alarm.raised_at)

    def _sensor_of(self, quantity: str) -> str:
        kind = KIND_OF_QUANTITY.get(quantity)
        sensors = self.plan.homes[0].sensors
        found = [sensor.sensor_id for sensor in sensors if kind is None or sensor.kind == kind]
        if not found:
            raise LookupError(f"no sensor of this home measures {quantity}")
        return found[0]

    def _tick_to(self, end: Instant) -> None:
        while self.clock.at < end:
            if self.tick is not None:
                target = min(end, self.clock.at + self.tick)
            else:
                due = self.engine.next_deadline()
                target = end if due is None else min(end, max(due, self.clock.at + 1))
            self.clock.at = target
            self.fed.append((target, []))
            self._note(self.engine.feed([], target))

    def _note(self, effects: Effects) -> None:
        self.transitions.extend(effects.transitions)
        self.notifications.extend(effects.notifications)
        self.cancelled.extend(effects.cancelled)


def format_span(duration: Span) -> str:
    """Write a span as "12h0m", with seconds only where there are any."""
    hours, rest = divmod(duration, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    return f"{hours}h{minutes}m" + (f"{rest / SECOND:g}s" if rest else "")
