"""The control socket: how the command line speaks to the daemon. A JSON line in, a JSON line out after the commit.

A Unix socket in the runtime directory; who may speak is a matter of the directory's permissions. The peer's uid is
taken from the kernel (SO_PEERCRED) and becomes part of the actor's name, whatever the peer says of itself.
"""

import contextlib
import json
import socket
import socketserver
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from sensor_guard.errors import SensorGuardError

LINE_LIMIT = 64 * 1024
"""Bytes of a request. A longer one is answered with an error and the connection closed."""
DRAIN_LIMIT = 16
"""So many times LINE_LIMIT of a line that is too long are read to its end, then the connection is cut."""
ANSWER_WITHIN = 30.0
"""Seconds that a caller waits for the commit before it is told that the daemon does not answer."""

# Any: JSON between two processes; each verb checks its own fields (operations.py).
Json = dict[str, Any]


class DaemonAbsentError(SensorGuardError):
    """No daemon listens on this socket (exit code 3, or the verb does its work without one)."""


class ControlServer(socketserver.ThreadingUnixStreamServer):
    """Listens on ``path``; ``handle(request, uid)`` is called on a thread of its own for each request.

    ``handle`` waits for the engine's thread and returns the answer. Anything it raises becomes {"error": text}.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, path: Path, handle: Callable[[Json, int], Json]) -> None:
        self.path = path
        self.handle_request_line = handle
        path.parent.mkdir(parents=True, exist_ok=True)
        # The journal's lock says that we are the only daemon, so whatever lies here is a dead one's.
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Handler)
        path.chmod(0o660)

    def server_close(self) -> None:
        """Stop listening and take the socket away."""
        super().server_close()
        self.path.unlink(missing_ok=True)


class _Handler(socketserver.StreamRequestHandler):
    timeout = ANSWER_WITHIN + 5

    def handle(self) -> None:
        server = cast("ControlServer", self.server)
        credentials = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        uid = struct.unpack("3i", credentials)[1]
        with contextlib.suppress(OSError):  # a caller that went away needs no answer
            while line := self.rfile.readline(LINE_LIMIT):
                is_whole = line.endswith(b"\n")
                for _ in range(0 if is_whole else DRAIN_LIMIT):
                    # A caller that is still writing would not hear the answer, but a broken pipe.
                    if not (rest := self.rfile.readline(LINE_LIMIT)) or rest.endswith(b"\n"):
                        break
                self.wfile.write(json.dumps(_answer(server, line, uid), ensure_ascii=False).encode() + b"\n")
                if not is_whole:
                    return


def _answer(server: ControlServer, line: bytes, uid: int) -> Json:
    if not line.endswith(b"\n"):
        return {"error": f"a request is one line of at most {LINE_LIMIT} bytes"}
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            return {"error": "a request is a JSON object"}
        return server.handle_request_line(request, uid)
    except (ValueError, SensorGuardError) as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - one bad request must not end the daemon's ear
        return {"error": f"internal error: {type(error).__name__}: {error}"}


def ask(path: Path, request: Json, *, timeout: float = ANSWER_WITHIN) -> Json:
    """Send one request to the daemon and give its answer.

    Raises:
        DaemonAbsentError: nobody listens on ``path``, or nobody answered in ``timeout`` seconds.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(timeout)
        try:
            peer.connect(str(path))
            peer.sendall(json.dumps(request).encode() + b"\n")
            with peer.makefile("rb") as answer:
                line = answer.readline()
        except TimeoutError as error:
            raise DaemonAbsentError(f"the daemon at {path} did not answer within {timeout:g} s") from error
        except OSError as error:
            raise DaemonAbsentError(f"no daemon at {path} ({error.strerror or error})") from error
    if not line.endswith(b"\n"):
        raise DaemonAbsentError(f"the daemon at {path} closed the connection without an answer")
    return cast("Json", json.loads(line))
