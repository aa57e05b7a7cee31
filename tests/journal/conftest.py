import pytest

from sensor_guard.journal import Journal, Reader


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path):
    with Journal.open(path) as opened:
        yield opened
    # Whatever a test did through the journal's own hands leaves a sound file.
    with Reader.open(path) as reader:
        assert reader.check(full=True) == []
