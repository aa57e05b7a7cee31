"""One box under fault: a broker, a provider, a publisher, a daemon, on one accelerated clock and one journal."""

import json
import os
import signal
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Self

from sensor_guard.clock import AcceleratedClock
from sensor_guard.control import ask
from sensor_guard.model import DAY
from simulators.demo import free_port
from simulators.roster import write_homes
from tests.fakes.influx_faults import FaultyInflux
from tests.fakes.influx_shim import WriteShim
from tests.fakes.influxd import Influxd
from tests.fakes.twilio import ACCOUNT_SID, AUTH_TOKEN, SENDER, FakeTwilio
from tests.faults.load import RULES, Load, Order
from tests.faults.processes import Child, Execs, Forks, LimitError, QuietBroker, until

FACTOR = 60.0
"""Virtual seconds a second: a hold of a minute, ten seconds of waiting for the provider's list, take no longer than a
test may. Time-outs of the network, back-off and reconnecting stay real."""
EPOCH = 1_772_352_000_000  # 2026-03-01T08:00:00Z
LIST_LAG = 2_000
"""Virtual ms until the provider lists a text; the program waits for ten seconds."""
CITIES = (202, 206, 212, 213, 303, 305, 312, 404, 415, 512)  # their 555-0100 to 555-0199 ring nowhere

CONFIG = """\
gateway: box1
timezone: Asia/Shanghai
language: en
homes: homes.csv
contacts: contacts.yaml
rules: rules
lateness: 1m
mqtt: {{host: 127.0.0.1, port: {mqtt}}}
journal: {{path: journal.db, keep_readings: 7d}}
notifiers: {{order: [twilio], twilio: {{account_sid: "{account}", from: "{sender}", base_url: "{twilio}"}}}}
{sinks}
ladders:
  urgent: {{steps: [{{to: [worker, family], after: 0m}}], repeat_every: 7d}}
  welfare: {{steps: [{{to: [worker], after: 0m}}], repeat_every: 7d}}
  technical: {{steps: [{{to: [maintainer], after: 0m}}], repeat_every: 7d}}
health: {{host: 127.0.0.1, port: {health}}}
runtime: {{directory: run}}
log: {{format: json, level: info}}
"""


@dataclass(frozen=True)
class Setup:
    """How a box is made. ``hurry``: limits of the program that are reached sooner, see ``launcher``."""

    load: Load = field(default_factory=Load)
    hurry: dict[str, int] = field(default_factory=dict)
    mutation: str = ""
    with_influxdb: bool = False
    broker_lines: tuple[str, ...] = ()
    settle_within: float = 240.0
    reconnect_within: float = 10.0
    quiet_for: float = 6.0  # real seconds without a new reading, after which no more is expected
    factor: float = FACTOR


@dataclass
class Tally:
    """What was done to the box, and how it bore it."""

    daemon_kills: int = 0
    broker_restarts: int = 0
    broker_kills: int = 0
    sessions_deleted: int = 0
    trials: int = 0
    reconnects: list[float] = field(default_factory=list)
    hits: dict[str, int] = field(default_factory=dict)
    wrong: list[tuple[str, str]] = field(default_factory=list)  # (invariant, what was seen), noticed on the way


class Box:
    """See the module. ``with Box(...) as box: box.start_daemon(); box.start_load(); ...``; everything ends with it."""

    def __init__(self, folder: Path, setup: Setup, rng: Random, starter: Execs | Forks) -> None:
        self.folder, self.setup, self.rng, self.starter = folder, setup, rng, starter
        self.load = setup.load
        self.tally = Tally()
        self.daemon: Child | None = None
        self.publisher: Child | None = None
        self.ledgers: list[Path] = []
        self.results: list[Path] = []
        self.first_judged = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.clock_path = self.folder / "clock.json"
            self.clock = AcceleratedClock.create(self.clock_path, epoch=EPOCH, factor=self.setup.factor)
            self.broker = stack.enter_context(QuietBroker(self.starter, *self.setup.broker_lines))
            self.twilio = stack.enter_context(FakeTwilio(clock=self._now, list_lag=LIST_LAG))
            sinks = ""
            if self.setup.with_influxdb:
                self.influxd = stack.enter_context(Influxd())
                shim = stack.enter_context(WriteShim(self.influxd.port))
                self.influxdb = stack.enter_context(FaultyInflux(shim.port))
                self.influxd.create("history")
                sinks = f"sinks: {{influxdb: {{url: {self.influxdb.url}, bucket: history, org: o}}}}"
            self._write_files(sinks)
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _now(self) -> int:
        return self.clock.now()  # not a method of this clock: it may be moved

    def _end(self) -> None:
        for child in (self.publisher, self.daemon):
            if child is not None and child.poll() is None:
                child.kill()

    def _write_files(self, sinks: str) -> None:
        write_homes(self.folder / "homes.csv", self.load.rows())
        self.phones = {"maintainer-1": _phone(0)}
        lines = ["contacts:", _contact("maintainer-1", self.phones["maintainer-1"], "maintainer", "all")]
        for home in self.load.home_ids():
            # Everybody has few texts, so that no budget stands between an alarm and its text.
            for role in ("worker", "family"):
                who = f"{role}-{home}"
                self.phones[who] = _phone(len(self.phones))
                lines.append(_contact(who, self.phones[who], role, f"home:{home}"))
        (self.folder / "contacts.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        rules = self.folder / "rules"
        rules.mkdir()
        (rules / "rules.yaml").write_text(RULES % self.load.unused_for, encoding="utf-8")
        self.health_port = free_port()
        self.config = self.folder / "config.yaml"
        text = CONFIG.format(
            mqtt=self.broker.port,
            account=ACCOUNT_SID,
            sender=SENDER,
            twilio=self.twilio.url,
            sinks=sinks,
            health=self.health_port,
        )
        self.config.write_text(text, encoding="utf-8")
        self.journal = self.folder / "journal.db"
        self.log = self.folder / "daemon.log"
        self.mark = self.folder / "marks"

    # -- the daemon --------------------------------------------------------------------------------------------------

    def start_daemon(self, failpoint: str = "", hit: int = 1, pause: float = 0.0) -> None:
        """Start it; nothing is waited for."""
        self.daemon = self.starter.start(
            {
                "run": "daemon",
                "config": str(self.config),
                "clock": str(self.clock_path),
                "log": str(self.log),
                "environment": {"SENSOR_GUARD_TWILIO_AUTH_TOKEN": AUTH_TOKEN, "SENSOR_GUARD_INFLUXDB_TOKEN": "t"},
                "hurry": self.setup.hurry,
                "mutation": self.setup.mutation,
                "failpoint": failpoint,
                "hit": hit,
                "pause": pause,
                "mark": str(self.mark),
            }
        )

    def is_up(self) -> bool:
        """Say whether the daemon has caught up with the broker."""
        health = self.health()
        return bool(health.get("connected") and health.get("drained"))

    def wait_up(self, seconds: float = 300.0) -> None:
        def holds() -> bool:
            self.must_live()
            return self.is_up()

        try:
            until(holds, seconds, "the daemon's catching up")
        except LimitError as error:
            raise LimitError(f"{error}; /healthz: {self.health()}; its log ends:\n{self.log_text()[-2000:]}") from None

    def must_live(self) -> None:
        assert self.daemon is not None
        code = self.daemon.poll()
        assert code is None, f"the daemon ended with {code}:\n{self.log_text()[-3000:]}"

    def kill_daemon(self) -> None:
        assert self.daemon is not None
        self.must_live()
        self.daemon.kill()
        self.tally.daemon_kills += 1

    def stop_daemon(self) -> int:
        """End it as systemd would; its exit code."""
        assert self.daemon is not None
        self.daemon.signal(signal.SIGTERM)
        return self.daemon.wait(90)

    def spring(self, failpoint: str, hit: int, *, within: float = 180.0, pause: float = 0.0) -> bool:
        """Start the daemon with a trap, and wait until it has killed itself; False if it has not been there."""
        before = self.marks()
        self.start_daemon(failpoint, hit, pause)
        assert self.daemon is not None
        try:
            code = self.daemon.wait(within)
        except LimitError:
            self.daemon.kill()
            return False
        assert code == -signal.SIGKILL, f"ended with {code}, not by the trap {failpoint}:\n{self.log_text()[-3000:]}"
        was_hit = self.marks()[len(before) :] == [failpoint]
        if was_hit:
            self.tally.daemon_kills += 1
            self.tally.hits[failpoint] = self.tally.hits.get(failpoint, 0) + 1
        return was_hit

    def marks(self) -> list[str]:
        return self.mark.read_text(encoding="utf-8").split() if self.mark.exists() else []

    def health(self) -> dict:
        """Ask /healthz; {} if nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/healthz", timeout=5) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)
        except (OSError, ValueError):
            return {}

    def ask(self, verb: str, **more: object) -> dict:
        return ask(self.folder / "run" / "control.sock", {"verb": verb, **more}, timeout=30)

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    # -- the load ----------------------------------------------------------------------------------------------------

    def start_load(self, *, first: int = 0) -> None:
        """Let the publisher begin with reading ``first``."""
        number = len(self.ledgers)
        self.load = replace(self.load, start=self.clock.now() + round(200 * self.setup.factor))
        ledger, result = self.folder / f"ledger{number}", self.folder / f"published{number}.json"
        spec = self.folder / f"order{number}.json"
        Order(
            self.load, self.broker.port, str(self.clock_path), str(ledger), str(result), str(self.journal), first
        ).write(spec)
        self.ledgers.append(ledger)
        self.results.append(result)
        request = {"run": "publisher", "spec": str(spec), "log": str(self.folder / "publisher.log")}
        self.publisher = self.starter.start(request)

    def stop_load(self) -> None:
        """Let the publisher come to an end: everything that it has begun is acknowledged."""
        assert self.publisher is not None
        self.publisher.signal(signal.SIGTERM)
        code = self.publisher.wait(300)
        log = (self.folder / "publisher.log").read_text(encoding="utf-8", errors="replace")
        assert code == 0, f"the publisher ended with {code}:\n{log[-2000:]}"
        self.publisher = None

    def published(self) -> int:
        """Say how many readings were published, each counted once."""
        return sum(json.loads(path.read_text(encoding="utf-8"))["published"] for path in self.results if path.exists())

    def ledger(self) -> dict[int, int]:
        """Give what the broker has acknowledged: reading's number -> virtual ms of its PUBACK."""
        rows: dict[int, int] = {}
        for path in self.ledgers:
            with path.open(encoding="utf-8") as file:
                for line in file:
                    n, _, at = line.rstrip("\n").partition("\t")
                    if at.isdigit():  # the last line may be half there while the publisher runs
                        rows[int(n)] = int(at)
        return rows

    def acknowledged(self) -> int:
        """Count cheaply."""
        return sum(path.read_bytes().count(b"\n") for path in self.ledgers if path.exists())

    def wait_acknowledged(self, count: int, seconds: float = 180.0) -> None:
        until(lambda: self.acknowledged() >= count, seconds, f"the broker's acknowledging {count} readings")

    # -- the journal -------------------------------------------------------------------------------------------------

    def query(self, sql: str, values: tuple = ()) -> list[tuple]:
        db = sqlite3.connect(f"{self.journal.as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()

    def move_clock(self, days: int) -> None:
        """Let the box have been off for some days. While nothing of ours runs."""
        self.clock = AcceleratedClock(self.clock.epoch + days * DAY, self.clock.factor, self.clock.started)
        row = {"epoch": self.clock.epoch, "factor": self.clock.factor, "started": self.clock.started}
        self.clock_path.write_text(json.dumps(row), encoding="utf-8")

    # -- the broker --------------------------------------------------------------------------------------------------

    def restart_broker(self) -> None:
        """Stop it as systemd would, and start it again."""
        self.broker.stop()
        self.tally.broker_restarts += 1
        self.broker_back()

    def kill_broker(self) -> None:
        self.broker.kill()
        self.tally.broker_kills += 1

    def forget_sessions(self) -> None:
        """Delete the store of the broker, which does not run."""
        self.broker.forget()
        self.tally.sessions_deleted += 1

    def broker_back(self) -> None:
        """Start the broker, and measure how long the daemon takes to find it."""
        self.broker.start()
        # On a machine with more work than processors everything takes so much longer.
        within = self.setup.reconnect_within * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        started = self.clock.monotonic()

        def is_back() -> bool:
            self.must_live()
            return bool(self.health().get("connected"))

        try:
            until(is_back, within, "the daemon's finding the broker again")
        except LimitError as error:
            health = self.health()
            self.wrong("THREADS_ALIVE" if health.get("stuck") else "RECONNECTED", f"{error}; /healthz says {health}")
            return
        self.tally.reconnects.append(self.clock.monotonic() - started)

    def wrong(self, invariant: str, what: str) -> None:
        """Note that an invariant was seen violated."""
        self.tally.wrong.append((invariant, what))

    def pause(self, seconds: float, still: Callable[[], bool] = lambda: True) -> None:
        """Let the load go on for a while."""
        end = self.clock.monotonic() + seconds
        until(lambda: self.clock.monotonic() >= end or not still(), seconds + 5, "a pause")


def _phone(number: int) -> str:
    city, line = divmod(number, 100)
    return f"+1{CITIES[city]}55501{line:02d}"


def _contact(who: str, phone: str, role: str, covers: str) -> str:
    return f'  - {{id: {who}, name: {who}, phone: "{phone}", language: en, role: {role}, covers: ["{covers}"]}}'
