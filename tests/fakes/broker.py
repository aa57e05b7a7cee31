"""A real mosquitto for tests: a free loopback port, a temporary directory with persistence, ended by its own pid."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.fakes.influxd import MissingProgramError

INSTALL = "apt-get install --no-install-recommends mosquitto"
OPEN = ("allow_anonymous true",)
SESSIONS = (
    "persistence true",
    "max_queued_messages 0",
    "max_inflight_messages 1000",
    "sys_interval 1",
    "set_tcp_nodelay true",
)


def find_mosquitto() -> str:
    """Give the path of mosquitto; Debian puts it where only root's PATH looks."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise MissingProgramError(f"no mosquitto: install it with `{INSTALL}`")
    return found


class Broker:
    """One broker. ``with Broker() as broker: ... broker.restart()``; the port and the store stay.

    ``lines``: further lines of its configuration; ``conf``: a whole configuration in place of ours, in which
    ``{port}`` and ``{directory}`` are filled in.
    """

    def __init__(self, *lines: str, conf: str | None = None) -> None:
        self._program = find_mosquitto()
        self._directory = tempfile.TemporaryDirectory(prefix="mosquitto-", ignore_cleanup_errors=True)
        self.directory = Path(self._directory.name)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._conf = conf or "\n".join(("listener {port} 127.0.0.1", *SESSIONS, *(lines or OPEN)))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._directory.cleanup()

    @property
    def pid(self) -> int:
        """Of the running broker."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has written."""
        return (self.directory / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        place = [f"persistence_location {self.directory}/"]
        if os.geteuid() == 0:
            place.append("user root")  # else it gives up the right to its directory
        text = self._conf.replace("{port}", str(self.port)).replace("{directory}", str(self.directory))
        path = self.directory / "mosquitto.conf"
        path.write_text("\n".join((*place, text)) + "\n", encoding="utf-8")
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([self._program, "-v", "-c", str(path)], stdout=log, stderr=log)
        while not self._answers():
            try:
                # Waiting for its death is the pause between two questions: nobody sleeps for a fixed time.
                self._process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            raise RuntimeError(f"mosquitto does not start; its log ends:\n{self.log[-2000:]}")

    def stop(self) -> None:
        """End it cleanly: it writes its store."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut does: what it has not written is gone."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def forget(self) -> None:
        """Delete the store of a broker that does not run: every session and retained message is gone."""
        (self.directory / "mosquitto.db").unlink(missing_ok=True)

    def freeze(self) -> None:
        """Let it neither read nor answer, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
