"""Child processes that always end: tied to the death of whoever started them, bounded, reaped."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from tests.fakes.broker import Broker

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")


class LimitError(AssertionError):
    """Something that should have happened has not, within its limit."""


def say(words: str) -> None:
    """Write a line of progress."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def until(holds: Callable[[], T], seconds: float, what: str) -> T:
    """Wait until something holds, a real thing in another process; give what it gave."""
    end = time.monotonic() + seconds
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > end:
            raise LimitError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.03)


class Child:
    """One process: of ours, or forked by a ``Forks``."""

    def __init__(self, pid: int, code: Callable[[], int | None]) -> None:
        self.pid, self._code = pid, code

    def poll(self) -> int | None:
        """Give its exit code once it has ended; negative: the signal."""
        return self._code()

    def wait(self, seconds: float) -> int:
        until(lambda: self.poll() is not None, seconds, f"the end of process {self.pid}")
        code = self.poll()
        assert code is not None
        return code

    def signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait(10)


class Execs:
    """Starts each process anew: what an operator's machine does, and a second and a half slower than ``Forks``."""

    def __enter__(self) -> Self:
        self._started: list[subprocess.Popen[bytes]] = []
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait(10)

    def start(self, request: dict) -> Child:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.launcher", json.dumps(request)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
        )
        self._started = [each for each in self._started if each.poll() is None]
        self._started.append(process)
        return Child(process.pid, process.poll)


class Forks:
    """Has each process forked from one that has imported everything."""

    def __init__(self) -> None:
        # By the number of the start: within half an hour of kills the kernel gives the same pid again.
        self._ended: dict[int, int] = {}
        self._pids: list[int] = []
        self._running: dict[int, int] = {}  # pid -> number
        self._news = threading.Condition()
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.launcher", "--serve"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin is not None
        for pid in list(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.stdin.close()  # it ends, and its children with it
        self._server.wait(10)
        assert self._server.stdout is not None
        self._server.stdout.close()

    def start(self, request: dict) -> Child:
        assert self._server.stdin is not None
        with self._asking, self._news:
            count = len(self._pids)
            self._server.stdin.write(json.dumps(request).encode() + b"\n")
            self._server.stdin.flush()
            if not self._news.wait_for(lambda: len(self._pids) > count, 60):
                raise LimitError("the fork server does not answer")
            pid = self._pids[count]
        return Child(pid, lambda: self._ended.get(count))

    def _listen(self) -> None:
        assert self._server.stdout is not None
        for line in self._server.stdout:
            words = line.split()
            with self._news:
                if words[0] == b"started":
                    self._running[int(words[1])] = len(self._pids)
                    self._pids.append(int(words[1]))
                elif words[0] == b"ended":
                    self._ended[self._running.pop(int(words[1]))] = int(words[2])
                self._news.notify_all()


class QuietBroker(Broker):
    """A mosquitto that does not write down every packet, and that dies with us."""

    def __init__(self, starter: "Execs | Forks", *lines: str) -> None:
        super().__init__(*lines)
        self._starter = starter

    def start(self) -> None:
        # Written by the parent class, with its -v left out and our tie put in.
        path = self.directory / "mosquitto.conf"
        place = [f"persistence_location {self.directory}/", *(["user root"] if os.geteuid() == 0 else [])]
        text = self._conf.replace("{port}", str(self.port)).replace("{directory}", str(self.directory))
        path.write_text("\n".join((*place, text)) + "\n", encoding="utf-8")
        argv = [self._program, "-c", str(path)]
        self._child = self._starter.start({"run": "exec", "argv": argv, "log": str(self.directory / "log")})

        def is_there() -> bool:
            if self._child.poll() is not None:
                raise LimitError(f"mosquitto ended with {self._child.poll()}; its log ends:\n{self.log[-2000:]}")
            return self._answers()

        until(is_there, 20, "the broker's answer")

    @property
    def pid(self) -> int:
        return self._child.pid

    def _end(self, number: signal.Signals) -> None:
        child = getattr(self, "_child", None)
        if child is None or child.poll() is not None:
            return
        child.signal(number)
        try:
            child.wait(15)
        except LimitError:
            child.kill()
