"""A real influxd for tests: Debian's InfluxDB 1.6.7, on free loopback ports and in a temporary directory.

Together with ``influx_shim`` it is called "InfluxDB 1.6.7 behind a v2-write shim", never "InfluxDB 2".
"""

import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import urllib.parse
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
FETCHED = ROOT / ".cache" / "influxdb" / "usr" / "bin" / "influxd"
GET_IT = ".ci/fetch-influxdb"

CONFIG = """
reporting-enabled = false
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{directory}/meta"
[data]
  dir = "{directory}/data"
  wal-dir = "{directory}/wal"
  index-version = "tsi1"
[http]
  bind-address = "127.0.0.1:{http}"
  auth-enabled = false
  log-enabled = false
[subscriber]
  enabled = false
[monitor]
  store-enabled = false
"""


class MissingProgramError(RuntimeError):
    """The test cannot be run; the message holds the command that mends it."""


def find_influxd() -> str:
    """Give the path of influxd, fetched by ``.ci/fetch-influxdb`` or installed."""
    if FETCHED.exists():
        return str(FETCHED)
    installed = shutil.which("influxd")
    if installed is None:
        raise MissingProgramError(f"no influxd: get it with `{GET_IT}` (Debian's package, unpacked, no service)")
    return installed


class Influxd:
    """One server. ``with Influxd() as server: server.create(db)``; it ends by its own pid."""

    def __init__(self) -> None:
        self._program = find_influxd()
        self._directory = tempfile.TemporaryDirectory(prefix="influxd-")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        # The port is free when we look and may be taken when influxd binds it: then it exits, and we look again.
        for _ in range(5):
            if self._start():
                return self
        log = (Path(self._directory.name) / "log").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"influxd does not answer; its log ends:\n{log[-2000:]}")

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._directory.cleanup()

    def _start(self) -> bool:
        directory = Path(self._directory.name)
        self.port, rpc = _free_ports(2)
        config = directory / "influxdb.conf"
        config.write_text(CONFIG.format(directory=directory, http=self.port, rpc=rpc), encoding="utf-8")
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, "run", "-config", str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        while True:
            if self._answers():
                return True
            try:
                # Waiting for its death is the pause between two questions: nobody sleeps for a fixed time.
                self._process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            return False

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/ping")[0] == 204
        except OSError:
            return False

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Speak to the server directly, past every shim."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def execute(self, statement: str, database: str = "") -> list[dict]:
        """Run an InfluxQL statement and give its series: [{name, tags, columns, values}]."""
        query = urllib.parse.urlencode({"q": statement, "db": database, "epoch": "ns"})
        status, body = self.request("POST", f"/query?{query}")
        answer = json.loads(body)
        assert status == 200, answer
        assert "error" not in answer["results"][0], answer
        return answer["results"][0].get("series", [])

    def create(self, database: str, retention: str = "") -> str:
        """Create a database, with an own default retention such as "2h" where one is given."""
        self.execute(f'CREATE DATABASE "{database}"' + (f' WITH DURATION {retention} NAME "own"' if retention else ""))
        return database


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
