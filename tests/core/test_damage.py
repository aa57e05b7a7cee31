"""A damaged journal: the daemon always comes up, and every open alarm that can be read is open and told."""

import os
import random
import shutil
import sqlite3
import time
from contextlib import closing

import pytest

from sensor_guard.beginning import begin
from sensor_guard.core import Core
from sensor_guard.journal import ForeignFileError, Journal, JournalCorruptError, Reader, open_or_mend, suspect
from sensor_guard.model import AlarmOutcome, Command, CommandKind, NotificationState
from tests.core.conftest import Box, FakeReader, at, plan
from tests.journal.make import rows

HOMES = tuple(f"h{n}" for n in range(1, 9))
CASES = int(os.environ.get("DAMAGE_CASES", "200"))
NOW = at("9h")
STAMP = "20260301T090000Z"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A journal with eight open alarms, some answered, a few closed, and 6,000 readings; as a process leaves it."""
    folder = tmp_path_factory.mktemp("sound")
    box = Box(folder / "journal.db", plan(*HOMES, rules={"panic", "smoke", "electricity_low", "journal_damaged"}))
    for n in range(600):
        now = at() + n * 30_000
        events = [box.message(f"{home}/power_w/dated", 80 + n % 5, now) for home in HOMES]
        box.step(now, *events, box.message("h1/x", "bad", now))
        if n % 75 == 40:
            home = HOMES[n // 75]
            for text in box.step(now, box.message(f"{home}/panic", 1, now), room=9).leased:
                box.reports_at(now, text, NotificationState.DELIVERED)
            box.step(now, box.message(f"{home}/smoke", 1, now))
            smoke = next(a.alarm_id for a in box.journal.reader.alarms(home_id=home) if a.rule_id == "smoke")
            box.step(now, Command(f"c{n}", CommandKind.CLOSE, smoke, "wang", now, outcome=AlarmOutcome.FINE))
            box.step(now, box.message(f"{home}/smoke", 0, now))  # else it burns on, and rises again
        if n == 500:
            box.core.checkpoint_all(now)
    first = next(a.alarm_id for a in box.journal.reader.alarms(home_id="h2") if a.rule_id == "panic")
    box.step(at("5h"), Command("c", CommandKind.ACKNOWLEDGE, first, "wang", at("5h")))
    box.step(at("5h"), Command("d", CommandKind.AWAY, "h3", "wang", at("5h"), until=at("72h")))
    box.journal.checkpoint()
    box.off()
    with Reader.open(box.path) as reader:
        assert reader.check(full=True) == []
    return box.path


@pytest.fixture
def path(sound, tmp_path):
    target = tmp_path / "journal.db"
    shutil.copy(sound, target)
    return target


def comes_up(path):
    """As the daemon starts: at most one more try, and then it turns."""
    for _ in range(2):
        journal, mended = open_or_mend(path, stamp=STAMP, clock=time.monotonic)
        core = Core(journal, plan(*HOMES, rules={"panic", "smoke", "electricity_low", "journal_damaged"}), FakeReader())
        try:
            begin(core, mended, NOW)
            core.commit(core.turn([], NOW + 1_000), room=100)
        except JournalCorruptError as error:
            journal.close()
            suspect(path, str(error))
            continue
        return core, mended
    raise AssertionError("a crash loop")


def readable_alarms(path):
    """Open alarms as SQLite itself gives them, read one by one."""
    found = set()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for rowid in range(1, 40):
            try:
                row = db.execute(
                    "SELECT alarm_id, closed_at, response, condition, severity FROM alarms NOT INDEXED WHERE rowid = ?",
                    (rowid,),
                ).fetchone()
            except (sqlite3.Error, UnicodeDecodeError):
                continue
            if row and row[1] is None and row[2] in ("unanswered", "acknowledged") and row[0].startswith("h"):
                found.add(row[0])
    return found


def damage(data, chance):
    """Flip, garble, zero or cut: what disks and torn writes do."""
    kind = chance.choice(["flip", "flip", "garble", "zero page", "zero page", "swap", "cut"])
    place = chance.randrange(len(data))
    page = place - place % 4_096
    if kind == "flip":
        data[place] ^= 1 << chance.randrange(8)
    elif kind == "garble":
        data[place : place + 200] = chance.randbytes(min(200, len(data) - place))
    elif kind == "zero page":
        data[page : page + 4_096] = bytes(4_096)
    elif kind == "swap":
        other = chance.randrange(len(data) // 4_096) * 4_096
        data[page : page + 4_096], data[other : other + 4_096] = data[other : other + 4_096], data[page : page + 4_096]
    else:
        del data[max(4_096, place) :]
    return kind, place


@pytest.mark.parametrize("part", range(4))
def test_whatever_is_damaged_it_comes_up_with_every_alarm_that_can_be_read(sound, tmp_path, part):
    chance = random.Random(20260301 + part)
    original = sound.read_bytes()
    outcomes = {"sound": 0, "whole": 0, "rebuilt": 0}
    for case in range(CASES // 4):
        path = tmp_path / f"{case}" / "journal.db"
        path.parent.mkdir()
        data = bytearray(original)
        what = damage(data, chance)
        path.write_bytes(data)
        readable = readable_alarms(path)

        core, mended = comes_up(path)

        alarms = {alarm.alarm_id: alarm for alarm in core.journal.reader.alarms(open_only=True, limit=1_000)}
        assert readable <= alarms.keys(), what
        for alarm_id in readable:
            home = core.engine.homes[alarm_id.partition(".")[0]]
            assert alarm_id in home.cases.alarms, what
            assert home.cases.climbs[alarm_id].next_due(home.cases.alarms[alarm_id]) < NOW + 86_400_000, what
        if mended is not None:
            # A letter that was flipped inside a row is lost, and may make two rows strangers; the file is sound.
            assert rows(core.journal, "PRAGMA integrity_check") == [("ok",)]
            assert not [fault for fault in core.journal.check(full=True) if fault.startswith("SQLite")]
            assert any("journal_damaged" in alarm_id for alarm_id in alarms), what
            assert mended.set_aside.read_bytes() == bytes(data), what
            outcomes["whole" if mended.salvaged.is_whole else "rebuilt"] += 1
        else:
            outcomes["sound"] += 1
        core.journal.close()
        assert Journal.open(path).close() is None
        shutil.rmtree(path.parent)
    assert min(outcomes.values()) > 0, outcomes
    assert sum(outcomes.values()) == CASES // 4


# -- one by one -------------------------------------------------------------------------------------------------------


def spoil(path, place, length=4_096):
    data = bytearray(path.read_bytes())
    data[place : place + length] = os.urandom(length)
    path.write_bytes(data)


def pages_of(path, table):
    """The pages of a table's own tree, the root first, as the page numbers in its interior pages say."""
    with closing(sqlite3.connect(path)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    data = path.read_bytes()
    start = (root - 1) * 4_096
    if data[start] != 0x05:
        return [root]
    cells = int.from_bytes(data[start + 3 : start + 5], "big")
    pointers = [int.from_bytes(data[start + 12 + 2 * n : start + 14 + 2 * n], "big") for n in range(cells)]
    children = [int.from_bytes(data[start + cell : start + cell + 4], "big") for cell in pointers]
    return [root, *children, int.from_bytes(data[start + 8 : start + 12], "big")]


def pages_of_layout(data):
    """The leaves of sqlite_master, as the first page names them; its tree begins behind the file's own header."""
    cells = int.from_bytes(data[103:105], "big")
    pointers = [int.from_bytes(data[112 + 2 * n : 114 + 2 * n], "big") for n in range(cells)]
    return [*(int.from_bytes(data[cell : cell + 4], "big") for cell in pointers), int.from_bytes(data[108:112], "big")]


def test_an_old_page_of_readings_costs_its_readings_and_nothing_else(path, sound, tmp_path):
    spoil(path, (pages_of(path, "readings")[3] - 1) * 4_096)
    undamaged = tmp_path / "undamaged.db"
    shutil.copy(sound, undamaged)
    ordinary, _ = comes_up(undamaged)

    core, mended = comes_up(path)

    assert mended.salvaged.is_whole
    assert set(mended.salvaged.lost) == {"readings"}
    lost = mended.salvaged.kept["readings"] - ordinary.journal.reader._rows("SELECT count(*) FROM readings", ())[0][0]
    assert -200 < lost < 0
    # The holds go on where they were, nobody is told anything afresh, and nobody is forgotten.
    for home_id in HOMES:
        mine, theirs = core.engine.homes[home_id], ordinary.engine.homes[home_id]
        assert {w.key: (w.truth, w.run_from, w.counted) for w in mine.watches} == {
            w.key: (w.truth, w.run_from, w.counted) for w in theirs.watches
        }
        assert mine.cases.open_by_rule == theirs.cases.open_by_rule
    assert core.engine.homes["h3"].is_away
    core.journal.close()
    ordinary.journal.close()


def test_without_the_states_every_open_alarm_is_told_anew_and_what_people_said_is_kept(path):
    for page in pages_of(path, "batches"):
        spoil(path, (page - 1) * 4_096)
    before = readable_alarms(path)

    core, mended = comes_up(path)

    assert not mended.salvaged.is_whole
    assert before == {a.alarm_id for a in core.journal.reader.alarms(open_only=True) if a.home_id != "gateway"}
    told = {row[0] for row in core.journal.reader._rows("SELECT alarm_id FROM outbox WHERE state = 'sending'", ())}
    answered = {a.alarm_id for a in core.journal.reader.alarms(open_only=True) if a.response == "acknowledged"}
    assert len(answered) == 1
    assert before <= told
    assert core.engine.homes["h3"].is_away
    # An ordinary start from here on: nothing is different, nothing is mended.
    core.journal.close()
    again, untouched = comes_up(path)
    assert untouched is None
    assert again.counters.differences == 0
    again.journal.close()


def test_an_alarm_whose_own_row_is_gone_is_remembered_by_its_home(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        (gone,) = db.execute("SELECT alarm_id FROM alarms WHERE closed_at IS NULL LIMIT 1").fetchone()
        db.execute("DELETE FROM alarms WHERE alarm_id = ?", (gone,))
    suspect(path, "by hand")

    core, mended = comes_up(path)

    assert mended is not None
    core.journal.close()
    with Reader.open(path) as reader:
        assert reader.alarm(gone).response == "unanswered"


LATE = "UPDATE meta SET value = replace(value, '\"now\":1', '\"now\":9') WHERE key = 'engine_state'"


@pytest.mark.parametrize(
    ("table", "sql"),
    [
        ("the state of a home", "UPDATE home_state SET state = '{' WHERE home_id = 'h4'"),
        ("the key of a home", "UPDATE home_state SET home_id = 'h!' WHERE home_id = 'h4'"),
        ("the engine's state", "UPDATE meta SET value = '{\"plan\":7}' WHERE key = 'engine_state'"),
        ("the engine's time", LATE),
        ("the salt", "UPDATE meta SET value = 'salt' WHERE key = 'salt'"),
        ("an event", "UPDATE events SET body = '[]' WHERE seq = (SELECT max(seq) FROM events)"),
        ("a text", "UPDATE outbox SET params = '{'"),
        ("why an alarm rose", "UPDATE alarms SET evidence = 'x'"),
        ("a word", "UPDATE alarms SET condition = 'perhaps' WHERE closed_at IS NOT NULL"),
    ],
)  # fmt: skip
def test_rows_that_sqlite_reads_and_we_cannot_are_no_crash_loop(path, table, sql):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(sql)
        expected = {
            row[0] for row in db.execute("SELECT alarm_id FROM alarms WHERE closed_at IS NULL AND home_id <> 'gateway'")
        }

    core, mended = comes_up(path)

    assert mended is not None, table
    for alarm_id in expected:
        assert alarm_id in core.engine.homes[alarm_id.partition(".")[0]].cases.alarms
    assert core.journal.check(full=True) == []
    core.journal.close()


def test_the_newest_three_are_kept(path):
    for n in range(5):
        suspect(path, "once more")
        journal, mended = open_or_mend(path, stamp=f"20260301T00000{n}Z", clock=time.monotonic)
        journal.close()
        assert mended.why == "once more"
    assert sorted(p.name for p in path.parent.glob("*.damaged-*Z")) == [
        f"journal.db.damaged-20260301T00000{n}Z" for n in (2, 3, 4)
    ]
    assert not list(path.parent.glob("*.mend*")) + list(path.parent.glob("*.suspect"))


@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_a_mending_that_was_cut_short_goes_on(path, renamed):
    suspect(path, "cut short")
    mended = path.with_name("journal.db.mended")
    shutil.copy(path, mended)
    path.with_name("journal.db-wal").write_bytes(b"what the damaged file had")
    spoil(path, 0, 20_000)
    aside = path.with_name(f"journal.db.damaged-{STAMP}")
    if renamed >= 1:
        path.with_name("journal.db-wal").rename(f"{aside}-wal")
    if renamed >= 2:
        path.rename(aside)

    journal, again = open_or_mend(path, stamp=STAMP, clock=time.monotonic)

    assert again is None
    assert journal.check(full=True) == []
    assert aside.exists()
    journal.close()


def test_a_file_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(ForeignFileError):
        open_or_mend(path, stamp=STAMP, clock=time.monotonic)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if "damaged" in p.name] == []


@pytest.mark.parametrize("seed", range(12))
def test_a_layout_whose_words_are_no_utf_8_any_more_is_no_crash_loop(sound, tmp_path, seed):
    """SQLite's own words on it quote what stands there, and the module that calls it decodes them."""
    chance = random.Random(seed)
    data = bytearray(sound.read_bytes())
    for page in pages_of_layout(data):
        place, length = (page - 1) * 4_096 + chance.randrange(4_096 - 40), chance.choice((3, 10, 40))
        data[place : place + length] = bytes(byte ^ 0xFF for byte in data[place : place + length])
    path = tmp_path / "journal.db"
    path.write_bytes(data)
    core, _ = comes_up(path)
    assert core.journal.check() == [] or core.counters.damaged
    core.journal.close()


def test_a_large_file_takes_no_longer_than_it_may(path):
    """A clock that says the time is over: alarms and states come over, readings as far as they had got."""
    spoil(path, (pages_of(path, "readings")[3] - 1) * 4_096)
    calls = iter(range(0, 1_000, 4))

    journal, mended = open_or_mend(path, stamp=STAMP, clock=lambda: float(next(calls)))

    assert mended.salvaged.kept["alarms"] == 16
    assert 0 < mended.salvaged.kept["readings"] < 4_000
    assert rows(journal, "SELECT max(seq) FROM readings") == [(mended_newest(mended),)]
    journal.close()


def mended_newest(mended):
    with closing(sqlite3.connect(f"file:{mended.set_aside}?mode=ro", uri=True)) as db:
        return db.execute("SELECT max(seq) FROM readings").fetchone()[0]


@pytest.mark.parametrize("pages", [[1], [1, 2, 3, 4], "header", "schema"])
def test_the_pages_that_say_where_everything_is_are_kept_twice(path, pages):
    journal, _ = open_or_mend(path, stamp=STAMP, clock=time.monotonic)
    journal.close()
    kept = path.with_name("journal.db.head").read_bytes()
    numbers = [int.from_bytes(kept[at : at + 4], "big") for at in range(24, len(kept), 4_100)]
    assert numbers[0] == 1
    if pages == "header":
        spoil(path, 0, 100)
    else:
        for number in numbers if pages == "schema" else [page for page in pages if page in numbers]:
            spoil(path, (number - 1) * 4_096)

    core, mended = comes_up(path)

    assert mended.salvaged.is_whole
    assert mended.salvaged.lost == {}
    assert len([a for a in core.journal.reader.alarms(open_only=True) if a.home_id != "gateway"]) == 8
    assert not list(path.parent.glob("*copy*"))
    core.journal.close()
