"""The files of a configuration in a folder of their own, and a box that runs on them."""

from pathlib import Path

import pytest

from sensor_guard.config import Config, load
from tests.cli.conftest import FILES


class Files:
    """config.yaml and what it names; the journal is beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        for name, content in FILES.items():
            self.write(name, content)

    def write(self, name: str, content: str) -> "Files":
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
        path.chmod(0o640)
        return self

    def edit(self, name: str, old: str, new: str) -> "Files":
        text = (self.folder / name).read_text(encoding="utf-8")
        assert old in text
        return self.write(name, text.replace(old, new, 1))

    def load(self) -> Config:
        return load(self.config)

    @property
    def last_good(self) -> Path:
        return self.folder / "last_good"


@pytest.fixture
def files(tmp_path) -> Files:
    return Files(tmp_path)
