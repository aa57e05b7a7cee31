"""A TCP proxy on loopback that does to a connection what networks do: delay, black hole, reset, half-close.

Toxics may be set while connections are open; they count for those and for later ones. Everything ends with the proxy.
"""

import contextlib
import socket
import struct
import threading
from typing import Self

_BLOCK = 65_536
_POLL = 0.2  # seconds after which a thread looks whether it is to end


class Proxy:
    """``with Proxy(broker.port) as proxy: ... proxy.black_hole()``. Clients connect to ``proxy.port``."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(_POLL)
        self.port: int = self._server.getsockname()[1]
        self.connections = 0
        self.swallowed = 0
        """Bytes that went into the black hole."""
        self.delay = 0.0
        """Real seconds that every block waits, in either direction."""
        self._hole = threading.Event()
        self._ended = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._serve)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in list(self._threads):
            thread.join()
        self._server.close()
        for each in self._sockets():
            each.close()

    def black_hole(self) -> None:
        """Swallow everything in both directions, without a word to anybody; new connections get no answer, either."""
        self._hole.set()

    def mend(self) -> None:
        """Let everything through again. What was swallowed is gone."""
        self._hole.clear()

    def reset(self) -> None:
        """End every connection with RST, in the middle of whatever is under way."""
        for each in self._sockets():
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()

    def half_close(self) -> None:
        """Tell the client that the broker has nothing more to say (FIN), and go on taking what it says."""
        with self._lock:
            for client, _ in self._pairs:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_WR)

    def _sockets(self) -> list[socket.socket]:
        with self._lock:
            return [each for pair in self._pairs for each in pair]

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._server.accept()
            except TimeoutError:
                continue
            try:
                broker = socket.create_connection(("127.0.0.1", self._upstream), timeout=5)
            except OSError:
                client.close()
                continue
            self.connections += 1
            with self._lock:
                self._pairs.append((client, broker))
            for source, target in ((client, broker), (broker, client)):
                source.settimeout(_POLL)
                thread = threading.Thread(target=self._pump, args=(source, target))
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not self._ended.is_set():
                try:
                    block = source.recv(_BLOCK)
                except TimeoutError:
                    continue
                if self._hole.is_set():
                    if not block:
                        return
                    self.swallowed += len(block)
                    continue
                if not block:
                    target.shutdown(socket.SHUT_WR)
                    return
                if self.delay:
                    self._ended.wait(self.delay)
                target.sendall(block)
