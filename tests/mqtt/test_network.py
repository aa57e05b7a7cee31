"""What networks do to a connection, through a proxy: it is noticed, the connection comes back, nothing is lost."""

import pytest

from sensor_guard.model import LinkLost
from tests.fakes.proxy import Proxy
from tests.mqtt.guard import WITHIN, Device, Guard
from tests.mqtt.test_subscriber import numbered

buffered = pytest.mark.parametrize("buffered", [True, False])
KEEPALIVE = 2_000


@pytest.fixture
def proxy(broker):
    with Proxy(broker.port) as running:
        yield running


def through(proxy, broker, **changes):
    return Guard(broker, port=proxy.port, **changes)


@buffered
def test_a_black_hole_is_found_within_two_keepalives(broker, proxy, buffered):
    with through(proxy, broker, keepalive=KEEPALIVE, buffered=buffered) as guard:
        guard.drained()
        began = guard.clock.monotonic()
        proxy.black_hole()
        lost = guard.until(lambda: guard.of(LinkLost)[1:], "the loss")[0]
        # A turn takes half a second; the rest is for a machine that is busy.
        assert guard.clock.monotonic() - began < 2 * KEEPALIVE / 1_000 + WITHIN / 3
        assert lost.at < guard.clock.now()
        proxy.mend()
        guard.drained(times=2)
        with Device(broker) as device:
            device.publish_all(numbered(0, 20))
        assert guard.payloads(20) == [str(n) for n in range(20)]


@buffered
def test_messages_that_fell_into_a_black_hole_come_again(broker, proxy, buffered):
    with through(proxy, broker, keepalive=KEEPALIVE, buffered=buffered) as guard:
        guard.drained()
        proxy.black_hole()
        with Device(broker) as device:
            device.publish_all(numbered(0, 50))
        guard.until(lambda: guard.of(LinkLost)[1:], "the loss")
        assert not guard.messages()
        proxy.mend()
        assert guard.payloads(50) == [str(n) for n in range(50)]


@pytest.mark.parametrize("harm", ["reset", "half_close"])
@buffered
def test_a_connection_that_breaks_off_is_opened_anew(broker, proxy, harm, buffered):
    with through(proxy, broker, buffered=buffered) as guard:
        guard.drained()
        getattr(proxy, harm)()
        guard.drained(times=2)
        with Device(broker) as device:
            device.publish_all(numbered(0, 20))
        assert guard.payloads(20) == [str(n) for n in range(20)]
        assert proxy.connections >= 4


@buffered
def test_a_slow_line_changes_nothing_but_the_time(broker, proxy, buffered):
    proxy.delay = 0.05
    with through(proxy, broker, buffered=buffered) as guard:
        guard.drained()
        with Device(broker) as device:
            device.publish_all(numbered(0, 300))
        assert guard.payloads(300) == [str(n) for n in range(300)]
        guard.ack(guard.messages())
        assert len(guard.of(LinkLost)) == 1


def test_a_reset_in_the_middle_of_a_backlog_loses_nothing(broker, proxy):
    with through(proxy, broker, receive_maximum=50) as guard:
        guard.drained()
        with Device(broker) as device:
            device.publish_all(numbered(0, 400))
        seen = set()
        for round_ in range(40):
            news = guard.messages(len(guard.messages()) + 1)[len(seen) :]
            seen.update(message.payload for message in guard.messages())
            guard.subscriber.ack(guard.messages())
            if round_ % 10 == 3:
                proxy.reset()
            if len(seen) == 400:
                break
            del news
        guard.until(lambda: _all(guard, 400), "every message")


def _all(guard, count):
    guard.subscriber.ack(guard.messages())
    return {message.payload for message in guard.messages()} == {str(n).encode() for n in range(count)}
