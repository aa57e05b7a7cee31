"""Runs the ``tests:`` that stand beside the rules, on the virtual clock: `sensor-guard test rules/`."""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sensor_guard.config import Expected, GivenAway, GivenReading, RuleTest
from sensor_guard.engine.plan import HomePlan, Plan, Rule
from sensor_guard.model import GATEWAY, CommandKind, Span
from sensor_guard.testing import Home, default_ladders, format_span


@dataclass(frozen=True, slots=True)
class Failure:
    """What came out otherwise than the test says. ``at``: span since the test's start."""

    at: Span
    expected: tuple[str, ...]
    found: tuple[str, ...]

    def __str__(self) -> str:
        return f"at {format_span(self.at)}: expected {_words(self.expected)}, found {_words(self.found)}"


def run_rule_test(test: RuleTest, rules: Sequence[Rule]) -> list[Failure]:
    """Run one test against its rule; every point at which it fails, none when it holds."""
    rule = next(rule for rule in rules if rule.rule_id == test.rule_id)
    ladders = (*default_ladders(), (rule.ladder, default_ladders()[0][1]))
    homes = (HomePlan("h1", "site1", "b1", test.sensors, ladders), HomePlan(GATEWAY, "", "", (), ladders))
    plan = Plan((rule,), homes, lateness=0, zone=ZoneInfo(test.zone_name), zone_name=test.zone_name)
    home = Home((), start=test.start, plan=plan)
    failures = []
    # What is given at an instant comes before what is expected at it.
    steps: list[tuple[Span, int, GivenReading | GivenAway | Expected]] = [
        *((given.at, 0, given) for given in test.given),
        *((then.at, 1, then) for then in test.then),
    ]
    for at, _, step in sorted(steps, key=lambda item: item[:2]):
        home.passes(test.start + at - home.clock.at)
        if isinstance(step, Expected):
            found = tuple(state for _, state in home.alarms(test.rule_id))
            if found != step.alarms:
                failures.append(Failure(at, step.alarms, found))
        elif isinstance(step, GivenAway):
            until = f"{step.until - at}ms" if step.until is not None else None
            home.command(CommandKind.AWAY if step.away else CommandKind.BACK, until=until)
        else:
            home.gives(step.sensor_id, step.quantity, step.value, every=step.every, until=_from(step.until, at))
    return failures


def _from(until: Span | None, at: Span) -> Span | None:
    return None if until is None else until - at


def _words(states: tuple[str, ...]) -> str:
    return ", ".join(states) if states else "no alarm"
