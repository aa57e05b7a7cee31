"""The broker restarts, dies, forgets, freezes, drops, keeps its figures to itself, or is not there at all."""

import subprocess

import pytest

from sensor_guard.inbox import Inbox
from sensor_guard.model import SECOND, Drained, Fault, LinkLost, LinkUp, Message
from sensor_guard.mqtt import Access, Before, Subscriber
from sensor_guard.mqtt.connection import UNACKNOWLEDGED_LIMIT
from sensor_guard.mqtt.lane import PULSE_WITHIN
from sensor_guard.testing import VirtualClock
from tests.fakes.broker import Broker
from tests.mqtt.guard import TOPICS, Device, Guard, HastyClock, settings
from tests.mqtt.scripted import ScriptedBroker

both = pytest.mark.parametrize("protocol", ["5", "3.1.1"])
POWER = "guard/s/h1/power"
QUICK = {"keepalive": 1_000}  # a second, to be found out in two


@both
def test_a_broker_that_restarts_is_a_blind_gap_and_loses_nothing(broker, protocol):
    with Guard(broker, protocol=protocol) as guard:
        guard.drained()
        broker.stop()
        lost = guard.until(lambda: guard.of(LinkLost)[1:])[0]
        broker.start()
        with Device(broker) as device:
            device.publish(POWER, b"behind our back")
        before, up = (guard.drained(times=2)[place] for place in (1, 4))
        assert guard.payloads(1) == ["behind our back"]
    assert up.session_present
    assert up.blind_from <= before.at <= lost.at  # no pulse has gone out since the canary
    assert not guard.faults("session_lost")


@both
def test_a_broker_that_is_killed_is_found_again(broker, protocol):
    with Guard(broker, protocol=protocol) as guard:
        guard.drained()
        broker.kill()
        broker.start()
        story = guard.drained(times=2)
        with Device(broker) as device:
            device.publish(POWER, b"after all")
        assert guard.payloads(1) == ["after all"]
        assert guard.subscriber.healthy()
    assert [type(event) for event in story] == [LinkLost, LinkUp, Drained] * 2


def test_what_a_killed_broker_had_not_handed_over_lies_in_the_blind_stretch():
    """It had acknowledged them, and was waiting for us."""
    few = "max_inflight_messages 5"  # of MQTT 3.1.1; later the client says how many
    with Broker("allow_anonymous true", few) as broker, Guard(broker, protocol="3.1.1") as guard:
        guard.drained()
        published_at = guard.clock.now()
        with Device(broker) as device:
            device.publish_all([(POWER, str(n)) for n in range(20)])
        guard.messages(5)
        broker.kill()
        broker.start()
        up = guard.drained(times=2)[4]
        assert len(guard.messages()) == 5
    assert up.blind_from <= published_at


def test_a_pulse_proves_that_what_was_published_before_it_has_come(broker):
    with Guard(broker, clock=HastyClock()) as guard:
        guard.drained()
        published_at = guard.clock.now()
        lanes = guard.subscriber._bulk_lane, guard.subscriber._urgent_lane
        guard.until(lambda: guard.turn_loop() or all(lane.proven_at > published_at for lane in lanes))
        broker.kill()
        broker.start()
        _, _, _, lost, up, _ = guard.drained(times=2)
    assert published_at < up.blind_from <= lost.at


def test_a_lost_session_is_a_fault_until_a_new_one_is_drained(broker):
    with Guard(broker) as guard:
        guard.drained()
        broker.stop()
        broker.forget()
        broker.start()
        up = guard.drained(times=2)[4]
        guard.until(lambda: len(guard.faults("session_lost")) == 4)
    assert up.session_present is False
    assert up.blind_from is not None
    # Of each connection one.
    of = {detail: [f.active for f in guard.of(Fault) if f.detail == detail] for detail in ("bulk", "urgent")}
    assert of == {"bulk": [True, False], "urgent": [True, False]}


def test_a_session_lost_while_we_were_away_is_a_fault(broker):
    with Guard(broker, before=Before(had_session=True)) as guard:
        guard.drained()
        guard.until(lambda: len(guard.faults("session_lost")) == 4)


def test_a_broker_that_is_down_at_the_start_is_waited_for(broker):
    broker.stop()
    with Guard(broker) as guard:
        guard.until(lambda: guard.faults("broker_offline") == [True])
        assert guard.story() == [guard.of(LinkLost)[0]]
        assert guard.subscriber.healthy()
        broker.start()
        guard.drained()
        guard.until(lambda: guard.faults("broker_offline") == [True, False])
    fault = guard.of(Fault)[0]
    assert "bulk: " in fault.detail
    assert "urgent: " in fault.detail


def test_an_outage_in_which_we_were_stopped_is_over_when_we_come_back_to_a_broker(broker):
    with Guard(broker, before=Before(had_session=True, was_offline=True)) as guard:
        guard.drained()
        guard.until(lambda: guard.faults("broker_offline") == [False])


def test_a_broker_that_freezes_is_noticed_and_vouched_for_only_until_its_last_word(broker):
    with Guard(broker, **QUICK) as guard:
        guard.drained()
        broker.freeze()
        lost = guard.until(lambda: guard.of(LinkLost)[1:])[0]
        noticed_at = guard.clock.now()
        broker.thaw()
        guard.drained(times=2)
    assert noticed_at - lost.at >= QUICK["keepalive"]


def test_what_the_broker_dropped_while_we_were_away_is_a_fault():
    with Broker("allow_anonymous true", "max_queued_messages 10", "max_inflight_messages 5") as broker:
        with Guard(broker) as guard:
            guard.drained()
        with Device(broker) as device:
            device.publish_all([(POWER, str(n)) for n in range(100)])
        with Guard(broker, before=Before(had_session=True)) as guard:
            guard.until(lambda: guard.faults("broker_dropped"))
            assert int(guard.of(Fault)[0].detail.split()[0]) >= 50


def test_a_broker_that_hides_its_figures_makes_every_gap_blind(tmp_path):
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite guard/#\ntopic readwrite sensor_guard/#\n")
    with Broker("allow_anonymous true", f"acl_file {acl}") as broker:
        with Guard(broker) as guard:
            guard.drained()
        known_until = guard.clock.now()
        with Guard(broker, before=Before(known_until=known_until, had_session=True)) as guard:
            up = guard.drained()[1]
    assert (up.session_present, up.blind_from) == (True, known_until - PULSE_WITHIN * SECOND)


def test_a_wrong_password_is_tried_again_with_a_new_one(tmp_path):
    with _locked(tmp_path, "secret") as broker:
        words = iter(["wrong"])
        with Guard(broker, username="sensor_guard", password=lambda: next(words, "secret")) as guard:
            guard.drained()


def test_a_refusal_is_told_with_its_reason(tmp_path):
    with _locked(tmp_path, "secret") as broker, Guard(broker, username="nobody", password=lambda: "x") as guard:
        fault = guard.until(lambda: guard.of(Fault))[0]
        assert (fault.fault_id, fault.active) == ("broker_offline", True)
        assert "bulk: refused: Not authorized" in fault.detail
        assert "secret" not in fault.detail


def _locked(folder, password):
    passwords = folder / "passwd"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "sensor_guard", password], check=True)
    return Broker("allow_anonymous false", f"password_file {passwords}")


def test_a_broker_that_never_answers_is_given_up_and_called_again():
    with ScriptedBroker(silent=True) as broker, Guard(broker, clock=HastyClock()) as guard:
        fault = guard.until(lambda: [each for each in guard.of(Fault) if "no answer" in each.detail])[0]
        assert (fault.fault_id, fault.active) == ("broker_offline", True)
        guard.until(lambda: broker.connections >= 4)
        assert guard.subscriber.healthy()


def test_a_backlog_larger_than_what_may_be_unacknowledged_is_taken_in():
    """It stands in front of the SUBACKs, and no more is read until some of it is acknowledged."""
    backlog = UNACKNOWLEDGED_LIMIT + 500
    with ScriptedBroker(backlog=backlog) as broker, Guard(broker) as guard:
        bulk = []

        def all_of_it():
            news = [each for each in guard.of(Message) if not each.urgent][len(bulk) :]
            guard.subscriber.ack(news)
            bulk.extend(news)
            return len(bulk) == backlog

        guard.until(all_of_it)
        up = guard.of(LinkUp)[0]
    assert {each.payload for each in bulk} == {str(1 + n).encode() for n in range(backlog)}
    assert up.session_present
    assert up.blind_from is not None


def test_a_subscription_that_is_refused_is_an_outage_though_the_rest_goes_on():
    with ScriptedBroker(refuses=("guard/#", "$SYS/broker/uptime")) as broker, Guard(broker) as guard:
        guard.until(lambda: guard.of(LinkUp))
        fault = guard.until(lambda: guard.of(Fault))[0]
        assert (fault.fault_id, fault.active, fault.detail) == (
            "broker_offline",
            True,
            "bulk: subscription refused: guard/#",
        )
        assert guard.subscriber.gauges()["mqtt_bulk_up"] == 1.0


def test_threads_that_do_not_turn_are_noticed(broker):
    clock = VirtualClock()
    subscriber = Subscriber(Access(settings(broker), "box1"), TOPICS, Inbox(), clock, Before())
    assert subscriber.healthy()
    clock.passes("31s")
    assert not subscriber.healthy()
    assert subscriber.activity() == {"mqtt-bulk": clock.monotonic() - 31, "mqtt-urgent": clock.monotonic() - 31}
    assert subscriber.stop()


# -- what we say of ourselves ------------------------------------------------------------------------------------------


def test_the_status_says_whether_we_are_here(broker):
    status = "sensor_guard/box1/status"
    with Device(broker, topics=["sensor_guard/+/status"]) as device:
        with Guard(broker) as guard:
            guard.drained()
            assert b'"at": "20' in device.hears(status, lambda payload: b'"state": "online"' in payload)
        assert b'"at": "20' in device.hears(status, lambda payload: b'"reason": "stopped"' in payload)
    with Device(broker, topics=["sensor_guard/+/status"]) as device:
        assert b'"state": "offline"' in device.hears(status)


def test_the_broker_says_that_we_are_gone_when_we_cannot(broker):
    status = "sensor_guard/box1/status"
    with Device(broker, topics=["sensor_guard/+/status"]) as device, Guard(broker, **QUICK) as guard:
        guard.drained()
        guard.cut()
        assert b'"connected_at": "20' in device.hears(status, lambda payload: b'"connection lost"' in payload)


def test_a_second_daemon_with_our_name_is_not_fought_many_times_a_second(broker):
    with Guard(broker) as one, Guard(broker) as other:
        other.until(lambda: len(other.of(LinkLost)) >= 3)
        one.take()
        connections = one.subscriber.gauges()["mqtt_connections"] + other.subscriber.gauges()["mqtt_connections"]
    # The back-off goes on growing: 0.25 s, 0.5 s, 1 s, ... for two connections of two daemons.
    assert connections < 40
