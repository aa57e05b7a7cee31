"""A real mosquitto for one test: its own folder, a free port on loopback, ended by its own process handle."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from shutil import which

_START_LIMIT = 10.0  # real seconds until it must listen


class Mosquitto:
    """``extra``: further lines of mosquitto.conf. Persistence is off: what the broker holds dies with it."""

    def __init__(self, folder: Path, extra: tuple[str, ...] = ("allow_anonymous true",)) -> None:
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", "max_queued_messages 0", *extra]
        if os.geteuid() == 0:
            lines.append("user root")  # else it gives up the right to read this folder
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        program = which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        assert program, "mosquitto is not installed; Debian's package has this name"
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", str(self.folder / "mosquitto.conf")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_LIMIT
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self.folder / "mosquitto.log").read_text()
            with socket.socket() as probe:
                probe.settimeout(0.2)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError((self.folder / "mosquitto.log").read_text())

    def freeze(self) -> None:
        """Let it stop reading and answering, with its connections open."""
        self._signal(signal.SIGSTOP)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._signal(signal.SIGCONT)
            self._process.terminate()
            self._wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _wait(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
