"""The command line on a box where no daemon runs, with a journal of its own."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from sensor_guard.cli.main import app
from sensor_guard.clock import SystemClock
from sensor_guard.config import load
from sensor_guard.core import Core
from sensor_guard.journal import Journal
from sensor_guard.model import Message
from tests.core.conftest import FakeReader

FILES = {
    "config.yaml": """gateway: box1
timezone: Asia/Shanghai
language: en
homes: homes.csv
contacts: contacts.yaml
rules: rules/
journal: {path: journal.db}
runtime: {directory: run}
notifiers: {order: [console], console: {}}
ladders:
  urgent: {steps: [{to: [worker], after: 0m}]}
  technical: {steps: [{to: [maintainer], after: 0m}]}
""",
    "homes.csv": """site,building,home,label,kind,sensor,topic,convention,expect_every,meter,interval
s1,b1,h1,3-301,panic,panic,,,,,
s1,b1,h1,3-301,motion,motion,,,,,
s1,b1,h2,3-302,panic,panic,,,,,
""",
    "contacts.yaml": """contacts:
  - {id: wang, name: 王芳, phone: "+8613800000001", role: worker}
  - {id: sun, name: 孙工, phone: "+8613800000002", role: maintainer}
""",
    "rules/r.yaml": """rules:
  - id: panic
    name: {zh: 求救, en: Panic button}
    when: {kind: panic, is: pressed}
    severity: critical
    ladder: urgent
    message: {zh: "{home} 求救", en: "{home} pressed"}
  - id: battery_low
    name: {zh: 电池, en: Battery low}
    when: {kind: any, quantity: battery_pct, below: 15 %}
    severity: maintenance
    ladder: technical
    message: {zh: "{home} 电池", en: "{home} battery"}
tests:
  - name: a press
    rule: panic
    given: [{at: "1h", panic: 1}]
    then: [{at: "59m", alarms: []}, {at: "1h", alarms: [active]}]
""",
}


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A sound configuration in the working folder, named by $SENSOR_GUARD_CONFIG."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENSOR_GUARD_CONFIG", str(tmp_path / "config.yaml"))
    (tmp_path / "rules").mkdir()
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        (tmp_path / name).chmod(0o640)
    return tmp_path


@pytest.fixture
def guard(folder):
    def run(*arguments: str) -> Said:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        return Said(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def pressed(folder):
    """A daemon has run here, and somebody has pressed the button in h1; its alarm's id."""
    now = SystemClock().now() - 3_600_000
    with Journal.open(folder / "journal.db") as journal:
        core = Core(journal, load(folder / "config.yaml").plan, FakeReader(), channel="console")
        core.restore(now)
        core.commit(core.turn([Message("h1/panic", b"1", 1, False, False, 1, 0, now)], now), room=5)
        return journal.reader.alarms()[0].alarm_id
