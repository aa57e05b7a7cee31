"""Retention in small steps: never what a restart, a sink or an open alarm still needs."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensor_guard.journal import HomeState, Journal
from sensor_guard.journal import readings as readings_module
from sensor_guard.model import DAY, HOUR, Command, Effects, PlanChanged, Quarantined
from tests.journal.make import T0, alarm, closed, feed, lease, raised, reading, record, rows, send, text

LATE = T0 + 1_000 * DAY


@pytest.fixture(autouse=True)
def _last_words_at_once(monkeypatch):
    monkeypatch.setattr(readings_module, "FLUSH_AFTER", 1)


def prune(journal, *, now=LATE, keep_readings=90 * DAY, keep_alarms=730 * DAY, limit=5_000):
    return journal.prune(now, keep_readings=keep_readings, keep_alarms=keep_alarms, limit=limit)


def days(journal, count, *, per_day=1, tail=True):
    """A batch a day with so many readings; the states reach to the end."""
    for n in range(count):
        at = T0 + n * DAY
        feed(journal, *(reading(at=at, home=f"home{k}") for k in range(per_day)), now=at)
    if tail:
        with journal.batch(T0 + count * DAY) as batch:
            batch.save_tail(journal.last_seq, "{}")


def kept(journal):
    return [seq for seq, _ in journal.reader.readings_after(0, 100_000)]


def test_inputs_go_by_age_batch_by_batch(journal):
    days(journal, 10, per_day=3)
    pruned = prune(journal, now=T0 + 9 * DAY, keep_readings=5 * DAY)
    assert (pruned.inputs, pruned.more) == (12, False)
    assert kept(journal) == list(range(13, 31))
    assert rows(journal, "SELECT min(seq), count(*) FROM batches") == [(15, 6)]
    assert not prune(journal, now=T0 + 9 * DAY, keep_readings=5 * DAY)


def test_events_go_with_their_batch(journal):
    for n in range(4):
        with journal.batch(T0 + n * DAY) as batch:
            batch.append_readings([reading(at=T0 + n)])
            batch.append_event(PlanChanged("p1", T0))
    with journal.batch(T0 + 4 * DAY) as batch:
        batch.save_tail(journal.last_seq, "{}")
    assert prune(journal, now=T0 + 3 * DAY, keep_readings=2 * DAY).inputs == 2
    assert kept(journal) == [3, 5, 7]
    assert rows(journal, "SELECT seq FROM events") == [(4,), (6,), (8,)]


def test_a_step_is_small_and_says_that_there_is_more(journal):
    days(journal, 30, per_day=3)
    steps = []
    while True:
        pruned = prune(journal, limit=10)
        steps.append(pruned.inputs)
        if not pruned.more:
            break
    assert sum(steps) == 87
    assert max(steps) <= 12
    assert kept(journal) == [88, 89, 90]


def test_nothing_behind_the_tail_goes(journal):
    days(journal, 10, tail=False)
    assert not prune(journal)
    with journal.batch(LATE) as batch:
        batch.save_tail(4, "{}")
    assert prune(journal).inputs == 4
    assert [batch.seq for batch in journal.tail()] == [5, 6, 7, 8, 9, 10]


def test_nothing_that_the_slowest_sink_still_wants_goes(journal):
    days(journal, 10)
    with journal.batch(LATE) as batch:
        batch.save_cursor("influxdb", 6)
        batch.save_cursor("slow", 2)
    assert prune(journal).inputs == 2
    with journal.batch(LATE) as batch:
        batch.delete_cursor("slow")
    assert prune(journal).inputs == 4
    assert kept(journal) == [7, 8, 9, 10]


def test_the_newest_batch_stays_so_that_time_and_numbers_go_on(path):
    with Journal.open(path) as journal:
        days(journal, 3)
        prune(journal)
        assert journal.last_now() == T0 + 2 * DAY
    with Journal.open(path) as journal:
        assert feed(journal, reading(at=LATE), now=LATE)[0][0] == 4


def test_what_has_no_last_word_yet_stays(path, monkeypatch):
    monkeypatch.setattr(readings_module, "FLUSH_AFTER", 1_000)
    with Journal.open(path) as journal:
        days(journal, 10)
        assert not prune(journal)


def test_the_last_word_of_a_sensor_outlives_its_readings(journal):
    days(journal, 5)
    feed(journal, reading(home="other", at=LATE), now=LATE)
    prune(journal)
    assert kept(journal) == [6]
    assert [row.observed_at for row in journal.reader.last_readings("home0")] == [T0 + 4 * DAY]


def test_a_wrong_clocks_future_stamp_does_not_stop_pruning(journal):
    feed(journal, reading(), now=T0 + 9_000 * DAY)
    days(journal, 5)
    assert prune(journal, now=T0 + 100 * DAY, keep_readings=90 * DAY).inputs == 5


def test_a_stamp_of_today_stops_it(journal):
    days(journal, 5)
    assert not prune(journal, now=T0 + 10 * DAY, keep_readings=90 * DAY)


def test_a_closed_alarm_goes_with_its_trail_and_its_texts_and_an_open_one_stays(journal):
    for n in range(3):
        record(journal, raised(alarm(n), "li", "wang"))
    lease(journal, limit=2)
    record(journal, closed(alarm(0), at=T0 + DAY))
    record(journal, closed(alarm(1), at=LATE - DAY))
    pruned = prune(journal)
    assert (pruned.alarms, pruned.texts, pruned.more) == (1, 2, False)
    assert {row.alarm_id for row in journal.reader.alarms()} == {alarm(1).alarm_id, alarm(2).alarm_id}
    assert journal.reader.trail(alarm(0).alarm_id) == []
    assert journal.reader.notifications(alarm(0).alarm_id) == []
    assert len(journal.reader.trail(alarm(2).alarm_id)) >= 3
    assert rows(journal, "SELECT count(*) FROM pruning") == [(0,)]


def test_an_alarm_that_a_sink_has_not_seen_stays(journal):
    record(journal, raised(alarm(0), "li"))
    with journal.batch(T0) as batch:
        batch.save_cursor("influxdb", 2)
    record(journal, closed(alarm(0)))
    assert prune(journal).alarms == 0
    last_row = journal.reader.rows_after(0, 100)[-1][0]
    send(journal, lease(journal)[0], "delivered")
    with journal.batch(T0) as batch:
        batch.save_cursor("influxdb", last_row)
    assert prune(journal).alarms == 1


def test_a_number_is_never_given_twice_though_its_row_has_gone(path):
    with Journal.open(path) as journal:
        feed(journal, reading())
        record(journal, raised(alarm(), "li"))
        record(journal, closed(alarm()))
        head = journal.reader.head()
        assert prune(journal).alarms == 1
        assert journal.reader.head() == head
    with Journal.open(path) as journal:
        assert feed(journal, reading(at=LATE))[0][0] == head + 1


def test_alarms_go_in_small_steps_as_well(journal):
    for n in range(5):
        record(journal, raised(alarm(n), "li"))
        record(journal, closed(alarm(n)))
    steps = []
    while not steps or steps[-1].more:
        steps.append(prune(journal, limit=2))
    assert sum(step.alarms for step in steps) == 5
    assert max(step.alarms for step in steps) == 1


def test_commands_test_texts_and_quarantine_go_by_age(journal):
    for n in range(4):
        at = T0 + n * DAY
        wanted = text(alarm(n), kind="test")
        wanted = type(wanted)(**{name: getattr(wanted, name) for name in wanted.__slots__} | {"alarm_id": ""})
        with journal.batch(at) as batch:
            batch.append_event(Command(f"c{n}", "away", "home1", "li", at, until=at + HOUR))
            batch.record(Effects(notifications=[wanted]))
            batch.quarantine([Quarantined("t", b"x", "bad_json", "", at)])
    pruned = prune(journal, now=T0 + 3 * DAY, keep_readings=2 * DAY, keep_alarms=2 * DAY)
    assert (pruned.trail, pruned.texts, pruned.quarantined) == (2, 1, 1)
    assert [entry.subject for entry in journal.reader.trail("") if entry.what == "command"] == ["c1", "c2", "c3"]


def test_a_plan_goes_when_nothing_refers_to_it(journal):
    for n, name in enumerate(("old", "of_a_home", "of_an_event", "new")):
        with journal.batch(T0 + n) as batch:
            batch.save_plan(name, "{}")
    with journal.batch(T0) as batch:
        batch.append_event(PlanChanged("of_an_event", T0))
        batch.save_home_states([HomeState("home1", 0, 1, "of_a_home", "{}")])
    assert prune(journal, now=T0 + 100 * DAY).plans == 0
    assert prune(journal).plans == 1
    assert journal.plan("old") is None
    assert journal.last_plan().plan_hash == "new"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=10),
    tail=st.integers(0, 60),
    cursors=st.lists(st.integers(0, 60), max_size=2),
    limit=st.integers(1, 20),
    keep=st.integers(0, 12),
)
def test_no_step_ever_passes_a_bound(tmp_path_factory, sizes, tail, cursors, limit, keep):
    with Journal.open(tmp_path_factory.mktemp("j") / "journal.db") as journal:
        for n, size in enumerate(sizes):
            feed(journal, *(reading(at=T0 + n, home=f"home{k}") for k in range(size)), now=T0 + n * DAY)
        last = journal.last_seq
        tail, cursors = min(tail, last), [min(cursor, last) for cursor in cursors]
        with journal.batch(T0) as batch:
            batch.save_tail(tail, "{}")
            for n, cursor in enumerate(cursors):
                batch.save_cursor(f"sink{n}", cursor)
        before = set(kept(journal))
        tail_before = list(journal.tail())
        now = T0 + len(sizes) * DAY
        while prune(journal, now=now, keep_readings=keep * DAY, limit=limit).more:
            pass
        gone = before - set(kept(journal))
        assert all(seq <= min([tail, *cursors]) for seq in gone)
        assert gone == set(range(1, len(gone) + 1))
        first_of_day = {}
        for n, size in enumerate(sizes):
            start = sum(sizes[:n])
            first_of_day |= dict.fromkeys(range(start + 1, start + size + 1), n)
        assert all(first_of_day[seq] < len(sizes) - keep for seq in gone)
        assert list(journal.tail()) == tail_before
        assert journal.check(full=True) == []
