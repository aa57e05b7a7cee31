"""The journal against real processes: killed, refused, out of space."""

import os
import random
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import sensor_guard
from sensor_guard.journal import Journal, Reader
from tests.journal import processes
from tests.journal.make import rows

KILLS = 30


@contextmanager
def started(verb, path):
    process = subprocess.Popen(
        [sys.executable, processes.__file__, verb, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(sensor_guard.__file__).parents[1])},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(verb, path):
    with started(verb, path) as process:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    return out.decode().splitlines()


def acked(lines):
    return [tuple(int(word) for word in line.split()[1:]) for line in lines if line.startswith("acked")]


def test_nothing_that_was_acknowledged_is_lost_by_a_kill_at_any_moment(path):
    """The ledger of acknowledged batches is in the store after every kill, and each batch is whole or not there."""
    chance = random.Random(20260301)
    ledger = []
    for _ in range(KILLS):
        with started("write", path) as process:
            assert process.stdout.readline() == b"ready\n"
            for _ in range(chance.randint(0, 25)):
                ledger += acked([process.stdout.readline().decode()])
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            # What the pipe still holds was acknowledged before the kill as well.
            ledger += acked(process.stdout.read().decode().splitlines())
        with Reader.open(path) as reader:
            assert reader.check() == []
            assert_holds(reader, ledger)
    with Journal.open(path) as journal:
        assert journal.check(full=True) == []
        fed = rows(journal, "SELECT value, count(*) FROM readings GROUP BY value ORDER BY value")
        assert fed == [(float(n), 1 + n % 7) for n in range(1, len(fed) + 1)]
        texts = rows(journal, "SELECT notification_id, state, attempts FROM outbox ORDER BY rowid")
        assert texts == [(f"home1.panic.{n}.1", "sending", 1) for n in range(3, len(fed) + 1, 3)]


def assert_holds(reader, ledger):
    stored = {seq: row.value for seq, row in reader.readings_after(0, 1_000_000)}
    for n, first, last in ledger:
        assert [stored.get(seq) for seq in range(first, last + 1)] == [float(n)] * (1 + n % 7)


def test_a_second_daemon_is_refused_and_told_who_has_it(path):
    with started("hold", path) as process:
        holder = int(process.stdout.readline().split()[1])
        (answer,) = finished("seize", path)
        assert answer.startswith("AlreadyRunningError")
        assert f"in use by process {holder}" in answer
        assert str(path) in answer
        process.kill()
        process.wait()
        # The lock ends with its process, however that ended.
        assert finished("seize", path) == ["opened"]


def test_a_full_disk_loses_nothing_and_the_same_batch_goes_in_when_there_is_room(path):
    lines = finished("fill", path)
    ledger = acked(lines)
    facts = {line.split()[0]: line.split()[1:] for line in lines if not line.startswith("acked")}
    committed = sum(1 + n % 7 for n, _first, _last in ledger[:-1])
    assert facts["failed"] in (["JournalIOError", "io"], ["JournalFullError", "full"])
    assert facts["readable"] == [str(committed)]
    assert facts["again"] == facts["failed"][1:]
    assert facts["faults"] == ["[]"]
    assert [n for n, _first, _last in ledger] == list(range(len(ledger)))
    assert len(ledger) > 10
    with Reader.open(path) as reader:
        assert_holds(reader, ledger)


def test_a_backup_is_consistent_while_the_daemon_writes(path, tmp_path):
    with started("write", path) as process:
        assert process.stdout.readline() == b"ready\n"
        heads = []
        for n in range(5):
            before = acked([process.stdout.readline().decode()])[0]
            copy = tmp_path / f"copy{n}.db"
            with Reader.open(path) as reader:
                reader.backup(copy)
            with Reader.open(copy) as reader:
                assert reader.check(full=True) == []
                assert_holds(reader, [before])
                heads.append(reader.head())
        assert heads == sorted(set(heads))
