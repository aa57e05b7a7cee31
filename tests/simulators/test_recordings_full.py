"""Converters on the whole recordings (marker ``recordings``; see places.py for where they lie and when this runs)."""

from collections import Counter

import pytest

from sensor_guard.clock import format_at
from sensor_guard.model import RANGES
from simulators.recordings import Dropped, Report, ordonez, sgsc, weusedto
from tests.simulators.places import ELECTRICITY, MOTION, VARIABLE, WATER, recordings_folder

pytestmark = pytest.mark.recordings


def convert(reader, name):
    folder = recordings_folder() / name
    assert folder.is_dir(), f"{folder} is missing, though {VARIABLE} says where the recordings are"
    report, counts, latest = Report(), Counter(), 0
    first = last = None
    for one in reader(folder, report):
        assert one.received_at >= latest
        low, high = RANGES[one.quantity]
        assert low <= one.value <= high
        latest = one.received_at
        first, last = first or one, one
        counts[one.home_id, one.sensor_id] += 1
    return report, counts, format_at(first.observed_at), format_at(last.observed_at)


def test_all_of_the_water():
    report, counts, first, last = convert(weusedto, WATER)
    assert sum(report.rows.values()) == 671_362
    assert dict(report.dropped) == {
        ("toilet", Dropped.NO_VOLUME): 4,
        ("washbasin", Dropped.CLOCK_NOT_SET): 1,
        ("wholehouse", Dropped.NEGATIVE): 1_126,
        ("wholehouse", Dropped.OUT_OF_RANGE): 1_154,
    }
    assert counts["weusedto", "shower"] == 170_181 + report.ends_added["shower"]
    assert counts["weusedto", "dishwasher"] == 2 * 52
    assert (first, last) == ("2019-02-13T08:56:09Z", "2020-11-03T17:21:23Z")


def test_all_of_the_electricity():
    report, counts, first, last = convert(sgsc, ELECTRICITY)
    assert counts == {
        ("sgsc-10006414", "power"): 36_061,
        ("sgsc-10006704", "power"): 30_273,
        ("sgsc-10017562", "power"): 29_902,
        ("sgsc-10017994", "power"): 29_913,
        ("sgsc-10018064", "power"): 30_722,
    }
    assert not report.dropped
    assert (first, last) == ("2012-02-09T22:00:00Z", "2014-03-03T02:00:00Z")


def test_all_of_the_movements():
    report, counts, first, last = convert(ordonez, MOTION)
    assert {sensor: count for (_, sensor), count in counts.items()} == {
        "basin": 140,
        "shower": 28,
        "cooktop": 26,
        "maindoor": 62,
        "fridge": 112,
        "cabinet": 32,
        "cupboard": 68,
    }
    assert {sensor for sensor, reason in report.dropped if reason is Dropped.NO_QUANTITY} == {
        "bed", "seat", "toilet", "microwave", "toaster"
    }  # fmt: skip
    assert sum(report.dropped.values()) == 175
    assert first == "2011-11-28T09:21:24Z"
    assert last < "2011-12-12T00:00:00Z"
