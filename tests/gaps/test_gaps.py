"""Numbers that never came: told once, and nothing told that is not missing."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor_guard.gaps import FOLD, JUMP_LIMIT, LATE_AT_LEAST, QUIET, Gaps
from sensor_guard.model import DEVICE_TIME, HOUR, MINUTE, SECOND, Fault, Reading

START = 1_772_323_200_000
LATENESS = 5 * MINUTE
STEP = SECOND


class Line:
    """A device that counts, and what becomes of its readings."""

    def __init__(self, *, has_time=True, gaps=None):
        self.gaps = gaps or Gaps()
        self.has_time = has_time
        self.now = START
        self.told = []

    def hears(self, *seqs, sensor="meter", observed_at=None):
        for seq in seqs:
            self.now += STEP
            at = self.now if observed_at is None or not self.has_time else observed_at
            flags = DEVICE_TIME if self.has_time else 0
            self.gaps.saw(Reading("h1", sensor, "power_w", 1.0, at, self.now, seq, flags))
        return self

    def permuted(self, numbered):
        """Hear (number, seq) in this order; the number is the device's own time."""
        for number, seq in numbered:
            self.hears(seq, observed_at=START - 10 * HOUR + number * STEP)
        return self

    def passes(self, span):
        self.now += span
        self.told += self.gaps.settle(self.now, LATENESS)
        return self

    @property
    def missing(self):
        return self.gaps.missing_count


with_and_without_a_clock = pytest.mark.parametrize("has_time", [True, False])


@with_and_without_a_clock
def test_a_number_that_never_comes_is_told_once_when_it_can_no_longer_come(has_time):
    line = Line(has_time=has_time).hears(1, 2, 4, 5)
    line.passes(LATENESS - 10 * SECOND)
    assert not line.told

    line.passes(10 * SECOND)
    assert line.told == [Fault("device_gap", active=True, at=line.now, detail="h1/meter 1")]
    assert line.missing == 1

    line.passes(MINUTE).passes(MINUTE)
    assert len(line.told) == 1


@with_and_without_a_clock
def test_a_late_reading_fills_its_hole(has_time):
    line = Line(has_time=has_time).hears(1, 2, 5).hears(4, observed_at=START).hears(3, observed_at=START)
    assert not line.passes(LATENESS + MINUTE).told
    assert line.missing == 0


def test_several_quantities_of_one_message_share_its_number():
    gaps = Gaps()
    for seq in range(5):
        for quantity in ("power_w", "battery_pct"):
            at = START + seq * STEP
            gaps.saw(Reading("h1", "meter", quantity, 1.0, at, at, seq, DEVICE_TIME))
    assert not gaps.settle(START + HOUR, LATENESS)
    assert gaps.missing_count == 0


@with_and_without_a_clock
def test_a_reboot_is_no_gap_and_what_is_missing_before_and_after_it_is(has_time):
    line = Line(has_time=has_time).hears(98, 99, 101, 0, 1, 2, 4)
    line.passes(LATENESS + MINUTE)
    assert line.missing == 2


@with_and_without_a_clock
@pytest.mark.parametrize("top", [1, 7, 100, 70_000])
def test_a_reboot_at_any_count_is_no_gap(has_time, top):
    line = Line(has_time=has_time).hears(top, top + 1, 0, 1, 2, 3).passes(LATENESS + MINUTE)
    assert line.missing == 0


def test_old_readings_that_come_late_after_a_reboot_fill_the_old_holes():
    line = Line().hears(98, 100, 0, 1).hears(99, observed_at=START).hears(2, 3)
    assert not line.passes(LATENESS + MINUTE).told


def test_old_readings_without_a_time_that_come_too_late_make_no_new_gap():
    line = Line(has_time=False).hears(*range(1, 5), 8, 9, 10).passes(LATENESS + MINUTE)
    assert line.missing == 3
    line.hears(5, 6, 7, 11, 12).passes(LATENESS + MINUTE)
    assert line.missing == 3


@with_and_without_a_clock
def test_the_second_wrap_is_one_like_the_first(has_time):
    line = Line(has_time=has_time).hears(*range(250, 256), *range(253))
    line.hears(254, 255, 1, 2, 3).passes(LATENESS)
    assert line.missing == 2


@pytest.mark.parametrize("width", [1 << 8, 1 << 16, 1 << 32])
@with_and_without_a_clock
def test_a_counter_that_wraps_is_no_gap_and_what_is_missing_around_it_is(width, has_time):
    def seqs(first, last):
        return [n % width for n in range(width + first, width + last)]

    assert Line(has_time=has_time).hears(*seqs(-5, 5)).passes(HOUR).missing == 0
    lost = [n for n in seqs(-5, 5) if n not in (width - 1, 0)]
    assert Line(has_time=has_time).hears(*lost).passes(HOUR).missing == 2
    late = seqs(-5, 5)
    late[4], late[5] = late[5], late[4]
    assert Line(has_time=False).hears(*late).passes(HOUR).missing == 0


def test_of_a_leap_only_so_much_is_counted():
    assert Line().hears(1, 10**12).passes(HOUR).missing == JUMP_LIMIT


def test_what_was_told_as_not_observed_is_counted_and_not_told_again():
    line = Line().hears(1, 2)
    begun = line.now
    line.passes(HOUR)
    line.gaps.blind(begun, line.now)
    line.hears(50, 51).passes(HOUR)
    assert (line.missing, line.told) == (47, [])

    line.hears(53).passes(HOUR)
    assert (line.missing, len(line.told)) == (48, 1)


def test_a_burst_is_one_fault_that_names_the_worst_and_ends_by_itself():
    line = Line()
    for sensor in "abcdefg":
        line.hears(1, sensor=sensor)
    for place, sensor in enumerate("abcdefg"):
        line.hears(3 + place, sensor=sensor)
    line.passes(LATENESS)
    assert [fault.detail for fault in line.told] == ["h1/g 7, h1/f 6, h1/e 5, h1/d 4 and 3 more"]

    for _ in range(10):
        line.hears(100, sensor="a").hears(102 + _, sensor="a").passes(MINUTE)
    assert len(line.told) == 1
    line.passes(FOLD)
    assert [fault.active for fault in line.told] == [True, True]
    for _ in range(QUIET // MINUTE):
        line.passes(MINUTE)
    assert [fault.active for fault in line.told] == [True, True, False]
    line.passes(QUIET)
    assert len(line.told) == 3


def test_a_step_of_the_clock_moves_what_is_waited_for():
    line = Line().hears(1, 3)
    line.gaps.shift(-2 * HOUR)
    line.now -= 2 * HOUR
    line.passes(LATENESS - 10 * SECOND)
    assert not line.told
    line.passes(10 * SECOND)
    assert len(line.told) == 1


def test_devices_that_are_no_longer_configured_are_forgotten():
    line = Line().hears(1, 3, sensor="gone").hears(1, 3)
    line.gaps.keep({("h1", "meter")})
    assert line.passes(HOUR).missing == 1
    assert list(line.gaps._tracks) == [("h1", "meter")]


# -- for every order ---------------------------------------------------------------------------------------------------


def shuffled(seed, count, reach):
    """Give numbers from 0 on, none of them more than ``reach`` places from its own."""
    rng = random.Random(seed)
    return sorted(range(count), key=lambda number: number + rng.uniform(0, reach))


@given(st.integers(), st.integers(0, 1_000), st.integers(1, 40), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_order_within_the_lateness_is_no_gap(seed, first, reach, has_time):
    line = Line(has_time=has_time)
    # The lowest comes first: what was before it is nobody's.
    order = [0, *(number for number in shuffled(seed, 120, reach) if number)]
    line.permuted((number, first + number) for number in order)
    assert not line.passes(HOUR).told
    assert line.missing == 0


@given(
    st.integers(), st.integers(0, 1_000), st.integers(1, 20), st.sets(st.integers(1, 118), max_size=30), st.booleans()
)
@settings(max_examples=300, deadline=None)
def test_whatever_is_missing_is_counted_once_in_any_order(seed, first, reach, lost, has_time):
    line = Line(has_time=has_time)
    order = [0, *(number for number in shuffled(seed, 119, reach) if number and number not in lost), 119]
    line.permuted((number, first + number) for number in order)
    for _ in range(3):
        line.passes(HOUR)
    assert line.missing == len(lost)
    assert len([fault for fault in line.told if fault.active]) == (1 if lost else 0)


@given(st.integers(), st.sets(st.integers(1, 118), max_size=20), st.integers(1, 118), st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_a_restart_neither_invents_nor_hides_a_gap(seed, lost, cut, reach):
    order = [0, *(number for number in shuffled(seed, 119, reach) if number and number not in lost), 119]
    line = Line()
    rows = []
    saw = line.gaps.saw
    line.gaps.saw = lambda reading: (rows.append(reading), saw(reading))
    line.permuted((number, number) for number in order[:cut])
    line.passes(LATENESS // 2)
    told_before = line.missing

    after = Line()
    after.now = line.now
    after.gaps.restore(rows, rows[-1:], line.now, LATENESS)
    after.permuted((number, number) for number in order[cut:])
    after.passes(HOUR).passes(HOUR)
    assert told_before + after.missing == len(lost)


def test_short_latenesses_still_leave_a_minute():
    gaps = Gaps()
    for seq in (1, 3):
        gaps.saw(Reading("h1", "meter", "power_w", 1.0, START, START, seq, DEVICE_TIME))
    assert not gaps.settle(START + LATE_AT_LEAST - 1, 0)
    assert gaps.settle(START + LATE_AT_LEAST + SECOND, 0)


REBOOTS = st.tuples(
    st.integers(), st.sampled_from([50, 100, 1_000]), st.integers(3, 12), st.integers(0, 1), st.integers(1, 5)
)


def over_a_reboot(seed, first, before, begins, reach, *, lost=()):
    """Give (number, seq) of a device that is switched off and on, in another order; the first one comes first."""
    seqs = [*range(first, first + before), *range(begins, begins + 40)]
    order = [number for number in shuffled(seed, len(seqs), reach) if number and number not in lost]
    return [(number, seqs[number]) for number in (0, *order)]


@given(REBOOTS, st.booleans())
@settings(max_examples=400, deadline=None)
def test_any_order_over_a_reboot_is_no_gap(reboot, has_time):
    line = Line(has_time=has_time).permuted(over_a_reboot(*reboot))
    assert not line.passes(HOUR).told
    assert line.missing == 0


@given(REBOOTS, st.sets(st.integers(24, 36), min_size=1))
@settings(max_examples=200, deadline=None)
def test_what_is_missing_after_a_reboot_is_counted_in_any_order(reboot, lost):
    line = Line().permuted(over_a_reboot(*reboot, lost=lost))
    line.passes(HOUR)
    assert line.missing == len(lost)


@with_and_without_a_clock
@pytest.mark.parametrize("order", [[0, 1, 4, 2, 5, 3, 6, 7], [0, 1, 5, 4, 2, 3, 6, 7], [0, 2, 5, 1, 4, 3, 7, 6]])
def test_the_last_of_the_old_count_may_come_among_the_first_of_the_new(order, has_time):
    seqs = [97, 98, 99, 100, *range(12)]
    line = Line(has_time=has_time).permuted((number, seqs[number]) for number in [*order, 9, 8, 10, 11, 12, 14, 13, 15])
    line.passes(LATENESS + MINUTE)
    assert line.missing == 0
