"""What InfluxDB costs us: lines/s of the formatter, points/s of the mirror into a real influxd.

    python -m benchmarks.influx [--points 500000] [--homes 1000] [--backlog 0]

``--backlog 2600000``: a day of 300 homes waits in a real journal; how long it takes, and by how much the memory grows.

Needs an influxd (.ci/fetch-influxdb). The database is InfluxDB 1.6.7 behind a v2-write shim on loopback; shim and
database share the machine's processors with us, so the mirror's own CPU time is told beside the points/s.
"""

import argparse
import gc
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sensor_guard.journal import Journal, Reader
from sensor_guard.model import Reading
from sensor_guard.sinks.client import InfluxConnection
from sensor_guard.sinks.influx import InfluxSink
from sensor_guard.sinks.line import lines_of
from sensor_guard.sinks.mirror import BATCH_LIMIT, Mirror, MirrorState
from sensor_guard.sinks.protocol import Row
from tests.fakes.influx_shim import WriteShim
from tests.fakes.influxd import Influxd

START = 1_772_366_400_000
QUANTITIES = ("power_w", "flow_l_min", "door_open", "motion", "smoke", "battery_pct")


class Rows:
    """Rows made beforehand, so that the journal's own reading is not measured."""

    def __init__(self, points: int, homes: int) -> None:
        self.rows: list[Row] = [(seq, self.reading(seq, homes)) for seq in range(1, points + 1)]

    @staticmethod
    def reading(seq: int, homes: int) -> Reading:
        return Reading(
            f"site1-b2-{seq % homes:05d}",
            f"sensor{seq // homes % 6}",
            QUANTITIES[seq // homes % 6],
            seq % 20_000 / 10,
            START + seq * 7,
            START + seq * 7,
        )

    def rows_after(self, cursor: int, limit: int) -> Sequence[Row]:
        return self.rows[cursor : cursor + limit]

    def head(self) -> int:
        return len(self.rows)


def format_lines(source: Rows) -> None:
    for name in ("first (empty cache)", "second"):
        began = time.perf_counter()
        size = 0
        for start in range(0, len(source.rows), BATCH_LIMIT):
            size += len("\n".join(lines_of(source.rows[start : start + BATCH_LIMIT])).encode())
        took = time.perf_counter() - began
        count = len(source.rows)
        print(f"formatter, {name}: {count / took:,.0f} lines/s, {took / count * 1e6:.2f} us a line")
    print(f"a line has {size / count:.0f} bytes")


def mirror(source: Rows) -> None:
    with Influxd() as server, WriteShim(server.port) as shim:
        server.create("bench")
        connection = InfluxConnection(
            url=shim.url, org="bench", bucket="bench", timeout=60_000, read_token=lambda: "token"
        )
        follower = Mirror(
            InfluxSink(connection),
            source,
            cursor=0,
            save_cursor=lambda _cursor: None,
            bury=lambda letter: print("buried", letter),
            report=lambda fault: print("fault:", fault.active, fault.detail),
        )
        follower.step(START)  # imports the client and connects
        began, own = time.perf_counter(), time.thread_time()
        while follower.status(START).state is not MirrorState.CURRENT:
            follower.step(START)
        took, own = time.perf_counter() - began, time.thread_time() - own
        count = len(source.rows) - BATCH_LIMIT
        print(f"mirror: {count / took:,.0f} points/s, {own / count * 1e6:.2f} CPU us a point of the mirror's thread")
        [series] = server.execute("SELECT count(value) FROM reading", "bench")
        print(f"stored: {series['values'][0][1]:,} of {len(source.rows):,} points")
        connection.close()


def backlog(points: int, homes: int) -> None:
    """Drain a real journal of so many readings; the memory is this process's, with the shim's threads in it."""
    rows = Rows.reading
    with tempfile.TemporaryDirectory(prefix="backlog-") as directory:
        path = Path(directory) / "journal.db"
        with Journal.open(path) as journal:
            for start in range(1, points + 1, BATCH_LIMIT):
                with journal.batch(START) as batch:
                    batch.append_readings(
                        [rows(seq, homes) for seq in range(start, min(points + 1, start + BATCH_LIMIT))]
                    )
            journal.checkpoint()
        print(f"backlog: {points:,} readings in a journal of {path.stat().st_size / 1e6:,.0f} MB")
        with Influxd() as server, WriteShim(server.port) as shim, Reader.open(path) as reader:
            server.create("bench")
            connection = InfluxConnection(
                url=shim.url, org="bench", bucket="bench", timeout=60_000, read_token=lambda: "token"
            )
            follower = Mirror(
                InfluxSink(connection),
                reader,
                cursor=0,
                save_cursor=lambda _cursor: None,
                bury=lambda letter: print("buried", letter),
                report=lambda fault: print("fault:", fault.active, fault.detail),
            )
            follower.step(START)  # imports the client and connects
            before = most = rss_mb()
            began, own = time.perf_counter(), time.thread_time()
            while follower.status(START).state is not MirrorState.CURRENT:
                follower.step(START)
                most = max(most, rss_mb())
            took, own = time.perf_counter() - began, time.thread_time() - own
            [series] = server.execute("SELECT count(value) FROM reading", "bench")
            print(f"backlog: drained in {took:,.1f} s, {points / took:,.0f} points/s, {own:,.1f} CPU-s of the thread")
            print(
                f"backlog: memory {before:.1f} MB after the first write, {most:.1f} MB at most: {most - before:+.1f} MB"
            )
            print(f"backlog: stored {series['values'][0][1]:,} of {points:,}")
            connection.close()


def rss_mb() -> float:
    """Give this process's resident memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=500_000)
    parser.add_argument("--homes", type=int, default=1_000)
    parser.add_argument("--backlog", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.backlog:
        backlog(arguments.backlog, arguments.homes)
        return
    source = Rows(arguments.points, arguments.homes)
    gc.freeze()  # the daemon never holds all these rows at once: looking through them is not its cost
    format_lines(source)
    mirror(source)


if __name__ == "__main__":
    main()
