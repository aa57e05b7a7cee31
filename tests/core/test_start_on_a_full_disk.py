"""The daemon is started on a disk that takes nothing: it comes up with its ballast, or says why it cannot."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sensor_guard
from tests.core import start_on_a_full_disk

SIZE = 24 << 20


def started(tmp_path, scene):
    """What the daemon said at its last start, and its exit code."""
    folder = tmp_path / "disk"
    folder.mkdir()
    become = ["--map-root-user"] if os.geteuid() else []
    script = f'mount -t tmpfs -o size={SIZE} tmpfs "$1" && exec "$2" "$3" "$4" "$1"'
    python, program = sys.executable, start_on_a_full_disk.__file__
    done = subprocess.run(
        ["unshare", "--mount", *become, "sh", "-c", script, "sh", folder, python, program, scene],
        capture_output=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(sensor_guard.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stdout.decode()[-3_000:] + done.stderr.decode()[-3_000:]
    said, _, code = done.stdout.decode().rpartition("--- again\n")[2].rpartition("exit code ")
    return said, int(code)


def test_on_a_full_disk_it_starts_with_its_ballast_and_a_cry_is_told(tmp_path):
    said, code = started(tmp_path, "full used")

    assert code == 0, said
    assert "disk.full" in said
    assert "3-301" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("scene", "why"),
    [("full", "no space is left on the disk"), ("read-only", "Read-only"), ("read-only used", "Read-only")],
)
def test_where_nothing_can_be_written_it_says_so_in_a_sentence_and_ends_with_1(tmp_path, scene, why):
    said, code = started(tmp_path, scene)

    assert code == 1
    (sentence,) = [line for line in said.splitlines() if not line.startswith("{")]
    assert sentence.startswith(str(tmp_path / "disk" / "journal.db"))
    assert why in sentence


def test_another_file_that_cannot_be_made_is_a_sentence_too(tmp_path):
    """Where the socket should lie there is a file: no traceback for what an operator can mend."""
    said, code = started(tmp_path, "run is a file")

    assert code == 1
    (sentence,) = [line for line in said.splitlines() if not line.startswith("{")]
    assert "/run: File exists" in sentence
