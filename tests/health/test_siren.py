"""A critical alarm that nobody can be told of is loud on the box."""

import json

import pytest

from sensor_guard.errors import JournalError
from sensor_guard.model import CommandKind, NotificationState
from sensor_guard.outward import STORE, Command, Siren, Untold
from tests.core.conftest import Box, at, plan

SCRIPT = """\
#!/bin/sh
input=$(cat)
env | grep -c SECRET >> {folder}/secrets
echo "$SENSOR_GUARD_STATE $SENSOR_GUARD_UNTOLD $input" >> {folder}/calls
{more}
"""


class State:
    def __init__(self):
        self.found: list[str] = []
        self.stalled = False
        self.error = False

    def find(self):
        if self.error:
            raise JournalError("no")
        return self.found


@pytest.fixture
def state():
    return State()


@pytest.fixture
def untold(state, monotonic):
    return Untold(state.find, lambda: state.stalled, monotonic=monotonic)


@pytest.fixture
def hook(tmp_path, untold, monotonic, monkeypatch):
    """Makes a siren with a real script; ``calls()`` gives what it was called with."""
    monkeypatch.setenv("SENSOR_GUARD_SECRET", "SECRET")

    def build(more="", timeout=30_000):
        path = tmp_path / "siren"
        path.write_text(SCRIPT.format(folder=tmp_path, more=more))
        path.chmod(0o755)
        siren = Siren(untold, Command((str(path),), timeout, 300_000), monotonic=monotonic)

        def calls():
            file = tmp_path / "calls"
            return file.read_text().splitlines() if file.exists() else []

        return siren, calls

    return build


def run(siren, monotonic, seconds):
    end = monotonic.at + seconds
    while monotonic.at < end:
        monotonic.at += siren.step(0)


def test_after_a_minute_it_begins_repeats_and_ends(state, hook, monotonic, tmp_path):
    siren, calls = hook()
    state.found = ["h1.panic.x"]
    run(siren, monotonic, 60)
    assert calls() == []
    run(siren, monotonic, 310)
    words = [line.split(" ", 2) for line in calls()]
    assert [(word, count) for word, count, _ in words] == [("begin", "1"), ("repeat", "1")]
    assert json.loads(words[0][2]) == {"state": "begin", "untold": ["h1.panic.x"]}
    state.found = []
    run(siren, monotonic, 300)
    assert [line.split()[0] for line in calls()] == ["begin", "repeat", "end"]
    assert set((tmp_path / "secrets").read_text().split()) == {"0"}


def test_what_is_told_within_the_minute_makes_no_noise(state, hook, monotonic):
    siren, calls = hook()
    siren._is_on = False
    for _ in range(10):
        state.found = ["h1.panic.x"]
        run(siren, monotonic, 50)
        state.found = []
        run(siren, monotonic, 10)
    assert calls() == []


def test_a_siren_that_a_crash_left_on_is_told_to_end(hook, monotonic):
    siren, calls = hook()
    run(siren, monotonic, 300)
    assert [line.split()[0] for line in calls()] == ["end"]


def test_nothing_can_be_stored_or_read(state, untold, monotonic):
    for name in ("stalled", "error"):
        setattr(state, name, True)
        untold.look()
        monotonic.at += 61
        untold.look()
        assert untold.words == (STORE,)
        setattr(state, name, False)
        untold.look()
        assert untold.words == ()


@pytest.mark.parametrize(("more", "timeout"), [("exit 3", 30_000), ("sleep 600 & sleep 600", 200)])
def test_a_command_that_fails_or_hangs_is_ended_and_tried_again(state, hook, monotonic, more, timeout):
    siren, calls = hook(more, timeout)
    state.found = ["h1.panic.x"]
    run(siren, monotonic, 100)
    assert [line.split()[0] for line in calls()] == ["begin", "begin"]
    assert siren.failed_count == 2


def test_a_command_that_is_not_there_ends_nothing(state, untold, monotonic):
    siren = Siren(untold, Command(("/nowhere/siren",), 1_000, 300_000), monotonic=monotonic)
    state.found = ["h1.panic.x"]
    run(siren, monotonic, 120)
    assert siren.failed_count >= 1


# -- which alarms are untold, from a real journal


@pytest.fixture
def box(tmp_path):
    made = Box(tmp_path / "journal.db", plan("h1", rules=("panic", "electricity_low")))
    yield made
    made.off()


def untold_of(box):
    return [alarm_id.split(".")[1] for alarm_id in box.journal.reader.untold()]


def test_a_text_that_waits_is_untold_until_somebody_has_it(box):
    box.says("1s", "h1/panic", 1)
    assert untold_of(box) == ["panic"]
    texts = box.step("2s", room=10).leased
    assert untold_of(box) == ["panic"]
    box.reports("3s", texts[0], NotificationState.ACCEPTED, receipt_id="r")
    assert untold_of(box) == []


def test_failed_for_everybody_is_untold_and_a_person_who_answers_ends_it(box):
    box.says("1s", "h1/panic", 1)
    for n in range(6):
        for text in box.step(f"{2 + n}m", room=10).leased:
            box.reports(f"{2 + n}m1s", text, NotificationState.FAILED)
    assert untold_of(box) == ["panic"]
    alarm_id = box.journal.reader.untold()[0]
    box.asks("20m", CommandKind.ACKNOWLEDGE, alarm_id)
    assert untold_of(box) == []


def test_a_reminder_that_does_not_get_out_is_untold_again(box):
    box.says("1s", "h1/panic", 1)
    for text in box.step("2s", room=10).leased:
        box.reports("3s", text, NotificationState.DELIVERED)
    assert untold_of(box) == []
    box.step("4m")
    assert untold_of(box) == ["panic"]


def test_a_test_and_a_warning_are_no_siren(box):
    box.asks("1s", CommandKind.TEST_MODE, "h1", until=at("1h"))
    box.says("2s", "h1/panic", 1)
    box.says("3s", "h1/power_w", 3)
    assert untold_of(box) == []
