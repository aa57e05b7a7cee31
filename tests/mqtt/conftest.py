"""A real mosquitto for each test; a missing one fails with the command that installs it."""

import pytest

from tests.fakes.broker import Broker
from tests.mqtt.guard import Device


@pytest.fixture
def broker():
    with Broker() as running:
        yield running


@pytest.fixture
def device(broker):
    with Device(broker) as connected:
        yield connected
