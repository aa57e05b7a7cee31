"""The mosquitto configuration that we ship, run as it is but for its paths and port: who may do what."""

import subprocess
from pathlib import Path

import pytest
from paho.mqtt.reasoncodes import ReasonCode

from sensor_guard.mqtt import Before
from tests.fakes.broker import Broker
from tests.mqtt.guard import Device, Guard

SHIPPED = Path(__file__).parents[2] / "systemd" / "mosquitto"
PASSWORD = "secret"
NOBODY_LISTENS, NOT_AUTHORISED = 0x10, 0x87
USERS = ("sensor_guard", "zigbee2mqtt", "watcher", "h1", "h2", "+", "h+")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("etc")
    passwords = folder / "passwd"
    passwords.write_text("".join(f"{user}:{PASSWORD}\n" for user in USERS))
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    conf = (SHIPPED / "sensor_guard.conf").read_text()
    conf = conf.replace("/etc/mosquitto/sensor_guard.passwd", str(passwords))
    conf = conf.replace("/etc/mosquitto/sensor_guard.acl", str(SHIPPED / "sensor_guard.acl"))
    conf = conf.replace("listener 1883 127.0.0.1", "listener {port} 127.0.0.1")
    # What Debian's own mosquitto.conf has.
    with Broker(conf="persistence true\n" + conf) as running:
        yield running


def as_user(broker, username, **more):
    return Device(broker, client_id=f"test-{username}", username=username, password=PASSWORD, **more)


def test_nobody_comes_in_without_a_name(broker):
    with Device(broker, client_id="nameless") as nameless:
        assert nameless.connack == ReasonCode(2, "Not authorized")


def test_nobody_comes_in_with_a_wrong_password(broker):
    with Device(broker, client_id="guess", username="h1", password="guess") as guess:
        assert guess.connack.is_failure


def test_a_home_writes_its_own_sensors(broker):
    with as_user(broker, "h1") as home:
        assert home.publish("guard/s/h1/power", b"{}") in (0, NOBODY_LISTENS)


@pytest.mark.parametrize(
    "topic",
    [
        "guard/s/h2/power",
        "guard/h1/h2/power",
        "guard/s",
        "guard/s/h11/power",
        "sensor_guard/box1/status",
        "sensor_guard/box1/canary",
        "sensor_guard/box1/dropped",
        "sensor_guard/box1/urgent",
        "sensor_guard/box1/health",
        "zigbee2mqtt/front",
        "zigbee2mqtt/front/set",
        "$SYS/broker/uptime",
        "other",
    ],
)
def test_a_home_writes_nothing_else(broker, topic):
    topics = [topic, "guard/s/h1/mark"]
    with as_user(broker, "sensor_guard", topics=topics) as daemon, as_user(broker, "h1") as home:
        assert home.publish(topic, b"forged") == NOT_AUTHORISED
        home.publish("guard/s/h1/mark", b"behind it")
        daemon.hears("guard/s/h1/mark")
        assert (topic, b"forged") not in daemon.heard


@pytest.mark.parametrize("username", ["+", "h+"])
def test_a_name_with_a_wildcard_opens_no_other_home(broker, username):
    with as_user(broker, username) as stranger:
        assert stranger.publish("guard/s/h1/power", b"{}") == NOT_AUTHORISED


def test_a_home_hears_nobody(broker):
    with as_user(broker, "h1", topics=["#", "guard/#"]) as home, as_user(broker, "h2") as other:
        other.publish("guard/s/h2/power", b"private")
        home.publish("guard/s/h1/power", b"its own")
        with as_user(broker, "sensor_guard", topics=["guard/s/h2/mark"]) as daemon:
            other.publish("guard/s/h2/mark", b"1")
            daemon.hears("guard/s/h2/mark")
        assert home.heard == []


def test_the_watcher_sees_our_health_and_nothing_of_the_homes(broker):
    login = {"username": "sensor_guard", "password": lambda: PASSWORD}
    topics = ["sensor_guard/+/health", "guard/#", "#"]
    with as_user(broker, "watcher", topics=topics) as watcher, Guard(broker, **login) as guard:
        guard.subscriber.report_by(lambda: {"state": "ok"})
        guard.drained()
        guard.until(lambda: guard.turn_loop() or watcher.heard)
        with as_user(broker, "h1") as home:
            home.publish("guard/s/h1/power", b"private")
        guard.messages(1)
        watcher.hears("sensor_guard/box1/health", lambda payload: b'"state": "ok"' in payload)
        assert {topic for topic, _ in watcher.heard} <= {"sensor_guard/box1/health", "sensor_guard/box1/status"}


def test_the_daemon_has_all_that_it_needs(broker):
    login = {"username": "sensor_guard", "password": lambda: PASSWORD}
    with as_user(broker, "sensor_guard", topics=["$SYS/broker/uptime"]) as device:
        device.hears("$SYS/broker/uptime")
    with Guard(broker, **login) as guard:
        guard.drained()
    known_until = guard.clock.now()
    before = Before(known_until=known_until, had_session=True)
    topics = ["sensor_guard/+/status"]
    with as_user(broker, "watcher", topics=topics) as watcher, Guard(broker, before=before, **login) as guard:
        up = guard.drained()[1]
        assert up.session_present
        watcher.hears("sensor_guard/box1/status", lambda payload: b"online" in payload)
        with as_user(broker, "h1") as home:
            home.publish("guard/s/h1/smoke", b'{"smoke": 1}')
            home.publish("guard/s/h1/power", b'{"power_w": 3}')
        # What other tests of this broker published may still have lain in the session.
        guard.until(lambda: {"guard/s/h1/smoke", "guard/s/h1/power"} <= {each.topic for each in guard.messages()})
        assert guard.subscriber._bulk_lane.link.uptime is not None
        assert guard.subscriber._bulk_lane.drops.count is not None
        assert not guard.faults("session_lost")
        guard.cut()
        watcher.hears("sensor_guard/box1/status", lambda payload: b"connection lost" in payload)
