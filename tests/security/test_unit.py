"""The hardened unit, as systemd itself judges it; and what must stand in it for the program to work."""

import re
import subprocess
from pathlib import Path

from sensor_guard.config.secrets import SECRETS

UNIT = Path(__file__).parents[2] / "systemd" / "sensor_guard.service"
TEXT = UNIT.read_text(encoding="utf-8")


def test_systemd_gives_the_unit_at_most_1_5():
    answer = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", answer.stdout)
    assert found, answer.stderr
    assert float(found[1]) <= 1.5


def test_every_secret_is_a_credential_of_the_unit():
    loaded = re.findall(r"^LoadCredential=(\w+):/etc/sensor_guard/secrets/\1$", TEXT, re.MULTILINE)
    assert sorted(loaded) == sorted(SECRETS)


def test_it_never_gives_up_and_is_watched():
    for line in ("StartLimitIntervalSec=0", "Restart=always", "Type=notify", "DynamicUser=yes"):
        assert re.search(rf"^{line}$", TEXT, re.MULTILINE), line
    assert re.search(r"^WatchdogSec=\d+$", TEXT, re.MULTILINE)
    assert re.search(r"^RuntimeDirectoryPreserve=restart$", TEXT, re.MULTILINE)
