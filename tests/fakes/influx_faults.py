"""A scripted HTTP server for what a database, a proxy or a network can do to a write.

One fault of the script is used up by each write (POST); after the script, writes are forwarded to ``upstream_port``
(a ``WriteShim``), or taken with 204 and kept in ``bodies`` where there is none. GETs are always forwarded.
"""

import contextlib
import gzip
import http.client
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Fault:
    """One misbehaviour. ``store``: the write reaches the database all the same."""

    status: int = 0  # 0: no answer at all
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    store: bool = False
    hang: bool = False  # keep the connection and say nothing until the server ends
    reset: bool = False  # drop the connection
    truncate: bool = False  # promise more body than comes, then drop
    slow: bool = False  # answer properly, in small pieces


HANG = Fault(hang=True)
DROP = Fault(reset=True)
STORED_BUT_TIMED_OUT = Fault(hang=True, store=True)
STORED_BUT_DROPPED = Fault(reset=True, store=True)
SLOW = Fault(status=204, store=True, slow=True)
FORWARD = Fault(store=True)  # no fault: for scripts such as [FORWARD, DROP]
TRUNCATED = Fault(status=500, body=b'{"error":"timeo', truncate=True)


def status(code: int, message: str = "", **headers: str) -> Fault:
    """Answer with ``code`` and a message in InfluxDB 2's form; header names with _ for -."""
    body = b'{"code":"x","message":"%s"}' % message.encode() if message else b""
    return Fault(status=code, body=body, headers={key.replace("_", "-"): value for key, value in headers.items()})


class FaultyInflux:
    """``with FaultyInflux(shim.port) as server: server.script([HANG, status(503)])``."""

    def __init__(self, upstream_port: int | None = None) -> None:  # noqa: C901 - a server is its handler
        self._upstream_port = upstream_port
        self._script: deque[Fault] = deque()
        self._ended = threading.Event()
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's delayed ACK

            def do_GET(self) -> None:
                self.forward(b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                owner.headers.append(dict(self.headers.items()))
                plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                owner.bodies.append(plain)
                fault = owner._script.popleft() if owner._script else FORWARD
                answer = owner._forward(self, body) if fault.store else (204, b"", "text/plain")
                if fault.hang:
                    owner._ended.wait()
                if fault.hang or fault.reset:
                    self.drop()
                elif fault is FORWARD:
                    self.answer(*answer)
                else:
                    self.misbehave(fault)

            def forward(self, body: bytes) -> None:
                self.answer(*owner._forward(self, body))

            def answer(self, code: int, body: bytes, kind: str) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                if code != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def misbehave(self, fault: Fault) -> None:
                if fault.slow:
                    for piece in (b"HTTP/1.1 204 No", b" Content\r\n", b"X-Slow: yes\r\n", b"\r\n"):
                        self.wfile.write(piece)
                        self.wfile.flush()
                        owner._ended.wait(0.01)
                    return
                self.send_response(fault.status)
                for name, value in fault.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(fault.body) + (100 if fault.truncate else 0)))
                self.end_headers()
                self.wfile.write(fault.body)
                if fault.truncate:
                    self.drop()

            def drop(self) -> None:
                # SO_LINGER 0 makes the close a reset, as a crashed server or a cut wire would look.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()

            def finish(self) -> None:
                with contextlib.suppress(OSError, ValueError):  # the connection was dropped on purpose
                    super().finish()

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                """A client that has hung up is the purpose of this server."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def script(self, faults: Iterable[Fault]) -> None:
        """Use these faults for the next writes, one each."""
        self._script.extend(faults)

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes, str]:
        if self._upstream_port is None:
            return 204, b"", "text/plain"
        upstream = http.client.HTTPConnection("127.0.0.1", self._upstream_port, timeout=30)
        kept = {name: handler.headers[name] for name in ("Content-Encoding", "Authorization") if handler.headers[name]}
        upstream.request(handler.command, handler.path, body, kept)
        reply = upstream.getresponse()
        answer = reply.status, reply.read(), reply.headers.get("Content-Type", "text/plain")
        upstream.close()
        return answer


def refused_url() -> str:
    """Give an address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
