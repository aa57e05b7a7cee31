"""One stand-in for Twilio a test, on the test's own clock."""

import pytest

from tests.fakes.twilio import FakeTwilio
from tests.notify.line import Clock, Line, notifier


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def twilio(clock):
    with FakeTwilio(clock=clock.now) as server:
        yield server


@pytest.fixture
def line(twilio, clock):
    return Line(notifier(twilio), clock)
