"""How many readings a second the journal takes, each batch fsynced: python benchmarks/journal.py [FOLDER]

Readings as six sensors in each of 1,000 homes send them, one a minute, half of them with the device's own time. The
fdatasync of a 4 KiB page in the same folder stands beside the figures: another disk has other figures.
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from sensor_guard.journal import Journal
from sensor_guard.model import DEVICE_TIME, MINUTE, Instant, Reading

HOMES = 1_000
SENSORS = (("door", "door_open"), ("smoke", "link"), ("water", "flow_l_min"), ("power", "power_w"),
           ("motion", "motion"), ("panic", "battery_pct"))  # fmt: skip
START: Instant = 1_772_352_000_000
ROUNDS = {1: 3_000, 100: 600, 500: 200}


def readings(first: int, count: int) -> list[Reading]:
    rows = []
    per_minute = HOMES * len(SENSORS)
    for n in range(first, first + count):
        sensor_id, quantity = SENSORS[n % len(SENSORS)]
        at = START + n * MINUTE // per_minute
        home = n // len(SENSORS) % HOMES
        rows.append(
            Reading(
                f"home{home:04}",
                sensor_id,
                quantity,
                float(n % 97),
                at,
                at + 40,
                n // per_minute,
                (n & 1) * DEVICE_TIME,
            )
        )
    return rows


def spread(values: list[float]) -> str:
    return f"p50 {median(values) * 1e3:6.2f} ms  p99 {quantiles(values, n=100)[98] * 1e3:6.2f} ms"


def fdatasync(folder: Path) -> list[float]:
    fd = os.open(folder / "probe", os.O_RDWR | os.O_CREAT)
    taken = []
    try:
        for n in range(300):
            os.pwrite(fd, b"x" * 4096, n * 4096)
            begun = time.perf_counter()
            os.fdatasync(fd)
            taken.append(time.perf_counter() - begun)
    finally:
        os.close(fd)
        (folder / "probe").unlink()
    return taken


def run(folder: Path) -> None:
    print(f"fdatasync of 4 KiB            {spread(fdatasync(folder))}")
    path = folder / "journal.db"
    fed = 0
    with Journal.open(path) as journal:
        for size, rounds in ROUNDS.items():
            batches = [readings(fed + n * size, size) for n in range(rounds)]
            fed += rounds * size
            taken = []
            cpu = resource.getrusage(resource.RUSAGE_SELF)
            begun = time.perf_counter()
            for batch_readings in batches:
                entered = time.perf_counter()
                with journal.batch(batch_readings[-1].received_at) as batch:
                    batch.append_readings(batch_readings)
                taken.append(time.perf_counter() - entered)
            elapsed = time.perf_counter() - begun
            after = resource.getrusage(resource.RUSAGE_SELF)
            used = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
            rows = rounds * size
            print(
                f"batch of {size:3}: {rows / elapsed:9,.0f} rows/s  {spread(taken)}"
                f"  {used / rows * 1e6:6.1f} us CPU a row"
            )
    print(f"{path.stat().st_size / fed:.0f} bytes a reading, {fed:,} readings")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        run(Path(name))
