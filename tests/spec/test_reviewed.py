"""Scenarios that a second pair of eyes found; each was wrong once."""

import pytest

from sensor_guard.engine.plan import Sensor
from sensor_guard.model import (
    DEVICE_TIME,
    HOUR,
    ClockStepped,
    CommandKind,
    Drained,
    LinkLost,
    LinkUp,
    PlanChanged,
    Reading,
)
from sensor_guard.testing import Home, plan_for
from tests.spec.conftest import GATEWAY_RULES, RULES


def named(*rule_ids):
    return [rule for rule in RULES + GATEWAY_RULES if rule.rule_id in rule_ids]


def pirs(*names):
    return [Sensor(name, "motion", 200 * HOUR) for name in names]


def test_a_sensor_that_never_spoke_and_is_taken_out_stops_holding_the_rule_back():
    home = Home(named("no_movement"), pirs("m1", "m2")).reads(sensor="m1", motion=1).passes("1h")
    home.plan = plan_for(named("no_movement"), pirs("m1"))
    home.feed(PlanChanged("other", home.clock.at))
    home.passes("12h")
    assert home.alarms() == [("no_movement", "active")]


def test_a_sensor_that_is_added_and_never_speaks_holds_the_rule_back():
    home = Home(named("no_movement"), pirs("m1")).reads(sensor="m1", motion=1).passes("1h")
    home.plan = plan_for(named("no_movement"), pirs("m1", "m2"))
    home.feed(PlanChanged("other", home.clock.at))
    assert home.passes("100h").alarms() == []


def test_a_device_whose_clock_is_slow_is_observed_all_the_same():
    plan = plan_for(named("electricity_low", "sensor_silent"), [Sensor("m", "power", HOUR)], lateness=5_000)
    home = Home((), plan=plan)
    for _ in range(13 * 12):
        home.says("m", "power_w", 3.0, observed_at=home.clock.at - 10_000).passes("5m")
    assert home.alarms() == [("electricity_low", "active")]


def test_a_real_alarm_that_recurs_in_test_mode_stays_real(home):
    home.reads(panic=1).passes("2m")
    home.acknowledge("panic")
    home.command(CommandKind.TEST_MODE, until="15m", by="keeper1")
    home.passes("5m").reads(panic=1).passes("20m")
    assert home.alarms() == [("panic", "active")]


def test_after_a_step_back_of_the_clock_a_press_is_still_a_cry(home_with):
    home = home_with("panic").reads(panic=1).passes("1m")
    home.close("panic")
    before = home.clock.at
    home.clock.at -= HOUR
    home.feed(ClockStepped(before, -HOUR))
    assert home.passes("10m").reads(panic=1).alarms() == [("panic", "active")]


def test_a_press_that_arrives_after_the_closing_is_a_cry_of_its_own(home_with):
    home = home_with("panic").reads(panic=1).passes("5m")
    home.close("panic")
    home.passes("10s")
    home.says("panic", "panic", 1, observed_at=home.clock.at - 15_000)
    assert [rule for rule, _ in home.alarms()] == ["panic"]


def test_smoke_whose_all_clear_was_lost_is_new_smoke(home_with):
    home = home_with("smoke").reads(smoke=1).passes("5m")
    home.close("smoke", "false_alarm")
    lost = home.clock.at
    home.feed(LinkLost(lost))
    home.passes("3m")
    home.feed(LinkUp(home.clock.at, session_present=False, blind_from=lost), Drained(home.clock.at))
    assert home.passes("5m").reads(smoke=1).alarms() == [("smoke", "active")]


def test_what_a_mute_held_back_rises_though_it_could_not_be_seen_when_the_mute_ended(home_with):
    home = home_with("water_running").reads(flow_l_min=6, every="1m", until="3h")
    home.command(CommandKind.MUTE, "water_running", until="4h30m", note="plumber")
    home.passes("5h")
    assert home.alarms() == []
    assert home.reads(flow_l_min=6).alarms() == [("water_running", "active")]


def test_a_hold_that_completed_in_test_mode_is_real_when_the_test_ends(home_with):
    home = home_with("electricity_low").reads(power_w=3, every="5m").passes("11h30m")
    home.command(CommandKind.TEST_MODE, until="1h")
    home.passes("59m")
    assert home.texts() == []
    home.passes("1m")
    assert home.alarms() == [("electricity_low", "active")]
    assert home.texts() == [("worker1", "alarm")]


def test_an_undated_movement_from_the_brokers_queue_disproves(home_with):
    home = home_with("no_movement").reads(motion=1).passes("11h30m")
    lost = home.clock.at
    home.feed(LinkLost(lost))
    home.passes("1h")
    now = home.clock.at
    home.feed(LinkUp(now, session_present=True))
    home.feed(Reading("h1", "motion", "motion", 1.0, now, now))
    home.feed(Drained(now))
    assert home.passes("11h").raised() == []


def test_lost_again_before_everything_was_handed_over_the_whole_gap_is_blind(home_with):
    home = home_with("no_movement").reads(motion=1).passes("10h")
    home.feed(LinkLost(home.clock.at))
    home.passes("6h")
    home.feed(LinkUp(home.clock.at, session_present=True))
    home.passes("3s")
    again = home.clock.at
    home.feed(LinkLost(again))
    home.passes("1m")
    home.feed(LinkUp(home.clock.at, session_present=False, blind_from=again), Drained(home.clock.at))
    assert home.passes("1h59m").raised() == []
    home.passes("5m")
    assert [rule for rule, _ in home.raised()] == ["no_movement"]


def test_a_stretch_that_proves_blind_afterwards_undoes_no_alarm(home_with):
    """Two hours before the connection was lost the dead broker had something that it never handed over."""
    home = home_with("no_movement").reads(motion=1).passes("13h")
    raised = home.raised()
    assert [rule for rule, _ in raised] == ["no_movement"]
    lost = home.clock.at
    home.feed(LinkLost(lost))
    home.passes("1h")
    home.feed(LinkUp(home.clock.at, session_present=False, blind_from=lost - 2 * HOUR), Drained(home.clock.at))
    home.passes("1h")
    assert home.raised() == raised
    assert home.alarms() == [("no_movement", "active")]


def test_a_hold_counts_until_the_box_stood_still_though_the_last_proof_is_older(home_with):
    """The stretch in the journal begins with the proof; what was decided by then does not hang on how far we looked."""
    home = home_with("no_movement").reads(motion=1).passes("10h")
    lost = home.clock.at
    home.feed(LinkLost(lost))
    home.passes("1h")
    home.feed(LinkUp(home.clock.at, session_present=False, blind_from=lost - HOUR), Drained(home.clock.at))
    assert home.passes("1h59m").raised() == []
    home.passes("1m")
    assert home.raised() == [("no_movement", "13h0m")]


def test_a_message_of_before_a_step_back_takes_its_place_now(home_with):
    home = home_with("water_running").reads(flow_l_min=6)
    before = home.clock.at
    home.clock.at -= HOUR
    home.feed(ClockStepped(before, -HOUR))
    home.feed(Reading("h1", "water", "flow_l_min", 3.0, before, before))
    home.passes("1m").reads(flow_l_min=0)
    assert home.passes("3h").alarms() == []


def test_a_second_sensor_that_its_gateway_calls_offline_asks_again(home_with):
    home = home_with("sensor_silent", sensors=pirs("m1", "m2")).says("m1", "link", 0)
    home.acknowledge("sensor_silent", by="keeper1")
    home.passes("1h").says("m2", "link", 0)
    assert home.alarms() == [("sensor_silent", "active")]


@pytest.mark.parametrize("observed_for", [HOUR, 20 * HOUR], ids=["speaks every hour", "speaks when it changes"])
def test_a_fresh_reading_that_overtakes_the_brokers_queue_decides_nothing(observed_for):
    """mosquitto 2.0.11 hands over some of what is published as we come back before what has waited for hours."""
    home = Home(named("electricity_low", "sensor_silent"), [Sensor("power", "power", observed_for)]).reads(power_w=3)
    lost = home.clock.at
    home.feed(LinkLost(lost))
    home.passes("13h")
    now = home.clock.at
    home.feed(LinkUp(now, session_present=True))
    home.feed(Reading("h1", "power", "power_w", 2.0, now, now, flags=DEVICE_TIME))
    for hours in range(1, 26):
        at = lost + hours * HOUR // 2
        home.feed(Reading("h1", "power", "power_w", 60.0 if hours % 2 else 2.0, at, now, flags=DEVICE_TIME))
    home.feed(Drained(now))
    assert home.passes("30s").raised() == []
