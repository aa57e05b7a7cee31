"""The watchdog is fed while every part moves, and only then; what is outside may be gone for as long as it likes."""

import contextlib
import socket
import sys
import threading

import pytest
import structlog

from sensor_guard.app import Daemon
from sensor_guard.config import Loaded, ServiceEnvironment, WrittenPlan, load
from sensor_guard.health import Heartbeats, watch_threads
from sensor_guard.journal import Journal
from sensor_guard.parts import patience
from sensor_guard.testing import VirtualClock
from simulators import scenario
from tests.e2e.daemon import Daemon as Files

PARTS = ("sms", "influxdb", "control", "health")


class Moving:
    """A subscriber, or a calendar, that moves until it does not."""

    def __init__(self):
        self.moves = True

    def healthy(self):
        return self.moves

    def gauges(self):
        return {"mqtt_bulk_up": 0.0}

    def canary_age(self, _now):
        return None


@pytest.fixture
def box(tmp_path, monkeypatch):
    """A daemon whose threads are not started, on a virtual clock, with a service manager that listens."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    address = str(tmp_path / "notify")
    files = Files(tmp_path, scenario.rows(), mqtt_port=1)
    with Journal.open(tmp_path / "journal.db") as journal, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        config = load(files.config)
        loaded = Loaded(config, WrittenPlan.of(config.plan))
        made = Daemon(loaded, journal, VirtualClock(), ServiceEnvironment(files.config, address, 45_000))
        made.standing.subscriber, made.standing.calendar = Moving(), Moving()
        made.manager = manager
        yield made


def passes(box, seconds, *, without=""):
    """Turn every second, every part with it; give how often the watchdog was fed."""
    fed = 0
    for _ in range(seconds):
        box.clock.passes("1s")
        for part in PARTS:
            if part != without:
                box.standing.beats.beat(part, box.clock.monotonic())
        box._turned()
        with contextlib.suppress(BlockingIOError):
            fed += box.manager.recv(100) == b"WATCHDOG=1"
    return fed


def test_it_is_fed_three_times_in_its_time(box):
    assert passes(box, 450) == 30


@pytest.mark.parametrize("part", PARTS)
def test_one_part_that_does_not_move_ends_it(box, part):
    passes(box, 10)
    passes(box, 75, without=part)
    assert passes(box, 600, without=part) == 0
    assert box.standing.outward()[0] is False
    assert passes(box, 60) >= 3


@pytest.mark.parametrize("part", ["subscriber", "calendar"])
def test_nor_is_it_fed_when_a_thread_of_others_has_died(box, part):
    passes(box, 20)
    getattr(box.standing, part).moves = False
    assert passes(box, 600) == 0


def test_an_outage_of_everything_outside_for_a_day_ends_nothing(box):
    """No broker, and parts that wait for their time-outs: a text 15 s, InfluxDB 10 s, ten times over."""
    for part, timeout in (("sms", 15_000), ("influxdb", 10_000)):
        box.standing.beats.allow(part, patience(timeout))
    fed = 0
    for _ in range(200):
        fed += passes(box, 150, without="sms")
        box.standing.beats.beat("sms", box.clock.monotonic())
    assert fed == 2_000
    box.standing.counters.stalled = "full"  # nor does a full disk
    assert passes(box, 45) == 3


def test_a_thread_that_dies_is_logged_and_counts_at_once(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    beats = Heartbeats()
    watch_threads(beats)
    beats.beat("sms", 0.0)
    with structlog.testing.capture_logs() as log:
        thread = threading.Thread(target=lambda: 1 / 0, name="sms")
        thread.start()
        thread.join(10)
        sys.excepthook(ValueError, ValueError("x"), None)
    assert beats.stuck(1.0) == ["sms"]
    assert [(row["event"], row["thread"]) for row in log] == [("thread.died", "sms"), ("service.died", "main")]
