"""The publisher against a real mosquitto."""

import io
import json
import threading
from collections import Counter

import pytest

from sensor_guard.clock import AcceleratedClock, SystemClock, parse_at
from sensor_guard.model import DEVICE_TIME, HOUR, MINUTE, Reading
from simulators.homes import Home
from simulators.load import load
from simulators.publish import Broker, Pace, Publisher, payload_of
from simulators.roster import topic_of
from simulators.stream import numbered
from tests.simulators.listener import Listener
from tests.simulators.mosquitto import Mosquitto

START = parse_at("2026-03-01T08:00:00Z")
PATIENCE = 20.0


def reading(number, at=START, flags=DEVICE_TIME):
    return Reading(f"h{number % 3}", "power", "power_w", 3.2 + number, at, at, number, flags)


def topic(home_id, sensor_id):
    return topic_of("site1", home_id, sensor_id)


def publisher(broker, *, clock=None, **options):
    options = {"patience": PATIENCE, **options}
    where = Broker(port=broker.port, client_id="test-publisher")
    return Publisher(where, topic, clock=clock or SystemClock(), **options)


def test_a_payload_is_the_projects_own():
    assert json.loads(payload_of(reading(7))) == {"power_w": 10.2, "ts": "2026-03-01T08:00:00Z", "seq": 7}
    assert payload_of(Reading("h", "door", "door_open", 1.0, START, START, 3, DEVICE_TIME)).startswith(
        b'{"door_open": 1,'
    )
    assert json.loads(payload_of(reading(7, flags=0))) == {"power_w": 10.2, "seq": 7}
    assert json.loads(payload_of(reading(7)._replace(seq=-1))) == {"power_w": 10.2, "ts": "2026-03-01T08:00:00Z"}


def test_everything_arrives_in_order_and_is_in_the_ledger(broker):
    ledger = io.StringIO()
    readings = [reading(number) for number in range(2_000)]
    with Listener(broker) as listener:
        tally = publisher(broker, ledger=ledger).run(iter(readings), Pace.FLAT)
        heard = listener.take(2_000)
    assert tally.is_complete
    assert (tally.published, tally.acknowledged, tally.refused, tally.resent) == (2_000, 2_000, 0, 0)
    assert heard == [(topic(one.home_id, one.sensor_id), json.loads(payload_of(one))) for one in readings]
    lines = [line.split("\t") for line in ledger.getvalue().splitlines()]
    assert sorted(lines) == sorted([topic(one.home_id, one.sensor_id), str(one.seq)] for one in readings)


def test_a_whole_simulated_day_arrives(broker):
    readings = list(Home("h1").readings(START, START + 24 * HOUR))
    with Listener(broker) as listener:
        tally = publisher(broker).run(iter(readings), Pace.FLAT)
        heard = listener.take(len(readings))
    assert tally.acknowledged == len(readings)
    assert Counter(one.sensor_id for one in readings) == Counter(name.rsplit("/", 1)[1] for name, _ in heard)


def test_what_a_killed_broker_did_not_acknowledge_goes_out_again_unchanged(tmp_path):
    """The broker stops answering at message 100 and is gone at 110; a new one stands in its place."""
    broker = Mosquitto(tmp_path, ("allow_anonymous true", "max_inflight_messages 50"))
    broker.start()

    def stream():
        for number in range(300):
            if number == 100:
                broker.freeze()
            if number == 110:
                broker.kill()
                broker.start()
            yield reading(number)

    ledger, progress = io.StringIO(), io.StringIO()
    sender = publisher(broker, ledger=ledger, progress=progress)
    try:
        tally = sender.run(stream(), Pace.FLAT)
    finally:
        broker.stop()
    assert tally.is_complete
    assert tally.connections == 2
    assert tally.resent >= 10
    lines = ledger.getvalue().splitlines()
    assert len(lines) == len(set(lines)) == 300
    assert "published 300, acknowledged 300, waiting 0" in progress.getvalue()


def test_a_broker_that_comes_late_is_waited_for(tmp_path):
    broker = Mosquitto(tmp_path)
    late = threading.Timer(0.3, broker.start)
    late.start()
    try:
        tally = publisher(broker).run(reading(number) for number in range(10))
    finally:
        late.join()
        broker.stop()
    assert tally.is_complete


def test_patience_ends_when_nobody_is_there(tmp_path):
    sender = publisher(Mosquitto(tmp_path), patience=0.3)
    tally = sender.run(reading(number) for number in range(10))
    assert not tally.is_complete or tally.published == 0
    assert tally.acknowledged == 0


def test_a_refused_message_is_counted_and_is_not_in_the_ledger(tmp_path):
    (tmp_path / "acl").write_text("topic write guard/site1/h1/#\n")
    broker = Mosquitto(tmp_path, ("allow_anonymous true", f"acl_file {tmp_path / 'acl'}"))
    broker.start()
    ledger = io.StringIO()
    try:
        tally = publisher(broker, ledger=ledger).run((reading(number) for number in range(30)), Pace.FLAT)
    finally:
        broker.stop()
    assert (tally.acknowledged, tally.refused) == (10, 20)
    assert not tally.is_complete
    assert {line.split("\t")[0] for line in ledger.getvalue().splitlines()} == {"guard/site1/h1/power"}


def test_a_broker_that_does_not_want_us_says_why_at_once(tmp_path):
    broker = Mosquitto(tmp_path, ("allow_anonymous false",))
    broker.start()
    sender = publisher(broker, patience=1_000)
    try:
        tally = sender.run(reading(number) for number in range(3))
    finally:
        broker.stop()
    assert tally.acknowledged == 0
    assert sender.refusal == "Not authorized"


def test_on_the_accelerated_clock_nothing_goes_out_before_its_time(broker, tmp_path):
    clock = AcceleratedClock.join(tmp_path / "demo.clock", epoch=START, factor=36_000)
    early = []

    def stream():
        before = None
        for number in range(6):
            if (
                before is not None and clock.now() < before.received_at
            ):  # the last one is out when the next is asked for
                early.append(before)
            before = reading(number, START + number * HOUR)
            yield before

    assert publisher(broker, clock=clock).run(stream()).is_complete
    assert early == []
    assert clock.now() >= START + 5 * HOUR


def test_an_accelerated_clock_stays_on_this_machine(tmp_path):
    clock = AcceleratedClock.join(tmp_path / "demo.clock", epoch=START, factor=720)
    with pytest.raises(ValueError, match="broker on this machine"):
        Publisher(Broker(host="broker.example"), topic, clock=clock)


def test_whoever_comes_first_starts_the_clock_and_the_others_join_it(tmp_path):
    path = tmp_path / "demo.clock"
    first = AcceleratedClock.join(path, epoch=START, factor=720)
    second = AcceleratedClock.join(path, epoch=START + HOUR, factor=1)
    assert (second.epoch, second.factor, second.started) == (START, 720, first.started)
    assert abs(first.now() - second.now()) < MINUTE
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo.clock"]


def test_a_load_is_of_homes_that_are_well():
    clock = SystemClock()
    readings = list(numbered(load(["h1", "h2"], 1_000, clock)))
    assert len(readings) == 1_000
    assert {one.home_id for one in readings} == {"h1", "h2"}
    assert all(one.value >= 5 for one in readings if one.quantity == "power_w")
    assert {one.quantity for one in readings} == {"power_w", "flow_l_min", "motion"}
    assert max(one.seq for one in readings if (one.home_id, one.sensor_id) == ("h1", "power")) == 166
