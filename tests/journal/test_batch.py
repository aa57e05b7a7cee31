"""One transaction a batch: everything or nothing, and the same again when it is tried again."""

import sqlite3
from dataclasses import replace

import pytest

from sensor_guard.errors import JournalError
from sensor_guard.journal import HomeState, Journal, Reader
from sensor_guard.journal.codec import CodecError
from sensor_guard.model import MINUTE, Drained, Effects, Fault, Transition, Truth
from tests.journal.make import (
    T0,
    alarm,
    close_command,
    closed,
    cut_short,
    feed,
    lease,
    raised,
    reading,
    record,
    rows,
    text,
)


def file_changes(journal):
    return rows(journal, "PRAGMA data_version")[0][0]


def everything(journal):
    tables = [
        row[0]
        for row in rows(journal, "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'recent_packets'")
    ]
    return {table: rows(journal, f"SELECT * FROM {table}") for table in tables}


def test_an_empty_batch_writes_nothing(journal):
    feed(journal, reading())
    before = file_changes(journal)
    with journal.batch(T0 + 1) as batch:
        assert batch.append_readings([]) == []
        assert batch.quarantine([]) == 0
        assert batch.record(Effects()) == 0
        assert batch.lease(T0 + 1, 10) == []
        assert batch.cancel([]) == 0
    assert file_changes(journal) == before
    assert journal.last_now() == T0


def test_a_batch_of_copies_alone_was_not_fed(journal):
    feed(journal, reading())
    feed(journal, reading(), now=T0 + 5)
    assert journal.last_now() == T0


def test_effects_of_time_alone_make_a_batch_that_is_replayed(journal):
    feed(journal, reading())
    assert record(journal, raised(alarm()), now=T0 + 9) == 2
    assert record(journal, Effects(changed=True), now=T0 + 10) == 4  # the alarm's step in the trail is number 3
    assert [(b.seq, b.now, len(b.inputs)) for b in journal.tail()] == [(1, T0, 1), (2, T0 + 9, 0), (4, T0 + 10, 0)]
    assert journal.last_now() == T0 + 10
    assert journal.last_seq == 4


def test_the_tail_gives_every_input_back_in_its_order_and_its_batch(journal):
    fed = []
    for n in range(150):
        with journal.batch(T0 + n) as batch:
            first = batch.append_readings([reading(float(n), at=T0 + n)])
            event = Fault("disk_full", bool(n % 2), T0 + n)
            second = [(batch.append_event(event), event)]
            third = batch.append_readings([reading(float(n), at=T0 + n, flags=0)])
            fed.append((T0 + n, first + second + third))
    assert [(batch.now, batch.inputs) for batch in journal.tail()] == fed
    with journal.batch(T0) as batch:
        batch.save_tail(fed[99][1][-1][0], '{"drained":true}')
    assert [(batch.now, batch.inputs) for batch in journal.tail()] == fed[100:]
    assert journal.engine_state() == '{"drained":true}'


def test_the_tail_ends_where_it_ended_when_it_was_asked_for(journal):
    feed(journal, reading())
    seen = []
    for batch in journal.tail():
        seen.append(batch.seq)
        feed(journal, reading(at=T0 + batch.seq))
    assert seen == [1]


def test_the_tail_never_goes_back_and_never_beyond_the_end(journal):
    feed(journal, reading())
    for tail_seq in (1, 2, 0):
        if tail_seq == 1:
            with journal.batch(T0) as batch:
                batch.save_tail(1, "{}")
        else:
            with pytest.raises(AssertionError), journal.batch(T0) as batch:
                batch.save_tail(tail_seq, "{}")


def fill(batch):
    appended = batch.append_readings([reading(at=T0 + 100), reading(home="new", at=T0 + 101)])
    event = batch.append_event(Fault("disk_full", True, T0))
    batch.seen_packet("bulk:1", 9, b"x", duplicate=False)
    recorded = batch.record(raised(alarm(5), "li", "wang"))
    leased = batch.lease(T0 + MINUTE, 10, channel="console")
    batch.save_cursor("influxdb", 1)
    batch.save_home_states([HomeState("home1", batch.seq, 1, "h", "{}")])
    return appended, event, recorded, leased


def test_a_failed_batch_has_left_nothing_and_the_same_again_gets_the_same_numbers(journal):
    feed(journal, reading())
    before = everything(journal)
    tried = [cut_short(journal, fill)]
    assert everything(journal) == before
    with journal.batch(T0) as batch:
        tried.append(fill(batch))
    assert tried[0] == tried[1]
    assert everything(journal) != before


def test_an_error_of_sqlite_inside_the_block_is_told_as_ours(journal):
    with pytest.raises(JournalError, match="no such table"), journal.batch(T0) as batch:
        batch._db.execute("SELECT * FROM nowhere")


def test_an_event_that_cannot_be_written_is_refused_before_anything_of_it_is_stored(journal):
    with journal.batch(T0) as batch:
        batch.append_readings([reading()])
        with pytest.raises(CodecError):
            batch.append_event(Fault("disk_full", "yes", T0))
    assert journal.last_seq == 1
    assert rows(journal, "SELECT * FROM events") == []


def test_inputs_come_before_effects_and_effects_once(journal):
    with journal.batch(T0) as batch:
        batch.record(raised(alarm()))
        for second in (
            lambda: batch.append_readings([reading()]),
            lambda: batch.append_event(Drained(T0)),
            lambda: batch.record(raised(alarm(2))),
        ):
            with pytest.raises(AssertionError):
                second()


def test_an_alarm_is_kept_as_it_is_now(journal):
    risen = alarm()
    record(journal, raised(risen))
    assert journal.reader.alarms() == [risen]
    after = closed(risen)
    record(journal, after)
    assert journal.reader.alarm(risen.alarm_id) == after.alarms[risen.alarm_id]
    assert journal.reader.alarms(open_only=True) == []


def test_a_change_without_a_transition_is_kept_as_well(journal):
    risen = alarm()
    record(journal, raised(risen))
    again = replace(risen, evidence=replace(risen.evidence, count=2))
    record(journal, Effects(alarms={risen.alarm_id: again}))
    assert journal.reader.alarms() == [again]
    assert journal.last_seq == 3


def test_replaying_the_tail_changes_nothing(journal):
    risen = alarm()
    record(journal, raised(risen, "li", "wang"))
    lease(journal)
    record(journal, closed(risen, cancelled=[f"{risen.alarm_id}.1", f"{risen.alarm_id}.2"]))
    before = everything(journal)
    effects = [raised(risen, "li", "wang"), closed(risen, cancelled=[f"{risen.alarm_id}.1", f"{risen.alarm_id}.2"])]
    with journal.batch(T0 + MINUTE) as batch:
        for stored, repeated in zip(journal.tail(), effects, strict=True):
            assert batch.record(repeated, replay_of=stored.seq) == 0
    assert everything(journal) == before


def test_a_difference_in_replay_is_stored_and_counted_and_only_once(journal):
    risen = alarm()
    record(journal, raised(risen, "li"))
    batch_seq = journal.last_seq
    different = raised(risen, "li", "wang")
    different.transitions.append(Transition(risen.alarm_id, "condition", "true", "unknown", T0 + 5, "unseen"))
    different.alarms[risen.alarm_id] = replace(risen, condition=Truth.UNKNOWN)
    for new in (2, 0):
        with journal.batch(T0 + MINUTE) as batch:
            assert batch.record(different, replay_of=batch_seq) == new
    assert journal.last_seq == batch_seq
    # The row that was written stands: the transition is in the trail, for whoever looks into the difference.
    assert journal.reader.alarms() == [risen]


def test_equal_transitions_of_one_batch_are_counted_one_by_one(journal):
    risen = alarm()
    effects = raised(risen)
    step = Transition(risen.alarm_id, "condition", "true", "true", T0, "recurred")
    effects.transitions += [step, step]
    record(journal, effects)
    batch_seq = journal.last_seq
    effects.transitions.append(step)
    with journal.batch(T0) as batch:
        assert batch.record(effects, replay_of=batch_seq) == 1


def test_home_states_and_plans_come_back(path):
    states = [HomeState(f"home{n}", 1, 1, "p2", '{"at":1}') for n in range(1_200)]
    with Journal.open(path) as journal:
        assert journal.last_plan() is None
        assert journal.last_now() is None
        assert journal.engine_state() is None
        feed(journal, reading())
        with journal.batch(T0) as batch:
            batch.save_plan("p1", '{"名":1}')
            batch.save_plan("p2", '{"rules":[]}')
            batch.save_home_states(states)
        with journal.batch(T0 + 1) as batch:
            batch.save_plan("p2", '{"rules":[]}')
            batch.save_home_states([states[3]._replace(upto_seq=0)])
            batch.delete_home_states(["home4"])
    with Journal.open(path) as journal:
        assert journal.last_plan() == ("p2", '{"rules":[]}', T0)
        assert journal.plan("p1").body == '{"名":1}'
        assert journal.plan("p3") is None
        kept = {state.home_id: state for state in journal.home_states()}
        assert len(kept) == 1_199
        assert kept["home3"].upto_seq == 0
        assert kept["home5"] == states[5]


def test_cursors_come_back(journal):
    feed(journal, reading())
    assert journal.cursor("influxdb") is None
    with journal.batch(T0) as batch:
        batch.save_cursor("influxdb", 0)
        batch.save_cursor("influxdb", 1)
        batch.save_cursor("gone", 1)
    with journal.batch(T0) as batch:
        batch.delete_cursor("gone")
    assert journal.cursor("influxdb") == 1
    assert journal.reader.sizes().cursors == {"influxdb": 1}


def test_a_command_is_an_event_and_stands_in_the_trail(journal):
    risen = alarm()
    record(journal, raised(risen))
    with journal.batch(T0 + MINUTE) as batch:
        batch.append_event(close_command(risen, note="半个字\ud800"))
        batch.record(closed(risen))
    whats = [(entry.what, entry.actor_id, entry.note) for entry in journal.reader.trail(risen.alarm_id)]
    assert whats == [
        ("transition", None, ""),
        ("command", "li", "半个字?"),
        ("transition", "li", "all is well"),
    ]
    assert list(journal.tail())[-1].inputs[0][1] == close_command(risen, note="半个字\ud800")


def test_a_readonly_journal_answers_and_does_not_write(path):
    with Journal.open(path) as journal:
        feed(journal, reading())
        with Journal.open(path, readonly=True) as other:
            assert [batch.seq for batch in other.tail()] == [1]
            assert other.last_now() == T0
            with pytest.raises(JournalError, match="reading only"):
                other.batch(T0)
            with pytest.raises(JournalError, match="reading only"):
                other.prune(T0, keep_readings=1, keep_alarms=1)


def test_a_reader_sees_a_batch_once_it_is_committed(journal, path):
    with Reader.open(path) as reader:
        with journal.batch(T0) as batch:
            batch.append_readings([reading()])
            assert reader.head() == 0
        assert reader.head() == 1


def test_a_reader_cannot_write(journal, path):
    with Reader.open(path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM alarms")


def test_text_and_its_alarm_are_one(journal):
    risen = alarm()
    record(journal, raised(risen, "li"))
    assert [entry.notification.recipient_id for entry in journal.reader.notifications(risen.alarm_id)] == ["li"]
    with journal.batch(T0) as batch:
        assert batch.record(Effects(notifications=[text(risen)])) == 0
