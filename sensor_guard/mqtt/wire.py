"""The socket in blocks: paho reads byte by byte and writes packet by packet, which costs more than all that follows.

A ``Wire`` stands where paho keeps its socket. It reads what there is in one call and takes the PUBLISH packets out of
it itself; every other packet is handed to paho, whole, through ``recv``. What paho and we write is collected and goes
out with one call a turn, so that the acknowledgements of a batch are one write.

MQTT is read strictly: what no broker may send ends the connection (``MalformedError``). Sizes are bounded: of a
PUBLISH that is larger than ``HEAD_LIMIT`` the rest is read and thrown away.
"""

import contextlib
import socket
import ssl
from functools import partial
from typing import NamedTuple

BLOCK = 65_536
"""Bytes of one read."""
HEAD_LIMIT = 131_072
"""Bytes of one packet that are kept at most: the longest topic (64 KiB), and as much for properties and payload."""
KEPT_BYTES = 4_097
"""Payloads are cut here: one byte more than a decoder takes, so that it sees that it was too much."""

_PUBLISH = 3
_PUBACK = b"\x40\x02"
_NUMBER_BYTES = 4


class MalformedError(Exception):
    """The broker has sent what MQTT does not allow."""


class Publish(NamedTuple):
    """One PUBLISH. ``packet_id`` is 0 at QoS 0; ``payload`` is cut at ``KEPT_BYTES``."""

    topic: bytes
    payload: bytes
    qos: int
    retained: bool
    duplicate: bool
    packet_id: int


_as_publish = partial(tuple.__new__, Publish)  # see model.as_message


class Wire:
    """See the module. ``sock``: connected, the TLS handshake behind it; ``is_v5``: a PUBLISH has properties."""

    def __init__(self, sock: socket.socket, *, is_v5: bool) -> None:
        self._sock = sock
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._is_v5 = is_v5
        self._in = b""
        self._at = 0  # so much of it has been taken
        self._granted = 0  # bytes of the packet that paho may read now
        self._skip = 0  # bytes of an oversized PUBLISH that are still to come
        self._out = bytearray()
        self._has_more = False
        self._is_over = False
        self._error: OSError | None = None

    # -- as paho sees it ------------------------------------------------------------------------------------------

    def recv(self, size: int) -> bytes:
        """Give bytes of the packet that was granted; b"" when the stream has ended.

        Raises:
            BlockingIOError: no packet of paho's is whole yet.
            OSError: the connection has failed.
        """
        if self._granted:
            size = min(size, self._granted)
            part = self._in[self._at : self._at + size]
            self._at += size
            self._granted -= size
            return part
        if self._error is not None:
            raise self._error
        if self._is_over:
            return b""
        raise BlockingIOError

    def send(self, part: bytes) -> int:
        """Collect what is to be written."""
        self._out += part
        return len(part)

    def pending(self) -> int:
        """Say whether there is something to read that the kernel knows nothing of."""
        if self._has_more:
            return 1
        return self._tls.pending() if self._tls is not None else 0

    def fileno(self) -> int:
        """Give the descriptor, for poll."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """Pass it on."""
        self._sock.setblocking(flag)

    def close(self) -> None:
        """Write what is left, as far as that goes at once, and close."""
        with contextlib.suppress(OSError):
            self.flush()
        self._sock.close()

    # -- as we see it ---------------------------------------------------------------------------------------------

    @property
    def has_output(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._out)

    def fill(self) -> None:
        """Read what there is, up to a block. The end of the stream, or its failure, is kept for ``recv``."""
        try:
            part = self._sock.recv(BLOCK)
            while part and len(part) < BLOCK and self._tls is not None and self._tls.pending():
                part += self._tls.recv(BLOCK - len(part))  # a record of TLS has 16 KiB at most
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._error = error
            return
        if not part:
            self._is_over = True
            return
        if self._skip:
            skipped = min(self._skip, len(part))
            self._skip -= skipped
            part = part[skipped:]
        self._in = self._in[self._at :] + part
        self._at = 0

    def publishes(self, limit: int) -> list[Publish]:
        """Take the PUBLISH packets at the front, at most ``limit``.

        Raises:
            MalformedError: what is there is no MQTT; whatever was before it has been taken.
        """
        found: list[Publish] = []
        self._has_more = False
        while not self._granted and not self._skip:
            if len(found) >= limit:
                self._has_more = True
                break
            packet = self._next()
            if packet is None:
                break
            found.append(packet)
        return found

    def grant(self) -> bool:
        """Let paho read the next packet, if a whole one of another kind is there, or the end; say whether it may."""
        if self._granted or self._has_more:
            return self._granted > 0
        size = self._size()
        if size is not None and self._in[self._at] >> 4 != _PUBLISH:
            total = size[0] - self._at + size[1]
            if total > HEAD_LIMIT:
                raise MalformedError(f"a packet of {total} bytes that is no message")
            if self._at + total <= len(self._in):
                self._granted = total
                return True
        return self._is_over or self._error is not None

    def acknowledge(self, packet_ids: list[int]) -> None:
        """Collect the PUBACKs of these messages."""
        self._out += b"".join([_PUBACK + packet_id.to_bytes(2) for packet_id in packet_ids])

    def flush(self) -> None:
        """Write what has been collected, as much as the kernel takes.

        Raises:
            OSError: the connection has failed.
        """
        while self._out:
            try:
                sent = self._sock.send(self._out)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            del self._out[:sent]

    # -- helpers --------------------------------------------------------------------------------------------------

    def _size(self) -> tuple[int, int] | None:
        """Give where the next packet's body starts and how long it is; None if that is not there yet."""
        if len(self._in) - self._at < 2:
            return None
        try:
            size, start = _number(self._in, self._at + 1)
        except IndexError:
            return None
        return start, size

    def _next(self) -> Publish | None:
        """Take the next packet if it is a PUBLISH and whole, or too large to be waited for."""
        block, at = self._in, self._at
        end = len(block)
        if end - at < 2 or block[at] >> 4 != _PUBLISH:
            return None
        size, start = block[at + 1], at + 2
        if size > 0x7F:
            measured = self._size()
            if measured is None:
                return None
            start, size = measured
        stop = start + size
        if stop > end:
            if end - start < HEAD_LIMIT:
                return None
            self._skip = stop - end
        packet = self._read(block, block[at], start, stop)
        self._at = min(stop, end)
        return packet

    def _read(self, block: bytes, first: int, start: int, stop: int) -> Publish:
        """Read a PUBLISH (MQTT 5, 3.3); ``start`` to ``stop``: what stands behind its length."""
        qos = first >> 1 & 3
        if qos > 1:
            raise MalformedError(f"a message of QoS {qos}, which nobody has asked for")
        packet_id = 0
        try:
            body = start + 2 + (block[start] << 8 | block[start + 1])
            topic = block[start + 2 : body]
            if qos:
                packet_id = block[body] << 8 | block[body + 1]
                body += 2
            if self._is_v5:
                count = block[body]
                if count > 0x7F:
                    count, body = _number(block, body)
                else:
                    body += 1
                body += count
        except IndexError:
            body = stop + 1
        if body > stop:
            raise MalformedError("a message that is shorter than it says")
        payload = block[body : stop if stop - body <= KEPT_BYTES else body + KEPT_BYTES]
        return _as_publish((topic, payload, qos, first & 1 > 0, first & 8 > 0, packet_id))


def _number(block: bytes, at: int) -> tuple[int, int]:
    """Read a variable byte integer (MQTT 5, 1.5.5): its value, and where it ends.

    Raises:
        IndexError: it is not whole yet.
        MalformedError: it has more than four bytes.
    """
    value = shift = 0
    for place in range(at, at + _NUMBER_BYTES):
        byte = block[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise MalformedError("a number of more than four bytes")
