"""Replay: any recording through the same engine on the virtual clock, as fast as it can.

A scripted responder answers every alarm at once and closes it when its condition is no longer true, latched alarms
after an hour, so that a recording of two years yields every alarm and not only the first. Virtual time ends with the
last reading: nothing fires after the data.

Homes know nothing of each other, so each is run by itself through a chunk of the recording, and what they have to tell
is put in the order of time afterwards: first what the readings and the time brought about at an instant, home by home,
then what the responder did about it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Literal, NamedTuple, TypeAlias

from sensor_guard.engine import orders
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.home import Home
from sensor_guard.engine.plan import Plan
from sensor_guard.model import (
    GATEWAY,
    HOUR,
    Alarm,
    AlarmOutcome,
    Command,
    CommandKind,
    Effects,
    Instant,
    PlanChanged,
    Reading,
    Response,
    Span,
    Transition,
    Truth,
)

Responder: TypeAlias = Literal["prompt", "none"]
CLOSE_LATCHED_AFTER = HOUR
CHUNK = 50_000
"""Readings that are held in memory at a time, about 15 MB."""


@dataclass(slots=True)
class Outcome:
    """What a replay came to. Times are those of the recording."""

    readings: int = 0
    homes: set[str] = field(default_factory=set)
    first_at: Instant | None = None
    last_at: Instant | None = None
    raised: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Outcome") -> None:
        """Count what another run over the same recording came to."""
        self.readings += other.readings
        self.homes |= other.homes
        self.first_at, self.last_at = other.first_at, other.last_at
        self.raised.update(other.raised)


Tell: TypeAlias = Callable[[Transition, Alarm], None]


class _Told(NamedTuple):
    """One step to tell. ``turn``: 0 for what happened at ``now``, then the responder's turns in the same instant."""

    now: Instant
    turn: int
    home_id: str
    transition: Transition
    alarm: Alarm


class Replay:
    """One run of a plan over a recording, alone (``run``) or beside others (``run_together``).

    Args:
        plan: homes and rules. Its lateness counts only where the recording is out of order.
        tell: called for every transition with the alarm as it is then, in the order in which they happen.
        responder: "prompt" answers and closes; "none" leaves every alarm open.
        in_order: every reading was received when it was observed, so that none need wait for another.
        heard_from: by (home_id, sensor_id), since when a sensor that nobody has configured may be expected to
            speak: its silence before its first word is none.
    """

    def __init__(
        self,
        plan: Plan,
        tell: Tell,
        *,
        responder: Responder = "prompt",
        in_order: bool = True,
        heard_from: Mapping[tuple[str, str], Instant] | None = None,
    ) -> None:
        self.plan = replace(plan, lateness=0) if in_order else plan
        self.outcome = Outcome()
        self.tell = tell
        self._responds = responder == "prompt"
        self._heard_from = heard_from or {}
        self._homes: dict[str, _HomeRun] = {}

    def run(self, readings: Iterable[Reading]) -> Outcome:
        """Feed everything and end with the last reading.

        readings: sorted by ``received_at``.
        """
        return run_together([self], readings)[0]

    def begin(self, first: Reading) -> None:
        """Put the plan in force, as early as the recording's first reading may have been observed."""
        at = max(first.observed_at, first.received_at - self.plan.lateness)
        self.outcome.first_at = at
        engine = Engine(lambda _hash: self.plan)
        engine.feed([(1, PlanChanged("replay", at))], at)
        for (home_id, sensor_id), first_at in self._heard_from.items():
            state = engine.homes[home_id].sensors[sensor_id]
            state.silent_at = max(state.silent_at, first_at + state.sensor.observed_for)
        latched = frozenset(rule.rule_id for rule in self.plan.rules if rule.latched) if self._responds else None
        self._homes = {
            home_id: _HomeRun(home, self.plan.lateness, latched)
            for home_id, home in engine.homes.items()
            if home_id != GATEWAY
        }

    def reach(self, until: Instant, readings_of: Mapping[str, Sequence[Reading]]) -> list[_Told]:
        """Take each home's readings before ``until`` and decide everything before it; what is to be told, unsorted."""
        told: list[_Told] = []
        for home_id, home in self._homes.items():
            readings = readings_of.get(home_id, ())
            if readings:
                self.outcome.readings += len(readings)
                self.outcome.homes.add(home_id)
            home.take(readings, until, told)
        return self._counted(told)

    def end(self, at: Instant) -> list[_Told]:
        """Decide everything up to ``at``, and nothing after it; what is to be told, unsorted."""
        self.outcome.last_at = at
        told: list[_Told] = []
        for home in self._homes.values():
            home.end(at, told)
        return self._counted(told)

    def _counted(self, told: list[_Told]) -> list[_Told]:
        self.outcome.raised.update(one.alarm.rule_id for one in told if one.transition.reason == "raised")
        return told


class _HomeRun:
    """One home and whoever answers for it. ``latched``: rules whose alarms never clear; None where nobody answers."""

    __slots__ = ("_close_at", "_count", "_home", "_known", "_latched", "_lateness", "_now")

    def __init__(self, home: Home, lateness: Span, latched: frozenset[str] | None) -> None:
        self._home = home
        self._lateness = lateness
        self._latched = latched
        self._now = home.at
        self._known: dict[str, Alarm] = {}
        self._close_at: dict[str, Instant] = {}  # latched alarms that the responder will close
        self._count = 0  # inputs so far

    def take(self, readings: Sequence[Reading], until: Instant, told: list[_Told]) -> None:
        """Take these readings, all before ``until``, and whatever is due before it."""
        place = 0
        while place < len(readings):
            at = readings[place].received_at
            self._pass(at, told)
            effects = Effects()
            if self._lateness:
                place = self._take_instant(readings, place, effects)
            else:
                stop_at = min([self._home.cases.next_due(), *self._close_at.values()])
                place = self._home.run(readings, place, stop_at, effects)
            self._settle(readings[place - 1].received_at, effects, told)
        self._pass(until, told)

    def end(self, at: Instant, told: list[_Told]) -> None:
        """Decide everything up to ``at`` without waiting for late readings."""
        self._pass(at, told)
        self._settle(at, Effects(), told)
        effects = Effects()
        self._home.advance(at, at, effects)
        self._settle(at, effects, told)

    def _take_instant(self, readings: Sequence[Reading], place: int, effects: Effects) -> int:
        now = readings[place].received_at
        while place < len(readings) and readings[place].received_at == now:
            self._home.advance(now - self._lateness, now, effects)
            self._count += 1
            self._home.accept(self._count, readings[place], now, effects)
            place += 1
        return place

    def _pass(self, until: Instant, told: list[_Told]) -> None:
        """Stop at everything that is due before ``until``, so that the responder answers when it happens."""
        while True:
            due = min([self._home.due(self._lateness), *self._close_at.values()])
            at = max(due, self._now + 1) if due <= self._now else due
            if at >= until:
                return
            self._settle(at, Effects(), told)

    def _settle(self, now: Instant, effects: Effects, told: list[_Told]) -> None:
        """Decide what is due at ``now``; note what happened, then let the responder act until nothing follows."""
        self._now = now
        turn = 0
        self._home.settle(now - self._lateness, now, effects)
        while effects.alarms or (turn == 0 and self._known):
            told.extend(
                _Told(now, turn, self._home.home_id, step, self._home.cases.alarms[step.alarm_id])
                for step in effects.transitions
            )
            self._known.update(effects.alarms)
            commands = [] if self._latched is None else list(self._respond(self._latched, now))
            if not commands:
                return
            effects = Effects()
            for command in commands:
                orders.command(self._home, command, now - self._lateness, now, effects)
            self._home.settle(now - self._lateness, now, effects)
            turn += 1

    def _respond(self, latched: frozenset[str], now: Instant) -> Iterator[Command]:
        for alarm_id, alarm in list(self._known.items()):
            if alarm.response is Response.CLOSED:
                del self._known[alarm_id]
                self._close_at.pop(alarm_id, None)
            elif alarm.response is Response.UNANSWERED:
                if alarm.rule_id in latched:
                    self._close_at.setdefault(alarm_id, now + CLOSE_LATCHED_AFTER)
                yield self._command(CommandKind.ACKNOWLEDGE, alarm, now)
            elif self._close_at.get(alarm_id, now + 1) <= now or (
                alarm_id not in self._close_at and alarm.condition is not Truth.TRUE
            ):
                yield self._command(CommandKind.CLOSE, alarm, now)

    def _command(self, kind: CommandKind, alarm: Alarm, now: Instant) -> Command:
        self._count += 1
        outcome = AlarmOutcome.FINE if kind is CommandKind.CLOSE else None
        return Command(f"r{self._count}", kind, alarm.alarm_id, "responder", now, outcome=outcome)


def run_together(runs: Sequence[Replay], readings: Iterable[Reading]) -> list[Outcome]:
    """Run several plans over one recording, in step, so that what they tell comes in the order of time.

    runs: no home is in two of their plans. readings: sorted by ``received_at``.

    Raises:
        LookupError: a reading of a home that none of the plans has.
    """
    homes = {home.home_id for run in runs for home in run.plan.homes}
    tell_of = {home.home_id: run.tell for run in runs for home in run.plan.homes}
    now: Instant | None = None
    for waiting, until in _chunks(readings):
        if now is None:
            first = next(iter(waiting.values()))[0]
            for run in runs:
                run.begin(first)
        if not waiting.keys() <= homes:
            raise LookupError(f"no plan has the homes {sorted(waiting.keys() - homes)[:5]}")
        _tell(tell_of, [told for run in runs for told in run.reach(until, waiting)])
        now = until
    if now is not None:
        _tell(tell_of, [told for run in runs for told in run.end(now)])
    return [run.outcome for run in runs]


def _chunks(readings: Iterable[Reading]) -> Iterator[tuple[dict[str, list[Reading]], Instant]]:
    """Cut a recording between two instants: the readings of each home, and when the next chunk begins.

    The last chunk ends with its last instant.
    """
    waiting: dict[str, list[Reading]] = defaultdict(list)
    count, now = 0, None
    for reading in readings:
        if count >= CHUNK and reading.received_at != now:
            yield waiting, reading.received_at
            waiting, count = defaultdict(list), 0
        now = reading.received_at
        count += 1
        waiting[reading.home_id].append(reading)
    if now is not None:
        yield waiting, now


def _tell(tell_of: Mapping[str, Tell], told: list[_Told]) -> None:
    """Tell in the order of time; at one instant turn by turn, and home by home."""
    told.sort(key=_ORDER)
    for step in told:
        tell_of[step.home_id](step.transition, step.alarm)


_ORDER = itemgetter(0, 1, 2)
