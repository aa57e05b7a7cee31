"""A broker that misbehaves as told: it never answers, or refuses what mosquitto never would."""

import contextlib
import socket
import struct
import threading

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 1, 3, 8, 12
NOT_AUTHORISED = 0x87


class ScriptedBroker:
    """Speaks MQTT 5. ``silent``: takes connections and says nothing; ``refuses``: topics that nobody may have;
    ``says``: blocks that it says behind its SUBACK, to either of our connections in turn, then ``then``; ``connack``:
    another one; ``backlog``: so many messages wait in each session and are sent at once behind the CONNACK, whatever
    the receive maximum is.
    """

    def __init__(self, *, silent=False, refuses=(), says=(), connack=b"\x20\x03\x00\x00\x00", backlog=0):
        self._silent, self._refuses, self._connack = silent, refuses, connack
        if backlog:
            self._connack = b"\x20\x03\x01\x00\x00" + b"".join(_publish(1 + n) for n in range(backlog))
        self._says = {True: list(says), False: list(says)}
        self.then = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.connections = 0
        self._sockets = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        for each, thread in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            thread.join()
            each.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._speak, args=(connection,))
            self._sockets.append((connection, thread))
            thread.start()

    def _speak(self, connection):
        stream = connection.makefile("rwb")
        with contextlib.suppress(OSError, ValueError), stream:
            while head := stream.read(1):
                body = stream.read(_length(stream))
                answer = self._answer(head[0] >> 4, head[0] & 0x0F, body)
                if answer and not self._silent:
                    stream.write(answer)
                    stream.flush()

    def _answer(self, kind, flags, body):
        if kind == CONNECT:
            return self._connack
        if kind == SUBSCRIBE:
            rows = self._says[any(topic == "guard/#" for topic, _ in _filters(body[3:]))]
            codes = bytes(NOT_AUTHORISED if topic in self._refuses else qos for topic, qos in _filters(body[3:]))
            says = rows.pop(0) if rows else b"".join(self.then)
            return bytes((0x90, len(codes) + 3)) + body[:2] + b"\0" + codes + says
        if kind == PUBLISH and flags & 0x06:
            start = 2 + struct.unpack("!H", body[:2])[0]
            return b"\x40\x02" + body[start : start + 2]
        return b"\xd0\x00" if kind == PINGREQ else b""


def _publish(packet_id):
    body = b"\x00\x10guard/s/h1/power" + struct.pack("!H", packet_id) + b"\x00" + str(packet_id).encode()
    return bytes((0x32, len(body))) + body


def _length(stream):
    length, shift = 0, 0
    while True:
        byte = stream.read(1)[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return length


def _filters(rest):
    while rest:
        size = struct.unpack("!H", rest[:2])[0]
        yield rest[2 : 2 + size].decode(), rest[2 + size] & 0x03
        rest = rest[3 + size :]
