"""A file comes to the newest layout step by step, with a copy made first."""

import sqlite3

import pytest

from sensor_guard.journal import Journal, JournalVersionError, Reader, store
from sensor_guard.journal import migrations as migrations_module
from sensor_guard.journal.errors import JournalUnavailableError, translate
from sensor_guard.journal.migrations import Migration, shipped
from tests.journal.make import feed, reading, rows

NEXT = len(shipped()) + 1
GOOD = Migration(NEXT, "CREATE TABLE weather (at INTEGER); INSERT INTO weather VALUES (1);")
BAD = Migration(NEXT, "CREATE TABLE weather (at INTEGER); INSERT INTO nowhere VALUES (1);")


@pytest.fixture
def old(path):
    with Journal.open(path) as journal:
        feed(journal, reading())
    return path


def newer(monkeypatch, *steps):
    all_steps = [*shipped(), *steps]
    for module in (store, migrations_module):
        monkeypatch.setattr(module, "shipped", lambda: all_steps)


def backups(path):
    return sorted(entry.name for entry in path.parent.iterdir() if "bak" in entry.name)


def test_the_shipped_steps_are_numbered_without_a_gap():
    assert [step.number for step in shipped()] == list(range(1, NEXT))


def test_a_new_file_has_the_newest_layout_and_no_copy(path, monkeypatch):
    newer(monkeypatch, GOOD)
    with Journal.open(path) as journal:
        assert rows(journal, "PRAGMA user_version") == [(NEXT,)]
    assert backups(path) == []


def test_an_older_file_is_copied_and_brought_up_to_date(old, monkeypatch):
    newer(monkeypatch, GOOD)
    with Journal.open(old) as journal:
        assert rows(journal, "SELECT at FROM weather") == [(1,)]
        assert [seq for seq, _ in journal.reader.readings_after(0, 9)] == [1]
    name = f"journal.db.schema{NEXT - 1}.bak"
    assert backups(old) == [name]
    monkeypatch.undo()
    with Reader.open(old.with_name(name)) as reader:
        assert reader.check(full=True) == []
        assert [seq for seq, _ in reader.readings_after(0, 9)] == [1]


def test_several_steps_are_taken_in_their_order(old, monkeypatch):
    newer(monkeypatch, GOOD, Migration(NEXT + 1, "ALTER TABLE weather ADD COLUMN rain REAL;"))
    with Journal.open(old) as journal:
        assert rows(journal, "SELECT at, rain FROM weather") == [(1, None)]
        assert rows(journal, "PRAGMA user_version") == [(NEXT + 1,)]


def test_a_step_that_fails_leaves_the_file_as_it_was(old, monkeypatch):
    newer(monkeypatch, BAD)
    with pytest.raises(Exception, match="no such table: nowhere"):
        Journal.open(old)
    monkeypatch.undo()
    with Journal.open(old) as journal:
        assert rows(journal, "PRAGMA user_version") == [(NEXT - 1,)]
        assert rows(journal, "SELECT count(*) FROM sqlite_master WHERE name = 'weather'") == [(0,)]


def test_the_copy_of_an_earlier_try_is_kept(old, monkeypatch):
    copy = old.with_name(f"journal.db.schema{NEXT - 1}.bak")
    copy.write_bytes(b"from the first try")
    newer(monkeypatch, GOOD)
    Journal.open(old).close()
    assert copy.read_bytes() == b"from the first try"


def test_without_a_copy_there_is_no_upgrade(old, monkeypatch):
    def full(*_):
        error = sqlite3.OperationalError("disk full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise translate(error, old)

    newer(monkeypatch, GOOD)
    monkeypatch.setattr(migrations_module, "copy_to", full)
    with pytest.raises(JournalUnavailableError):
        Journal.open(old)
    monkeypatch.undo()
    with Journal.open(old) as journal:
        assert rows(journal, "PRAGMA user_version") == [(NEXT - 1,)]


def test_a_reader_does_not_upgrade(old, monkeypatch):
    newer(monkeypatch, GOOD)
    for opener in (Reader.open, lambda path: Journal.open(path, readonly=True)):
        with pytest.raises(JournalVersionError, match="older sensor_guard"):
            opener(old)
