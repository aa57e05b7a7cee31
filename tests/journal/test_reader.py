"""What people, sinks and metrics are told; backups; the check."""

import sqlite3
from contextlib import closing

import pytest

from sensor_guard.errors import JournalError
from sensor_guard.journal import AlarmStep, Journal, JournalCorruptError, Reader
from sensor_guard.model import MINUTE, Reading
from tests.journal.make import T0, alarm, closed, feed, lease, raised, reading, record, rows


def test_alarms_come_newest_first_by_home_and_open_ones_alone(journal):
    for n in range(4):
        record(journal, raised(alarm(n, home=f"home{n % 2}", at=T0 + n)))
    record(journal, closed(alarm(3, home="home1", at=T0 + 3)))
    numbers = [[int(row.alarm_id[-1]) for row in journal.reader.alarms(**wanted)] for wanted in (
        {}, {"open_only": True}, {"home_id": "home1"}, {"home_id": "home1", "open_only": True}, {"limit": 2},
    )]  # fmt: skip
    assert numbers == [[3, 2, 1, 0], [2, 1, 0], [3, 1], [1], [3, 2]]
    assert journal.reader.alarm("home1.panic.9") is None


def test_a_sink_follows_readings_and_the_steps_of_alarms_by_one_cursor(journal):
    for n in range(6):
        with journal.batch(T0 + n) as batch:
            batch.append_readings([reading(float(n), at=T0 + n, home=f"home{k}") for k in range(3)])
            batch.record(raised(alarm(n), "li"))
    whole = list(journal.reader.rows_after(0, 10_000))
    assert [seq for seq, _ in whole] == sorted({seq for seq, _ in whole})
    kinds = ["step" if isinstance(row, AlarmStep) else "reading" for _, row in whole]
    assert kinds == ["reading", "reading", "reading", "step"] * 6
    assert whole[3][1].severity == "critical"
    assert whole[3][1].transition.alarm_id == alarm(0).alarm_id
    for limit in range(1, 9):
        followed, cursor = [], 0
        while page := journal.reader.rows_after(cursor, limit):
            assert len(page) <= limit
            followed += page
            cursor = page[-1][0]
        assert followed == whole


def test_sizes_say_what_is_there(journal, path):
    assert journal.reader.sizes()[:7] == (
        0, 0, 0, None, 0, {"pending": 0, "sending": 0, "accepted": 0, "ambiguous": 0}, 0,
    )  # fmt: skip
    feed(journal, reading(), reading(at=T0 + 1))
    record(journal, raised(alarm(), "li", "wang"), now=T0 + MINUTE)
    lease(journal, limit=1)
    sizes = journal.reader.sizes()
    assert (sizes.first_seq, sizes.last_seq, sizes.tail_seq, sizes.last_now) == (1, 3, 0, T0 + MINUTE)
    assert sizes.open_alarms == 1
    assert sizes.texts == {"pending": 1, "sending": 1, "accepted": 0, "ambiguous": 0}
    assert sizes.file_bytes + sizes.wal_bytes > 4_096
    journal.checkpoint()
    assert journal.reader.sizes().wal_bytes == 0


# -- backups ----------------------------------------------------------------------------------------------------------


def test_a_backup_is_one_whole_file(journal, tmp_path):
    feed(journal, reading())
    record(journal, raised(alarm(), "li"))
    target = tmp_path / "copies" / "copy.db"
    target.parent.mkdir()
    journal.backup(target)
    assert [entry.name for entry in target.parent.iterdir()] == ["copy.db"]
    feed(journal, reading(at=T0 + 1))
    with Journal.open(target) as copy:
        assert copy.check(full=True) == []
        assert [seq for seq, _ in copy.reader.readings_after(0, 9)] == [1]
        assert copy.reader.alarms() == [alarm()]
        assert feed(copy, reading(at=T0 + 9))[0][0] == copy.reader.head()


def test_a_backup_never_overwrites(journal, tmp_path):
    target = tmp_path / "copy.db"
    target.write_bytes(b"precious")
    with pytest.raises(JournalError, match="never overwritten"):
        journal.backup(target)
    assert target.read_bytes() == b"precious"


def test_two_backups_to_one_name_are_not_mixed(journal, tmp_path):
    (tmp_path / "copy.db.partial").touch()
    with pytest.raises(JournalError, match="another backup is under way"):
        journal.backup(tmp_path / "copy.db")
    assert (tmp_path / "copy.db.partial").exists()


def test_a_backup_that_cannot_be_written_leaves_nothing(journal, tmp_path):
    with pytest.raises(JournalError, match="folder that can be written"):
        journal.backup(tmp_path / "nowhere" / "copy.db")
    journal.reader._db.execute("BEGIN")  # a transaction of ours does not hinder a copy
    journal.backup(tmp_path / "copy.db")
    journal.reader._db.execute("ROLLBACK")


# -- the check --------------------------------------------------------------------------------------------------------

SPOILT = [
    ("DELETE FROM alarms", "text home1.panic.0.1 belongs to no alarm"),
    ("DELETE FROM alarms", "trail row of no alarm: home1.panic.0"),
    ("UPDATE alarms SET alarm_id = 'x.y.z'", "alarm x.y.z has no first transition"),
    ("DROP TRIGGER trail_goes_with_its_closed_alarm; DELETE FROM trail WHERE n = 2", "home1.panic.0 has a gap"),
    ("DROP TRIGGER trail_goes_with_its_closed_alarm; DELETE FROM trail WHERE n = 1", "has no first transition"),
    ("INSERT INTO cursors VALUES ('influxdb', 99)", "cursor of sink influxdb lies behind"),
    ("INSERT INTO meta VALUES ('tail_seq', 99)", "tail_seq lies behind"),
    ("INSERT INTO home_state VALUES ('home1', 99, 1, 'h', '{}', NULL, NULL)", "state of home home1 lies behind"),
    ("INSERT INTO events VALUES (1, 'drained', '{\"at\":1}')", "seq 1 is an event and a reading"),
    ("INSERT INTO events VALUES (90, 'drained', '{\"at\":1}')", "seq 90 lies behind the last batch"),
    ("INSERT INTO events VALUES (2, 'drained', '{}')", "event drained cannot be read"),
    ("UPDATE alarms SET condition = 'perhaps'", "alarm home1.panic.0 cannot be read"),
    ("UPDATE alarms SET evidence = '{'", "alarm home1.panic.0 cannot be read"),
    ("UPDATE outbox SET params = '{'", "text home1.panic.0.1 cannot be read"),
    ("UPDATE readings SET sensor = 77", "readings row 1 refers to a row of sensors"),
    ("INSERT INTO pruning VALUES ('home1.panic.0')", "left open: home1.panic.0"),
]


@pytest.mark.parametrize(("sql", "fault"), SPOILT)
def test_the_check_finds_what_does_not_fit_together(path, sql, fault):
    with Journal.open(path) as journal:
        feed(journal, reading())
        record(journal, raised(alarm(), "li"))
        lease(journal)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in sql.split(";"):
            db.execute(statement)
    with Reader.open(path) as reader:
        faults = reader.check(full=True)
    assert any(fault in said for said in faults), faults


def test_a_row_that_a_person_spoilt_is_named_when_it_is_read(path):
    with Journal.open(path) as journal:
        record(journal, raised(alarm()))
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("UPDATE alarms SET response = 'shrugged'")
        with pytest.raises(JournalCorruptError, match=r"home1\.panic\.0.*shrugged"):
            journal.reader.alarms()


def test_readers_do_not_stand_in_the_writers_way(journal, path):
    feed(journal, *(reading(at=T0 + n) for n in range(50)))
    with Reader.open(path) as reader, reader._snapshot():
        assert len(reader.readings_after(0, 10)) == 10
        assert feed(journal, reading(home="home9"))
        assert reader.head() == 50
    assert rows(journal, "SELECT count(*) FROM readings") == [(51,)]
    assert isinstance(journal.reader.last_readings("home9")[0], Reading)
