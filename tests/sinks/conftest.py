"""One real database for all tests of this folder, a database of its own for each test."""

import uuid

import pytest

from tests.fakes.influx_faults import FaultyInflux
from tests.fakes.influx_shim import WriteShim
from tests.fakes.influxd import Influxd


@pytest.fixture(scope="session")
def influxd():
    """InfluxDB 1.6.7; a missing program fails with the command that gets it."""
    with Influxd() as server:
        yield server


@pytest.fixture
def shim(influxd):
    with WriteShim(influxd.port) as server:
        yield server


@pytest.fixture
def faulty(shim):
    """The real database behind the shim behind a server that misbehaves as told."""
    with FaultyInflux(shim.port) as server:
        yield server


@pytest.fixture
def scripted():
    """A server that misbehaves as told, with no database behind it."""
    with FaultyInflux() as server:
        yield server


@pytest.fixture
def database(influxd):
    name = influxd.create(f"db_{uuid.uuid4().hex}")
    yield name
    influxd.execute(f'DROP DATABASE "{name}"')
