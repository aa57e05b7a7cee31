"""A word that comes late is older than what is known by then: it clears nothing, and it overwrites nothing."""

import pytest

from sensor_guard.engine.plan import Sensor
from sensor_guard.model import DEVICE_TIME, HOUR, MINUTE, RETAINED, SECOND
from sensor_guard.testing import Home, plan_for
from tests.spec.conftest import RULES

KINDS = {"door": "door_open", "power": "power_w", "water": "flow_l_min", "smoke": "smoke"}
LATENESS = [0, 60 * SECOND]
BY = [10 * SECOND, 30 * MINUTE]
"""Within the allowed lateness of a minute, where there is one, and beyond it."""


def level_of(home, kind):
    return home.engine.homes["h1"].sensors[kind].level


@pytest.mark.parametrize("by", BY)
def test_an_older_all_clear_does_not_end_the_smoke_that_was_said_since(home_with, by):
    """Closed while it burns: half an hour later it is a new alarm, whatever an old word of the detector's says."""
    home = home_with("smoke").reads(smoke=0).passes("1h").reads(smoke=1)
    home.says("smoke", "smoke", 0, observed_at=home.clock.at - by, flags=DEVICE_TIME)
    home.passes("1m").close("smoke")

    assert home.passes("31m").alarms() == [("smoke", "active")]


@pytest.mark.parametrize("by", [10 * SECOND, 20 * MINUTE])
def test_older_smoke_is_a_cry_and_does_not_burn_on_after_the_all_clear(home_with, by):
    home = home_with("smoke").reads(smoke=0).passes("1h").reads(smoke=0)
    home.says("smoke", "smoke", 1, observed_at=home.clock.at - by, flags=DEVICE_TIME)
    assert [rule_id for rule_id, _ in home.alarms()] == ["smoke"]
    home.passes("1m").close("smoke")

    assert home.passes("2h").alarms() == []


def test_smoke_of_the_same_second_as_the_all_clear_counts_as_it_came(home_with):
    """A device that counts in seconds: the later word is the newer one."""
    home = home_with("smoke").reads(smoke=0).reads(smoke=1)
    assert level_of(home, "smoke") == 1
    home.reads(smoke=0)
    assert level_of(home, "smoke") == 0


@pytest.mark.parametrize("lateness", LATENESS)
@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize(("newer", "older"), [(1, 0), (0, 1)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flags", [0, DEVICE_TIME, DEVICE_TIME | RETAINED])
def test_of_no_kind_an_older_level_overwrites_a_newer_one(kind, newer, older, by, lateness, flags):
    home = Home((), plan=plan_for(RULES, [Sensor(kind, kind, HOUR)], lateness=lateness))
    home.passes("1h").gives(kind, KINDS[kind], newer)
    home.says(kind, KINDS[kind], older, observed_at=home.clock.at - by, flags=flags)
    home.passes("5m")

    assert level_of(home, kind) == newer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", BY)
def test_an_older_level_overwrites_none_behind_a_word_of_something_else(kind, by):
    """The battery has spoken since: the level is no older for that."""
    home = Home((), plan=plan_for(RULES, [Sensor(kind, kind, HOUR)]))
    home.passes("1h").gives(kind, KINDS[kind], 1).passes("1s").gives(kind, "battery_pct", 80)
    home.says(kind, KINDS[kind], 0, observed_at=home.clock.at - by, flags=DEVICE_TIME)
    home.passes("5m")

    assert level_of(home, kind) == 1
