"""The real daemon, its wall clock set under its feet, stopped and continued. The shortest hold, in real time."""

import os
import signal
import subprocess
import threading
import time
from itertools import pairwise
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from simulators.roster import SensorRow
from tests.e2e.daemon import Daemon
from tests.fakes.broker import Broker

HOLD = 60
"""The shortest hold that a rule may have, in seconds."""
RULES = f"""\
rules:
  - id: electricity_low
    name: {{zh: 用电过低, en: Electricity low}}
    when: {{kind: power, below: 5 W, for: {HOLD}s}}
    severity: warning
    ladder: welfare
    message: {{zh: "{{home}} 用电低已{{held}}", en: "{{home}}: electricity low for {{held}}"}}
"""
TWO_HOURS, THIRTY_DAYS = 7_200_000, 2_592_000_000

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def shim(tmp_path_factory) -> Path:
    library = tmp_path_factory.mktemp("shim") / "clockshift.so"
    source = Path(__file__).with_name("clockshift.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True, timeout=60)
    return library


class Box(Daemon):
    """A daemon whose wall clock is set with ``set_by``, and a meter that speaks every half second."""

    def __init__(self, folder, shim, port):
        rules = folder / "rules"
        rules.mkdir()
        (rules / "low.yaml").write_text(RULES, encoding="utf-8")
        self.shift = folder / "shift"
        self.set_by(0)
        row = SensorRow("demo", "b1", "h1", "h1", "power", "meter", expect_every="1m")
        environment = {"LD_PRELOAD": str(shim), "CLOCKSHIFT_FILE": str(self.shift)}
        self.mqtt_port = port
        super().__init__(folder, [row], mqtt_port=port, rules=rules, environment=environment)
        self.config.write_text(self.config.read_text().replace("lateness: 5m", "lateness: 0s"), encoding="utf-8")

    def set_by(self, offset_ms: int) -> None:
        fresh = self.shift.with_suffix(".new")
        fresh.write_text(str(offset_ms))
        fresh.replace(self.shift)

    def lows(self) -> list[dict]:
        return [alarm for alarm in self.alarms() if alarm["rule_id"] == "electricity_low"]


class Meter:
    """Publishes 3 W twice a second until it is stopped."""

    def __init__(self, port):
        self._end = threading.Event()
        self.port, self.began = port, 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join(20)

    def _run(self):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="meter", protocol=mqtt.MQTTv5)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        self.began = time.monotonic()
        while not self._end.wait(0.5):
            client.publish("guard/demo/h1/meter", '{"power_w": 3}', qos=1)
        client.disconnect()
        client.loop_stop()


@pytest.fixture
def box(tmp_path, shim):
    with Broker() as broker:
        made = Box(tmp_path, shim, broker.port)
        made.start()
        yield made
        if made.process is not None and made.process.poll() is None:
            made.process.send_signal(signal.SIGCONT)
            made.process.kill()
            made.process.wait(10)


def test_the_hold_of_the_real_daemon_is_as_long_as_it_was(box):
    """Two hours ahead, two behind, a month ahead, a month behind, and right again, one after the other in one hold."""
    with Meter(box.mqtt_port) as meter:
        box.until(lambda: box.status().get("messages", 0) >= 4)
        steps = [TWO_HOURS, -TWO_HOURS, THIRTY_DAYS, -THIRTY_DAYS, 0]
        for count, offset in enumerate(steps, 1):
            box.set_by(offset)
            box.until(lambda count=count: len(box.events("clock.stepped")) == count)
        assert box.lows() == []
        box.until(box.lows, 2 * HOLD)
        took = time.monotonic() - meter.began
    told = [row["offset_ms"] for row in box.events("clock.stepped")]
    wanted = [after - before for before, after in pairwise([0, *steps])]
    assert all(abs(one - other) < 2_000 for one, other in zip(told, wanted, strict=True)), told
    assert HOLD <= took < 2 * HOLD
    (alarm,) = box.lows()
    assert HOLD * 1_000 <= alarm["evidence"]["observed_for"] < HOLD * 1_000 + 1_000
    assert box.stop() == 0


def test_stopped_and_continued_the_daemon_decides_once_and_calls_nobody_silent(box):
    with Meter(box.mqtt_port):
        box.until(lambda: box.status().get("messages", 0) >= 4)
        os.kill(box.process.pid, signal.SIGSTOP)
        end = time.monotonic() + 15
        while time.monotonic() < end:
            threading.Event().wait(0.2)
        os.kill(box.process.pid, signal.SIGCONT)
        box.until(lambda: box.events("loop.paused"))
        box.until(box.lows, 2 * HOLD)
    assert [alarm["rule_id"] for alarm in box.alarms()] == ["electricity_low"]
    assert box.stop() == 0
