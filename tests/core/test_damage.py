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
from sensor_guard.journal import Journal, JournalCorruptError, Reader, open_or_mend, suspect
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
