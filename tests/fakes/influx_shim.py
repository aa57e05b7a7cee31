"""The v2-write shim: renames /api/v2/write to /write as InfluxDB 1.8's serveWriteV2 and bucket2dbrp do.

``bucket`` "db" or "db/rp" becomes db and rp; precision ns becomes n, us becomes u, the others stay; org is ignored.
/query, /ping and the rest pass through. ``token``: what the caller must send, as 2.x asks for it; None asks nothing
(1.6.7 itself does not understand the Token header, so it runs without authentication).
"""

import http.client
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

PRECISION = {"ns": "n", "us": "u"}


def rewrite(path: str) -> str:
    """Give the 1.x path of a 2.x write; every other path as it is."""
    url = urllib.parse.urlsplit(path)
    if url.path != "/api/v2/write":
        return path
    query = dict(urllib.parse.parse_qsl(url.query))
    database, _, policy = query.get("bucket", "").partition("/")
    precision = query.get("precision", "ns")
    renamed = {"db": database, "rp": policy, "precision": PRECISION.get(precision, precision)}
    return f"/write?{urllib.parse.urlencode(renamed)}"


class WriteShim:
    """``with WriteShim(server.port) as shim:`` listens on ``shim.url``."""

    def __init__(self, upstream_port: int, *, token: str | None = None) -> None:
        self.token = token
        shim = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's delayed ACK

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if shim.token is not None and self.headers.get("Authorization") != f"Token {shim.token}":
                    self.answer(401, b'{"code":"unauthorized","message":"unauthorized access"}', "application/json")
                    return
                upstream = http.client.HTTPConnection("127.0.0.1", upstream_port, timeout=30)
                encoding = {"Content-Encoding": "gzip"} if self.headers.get("Content-Encoding") == "gzip" else {}
                upstream.request(self.command, rewrite(self.path), body, encoding)
                reply = upstream.getresponse()
                self.answer(reply.status, reply.read(), reply.headers.get("Content-Type", "text/plain"))
                upstream.close()

            def answer(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
