"""Pulses from the broker through the loop and back, and what is published of our health."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from sensor_guard.clock import SystemClock, format_at
from sensor_guard.inbox import Probe
from sensor_guard.model import MINUTE, Fault, LinkLost, Message
from sensor_guard.mqtt.bulk import HEALTH_EVERY
from sensor_guard.mqtt.lane import PULSE_EVERY, PULSE_WITHIN
from tests.mqtt.guard import Device, Guard
from tests.mqtt.scripted import ScriptedBroker
from tests.mqtt.test_subscriber import numbered

HEALTH = "sensor_guard/box1/health"
both = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


class LeapingClock(SystemClock):
    """Real time, and as much more as the test says."""

    leapt = 0.0

    def monotonic(self):
        return super().monotonic() + self.leapt


def pulses(broker):
    return broker.log.count("Received PUBLISH from sensor_guard-box1 "), broker.log.count(
        "Received PUBLISH from sensor_guard-box1-urgent "
    )


@both
def test_a_pulse_goes_through_broker_and_loop_and_back_on_both_connections(broker, protocol):
    clock = LeapingClock()
    with Guard(broker, clock=clock, protocol=protocol) as guard:
        guard.drained()
        assert guard.subscriber.canary_age(clock.monotonic()) < PULSE_EVERY
        clock.leapt += PULSE_EVERY
        assert guard.subscriber.canary_age(clock.monotonic()) >= PULSE_EVERY
        guard.until(lambda: len(guard.of(Probe)) == 2, "a pulse of each connection")
        # It is back at the connection, and has not been through the loop.
        assert guard.subscriber.canary_age(clock.monotonic()) >= PULSE_EVERY
        for probe in guard.of(Probe):
            probe.reply(None)
        assert guard.subscriber.canary_age(clock.monotonic()) < PULSE_EVERY
        assert not guard.messages()


def test_a_loop_that_stands_still_ages_the_proof_and_gets_no_second_pulse(broker):
    clock = LeapingClock()
    with Guard(broker, clock=clock) as guard:
        guard.drained()
        for _ in range(6):
            clock.leapt += PULSE_EVERY
            guard.take(0.1)
        guard.until(lambda: len(guard.of(Probe)) == 2)
        assert guard.subscriber.canary_age(clock.monotonic()) >= 5 * PULSE_EVERY
        # The connections are well, so they stay.
        assert len(guard.of(LinkLost)) == 1
        assert len(guard.of(Probe)) == 2


def test_messages_prove_as_much_as_a_pulse(broker, device):
    clock = LeapingClock()
    with Guard(broker, clock=clock) as guard:
        guard.drained()
        clock.leapt += 3.0
        device.publish("guard/s/h1/power", b"1")
        device.publish("guard/s/h1/smoke", b"1")
        guard.subscriber.ack(guard.messages(2))
        assert guard.subscriber.canary_age(clock.monotonic()) < 3.0


def test_without_a_connection_there_is_no_age(broker):
    broker.stop()
    with Guard(broker) as guard:
        guard.until(lambda: guard.of(Fault))
        assert guard.subscriber.canary_age(guard.clock.monotonic()) is None
        assert "bulk: " in guard.subscriber.trouble()
        broker.start()
        guard.drained()
        guard.until(lambda: not guard.subscriber.trouble())


def test_the_brokers_queue_does_not_grow_by_pulses_while_the_loop_is_away(broker):
    clock = LeapingClock()
    with Guard(broker, clock=clock) as guard:
        guard.drained()
        for _ in range(5):
            clock.leapt += PULSE_EVERY
            guard.take(0.05)
    with Guard(broker) as guard:
        guard.drained()
        assert not guard.messages()
        # The one that was never answered is acknowledged and forgotten.
        guard.until(lambda: guard.subscriber.bulk.unacknowledged == 0 and guard.subscriber.urgent.unacknowledged == 0)


def test_a_canary_that_stays_away_first_opens_the_connection_anew_and_is_an_outage(broker):
    clock = LeapingClock()
    with ScriptedBroker() as deaf, Guard(deaf, clock=clock) as guard:
        guard.until(lambda: deaf.connections == 2)
        guard.until(lambda: guard.subscriber._bulk_lane.is_ready and guard.subscriber._urgent_lane.is_ready)
        clock.leapt += PULSE_WITHIN + 1
        guard.until(lambda: deaf.connections >= 4, "the next connections")
        guard.until(lambda: guard.subscriber._bulk_lane.is_ready and guard.subscriber._urgent_lane.is_ready)
        assert "our own canary does not come back" in guard.subscriber.trouble()
        clock.leapt += 3
        guard.until(lambda: guard.faults("broker_offline") == [True])
        assert guard.subscriber.canary_age(clock.monotonic()) is None
        assert guard.subscriber.healthy()


def test_while_something_waits_for_our_acknowledgement_the_broker_is_not_blamed(broker, device):
    """A full disk acknowledges nothing, and a full window lets no canary through."""
    clock = LeapingClock()
    with Guard(broker, clock=clock, receive_maximum=10) as guard:
        guard.drained()
        device.publish_all(numbered(0, 10))
        guard.messages(10)
        for _ in range(5):
            clock.leapt += PULSE_WITHIN
            guard.until(lambda: guard.subscriber.bulk.turned_at > clock.monotonic() - PULSE_WITHIN / 2)
        assert len(guard.of(LinkLost)) == 1


# -- health ------------------------------------------------------------------------------------------------------------


def test_our_health_is_retained_and_told_again_and_again(broker):
    clock = LeapingClock()
    words = iter(range(100))
    with Guard(broker, clock=clock) as guard:
        guard.subscriber.report_by(lambda: {"state": "ok", "number": next(words)})
        guard.drained()
        guard.until(lambda: guard.turn_loop() or HEALTH in broker.log)
        with Device(broker, client_id="later", topics=[HEALTH]) as late:
            assert json.loads(late.hears(HEALTH)) == {"state": "ok", "number": 0}
            clock.leapt += HEALTH_EVERY
            guard.until(lambda: guard.turn_loop() or len(late.heard) == 2)
            assert json.loads(late.heard[1][1]) == {"state": "ok", "number": 1}
            assert not [event for event in guard.of(Message) if event.topic == HEALTH]


def test_a_loop_that_does_not_answer_is_told_to_the_outside(broker):
    clock = LeapingClock()
    with Device(broker, topics=[HEALTH]) as device, Guard(broker, clock=clock) as guard:
        guard.subscriber.report_by(dict)
        guard.drained()
        guard.until(lambda: guard.of(Probe))
        for _ in range(4):
            clock.leapt += HEALTH_EVERY
            guard.until(lambda: guard.subscriber.bulk.turned_at > clock.monotonic() - HEALTH_EVERY / 2)
        assert json.loads(device.hears(HEALTH))["state"] == "stalled"
        # And only one question waits for it.
        assert len([probe for probe in guard.of(Probe) if probe.question is not None]) == 1


def test_the_check_of_the_manual_tells_a_living_box_from_a_dead_one(broker):
    manual = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    script = re.search(r"```sh\n(health=.*?)```", manual, re.DOTALL).group(1)
    login = "-h BOX -p 8883 --cafile ca.crt -u watcher -P ..."
    assert login in script
    script = script.replace(login, f"-h 127.0.0.1 -p {broker.port}").replace("GATEWAY", "box1").replace("-W 10", "-W 2")

    def check(*, at=None, state="ok"):
        if at is not None:
            with Device(broker) as device:
                word = json.dumps({"version": "1", "at": at, "state": state, "next_within": 120})
                device.publish(HEALTH, word.encode(), retain=True)
        return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False).returncode

    now = SystemClock().now()
    assert check() == 1
    assert check(at=format_at(now)) == 0
    assert check(at=format_at(now), state="degraded") == 1
    assert check(at=format_at(now - 10 * MINUTE)) == 1
