"""A plan as canonical JSON text, the form in which the journal keeps it, and back again, exactly.

Same plan, same text, same hash. Ladders are many homes' alike: they are written once and named by number.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, ValidationError

from sensor_guard.engine.plan import Condition, Form, HomePlan, Ladder, Plan, Rule, Sensor, Step
from sensor_guard.model import Severity

FORM = 1
"""Number of the form of the text. A change of the form takes the next number and keeps reading the old ones."""


@dataclass(frozen=True, slots=True)
class WrittenPlan:
    """A plan with its name; ``text`` gives its canonical text, which may be long and is mostly not wanted."""

    plan: Plan
    plan_hash: str
    text: Callable[[], str]

    @classmethod
    def of(cls, plan: Plan) -> "WrittenPlan":
        """Write a plan."""
        text = plan_to_text(plan)
        return cls(plan, text_hash(text), lambda: text)


def plan_to_text(plan: Plan) -> str:
    """Write a plan as canonical JSON."""
    ladders: dict[Ladder, int] = {}
    homes = [
        [
            home.home_id,
            home.site_id,
            home.building_id,
            [[s.sensor_id, s.kind, s.observed_for, s.meter, s.interval] for s in home.sensors],
            [[name, ladders.setdefault(ladder, len(ladders))] for name, ladder in home.ladders],
            list(home.muted_rules),
        ]
        for home in plan.homes
    ]
    content = {
        "form": FORM,
        "lateness": plan.lateness,
        "zone": plan.zone_name,
        "rules": [rule_row(rule) for rule in plan.rules],
        "homes": homes,
        "ladders": [
            [[[step.after, list(step.recipient_ids)] for step in x.steps], x.repeat_every, x.remind_unclosed]
            for x in ladders
        ],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)


def plan_from_text(text: str) -> Plan:
    """Read a plan that ``plan_to_text`` wrote. Equal ladders are one object again.

    Raises:
        ValueError: not such a text, or one of a later version of the program.
    """
    try:
        row = _PlanRow.model_validate_json(text)
        ladders = [
            Ladder(tuple(Step(after, tuple(people)) for after, people in steps), repeat_every, remind_unclosed)
            for steps, repeat_every, remind_unclosed in row.ladders
        ]
        sensors: dict[_SensorRow, Sensor] = {}
        return Plan(
            tuple(_rule(rule) for rule in row.rules),
            tuple(_home(home, ladders, sensors) for home in row.homes),
            row.lateness,
            zone_of(row.zone),
            row.zone,
        )
    except (ValidationError, LookupError) as error:
        form = re.search(r'"form": ?([0-9]+)', text)
        if form and int(form[1]) != FORM:
            raise ValueError(
                f"the stored plan has the form {form[1]}, this version reads {FORM}; update the program"
            ) from error
        raise ValueError(f"not a stored plan: {error}") from error


def plan_hash(plan: Plan) -> str:
    """Name a plan: sha256 of its canonical text, in hexadecimal."""
    return text_hash(plan_to_text(plan))


def text_hash(text: str) -> str:
    """Name a plan by the canonical text of it."""
    return hashlib.sha256(text.encode()).hexdigest()


def zone_of(name: str) -> tzinfo:
    """Give a time zone by its name.

    Raises:
        LookupError: there is none of this name.
    """
    return UTC if name == "UTC" else ZoneInfo(name)


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _ConditionRow(_Row):
    form: Form
    kind: str | None
    quantity: str | None
    threshold: float
    hold_for: int
    between: tuple[int, int] | None


class _RuleRow(_Row):
    id: str
    condition: _ConditionRow
    severity: Severity
    ladder: str
    latched: bool
    mutable: bool
    unless_away: bool
    names: list[tuple[str, str]]
    messages: list[tuple[str, str]]


_SensorRow = tuple[str, str, int, str, int | None]
_HomeRow = tuple[str, str, str, list[_SensorRow], list[tuple[str, int]], list[str]]


class _PlanRow(_Row):
    form: Literal[1]
    lateness: int
    zone: str
    rules: list[_RuleRow]
    homes: list[_HomeRow]
    ladders: list[tuple[list[tuple[int, list[str]]], int, int]]


def rule_row(rule: Rule) -> dict[str, object]:
    """Write a rule as plain data."""
    condition = rule.condition
    return {
        "id": rule.rule_id,
        "condition": {
            "form": condition.form.value,
            "kind": condition.kind,
            "quantity": condition.quantity,
            "threshold": float(condition.threshold),
            "hold_for": condition.hold_for,
            "between": condition.between,
        },
        "severity": rule.severity.value,
        "ladder": rule.ladder,
        "latched": rule.latched,
        "mutable": rule.mutable,
        "unless_away": rule.unless_away,
        "names": rule.names,
        "messages": rule.messages,
    }


def rule_from_row(row: object) -> Rule:
    """Read a rule that ``rule_row`` wrote.

    Raises:
        ValueError: not such a row.
    """
    return _rule(_RuleRow.model_validate_json(json.dumps(row)))


def _rule(row: _RuleRow) -> Rule:
    condition = row.condition
    return Rule(
        row.id,
        Condition(
            condition.form,
            condition.kind,
            condition.quantity,
            condition.threshold,
            condition.hold_for,
            condition.between,
        ),
        row.severity,
        row.ladder,
        row.latched,
        row.mutable,
        row.unless_away,
        tuple(row.names),
        tuple(row.messages),
    )


def _home(row: _HomeRow, ladders: list[Ladder], known: dict[_SensorRow, Sensor]) -> HomePlan:
    home_id, site_id, building_id, sensors, named, muted = row
    for sensor in sensors:
        # Sensors of many homes are alike, down to their id; as one object they cost nothing.
        if sensor not in known:
            known[sensor] = Sensor(*sensor)
    return HomePlan(
        home_id,
        site_id,
        building_id,
        tuple(known[sensor] for sensor in sensors),
        tuple((name, ladders[number]) for name, number in named),
        tuple(muted),
    )
