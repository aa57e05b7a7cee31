"""Real parts: mosquitto, the daemon, a database; every process ends with its test."""

import pytest

from sensor_guard.clock import AcceleratedClock
from tests.e2e.daemon import Daemon
from tests.simulators.mosquitto import Mosquitto


@pytest.fixture
def broker(tmp_path):
    """A mosquitto with persistence and a fresh word about itself every second."""
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    lines = ("allow_anonymous true", "sys_interval 1", "max_inflight_messages 1000")
    running = Mosquitto(folder, lines)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def daemons(tmp_path, broker):
    """Makes daemons; whatever still runs at the end is ended."""
    made: list[Daemon] = []

    def build(rows, *, epoch=None, factor=None, **more) -> Daemon:
        folder = tmp_path / f"box{len(made)}"
        folder.mkdir()
        clock = None
        if epoch is not None:
            clock = AcceleratedClock.create(folder / "clock.json", epoch=epoch, factor=factor)
        daemon = Daemon(folder, rows, mqtt_port=broker.port, clock=clock, **more)
        made.append(daemon)
        return daemon

    yield build
    for daemon in made:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait(5)
