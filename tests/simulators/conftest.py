"""Fixtures of the simulators' tests; and which tests need recordings that lie outside the project."""

import pytest

from tests.simulators.mosquitto import Mosquitto
from tests.simulators.places import VARIABLE, recordings_folder, recordings_wanted

collect_ignore = [] if recordings_wanted() else ["test_recordings_full.py"]


def pytest_terminal_summary(terminalreporter):
    if collect_ignore:
        folder = recordings_folder()
        terminalreporter.write_line(f"recordings: {folder} is not there; tests marked so were left out ({VARIABLE})")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """A mosquitto that lives for the tests of one file."""
    running = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    running.start()
    yield running
    running.stop()
