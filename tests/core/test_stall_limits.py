"""A stall that lasts until no more may join: ladders climb on, and the copy passes nothing over."""

import pytest

from sensor_guard import stall
from sensor_guard.model import CommandKind, Notification, NotificationState
from tests.core.conftest import plan
from tests.core.line import Bench
from tests.core.test_stall import IO, PANIC

EVERYBODY = ("worker1", "family1", "boss1")


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(stall, "JOIN_LIMIT", 3)
    made = Bench(tmp_path / "journal.db", plan("h1", "h2"))
    made.clock.passes("5s")
    yield made
    assert made.journal.check(full=True) == []
    made.off()


def of_h1(bench):
    return [one for one in bench.worker.told() if one[0].startswith("h1.")]


def crowd(bench):
    """As many cries of another home as may join, and some more."""
    return dict.fromkeys(range(2, 9), lambda: bench.says("h2/panic", 1))


def test_a_step_of_the_clock_behind_the_limit_is_not_passed_over_by_the_copy(bench):
    """The third rung has just been taken by time alone; then the clock is set two hours ahead, and nobody is due."""
    bench.fails(IO, heals=300, meanwhile={**crowd(bench), 181: lambda: bench.clock.step("2h")})
    bench.says("h1/panic", 1)
    bench.turns()

    assert of_h1(bench) == [(f"{PANIC}.{n}", who) for n, who in enumerate(EVERYBODY, 1)]


def test_what_time_alone_causes_behind_the_limit_is_told_once_and_known_afterwards(bench):
    """Three rounds in 25 minutes: the outbox learns of every one, so nobody is told anything a second time."""
    bench.fails(IO, heals=1_500, meanwhile=crowd(bench))
    bench.says("h1/panic", 1)
    bench.turns()

    told = of_h1(bench)
    assert told == [(f"{PANIC}.{n + 1}", EVERYBODY[n % 3]) for n in range(9)]
    assert [(row[0], row[1]) for row in bench.outbox() if row[0].startswith("h1.")] == told
    assert {row[2:] for row in bench.outbox()} == {("delivered", 1)}


def test_beyond_every_limit_texts_go_out_all_the_same(bench, monkeypatch):
    monkeypatch.setattr(stall, "TIME_LIMIT", 4)
    seen = []
    bench.fails(IO, heals=1_500, meanwhile={**crowd(bench), 1_499: lambda: seen.extend(of_h1(bench))})
    bench.says("h1/panic", 1)
    bench.turns()

    assert [who for _, who in seen] == [*EVERYBODY] * 3
    assert {row[2] for row in bench.outbox()} == {"delivered"}
    assert bench.core.unstored == {}


def test_a_text_of_another_kind_with_the_same_number_is_not_the_one_that_went_out(bench):
    """An unstored reminder is no news of an answer: that still has to be sent."""
    bench.says("h1/panic", 1)
    bench.turns()
    bench.core.unstored[f"{PANIC}.3"] = Notification(
        f"{PANIC}.3", PANIC, "h1", "panic", "reminder", "critical", 1, "worker1", 0,
        code="CDFG", state=NotificationState.SENDING, attempts=1, attempted_at=0,
    )  # fmt: skip
    bench.asks(CommandKind.CLOSE, PANIC, outcome="fine")
    bench.worker.sent.clear()
    bench.turns()

    assert {(text.kind, text.recipient_id) for text in bench.worker.sent} == {
        ("closed", "worker1"),
        ("closed", "family1"),
    }
