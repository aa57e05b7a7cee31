"""The rules that come with the program, and the example configuration of a fresh copy."""

import json
from pathlib import Path

import pytest

from sensor_guard.config import load, load_rules, schema_text, shipped_rules_directory
from sensor_guard.config.homes import read_homes
from sensor_guard.config.rules import CODE_ROOM, SEGMENT, message_length
from sensor_guard.config.source import read_yaml
from sensor_guard.model import KINDS
from sensor_guard.ruletest import run_rule_test
from tests.config.schema_check import faults_by_schema

TOP = Path(__file__).parents[2]
BOOK = load_rules([shipped_rules_directory()])


@pytest.mark.parametrize("test", BOOK.tests, ids=lambda test: f"{test.rule_id}: {test.name}".replace(" ", "_"))
def test_shipped_rule_keeps_its_own_tests(test):
    assert [str(failure) for failure in run_rule_test(test, BOOK.rules)] == []


def test_there_are_nine_and_they_watch_every_kind():
    assert {rule.rule_id for rule in BOOK.rules} == {
        "electricity_low",
        "smoke",
        "panic",
        "water_running",
        "water_none",
        "no_movement",
        "door_open_night",
        "sensor_silent",
        "battery_low",
    }
    assert {rule.condition.kind for rule in BOOK.rules if rule.condition.kind} == set(KINDS)


@pytest.mark.parametrize("rule", BOOK.rules, ids=lambda rule: rule.rule_id)
def test_shipped_rule_speaks_both_languages_in_one_part_of_a_text(rule):
    assert [language for language, _ in rule.messages] == ["zh", "en"]
    assert [language for language, _ in rule.names] == ["zh", "en"]
    for _, message in rule.messages:
        assert message_length(message) + CODE_ROOM <= SEGMENT
    assert BOOK.warnings == ()


@pytest.mark.parametrize("rule", BOOK.rules, ids=lambda rule: rule.rule_id)
def test_shipped_rule_is_shown_to_fire_and_not_to_fire(rule):
    tests = [test for test in BOOK.tests if test.rule_id == rule.rule_id]
    states = {states for test in tests for states in (then.alarms for then in test.then)}

    assert len(tests) >= 4
    assert {(), ("active",)} <= states


def test_fresh_copy_passes_the_check(monkeypatch):
    monkeypatch.chdir(TOP)

    config = load(Path("config.yaml"))

    assert len(config.homes.entries) == 3
    assert {warning.where for warning in config.warnings} <= {"notifiers.order", ""}


def test_example_homes_in_yaml_are_right():
    problems = []

    assert read_homes(TOP / "docs/examples/homes.yaml", problems) is not None
    assert problems == []


def test_schema_in_docs_is_the_schema_of_the_models():
    """Write it anew with: sensor-guard schema > docs/rules.schema.json."""
    assert (TOP / "docs/rules.schema.json").read_text(encoding="utf-8") == schema_text()


@pytest.mark.parametrize("file", BOOK.files, ids=lambda file: file.name)
def test_schema_accepts_the_shipped_rules(file):
    assert faults_by_schema(json.loads(schema_text()), read_yaml(file, []).data) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("severity:", "severty:", "rules.0: unknown key severty"),
        ("severity: warning", "severity: urgent", "rules.0.severity: not one of"),
        ("below: 5 W", "below: 5 Watt", "rules.0.when.below: does not match"),
        ("for: 12h", "for: 12 hours", "rules.0.when.for: does not match"),
        ("kind: power", "kind: powr", "rules.0.when.kind: not one of"),
        ("id: electricity_low", "id: 用电", "rules.0.id: does not match"),
        ("until: \"13h\"", "till: \"13h\"", "tests.0.given.0: unknown key till"),
        ("power_w: 3", "power_w: high", "tests.0.given.0.power_w: not a number"),
        ("    ladder: welfare\n", "", "rules.0: ladder is missing"),
    ],
)  # fmt: skip
def test_schema_refuses_what_the_check_refuses(tmp_path, old, new, said):
    text = (shipped_rules_directory() / "electricity.yaml").read_text(encoding="utf-8")
    assert old in text
    bad = tmp_path / "bad.yaml"
    bad.write_text(text.replace(old, new, 1), encoding="utf-8")

    faults = faults_by_schema(json.loads(schema_text()), read_yaml(bad, []).data)

    assert any(fault.startswith(said) for fault in faults), faults
