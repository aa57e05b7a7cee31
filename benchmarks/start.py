"""From the start of the process to the first answer and the first reading, with a pending 12 h timer in every home.

    python -m benchmarks.start [--homes 1000] [--sensors 6] [--rounds 3] [--json]

Files, journal and broker are made first: every home's electricity has been low for ten minutes, and one reading waits
in the broker. Ten minutes, because after an hour of silence every home would have an alarm of its own, and it is not
100,000 alarms that are to be measured. Then the daemon is started: once with files that it has never seen, then with
unchanged ones. CPU seconds are given beside the time, because they do not depend on what else the machine does.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.line import _cpu_of
from sensor_guard.clock import SystemClock
from sensor_guard.config import load
from sensor_guard.control import DaemonAbsentError, ask
from sensor_guard.core import Core
from sensor_guard.decode import Router
from sensor_guard.journal import Journal
from sensor_guard.model import DEVICE_TIME, MINUTE, Reading
from simulators.demo import free_port
from simulators.publish import Broker as Address
from simulators.publish import Pace, Publisher
from simulators.roster import topic_of
from tests.e2e.daemon import CLI, CONFIG, CONSOLE, ROOT
from tests.fakes.broker import Broker

KINDS = ("power", "water", "motion", "door", "smoke", "panic")
PEOPLE = """\
contacts:
  - {id: worker-1, name: A, phone: "+8613800000001", role: worker}
  - {id: supervisor-1, name: B, phone: "+8613800000002", role: supervisor}
  - {id: maintainer-1, name: C, phone: "+8613800000003", role: maintainer}
"""


class Start(NamedTuple):
    """Seconds to the first answer and to the first reading, CPU seconds to the latter, MB and threads then."""

    answer_s: float
    reading_s: float
    cpu_s: float
    rss_mb: float


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--homes", type=int, default=1_000)
    parser.add_argument("--sensors", type=int, default=6, help="of each home, at most 6")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with Broker("allow_anonymous true", "max_queued_bytes 0") as broker, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = _files(folder, options.homes, options.sensors, broker.port)
        size = _journal(config, options.homes)
        print(f"{options.homes:,} homes of {options.sensors} sensors, journal {size / 1e6:.0f} MB")
        print(f"{'':24}{'first answer':>14}{'first reading':>15}{'CPU':>9}{'RSS':>10}")
        first = _start(config, broker.port, "first")
        _show("files never seen", first)
        starts = [_start(config, broker.port, f"again{number}") for number in range(options.rounds)]
        again = Start(*(statistics.median(values) for values in zip(*starts, strict=True)))
        _show("files unchanged", again)
        if options.json:
            print(json.dumps({"first": first._asdict(), "again": again._asdict()}))
    return 0


def _show(what: str, start: Start) -> None:
    print(
        f"{what:24}{start.answer_s:>12.2f} s{start.reading_s:>13.2f} s{start.cpu_s:>7.2f} s{start.rss_mb:>7.0f} MB",
        flush=True,
    )


def _files(folder: Path, homes: int, sensors: int, port: int) -> Path:
    with (folder / "homes.csv").open("w", encoding="utf-8") as out:
        out.write("site,building,home,label,kind,sensor\n")
        for number in range(homes):
            for kind in KINDS[:sensors]:
                out.write(f"demo,b{number // 100},h{number},{number // 100}-{number % 100},{kind},{kind}\n")
    (folder / "contacts.yaml").write_text(PEOPLE, encoding="utf-8")
    config = folder / "config.yaml"
    text = CONFIG.format(
        zone="Asia/Shanghai", rules=ROOT / "rules", mqtt_port=port, more=CONSOLE, health_port=free_port()
    )
    config.write_text(text.replace("lateness: 5m", "lateness: 5s"), encoding="utf-8")
    return config


def _journal(config: Path, homes: int) -> int:
    """Leave a journal in which every home's electricity has been low for ten minutes; its size in bytes."""
    loaded = load(config)
    now = SystemClock().now() - 10 * MINUTE
    with Journal.open(loaded.settings.journal.path) as journal:
        core = Core(journal, loaded.plan, Router({}), channel="console")
        core.restore(now)
        for first in range(0, homes, 500):
            names = [f"h{number}" for number in range(first, min(homes, first + 500))]
            with journal.batch(now) as batch:
                readings = [Reading(name, "power", "power_w", 3.0, now, now, 1, DEVICE_TIME) for name in names]
                batch.record(core.engine.feed(batch.append_readings(readings), now))
        core.commit(core.turn([], now + 5 * MINUTE))  # what waited for its place has it: the holds run
        core.checkpoint_all(now + 5 * MINUTE)
    return loaded.settings.journal.path.stat().st_size


def _start(config: Path, port: int, name: str) -> Start:
    """Start and end the daemon once; a reading waits for it from the second start on."""
    clock = SystemClock()
    publisher = Publisher(Address(port=port, client_id=name), lambda h, s: topic_of("demo", h, s), clock=clock)
    now = clock.now()
    reading = Reading("h0", "power", "power_w", 3.0, now, now, 2, DEVICE_TIME)
    if name != "first":
        publisher.run([reading], Pace.FLAT)
    log = config.parent / "daemon.log"
    started = time.perf_counter()
    with log.open("ab") as out:
        process = subprocess.Popen([*CLI, "run", "--config", str(config)], stdout=out, stderr=out, cwd=ROOT)
    try:
        answered = _until(process, config, bool, started)
        if name == "first":
            _until(process, config, lambda status: bool(status.get("drained")), started)  # it has subscribed
            publisher.run([reading], Pace.FLAT)
        read = _until(process, config, lambda status: status.get("messages", 0) > 0, started)
        cpu, resident = _cpu_of(process.pid), _rss(process.pid)
        _until(process, config, lambda status: bool(status.get("configuration")), started)
        if name == "first":
            threading.Event().wait(10)  # the gap before it takes its place in every home's time
        return Start(answered, read, cpu, resident)
    finally:
        process.terminate()
        process.wait(300)


def _until(process: subprocess.Popen[bytes], config: Path, holds, started: float) -> float:
    pause = threading.Event()
    for _ in range(30_000):
        try:
            if holds(ask(config.parent / "run" / "control.sock", {"verb": "status"})):
                return time.perf_counter() - started
        except DaemonAbsentError:
            pass
        if process.poll() is not None:
            break
        pause.wait(0.02)
    raise SystemExit(f"the daemon did not get there:\n{(config.parent / 'daemon.log').read_text()[-2000:]}")


def _rss(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4_096 / 1e6


if __name__ == "__main__":
    sys.exit(main())
