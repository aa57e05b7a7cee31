"""A day on which everything fails, of the whole daemon; then every byte that it has written is searched."""

import json
import re
import urllib.error
import urllib.request

import paho.mqtt.client as mqtt
import pytest

from simulators.roster import SensorRow
from tests.e2e.daemon import Daemon
from tests.fakes.broker import Broker
from tests.fakes.twilio import ACCOUNT_SID, AUTH_TOKEN, LOGIN_PAGE, LOSE_REPLY, SENDER, FakeTwilio, Fault, error

PHONE, NAME, LABEL = "+8613812345678", "金丝雀王芳", "金丝雀路7号301"
INFLUX_TOKEN, MQTT_PASSWORD = "canary-influx-0c1d2e3f4a5b", "canary-mqtt-77aa88bb"
HEARTBEAT = "http://127.0.0.1:9/ping/c0ffee00-cafe-4242-8888-feedcafe4242"
CANARIES = [PHONE[1:], PHONE[3:], NAME, LABEL, AUTH_TOKEN, INFLUX_TOKEN, MQTT_PASSWORD, "feedcafe4242", "13812345"]
ECHO = json.dumps({"code": 21211, "message": f"The number {PHONE} of {NAME} is wrong, token {AUTH_TOKEN}"}).encode()
ECHOES = [
    Fault(status=400, body=ECHO, headers={"Content-Type": "application/json"}),
    Fault(status=500, body=ECHO),
    LOGIN_PAGE,
    LOSE_REPLY,
    error(401, 20003),
    error(503),
]
FILES_OF_PEOPLE = {"contacts.yaml", "homes.csv"}


@pytest.fixture
def daemon(tmp_path):
    with Broker() as broker, FakeTwilio() as twilio:
        more = (
            f'notifiers: {{order: [twilio], twilio: {{account_sid: "{ACCOUNT_SID}", from: "{SENDER}",'
            f" base_url: {twilio.url}, timeout: 2s}}}}\n"
            "sinks: {influxdb: {url: http://127.0.0.1:9, bucket: b, org: o, timeout: 1s}}"
        )
        secrets = {
            "SENSOR_GUARD_TWILIO_AUTH_TOKEN": AUTH_TOKEN,
            "SENSOR_GUARD_INFLUXDB_TOKEN": INFLUX_TOKEN,
            "SENSOR_GUARD_MQTT_PASSWORD": MQTT_PASSWORD,
            "SENSOR_GUARD_HEARTBEAT_URL": HEARTBEAT,
        }
        rows = [
            SensorRow("demo", "b1", "h1", LABEL, kind, kind, expect_every="1h") for kind in ("panic", "smoke", "power")
        ]
        made = Daemon(tmp_path, rows, mqtt_port=broker.port, more=more, environment=secrets)
        made.mqtt_port = broker.port
        text = made.config.read_text().replace("level: info", "level: debug")
        text = re.sub(r"health: \{(.*)\}", r"health: {\1, heartbeat: {every: 10s}}", text)
        made.config.write_text(text.replace("mqtt: {", "mqtt: {username: guard, "), encoding="utf-8")
        contacts = tmp_path / "contacts.yaml"
        people = contacts.read_text(encoding="utf-8")
        people = re.sub(r'phone: "[^"]*"', f'phone: "{PHONE}"', people, count=1)
        contacts.write_text(people.replace("name: 李社工", f"name: {NAME}"), encoding="utf-8")
        made.start()
        made.twilio = twilio
        yield made
        if made.process is not None and made.process.poll() is None:
            made.process.kill()
            made.process.wait(10)


def get(daemon, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.health_port}{path}", timeout=10) as answer:
            return answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.read()


@pytest.mark.timeout(240)
def test_no_number_no_name_and_no_secret_in_anything_that_is_written(daemon):
    daemon.twilio.script(ECHOES * 4)
    daemon.twilio.script(ECHOES * 4, "GET")
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="homes", protocol=mqtt.MQTTv5)
    client.connect("127.0.0.1", daemon.mqtt_port)
    client.loop_start()
    for topic, payload in (
        ("guard/demo/h1/panic", '{"panic": 1}'),
        ("guard/demo/h1/smoke", '{"smoke": 1}'),
        ("guard/demo/h1/power", '{"power_w": "no"}'),
    ):
        client.publish(topic, payload, qos=1).wait_for_publish(20)
    client.disconnect()
    client.loop_stop()
    daemon.until(lambda: len(daemon.twilio.posts()) >= 4, 90)
    # The canaries are there, and on their way out.
    assert PHONE in {request.get("To") for request in daemon.twilio.posts()}
    people = "".join((daemon.folder / name).read_text(encoding="utf-8") for name in FILES_OF_PEOPLE)
    assert NAME in people
    assert LABEL in people
    daemon.until(lambda: daemon.events("heartbeat.failed"), 60)
    daemon.until(lambda: daemon.events("mirror.failed"), 60)
    written = [get(daemon, "/metrics"), get(daemon, "/healthz"), json.dumps(daemon.status()).encode()]
    assert b"sensor_guard_heartbeats_failed" in written[0]
    assert daemon.stop() == 0
    # The copies of the files of people are files of people, and for nobody else to read.
    copies = daemon.folder / "last_good"
    assert [path.stat().st_mode & 0o077 for path in (copies, *copies.rglob("*"))] == [0] * (
        1 + len([*copies.rglob("*")])
    )
    files = [path for path in daemon.folder.rglob("*") if path.is_file() and path.name not in FILES_OF_PEOPLE]
    files = [path for path in files if copies not in path.parents]
    written += [path.read_bytes() for path in files]
    assert sum(map(len, written)) > 100_000  # the journal is among them
    found = {word for word in CANARIES for content in written if word.encode() in content}
    escaped = {word for word in (NAME, LABEL) if json.dumps(word)[1:-1].encode() in b"".join(written)}
    assert found | escaped == set()
