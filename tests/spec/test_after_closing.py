"""Smoke that goes on after its alarm was closed rises again half an hour later, without another word from it."""

from sensor_guard.model import HOUR, ClockStepped, CommandKind, Drained, LinkLost, LinkUp
from sensor_guard.testing import Home


def closed_while_burning(home_with) -> Home:
    home = home_with("smoke").reads(smoke=1).passes("5m")
    home.close("smoke", "false_alarm")
    return home


def test_smoke_that_goes_on_rises_again_after_half_an_hour_by_itself(home_with):
    home = closed_while_burning(home_with)
    assert home.passes("29m59s").alarms() == []
    assert home.passes("1s").alarms() == [("smoke", "active")]
    assert home.texts()[-2:] == [("worker1", "alarm"), ("family1", "alarm")]
    (seen,) = home.open_alarm("smoke").evidence.sensors
    assert (seen.value, seen.at, seen.observed) == (1.0, home.start, True)


def test_smoke_that_ended_meanwhile_does_not(home_with):
    home = closed_while_burning(home_with).passes("29m").reads(smoke=0)
    assert home.passes("2h").alarms() == []


def test_a_detector_that_is_no_longer_observed_raises_with_its_next_word(home_with):
    home = home_with("smoke").reads(smoke=1).passes("24h45m")
    home.close("smoke", "false_alarm")
    assert home.passes("1h").alarms() == []
    assert home.reads(smoke=1).alarms() == [("smoke", "active")]


def test_while_the_box_is_blind_it_does_not(home_with):
    home = closed_while_burning(home_with).passes("10m")
    lost = home.clock.at
    home.feed(LinkLost(lost))
    home.passes("1h")
    home.feed(LinkUp(home.clock.at, session_present=False, blind_from=lost), Drained(home.clock.at))
    assert home.passes("1h").alarms() == []
    assert home.reads(smoke=1).alarms() == [("smoke", "active")]


def test_a_second_word_before_and_after_makes_one_alarm_and_not_two(home_with):
    home = closed_while_burning(home_with).passes("20m").reads(smoke=1)
    assert home.alarms() == []
    home.passes("20m").reads(smoke=1)
    assert home.raised() == [("smoke", "0h0m"), ("smoke", "0h35m")]


def test_it_rises_each_time_that_it_is_closed(home_with):
    home = closed_while_burning(home_with).passes("30m")
    home.close("smoke", "false_alarm")
    assert home.passes("30m").raised() == [("smoke", "0h0m"), ("smoke", "0h35m"), ("smoke", "1h5m")]


def test_half_an_hour_is_half_an_hour_when_the_clock_is_set(home_with):
    home = closed_while_burning(home_with).passes("10m")
    before = home.clock.at
    home.clock.at += HOUR
    home.feed(ClockStepped(before, HOUR))
    assert home.passes("19m").alarms() == []
    assert home.passes("1m").alarms() == [("smoke", "active")]


def test_in_test_mode_it_is_a_test(home_with):
    home = closed_while_burning(home_with).passes("25m")
    texts = len(home.texts())
    home.command(CommandKind.TEST_MODE, until="10m")
    home.passes("6m")
    assert home.open_alarm("smoke").evidence.test
    assert len(home.texts()) == texts
