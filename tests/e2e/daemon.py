"""The real daemon as a process of its own, for tests from end to end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from sensor_guard.clock import AcceleratedClock
from sensor_guard.control import DaemonAbsentError, ask
from simulators.demo import free_port
from simulators.roster import SensorRow, write_contacts, write_homes

ROOT = Path(__file__).resolve().parents[2]
CLI = [sys.executable, "-c", "from sensor_guard.cli import main; main()"]

CONFIG = """\
gateway: box1
timezone: {zone}
language: zh
homes: homes.csv
contacts: contacts.yaml
rules: {rules}
lateness: 5m
mqtt: {{host: 127.0.0.1, port: {mqtt_port}}}
journal: {{path: journal.db}}
{more}
ladders:
  urgent:
    steps: [{{to: [worker, family], after: 0m}}, {{to: [supervisor], after: 3h}}]
    repeat_every: 24h
  welfare:
    steps: [{{to: [worker], after: 0m}}, {{to: [supervisor], after: 20h}}]
    repeat_every: 24h
  technical:
    steps: [{{to: [maintainer], after: 0m}}]
    repeat_every: 24h
health: {{host: 127.0.0.1, port: {health_port}}}
runtime: {{directory: run}}
log: {{format: json, level: info}}
"""
CONSOLE = "notifiers: {order: [console], console: {}}"


class Daemon:
    """One configuration in one folder; started, killed and started again as the test likes."""

    def __init__(
        self,
        folder: Path,
        rows: Iterable[SensorRow],
        *,
        mqtt_port: int,
        more: str = CONSOLE,
        rules: Path = ROOT / "rules",
        zone: str = "Asia/Shanghai",
        clock: AcceleratedClock | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        rows = list(rows)
        write_homes(folder / "homes.csv", rows)
        write_contacts(folder / "contacts.yaml", sorted({row.home for row in rows}))
        self.health_port = free_port()
        self.config = folder / "config.yaml"
        self.config.write_text(
            CONFIG.format(zone=zone, rules=rules, mqtt_port=mqtt_port, more=more, health_port=self.health_port),
            encoding="utf-8",
        )
        self.socket = folder / "run" / "control.sock"
        self.log_path = folder / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.clock = clock
        self._clock_path = folder / "clock.json" if clock is not None else None
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}

    def start(self, *, connected: bool = True) -> None:
        """Start and wait until the control socket answers (and the broker is there)."""
        arguments = [*CLI, "run", "--config", str(self.config)]
        if self._clock_path is not None:
            arguments += ["--clock", str(self._clock_path)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log, env=self._environment)
        self.until(lambda: self.status().get("running") and (self.status().get("drained") or not connected))

    def status(self) -> dict:
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended with {self.process.poll()}:\n{self.log()}"
        try:
            return ask(self.socket, {"verb": "status"}, timeout=10)
        except DaemonAbsentError:
            return {}

    def alarms(self) -> list[dict]:
        return ask(self.socket, {"verb": "alarms", "all": True, "limit": 10_000})["alarms"]

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(5)

    def stop(self) -> int:
        """End it as systemd would; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a verb of the command line against it."""
        return subprocess.run(
            [*CLI, *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=self._environment,
        )

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    def events(self, name: str) -> list[dict]:
        """Give the log's events of a name."""
        rows = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [row for row in rows if row.get("event") == name]

    def until(self, holds, seconds: float = 90.0):
        """Wait until something holds, a real thing in another process; give what it gave."""
        pause, end = threading.Event(), time.monotonic() + seconds
        while time.monotonic() < end:
            value = holds()
            if value:
                return value
            pause.wait(0.05)
        raise AssertionError(f"did not happen within {seconds:g} s:\n{self.log()[-3000:]}")
