"""A broker that sends what none may send: the thread lives, the connection is opened anew, memory is bounded."""

import random

import pytest

from sensor_guard.model import Fault
from tests.mqtt.guard import Guard, HastyClock
from tests.mqtt.scripted import ScriptedBroker
from tests.mqtt.test_wire import publish

buffered = pytest.mark.parametrize("buffered", [True, False])
CONNACK = b"\x20\x03\x00\x00\x00"
MALFORMED = {
    "length of five bytes": b"\x32\xff\xff\xff\xff\x01",
    "empty publish": b"\x32\x00",
    "topic beyond the packet": b"\x32\x04\x00\x09ab",
    "no properties": b"\x32\x05\x00\x01a\x00\x07",
    "unknown property": publish(properties=b"\x7f\x00\x00"),
    "property cut off": b"\x32\x08\x00\x01a\x00\x07\x02\x26\x00",
    "QoS 3": b"\x36" + publish()[1:],
    "QoS 2": b"\x34" + publish()[1:] + b"\x62\x02\x00\x07",
    "suback of nobody": b"\x90\x04\x77\x77\x00\x01",
    "empty suback": b"\x90\x00",
    "suback without a code": b"\x90\x03\x00\x01\x00",
    "suback with a code that is none": b"\x90\x04\x00\x01\x00\x7f",
    "puback of nobody": b"\x40\x02\x99\x99",
    "puback cut off": b"\x40\x01\x99",
    "puback with a code that is none": b"\x40\x04\x00\x01\x77\x00",
    "pubrec": b"\x50\x02\x00\x01",
    "pubrel": b"\x62\x02\x00\x01",
    "pubcomp": b"\x70\x02\x00\x01",
    "unsuback": b"\xb0\x00",
    "connack again": CONNACK,
    "connack cut off": b"\x20\x01\x00",
    "disconnect with nonsense": b"\xe0\x03\x77\x77\x77",
    "disconnect": b"\xe0\x00",
    "auth": b"\xf0\x00",
    "reserved": b"\x00\x00",
    "connect": b"\x10\x02\x00\x00",
    "pingresp with a body": b"\xd0\x01\x00",
}


@buffered
@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_packet_ends_no_thread_and_the_next_message_comes(what, buffered):
    with (
        ScriptedBroker(says=[MALFORMED[what] + publish(b"guard/s/h1/power", b"behind")]) as broker,
        Guard(broker, clock=HastyClock(), buffered=buffered) as guard,
    ):
        # Whatever it was: it was passed over, or the connection was opened anew, and the next one is well.
        broker.then = [publish(b"guard/s/h1/power", b"after")]
        assert guard.until(lambda: {each.payload for each in guard.messages()} & {b"behind", b"after"})
        assert guard.subscriber.healthy()
        assert all(thread.is_alive() for thread in guard.threads)


@buffered
def test_a_connack_that_is_none_is_an_outage(buffered):
    connack = b"\x20\x05\x00\x00\x02\x7f\x00"
    with ScriptedBroker(connack=connack) as broker, Guard(broker, clock=HastyClock(), buffered=buffered) as guard:
        guard.until(lambda: guard.of(Fault))
        guard.until(lambda: broker.connections >= 4)
        assert guard.subscriber.healthy()
        assert guard.subscriber.trouble()


@buffered
@pytest.mark.parametrize("seed", range(4))
def test_noise_ends_no_thread(seed, buffered):
    rng = random.Random(seed)
    noise = [rng.randbytes(rng.randrange(1, 300)) for _ in range(200)]
    with ScriptedBroker(says=noise) as broker, Guard(broker, clock=HastyClock(), buffered=buffered) as guard:
        guard.until(lambda: broker.connections >= 8, "many connections")
        assert guard.subscriber.healthy()
        assert all(thread.is_alive() for thread in guard.threads)


def test_a_message_without_end_costs_no_memory_and_no_thread():
    endless = publish(b"guard/s/h1/power", b"x" * 20_000_000)
    with ScriptedBroker(says=[endless + publish(b"guard/s/h1/power", b"behind")]) as broker, Guard(broker) as guard:
        payloads = guard.until(lambda: len(guard.messages()) == 2 and [len(each.payload) for each in guard.messages()])
        assert payloads == [4_097, 6]
