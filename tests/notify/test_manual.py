"""The operators' page knows every word that they may meet."""

from pathlib import Path

import pytest

from sensor_guard.notify.outcome import CODES, Reason

PAGE = (Path(__file__).parents[2] / "docs" / "sms.md").read_text(encoding="utf-8")
ROWS = {line.split("`")[1]: line for line in PAGE.splitlines() if line.startswith("| `")}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_explained(reason):
    assert reason in ROWS


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_stands_beside_its_reason(code):
    assert str(code) in ROWS[CODES[code]] or code == 20404
