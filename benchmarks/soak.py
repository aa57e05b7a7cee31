"""Whether the daemon stays as small as it was: memory and descriptors over weeks of virtual time, or hours of real.

    python -m benchmarks.soak virtual [--days 14] [--factor 720] [--homes 20] [--report FILE]
    python -m benchmarks.soak real    [--hours 1] [--rate 30]    [--homes 300] [--warm-up 12] [--report FILE]

The whole daemon with a real broker, a real InfluxDB and a strict stand-in for Twilio. Simulated residents live
(virtual), or readings come at a fixed rate with a press of a panic button now and then (real). Somebody answers and
closes every alarm. Now and then the broker is restarted, the database refuses us, the provider fails: what leaks, leaks
there.

Judged after a warm-up: the slope of resident memory (least squares) must be at most 1 MB a day, and of open descriptors
zero: as many in the last tenth as in the first after the warm-up, at most 2 more. Exit code 1 if not, or if a message
is missing in the journal.

The warm-up of the virtual run is its first tenth. An hour is short beside a day: 40 kB more are already 1 MB a day. So
the real run is preceded by minutes at ten times its rate with each trouble twice: what is kept for a time (pages of the
journal, lists of what was seen) and the pools of the allocator then have their size.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from sensor_guard.clock import AcceleratedClock, Clock, SystemClock, format_at, parse_at
from sensor_guard.control import DaemonAbsentError, ask
from sensor_guard.model import DEVICE_TIME, HOUR, Reading
from simulators.publish import Broker as Address
from simulators.publish import Pace, Publisher
from simulators.roster import rows_of, topic_of
from tests.e2e.daemon import Daemon
from tests.fakes.broker import Broker
from tests.fakes.influx_shim import WriteShim
from tests.fakes.influxd import Influxd
from tests.fakes.twilio import ACCOUNT_SID, AUTH_TOKEN, SENDER, FakeTwilio, error

MORE = (
    f'notifiers: {{order: [twilio], twilio: {{account_sid: "{ACCOUNT_SID}", from: "{SENDER}", base_url: "%s"}}}}\n'
    "sinks: {influxdb: {url: http://127.0.0.1:%d, bucket: history, org: o}}"
)
EPOCH = parse_at("2026-03-01T00:00:00+08:00")
SAMPLES = 400
"""So many samples in the whole run."""
TROUBLES = 12
"""So many times something outside fails."""
SLOPE_LIMIT_KB = 1_000
DESCRIPTORS_LIMIT = 2


WARMER = 10
"""So many times the rate of the real run has its warm-up."""
WARMING_TROUBLES = 6
PRESSED = 10
"""Homes in which a panic button is pressed, one after the other, in the real run."""


@dataclass
class Sample:
    """One look. ``days``: since the start, of the daemon's clock."""

    days: float
    rss_kb: int
    descriptors: int
    threads: int


@dataclass
class Soak:
    """What happened."""

    samples: list[Sample] = field(default_factory=list)
    answered: int = 0
    troubles: int = 0
    messages: int = 0
    published: int = 0
    texts: int = 0
    seconds: float = 0.0
    starts: int = 1


def main(arguments: list[str] | None = None) -> int:
    """Run, print, judge."""
    options = _options(arguments)
    span = options.days * 86_400 / options.factor if options.kind == "virtual" else options.hours * 3_600
    result = _run(options, span)
    verdict, lines = _judge(options, result)
    text = "\n".join(lines)
    print(text)
    if options.report:
        options.report.write_text(text + "\n", encoding="utf-8")
    return 0 if verdict else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.split("\n", maxsplit=1)[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    virtual, real = kinds.add_parser("virtual"), kinds.add_parser("real")
    virtual.add_argument("--days", type=float, default=14.0)
    virtual.add_argument("--factor", type=float, default=720.0)
    virtual.add_argument("--homes", type=int, default=20)
    real.add_argument("--hours", type=float, default=1.0)
    real.add_argument("--rate", type=float, default=30.0, help="readings a second")
    real.add_argument("--homes", type=int, default=300)
    real.add_argument("--warm-up", type=float, default=12.0, metavar="MINUTES", help="at ten times the rate, before it")
    for kind in (virtual, real):
        kind.add_argument("--report", type=Path)
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, span: float) -> Soak:
    home_ids = [f"home-{number:03}" for number in range(1, options.homes + 1)]
    rows = [row for home_id in home_ids for row in rows_of(home_id, site="demo", at_least=4 * HOUR)]
    result, stopping = Soak(), threading.Event()
    with (
        Broker() as broker,
        Influxd() as influxd,
        WriteShim(influxd.port) as shim,
        FakeTwilio() as twilio,
        tempfile.TemporaryDirectory() as name,
    ):
        influxd.create("history")
        folder = Path(name)
        clock: Clock = SystemClock()
        clock_path = folder / "clock.json"
        accelerated = None
        if options.kind == "virtual":
            clock = accelerated = AcceleratedClock.create(clock_path, epoch=EPOCH - HOUR, factor=options.factor)
        twilio.clock = clock.now
        daemon = Daemon(
            folder,
            rows,
            mqtt_port=broker.port,
            more=MORE % (twilio.url, shim.port),
            clock=accelerated,
            environment={"SENSOR_GUARD_TWILIO_AUTH_TOKEN": AUTH_TOKEN, "SENSOR_GUARD_INFLUXDB_TOKEN": "t"},
        )
        if options.kind == "real":
            # As a box has it. Minutes of readings that wait for their order in the warm-up would leave room behind for
            # whatever leaks afterwards.
            daemon.config.write_text(daemon.config.read_text().replace("lateness: 5m", "lateness: 5s"))
        daemon.start()
        people = threading.Thread(target=_people, args=(daemon, result, stopping), daemon=True)
        presses = threading.Thread(target=_presses, args=(options, broker.port, home_ids, clock, stopping), daemon=True)
        people.start()
        presses.start()
        load: subprocess.Popen[str] | None = None
        try:
            for seconds, rate, troubles in _stages(options, span):
                load = _load(options, broker.port, clock_path, seconds, rate)
                result.samples.clear()
                _watch(daemon, clock, seconds, result, lambda: _trouble(result, broker, shim, twilio), troubles)
                result.published += int(load.communicate(timeout=300)[0].split()[1].rstrip(","))
            stopping.set()
            presses.join(60)
            daemon.until(lambda: daemon.status()["messages"] >= result.published, seconds=300)
            result.messages, result.texts = daemon.status()["messages"], len(twilio.texts)
        finally:
            stopping.set()
            if load is not None:
                load.kill()
                load.wait()
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.stop()
    return result


def _stages(options: argparse.Namespace, span: float) -> list[tuple[float, float, int]]:
    """Give what is done one after the other, the last one to be judged: seconds, readings a second, troubles."""
    if options.kind == "virtual":
        return [(span, 0.0, TROUBLES)]
    return [(options.warm_up * 60, options.rate * WARMER, WARMING_TROUBLES), (span, options.rate, TROUBLES)]


def _load(options: argparse.Namespace, port: int, clock_path: Path, span: float, rate: float) -> subprocess.Popen[str]:
    words = [
        sys.executable, "-m", "simulators", "publish", "--homes", str(options.homes), "--port", str(port),
        "--quiet", "--client-id", "load", "--patience", "120",
    ]  # fmt: skip
    if options.kind == "virtual":
        words += ["--clock", str(clock_path), "--days", str(options.days), "--scatter", "2d"]
    else:
        words += ["--count", str(round(rate * span)), "--rate", str(rate)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def _watch(daemon: Daemon, clock: Clock, span: float, result: Soak, trouble, troubles: int) -> None:
    """Look at the daemon now and then until the time is over; make trouble now and then."""
    pause, began, first = threading.Event(), time.monotonic(), clock.now()
    result.troubles = 0
    while (gone := time.monotonic() - began) < span:
        assert daemon.process is not None
        assert daemon.process.poll() is None, f"the daemon ended:\n{daemon.log()[-2000:]}"
        process = Path(f"/proc/{daemon.process.pid}")
        words = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
        sample = Sample(
            (clock.now() - first) / 86_400_000,
            int(words["VmRSS"].split()[0]) + int(words["VmSwap"].split()[0]),
            sum(1 for _ in (process / "fd").iterdir()),
            int(words["Threads"]),
        )
        result.samples.append(sample)
        if len(result.samples) % 20 == 1:
            print(
                f"{100 * gone / span:3.0f} %  day {sample.days:5.2f}  {sample.rss_kb / 1e3:6.1f} MB "
                f" {sample.descriptors} descriptors  {result.answered} alarms answered",
                file=sys.stderr,
                flush=True,
            )
        if gone > (result.troubles + 1) * span / (troubles + 1):
            trouble()
        pause.wait(span / SAMPLES)
    result.seconds = time.monotonic() - began


def _trouble(result: Soak, broker: Broker, shim: WriteShim, twilio: FakeTwilio) -> None:
    """Let one thing outside fail for a moment, each in turn."""
    kind = result.troubles % 3
    result.troubles += 1
    if kind == 0:
        broker.restart()
    elif kind == 1:
        shim.token, before = "another", shim.token
        threading.Timer(5.0, setattr, (shim, "token", before)).start()
    else:
        twilio.script([error(503), error(500, accept=True), error(429, 20429, Retry_After="1")])


def _people(daemon: Daemon, result: Soak, stopping: threading.Event) -> None:
    """Answer and close whatever is open."""
    while not stopping.wait(2.0):
        with contextlib.suppress(DaemonAbsentError, OSError):
            for alarm in ask(daemon.socket, {"verb": "alarms"})["alarms"]:
                target = {"target": alarm["alarm_id"], "by": "worker-1"}
                ask(daemon.socket, {"verb": "ack", **target})
                ask(daemon.socket, {"verb": "close", **target, "outcome": "fine"})
                result.answered += 1


def _presses(
    options: argparse.Namespace, port: int, home_ids: list[str], clock: Clock, stopping: threading.Event
) -> None:
    """Press a panic button every half minute; the simulated homes do that themselves.

    In few homes: a home's first alarm takes some kB that it keeps, and an hour of first alarms would look like a leak.
    """
    number = 0
    while options.kind == "real" and not stopping.wait(30.0):
        now = clock.now() // 1_000 * 1_000
        reading = Reading(home_ids[number % PRESSED], "panic", "panic", 1.0, now, now, number, DEVICE_TIME)
        publisher = Publisher(
            Address(port=port, client_id="button"), lambda home, sensor: topic_of("demo", home, sensor), clock=clock
        )
        publisher.run([reading], Pace.FLAT)
        number += 1


def _judge(options: argparse.Namespace, result: Soak) -> tuple[bool, list[str]]:
    warming = len(result.samples) // 10 if options.kind == "virtual" else 0
    samples = result.samples[warming:]
    slope = _slope([(sample.days, float(sample.rss_kb)) for sample in samples])
    tenth = max(1, len(samples) // 10)
    first = max(sample.descriptors for sample in samples[:tenth])
    last = max(sample.descriptors for sample in samples[-tenth:])
    days = samples[-1].days - samples[0].days
    missing = max(0, result.published - result.messages)
    good = slope <= SLOPE_LIMIT_KB and last <= first + DESCRIPTORS_LIMIT and not missing
    what = (
        f"{options.days:g} virtual days at {options.factor:g} times real time"
        if options.kind == "virtual"
        else f"{result.seconds / 3_600:.2f} real hours at {options.rate:g} readings/s"
    )
    lines = [
        f"soak, {what}, {options.homes} homes: {'passed' if good else 'FAILED'}",
        f"resident memory: {samples[0].rss_kb / 1e3:.1f} MB after the warm-up, {samples[-1].rss_kb / 1e3:.1f} MB at the"
        f" end, slope {slope / 1e3:+.3f} MB a day over {days:.2f} days (limit +1)",
        f"descriptors: at most {first} in the first tenth after the warm-up, {last} in the last; threads"
        f" {samples[0].threads} and {samples[-1].threads}",
        f"readings: {result.published:,} acknowledged to the publisher, {result.messages:,} messages committed,"
        f" {missing} missing",
        f"alarms answered and closed: {result.answered}; texts: {result.texts}; troubles made: {result.troubles}",
        f"began {format_at(SystemClock().now() - round(result.seconds * 1_000))}, {result.seconds:,.0f} s of real time",
    ]
    lines.append(json.dumps({"passed": good, "slope_mb_a_day": round(slope / 1e3, 3), "descriptors": [first, last]}))
    return good, lines


def _slope(points: list[tuple[float, float]]) -> float:
    """Give the slope of the least-squares line."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


if __name__ == "__main__":
    sys.exit(main())
