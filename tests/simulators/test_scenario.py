"""The demo's night: what is promised happens, nothing else does, and it is over in time."""

from collections import defaultdict

from sensor_guard.clock import format_at, local_time
from sensor_guard.config.homes import read_homes
from sensor_guard.model import MINUTE, Kind
from simulators import scenario
from simulators.recordings import Report, weusedto
from simulators.roster import write_homes
from tests.simulators.judge import alarms


def by_home():
    homes = defaultdict(list)
    for one in scenario.readings():
        homes[one.home_id].append(one)
    return homes


def test_six_simulated_homes_and_a_recorded_one_speak():
    homes = by_home()
    assert set(homes) == {*scenario.HOMES, scenario.RECORDED_HOME}
    assert len(homes) == 7


def test_one_elders_electricity_stays_low_and_another_presses_the_button():
    fired = {home_id: alarms(readings, scenario.ENDS_AT) for home_id, readings in by_home().items()}
    ((rule, at),) = fired.pop(scenario.QUIET_HOME)
    assert rule == "electricity_low"
    assert 0 <= at - scenario.QUIET_FROM - 12 * 60 * MINUTE <= 11 * MINUTE
    assert fired.pop(scenario.PRESSING_HOME) == [("panic", scenario.PRESSED_AT)]
    assert set(map(tuple, fired.values())) == {()}


def test_the_truth_says_so():
    expected = [(record.home_id, one.rule_id) for record in scenario.truth() for one in record.expect]
    assert expected == [(scenario.QUIET_HOME, "electricity_low"), (scenario.PRESSING_HOME, "panic")]
    assert all(not record.may for record in scenario.truth())


def test_the_light_comes_back_before_the_end():
    readings = by_home()[scenario.QUIET_HOME]
    after = [one for one in readings if one.quantity == "power_w" and one.observed_at > scenario.QUIET_UNTIL]
    assert max(one.value for one in after) > 100


def test_twelve_hours_take_a_minute_and_the_whole_less_than_two():
    assert 12 * 3_600 / scenario.FACTOR == 60
    assert scenario.LASTS / 1_000 / scenario.FACTOR < 110


def test_the_recorded_home_keeps_its_hours_of_the_day():
    original = {
        (one.sensor_id, one.value, format_at(one.observed_at + 2 * 60 * MINUTE)[11:])  # Naples in summer
        for one in weusedto(scenario.RECORDED, Report())
    }
    shifted = list(scenario.recorded())
    assert len(shifted) > 1_000
    assert sum(one.value > 0 for one in shifted) > 500
    for one in shifted:
        local = local_time(one.observed_at, scenario.ZONE)
        assert (one.sensor_id, one.value, f"{local:%H:%M:%S}Z") in original


def test_its_list_of_homes_is_complete_and_readable(tmp_path):
    rows = scenario.rows()
    spoken = {(one.home_id, one.sensor_id) for one in scenario.readings()}
    assert {(row.home, row.sensor) for row in rows} == spoken
    write_homes(tmp_path / "homes.csv", rows)
    problems = []
    homes = read_homes(tmp_path / "homes.csv", problems)
    assert problems == []
    assert homes.warnings == ()
    assert {sensor.kind for sensor in homes.entries[scenario.RECORDED_HOME].sensors} == {Kind.WATER}


def test_every_message_can_be_told_from_every_other():
    keys = [(one.home_id, one.sensor_id, one.quantity, one.observed_at, one.seq) for one in scenario.readings()]
    assert len(keys) == len(set(keys))
    assert min(one.seq for one in scenario.readings()) == 0
