"""`sensor-guard replay` as a person at a terminal uses it."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from sensor_guard.cli.main import app
from sensor_guard.clock import format_at, parse_at
from sensor_guard.config import load_rules, shipped_rules_directory
from sensor_guard.testing import span

START = parse_at("2026-03-01T00:00:00Z")
HEADER = "at,home_id,sensor_id,quantity,value"


class Told(NamedTuple):
    """What a replay said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def raised(self) -> list[tuple[str, str, str]]:
        """(at, home_id, rule_id) of every alarm, without the silence of sensors."""
        return [
            (line["at"], line["home_id"], line["rule_id"])
            for line in self.lines
            if line["transition"] == "raised" and line["rule_id"] != "sensor_silent"
        ]


def at(offset: str | int) -> str:
    """An instant so long after 2026-03-01T00:00:00Z."""
    return format_at(START + span(offset))


def series(quantity, value, every, until, *, since="0h", home="h1", sensor="s1") -> list[str]:
    """CSV rows of the same value, first and last instant included."""
    return [
        f"{format_at(START + offset)},{home},{sensor},{quantity},{value}"
        for offset in range(span(since), span(until) + 1, span(every))
    ]


def row(offset, quantity, value, *, home="h1", sensor="s1") -> str:
    return f"{at(offset)},{home},{sensor},{quantity},{value}"


def csv_text(*rows: str) -> str:
    return "\n".join([HEADER, *rows]) + "\n"


def json_text(*rows: str) -> str:
    """The same rows as JSON Lines."""
    names = HEADER.split(",")
    return "".join(json.dumps(dict(zip(names, row.split(","), strict=True))) + "\n" for row in rows)


SHIPPED = load_rules([shipped_rules_directory()])


@pytest.fixture
def replay(tmp_path, monkeypatch):
    """Write files into an empty folder, and run the verb there; the shipped rules are read once for all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sensor_guard.config.shipped.load_rules", lambda _paths: SHIPPED)
    monkeypatch.setattr("sensor_guard.cli.replay.collect_rarely", lambda: None)  # it would hold for every other test

    def run(content, *options: str, name: str = "r.csv", as_json: bool = True) -> Told:
        if isinstance(content, list):
            content = csv_text(*content)
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
        return again(name, *options, as_json=as_json)

    def again(*arguments: str, as_json: bool = True) -> Told:
        result = CliRunner().invoke(app, ["replay", *arguments, *(["--json"] if as_json else [])])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Told(result.exit_code, result.stdout, result.stderr)

    run.again = again
    return run
