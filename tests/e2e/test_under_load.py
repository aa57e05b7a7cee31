"""What people do is answered after its commit, while readings pour in."""

import threading
import urllib.request

from sensor_guard.clock import SystemClock
from sensor_guard.model import DEVICE_TIME, Reading
from simulators.load import load
from simulators.publish import Broker as Address
from simulators.publish import Pace, Publisher
from simulators.roster import rows_of, topic_of

HOMES = [f"home-{number:03}" for number in range(1, 21)]
COUNT = 12_000


def test_every_verb_is_answered_while_readings_pour_in(daemons, broker, tmp_path):
    rows = [row for home_id in HOMES for row in rows_of(home_id, site="demo")]
    daemon = daemons(rows)
    daemon.start()
    clock = SystemClock()
    publisher = Publisher(Address(port=broker.port), lambda home, sensor: topic_of("demo", home, sensor), clock=clock)
    thread = threading.Thread(target=publisher.run, args=(load(HOMES, COUNT, clock), Pace.FLAT), daemon=True)
    thread.start()
    daemon.until(lambda: daemon.status().get("messages", 0) > 500)

    press = Publisher(
        Address(port=broker.port, client_id="button"), lambda home, sensor: topic_of("demo", home, sensor), clock=clock
    )
    now = clock.now()
    press.run([Reading("home-001", "panic", "panic", 1.0, now, now, 1, DEVICE_TIME)], Pace.FLAT)
    (alarm,) = daemon.until(daemon.alarms)
    verbs = [
        ("ack", alarm["alarm_id"], "--by", "worker-1"),
        ("away", "home-002", "--until", "3d", "--by", "worker-1"),
        ("mute", "water_none", "--until", "1d", "--reason", "pipes are being mended"),
        ("sensor", "test-mode", "home-003", "15m"),
        ("db", "backup", str(tmp_path / "copy.db")),
        ("close", alarm["alarm_id"], "--by", "worker-1", "--outcome", "helped"),
        ("back", "home-002"),
        ("db", "check"),
        ("homes",),
        ("alarms", "--all"),
    ]
    for words in verbs:
        done = daemon.run(*words)
        assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"
        assert "locked" not in done.stderr
    thread.join(60)
    assert publisher.tally.is_complete
    daemon.until(lambda: daemon.status()["messages"] >= COUNT + 1)
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.health_port}/healthz") as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.health_port}/metrics") as answer:
        metrics = answer.read().decode()
    assert f"sensor_guard_readings_total {COUNT + 1}" in metrics or "sensor_guard_readings_total 1.2001e+04" in metrics
    assert 'sensor_guard_alarms_raised_total{rule="panic"} 1' in metrics
    assert daemon.stop() == 0
    (row,) = [alarm for alarm in daemon.run("alarms", "--all", "--json").stdout.splitlines() if "panic" in alarm]
    assert '"state": "closed"' in row  # answered by the journal alone: no daemon runs any more
