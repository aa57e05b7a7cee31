"""What the tests do on a really full disk, in a process of its own: ``python full_disk.py SCENE FOLDER``.

The folder is a small tmpfs. Each scene asserts for itself and says "ok" at its end.
"""

import errno
import resource
import signal
import sys
from pathlib import Path

from sensor_guard.inbox import Work
from sensor_guard.journal import Ballast
from sensor_guard.room import Room
from tests.core.conftest import plan
from tests.core.line import Bench

HOMES = [f"h{n}" for n in range(1, 11)]
BALLAST = 2 << 20


def bench_on(folder, now=None):
    bench = Bench(
        folder / "journal.db",
        plan(*HOMES, rules={"panic", "smoke", "disk_full", "journal_unwritable"}),
        room=lambda bench: Room(bench.core, bench.clock, Ballast(folder / "journal.db", size=BALLAST)),
        now=now,
    )
    bench.turn()
    return bench


def readings(bench, *, mirrored):
    """500 readings in one batch, a second later; the mirror has every one before them."""
    bench.clock.passes("1s")
    for n in range(500):
        bench.inbox.put(bench.message(f"{HOMES[n % 10]}/power_w", 80 + n % 7, packet_id=1 + n))
    if mirrored:
        seq = bench.journal.last_seq
        bench.inbox.put(Work(lambda batch: batch.save_cursor("influxdb", seq)))
    before = len(bench.subscriber.acked)
    bench.turns_once()
    return len(bench.subscriber.acked) - before


def cries(bench, home):
    """The button is pressed; whether that was acknowledged, and somebody told."""
    bench.clock.passes("1s")
    acked, sent = len(bench.subscriber.acked), len(bench.worker.sent)
    bench.says(f"{home}/panic", 1)
    bench.turns_once()
    return len(bench.subscriber.acked) - acked, [t.recipient_id for t in bench.worker.sent[sent:] if t.home_id == home]


def fill(folder, name="stranger"):
    """Another program writes until nothing more fits; how many bytes that was."""
    taken = 0
    with (folder / name).open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 16, 1 << 12):
            try:
                while True:
                    taken += file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return taken


def fault(bench):
    return bench.core.has_fault("disk_full")


def ring(folder):
    """Mirrored rows go first: readings are taken for ever, and the newest are there."""
    bench = bench_on(folder)
    (folder / "others").write_bytes(bytes(6 << 20))
    stored = 0
    for _ in range(350):
        assert readings(bench, mirrored=True) == 500
        stored += 500
        assert not bench.room.is_tight
    kept = bench.journal.reader._rows("SELECT count(*), min(seq) FROM readings", ())[0]
    assert kept[0] < stored
    assert cries(bench, "h3")[0] == 1
    assert fault(bench)
    assert bench.journal.check(full=True) == []
    bench.off()


def tight(folder):
    """Nothing is mirrored: readings stay with the broker, cries do not, and it recovers without hands."""
    bench = bench_on(folder)
    (folder / "others").write_bytes(bytes(6 << 20))
    taken = 0
    with_room = 0
    while not bench.room.is_tight:
        taken += readings(bench, mirrored=False)
        with_room += 1
    assert with_room > 10
    for home in HOMES[:8]:
        assert readings(bench, mirrored=False) == 0
        assert cries(bench, home) == (1, ["worker1", "family1"])
    assert fault(bench)
    assert not (folder / "journal.ballast").exists()
    bench.off()

    bench = bench_on(folder, bench.clock.now())  # a restart changes nothing of that
    assert bench.room.is_tight
    assert len(bench.journal.reader.alarms(open_only=True)) == 9
    assert cries(bench, "h9") == (1, ["worker1", "family1"])
    stored = bench.journal.reader._rows("SELECT count(*) FROM readings", ())[0][0]
    assert stored == taken + 9
    assert readings(bench, mirrored=False) == 0

    # The mirror catches up: what it has may go, and then there is room for everything.
    seq = bench.journal.last_seq
    bench.inbox.put(Work(lambda batch: batch.save_cursor("influxdb", seq)))
    bench.clock.passes("6m")
    bench.turn()
    for _ in range(30):
        bench.clock.passes("11s")
        bench.turn()
    assert not bench.room.is_tight, (bench.room.free, bench.journal.free_bytes())
    bench.turns()
    assert bench.subscriber.drains == 1
    assert (folder / "journal.ballast").stat().st_blocks * 512 >= 1 << 20
    assert readings(bench, mirrored=True) == 500
    assert bench.journal.check(full=True) == []
    bench.off()


def stranger(folder):
    """Another program fills the disk, and later gives it back."""
    bench = bench_on(folder)
    for _ in range(10):
        assert readings(bench, mirrored=False) == 500
    fill(folder)
    rounds = 0
    while not bench.room.is_tight:
        readings(bench, mirrored=False)
        rounds += 1
        assert rounds < 1_000
    for home in HOMES:
        assert cries(bench, home)[0] == 1
    assert len(bench.journal.reader.alarms(open_only=True)) == 11
    (folder / "stranger").unlink()
    bench.clock.passes("11s")
    bench.turn()
    assert not bench.room.is_tight
    bench.turns()
    assert (folder / "journal.ballast").stat().st_blocks * 512 >= BALLAST
    bench.clock.passes("11s")
    bench.turn()
    assert readings(bench, mirrored=False) == 500
    assert bench.journal.check(full=True) == []
    bench.off()


def nothing(folder):
    """A program that eats everything, the ballast too: nothing is acknowledged, and the text goes out unstored."""
    bench = bench_on(folder)
    readings(bench, mirrored=False)
    eaten = []

    def eats():
        eaten.append(fill(folder))

    bench.heals = 1_000
    bench.meanwhile = dict.fromkeys(range(1, 60), eats)
    # The -wal file has room of its own that it writes again and again: make it do without.
    bench.journal.checkpoint()
    fill(folder)
    (folder / "journal.ballast").unlink()
    fill(folder)
    seen = []
    bench.meanwhile[30] = lambda: seen.append((len(bench.subscriber.acked), [t.home_id for t in bench.worker.sent]))
    bench.meanwhile[60] = (folder / "stranger").unlink
    acked = len(bench.subscriber.acked)
    bench.says("h2/panic", 1)
    bench.turns()
    assert seen[0][0] == acked
    assert seen[0][1][:2] == ["h2", "h2"]
    assert len(bench.subscriber.acked) == acked + 1
    assert [row[2:] for row in bench.outbox() if row[0].startswith("h2")] == [("delivered", 1)] * 2
    bench.clock.passes("11s")
    bench.turn()
    assert readings(bench, mirrored=False) == 500
    assert bench.journal.check(full=True) == []
    bench.off()


def refused(folder):
    """The kernel refuses every write (a limit of the process, as a dying card does): SQLite itself meets it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    bench = bench_on(folder)
    readings(bench, mirrored=False)
    bench.journal.checkpoint()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    seen = []
    bench.heals = 1_000
    bench.meanwhile = {
        5: lambda: bench.says("h4/smoke", 1),
        20: lambda: seen.append((len(bench.subscriber.acked), [t.home_id for t in bench.worker.sent])),
        25: lambda: seen.append(bench.standing._journal()),
        40: lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)),
    }
    acked = len(bench.subscriber.acked)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    bench.says("h2/panic", 1)
    bench.turns()
    assert seen[0][0] == acked
    assert [home for home in seen[0][1] if home in ("h2", "h4")] == ["h2", "h2", "h4", "h4"]
    assert seen[1] == "takes nothing (io)"
    assert len(bench.subscriber.acked) == acked + 2
    assert {row[2:] for row in bench.outbox() if row[0].startswith(("h2", "h4"))} == {("delivered", 1)}
    assert readings(bench, mirrored=False) == 500
    assert bench.journal.check(full=True) == []
    bench.off()


if __name__ == "__main__":
    {"ring": ring, "tight": tight, "stranger": stranger, "nothing": nothing, "refused": refused}[sys.argv[1]](
        Path(sys.argv[2])
    )
    sys.stdout.write("ok\n")
