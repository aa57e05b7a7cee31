"""Simulated homes: the same every time, sorted, alive, and far from every rule while nothing happens."""

import hashlib
import os
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise

import pytest

from sensor_guard.clock import local_time, parse_at
from sensor_guard.model import DAY, HOUR, MINUTE, RANGES
from simulators.homes import SENSORS, Home, live
from simulators.incidents import Incident, IncidentKind
from tests.simulators.judge import ZONE, alarms
from tests.simulators.places import CHECKOUT

START = parse_at("2026-03-01T00:00:00+08:00")  # a Sunday
WEEK = START + 7 * DAY


def facts(readings):
    return [(one.observed_at, one.sensor_id, str(one.quantity), one.value) for one in readings]


def test_the_same_seed_and_home_give_the_same_readings():
    assert list(Home("h1", 3).readings(START, WEEK)) == list(Home("h1", 3).readings(START, WEEK))


def test_the_readings_do_not_depend_on_pythons_hashing():
    program = (
        "import hashlib; from simulators.homes import Home; "
        f"r = list(Home('h1', 3).readings({START}, {START + DAY})); "
        "print(hashlib.sha256(repr([tuple(map(str, one)) for one in r]).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    here = [tuple(map(str, one)) for one in Home("h1", 3).readings(START, START + DAY)]
    assert digests == {hashlib.sha256(repr(here).encode()).hexdigest()}


def test_another_seed_or_home_gives_other_readings():
    weeks = {tuple(facts(Home(home_id, seed).readings(START, WEEK))) for home_id in ("h1", "h2") for seed in (1, 2)}
    assert len(weeks) == 4


def test_a_home_is_the_same_alone_and_among_others():
    city = [one for one in live([Home(f"h{n}") for n in range(4)], START, START + DAY) if one.home_id == "h2"]
    assert city == list(Home("h2").readings(START, START + DAY))


def test_a_home_is_the_same_wherever_the_data_begin():
    later = START + 3 * DAY + 9 * HOUR
    whole = [fact for fact in facts(Home("h1").readings(START, WEEK)) if fact[0] >= later]
    part = facts(Home("h1").readings(later, WEEK))[len(SENSORS) :]  # what each says when it is switched on
    assert part == whole


def test_a_stream_of_many_homes_is_sorted_by_time():
    readings = list(live([Home(f"h{n}") for n in range(5)], START, START + 2 * DAY))
    times = [one.received_at for one in readings]
    assert times == sorted(times)
    assert START <= readings[0].observed_at <= readings[-1].observed_at < START + 2 * DAY


def test_every_sensor_speaks_at_once_and_then_as_often_as_it_promises():
    heard = defaultdict(list)
    for one in Home("h1").readings(START, WEEK):
        heard[one.sensor_id].append(one.observed_at)
    for sensor in SENSORS:
        times = [*heard[sensor.sensor_id], WEEK]
        assert times[0] == START
        assert max(b - a for a, b in pairwise(times)) <= sensor.every, sensor.sensor_id


def test_each_sensor_counts_its_messages_without_a_gap():
    counts = defaultdict(list)
    for one in Home("h1").readings(START, WEEK):
        counts[one.sensor_id].append(one.seq)
    assert all(seqs == list(range(len(seqs))) for seqs in counts.values())


def test_all_values_are_such_as_household_sensors_give():
    for one in live([Home(f"h{n}") for n in range(5)], START, WEEK):
        low, high = RANGES[one.quantity]
        assert low <= one.value <= high
        assert one.observed_at % 1_000 == 0


def test_an_ordinary_life_stays_far_from_every_rule():
    """The bounds that the truth of the incidents stands on (see habits.py)."""
    for number in range(25):
        seen = {"power_w": START, "motion": START, "flow_l_min": START}
        limits = {"power_w": 11 * HOUR, "motion": 11 * HOUR, "flow_l_min": 20 * HOUR}
        runs, opened = None, None
        for one in Home(f"h{number}", seed=number).readings(START, START + 21 * DAY):
            at, value = one.observed_at, one.value
            if one.quantity in seen and value >= (5 if one.quantity == "power_w" else 0.1):
                assert at - seen[one.quantity] <= limits[one.quantity], one
                seen[one.quantity] = at
            if one.quantity == "flow_l_min":
                runs = (runs or at) if value > 0 else None
                assert runs is None or at - runs < 30 * MINUTE, one
            if one.quantity == "door_open":
                opened = (opened or at) if value else None
                assert opened is None or at - opened < 2 * MINUTE, one
                assert 6 <= local_time(at, ZONE).hour < 22 or value == 0
            assert one.quantity not in {"smoke", "panic"} or value == 0


def test_nothing_happens_to_a_home_without_incidents():
    for number in range(5):
        readings = list(Home(f"h{number}", seed=9).readings(START, WEEK))
        assert alarms(readings, WEEK) == []


def test_weekends_differ_from_working_days():
    """Out for most of a Sunday now and then; on working days never longer than three hours."""
    longest = {True: 0, False: 0}
    for number in range(12):
        left = None
        for one in Home(f"h{number}", seed=4).readings(START, START + 28 * DAY):
            if one.quantity == "motion" and one.value == 1:
                if left is not None:
                    sunday = local_time(left, ZONE).weekday() == 6
                    longest[sunday] = max(longest[sunday], one.observed_at - left)
                left = None
            elif one.quantity == "door_open" and one.value == 1 and left is None:
                left = one.observed_at
    assert longest[False] < 3 * HOUR < 4 * HOUR < longest[True]


@pytest.mark.parametrize(
    ("incident", "message"),
    [
        (Incident.of(IncidentKind.PANIC, "h2", START + DAY), "home h2 was given to home h1"),
        (Incident.of(IncidentKind.PANIC, "h1", START - DAY), "before the first day"),
    ],
)
def test_an_incident_must_belong_to_the_home_and_to_its_days(incident, message):
    with pytest.raises(ValueError, match=message):
        list(Home("h1", incidents=(incident,)).readings(START, WEEK))
