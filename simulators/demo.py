"""`make demo`: the main job before your eyes, from MQTT messages to an elder who is looked after, in under two minutes.

Starts a private mosquitto on a free port, the real daemon with the journal as its store and the terminal as everybody's
telephone, and publishes the scenario's night on an accelerated clock that the daemon shares. The social worker answers
and closes over the daemon's socket, as the commands that are shown would. Ends by itself; exit code 0 only if exactly
the expected alarms came of the night and were closed.
"""

import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from sensor_guard.clock import AcceleratedClock, SystemClock, format_at
from sensor_guard.control import DaemonAbsentError, Json, ask
from sensor_guard.model import MINUTE, Instant, Span
from simulators import scenario
from simulators.publish import payload_of
from simulators.roster import topic_of, write_contacts, write_homes

_CLOCK = SystemClock()
LEAD: Span = 60 * MINUTE
"""Virtual time before the scenario begins, at least, 5 s: the daemon and the publisher start meanwhile."""
STARTS_IN = 4.0
"""So many times what `sensor-guard check` takes on this machine they are given to start."""
UP_WITHIN = 120.0
"""Real seconds for the daemon to come up."""
VISIT_AFTER: Span = 40 * MINUTE
"""From the worker's answer to her word that the elder is looked after, 3 s."""
GIVE_UP_AFTER = 300.0
"""Real seconds: the demo never hangs."""
TOO_SLOW = 5.0
"""Real seconds between two looks at the stage, an hour of virtual time: such a machine may miss what it should show."""
ROOT = Path(__file__).resolve().parent.parent

CONFIG = """\
gateway: demo
timezone: Asia/Shanghai
language: zh
homes: homes.csv
contacts: contacts.yaml
rules: {rules}
lateness: 5m            # of virtual time: 0.4 s
mqtt: {{host: 127.0.0.1, port: {port}}}
journal: {{path: journal.db}}
notifiers: {{order: [console], console: {{}}}}
ladders:
  urgent:
    steps: [{{to: [worker, family], after: 0m}}, {{to: [supervisor], after: 30m}}]
    repeat_every: 2h
  welfare:
    steps: [{{to: [worker], after: 0m}}, {{to: [family], after: 2h}}, {{to: [supervisor], after: 4h}}]
    repeat_every: 4h
  technical:
    steps: [{{to: [maintainer], after: 0m}}]
    repeat_every: 24h
health: {{host: 127.0.0.1, port: {health}}}
runtime: {{directory: run}}
log: {{format: json, level: info}}
"""


def main() -> int:
    """Run the demo; 0 if all went as it should."""
    started = _CLOCK.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sensor_guard-demo-")))
        demo = Demo(folder, stack)
        try:
            return demo.run()
        except DemoError as error:
            print(f"\nThe demo has failed: {error}\n{demo.log_tail()}", file=sys.stderr)
            return 1
        finally:
            print(f"({_CLOCK.monotonic() - started:.0f} s)")


class DemoError(Exception):
    """Something did not happen."""


class Demo:
    """The stage: broker, daemon, residents, and a social worker with a telephone."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.clock_path = folder / "clock.json"
        self.log_path = folder / "daemon.log"
        self.lines: queue.Queue[str] = queue.Queue()
        self.socket = folder / "run" / "control.sock"
        self.drawn: list[str] = []
        self.close_at: dict[str, Instant] = {}
        self.longest_stall = 0.0

    def run(self) -> int:
        """Everything in its order."""
        self._write_files()
        broker = find_mosquitto()
        port = free_port()
        print(
            "Six simulated homes, and the recorded water meter of a seventh (a flat in Naples, see simulators/data).\n"
            "The clock is accelerated: twelve hours a minute. One elder uses no electricity from 19:40 on; another\n"
            "presses the button at 21:30; the rest live as usual, and nothing may be said about them.\n"
            "A home is blind until its sensors have spoken. Twelve hours count from the last kettle, at 19:49.\n"
            "The texts are what a social worker reads in Shanghai: who, what, since when, and a code to answer with."
        )
        if broker is None:
            print("There is no mosquitto here and none could be unpacked: messages go to the daemon by a pipe instead.")
        else:
            self.stack.enter_context(running_broker(broker, port, self.folder))
            print(f"A private mosquitto listens on 127.0.0.1:{port}; journal: SQLite; telephones: this terminal.\n")
        self._write_config(port)
        self.clock = AcceleratedClock.create(
            self.clock_path, epoch=scenario.STARTS_AT - self._lead(), factor=scenario.FACTOR
        )
        daemon = self._start_daemon(by_pipe=broker is None)
        self._wait_for_daemon(connected=broker is not None)
        if broker is None:
            assert daemon.stdin is not None
            threading.Thread(target=self._pipe, args=(daemon.stdin,), daemon=True).start()
            self._watch(None)
        else:
            self._watch(self._start_publisher(port))
        return self._verdict()

    # -- the parts ------------------------------------------------------------------------------------------------

    def _write_files(self) -> None:
        rows = scenario.rows()
        write_homes(self.folder / "homes.csv", rows)
        write_contacts(self.folder / "contacts.yaml", sorted({row.home for row in rows}))

    def _write_config(self, port: int) -> None:
        text = CONFIG.format(rules=ROOT / "rules", port=port, health=free_port())
        (self.folder / "config.yaml").write_text(text, encoding="utf-8")

    def _lead(self) -> Span:
        """Say how long before the scenario the clock must begin: a busy machine takes its time to start a program."""
        began = _CLOCK.monotonic()
        arguments = [*CLI, "check", "--config", str(self.folder / "config.yaml")]
        done = subprocess.run(  # noqa: S603 - our own program
            arguments, capture_output=True, text=True, timeout=UP_WITHIN, check=False, env=ENVIRONMENT
        )
        if done.returncode:
            raise DemoError(f"its configuration is wrong: {done.stderr.strip()}")
        took = _CLOCK.monotonic() - began
        if took * STARTS_IN > UP_WITHIN / 4:
            print(f"This machine is slow or busy: a program takes {took:.0f} s to start. Have patience.", flush=True)
        return max(LEAD, round(took * STARTS_IN * 1_000 * scenario.FACTOR))

    def _start_daemon(self, *, by_pipe: bool) -> "subprocess.Popen[str]":
        arguments = [*CLI, "run", "--config", str(self.folder / "config.yaml"), "--clock", str(self.clock_path)]
        if by_pipe:
            arguments += ["--messages", "-"]
        log = self.stack.enter_context(self.log_path.open("w", encoding="utf-8"))
        process = subprocess.Popen(  # noqa: S603 - our own program
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=ENVIRONMENT
        )
        self.stack.callback(stop, process)
        threading.Thread(target=self._read_telephones, args=(process,), daemon=True).start()
        return process

    def _read_telephones(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.put(line.rstrip("\n"))

    def _wait_for_daemon(self, *, connected: bool) -> None:
        pause = threading.Event()
        give_up_at = _CLOCK.monotonic() + UP_WITHIN
        while _CLOCK.monotonic() < give_up_at:
            try:
                status = ask(self.socket, {"verb": "status"}, timeout=5)
            except DaemonAbsentError:
                status = {}
            if status.get("running") and (status.get("connected") or not connected):
                return
            pause.wait(0.1)
        raise DemoError(f"the daemon did not come up within {UP_WITHIN:.0f} s: this machine is too slow or too busy")

    def _start_publisher(self, port: int) -> "subprocess.Popen[bytes]":
        arguments = [sys.executable, "-m", "simulators", "publish", "--scenario", "--clock", str(self.clock_path)]
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*arguments, "--quiet", "--port", str(port)], env=ENVIRONMENT, cwd=ROOT
        )
        self.stack.callback(stop, process)
        return process

    def _pipe(self, daemon: TextIO) -> None:
        """Without a broker: the same messages at the same times, as lines of a capture."""
        pause = threading.Event()
        for reading in scenario.readings():
            pause.wait(max(0.0, (reading.received_at - self.clock.now()) / 1_000 / self.clock.factor))
            topic = topic_of(scenario.SITE, reading.home_id, reading.sensor_id)
            daemon.write(json.dumps({"topic": topic, "payload": payload_of(reading).decode()}) + "\n")
            daemon.flush()

    # -- the play -------------------------------------------------------------------------------------------------

    def _watch(self, publisher: "subprocess.Popen[bytes] | None") -> None:
        """Show what happens, answer what asks, until the night is over and the alarms of its story are closed.

        What rises later is not waited for: nobody publishes any more, so the homes fall silent, as they should.
        """
        looked_at = _CLOCK.monotonic()
        give_up_at = looked_at + GIVE_UP_AFTER
        told_at = 0.0
        ends_at = scenario.ENDS_AT + 10 * MINUTE
        while looked_at < give_up_at:
            now = _CLOCK.monotonic()
            self.longest_stall, looked_at = max(self.longest_stall, now - looked_at), now
            self._show_telephones()
            self._visit()
            if _CLOCK.monotonic() - told_at > 8:
                told_at = _CLOCK.monotonic()
                self._say(self._counts())
            code = 0 if publisher is None else publisher.poll()
            if code not in (None, 0):
                raise DemoError("the publisher failed")
            if code == 0 and self.clock.now() > ends_at and story_is_over(self._alarms()):
                self._show_telephones()
                return
        print(f"\nIt did not end within {GIVE_UP_AFTER:.0f} s.")

    def _show_telephones(self) -> None:
        """Draw what has come; once a whole telephone is there, and it is the worker's, she answers."""
        try:
            line = self.lines.get(timeout=0.2)
        except queue.Empty:
            return
        while True:
            print(f"    {line}", flush=True)
            self.drawn.append(line)
            if line.startswith("╰"):
                text, self.drawn = "\n".join(self.drawn), []
                found = re.search(r"\[([2-9A-HJ-NP-Z]{4})\]", text)
                if found and "(worker-1)" in text:
                    self._answer(found[1])
            try:
                line = self.lines.get_nowait()
            except queue.Empty:
                return

    def _answer(self, code: str) -> None:
        """The social worker answers with the code in the text, unless somebody has."""
        alarm = ask(self.socket, {"verb": "alarm", "target": code}).get("alarm")
        if alarm is None or alarm["response"] != "unanswered":
            return
        self._command("ack", code, by="worker-1")
        self.close_at[code] = self.clock.now() + VISIT_AFTER

    def _visit(self) -> None:
        for code, at in list(self.close_at.items()):
            if self.clock.now() >= at:
                del self.close_at[code]
                self._command("close", code, by="worker-1", outcome="helped", note="visited")

    def _command(self, verb: str, code: str, **options: str) -> None:
        """Show what a person would type, and ask the daemon the same.

        Not with a process of its own: on a busy machine its start takes 15 s, three hours of the night.
        """
        words = " ".join(f"--{name} {value}" for name, value in options.items())
        self._say(f"李社工: sensor-guard {verb} {code} {words}")
        answer = ask(self.socket, {"verb": verb, "target": code, **options})
        if "error" in answer:
            raise DemoError(f"`sensor-guard {verb} {code}` was refused: {answer['error']}")

    def _say(self, text: str) -> None:
        print(f"{format_at(self.clock.now(), scenario.ZONE)[11:16]}  {text}", flush=True)

    def _counts(self) -> str:
        status = ask(self.socket, {"verb": "status"})
        homes = ask(self.socket, {"verb": "homes"})["homes"]
        blind = sum(home["blind"] == "yes" for home in homes)
        return (
            f"{status['messages']} messages in, {status['open_alarms']} open alarm(s);"
            f" {len(homes)} homes, {blind} of them blind"
        )

    def _alarms(self) -> list[Json]:
        found: list[Json] = ask(self.socket, {"verb": "alarms", "all": True})["alarms"]
        return found

    def _verdict(self) -> int:
        everything = self._alarms()
        alarms = of_the_night(everything)
        expected = expectations()
        found = {(alarm["home_id"], alarm["rule_id"]): alarm for alarm in alarms}
        print("\nWhat came of the night:")
        for key, alarm in sorted(found.items(), key=lambda item: item[1]["raised_at"]):
            in_time = key in expected and expected[key][0] <= alarm["raised_at"] <= expected[key][1]
            verdict = "as it should" if in_time else "NOT EXPECTED"
            at = format_at(alarm["raised_at"], scenario.ZONE)[:16]
            print(f"  {at}  {key[0]}  {key[1]}  {alarm['state']} ({alarm['outcome']})  {verdict}")
        missing = [key for key in expected if key not in found]
        for home_id, rule_id in missing:
            print(f"  MISSING: {home_id} {rule_id}")
        right = not missing and set(found) == set(expected) and len(alarms) == len(expected)
        right = right and all(
            expected[key][0] <= alarm["raised_at"] <= expected[key][1] and alarm["state"] == "closed"
            for key, alarm in found.items()
        )
        if others := len(everything) - len(alarms):
            print(f"  {others} more rose before or after the night, when nobody published: they do not count.")
        print("Every alarm was expected, answered and closed; nothing else rose." if right else "This is not right.")
        if self.longest_stall > TOO_SLOW:
            virtual = self.longest_stall * scenario.FACTOR / 3_600
            print(
                f"This machine is too slow or too busy for the demo: it stood still for {self.longest_stall:.0f} s,"
                f" {virtual:.1f} hours of the night. What is not right may be due to that: try when it is idle."
            )
        return 0 if right else 1

    def log_tail(self) -> str:
        """Give the end of the daemon's log."""
        return "\n".join(self.log_path.read_text(encoding="utf-8").splitlines()[-15:]) if self.log_path.exists() else ""


def expectations() -> dict[tuple[str, str], tuple[Instant, Instant]]:
    """Say which alarms should come of the night: (home, rule) -> earliest and latest."""
    return {
        (record.home_id, one.rule_id): (one.earliest, one.latest)
        for record in scenario.truth()
        for one in record.expect
    }


def of_the_night(alarms: list[Json]) -> list[Json]:
    """Give the alarms that rose while somebody published."""
    return [alarm for alarm in alarms if scenario.STARTS_AT <= alarm["raised_at"] <= scenario.ENDS_AT]


def story_is_over(alarms: list[Json]) -> bool:
    """Say whether every alarm that should come has come and is closed, whatever else has risen."""
    closed = {(alarm["home_id"], alarm["rule_id"]) for alarm in alarms if alarm["state"] == "closed"}
    return closed >= expectations().keys()


CLI = [sys.executable, "-c", "from sensor_guard.cli import main; main()"]
ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}


def find_mosquitto() -> str | None:
    """Find the broker: installed, or unpacked by `.ci/fetch-mosquitto`."""
    unpacked = ROOT / ".cache" / "mosquitto" / "run"
    for place in (shutil.which("mosquitto"), "/usr/sbin/mosquitto", str(unpacked)):
        if place and Path(place).exists():
            return place
    return None


@contextmanager
def running_broker(program: str, port: int, folder: Path) -> Iterator[None]:
    """Run a private mosquitto on loopback until the demo ends."""
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        "max_queued_messages 0\nmax_inflight_messages 1000\nuser " + _own_name() + "\n",
        encoding="utf-8",
    )
    log = (folder / "mosquitto.log").open("w", encoding="utf-8")
    process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)  # noqa: S603 - Debian's mosquitto
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                raise DemoError(f"mosquitto ended: {(folder / 'mosquitto.log').read_text()[-300:]}")
            threading.Event().wait(0.05)
        else:
            raise DemoError("mosquitto does not answer")
        yield
    finally:
        stop(process)
        log.close()


def _own_name() -> str:
    import pwd  # noqa: PLC0415 - Unix only, and needed here only

    return pwd.getpwuid(os.getuid()).pw_name


def free_port() -> int:
    """Give a port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def stop(process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    """End a process of ours: politely, then not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=8)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, json.JSONDecodeError, DaemonAbsentError) as problem:
        print(f"The demo has failed: {problem}", file=sys.stderr)
        sys.exit(1)
