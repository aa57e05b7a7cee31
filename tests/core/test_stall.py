"""A disk that takes nothing: nothing is acknowledged, nothing is fed twice, and calls for help go out all the same."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensor_guard import stall
from sensor_guard.config import WrittenPlan
from sensor_guard.errors import CommandRefusedError
from sensor_guard.inbox import NewPlan, Request
from sensor_guard.journal import JournalBusyError, JournalFullError, JournalIOError, JournalReadOnlyError
from sensor_guard.model import HOUR, AlarmOutcome, CommandKind, DeliveryReport, NotificationState
from sensor_guard.operations import UNLISTED, Operations
from tests.core.conftest import plan
from tests.core.line import Bench

PANIC = "h1.panic.20260301T000005Z"
IO = JournalIOError("the disk does not write")
READ_ONLY = JournalReadOnlyError("read-only")
KINDS = [(IO, False), (READ_ONLY, True), (JournalBusyError("busy"), True), (JournalFullError("full"), False)]


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path / "journal.db", plan("h1", "h2"))
    made.clock.passes("5s")
    yield made
    assert made.journal.check(full=True) == []
    made.off()


def feeds_of(bench):
    """Every input that the engine is fed with, from here on."""
    fed, feed = [], bench.core.engine.feed

    def counted(inputs, now):
        fed.extend(seq for seq, _ in inputs)
        return feed(inputs, now)

    bench.core.engine.feed = counted
    return fed


@pytest.mark.parametrize(("error", "early"), KINDS)
def test_a_cry_in_the_stuck_turn_is_told_after_ten_seconds_and_nothing_is_acknowledged(bench, error, early):
    seen = []
    bench.fails(
        error,
        early=early,
        heals=20,
        meanwhile={
            9: lambda: seen.append((bench.worker.told(), list(bench.subscriber.acked))),
            12: lambda: seen.append((bench.worker.told(), list(bench.subscriber.acked))),
        },
    )
    fed = feeds_of(bench)

    bench.says("h1/panic", 1)
    bench.turns()

    told = [(f"{PANIC}.1", "worker1"), (f"{PANIC}.2", "family1")]
    assert seen[0] == ([], [])
    assert [one for one in seen[1][0] if one[0].startswith("h1")] == told
    assert seen[1][1] == []
    assert len(fed) == len(set(fed))
    # On disk it is one attempt, delivered; nobody was sent it a second time.
    assert [row for row in bench.outbox() if row[0].startswith("h1")] == [
        (f"{PANIC}.1", "worker1", "delivered", 1),
        (f"{PANIC}.2", "family1", "delivered", 1),
    ]
    assert [one for one in bench.worker.told() if one[0].startswith("h1")] == told
    assert bench.subscriber.acked == [("h1/panic", 1)]


@pytest.mark.parametrize(("error", "early"), KINDS)
def test_a_cry_that_arrives_meanwhile_joins_and_readings_do_not(bench, error, early):
    bench.fails(
        error,
        early=early,
        heals=30,
        meanwhile={
            2: lambda: bench.says("h2/power_w", 80),
            3: lambda: bench.says("h1/panic", 1),
            4: lambda: bench.says("h2/smoke", 1),
        },
    )
    bench.says("h1/power_w", 80)
    fed = feeds_of(bench)

    assert bench.turn()

    cries = [text for text in bench.worker.sent if text.severity == "critical"]
    assert {text.alarm_id for text in cries} == {"h1.panic.20260301T000008Z", "h2.smoke.20260301T000009Z"}
    assert all(text.code and text.state == NotificationState.SENDING and text.attempts == 1 for text in cries)
    assert bench.subscriber.acked == [("h1/power_w", 1), ("h1/panic", 3), ("h2/smoke", 4)]
    bench.turns()
    assert bench.subscriber.acked[-1] == ("h2/power_w", 2)
    assert len(fed) == len(set(fed))
    assert len({one[0] for one in bench.worker.told()}) == len(bench.worker.told())
    assert {row[2:] for row in bench.outbox()} == {("delivered", 1)}


def test_a_short_stall_sends_nothing_before_it_is_stored(bench):
    bench.fails(IO, heals=5, meanwhile={2: lambda: bench.says("h1/panic", 1)})
    bench.says("h1/power_w", 80)

    bench.turns()

    assert [row[2:] for row in bench.outbox()] == [("delivered", 1), ("delivered", 1)]
    assert bench.journal.reader.sizes().open_alarms == 1
    assert bench.core.unstored == {}


def test_the_ladder_climbs_on_and_the_outbox_learns_of_every_step(bench):
    bench.fails(IO, heals=400)
    bench.says("h1/panic", 1)

    bench.turns()

    told = [one for one in bench.worker.told() if one[0].startswith("h1")]
    assert told == [(f"{PANIC}.1", "worker1"), (f"{PANIC}.2", "family1"), (f"{PANIC}.3", "boss1")]
    assert [row for row in bench.outbox() if row[0].startswith("h1")] == [
        (nid, who, "delivered", 1) for nid, who in told
    ]


def test_the_texts_carry_the_codes_by_which_they_are_found_again(bench):
    bench.fails(IO, heals=15)
    bench.worker.reports = False
    bench.says("h1/panic", 1)
    bench.turns()

    rows = dict(bench.journal.reader._rows("SELECT notification_id, code FROM outbox", ()))
    assert {text.notification_id: text.code for text in bench.worker.sent} == rows
    # A process that dies now looks for them at the provider, by code, before it sends anything again.
    states = {row[0]: row[2] for row in bench.outbox() if row[0].startswith("h1")}
    assert set(states.values()) == {"sending"}
    found = {report.notification_id for report in bench.journal.ambiguous_at_start(bench.clock.now())}
    assert set(states) <= found


def test_a_taken_code_makes_no_difference_between_the_text_and_its_row(bench):
    taken = bench.journal.code_of(f"{PANIC}.1")
    bench.asks(CommandKind.NOTIFY_TEST, "li")
    bench.turns()
    with bench.journal.batch(bench.clock.now()) as batch:
        batch._db.execute("UPDATE outbox SET code = ?", (taken,))
    bench.fails(IO, heals=15)
    bench.says("h1/panic", 1)
    bench.turns()

    (row,) = bench.journal.reader._rows("SELECT code FROM outbox WHERE notification_id = ?", (f"{PANIC}.1",))
    (text,) = [text for text in bench.worker.sent if text.notification_id == f"{PANIC}.1"]
    assert row == (text.code,)


def test_an_answer_given_meanwhile_stops_the_ladder_and_is_confirmed_once_it_is_stored(bench):
    said = []
    bench.says("h1/panic", 1)
    bench.turns()
    bench.fails(
        IO,
        heals=400,
        meanwhile={
            20: lambda: bench.asks(CommandKind.ACKNOWLEDGE, PANIC),
            30: lambda: said.append(list(bench.answers)),
        },
    )
    bench.says("h2/power_w", 80)

    bench.turns()

    assert said == [[]]
    assert bench.answers == [None]
    assert bench.alarms()[-1] == (PANIC, "true", "acknowledged")
    assert "boss1" not in {who for nid, who in bench.worker.told() if nid.startswith("h1")}


def test_a_question_is_answered_at_once(bench):
    said = []

    def ask():
        bench.inbox.put(Request(bench.standing._journal, said.append), urgent=True)

    bench.fails(READ_ONLY, early=True, heals=5, meanwhile={2: ask, 4: lambda: said.append("later")})
    bench.says("h1/power_w", 80)
    bench.turns()

    assert said == ["takes nothing (read_only)", "later"]
    assert bench.standing._journal() == "ok"


def test_a_code_that_is_not_listed_because_of_the_stall_is_not_called_unknown(bench):
    operations, said = Operations(bench.core, set, bench.standing.status), []

    def ask():
        with pytest.raises(CommandRefusedError, match="act on the text that you have"):
            operations.prepare({"verb": "ack", "target": "4P3M", "by": "worker1"}, 1000, bench.clock.now())
        said.append(operations._alarms({})["unlisted"])

    bench.fails(READ_ONLY, early=True, heals=15, meanwhile={12: ask})
    bench.says("h1/panic", 1)
    bench.turns()

    assert said == [UNLISTED]
    assert operations._alarms({})["unlisted"] == ""
    with pytest.raises(CommandRefusedError, match="no text of the last 7 days"):
        operations.prepare({"verb": "ack", "target": "4P3M", "by": "worker1"}, 1000, bench.clock.now())


def test_the_box_tells_its_maintainer_and_the_fault_ends_by_itself(bench):
    bench.fails(READ_ONLY, early=True, heals=30)
    bench.says("h1/power_w", 80)
    bench.turns()

    assert bench.alarms() == [("gateway.journal_unwritable.20260301T000015Z", "false", "unanswered")]
    assert bench.worker.sent[0].rule_id == "journal_unwritable"
    assert dict(bench.worker.sent[0].params)["fault"] == "read_only"
    assert not bench.core.has_fault("journal_unwritable")


def test_what_waits_in_the_broker_is_handed_over_before_anything_falls_due(bench):
    """Two hours without a disk: the silence was the disk's, not the sensors'."""

    def everybody_speaks():
        for home in ("h1", "h2"):
            bench.says(f"{home}/power_w", 80)
            bench.says(f"{home}/flow_l_min", 0)

    everybody_speaks()
    bench.turns()
    bench.fails(IO, heals=7_500, meanwhile=dict.fromkeys(range(600, 7500, 600), everybody_speaks))
    everybody_speaks()
    bench.turns()

    assert bench.subscriber.drains == 1
    assert bench.core.engine.drained
    assert [alarm_id for alarm_id, _, _ in bench.alarms()] == ["gateway.journal_unwritable.20260301T000015Z"]


@pytest.mark.parametrize("heals", [8, 20])
def test_a_hold_that_ends_as_the_disk_refuses_is_disproved_by_what_waits(bench, heals):
    """The tap was off a moment before the two hours were over: it waited, and somebody cried behind it."""
    for passes in ("30m", "30m", "30m", "29m58s"):
        bench.says("h1/flow_l_min", 5)
        bench.turns()
        bench.clock.passes(passes)
    bench.fails(
        IO,
        heals=heals,
        meanwhile={1: lambda: bench.says("h1/flow_l_min", 0), 4: lambda: bench.says("h2/panic", 1)},
    )
    bench.says("h2/flow_l_min", 0)
    bench.turns()

    assert bench.core.engine.drained
    assert "water_running" not in {alarm_id.split(".")[1] for alarm_id, _, _ in bench.alarms()}


def test_a_daemon_that_is_stopped_meanwhile_has_acknowledged_nothing(bench):
    bench.fails(IO, heals=None)
    bench.says("h1/panic", 1)

    assert not bench.turn()
    bench.journal.error = None
    bench.line.end()

    assert bench.subscriber.acked == []
    assert bench.alarms() == []


def test_a_text_that_did_not_get_through_goes_out_again_though_the_disk_stays_away(bench):
    """A provider that says "later" once: the next rung of the ladder would be minutes, and the disk hours."""
    submit, tries = bench.worker.submit, []
    bench.worker.reports = False

    def refused_twice(text):
        submit(text)
        tries.append((text.notification_id, text.attempts, bench.second))
        now, again = bench.clock.now(), text.attempts <= 2
        retry_at = now + 5_000 if again else None
        state = "pending" if again else "delivered"
        bench.inbox.put(DeliveryReport(text.notification_id, state, now, retry_at=retry_at))

    bench.worker.submit = refused_twice
    bench.fails(READ_ONLY, early=True, heals=60)
    bench.says("h1/panic", 1)
    bench.turns()

    assert [one[1:] for one in tries if one[0] == f"{PANIC}.1"] == [(1, 10), (2, 15), (3, 20)]
    assert {row[2:] for row in bench.outbox()} == {("delivered", 3)}


@pytest.mark.parametrize("stalls", [False, True])
def test_a_text_is_tried_again_when_it_was_to_be_though_the_clock_is_set_back_by_two_hours(bench, stalls):
    """The word of its failure is still in the inbox then, with times of the clock before."""
    bench.worker.reports = False
    bench.says("h1/panic", 1)
    bench.turn()
    failed, now = bench.worker.sent[0].notification_id, bench.clock.now()
    bench.inbox.put(DeliveryReport(failed, NotificationState.PENDING, now, retry_at=now + 30_000))
    if stalls:
        bench.fails(IO, heals=20, meanwhile={5: lambda: bench.clock.step(-2 * HOUR)})
        assert bench.line.step([bench.message("h2/power_w", 80)])
    else:
        bench.clock.step(-2 * HOUR)
    bench.turns()

    assert bench.journal.next_text_at() - bench.clock.now() == (10_000 if stalls else 30_000)


def test_a_retry_that_is_not_yet_due_is_the_outboxs_business_when_the_disk_is_back(bench):
    submit = bench.worker.submit
    bench.worker.reports = False

    def later(text):
        submit(text)
        now, again = bench.clock.now(), text.attempts == 1
        retry_at = now + 40_000 if again else None
        state = "pending" if again else "delivered"
        bench.inbox.put(DeliveryReport(text.notification_id, state, now, retry_at=retry_at))

    bench.worker.submit = later
    bench.fails(IO, heals=20)
    bench.says("h1/panic", 1)
    bench.turns()
    assert {row[2:] for row in bench.outbox()} == {("pending", 1)}
    bench.clock.passes("1m")
    bench.turn()
    bench.turns()

    assert {row[2:] for row in bench.outbox()} == {("delivered", 2)}


def test_a_read_that_fails_behind_a_commit_does_not_commit_it_again(bench):
    """With a device that counts no time, and no copy of the broker's, it would be there twice."""
    asked = bench.journal._journal.next_text_at
    fails = [IO]

    def next_text_at(**more):
        if fails:
            raise fails.pop()
        return asked(**more)

    bench.journal.next_text_at = next_text_at
    bench.worker.room = lambda _now: 0
    bench.says("h1/panic", 1)
    bench.turns()

    assert fails == []
    assert bench.journal.reader._rows("SELECT count(*) FROM readings", ()) == [(1,)]
    assert bench.second == 0


def test_a_disk_that_cannot_be_read_ends_no_loop(bench):
    def refuses(*_arguments, **_more):
        raise IO

    bench.worker.room = lambda _now: 0
    bench.says("h1/panic", 1)
    bench.turns()
    bench.journal.next_text_at = bench.journal.critical_unsent = refuses
    bench.worker.wants_backup = lambda _now: True
    bench.says("h1/power_w", 80)
    bench.turns()

    assert bench.line.wait() >= 0


def test_a_reload_meanwhile_takes_nobody_out_of_a_test(bench):
    """The copy must not begin a home anew that the engine knows: its test would have been a real call for help."""
    bench.asks(CommandKind.TEST_MODE, "h1", until=bench.clock.now() + 3_600_000)
    bench.turns()

    def reloads():
        bench.inbox.put(Request(NewPlan(WrittenPlan.of(plan("h1", "h2", "h3"))), bench.answers.append), urgent=True)

    happens = {2: reloads, 20: lambda: bench.says("h1/panic", 1), 25: lambda: bench.says("h2/panic", 1)}
    bench.fails(READ_ONLY, early=True, heals=60, meanwhile=happens)
    bench.says("h2/power_w", 80)
    bench.turns()

    assert {nid.partition(".")[0] for nid, _ in bench.worker.told()} == {"gateway", "h2"}
    assert len(bench.worker.told()) == len(set(bench.worker.told()))
    assert {row[2:] for row in bench.outbox()} == {("delivered", 1)}


def test_what_may_join_is_bounded(bench, monkeypatch):
    monkeypatch.setattr(stall, "JOIN_LIMIT", 5)
    bench.fails(IO, heals=20, meanwhile={n: lambda: bench.says("h1/panic", 1) for n in range(1, 9)})
    bench.says("h1/power_w", 80)
    bench.turn()

    assert len(bench.subscriber.acked) == 5
    bench.turns()
    assert len(bench.subscriber.acked) == 9


def test_the_clock_may_be_set_meanwhile(bench):
    bench.fails(IO, heals=30, meanwhile={2: lambda: bench.clock.step("2h"), 4: lambda: bench.says("h1/panic", 1)})
    bench.says("h1/power_w", 80)
    bench.turns()

    assert [alarm_id for alarm_id, _, _ in bench.alarms() if "h1" in alarm_id] == ["h1.panic.20260301T020009Z"]
    assert bench.worker.shifts == [7_200_000]
    assert {row[2:] for row in bench.outbox()} == {("delivered", 1)}


def test_a_cry_that_was_stored_before_and_comes_again_is_no_new_one(bench):
    """Its acknowledgement was lost with the connection; meanwhile somebody has answered and closed it."""
    cry = bench.message("h1/panic", 1, urgent=True)
    bench.inbox.put(cry, urgent=True)
    bench.turns()
    bench.asks(CommandKind.CLOSE, PANIC, outcome=AlarmOutcome.FINE)
    bench.turns()
    sent = len(bench.worker.sent)
    bench.clock.passes("1m")
    again = cry._replace(duplicate=True, received_at=bench.clock.now())
    bench.fails(READ_ONLY, early=True, heals=20, meanwhile={2: lambda: bench.inbox.put(again, urgent=True)})
    bench.says("h2/power_w", 80)
    bench.turns()

    assert [text.home_id for text in bench.worker.sent[sent:]] == ["gateway"]
    assert bench.journal.reader.sizes().open_alarms == 1


STEPS = st.lists(
    st.tuples(st.sampled_from(["panic", "smoke", "ack", "close", "nothing"]), st.sampled_from(["h1", "h2"])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, lasts=st.integers(1, 90), early=st.booleans(), after=st.integers(0, 11))
def test_whatever_happens_the_outbox_has_each_text_once_and_the_engine_each_input_once(
    tmp_path_factory, steps, lasts, early, after
):
    """A stall at any point: the same ids as foreseen, no text sent twice, no input fed twice, a sound journal."""
    bench = Bench(tmp_path_factory.mktemp("stall") / "journal.db", plan("h1", "h2"))
    fed = feeds_of(bench)
    happened = iter(steps)

    def happens():
        what, home = next(happened, ("nothing", ""))
        open_alarms = sorted(a.alarm_id for a in bench.journal.reader.alarms(open_only=True) if a.home_id == home)
        target = (open_alarms or [f"{home}.none.x"])[0]
        if what in ("panic", "smoke"):
            bench.says(f"{home}/{what}", 1)
        elif what == "ack":
            bench.asks(CommandKind.ACKNOWLEDGE, target)
        elif what == "close":
            bench.asks(CommandKind.CLOSE, target, outcome=AlarmOutcome.FINE)

    for _ in range(after):
        bench.clock.passes("7s")
        happens()
        bench.turns()
    bench.fails(IO, early=early, heals=lasts, meanwhile=dict.fromkeys(range(2, 90, 7), happens))
    bench.says("h1/power_w", 80)
    bench.turns()
    bench.clock.passes("1s")
    bench.turn()
    bench.turns()

    assert len(fed) == len(set(fed))
    ids = [nid for nid, _ in bench.worker.told()]
    assert len(ids) == len(set(ids))
    rows = bench.outbox()
    assert {row[0] for row in rows if row[2] != "cancelled"} == set(ids)
    assert {row[3] for row in rows if row[2] != "cancelled"} <= {1}
    assert bench.core.unstored == {}
    assert bench.journal.check(full=True) == []
    assert len(bench.subscriber.acked) == len({packet for _, packet in bench.subscriber.acked})
    bench.off()
    assert differences_at_the_next_start(bench) == 0


def differences_at_the_next_start(bench):
    """Replay the journal as the next start would: how many differences there are."""
    again = Bench(bench.journal.path, plan("h1", "h2"))
    try:
        return again.core.counters.differences
    finally:
        again.off()
