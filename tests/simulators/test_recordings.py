"""Converters on the excerpt that lies in the project, and on rows taken over by hand."""

import itertools
from collections import defaultdict

import pytest

from sensor_guard.clock import format_at, parse_at
from sensor_guard.model import DAY, HOUR, KIND_OF_QUANTITY, RANGES
from simulators.recordings import RECORDINGS, Dropped, Report, ordonez, sgsc, weusedto
from simulators.scenario import RECORDED
from tests.simulators.judge import alarms


def convert(reader, folder, **options):
    report = Report()
    readings = list(reader(folder, report, **options))
    times = [one.received_at for one in readings]
    assert times == sorted(times)
    assert all(RANGES[one.quantity][0] <= one.value <= RANGES[one.quantity][1] for one in readings)
    assert all(one.quantity in KIND_OF_QUANTITY for one in readings)
    return readings, report


def facts(readings, sensor_id=None):
    return [(format_at(one.observed_at), one.value) for one in readings if sensor_id in {None, one.sensor_id}]


def litres(readings, sensor_id, begins_at, ends_at):
    """Integrate flow: each value holds until the next one of its sensor."""
    own = [one for one in readings if one.sensor_id == sensor_id]
    total = 0.0
    for one, after in itertools.pairwise(own):
        begin, end = max(one.observed_at, begins_at), min(after.observed_at, ends_at)
        if end > begin:
            total += one.value * (end - begin) / 60_000
    return total


def test_every_row_of_the_excerpt_is_a_reading_or_counted():
    readings, report = convert(weusedto, RECORDED)
    assert report.rows == {
        "toilet": 7,
        "bidet": 764,
        "kitchenfaucet": 1094,
        "shower": 1012,
        "washbasin": 927,
        "washingmachine": 279,
        "wholehouse": 202,
    }
    assert set(report.dropped) == {("wholehouse", Dropped.NEGATIVE), ("wholehouse", Dropped.OUT_OF_RANGE)}
    flushes = 2 * report.rows["toilet"]  # each rises and falls
    taps = sum(count for sensor, count in report.rows.items() if sensor != "toilet")
    assert len(readings) == taps + flushes + sum(report.ends_added.values()) - sum(report.dropped.values())


def test_taps_count_millilitres_a_second():
    readings, _ = convert(weusedto, RECORDED)
    assert facts(readings, "shower")[0] == ("2020-08-29T22:03:25Z", 0.0)  # 1598738605 0.0
    assert ("2020-08-30T09:14:38Z", 0.9) in facts(readings, "washingmachine")  # 1598778878 15.0


def test_a_flush_is_twelve_litres_in_six_minutes():
    readings, _ = convert(weusedto, RECORDED)
    # 1598744658 12.0 1598745018
    assert facts(readings, "toilet")[:2] == [("2020-08-29T23:44:18Z", 2.0), ("2020-08-29T23:50:18Z", 0.0)]


def test_the_fixtures_together_use_what_the_meter_of_the_house_counted():
    """The evidence for the units: the only hours in which both were recorded without faults."""
    begins_at, ends_at = parse_at("2020-08-30T02:29:56Z"), parse_at("2020-08-30T11:14:37Z")
    readings, _ = convert(weusedto, RECORDED)
    fixtures = {one.sensor_id for one in readings} - {"wholehouse"}
    by_fixture = {sensor: litres(readings, sensor, begins_at, ends_at) for sensor in fixtures}
    with (RECORDED / "feed_WholeHouse.MYD.csv").open() as file:  # L/s, a mean since the row before
        rows = [(int(at) * 1_000, float(flow)) for at, flow in (line.split() for line in file)]
    house = sum(
        flow * (at - before) / 1_000
        for (before, _), (at, flow) in itertools.pairwise(rows)
        if begins_at <= at <= ends_at
    )
    assert house == pytest.approx(87, abs=0.01)
    assert by_fixture["toilet"] == pytest.approx(24)
    assert sum(by_fixture.values()) == pytest.approx(house, rel=0.05)


def test_water_that_nobody_closed_in_the_recording_ends_after_two_seconds(tmp_path):
    (tmp_path / "feed_Bidet.MYD.csv").write_text(
        "Time,Flow\r\n1550334979,92.0\r\n1550334980,6.0\r\n1550335912,38.0\r\n"
    )
    readings, report = convert(weusedto, tmp_path)
    assert facts(readings) == [
        ("2019-02-16T16:36:19Z", 5.52),
        ("2019-02-16T16:36:20Z", 0.36),
        ("2019-02-16T16:36:22Z", 0.0),
        ("2019-02-16T16:51:52Z", 2.28),
        ("2019-02-16T16:51:54Z", 0.0),
    ]
    assert report.ends_added == {"bidet": 2}


def test_all_ways_of_writing_a_file_are_read_alike(tmp_path):
    rows = ["1550056694 90.0", "1550056695 139.0", "1550056696 0.0"]
    names = ["feed_Shower.MYD.csv", "feed_Kitchenfaucet.MYD.csv", "feed_Bidet.MYD.csv"]
    texts = [
        "\n".join(rows),
        "Time Flow\n" + "\n".join(rows) + "\n",
        "Time,Flow\r\n" + "\r\n".join(rows).replace(" ", ","),
    ]
    for name, text in zip(names, texts, strict=True):
        (tmp_path / name).write_text(text)
    readings, report = convert(weusedto, tmp_path)
    assert facts(readings, "shower") == facts(readings, "kitchenfaucet") == facts(readings, "bidet")
    assert [value for _, value in facts(readings, "shower")] == [5.4, 8.34, 0.0]
    assert report.rows == {"shower": 3, "kitchenfaucet": 3, "bidet": 3}


def test_dirty_water_rows_are_dropped_with_their_reason(tmp_path):
    (tmp_path / "feed_Washbasin.MYD.csv").write_text(
        "1598271707 0.0\n0 0.0\n1598274225 nan\n1598274226 -3.0\n1598274227 5000.0\n1598274228\nx 1\n1598274230 0.0\n"
        "1598271700 1.0\n"
    )
    readings, report = convert(weusedto, tmp_path)
    assert facts(readings) == [("2020-08-24T12:21:47Z", 0.0), ("2020-08-24T13:03:50Z", 0.0)]
    assert report.dropped == {
        ("washbasin", Dropped.CLOCK_NOT_SET): 1,
        ("washbasin", Dropped.UNREADABLE): 3,
        ("washbasin", Dropped.NEGATIVE): 1,
        ("washbasin", Dropped.OUT_OF_RANGE): 1,
        ("washbasin", Dropped.BACKWARDS): 1,
    }
    assert next(iter(report.lines())).startswith("washbasin: 9 rows, dropped: 1 backwards, 1 clock_not_set, 1 negative")


def test_two_flushes_at_once_add_up(tmp_path):
    (tmp_path / "feed.Toilet.csv").write_text(
        'Time Flow "End time"\n1600000000 12.0 1600000360\n1600000169 12.0 1600000529\n1600001000 0.0 1600001360\n'
    )
    readings, report = convert(weusedto, tmp_path)
    assert [value for _, value in facts(readings)] == [2.0, 4.0, 2.0, 0.0]
    assert litres(readings, "toilet", 0, 2 * 10**12) == pytest.approx(24)
    assert report.dropped == {("toilet", Dropped.NO_VOLUME): 1}


def test_half_hours_of_energy_become_mean_power_at_their_end(tmp_path):
    (tmp_path / "customer_10006414.csv").write_text(
        "customer_id,reading_datetime,general_supply_kwh\n"
        "10006414,2012-02-10 08:00:00,0.141\n"
        "10006414,2012-02-10 08:30:00,0.088\n"
        "10006414,2012-02-10 09:00:00,\n"
        "10006414,2012-02-10 09:30:00,-1\n"
        "10006414,2012-02-10 10:00:00,900\n"
        "10006414,2012-02-10 07:00:00,0.1\n"
    )
    readings, report = convert(sgsc, tmp_path)
    assert {(one.home_id, one.sensor_id, one.quantity) for one in readings} == {("sgsc-10006414", "power", "power_w")}
    assert facts(readings) == [("2012-02-09T22:00:00Z", 282.0), ("2012-02-09T22:30:00Z", 176.0)]
    assert {reason: count for (_, reason), count in report.dropped.items()} == {
        Dropped.UNREADABLE: 1,
        Dropped.NEGATIVE: 1,
        Dropped.OUT_OF_RANGE: 1,
        Dropped.BACKWARDS: 1,
    }


def test_the_trials_meters_do_not_know_summer_time(tmp_path):
    """02:00 to 03:00 of 7 October 2012 does not exist in Sydney, and is in the recording."""
    (tmp_path / "customer_1.csv").write_text(
        "customer_id,reading_datetime,general_supply_kwh\n"
        + "".join(f"1,2012-10-07 0{h}:{m}:00,0.05\n" for h in (1, 2, 3) for m in ("00", "30"))
    )
    readings, _ = convert(sgsc, tmp_path)
    assert {b.observed_at - a.observed_at for a, b in itertools.pairwise(readings)} == {HOUR // 2}
    assert format_at(readings[0].observed_at) == "2012-10-06T15:00:00Z"


def test_movements_and_doors_begin_and_end_in_spanish_time(tmp_path):
    (tmp_path / "OrdonezA_Sensors.txt").write_text(
        "Start time          \tEnd time            \tLocation\tType\t\tPlace\n"
        "--------------------\t--------------------\t--------\t--------\t-----\n"
        "2011-11-28 02:27:59\t\t2011-11-28 10:18:11\t\tBed\t\t\tPressure\tBedroom\n"
        "2011-11-28 10:21:24\t\t2011-11-28 10:21:31\t\tCabinet\t\tMagnetic\tBathroom\n"
        "2011-11-28 10:21:44\t\t2011-11-28 10:23:31\t\tBasin\t\tPIR\t\t\tBathroom\n"
        "2011-11-28 10:23:02\t\t2011-11-28 10:23:02\t\tShower\t\tPIR\t\t\tBathroom\n"
        "2011-11-28 11:00:00\t\t2011-11-28 10:00:00\t\tBasin\t\tPIR\t\t\tBathroom\n"
        "not a time\t\t2011-11-28 10:00:00\t\tBasin\t\tPIR\t\t\tBathroom\n"
    )
    readings, report = convert(ordonez, tmp_path)
    assert [(format_at(one.observed_at), one.sensor_id, str(one.quantity), one.value) for one in readings] == [
        ("2011-11-28T09:21:24Z", "cabinet", "door_open", 1.0),
        ("2011-11-28T09:21:31Z", "cabinet", "door_open", 0.0),
        ("2011-11-28T09:21:44Z", "basin", "motion", 1.0),
        ("2011-11-28T09:23:02Z", "shower", "motion", 1.0),
        ("2011-11-28T09:23:02Z", "shower", "motion", 0.0),
        ("2011-11-28T09:23:31Z", "basin", "motion", 0.0),
    ]
    assert report.dropped == {
        ("bed", Dropped.NO_QUANTITY): 1,
        ("basin", Dropped.BACKWARDS): 1,
        ("basin", Dropped.UNREADABLE): 1,
    }


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_a_folder_without_the_recording_is_told(tmp_path, name):
    with pytest.raises(ValueError, match="give the folder"):
        list(RECORDINGS[name].open(tmp_path, Report()))


def test_the_flat_of_the_excerpt_raises_nothing():
    """Two ordinary days of a real person, fixture by fixture."""
    readings, _ = convert(weusedto, RECORDED)
    by_sensor = defaultdict(list)
    for one in readings:
        by_sensor[one.sensor_id].append(one)
    end = readings[0].observed_at + 2 * DAY
    assert [alarm for own in by_sensor.values() for alarm in alarms(own, end) if alarm[0] == "water_running"] == []


def test_the_excerpt_names_its_makers_and_its_licence():
    text = (RECORDED.parent / "ATTRIBUTION.md").read_text()
    assert "Anna Di Mauro" in text
    assert "https://creativecommons.org/licenses/by/4.0/" in text
    assert sum(path.stat().st_size for path in RECORDED.parent.rglob("*")) < 150_000
