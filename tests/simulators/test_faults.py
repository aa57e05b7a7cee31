"""Faults do what they say, to as many as they say, and to nobody else."""

from collections import Counter
from itertools import pairwise

import pytest

from sensor_guard.clock import parse_at
from sensor_guard.model import DAY, DEVICE_TIME, HOUR, MINUTE, SECOND
from simulators.faults import (
    FORMS,
    DeadBattery,
    Delay,
    Drop,
    Duplicate,
    NoClock,
    Outage,
    Stuck,
    inject,
    parse_fault,
)
from simulators.homes import Home, live
from simulators.incidents import Incident, IncidentKind
from simulators.roster import observed_for, said_every

START = parse_at("2026-03-01T00:00:00+08:00")
END = START + 3 * DAY
HOMES = [Home(f"h{n}", seed=2) for n in range(4)]


@pytest.fixture(scope="module")
def clean():
    return list(live(HOMES, START, END))


def spoil(readings, *faults, seed=1):
    counts = Counter()
    spoilt = list(inject(readings, faults, seed=seed, counts=counts))
    times = [one.received_at for one in spoilt]
    assert times == sorted(times)
    return spoilt, counts


@pytest.mark.parametrize(
    "fault",
    [
        Drop(0.1),
        Duplicate(0.1),
        Delay(0.1),
        NoClock(0.5),
        Outage(START + DAY, START + DAY + HOUR, held=True),
        Stuck("h1", "power", START + DAY, END),
        DeadBattery("h1", "door", START + DAY, START + 2 * DAY),
    ],
)
def test_the_same_seed_spoils_the_same_readings(clean, fault):
    assert spoil(clean, fault) == spoil(clean, fault)


def test_a_fault_does_the_same_whatever_comes_after_it(clean):
    alone, _ = spoil(clean, Drop(0.1))
    followed, counts = spoil(clean, Drop(0.1), Duplicate(0.2))
    assert counts["dropped"] == len(clean) - len(alone)
    assert set(followed) >= set(alone)


def test_dropped_readings_are_counted_and_gone(clean):
    spoilt, counts = spoil(clean, Drop(0.05))
    assert counts == {"dropped": len(clean) - len(spoilt)}
    assert 0.04 < counts["dropped"] / len(clean) < 0.06
    assert set(spoilt) < set(clean)


def test_a_press_and_smoke_are_spared_unless_they_are_meant():
    incidents = (
        Incident.of(IncidentKind.PANIC, "h1", START + DAY),
        Incident.of(IncidentKind.SMOKE, "h1", START + 2 * DAY),
    )
    readings = list(Home("h1", incidents=incidents).readings(START, END))
    urgent = [one for one in readings if one.quantity in {"smoke", "panic"} and one.value == 1]
    assert len(urgent) == 2
    assert spoil(readings, Drop(1.0))[0] == urgent
    assert spoil(readings, Drop(1.0, urgent_too=True))[0] == []


def test_duplicates_come_after_their_original_and_change_nothing(clean):
    spoilt, counts = spoil(clean, Duplicate(0.1, within=20 * SECOND))
    assert counts == {"duplicated": len(spoilt) - len(clean)}
    assert 0.08 < counts["duplicated"] / len(clean) < 0.12
    keys = Counter((one.home_id, one.sensor_id, one.quantity, one.observed_at, one.seq, one.value) for one in spoilt)
    assert set(keys.values()) == {1, 2}
    assert len(keys) == len(clean)
    assert max(one.received_at - one.observed_at for one in spoilt) <= 20 * SECOND


def test_late_readings_keep_their_time_and_are_overtaken(clean):
    spoilt, counts = spoil(clean, Delay(0.1, up_to=3 * MINUTE))
    late = [one for one in spoilt if one.received_at > one.observed_at]
    assert counts == {"delayed": len(late)}
    assert max(one.received_at - one.observed_at for one in late) <= 3 * MINUTE
    assert sorted(one._replace(received_at=one.observed_at) for one in spoilt) == sorted(clean)
    overtaken = sum(b.observed_at < a.observed_at for a, b in pairwise(spoilt))
    assert overtaken > 100


def test_a_battery_runs_down_and_the_sensor_falls_silent(clean):
    begins_at, dies_at = START + DAY, START + 2 * DAY
    fault = DeadBattery("h1", "motion_bath", begins_at, dies_at)
    spoilt, counts = spoil(clean, fault)

    def of_it(readings):
        return [one for one in readings if (one.home_id, one.sensor_id) == ("h1", "motion_bath")]

    told = [one for one in of_it(spoilt) if one.quantity == "battery_pct" and one.observed_at >= begins_at]
    values = [one.value for one in told]
    assert values == sorted(values, reverse=True)
    assert values[0] > 38
    assert values[-1] < 6
    assert counts["battery_told"] == len(told)
    assert counts["silent"] == sum(one.observed_at >= dies_at for one in of_it(clean))
    assert max(one.observed_at for one in of_it(spoilt)) < dies_at
    others = [one for one in spoilt if (one.home_id, one.sensor_id) != ("h1", "motion_bath")]
    assert others == [one for one in clean if (one.home_id, one.sensor_id) != ("h1", "motion_bath")]


def test_the_truth_of_a_dead_battery_fits_its_readings(clean):
    fault = DeadBattery("h1", "motion_bath", START + DAY, START + 2 * DAY)
    record = fault.truth(every=said_every("motion_bath"), observed_for=observed_for("motion_bath"))
    low, silent = record.expect
    spoilt = [one for one in spoil(clean, fault)[0] if (one.home_id, one.sensor_id) == ("h1", "motion_bath")]
    first_low = next(one.observed_at for one in spoilt if one.quantity == "battery_pct" and one.value < 15)
    assert (low.rule_id, silent.rule_id) == ("battery_low", "sensor_silent")
    assert low.earliest <= first_low <= low.latest
    assert silent.earliest <= spoilt[-1].observed_at + observed_for("motion_bath") <= silent.latest


def test_a_stuck_sensor_says_what_it_last_said(clean):
    begins_at, ends_at = START + DAY, START + 2 * DAY
    spoilt, counts = spoil(clean, Stuck("h2", "power", begins_at, ends_at))
    assert len(spoilt) == len(clean)
    power = [one for one in spoilt if (one.home_id, one.sensor_id) == ("h2", "power")]
    last = [one.value for one in power if one.observed_at < begins_at][-1]
    assert {one.value for one in power if begins_at <= one.observed_at < ends_at} == {last}
    assert len({one.value for one in power if one.observed_at >= ends_at}) > 10
    assert counts["stuck"] == sum(a != b for a, b in zip(clean, spoilt, strict=True))


def test_a_sensor_without_a_clock_never_sends_a_time_and_stays_so(clean):
    spoilt, counts = spoil(clean, NoClock(0.3), Delay(0.5))
    clockless = {(one.home_id, one.sensor_id) for one in spoilt if not one.flags & DEVICE_TIME}
    timed = {(one.home_id, one.sensor_id) for one in spoilt if one.flags & DEVICE_TIME}
    assert clockless
    assert timed
    assert not clockless & timed
    assert counts["without_time"] == sum((one.home_id, one.sensor_id) in clockless for one in clean)
    assert all(one.observed_at == one.received_at for one in spoilt if not one.flags & DEVICE_TIME)


def test_what_an_outage_loses_is_gone(clean):
    begins_at, ends_at = START + DAY, START + DAY + 6 * HOUR
    spoilt, counts = spoil(clean, Outage(begins_at, ends_at))
    assert spoilt == [one for one in clean if not begins_at <= one.received_at < ends_at]
    assert counts == {"lost_in_outage": len(clean) - len(spoilt)}


def test_what_an_outage_holds_back_comes_after_it_in_order(clean):
    begins_at, ends_at = START + DAY, START + DAY + 6 * HOUR
    spoilt, counts = spoil(clean, Outage(begins_at, ends_at, held=True, home_id="h3"))
    held = [one for one in spoilt if one.received_at == ends_at and one.observed_at < ends_at]
    assert counts == {"held_in_outage": len(held)}
    assert {one.home_id for one in held} == {"h3"}
    assert [one.observed_at for one in held] == sorted(one.observed_at for one in held)
    assert sorted(one._replace(received_at=one.observed_at) for one in spoilt) == sorted(clean)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("drop=0.02", Drop(0.02)),
        ("duplicate=0.1", Duplicate(0.1)),
        ("duplicate=0.1,5s", Duplicate(0.1, 5 * SECOND)),
        ("delay=0.1,10m", Delay(0.1, 10 * MINUTE)),
        ("no_clock=1", NoClock(1.0)),
        ("outage,2026-03-01T08:00:00Z,2026-03-01T09:00:00Z,held", "held"),
        ("stuck,h1,power,2026-03-01T08:00:00Z,2026-03-01T09:00:00Z", "stuck"),
        ("dead_battery,h1,door,2026-03-01T08:00:00Z,2026-03-02T08:00:00Z", "dead"),
    ],
)
def test_a_fault_is_read_from_a_command_line(text, fault):
    start, end = parse_at("2026-03-01T08:00:00Z"), parse_at("2026-03-01T09:00:00Z")
    placed = {
        "held": Outage(start, end, held=True),
        "stuck": Stuck("h1", "power", start, end),
        "dead": DeadBattery("h1", "door", start, start + DAY),
    }
    assert parse_fault(text) == (placed[fault] if isinstance(fault, str) else fault)


@pytest.mark.parametrize("text", ["", "drop", "drop=", "drop=2", "drop=0.1,2,3", "lose=0.1", "stuck,h1", "drop=nan"])
def test_a_wrong_fault_is_told_with_the_way_out(text):
    with pytest.raises(ValueError, match=r"write (one of|a number)") as error:
        parse_fault(text)
    assert FORMS[0] in str(error.value) or "0.02" in str(error.value)
