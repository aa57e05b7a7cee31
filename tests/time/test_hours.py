"""The hour of the day: in every zone, on the days when the clocks change, and not at all while nobody knows it."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from sensor_guard.engine import snapshot
from sensor_guard.engine.conditions import in_window, next_edge
from sensor_guard.model import DAY, HOUR, MINUTE, ClockKnown, ClockStepped, CommandKind
from sensor_guard.testing import START, Home
from tests.spec.conftest import RULES
from tests.time.world import EPOCH

DOOR = [rule for rule in RULES if rule.rule_id == "door_open_night"]
ZONES = [
    "Africa/Cairo", "Africa/Casablanca", "Africa/El_Aaiun", "America/Adak", "America/Anchorage", "America/Asuncion",
    "America/Chicago", "America/Denver", "America/Godthab", "America/Halifax", "America/Havana",
    "America/Los_Angeles", "America/Mexico_City", "America/Miquelon", "America/New_York", "America/Nuuk",
    "America/Phoenix", "America/Port-au-Prince", "America/Punta_Arenas", "America/Santiago", "America/Scoresbysund",
    "America/St_Johns", "America/Tijuana", "Antarctica/McMurdo", "Antarctica/Troll", "Asia/Amman", "Asia/Beirut",
    "Asia/Damascus", "Asia/Famagusta", "Asia/Gaza", "Asia/Hong_Kong", "Asia/Jerusalem", "Asia/Kathmandu",
    "Asia/Kolkata", "Asia/Nicosia", "Asia/Shanghai", "Asia/Tehran", "Asia/Tokyo", "Atlantic/Azores",
    "Atlantic/Bermuda", "Australia/Adelaide", "Australia/Brisbane", "Australia/Lord_Howe", "Australia/Sydney",
    "Europe/Athens", "Europe/Berlin", "Europe/Chisinau", "Europe/Dublin", "Europe/Kyiv", "Europe/Lisbon",
    "Europe/London", "Europe/Moscow", "Europe/Paris", "Pacific/Apia", "Pacific/Auckland", "Pacific/Chatham",
    "Pacific/Easter", "Pacific/Fiji", "Pacific/Honolulu", "Pacific/Kiritimati", "Pacific/Norfolk",
    "Pacific/Tongatapu", "UTC",
]  # fmt: skip
WINDOWS = [(22 * 60, 6 * 60), (90, 150), (0, 30), (23 * 60 + 30, 30), (2 * 60 + 30, 2 * 60 + 45), (0, 24 * 60 - 1)]


def changes(zone: ZoneInfo, year: int) -> list[int]:
    """Find the instants at which a zone's clocks change in a year, to the minute."""
    found = []
    start = datetime(year, 1, 1, tzinfo=UTC)
    for day in range(366):
        low, high = start + timedelta(days=day), start + timedelta(days=day + 1)
        if low.astimezone(zone).utcoffset() == high.astimezone(zone).utcoffset():
            continue
        while high - low > timedelta(minutes=1):
            middle = low + (high - low) / 2
            is_before = middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset()
            low, high = (middle, high) if is_before else (low, middle)
        found.append(round(high.timestamp()) // 60 * MINUTE)
    return found


@pytest.mark.parametrize("name", ZONES)
def test_the_window_is_what_the_clock_on_the_wall_shows(name):
    """Two days around each change, minute by minute, against the reading of the clock itself: no edge is missed."""
    zone = ZoneInfo(name)
    moments = [at for year in (2024, 2026) for at in changes(zone, year)] or [START]
    for change in moments:
        for between in WINDOWS:
            edges, at = set(), change - DAY
            while at < change + DAY:
                at = next_edge(at, between, zone)
                edges.add(at)
            minutes = range(change - DAY, change + DAY, MINUTE)
            for before, after in pairwise(minutes):
                if in_window(before, between, zone) != in_window(after, between, zone):
                    turned = [edge for edge in edges if before < edge <= after]
                    # An hour that comes twice, or not at all, turns the window where the clock jumps.
                    assert turned or (after - change) // MINUTE in (0, 1), (name, between, after)


def test_more_than_fifty_zones_are_swept():
    assert len(set(ZONES)) >= 60
    assert sum(bool(changes(ZoneInfo(name), 2026)) for name in ZONES) >= 35


def night(zone: str, local: str, **more) -> Home:
    """A home whose door opens at this local time."""
    start = round(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone), **more).timestamp()) * 1_000
    home = Home(DOOR, start=start - HOUR)
    home.plan = home.plan.__class__(home.plan.rules, home.plan.homes, 0, ZoneInfo(zone), zone)
    home.engine.plan = home.plan
    home.engine.homes["h1"].zone = ZoneInfo(zone)
    for watch in home.engine.homes["h1"].watches:
        watch.wakes_at = next_edge(home.clock.at, watch.rule.condition.between, ZoneInfo(zone))
    home.start = start
    home.passes("1h")
    return home.reads(door_open=1)


@pytest.mark.parametrize(
    ("zone", "opened", "fold"),
    [
        ("Europe/Berlin", "2026-10-25T01:30", 0),  # 02:30 comes twice
        ("Europe/Berlin", "2026-10-25T02:15", 0),
        ("Europe/Berlin", "2026-10-25T02:15", 1),
        ("Europe/London", "2026-10-25T01:30", 0),  # 01:30 comes twice
        ("America/New_York", "2026-03-08T01:45", 0),  # 02:30 does not come
        ("Europe/Berlin", "2026-03-29T01:45", 0),
        ("America/Havana", "2026-03-07T23:45", 0),  # midnight does not come
        ("America/Asuncion", "2024-10-05T23:45", 0),
        ("Asia/Beirut", "2026-03-28T23:45", 0),
        ("Australia/Lord_Howe", "2026-04-05T01:20", 0),  # half an hour
        ("Asia/Shanghai", "2026-03-02T23:00", 0),
    ],
)
def test_half_an_hour_at_night_is_half_an_hour_of_time_whatever_the_clocks_do(zone, opened, fold):
    home = night(zone, opened, fold=fold)
    assert home.passes("29m").alarms() == []
    assert home.passes("1m").alarms() == [("door_open_night", "active")]
    assert home.raised() == [("door_open_night", "0h30m")]


def test_without_a_believable_clock_the_night_is_unknown_neither_day_nor_night():
    """A box that booted in 1970: a door may stand open; whether it is night nobody knows."""
    home = Home(DOOR)  # 00:00 UTC: night
    home.feed(ClockKnown(home.clock.at, known=False))
    home.reads(door_open=1)
    assert home.passes("20h").alarms() == []
    home.feed(ClockKnown(home.clock.at, known=True))
    assert home.passes("1h59m").alarms() == []  # 20:00 to 21:59 is day
    assert home.passes("30m").alarms() == []
    assert home.passes("1m").alarms() == [("door_open_night", "active")]
    assert home.open_alarm("door_open_night").evidence.observed_for == 30 * MINUTE


def test_a_hold_that_runs_when_the_hour_is_lost_pauses_and_goes_on():
    home = Home(DOOR).reads(door_open=1).passes("20m")
    home.feed(ClockKnown(home.clock.at, known=False))
    home.passes("1h")
    home.feed(ClockKnown(home.clock.at, known=True))
    assert home.passes("9m").alarms() == []
    assert home.passes("1m").alarms() == [("door_open_night", "active")]
    evidence = home.open_alarm("door_open_night").evidence
    assert (evidence.observed_for, evidence.blind_for) == (30 * MINUTE, HOUR)


def test_what_needs_no_hour_of_the_day_does_not_wait():
    home = Home([rule for rule in RULES if rule.rule_id in ("panic", "electricity_low")])
    home.feed(ClockKnown(home.clock.at, known=False))
    home.reads(panic=1).reads(power_w=3, every="5m").passes("12h")
    assert home.alarms() == [("panic", "active"), ("electricity_low", "active")]


def lose_the_clock(home, offset):
    """As the daemon tells it when a box boots in 1970."""
    before = home.clock.at
    home.clock.at += offset
    home.feed(ClockKnown(before, known=False), ClockStepped(before, offset))


def find_the_clock(home, offset):
    before = home.clock.at
    home.clock.at += offset
    home.feed(ClockStepped(before, offset), ClockKnown(before + offset, known=True))


def test_an_absence_ends_though_the_clock_shows_1970():
    """By the wall clock it would last for 56 years, and the rules would rest for as long."""
    home = Home([rule for rule in RULES if rule.rule_id == "electricity_low"])
    home.reads(power_w=3, every="5m")
    home.away(until="6h")
    home.passes("1h").silent()
    lose_the_clock(home, EPOCH)
    home.reads(power_w=3, every="5m").passes("4h59m")
    assert home.engine.homes["h1"].is_away
    home.passes("1m")
    assert not home.engine.homes["h1"].is_away
    assert home.passes("12h").alarms() == [("electricity_low", "active")]


def test_until_six_is_six_by_the_clock_once_the_clock_is_right():
    home = Home(RULES)
    six = home.clock.at + 6 * HOUR
    home.away(until="6h")
    home.command(CommandKind.MUTE, "electricity_low", until="8h", note="plumber")
    home.passes("1h")
    lose_the_clock(home, EPOCH)
    home.passes("1h")
    # Two hours have passed, and the box was off for one more.
    find_the_clock(home, -EPOCH + HOUR)
    inside = home.engine.homes["h1"]
    assert (inside.away_until, inside.muted_until) == (six, {"electricity_low": six + 2 * HOUR})
    home.passes("2h59m")
    assert inside.is_away
    home.passes("1m")
    assert not inside.is_away


def test_what_is_said_while_the_clock_is_wrong_is_counted_from_then():
    home = Home(RULES)
    home.away(until="6h")
    lose_the_clock(home, EPOCH)
    home.away(until="3h")
    home.passes("1h")
    find_the_clock(home, -EPOCH)
    home.passes("1h59m")
    assert home.engine.homes["h1"].is_away
    home.passes("1m")
    assert not home.engine.homes["h1"].is_away


def test_a_restart_keeps_what_is_known_of_the_clock():
    home = Home(RULES).reads(door_open=1)
    home.away(until="6h")
    lose_the_clock(home, EPOCH)
    row = snapshot.save_home(home.engine.homes["h1"])
    again = snapshot.load_home(home.engine, home.plan.homes[0], row)
    assert not again.clock_known
    assert again.as_said == home.engine.homes["h1"].as_said != {}
    assert snapshot.save_link(home.engine)["clock_known"] is False
    assert snapshot.save_home(again) == row
