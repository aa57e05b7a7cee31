"""A disk that is really full: a small tmpfs in a mount namespace that ends with its process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sensor_guard
from tests.core import full_disk

SIZE = 16 << 20


def on_a_small_disk(tmp_path, scene, size=SIZE):
    """Run a scene where only ``size`` bytes fit; what it said."""
    folder = tmp_path / "disk"
    folder.mkdir()
    become = ["--map-root-user"] if os.geteuid() else []
    script = f'mount -t tmpfs -o size={size} tmpfs "$1" && exec "$2" "$3" "$4" "$1"'
    done = subprocess.run(
        ["unshare", "--mount", *become, "sh", "-c", script, "sh", folder, sys.executable, full_disk.__file__, scene],
        capture_output=True,
        timeout=300,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(sensor_guard.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stdout.decode()[-3_000:] + done.stderr.decode()[-3_000:]
    return done.stdout.decode()


@pytest.mark.parametrize("scene", ["ring", "tight", "stranger", "nothing", "refused"])
def test_on_a_full_disk(tmp_path, scene):
    assert on_a_small_disk(tmp_path, scene).endswith("ok\n")
