"""Verbs beside a journal that no daemon writes: what only asks writes nothing, and nothing is written into damage."""

import sqlite3
import time
from contextlib import closing

import pytest

from sensor_guard.journal import open_or_mend, suspect
from sensor_guard.journal.connection import connect_writer
from sensor_guard.journal.migrations import migrate, shipped

ASKING = [("alarms",), ("homes",), ("status",), ("alarm", "ALARM")]
WRITING = [
    ("ack", "ALARM", "--by", "wang"),
    ("close", "ALARM", "--by", "wang", "--outcome", "fine"),
    ("away", "h1", "--until", "3d"),
    ("back", "h1"),
    ("mute", "battery_low", "--until", "3d", "--reason", "x"),
    ("unmute", "battery_low"),
    ("sensor", "test-mode", "h1"),
    ("notify", "test", "wang"),
    ("db", "prune"),
]


def told(words, alarm_id):
    return [alarm_id if word == "ALARM" else word for word in words]


def content(folder):
    """What stands in the journal and beside it. SQLite may leave an empty -wal, and an index of nothing."""
    return {
        path.name: path.read_bytes() for path in folder.glob("journal.db*") if not path.name.endswith(("-shm", ".lock"))
    }


def without_empty(files):
    return {name: data for name, data in files.items() if data}


@pytest.fixture
def damaged(folder, pressed):
    """A page that no verb needs is garbled: everything else can be read, and could be written."""
    path = folder / "journal.db"
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'quarantine'").fetchone()
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4_096 : page * 4_096] = b"\xa5" * 4_096
    path.write_bytes(data)
    path.with_name("journal.db-wal").unlink(missing_ok=True)
    return path


@pytest.mark.parametrize("words", ASKING)
def test_what_only_asks_writes_nothing(guard, folder, pressed, words):
    before = without_empty(content(folder))
    said = guard(*told(words, pressed))

    assert pressed in said.out or words[0] in ("homes", "status")
    assert without_empty(content(folder)) == before


def test_the_answer_is_as_of_the_last_turn_and_nothing_has_come_of_the_time_since(guard, pressed):
    (h1, h2) = guard("homes", "--json").lines
    assert (h1["home_id"], len(h1["open_alarms"]), h2["open_alarms"]) == ("h1", 1, [])
    assert [sensor["observed"] for sensor in h1["sensors"]] == [True, False]


@pytest.mark.parametrize("words", WRITING)
def test_nothing_is_written_into_a_damaged_file_and_the_next_start_knows(guard, folder, pressed, damaged, words):
    before = without_empty(content(folder))
    said = guard(*told(words, pressed))

    assert said.code == (1 if words[0] == "db" else 3)
    assert "not a sound journal" in said.err
    assert "when the daemon starts" in said.err
    after = without_empty(content(folder))
    assert {name: data for name, data in after.items() if "suspect" not in name} == before
    journal, mended = open_or_mend(damaged, stamp="20260301T000000Z", clock=time.monotonic)
    journal.close()
    assert mended.set_aside.read_bytes() == before["journal.db"]


@pytest.mark.parametrize("words", [("alarms",), ("homes",), ("alarm", "ALARM")])
def test_what_can_be_read_of_it_is_told(guard, folder, pressed, damaged, words):
    before = without_empty(content(folder))
    said = guard(*told(words, pressed))

    assert said.code == 0
    assert without_empty(content(folder)) == before


def test_what_a_verb_finds_is_word_for_the_next_start(guard, folder, pressed):
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as db:
        db.execute("UPDATE alarms SET evidence = 'x'")
    said = guard("alarms")

    assert said.code == 3
    assert "not a sound journal" in said.err
    assert (folder / "journal.db.suspect").exists()


def test_where_word_was_left_no_verb_writes(guard, folder, pressed):
    """The daemon found it and ended; it has not come up again yet."""
    suspect(folder / "journal.db", "found by the daemon")
    before = without_empty(content(folder))
    said = guard("ack", pressed, "--by", "wang")

    assert said.code == 3
    assert "found by the daemon" in said.err
    assert without_empty(content(folder)) == before
    assert guard("alarms").code == 0


def test_where_a_mending_was_cut_short_no_verb_writes(guard, folder, pressed):
    """What it wrote would be put aside with the damaged file."""
    (folder / "journal.db.mended").write_bytes((folder / "journal.db").read_bytes())
    before = without_empty(content(folder))
    said = guard("ack", pressed, "--by", "wang")

    assert said.code == 3
    assert without_empty(content(folder)) == before


@pytest.mark.parametrize("words", [("alarms",), ("ack", "h1.panic.x", "--by", "wang")])
def test_a_journal_of_an_older_layout_is_brought_up_to_date_as_ever(guard, folder, words):
    path = folder / "journal.db"
    with closing(connect_writer(path)) as db:
        migrate(db, path, shipped()[:-1])
    said = guard(*words)

    assert "is empty: the daemon has never run here" in said.err
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (shipped()[-1].number,)
