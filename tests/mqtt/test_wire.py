"""The socket in blocks: the same packets as paho reads, however the bytes are cut; and no harm by what is no MQTT."""

import contextlib
import socket

import paho.mqtt.client as paho
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from sensor_guard.mqtt.wire import BLOCK, HEAD_LIMIT, KEPT_BYTES, MalformedError, Publish, Wire


class Bytes:
    """A socket that gives these parts, then nothing more, or the end."""

    def __init__(self, *parts, ends=False):
        self.parts = list(parts)
        self.ends = ends
        self.sent = b""
        self.room = 1 << 30

    def recv(self, size):
        if not self.parts:
            if self.ends:
                return b""
            raise BlockingIOError
        part = self.parts.pop(0)
        if len(part) > size:
            self.parts.insert(0, part[size:])
        return part[:size]

    def send(self, part):
        if not self.room:
            raise BlockingIOError
        size = min(self.room, len(part))
        self.room -= size
        self.sent += bytes(part[:size])
        return size

    def close(self):
        pass


def number(value):
    out = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7F
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def publish(topic=b"t", payload=b"p", qos=1, *, packet_id=7, properties=b"", retain=False, duplicate=False, v5=True):
    body = len(topic).to_bytes(2) + topic
    body += packet_id.to_bytes(2) if qos else b""
    body += number(len(properties)) + properties if v5 else b""
    body += payload
    return bytes([0x30 | duplicate << 3 | qos << 1 | retain]) + number(len(body)) + body


def read_all(sock, *, v5=True, limit=200):
    """Read everything that there is; whole packets of other kinds are taken as paho does."""
    wire = Wire(sock, is_v5=v5)
    found, others = [], []
    for _ in range(100_000):
        wire.fill()
        while True:
            found += wire.publishes(limit)
            if wire.pending():
                continue
            if not wire.grant():
                break
            packet = b""
            try:
                while part := wire.recv(3):
                    packet += part
            except BlockingIOError:
                pass
            if not packet:
                return found, others
            others.append(packet)
        if not sock.parts and not sock.ends:
            return found, others
    raise AssertionError("no end")


@st.composite
def packets(draw):
    v5 = draw(st.booleans())
    rows = []
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.booleans()):
            qos = draw(st.integers(0, 1))
            properties = b"\x26\0\1a" + (size := draw(st.integers(0, 300))).to_bytes(2) + b"x" * size
            rows.append(
                publish(
                    draw(st.binary(min_size=1, max_size=200)),
                    draw(st.binary(max_size=draw(st.sampled_from([10, 200, 5_000])))),
                    qos,
                    packet_id=draw(st.integers(1, 65_535)),
                    properties=draw(st.sampled_from([b"", properties])),
                    retain=draw(st.booleans()),
                    duplicate=draw(st.booleans()) and qos > 0,
                    v5=v5,
                )
            )
        else:
            rows.append(draw(st.sampled_from([b"\xd0\0", b"\x40\x02\0\1", b"\x90\x04\0\1\0\1", b"\xe0\0"])))
    return v5, rows


def as_paho_reads(rows, *, v5):
    """Let paho read the messages, byte by byte."""
    ours, theirs = socket.socketpair()
    found = []
    protocol = paho.MQTTv5 if v5 else paho.MQTTv311
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "x", protocol=protocol, manual_ack=True)

    def take(_client, _data, message):
        topic = message._topic
        payload = message.payload[:KEPT_BYTES]
        found.append(Publish(topic, payload, message.qos, message.retain, message.dup, message.mid))

    client.on_message = take
    with ours, theirs:
        ours.setblocking(False)
        client._sock = ours
        for row in rows:
            theirs.sendall(row)
            client.loop_read()
        client._sock = None
    return found


@given(packets(), st.lists(st.integers(1, 400), max_size=60), st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_however_the_bytes_are_cut_the_messages_are_those_that_paho_reads(given_packets, cuts, limit):
    v5, rows = given_packets
    stream = b"".join(rows)
    parts = []
    for cut in cuts:
        parts.append(stream[:cut])
        stream = stream[cut:]
    sock = Bytes(*(part for part in [*parts, stream] if part))
    found, others = read_all(sock, v5=v5, limit=limit)

    messages = [row for row in rows if row[0] >> 4 == 3]
    assert found == as_paho_reads(messages, v5=v5)
    assert others == [row for row in rows if row[0] >> 4 != 3]


def test_the_rest_of_an_oversized_message_is_thrown_away_and_the_next_one_is_whole():
    large = publish(b"big", b"x" * (3 * HEAD_LIMIT), packet_id=1)
    after = publish(b"next", b"1", packet_id=2)
    sock = Bytes(large + after)
    found, _ = read_all(sock)
    assert [(each.topic, len(each.payload), each.packet_id) for each in found] == [
        (b"big", KEPT_BYTES, 1),
        (b"next", 1, 2),
    ]


def test_a_payload_behind_endless_properties_is_not_waited_for():
    row = publish(b"t", b"late", properties=b"\x26" * (2 * HEAD_LIMIT))
    found, _ = read_all(Bytes(row + publish(b"next")))
    assert [(each.topic, each.payload) for each in found] == [(b"t", b""), (b"next", b"p")]


def test_no_more_than_a_head_and_a_block_is_kept():
    wire = Wire(Bytes(publish(b"t", b"x" * 50 * HEAD_LIMIT)), is_v5=True)
    for _ in range(200):
        wire.fill()
        wire.publishes(200)
        assert len(wire._in) <= HEAD_LIMIT + 2 * BLOCK


@pytest.mark.parametrize(
    "row",
    [
        b"\x32\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x34" + publish()[1:],  # QoS 2, which we have not asked for
        b"\x36" + publish()[1:],  # QoS 3, which is none
        b"\x32\x00",  # nothing in it
        b"\x32\x01\x00",
        b"\x32\x04\x00\x09ab",  # a topic longer than the packet
        b"\x32\x03\x00\x01a",  # no packet id
        b"\x32\x05\x00\x01a\x00\x07",  # no properties
        b"\x32\x07\x00\x01a\x00\x07\x20p",  # properties longer than the packet
        b"\x32\x0b\x00\x01a\x00\x07\xff\xff\xff\xff\xff\x01",
        b"\x90\xff\xff\xff\x7f",  # a SUBACK of 256 MiB
        b"\xd0\xff\xff\xff\xff\x01",
    ],
)
def test_what_is_no_mqtt_is_malformed(row):
    with pytest.raises(MalformedError):
        read_all(Bytes(publish() + row + b"\0" * 20))


@given(st.binary(max_size=400), st.booleans(), st.lists(st.integers(1, 40), max_size=20))
@settings(max_examples=500, deadline=None)
def test_no_bytes_at_all_raise_anything_else(block, v5, cuts):
    parts = []
    for cut in cuts:
        parts.append(block[:cut])
        block = block[cut:]
    with contextlib.suppress(MalformedError):
        read_all(Bytes(*(part for part in [*parts, block] if part)), v5=v5)


def test_the_end_of_the_stream_comes_behind_what_stood_before_it():
    sock = Bytes(publish() + b"\xd0\0", ends=True)
    wire = Wire(sock, is_v5=True)
    wire.fill()
    wire.fill()
    assert len(wire.publishes(9)) == 1
    assert wire.grant()
    assert wire.recv(9) == b"\xd0\0"
    assert wire.grant()
    assert wire.recv(9) == b""


def test_acknowledgements_of_a_batch_go_out_in_one_write_and_what_the_kernel_does_not_take_waits():
    sock = Bytes()
    wire = Wire(sock, is_v5=True)
    wire.send(b"\xc0\0")
    wire.acknowledge([1, 2, 0x1234])
    sock.room = 5
    wire.flush()
    assert wire.has_output
    sock.room = 99
    wire.flush()
    assert sock.sent == b"\xc0\0" + b"\x40\x02\0\1" + b"\x40\x02\0\2" + b"\x40\x02\x12\x34"
    assert not wire.has_output


def test_the_name_of_paho_that_we_lean_on_is_there():
    """``mqtt.buffered: false`` is the way round, should it go."""
    assert callable(paho.Client._create_socket)
    assert callable(paho.Client._filter_wildcard_len_check)  # without it subscribing only takes longer
    assert Properties(PacketTypes.CONNECT) is not None
