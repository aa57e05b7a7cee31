"""What the daemon holds in memory: idle, and for every home when all of its sensors have spoken.

    python -m benchmarks.memory [--homes 1 100 1000 10000] [--json]

For each number of homes a daemon of its own: resident memory once it is drained, then after every sensor of every
home has spoken twice (seven sensors a home, the shipped rules), then what that is for each home above one home alone.
Resident is what the kernel says (VmRSS), and what is swapped out besides. Up to 10,000 homes each has a relative among
the contacts; above that there are three people for all, because YAML is no format for a hundred thousand.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.start import PEOPLE
from sensor_guard.clock import SystemClock
from sensor_guard.model import DEVICE_TIME, Quantity, Reading
from simulators.publish import Broker as Address
from simulators.publish import Pace, Publisher
from simulators.roster import rows_of, topic_of
from tests.e2e.daemon import Daemon
from tests.fakes.broker import Broker

WORDS = {
    "power": Quantity.POWER_W, "water": Quantity.FLOW_L_MIN, "door": Quantity.DOOR_OPEN, "smoke": Quantity.SMOKE,
    "motion": Quantity.MOTION, "panic": Quantity.PANIC,
}  # fmt: skip

RELATIVES_UP_TO = 10_000


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; with --json one line for machines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--homes", type=int, nargs="+", default=[1, 100, 1_000, 10_000])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    figures: dict[int, dict[str, float]] = {}
    for homes in sorted({1, *options.homes}):
        print(f"{homes:,} homes ...", file=sys.stderr, flush=True)
        figures[homes] = measure(homes)
        one = figures[1]
        figures[homes]["per_home_kb"] = (
            round((figures[homes]["busy_mb"] - one["busy_mb"]) * 1e3 / (homes - 1), 2) if homes > 1 else 0.0
        )
        print(
            f"{homes:>7,} homes: {figures[homes]['idle_mb']:7.1f} MB drained, {figures[homes]['busy_mb']:7.1f} MB when"
            f" all have spoken; {figures[homes]['per_home_kb']:.2f} kB a home above one home alone",
            flush=True,
        )
    if options.json:
        print(json.dumps(figures))
    return 0


def measure(homes: int) -> dict[str, float]:
    """Give MB of resident memory, drained and busy."""
    clock = SystemClock()
    home_ids = [f"home-{number:06}" for number in range(1, homes + 1)]
    rows = [row for home_id in home_ids for row in rows_of(home_id, site="demo")]

    def words():
        for seq in (1, 2):
            for row in rows:
                quantity, now = WORDS[row.kind], clock.now() // 1_000 * 1_000
                value = 60.0 if quantity is Quantity.POWER_W else 1.0 if quantity is Quantity.MOTION else 0.0
                yield Reading(row.home, row.sensor, quantity, value, now, now, seq, DEVICE_TIME)

    with Broker("allow_anonymous true", "max_queued_bytes 0") as broker, tempfile.TemporaryDirectory() as name:
        daemon = Daemon(Path(name), rows, mqtt_port=broker.port)
        if homes > RELATIVES_UP_TO:
            (Path(name) / "contacts.yaml").write_text(PEOPLE, encoding="utf-8")
        try:
            daemon.start(connected=False)
            daemon.until(lambda: daemon.status().get("drained"), seconds=300)
            idle = resident(daemon)
            publisher = Publisher(Address(port=broker.port), lambda h, s: topic_of("demo", h, s), clock=clock)
            tally = publisher.run(words(), Pace.FLAT)
            assert tally.is_complete, tally
            daemon.until(lambda: daemon.status()["messages"] >= 2 * len(rows), seconds=600)
            return {"idle_mb": idle, "busy_mb": resident(daemon)}
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait(5)


def resident(daemon: Daemon) -> float:
    """Give the process's resident memory in MB, what is swapped out included."""
    assert daemon.process is not None
    words = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
        if ":" in line
    )
    return round(sum(int(words[name].split()[0]) for name in ("VmRSS", "VmSwap")) / 1_000, 1)


if __name__ == "__main__":
    sys.exit(main())
