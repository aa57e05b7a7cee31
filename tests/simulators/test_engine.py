"""The program itself on simulated homes: it raises what the truth says, when it says, and nothing else."""

import pytest

from sensor_guard.clock import parse_at
from sensor_guard.config import plan_for_unknown_homes
from sensor_guard.model import DAY, HOUR
from sensor_guard.replay import Replay
from simulators import scenario
from simulators.faults import DeadBattery, inject
from simulators.homes import SENSORS, Home, live
from simulators.incidents import Incident, IncidentKind
from simulators.roster import observed_for, said_every

START = parse_at("2026-03-01T00:00:00+08:00")
END = START + 6 * DAY


def raised(readings, sensors, **options):
    plan = plan_for_unknown_homes(sensors, zone_name="Asia/Shanghai", **options)
    found = []

    def tell(transition, alarm):
        if transition.reason == "raised":
            found.append((alarm.home_id, alarm.rule_id, alarm.raised_at))

    Replay(plan, tell).run(readings)
    return found


def sensors_of(home_id):
    return [(home_id, sensor.sensor_id, str(sensor.quantity)) for sensor in SENSORS]


def must_match(found, truth):
    """Each alarm in one window of its own, each window with its alarm."""
    open_windows = [(record.home_id, one) for record in truth for one in record.expect]
    for home_id, rule_id, at in found:
        fitting = [
            (home, one)
            for home, one in open_windows
            if (home, one.rule_id) == (home_id, rule_id) and one.earliest <= at <= one.latest
        ]
        assert fitting, (home_id, rule_id, at)
        open_windows.remove(fitting[0])
    assert open_windows == []


@pytest.mark.parametrize("kind", [one for one in IncidentKind if one is not IncidentKind.HOLIDAY_ANNOUNCED])
def test_an_incident_raises_what_the_truth_says(kind):
    homes = [
        Home(f"h{hour}", hour, incidents=(Incident.of(kind, f"h{hour}", START + DAY + hour * HOUR),))
        for hour in (23, 33, 43)  # late in the evening, in the morning, at supper
    ]
    truth = [record for home in homes for record in home.truth(END)]
    assert truth
    sensors = [sensor for home in homes for sensor in sensors_of(home.home_id)]
    must_match(raised(live(homes, START, END), sensors), truth)


def test_a_dead_battery_is_told_and_never_taken_for_a_person_in_need():
    fault = DeadBattery("h1", "motion_living", START + DAY, START + 2 * DAY)
    also = DeadBattery("h1", "motion_bath", START + DAY, START + 2 * DAY)
    readings = inject(Home("h1").readings(START, END), [fault, also], seed=1)
    waits = {("h1", sensor.sensor_id): observed_for(sensor.sensor_id) for sensor in SENSORS}
    found = raised(readings, [*sensors_of("h1")], observed_for=waits)
    expected = [
        one.truth(every=said_every(one.sensor_id), observed_for=waits["h1", one.sensor_id]) for one in (fault, also)
    ]
    assert {rule for _, rule, _ in found} == {"battery_low", "sensor_silent"}
    for _, rule_id, at in found:
        assert any(
            one.rule_id == rule_id and one.earliest <= at <= one.latest for record in expected for one in record.expect
        )


def test_the_demos_night_raises_two_alarms():
    readings = list(scenario.readings())
    sensors = {(one.home_id, one.sensor_id, str(one.quantity)) for one in readings}
    must_match(raised(iter(readings), sensors), scenario.truth())
