"""Test mode has a beginning as well as an end: what was due before it is real, whenever it is noticed."""

from sensor_guard.engine.plan import Sensor
from sensor_guard.model import HOUR, CommandKind
from sensor_guard.testing import Home, plan_for
from tests.spec.conftest import RULES

LATE = plan_for(
    [rule for rule in RULES if rule.rule_id in ("electricity_low", "panic")],
    [Sensor("m", "power", HOUR), Sensor("b", "panic", 25 * HOUR)],
    lateness=60_000,
)


def low(duration: str) -> Home:
    home = Home((), plan=LATE)
    home.gives("m", "power_w", 3.0, every="5m")
    return home.passes(duration)


def test_a_hold_that_was_due_before_test_mode_and_is_noticed_in_it_is_real():
    home = low("12h30s")  # a minute is waited for readings that are under way
    assert home.alarms() == []
    home.command(CommandKind.TEST_MODE, until="15m")
    home.passes("1m")
    assert not home.open_alarm("electricity_low").evidence.test
    assert home.texts() == [("worker1", "alarm")]
    assert home.passes("20m").alarms() == [("electricity_low", "active")]


def test_a_hold_that_is_due_a_moment_after_it_began_is_a_test():
    home = low("11h59m")
    home.command(CommandKind.TEST_MODE, until="15m")
    assert home.passes("5m").open_alarm("electricity_low").evidence.test
    assert home.texts() == []


def test_a_press_of_before_that_arrives_in_test_mode_is_real():
    home = low("1h")
    home.command(CommandKind.TEST_MODE, until="15m")
    home.passes("10s").says("b", "panic", 1, observed_at=home.clock.at - 20_000)
    assert not home.open_alarm("panic").evidence.test


def test_test_mode_that_is_prolonged_began_when_it_began():
    home = low("11h50m")
    home.command(CommandKind.TEST_MODE, until="15m")
    home.passes("10m30s")
    home.command(CommandKind.TEST_MODE, until="30m")
    assert home.passes("1m").open_alarm("electricity_low").evidence.test
