"""Each kind of failure has its own error; after those that pass, the same batch goes in."""

import os
import sqlite3
from contextlib import closing

import pytest

from sensor_guard.errors import AlreadyRunningError, JournalError
from sensor_guard.journal import (
    Journal,
    JournalBusyError,
    JournalCorruptError,
    JournalFullError,
    JournalReadOnlyError,
    JournalUnavailableError,
    JournalVersionError,
    Reader,
)
from sensor_guard.journal.errors import JournalIOError, translate
from tests.journal.make import T0, feed, reading


def many(count=3_000):
    return [reading(at=T0 + n) for n in range(count)]


def test_a_full_disk_is_told_and_the_same_batch_goes_in_later(journal):
    feed(journal, reading(99.0))
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    for _ in range(2):
        with pytest.raises(JournalFullError, match="no space is left"):
            feed(journal, *many())
    assert len(journal.reader.readings_after(0, 9_999)) == 1
    journal._db.execute("PRAGMA max_page_count = 1073741823")
    assert [seq for seq, _ in feed(journal, *many())] == list(range(2, 3_002))


def test_a_strangers_lock_is_told_and_passes(path):
    with Journal.open(path, busy_timeout=10) as journal, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalBusyError, match="another program"):
            feed(journal, reading())
        with pytest.raises(JournalBusyError):
            journal.prune(T0, keep_readings=0, keep_alarms=0)
        other.execute("ROLLBACK")
        assert len(feed(journal, reading())) == 1


def test_a_file_that_cannot_be_written_is_told_and_passes(journal):
    journal._db.execute("PRAGMA query_only = ON")
    with pytest.raises(JournalReadOnlyError, match="cannot be written"):
        feed(journal, reading())
    journal._db.execute("PRAGMA query_only = OFF")
    assert len(feed(journal, reading())) == 1


def test_what_passes_is_one_family():
    for kind in (JournalFullError, JournalBusyError, JournalReadOnlyError, JournalIOError):
        assert issubclass(kind, JournalUnavailableError)
    assert {kind.reason for kind in JournalUnavailableError.__subclasses__()} == {"full", "io", "busy", "read_only"}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, JournalFullError),
        (sqlite3.SQLITE_IOERR, JournalIOError),
        (sqlite3.SQLITE_IOERR_WRITE, JournalIOError),
        (sqlite3.SQLITE_IOERR_FSYNC, JournalIOError),
        (sqlite3.SQLITE_CANTOPEN, JournalIOError),
        (sqlite3.SQLITE_READONLY, JournalReadOnlyError),
        (sqlite3.SQLITE_READONLY_DBMOVED, JournalReadOnlyError),
        (sqlite3.SQLITE_BUSY, JournalBusyError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, JournalBusyError),
        (sqlite3.SQLITE_LOCKED, JournalBusyError),
        (sqlite3.SQLITE_CORRUPT, JournalCorruptError),
        (sqlite3.SQLITE_NOTADB, JournalCorruptError),
        (sqlite3.SQLITE_ERROR, JournalError),
        (sqlite3.SQLITE_CONSTRAINT_NOTNULL, JournalError),
        (None, JournalError),
    ],
)
def test_sqlites_codes_have_their_kinds(path, code, kind):
    error = sqlite3.OperationalError("words")
    if code is not None:
        error.sqlite_errorcode = code
    ours = translate(error, path)
    assert type(ours) is kind
    assert str(path) in str(ours)
    assert "words" in str(ours)


# -- what is not a journal --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opener", [Journal.open, Reader.open])
@pytest.mark.parametrize("content", [b"# a text file, and long enough\n" * 40, b"SQLite format 3\0" + b"\xff" * 4_080])
def test_a_file_that_is_no_database_is_named_with_the_way_out(path, opener, content):
    path.write_bytes(content)
    with pytest.raises(
        JournalCorruptError, match=r"journal\.db: not a sound journal.*moves journal\.db aside.*backup"
    ) as caught:
        opener(path)
    assert caught.value.path == path
    assert path.read_bytes() == content


def test_another_programs_database_is_left_alone(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(JournalCorruptError, match="another program"):
        Journal.open(path)


def test_a_damaged_page_is_found(path):
    with Journal.open(path) as journal:
        feed(journal, *many(5_000))
    spoilt = bytearray(path.read_bytes())
    assert len(spoilt) > 60 * 4_096
    for page in range(30, 60):
        spoilt[page * 4_096 : page * 4_096 + 200] = os.urandom(200)
    path.write_bytes(spoilt)
    with Reader.open(path) as reader:
        assert any("SQLite" in fault for fault in reader.check())


def test_after_a_refusal_the_lock_is_free(path):
    path.write_bytes(b"nonsense" * 999)
    for _ in range(2):
        with pytest.raises(JournalCorruptError):
            Journal.open(path)
    path.unlink()
    Journal.open(path).close()


def test_one_process_cannot_open_it_twice_either(journal, path):
    with pytest.raises(AlreadyRunningError, match=f"process {os.getpid()}"):
        Journal.open(path)


def test_a_missing_folder_and_a_folder_in_its_place_are_told(tmp_path):
    with pytest.raises(JournalError, match="folder must be there"):
        Journal.open(tmp_path / "nowhere" / "journal.db")
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(JournalError, match=r"journal\.db"):
        Journal.open(tmp_path / "journal.db")


def test_a_reader_of_nothing_is_told(path):
    with pytest.raises(JournalError, match="no journal"):
        Reader.open(path)
    assert not path.exists()


def test_the_file_is_for_its_owner_only(journal, path):
    for name in (path, path.with_name("journal.db-wal"), path.with_name("journal.db.lock")):
        assert name.stat().st_mode & 0o077 == 0


def test_a_closed_journal_says_so(path):
    journal = Journal.open(path)
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.batch(T0)


def test_a_strange_path_is_only_a_path(tmp_path):
    path = tmp_path / "a b?mode=memory#%41.db"
    with Journal.open(path) as journal:
        feed(journal, reading())
    assert path.stat().st_size > 0


def test_what_must_be_on_disk_is_asked_of_sqlite(journal):
    asked = {
        name: journal._db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    assert asked == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_newer_layout_is_refused_with_the_way_out(path):
    Journal.open(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA user_version = 9")
    for opener in (Journal.open, Reader.open):
        with pytest.raises(JournalVersionError, match=r"newer sensor_guard \(layout 9.*journal\.db\.schema\d+\.bak"):
            opener(path)
