"""One seed: a world with everything that goes wrong in it, checked; and a second one beside it, to be the same."""

from collections import Counter
from dataclasses import dataclass, field

from sensor_guard.model import HOUR, Instant
from sensor_guard.testing import START
from tests.sim.config import config
from tests.sim.invariants import Found, Invariant, Left, check, home_alarms
from tests.sim.residents import words
from tests.sim.script import write
from tests.sim.world import Settings, World

SHOWN = 25
"""Last events told of a world that failed."""


@dataclass
class Outcome:
    """What became of a seed."""

    seed: int
    days: int
    found: list[Found] = field(default_factory=list)
    last: list[tuple[Instant, str]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    readings: int = 0
    turns: int = 0
    alarms: Counter[str] = field(default_factory=Counter)
    texts: int = 0
    judged: int = 0
    is_loose: bool = False
    cpu_s: float = 0.0

    def told(self) -> str:
        """What failed, what led up to it, and how to see it again."""
        lines = [f"seed {self.seed}: {one.invariant}: {one.detail}" for one in self.found[:12]]
        lines += [f"  {(at - START) / HOUR:9.3f} h  {text}" for at, text in self.last[-SHOWN:]]
        lines.append(f"again: python -m tests.sim --seed {self.seed} --days {self.days}")
        return "\n".join(lines)


def run(seed: int, days: int) -> Outcome:
    """Run a seed and everything that must be the same beside it."""
    outcome = Outcome(seed, days)
    alarms = world_of(outcome, Settings())
    if outcome.found:
        return outcome
    # An eighth of the seeds pays for a second world: as it would have been without the kills, or turned otherwise.
    if seed % 16 == 0:
        compare(outcome, alarms, Settings(crashes=False), Invariant.RESTART_CHANGES_NOTHING)
    elif seed % 16 == 8:
        compare(outcome, alarms, Settings(linger=0, tick=7 * HOUR // 60), Invariant.TICK_SIZE_CHANGES_NOTHING)
    return outcome


def compare(outcome: Outcome, alarms: list[tuple[str, str, Instant]], settings: Settings, name: Invariant) -> None:
    """Run the same world otherwise; ``name`` is told where its alarms are others."""
    beside = Outcome(outcome.seed, outcome.days)
    others = world_of(beside, settings)
    outcome.turns += beside.turns
    outcome.found += beside.found
    # A step of up to two seconds is drift, followed when somebody looks; and how long the box was blind depends on when
    # it looked for the broker. Where neither was, there is no tolerance.
    tolerance = 15_000 if outcome.is_loose or beside.is_loose else 0
    is_same = len(alarms) == len(others) and all(
        one[:2] == other[:2] and abs(one[2] - other[2]) <= tolerance for one, other in zip(alarms, others, strict=True)
    )
    if not is_same:
        only, other = sorted(set(alarms) - set(others)), sorted(set(others) - set(alarms))
        outcome.found.append(Found(name, f"only in the world: {only[:4]}; only beside it: {other[:4]}"))


def world_of(outcome: Outcome, settings: Settings) -> list[tuple[str, str, Instant]]:
    """Run one world of a seed, check it, and give the alarms of its homes."""
    seed, days = outcome.seed, outcome.days
    script = write(seed, START, days)
    spoken = words(seed, script.home_ids, START, days)
    files = config("twilio, console" if script.has_second_channel else "twilio")
    world = World(seed, files, script, spoken, start=START, days=days, settings=settings)
    try:
        try:
            world.run()
        except Exception as error:
            outcome.found.append(Found(Invariant.NOTHING_RAISES, f"{type(error).__name__}: {error}"))
            outcome.last = world.log
            raise
        left = Left(world)
        outcome.found += check(left)
        outcome.last = world.log
        outcome.faults += world.faults
        outcome.readings += len(left.history.readings)
        outcome.turns += world.turns
        outcome.is_loose = script.steps_clock or bool(left.history.blind())
        outcome.texts += len(world.notifier.twilio.texts)
        outcome.alarms += Counter(one.rule_id for one in left.history.alarms.values())
        outcome.judged += sum(len(due) for due in left.due.values())
        return home_alarms(left)
    finally:
        world.remove()
