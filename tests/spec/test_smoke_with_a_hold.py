"""A rule of one's own about smoke that lasts, or smoke at night: it follows the level as any other rule does."""

import pytest

from sensor_guard.engine.plan import Condition, Form, Rule, Sensor
from sensor_guard.model import DEVICE_TIME, MINUTE, SECOND, Severity
from sensor_guard.testing import Home, plan_for

LASTING = Rule("smoke_lasts", Condition(Form.IS, kind="smoke", hold_for=5 * MINUTE), Severity.CRITICAL, "urgent")
AT_NIGHT = Rule("smoke_at_night", Condition(Form.IS, kind="smoke", between=(1_320, 360)), Severity.CRITICAL, "urgent")


def home(rule=LASTING, lateness=0):
    """The detector has been heard before: what comes is a change of its level."""
    sensor = Sensor("smoke", "smoke", 50 * 3_600_000)
    made = Home((), plan=plan_for([rule], [sensor], lateness=lateness))
    return made.reads(smoke=0).passes("1h")


@pytest.mark.parametrize("lateness", [0, 30 * SECOND])
@pytest.mark.parametrize("every", [None, "1m"])
def test_smoke_that_lasts_raises_when_the_hold_is_complete(lateness, every):
    made = home(lateness=lateness).reads(smoke=1, every=every)
    began = made.clock.at
    assert made.passes("4m59s").alarms() == []
    assert made.passes("32s").alarms() == [("smoke_lasts", "active")]
    assert made.open_alarm("smoke_lasts").raised_at == began + 5 * MINUTE


def test_smoke_that_is_over_before_is_no_alarm():
    made = home().reads(smoke=1).passes("4m").reads(smoke=0)
    assert made.passes("2h").alarms() == []


def test_smoke_that_comes_back_begins_the_hold_afresh():
    made = home().reads(smoke=1).passes("4m").reads(smoke=0).passes("10s").reads(smoke=1)
    assert made.passes("4m59s").alarms() == []
    assert made.passes("1s").alarms() == [("smoke_lasts", "active")]


def test_an_all_clear_clears_its_alarm():
    made = home().reads(smoke=1).passes("6m").reads(smoke=0)
    assert made.alarms() == [("smoke_lasts", "cleared")]


def test_within_the_lateness_the_hold_begins_where_the_smoke_began():
    """The all-clear before it and the smoke arrive together, in the wrong order."""
    made = home(lateness=30 * SECOND)
    at = made.clock.at
    made.says("smoke", "smoke", 1, observed_at=at, flags=DEVICE_TIME)
    made.says("smoke", "smoke", 0, observed_at=at - 10 * SECOND, flags=DEVICE_TIME)
    made.passes("5m31s")
    assert made.open_alarm("smoke_lasts").raised_at == at + 5 * MINUTE


@pytest.mark.parametrize("battery", [False, True])
def test_smoke_that_is_learnt_too_late_for_its_place_counts_from_then(battery):
    made = home().passes("10m")
    if battery:  # spoken since: the level is the newest all the same
        made.gives("smoke", "battery_pct", 80)
    made.says("smoke", "smoke", 1, observed_at=made.clock.at - MINUTE, flags=DEVICE_TIME)
    assert made.passes("4m").alarms() == []
    assert made.passes("1m").alarms() == [("smoke_lasts", "active")]


def test_smoke_at_night_is_an_alarm_and_by_day_it_is_none():
    made = home(AT_NIGHT).passes("3h")  # the clocks of these tests start at midnight
    made.reads(smoke=1)
    assert made.alarms() == [("smoke_at_night", "active")]
    made.reads(smoke=0).close("smoke_at_night")
    made.passes("6h").reads(smoke=1)
    assert made.alarms() == []
