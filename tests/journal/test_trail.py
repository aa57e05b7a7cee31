"""The trail is append-only, whoever holds the file."""

import sqlite3
from contextlib import closing

import pytest

from sensor_guard.journal import Journal
from sensor_guard.model import MINUTE, Command, Effects
from tests.journal.make import T0, alarm, lease, raised, record

FORBIDDEN = [
    "UPDATE trail SET note = 'nothing happened'",
    "UPDATE trail SET at = at + 1 WHERE n = 1",
    "DELETE FROM trail",
    "DELETE FROM trail WHERE alarm_id = ''",
    "INSERT OR REPLACE INTO trail SELECT seq, batch_seq, alarm_id, n, what, subject, before, 'closed', at, recorded_at,"
    " reason, actor_id, note FROM trail WHERE n = 1",
    "INSERT OR REPLACE INTO trail SELECT seq + 100, batch_seq, alarm_id, n, what, subject, before, 'closed', at,"
    " recorded_at, reason, actor_id, note FROM trail WHERE n = 1",
    # Not even by the way of pruning, while the alarm is open.
    "INSERT INTO pruning SELECT alarm_id FROM alarms; DELETE FROM trail WHERE alarm_id <> ''",
]


@pytest.fixture
def full(path):
    with Journal.open(path) as journal, journal.batch(T0) as batch:
        batch.append_event(Command("c1", "mute", "door_open_night", "li", T0, until=T0 + MINUTE))
        batch.record(raised(alarm(), "li"))
    return path


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_no_statement_changes_or_removes_what_is_written(full, sql):
    with closing(sqlite3.connect(full, isolation_level=None)) as db:
        before = db.execute("SELECT * FROM trail").fetchall()
        assert len(before) == 3
        db.execute("BEGIN")
        *preparations, last = sql.split(";")
        for preparation in preparations:
            db.execute(preparation)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(last)
        db.execute("ROLLBACK")
        assert db.execute("SELECT * FROM trail").fetchall() == before


def test_rows_count_within_their_alarm_and_have_seqs_of_their_own(journal):
    for n in range(2):
        record(journal, raised(alarm(n), "li"))
    lease(journal)
    with journal.batch(T0) as batch:
        batch.append_event(Command("c1", "away", "home1", "li", T0, until=T0 + MINUTE))
        batch.record(Effects(changed=True, refused=[("c1", "there is no home home1")]))
    for n in range(2):
        trail = journal.reader.trail(alarm(n).alarm_id)
        assert [entry.after for entry in trail] == ["true", "pending", "sending"]
    loose = journal.reader.trail("")
    assert [(entry.what, entry.subject, entry.before, entry.after, entry.note) for entry in loose] == [
        ("command", "c1", "home1", "away", ""),
        ("refusal", "c1", "", "", "there is no home home1"),
    ]
    assert [entry.what for entry in journal.reader.trail("", limit=1)] == ["refusal"]


def test_a_command_for_an_alarm_that_is_not_there_is_kept_with_no_alarm(journal):
    with journal.batch(T0) as batch:
        batch.append_event(Command("c1", "close", "home1.panic.7", "li", T0, outcome="fine"))
    (entry,) = journal.reader.trail("")
    assert (entry.before, entry.after, entry.reason, entry.actor_id) == ("home1.panic.7", "close", "fine", "li")
