"""Real parts: mosquitto, the daemon, a database; every process ends with its test."""

import pytest

from sensor_guard.clock import AcceleratedClock
from tests.e2e.daemon import Daemon
from tests.fakes.broker import Broker


@pytest.fixture
def broker():
    with Broker() as running:
        yield running


@pytest.fixture
def daemons(tmp_path, broker):
    """Makes daemons; whatever still runs at the end is ended."""
    made: list[Daemon] = []

    def build(rows, *, clock: tuple[int, float] | None = None, **more) -> Daemon:
        folder = tmp_path / f"box{len(made)}"
        folder.mkdir()
        if clock is not None:
            epoch, factor = clock
            more["clock"] = AcceleratedClock.create(folder / "clock.json", epoch=epoch, factor=factor)
        daemon = Daemon(folder, rows, mqtt_port=broker.port, **more)
        made.append(daemon)
        return daemon

    yield build
    for daemon in made:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait(5)
