"""The power goes: what was synced is there, what was written after it is there, half there, or garbage.

While batches are committed, a copy of the file and of its -wal is taken after each acknowledgement. Then each is cut
anywhere behind what the last acknowledged commit had synced, and the rest is lost, zeroed, garbled or written in
another order, as a disk's cache may leave it.
"""

import os
import random

import pytest

from sensor_guard.journal import Journal
from tests.journal import processes
from tests.journal.make import rows

CUTS = int(os.environ.get("POWER_CUTS", "400"))
BATCHES = 160
FRAME = 4_096 + 24


@pytest.fixture(scope="module")
def moments(tmp_path_factory):
    """(database, -wal, acknowledged batches) after each commit, over several checkpoints of the -wal file."""
    path = tmp_path_factory.mktemp("moments") / "journal.db"
    wal = path.with_name("journal.db-wal")
    taken = []
    with Journal.open(path) as journal:
        journal._db.execute("PRAGMA wal_autocheckpoint = 120")
        for n in range(BATCHES):
            processes.commit(journal, n)
            taken.append((path.read_bytes(), wal.read_bytes(), n + 1))
    assert len({wal[:32] for _, wal, _ in taken}) > 3
    return taken


def torn(old, new, chance):
    """What the disk has of a -wal file that was ``old`` when it was synced, and was being made into ``new``."""
    # Begun anew it may be lost as a whole: everything in it had been synced into the file before.
    is_new = new[:32] != old[:32]
    differing = (at for at in range(min(len(old), len(new))) if old[at] != new[at])
    first = 0 if is_new else next(differing, min(len(old), len(new)))
    if first >= len(new):
        return old + chance.randbytes(chance.randrange(3 * FRAME))
    cut = chance.randrange(first, len(new))
    kind = chance.choice(["over the old", "over the old", "cut", "zeros", "garbage", "hole"])
    if kind == "over the old":
        return new[:cut] + old[cut:]
    if kind == "zeros":
        return new[:cut] + bytes(chance.randrange(2 * FRAME))
    if kind == "garbage":
        return new[:cut] + chance.randbytes(chance.randrange(2 * FRAME))
    if kind == "hole":
        sector = max(cut - cut % 512, first)
        return new[:sector] + bytes(len(new[sector : sector + 512])) + new[sector + 512 :]
    return new[:cut]


@pytest.mark.parametrize("part", range(4))
def test_what_was_acknowledged_is_there_wherever_the_power_goes(moments, tmp_path, part):
    chance = random.Random(part)
    for case in range(CUTS // 4):
        at = chance.randrange(len(moments) - 1)
        database, wal, acknowledged = moments[at]
        path = tmp_path / f"{case}.db"
        path.write_bytes(database)
        path.with_name(f"{case}.db-wal").write_bytes(torn(wal, moments[at + 1][1], chance))

        with Journal.open(path) as journal:
            assert rows(journal, "PRAGMA integrity_check") == [("ok",)]
            fed = rows(journal, "SELECT value, count(*) FROM readings GROUP BY value ORDER BY value")
            # All that was acknowledged, and the batch that was on its way whole or not at all.
            whole = [(float(n), 1 + n % 7) for n in range(acknowledged + 1)]
            assert fed in (whole[:acknowledged], whole), (part, case)
            alarms = rows(journal, "SELECT count(*) FROM alarms JOIN outbox USING (alarm_id)")[0][0]
            assert alarms == len([n for n in range(len(fed)) if n % 3 == 0])
            assert processes.commit(journal, len(fed))
        for left in tmp_path.glob(f"{case}.db*"):
            left.unlink()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_checkpoint_that_is_cut_short_is_done_again(moments, tmp_path, share):
    """The -wal was synced before its pages went into the file: any part of them may be there, in any order."""
    chance = random.Random(7)
    for case in range(max(1, CUTS // 20)):
        at = chance.randrange(1, len(moments))
        database, wal, acknowledged = moments[at]
        path = tmp_path / f"{case}.db"
        pages = {}
        for start in range(32, len(wal) - FRAME + 1, FRAME):
            if wal[start + 8 : start + 16] == wal[16:24]:  # a frame of this -wal file, not of the one before
                pages[int.from_bytes(wal[start : start + 4], "big")] = wal[start + 24 : start + FRAME]
        torn_file = bytearray(database)
        for number, content in pages.items():
            if chance.random() < share:
                place = (number - 1) * 4_096
                torn_file[len(torn_file) : place] = bytes(max(0, place - len(torn_file)))
                half = chance.choice([512, 2_048, 4_096])
                torn_file[place : place + half] = content[:half]
                torn_file.extend(bytes(-len(torn_file) % 4_096))
        path.write_bytes(torn_file)
        path.with_name(f"{case}.db-wal").write_bytes(wal)
        with Journal.open(path) as journal:
            assert journal.check(full=True) == []
            fed = rows(journal, "SELECT count(DISTINCT value) FROM readings")
            assert fed == [(acknowledged,)]
