"""Replay: any recording through the same engine on the virtual clock, as fast as it can.

A scripted responder answers every alarm at once and closes it when its condition is no longer true, latched alarms
after an hour, so that a recording of two years yields every alarm and not only the first. Virtual time ends with the
last reading: nothing fires after the data.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from sensor_guard.engine.engine import Engine
from sensor_guard.engine.plan import Plan
from sensor_guard.model import (
    HOUR,
    Alarm,
    AlarmOutcome,
    Command,
    CommandKind,
    Effects,
    Input,
    Instant,
    PlanChanged,
    Reading,
    Response,
    Transition,
    Truth,
)

Responder: TypeAlias = Literal["prompt", "none"]
CLOSE_LATCHED_AFTER = HOUR


@dataclass(slots=True)
class Outcome:
    """What a replay came to. Times are those of the recording."""

    readings: int = 0
    homes: set[str] = field(default_factory=set)
    first_at: Instant | None = None
    last_at: Instant | None = None
    raised: Counter[str] = field(default_factory=Counter)
    feeds: int = 0

    def add(self, other: "Outcome") -> None:
        """Count what another run over the same recording came to."""
        self.readings += other.readings
        self.homes |= other.homes
        self.first_at, self.last_at = other.first_at, other.last_at
        self.raised.update(other.raised)
        self.feeds += other.feeds


Told: TypeAlias = Callable[[Transition, Alarm], None]


class Replay:
    """One run: ``run`` for a stream alone, or ``begin``, ``reach``, ``take`` and ``end`` beside another one.

    Args:
        plan: homes and rules. Its lateness counts only where the recording is out of order.
        tell: called for every transition with the alarm as it is then, in the order in which they happen.
        responder: "prompt" answers and closes; "none" leaves every alarm open.
        heard_from: by (home_id, sensor_id), since when a sensor that nobody has configured may be expected to
            speak: its silence before its first word is none.
    """

    def __init__(
        self,
        plan: Plan,
        tell: Told,
        *,
        responder: Responder = "prompt",
        in_order: bool = True,
        heard_from: Mapping[tuple[str, str], Instant] | None = None,
    ) -> None:
        self.plan = replace(plan, lateness=0) if in_order else plan
        self.outcome = Outcome()
        self._tell = tell
        self._responds = responder == "prompt"
        self._heard_from = heard_from or {}
        self._engine = Engine(lambda _hash: self.plan)
        self._seq = 0
        self._batch: list[tuple[int, Input]] = []
        self._now: Instant | None = None
        self._close_at: dict[str, Instant] = {}  # latched alarms that the responder will close
        self._latched = {rule.rule_id for rule in plan.rules if rule.latched}
        self._known: dict[str, Alarm] = {}

    def run(self, readings: Iterable[Reading]) -> Outcome:
        """Feed everything, instant by instant, and end with the last reading.

        readings: sorted by ``received_at``.
        """
        for reading in readings:
            self.take(reading)
        return self.end()

    def begin(self, first: Reading) -> None:
        """Put the plan in force, as early as the recording's first reading may have been observed."""
        at = max(first.observed_at, first.received_at - self.plan.lateness)
        self._now = self.outcome.first_at = at
        self._feed([(self._next(), PlanChanged("replay", at))], at)
        for (home_id, sensor_id), first_at in self._heard_from.items():
            state = self._engine.homes[home_id].sensors[sensor_id]
            state.silent_at = max(state.silent_at, first_at + state.sensor.observed_for)

    def take(self, reading: Reading) -> None:
        """Take the next reading; it is decided with the others of its instant."""
        if self._now is None:
            self.begin(reading)
        self.reach(reading.received_at)
        self._batch.append((self._next(), reading))
        self.outcome.readings += 1
        self.outcome.homes.add(reading.home_id)

    def reach(self, at: Instant) -> None:
        """Decide everything before ``at``."""
        assert self._now is not None, "begin comes first"
        if at == self._now:
            return
        if self._batch:
            self._feed(self._batch, self._now)
            self._batch = []
        self._pass(at)
        self._now = at

    def end(self) -> Outcome:
        """Decide everything up to the instant that was reached last, and nothing after it."""
        if self._now is not None:
            self._feed(self._batch, self._now)
            self._batch = []
            self._after(self._engine.finish(), self._now)
            self.outcome.last_at = self._now
        return self.outcome

    def _pass(self, until: Instant) -> None:
        """Stop at everything that is due before ``until``, so that the responder answers when it happens."""
        while True:
            engine_due = self._engine.next_deadline()
            due = min([*self._close_at.values(), *([] if engine_due is None else [engine_due])], default=until)
            if due >= until:
                return
            at = max(due, self._engine.now + (1 if due <= self._engine.now else 0))
            if at >= until:
                return
            self._feed([], at)

    def _feed(self, inputs: list[tuple[int, Input]], now: Instant) -> None:
        self.outcome.feeds += 1
        self._after(self._engine.feed(inputs, now), now)

    def _after(self, effects: Effects, now: Instant) -> None:
        """Tell what happened, then let the responder act, until nothing more follows."""
        while True:
            for transition in effects.transitions:
                home_id = transition.alarm_id.partition(".")[0]
                alarm = self._engine.homes[home_id].cases.alarms[transition.alarm_id]
                if transition.reason == "raised":
                    self.outcome.raised[alarm.rule_id] += 1
                self._known[alarm.alarm_id] = alarm
                self._tell(transition, alarm)
            for alarm_id, alarm in effects.alarms.items():
                self._known[alarm_id] = alarm
            commands = list(self._respond(now)) if self._responds else []
            if not commands:
                return
            effects = self._engine.feed([(self._next(), command) for command in commands], now)

    def _respond(self, now: Instant) -> Iterator[Command]:
        for alarm_id, alarm in list(self._known.items()):
            if alarm.response is Response.CLOSED:
                del self._known[alarm_id]
                self._close_at.pop(alarm_id, None)
            elif alarm.response is Response.UNANSWERED:
                if alarm.rule_id in self._latched:
                    self._close_at.setdefault(alarm_id, now + CLOSE_LATCHED_AFTER)
                yield self._command(CommandKind.ACKNOWLEDGE, alarm, now)
            elif self._close_at.get(alarm_id, now + 1) <= now or (
                alarm_id not in self._close_at and alarm.condition is not Truth.TRUE
            ):
                yield self._command(CommandKind.CLOSE, alarm, now)

    def _command(self, kind: CommandKind, alarm: Alarm, now: Instant) -> Command:
        outcome = AlarmOutcome.FINE if kind is CommandKind.CLOSE else None
        return Command(f"r{self._seq}", kind, alarm.alarm_id, "responder", now, outcome=outcome)

    def _next(self) -> int:
        self._seq += 1
        return self._seq


def run_together(runs: Sequence[Replay], readings: Iterable[Reading]) -> list[Outcome]:
    """Run several plans over one recording, in step, so that what they tell comes in the order of time.

    runs: a reading goes to the first whose plan has its home. readings: sorted by ``received_at``.
    """
    run_of = {home.home_id: run for run in reversed(runs) for home in run.plan.homes}
    now: Instant | None = None
    for reading in readings:
        for run in runs if reading.received_at != now else ():
            if now is None:
                run.begin(reading)
            run.reach(reading.received_at)
        now = reading.received_at
        run_of[reading.home_id].take(reading)
    return [run.end() for run in runs]
