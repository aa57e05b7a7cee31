"""The homes of the specification: one sensor of each kind, and the nine rules as they ship."""

from collections.abc import Callable

import pytest

from sensor_guard.engine.plan import Condition, Form, Rule
from sensor_guard.model import HOUR, MINUTE, Severity
from sensor_guard.testing import Home


def rule(rule_id: str, condition: Condition, severity: Severity = Severity.WARNING, **more) -> Rule:
    ladder = {"critical": "urgent", "maintenance": "technical"}.get(severity, "welfare")
    return Rule(rule_id, condition, severity, ladder, **more)


RULES = [
    rule("electricity_low", Condition(Form.BELOW, "power", threshold=5.0, hold_for=12 * HOUR), unless_away=True),
    rule("smoke", Condition(Form.IS, "smoke"), Severity.CRITICAL, latched=True, mutable=False),
    rule("panic", Condition(Form.IS, "panic"), Severity.CRITICAL, latched=True, mutable=False),
    rule("water_running", Condition(Form.ACTIVE, "water", hold_for=2 * HOUR)),
    rule("water_none", Condition(Form.QUIET, "water", hold_for=24 * HOUR), unless_away=True),
    rule("no_movement", Condition(Form.QUIET, "motion", hold_for=12 * HOUR), unless_away=True),
    rule("door_open_night", Condition(Form.IS, "door", hold_for=30 * MINUTE, between=(22 * 60, 6 * 60))),
    rule("sensor_silent", Condition(Form.SILENT), Severity.MAINTENANCE),
    rule("battery_low", Condition(Form.BELOW, quantity="battery_pct", threshold=15.0), Severity.MAINTENANCE),
]
GATEWAY_RULES = [
    rule("broker_offline", Condition(Form.FAULT, hold_for=MINUTE), Severity.MAINTENANCE),
    rule("session_lost", Condition(Form.FAULT), Severity.MAINTENANCE),
]


@pytest.fixture
def home() -> Home:
    """A home with one sensor of each kind, judged by all rules, nothing heard yet."""
    return Home(RULES + GATEWAY_RULES)


@pytest.fixture
def home_with() -> Callable[..., Home]:
    """A home judged by the named rules only."""

    def build(*rule_ids: str, **more) -> Home:
        return Home([r for r in RULES + GATEWAY_RULES if r.rule_id in rule_ids], **more)

    return build
