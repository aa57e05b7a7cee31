"""Messages and the link's story through a real mosquitto: nothing lost, nothing acknowledged that is not on disk."""

import pytest

from sensor_guard.clock import AcceleratedClock, SystemClock
from sensor_guard.inbox import BEST_EFFORT_LIMIT, Inbox
from sensor_guard.model import HOUR, SECOND, Drained, LinkLost, LinkUp, Message
from sensor_guard.mqtt import Before, Topics
from sensor_guard.mqtt.connection import BURST, UNACKNOWLEDGED_LIMIT
from sensor_guard.mqtt.lane import PULSE_WITHIN
from tests.mqtt.guard import TOPICS, WITHIN, Device, Guard, HastyClock, wait_for_uptime

both = pytest.mark.parametrize("protocol", ["5", "3.1.1"])
POWER = "guard/s/h1/power"


def numbered(first, last):
    return [(POWER, str(n)) for n in range(first, last)]


def session_with(broker, count=0, **changes):
    """Leave a session behind, with so many messages waiting in it."""
    with Guard(broker, **changes) as guard:
        guard.drained()
    if count:
        with Device(broker, client_id="filler") as device:
            device.publish_all(numbered(0, count))


@both
def test_a_message_comes_as_it_was_published(broker, device, protocol):
    with Guard(broker, protocol=protocol) as guard:
        guard.drained()
        device.publish(POWER, b'{"power_w": 3}')
        message = guard.messages(1)[0]
    assert message[:5] == (POWER, b'{"power_w": 3}', 1, False, False)
    assert (message.generation, message.urgent) == (1, False)
    assert abs(message.received_at - guard.clock.now()) < 60_000


@both
def test_first_the_engine_hears_that_nothing_is_known_then_that_we_are_here(broker, protocol):
    with Guard(broker, protocol=protocol) as guard:
        story = guard.drained()
    assert [type(event) for event in story] == [LinkLost, LinkUp, Drained]
    assert story[1].session_present is False
    assert story[1].blind_from == story[0].at
    assert not guard.faults("session_lost")
    assert not guard.faults("broker_offline")


@both
def test_what_waited_comes_after_link_up_and_before_drained(broker, protocol):
    session_with(broker, 50, protocol=protocol)
    with Guard(broker, before=Before(had_session=True), protocol=protocol) as guard:
        guard.messages(50)
        guard.ack(guard.messages())
        guard.drained()
        order = [event for event in guard.events if not isinstance(event, LinkLost)]
    assert isinstance(order[0], LinkUp)
    assert order[0].session_present
    assert [event.payload.decode() for event in order[1:51]] == [str(n) for n in range(50)]
    assert [type(event) for event in order[51:]] == [Drained]


def test_a_restart_of_ours_is_a_gap_that_the_broker_bridged(broker, device):
    wait_for_uptime(broker, 2)
    session_with(broker)
    device.publish(POWER, b"in the gap")
    known_until = SystemClock().now() - 1_000
    with Guard(broker, before=Before(known_until=known_until, had_session=True)) as guard:
        lost, up, _ = guard.drained()
        assert guard.payloads() == ["in the gap"]
    assert lost.at == known_until
    assert (up.session_present, up.blind_from) == (True, None)


def test_a_gap_longer_than_the_broker_has_been_up_is_blind(broker):
    session_with(broker)
    known_until = SystemClock().now() - HOUR
    with Guard(broker, before=Before(known_until=known_until, had_session=True)) as guard:
        _, up, _ = guard.drained()
    assert (up.session_present, up.blind_from) == (True, known_until - PULSE_WITHIN * SECOND)


def test_an_accelerated_clock_changes_the_measure_of_the_gap_only(broker, tmp_path):
    wait_for_uptime(broker, 2)
    clock = AcceleratedClock.create(tmp_path / "clock", epoch=1_772_323_200_000, factor=720)
    session_with(broker, clock=clock)
    known_until = clock.now() - 720_000  # one real second ago
    with Guard(broker, clock=clock, before=Before(known_until=known_until, had_session=True)) as guard:
        _, up, _ = guard.drained()
        assert not guard.faults("broker_offline")
    assert (up.session_present, up.blind_from) == (True, None)


# -- acknowledging -----------------------------------------------------------------------------------------------------


@both
def test_only_what_was_acknowledged_stays_away(broker, protocol):
    session_with(broker, 5, protocol=protocol)
    with Guard(broker, protocol=protocol) as guard:
        guard.ack(guard.messages(5)[:2])
    with Guard(broker, protocol=protocol) as guard:
        assert guard.payloads(3) == ["2", "3", "4"]
        assert all(message.duplicate for message in guard.messages())
        guard.ack(guard.messages())
        guard.drained()
    with Guard(broker, protocol=protocol) as guard:
        guard.drained()
        assert not guard.messages()


def test_what_was_not_acknowledged_comes_again_on_the_next_connection_of_the_same_process(broker):
    session_with(broker, 3)
    with Guard(broker) as guard:
        first = guard.messages(3)
        guard.ack(first[:1])
        guard.drained()
        broker.restart()
        again = guard.messages(5)[3:]
    assert [message.payload for message in again] == [b"1", b"2"]
    assert [message.generation for message in (first[0], *again)] == [1, 2, 2]


def test_an_acknowledgement_of_an_earlier_connection_touches_no_other_message(broker):
    session_with(broker)
    with Guard(broker) as guard:
        guard.drained()
        with Device(broker) as device:
            device.publish_all(numbered(0, 20))
        old = guard.messages(20)
        broker.kill()
        broker.forget()
        broker.start()
        guard.drained(times=2)
        with Device(broker) as device:
            device.publish_all(numbered(20, 40))
        new = guard.messages(40)[20:]
        assert {message.packet_id for message in new} & {message.packet_id for message in old}
        guard.ack(old)
    with Guard(broker) as guard:
        assert guard.payloads(20) == [str(n) for n in range(20, 40)]


def test_no_more_than_the_receive_maximum_is_out_without_acknowledgement(broker):
    session_with(broker, 100)
    with Guard(broker, receive_maximum=20) as guard:
        guard.messages(20)
        guard.until(lambda: not guard.take(0.5), "quiet")
        assert len(guard.messages()) == 20
        guard.ack(guard.messages())
        guard.messages(40)


def test_a_broker_that_sends_more_than_it_may_is_not_read_on(broker):
    """Mosquitto 2.0.11 sends a receive maximum more for every single acknowledgement of a backlog."""
    session_with(broker, 6_000)
    with Guard(broker, receive_maximum=500) as guard:
        acked = 0
        while acked < 100:
            guard.ack(guard.messages(acked + 1)[acked : acked + 1])
            acked += 1
        guard.until(lambda: not guard.take(0.5), "quiet")
        assert len(guard.messages()) - acked < UNACKNOWLEDGED_LIMIT + BURST
        while acked < 6_000:
            news = guard.messages(acked + 1)[acked:]
            guard.ack(news)
            acked += len(news)
        guard.drained()
        assert guard.payloads() == [str(n) for n in range(6_000)]


def test_a_connection_that_is_not_read_is_kept_open(broker):
    session_with(broker, 6_000)
    with Guard(broker, receive_maximum=500, keepalive=1_000) as guard:
        for acked in range(10):
            guard.ack(guard.messages(acked + 1)[acked : acked + 1])
        # Three a second; without a word from us the broker would end the connection after one and a half.
        guard.until(lambda: broker.log.count("'sensor_guard/box1/paused'") >= 9)
        acked = 10
        while acked < 6_000:
            news = guard.messages(acked + 1)[acked:]
            guard.ack(news)
            acked += len(news)
        guard.drained()
        assert len(guard.of(LinkLost)) == 1


def test_stopping_keeps_the_session(broker, device):
    with Guard(broker) as guard:
        guard.drained()
        assert guard.subscriber.stop(within=2.0)
        device.publish(POWER, b"while away")
    with Guard(broker, before=Before(had_session=True)) as guard:
        assert guard.payloads(1) == ["while away"]
        assert not guard.faults("session_lost")


# -- the urgent connection ---------------------------------------------------------------------------------------------


def test_panic_comes_over_its_own_connection_once(broker, device):
    with Guard(broker) as guard:
        guard.drained()
        device.publish("guard/s/h1/panic", b'{"panic": 1}')
        device.publish(POWER, b"after it")
        messages = guard.messages(2)
        guard.ack(messages)
        device.publish(POWER, b"last")
        guard.messages(3)
    assert sorted((message.topic, message.urgent) for message in guard.messages()) == [
        ("guard/s/h1/panic", True),
        (POWER, False),
        (POWER, False),
    ]
    with Guard(broker) as guard:
        guard.drained()
        assert [message.payload for message in guard.messages()] == [b"last"]


def test_a_backlog_does_not_delay_a_panic(broker):
    session_with(broker, 3_000)
    with Guard(broker) as guard, Device(broker) as device:
        device.publish("guard/s/h1/panic", b'{"panic": 1}')
        # Nothing is acknowledged: the bulk connection stands still at its 500.
        panic = guard.until(lambda: [message for message in guard.messages() if message.urgent])
        assert panic[0].topic == "guard/s/h1/panic"
        assert len(guard.messages()) <= 501


def test_what_the_urgent_session_does_not_hold_comes_by_the_other(broker):
    """A sensor became urgent, or that session was lost: the only copy must not be dropped."""
    with Guard(broker, topics=Topics(bulk=("guard/#",), urgent=())) as guard:
        guard.drained()
        stream = guard.subscriber
        stream.urgent.stop()
        assert stream.urgent.join(WITHIN)
        guard.subscriber.follow(TOPICS)
        guard.until(lambda: guard.subscriber._bulk_lane._elsewhere)
        with Device(broker) as device:
            device.publish("guard/s/h1/smoke", b'{"smoke": 1}')
        smoke = guard.messages(1)[0]
    assert (smoke.topic, smoke.urgent) == ("guard/s/h1/smoke", False)


def test_drained_waits_for_both_connections(broker):
    session_with(broker)
    with Device(broker) as device:
        device.publish_all([("guard/s/h1/smoke", b'{"smoke": 0}')] * 30)
    with Guard(broker, receive_maximum=10) as guard:
        guard.messages(10)
        guard.until(lambda: guard.subscriber._bulk_lane.link._canary_back)
        assert not guard.of(Drained)
        acked = 0
        while acked < 30:
            news = guard.messages(acked + 1)[acked:]
            guard.ack(news)
            acked += len(news)
        guard.drained()


# -- retained messages -------------------------------------------------------------------------------------------------


@both
def test_retained_messages_are_marked(broker, device, protocol):
    device.publish("guard/s/h1/smoke", b'{"smoke": 1}', retain=True)
    device.publish("guard/s/h1/door", b'{"door_open": 1}', retain=True)
    with Guard(broker, protocol=protocol) as guard:
        guard.drained()
        guard.messages(2)
        guard.ack(guard.messages())
        device.publish("guard/s/h1/door", b'{"door_open": 0}', retain=True)
        live = guard.until(lambda: [each for each in guard.messages() if each.payload == b'{"door_open": 0}'])
        assert ("guard/s/h1/smoke", True) in [(each.topic, each.retained) for each in guard.messages()]
        assert [each.retained for each in guard.messages() if each.payload == b'{"door_open": 1}'] == [True]
        assert not live[0].retained


def test_a_session_that_goes_on_is_not_told_again_what_is_retained(broker, device):
    device.publish("guard/s/h1/door", b'{"door_open": 1}', retain=True)
    with Guard(broker) as guard:
        guard.ack(guard.messages(1))
        guard.drained()
    with Guard(broker) as guard:
        guard.drained()
        assert not guard.messages()


# -- poison ------------------------------------------------------------------------------------------------------------


def test_poison_leaves_the_threads_alive(broker, device):
    poison = [b"", b"\x00", b"\xff\xfe", b"[" * 5_000, b"{" * 100, b"NaN", bytes(range(256)), b"x" * 100_000]
    with Guard(broker) as guard:
        guard.drained()
        device.publish_all([(POWER, payload) for payload in poison])
        device.publish_all([("guard//+odd".replace("+", "é"), b"1"), ("guard/s/h1/smoke", b"\xff")])
        messages = guard.messages(len(poison) + 2)
        guard.ack(messages)
        assert max(len(message.payload) for message in messages) == 4_097
        device.publish(POWER, b"still here")
        guard.until(lambda: "still here" in [each.payload.decode("latin-1") for each in guard.messages()])
        assert guard.subscriber.healthy()


class FullInbox(Inbox):
    """Raises a few times for a message, as a full memory would."""

    def __init__(self, failures):
        super().__init__(linger=0.0)
        self.failures = failures

    def put(self, event, *, urgent=False):
        if isinstance(event, Message) and self.failures:
            self.failures -= 1
            raise MemoryError
        return super().put(event, urgent=urgent)


@both
def test_a_message_that_our_own_code_stumbles_on_is_passed_on_as_it_came(broker, device, protocol):
    with Guard(broker, inbox=FullInbox(1), protocol=protocol) as guard:
        guard.drained()
        device.publish(POWER, b"first")
        device.publish(POWER, b"second")
        assert guard.payloads(2) == ["first", "second"]


@pytest.mark.parametrize("buffered", [True, False])
def test_a_message_that_cannot_be_taken_at_all_comes_again_with_the_next_connection(broker, device, buffered):
    with Guard(broker, inbox=FullInbox(2), buffered=buffered) as guard:
        guard.drained()
        device.publish(POWER, b"first")
        device.publish(POWER, b"second")
        assert guard.payloads(1) == ["second"]
        guard.ack(guard.messages())
        broker.restart()
        assert guard.payloads(2) == ["second", "first"]
        assert guard.messages()[1].duplicate


def test_a_message_that_cannot_be_taken_is_not_left_out_for_as_long_as_the_connection_lives(broker, device):
    with Guard(broker, inbox=FullInbox(2), clock=HastyClock()) as guard:
        guard.drained()
        device.publish(POWER, b"first")
        guard.until(lambda: len(guard.of(LinkLost)) == 2, "the connection given up")
        assert guard.payloads(1) == ["first"]


class Stumbling:
    """A handler with a mistake in it that shows once."""

    def __init__(self, handler):
        self._handler = handler
        self._stumbles = iter([True])

    def __getattr__(self, name):
        return getattr(self._handler, name)

    def turned(self, now):
        if next(self._stumbles, False):
            raise RuntimeError("a mistake of ours")
        self._handler.turned(now)


def test_a_turn_that_fails_opens_a_new_connection(broker, device):
    with Guard(broker) as guard:
        guard.drained()
        guard.subscriber.bulk._handler = Stumbling(guard.subscriber.bulk._handler)
        guard.drained(times=2)
        device.publish(POWER, b"again")
        assert guard.payloads(1) == ["again"]


# -- following a changed configuration ---------------------------------------------------------------------------------


def test_a_new_sensor_is_subscribed_and_one_that_is_gone_is_not(broker, device):
    with Guard(broker, topics=Topics(("guard/#", "z/old"), ())) as guard:
        guard.drained()
        device.publish("z/old", b"1")
        guard.ack(guard.messages(1))
        guard.subscriber.follow(Topics(("guard/#", "z/new"), ("guard/s/h1/smoke",)))
        guard.until(lambda: _subscribed(broker, "z/new") and _subscribed(broker, "guard/s/h1/smoke"))
        device.publish("z/old", b"2")
        device.publish("z/new", b"3")
        device.publish("guard/s/h1/smoke", b"4")
        guard.until(lambda: {"1", "3", "4"} <= set(guard.payloads()))
    # "2" would have come before "3". "4" may come twice: by both ways, until the urgent one is known to bring it.
    assert sorted(set(guard.payloads())) == ["1", "3", "4"]


def test_a_sensor_that_is_no_longer_urgent_leaves_the_urgent_session(broker, device):
    session_with(broker)
    device.publish("guard/s/h1/smoke", b"1")
    with Guard(broker, topics=Topics(TOPICS.bulk, ("guard/s/h1/panic",))) as guard:
        guard.ack(guard.messages(1))
        guard.until(lambda: "Received UNSUBSCRIBE from sensor_guard-box1-urgent" in broker.log)
        guard.drained()
    assert [(each.topic, each.urgent) for each in guard.messages()] == [("guard/s/h1/smoke", False)]


def test_following_the_same_topics_changes_nothing(broker, device):
    with Guard(broker) as guard:
        guard.drained()
        guard.subscriber.follow(Topics(TOPICS.bulk, TOPICS.urgent))
        device.publish("guard/s/h1/smoke", b"1")
        guard.messages(1)
        assert [each.urgent for each in guard.messages()] == [True]


def _subscribed(broker, topic):
    return f"\t{topic} (QoS 1)" in broker.log


def test_readings_that_were_left_in_the_broker_are_all_there_before_drained_comes_again(broker):
    """The disk was full: nothing was acknowledged beyond the receive maximum. Then everything is taken again."""
    with Guard(broker, receive_maximum=20) as guard:
        guard.drained()
        connections = guard.subscriber.gauges()["mqtt_connections"]
        with Device(broker, client_id="filler") as device:
            device.publish_all(numbered(0, 50))
        guard.messages(20)

        guard.subscriber.drain_again()
        guard.until(lambda: guard.subscriber.gauges()["mqtt_drained"] == 0.0, "the new canary's way")
        for taken in (0, 20, 40):
            guard.ack(guard.messages(min(50, taken + 20))[taken : taken + 20])
        guard.drained(2)

        assert isinstance(guard.events[-1], Drained)
        assert len(guard.messages()) == 50
        assert guard.subscriber.gauges()["mqtt_connections"] == connections


# -- in blocks, or as paho reads ---------------------------------------------------------------------------------------


@both
def test_both_ways_of_reading_give_the_same_messages(broker, device, protocol):
    rows = [(POWER, b"x" * size) for size in (0, 1, 127, 128, 4_096, 4_097, 4_098, 20_000, 200_000)]
    seen = []
    for buffered in (True, False):
        session_with(broker, protocol=protocol)
        device.publish_all(rows)
        device.publish("guard/s/h1/\N{LATIN SMALL LETTER E WITH ACUTE}", b"1")
        with Guard(broker, protocol=protocol, buffered=buffered) as guard:
            guard.drained()
            device.publish_all(rows, qos=0)
            guard.ack([each for each in guard.messages(2 * len(rows) + 1) if each.qos])
            seen.append([each._replace(packet_id=0, received_at=0) for each in guard.messages()])
    assert seen[0] == seen[1]


@pytest.mark.parametrize("buffered", [True, False])
def test_the_best_effort_flood_is_bounded_and_counted(broker, device, buffered):
    with Guard(broker, buffered=buffered) as guard:
        guard.drained()
        count = BEST_EFFORT_LIMIT + 500
        for start in range(0, count, 500):
            device.publish_all(numbered(start, min(start + 500, count)), qos=0)
        guard.until_quiet(lambda: guard.inbox.depth() + guard.inbox.dropped_count >= count)
        assert guard.inbox.dropped_count == 500
        device.publish(POWER, b"still taken")
        guard.until_quiet(lambda: guard.inbox.depth() > BEST_EFFORT_LIMIT)


@pytest.mark.parametrize("window", [20, 100, 500])
def test_a_backlog_is_worked_off_whatever_the_window(broker, window):
    session_with(broker, 3_000)
    with Guard(broker, receive_maximum=window) as guard:
        acked = 0
        while acked < 3_000:
            news = guard.messages(acked + 1)[acked:]
            guard.subscriber.ack(news)
            acked += len(news)
        assert guard.payloads() == [str(n) for n in range(3_000)]
        guard.drained()
