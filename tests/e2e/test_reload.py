"""A running daemon takes in other files: by its signal, by its verb, and not at all where they are wrong."""

import json
import signal
import threading

import pytest

from sensor_guard.clock import SystemClock
from sensor_guard.model import DEVICE_TIME, Reading
from simulators.load import load
from simulators.publish import Broker as Address
from simulators.publish import Pace, Publisher
from simulators.roster import SensorRow, rows_of, topic_of, write_contacts, write_homes

HOMES = [f"home-{number:03}" for number in range(1, 6)]
COUNT = 6_000


class Community:
    """The homes of a daemon's files, of which more are listed as the test goes on."""

    def __init__(self, daemons, broker):
        self.rows: list[SensorRow] = [row for home_id in HOMES for row in rows_of(home_id, site="demo")]
        self.daemon = daemons(self.rows)
        self.port = broker.port
        self.presses = 0

    def lists(self, home_id: str) -> None:
        self.rows.extend(rows_of(home_id, site="demo"))
        write_homes(self.daemon.folder / "homes.csv", self.rows)
        write_contacts(self.daemon.folder / "contacts.yaml", sorted({row.home for row in self.rows}))

    def edits(self, name: str, old: str, new: str) -> None:
        path = self.daemon.folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def presses_in(self, home_id: str) -> None:
        self.presses += 1
        now = SystemClock().now()
        self.publisher(f"button{self.presses}").run(
            [Reading(home_id, "panic", "panic", 1.0, now, now, self.presses, DEVICE_TIME)], Pace.FLAT
        )

    def publisher(self, client_id: str) -> Publisher:
        address = Address(port=self.port, client_id=client_id)
        return Publisher(address, lambda home, sensor: topic_of("demo", home, sensor), clock=SystemClock())

    def raised_in(self, home_id: str) -> list[dict]:
        return [alarm for alarm in self.daemon.alarms() if alarm["home_id"] == home_id and alarm["rule_id"] == "panic"]


@pytest.fixture
def community(daemons, broker) -> Community:
    return Community(daemons, broker)


def test_a_signal_takes_in_a_new_home_and_wrong_files_change_nothing(community):
    daemon = community.daemon
    daemon.start()
    in_force = daemon.until(lambda: daemon.status()["configuration"])
    assert daemon.run("check").returncode == 0

    community.lists("new-1")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until(lambda: daemon.status()["configuration"] not in {"", in_force})
    community.presses_in("new-1")
    (alarm,) = daemon.until(lambda: community.raised_in("new-1"))

    community.edits("config.yaml", "gateway: box1", "gateway: box 1")
    said = daemon.run("reload")
    assert (said.returncode, said.stdout) == (78, "")
    assert "config.yaml:1:10: gateway: 'box 1' is not an id" in said.stderr
    assert "goes on with the configuration that it has" in said.stderr
    said = daemon.run("status")
    assert (said.returncode, "FAULT" in said.stdout, "files: WRONG" in said.stdout) == (1, True, True)
    said = daemon.run("check")
    assert (said.returncode, "the daemon goes on" in said.stderr) == (78, True)
    # Whatever somebody has written into the files, an alarm can be answered.
    assert daemon.run("ack", alarm["alarm_id"], "--by", "worker-1").returncode == 0

    assert daemon.stop() == 0


def test_killed_with_wrong_files_it_watches_on_until_a_reload_finds_them_right(community):
    daemon = community.daemon
    daemon.start()
    daemon.until(lambda: daemon.status()["configuration"])
    community.edits("config.yaml", "gateway: box1", "gateway: box 1")
    daemon.kill()
    daemon.start()
    assert "WRONG" in daemon.status()["files"]
    community.presses_in(HOMES[0])
    daemon.until(lambda: community.raised_in(HOMES[0]))

    community.edits("config.yaml", "gateway: box 1", "gateway: box1")
    community.lists("new-1")
    assert "runs on other files" in daemon.run("check").stdout
    said = daemon.run("reload", "--json")
    assert json.loads(said.stdout) == {"ok": True, "changed": True, "homes": len(HOMES) + 1, "restart": []}
    community.presses_in("new-1")
    daemon.until(lambda: community.raised_in("new-1"))
    assert daemon.run("reload").stdout == "Nothing has changed in the files.\n"
    assert "files" not in daemon.status()
    assert daemon.stop() == 0
    assert daemon.run("db", "check").returncode == 0


def test_reloads_while_readings_pour_in_lose_none(community):
    daemon = community.daemon
    daemon.start()
    publisher = community.publisher("sensors")
    readings = load(HOMES, COUNT, SystemClock())
    thread = threading.Thread(target=publisher.run, args=(readings, Pace.FLAT), daemon=True)
    thread.start()
    daemon.until(lambda: daemon.status()["configuration"])
    for number in range(4):
        before = daemon.status()["configuration"]
        community.lists(f"new-{number}")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.until(lambda before=before: daemon.status()["configuration"] not in {"", before})
    thread.join(60)

    assert publisher.tally.is_complete
    daemon.until(lambda: daemon.status()["messages"] >= COUNT)
    assert daemon.status()["quarantined"] == 0
    daemon.until(lambda: len(daemon.events("reload.done")) == 4)
    assert daemon.stop() == 0
    said = daemon.run("db", "check")
    assert said.returncode == 0, said.stdout


def test_twenty_signals_at_once_do_not_end_it(community):
    daemon = community.daemon
    daemon.start()
    for _ in range(20):
        daemon.process.send_signal(signal.SIGHUP)
    daemon.until(lambda: daemon.events("reload.unchanged"))

    assert daemon.status()["running"]
    assert daemon.stop() == 0
