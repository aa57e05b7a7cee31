"""Behind a commit: who is told first, and who is woken for what."""

import pytest

from sensor_guard.inbox import Work
from sensor_guard.model import CommandKind
from tests.core.conftest import plan
from tests.core.line import Bench


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path / "journal.db", plan("h1", "h2"))
    made.clock.passes("5s")
    made.turn()
    made.seen = []
    made.line.tellers.append(lambda: made.seen.append("tellers"))
    made.line.wakes.append(lambda: made.seen.append("wakes"))
    yield made
    made.off()


def test_a_call_for_help_is_handed_over_and_the_teller_woken_before_anybody_else_is_served(bench):
    submit, ack = bench.worker.submit, bench.subscriber.ack
    bench.worker.submit = lambda text: (bench.seen.append("text"), submit(text))
    bench.subscriber.ack = lambda messages: (bench.seen.append("ack"), ack(messages))
    bench.says("h1/panic", 1)
    bench.turn()

    assert bench.seen == ["text", "text", "tellers", "ack", "wakes"]


def test_readings_that_nobody_need_be_told_of_wake_only_who_copies_them(bench):
    for value in (80, 90, 3):
        bench.says("h1/power_w", value)
    bench.turn()

    assert bench.seen == ["wakes"]


def test_what_a_person_says_an_alarm_and_a_report_wake_the_tellers(bench):
    bench.asks(CommandKind.AWAY, "h1", until=bench.clock.now() + 60_000)
    bench.turn()
    assert bench.seen == ["tellers", "wakes"]

    for _ in ("the alarm", "its reports"):
        bench.seen.clear()
        if not bench.inbox.depth():
            bench.says("h1/smoke", 1)
        bench.turn()
        assert bench.seen == ["tellers", "wakes"]
    assert {row[2] for row in bench.outbox()} == {"delivered"}


def test_a_cursor_of_a_sink_wakes_nobody(bench):
    bench.inbox.put(Work(lambda batch: batch.save_cursor("influxdb", 1)))
    bench.turn()

    assert bench.seen == []


def test_texts_that_are_offered_to_the_second_way_wake_who_sends_them(bench):
    bench.worker.wants_backup = lambda _now: True
    bench.says("h1/power_w", 80)
    bench.turn()

    assert bench.seen == ["tellers", "wakes"]


def test_a_step_of_the_clock_is_followed_by_a_look_at_what_is_due(bench):
    shift = bench.worker.shift
    bench.worker.shift = lambda offset: (bench.seen.append("shift"), shift(offset))
    bench.clock.step(-3_600_000)
    bench.turn()

    assert bench.seen[bench.seen.index("shift") :][:2] == ["shift", "tellers"]
