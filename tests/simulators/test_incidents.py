"""Incidents and their truth: what is said to happen does happen, and nothing else should fire."""

import json
from itertools import pairwise
from random import Random

import pytest

from sensor_guard.clock import parse_at
from sensor_guard.model import DAY, HOUR, MINUTE, SECOND
from simulators.homes import Home
from simulators.incidents import LASTS, Incident, IncidentKind, parse_span, scatter
from tests.simulators.judge import ZONE, alarms

START = parse_at("2026-03-01T00:00:00+08:00")
END = START + 9 * DAY
NOON = START + 3 * DAY + 12 * HOUR
GONE = [IncidentKind.COLLAPSE, IncidentKind.HOLIDAY, IncidentKind.HOLIDAY_ANNOUNCED]


def home_with(kind, at=NOON, lasts=None, seed=1):
    incident = Incident.of(kind, "h1", at, lasts)
    home = Home("h1", seed, incidents=(incident,))
    return incident, home, list(home.readings(START, END))


def during(readings, incident, margin=0):
    return [one for one in readings if incident.begins_at + margin < one.observed_at < incident.ends_at]


@pytest.mark.parametrize("kind", GONE)
def test_nobody_stirs_while_somebody_lies_or_is_gone(kind):
    incident, _, readings = home_with(kind)
    quiet = during(readings, incident, margin=10 * MINUTE)  # the meter's last five minutes, the door behind one
    assert quiet, "the sensors go on"
    assert all(one.value == 0 for one in quiet if one.quantity in {"motion", "flow_l_min", "door_open", "panic"})
    assert all(one.value < 5 for one in quiet if one.quantity == "power_w")
    assert {one.sensor_id for one in quiet} >= {"power", "water", "motion_living", "motion_bath", "door", "panic"}


def test_the_last_movement_water_and_light_come_right_before_a_collapse():
    incident, _, readings = home_with(IncidentKind.COLLAPSE)
    before = [one for one in readings if incident.begins_at - 5 * MINUTE <= one.observed_at <= incident.begins_at]
    assert any(one.quantity == "motion" and one.value == 1 for one in before)
    assert any(one.quantity == "flow_l_min" and one.value > 0 for one in before)


def test_somebody_comes_when_a_collapse_ends():
    incident, _, readings = home_with(IncidentKind.COLLAPSE)
    after = [one for one in readings if incident.ends_at <= one.observed_at <= incident.ends_at + 15 * MINUTE]
    assert any(one.quantity == "door_open" and one.value == 1 for one in after)
    assert any(one.quantity == "power_w" and one.value > 5 for one in after)


def test_low_power_leaves_movement_and_water_as_they_were():
    incident, _, readings = home_with(IncidentKind.POWER_LOW)
    low = during(readings, incident, margin=10 * MINUTE)
    assert all(one.value < 5 for one in low if one.quantity == "power_w")
    assert any(one.quantity == "motion" and one.value == 1 for one in low)
    assert any(one.quantity == "flow_l_min" and one.value > 0 for one in low)


def test_a_tap_left_on_never_stops_in_between():
    incident, _, readings = home_with(IncidentKind.TAP_LEFT_ON)
    flows = [one.value for one in during(readings, incident) if one.quantity == "flow_l_min"]
    assert flows
    assert min(flows) > 0.1


@pytest.mark.parametrize("kind", list(IncidentKind))
def test_a_home_away_is_the_only_one_that_needs_no_alarm(kind):
    at = START + 3 * DAY + 23 * HOUR if kind is IncidentKind.DOOR_OPEN_NIGHT else NOON
    _, home, _ = home_with(kind, at)
    (record,) = home.truth(END)
    announced = kind is IncidentKind.HOLIDAY_ANNOUNCED
    assert bool(record.expect) is not announced
    assert record.away is announced


@pytest.mark.parametrize("kind", list(IncidentKind))
def test_what_should_fire_follows_from_the_readings_and_nothing_else_does(kind):
    """The truth against a naive reading of the stream, at odd times of the day."""
    rng = Random(f"times of {kind}")
    for seed in range(12):
        at = START + 2 * DAY + rng.randrange(2 * DAY // SECOND) * SECOND
        if kind is IncidentKind.DOOR_OPEN_NIGHT:
            at = START + 3 * DAY + rng.randrange(18 * 3_600, 28 * 3_600) * SECOND  # 18:00 to 04:00
        lasts = 6 * HOUR if kind is IncidentKind.DOOR_OPEN_NIGHT else None
        _, home, readings = home_with(kind, at, lasts, seed)
        (record,) = home.truth(END)
        fired = alarms(readings, END)
        if record.away:  # nobody has told the judge
            assert {rule for rule, _ in fired} == {"electricity_low", "no_movement", "water_none"}
            continue
        assert [rule for rule, _ in fired] == [one.rule_id for one in sorted(record.expect, key=lambda e: e.latest)]
        for rule, when in fired:
            (expected,) = [one for one in record.expect if one.rule_id == rule]
            assert expected.earliest <= when <= expected.latest


def test_what_is_under_way_when_the_data_end_may_fire_or_not():
    incident = Incident.of(IncidentKind.COLLAPSE, "h1", NOON)
    home = Home("h1", incidents=(incident,))
    (record,) = home.truth(NOON + 12 * HOUR + 5 * MINUTE)
    assert [one.rule_id for one in record.expect] == ["no_movement"]
    assert [one.rule_id for one in record.may] == ["electricity_low"]
    assert home.truth(NOON) == []


def test_a_short_incident_is_no_alarm():
    incident = Incident.of(IncidentKind.TAP_LEFT_ON, "h1", NOON, HOUR)
    (record,) = Home("h1", incidents=(incident,)).truth(END)
    assert (record.expect, record.may) == ((), ())


def test_a_door_left_open_at_dusk_counts_from_the_beginning_of_the_night():
    dusk = parse_at("2026-03-03T20:00:00+08:00")
    incident = Incident.of(IncidentKind.DOOR_OPEN_NIGHT, "h1", dusk, 4 * HOUR)
    (record,) = Home("h1", incidents=(incident,)).truth(END)
    assert record.expect[0].earliest == parse_at("2026-03-03T22:30:00+08:00")


def test_scattered_incidents_leave_two_days_of_peace_and_come_back_with_the_seed():
    homes = [f"h{n}" for n in range(40)]
    found = scatter(homes, START, START + 90 * DAY, seed=5, every=10 * DAY, zone=ZONE)
    assert found == scatter(homes, START, START + 90 * DAY, seed=5, every=10 * DAY, zone=ZONE)
    assert {one.kind for one in found} == set(IncidentKind)
    for home in homes:
        own = [one for one in found if one.home_id == home]
        assert all(b.begins_at - a.ends_at >= 2 * DAY for a, b in pairwise(own))
        assert all(one.begins_at >= START + DAY and one.ends_at < START + 88 * DAY for one in own)


def test_months_with_scattered_incidents_raise_what_the_truth_says():
    end = START + 40 * DAY
    homes = [f"h{n}" for n in range(10)]
    found = scatter(homes, START, end, seed=8, every=5 * DAY, zone=ZONE)
    assert len(found) > 20
    for home_id in homes:
        home = Home(home_id, 8, incidents=tuple(one for one in found if one.home_id == home_id))
        windows = [one for record in home.truth(end) if not record.away for one in (*record.expect, *record.may)]
        away = [(one.begins_at, one.ends_at) for one in home.truth(end) if one.away]
        fired = [
            (rule, at)
            for rule, at in alarms(home.readings(START, end), end)
            if not any(begins <= at <= ends for begins, ends in away)
        ]
        assert len(fired) == len(windows)
        for rule, at in fired:
            assert any(one.rule_id == rule and one.earliest <= at <= one.latest for one in windows), (home_id, rule)


def test_a_truth_record_is_a_line_that_machines_read():
    (record,) = Home("h1", incidents=(Incident.of(IncidentKind.PANIC, "h1", NOON),)).truth(END)
    assert json.loads(record.as_json()) == {
        "home_id": "h1",
        "incident": "panic",
        "from": "2026-03-04T04:00:00Z",
        "until": "2026-03-04T04:00:00Z",
        "expect": [{"rule_id": "panic", "earliest": "2026-03-04T04:00:00Z", "latest": "2026-03-04T04:01:00Z"}],
        "may": [],
        "away": False,
    }


def test_an_incident_is_read_from_a_command_line():
    text = "collapse, home-003, 2026-03-03T09:10:00+08:00, 16h"
    begins_at = parse_at("2026-03-03T09:10:00+08:00")
    assert Incident.parse(text) == Incident(IncidentKind.COLLAPSE, "home-003", begins_at, begins_at + 16 * HOUR)
    usual = Incident.parse("tap_left_on,home-003,2026-03-03T09:10:00+08:00")
    assert usual.ends_at - usual.begins_at == LASTS[IncidentKind.TAP_LEFT_ON]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fall,h1,2026-03-03T09:10:00+08:00", "KIND is one of collapse"),
        ("collapse,h1", "write KIND,HOME,TIME"),
        ("collapse,h1,2026-03-03T09:10:00", "no time zone"),
        ("collapse,h1,2026-03-03T09:10:00Z,long", "write a span such as"),
    ],
)
def test_a_wrong_incident_is_told_with_the_way_out(text, message):
    with pytest.raises(ValueError, match=message):
        Incident.parse(text)


@pytest.mark.parametrize(("text", "span"), [("45s", 45_000), ("30m", 1_800_000), ("1.5h", 5_400_000), ("2d", 2 * DAY)])
def test_a_span_is_read(text, span):
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "12", "h", "-1h", "12 hours"])
def test_a_wrong_span_is_told(text):
    with pytest.raises(ValueError, match="span"):
        parse_span(text)
