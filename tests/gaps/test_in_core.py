"""The fault is an event in the journal, once, and a restart neither repeats nor forgets it."""

import pytest

from sensor_guard.gaps import QUIET
from sensor_guard.journal.errors import JournalFullError
from sensor_guard.model import DEVICE_TIME, Drained, LinkLost, LinkUp, Reading
from tests.core.conftest import Box, at, plan

RAISED = "gateway.device_gap.20260301T000110Z"


class CountingReader:
    """A payload is the device's number."""

    def route(self, message):
        seq, observed = int(message.payload), message.received_at
        return [Reading("h1", "power", "power_w", 80.0, observed, observed, seq, DEVICE_TIME)]


class CountingBox(Box):
    def on(self, now, **options):
        super().on(now, **options)
        self.core._reader = CountingReader()

    def hears(self, second, seq):
        return self.says(f"{second}s", "t", seq)


@pytest.fixture
def box(tmp_path):
    made = CountingBox(tmp_path / "journal.db", plan())
    yield made
    made.off()


def faults(box):
    return [alarm for alarm in box.alarms() if "device_gap" in alarm[0]]


def test_a_gap_is_an_alarm_of_the_box_when_it_can_no_longer_be_filled(box):
    for second, seq in enumerate((1, 2, 4, 5), 7):
        box.hears(second, seq)
    box.step("1m")
    assert not faults(box)

    box.step("70s")
    assert faults(box) == [(RAISED, "true", "unanswered")]
    assert box.core.counters.device_gaps == 1
    assert box.journal.reader.alarms()[0].evidence.detail == "h1/power 1"

    box.step(at("70s") + QUIET)
    assert faults(box) == [(RAISED, "false", "unanswered")]


def test_a_copy_fills_nothing_and_opens_nothing(box):
    for second, seq in ((1, 1), (2, 2)):
        box.hears(second, seq)
    box.step("3s", box.message("t", 2, at("2s"), duplicate=True))
    box.step("1h")
    assert not faults(box)


def test_a_refused_commit_counts_nothing_twice(box):
    box.hears(1, 1)
    box.journal.failing = 1
    turn = box.core.turn([box.message("t", 3, at("2s"))], at("2s"))
    with pytest.raises(JournalFullError):
        box.core.commit(turn)
    assert box.core.is_refused
    box.core.commit(turn)
    assert not box.core.is_refused
    box.step("3m")
    assert box.core.counters.device_gaps == 1
    assert len(faults(box)) == 1


def test_a_gap_that_was_told_as_blind_is_counted_only(box):
    box.hears(1, 1)
    box.step("1h", LinkUp(at("1h"), session_present=False, blind_from=at("1s")))
    box.says("61m", "t", 90)
    box.step("70m")
    assert box.core.counters.device_gaps == 88
    assert not faults(box)


def test_what_waits_while_the_disk_refuses_may_fill_a_gap(box):
    box.hears(1, 1)
    box.hears(2, 3)
    box.journal.failing = 1
    stuck = box.core.turn([box.message("t", 4, at("3s"))], at("3s"))
    with pytest.raises(JournalFullError):
        box.core.commit(stuck)
    joined = box.core.turn([LinkLost(at("3s"))], at("3m"))
    box.core.commit(stuck)
    box.core.commit(joined)
    box.step("181s", box.message("t", 2, at("1s")), Drained(at("181s")))
    box.step("10m")
    assert not faults(box)


@pytest.mark.parametrize("waited", [(), (3,)])
def test_what_waits_in_the_broker_may_fill_a_gap(box, waited):
    for second, seq in ((7, 1), (8, 2), (9, 4)):
        box.hears(second, seq)
    box.step("12s", LinkLost(at("10s")))
    box.step("10m")
    box.step("601s", *(box.message("t", seq, at("8s")) for seq in waited))
    assert not faults(box)

    box.step("602s", Drained(at("602s")))
    box.step("604s")
    assert len(faults(box)) == 1 - len(waited)


def test_a_restart_while_the_connection_is_gone_forgets_no_gap(box):
    for second, seq in ((7, 1), (8, 2), (9, 4)):
        box.hears(second, seq)
    box.step("12s", LinkLost(at("10s")))
    box.asks("5m", "away", "h1", until=at("2h"))
    box.off()
    box.on(at("6m"), blind_start=True)
    box.step("7m", Drained(at("7m")))
    box.step("8m")
    assert len(faults(box)) == 1


@pytest.mark.parametrize("restarted_at", ["12s", "65s", "2m"])
def test_a_restart_neither_repeats_nor_forgets_a_gap(box, restarted_at):
    for second, seq in ((7, 1), (8, 2), (9, 4)):
        box.hears(second, seq)
    if restarted_at == "2m":
        box.step("70s")
    box.off()
    box.on(at(restarted_at), blind_start=True)
    box.step("149s", Drained(at("149s")))
    box.says("150s", "t", 5)
    box.step("3m")
    box.step("5m")
    assert len(faults(box)) == 1
    assert len([row for row in box.trail() if "raised" in row]) == 1

    box.step(at("5m") + QUIET)
    assert faults(box)[0][1] == "false"
