"""Whoever finds the journal damaged, the loop ends for it and has it mended: a verb, or another thread."""

import pytest

from sensor_guard.inbox import Inbox, Probe, Request
from sensor_guard.journal import JournalCorruptError, JournalIOError, Reader
from sensor_guard.model import CommandKind
from sensor_guard.operations import Operations
from sensor_guard.parts import _JournalSource
from tests.core.conftest import plan
from tests.core.line import Bench

PANIC = "h1.panic.20260301T000005Z"


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path / "journal.db", plan("h1", "h2"))
    made.clock.passes("5s")
    made.says("h1/panic", 1)
    made.turns()
    yield made
    made.off()


def spoil(bench, sql):
    """A row that SQLite reads and we cannot."""
    with bench.journal.batch(bench.clock.now()) as batch:
        batch._db.execute(sql)


def operations(bench):
    return Operations(bench.core, set, bench.standing.status)


def asks(bench, verb, **fields):
    item = operations(bench).prepare({"verb": verb, **fields}, 1000, bench.clock.now())
    bench.inbox.put(Request(item, bench.answers.append), urgent=True)


@pytest.mark.parametrize(
    ("verb", "fields", "sql"),
    [
        ("alarms", {}, "UPDATE alarms SET condition = 'perhaps'"),
        ("alarms", {}, "UPDATE alarms SET evidence = 'x'"),
        ("alarm", {"target": PANIC}, "UPDATE alarms SET response = 'perhaps'"),
        ("alarm", {"target": PANIC}, "UPDATE outbox SET params = '{'"),
    ],
)
def test_what_a_verb_finds_ends_the_loop_once_its_turn_is_done(bench, verb, fields, sql):
    spoil(bench, sql)
    bench.says("h2/power_w", 80)
    asks(bench, verb, **fields)
    with pytest.raises(JournalCorruptError):
        bench.turns()

    assert ["not a sound journal" in str(answer) for answer in bench.answers] == [True]
    # Whoever was in the same turn, or before it, is on disk and has his answer; nobody is asked to say it again.
    stored = bench.journal.reader._rows("SELECT count(*) FROM readings", ())[0][0]
    assert len(bench.subscriber.acked) == stored


def test_a_command_of_the_same_turn_is_carried_out_and_answered(bench):
    def finds():
        raise JournalCorruptError(bench.journal.path, "a page")

    bench.asks(CommandKind.AWAY, "h1", until=bench.clock.now() + 3_600_000)
    bench.inbox.put(Request(finds, bench.answers.append), urgent=True)
    with pytest.raises(JournalCorruptError):
        bench.turn()

    assert bench.answers[0] is None
    assert bench.core.engine.homes["h1"].is_away


def test_what_a_probe_finds_ends_the_loop(bench):
    def finds():
        raise JournalCorruptError(bench.journal.path, "a page")

    bench.inbox.put(Probe(bench.answers.append, finds))
    with pytest.raises(JournalCorruptError):
        bench.turn()


def test_while_the_disk_refuses_the_loop_ends_for_it_only_when_what_waits_is_stored(bench):
    """Calls for help go out unstored meanwhile: a process that ended could do nothing of it."""

    def finds():
        raise JournalCorruptError(bench.journal.path, "a page")

    bench.fails(
        JournalIOError("no"),
        heals=30,
        meanwhile={2: lambda: bench.inbox.put(Request(finds, bench.answers.append), urgent=True)},
    )
    bench.says("h2/panic", 1)
    with pytest.raises(JournalCorruptError):
        bench.turns()

    assert bench.second == 30
    assert bench.subscriber.acked[-1] == ("h2/panic", 2)


@pytest.mark.parametrize("read", ["untold", "head", "rows"])
def test_what_another_thread_finds_is_told_to_the_loop(tmp_path, read, bench):
    inbox = Inbox(linger=0)
    source = _JournalSource(bench.journal.path, inbox)

    class Damaged:
        def untold(self):
            raise JournalCorruptError(bench.journal.path, "a page")

        head = untold

        def rows_after(self, _cursor, _limit):
            self.untold()

    source._reader = Damaged()
    reads = {"untold": source.untold, "head": source.head, "rows": lambda: source.rows_after(0, 10)}
    with pytest.raises(JournalCorruptError):
        reads[read]()
    for event in inbox.take(0):
        bench.inbox.put(event)
    bench.says("h2/panic", 1)

    with pytest.raises(JournalCorruptError):
        bench.turns()


def test_a_file_that_cannot_be_opened_any_more_is_told_too(bench, tmp_path):
    path = tmp_path / "other.db"
    path.write_bytes(b"x" * 8_192)
    with pytest.raises(JournalCorruptError):
        Reader.open(path)
    inbox = Inbox(linger=0)
    with pytest.raises(JournalCorruptError):
        _JournalSource(path, inbox).untold()

    assert inbox.depth() == 1
