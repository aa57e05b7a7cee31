"""With --config the operator's homes and rules judge; whoever is not in them is judged by the shipped rules."""

import json
from pathlib import Path

import pytest

from tests.replay.conftest import at, row, series
from tests.replay.test_files import captured

FILES = {
    "config.yaml": """gateway: box1
timezone: Asia/Shanghai
homes: homes.csv
contacts: contacts.yaml
rules: rules/
notifiers: {order: [console], console: {}}
ladders:
  welfare: {steps: [{to: [worker], after: 0m}]}
  technical: {steps: [{to: [maintainer], after: 0m}]}
""",
    "homes.csv": """site,building,home,label,kind,sensor,topic,convention,expect_every,meter,interval
s1,b1,h1,3-301,power,s1,,,30m,,
s1,b1,h1,3-301,power,half,,,30m,interval,30m
s1,b1,z1,3-302,smoke,kitchen,zigbee2mqtt/z1 kitchen,zigbee2mqtt,24h,,
s1,b1,z1,3-302,door,front,zigbee2mqtt/z1 front,zigbee2mqtt,,,
""",
    "contacts.yaml": """contacts:
  - {id: wang, name: 王芳, phone: "+8613800000001", role: worker}
  - {id: sun, name: 孙工, phone: "+8613800000002", role: maintainer}
""",
    "rules/r.yaml": """rules:
  - id: electricity_low
    name: {en: Very low}
    when: {kind: power, below: 20 W, for: 2h}
    severity: info
    ladder: welfare
    message: {zh: "{home} 低", en: "{home} low"}
  - id: fire
    name: {en: Fire}
    when: {kind: smoke, is: detected}
    severity: critical
    ladder: welfare
    message: {zh: "{home} 火", en: "{home} fire"}
""",
}


@pytest.fixture
def configured(replay):
    Path("rules").mkdir()
    for name, content in FILES.items():
        Path(name).write_text(content, encoding="utf-8")
        Path(name).chmod(0o640)
    return replay


def both(until="13h"):
    return [*series("power_w", 15, "10m", until), *series("power_w", 0, "30m", until, sensor="half")]


def test_the_operators_rules_judge_the_operators_homes(configured):
    told = configured(series("power_w", 15, "10m", "3h", sensor="s1"), "--config", "config.yaml")

    assert (told.code, told.err) == (0, "")
    # The other meter of this home says nothing, and what is not seen is not low.
    assert told.raised == []

    rows = [*series("power_w", 15, "10m", "3h"), *series("energy_wh", 5, "30m", "3h", sensor="half")]
    (line,) = configured(rows, "--config", "config.yaml").lines
    assert ("electricity_low", "info", at("2h")) == (line["rule_id"], line["severity"], line["at"])


def test_homes_known_and_unknown_are_each_judged_by_their_own_rules(configured):
    rows = [*series("power_w", 15, "10m", "13h"), *series("energy_wh", 5, "30m", "13h", sensor="half")]
    rows += [*series("power_w", 15, "10m", "13h", home="x1"), *series("power_w", 3, "10m", "13h", home="x2")]
    rows += [row("5h", "panic", 1, home="x1", sensor="b"), row("5h", "motion", 1, home="x1", sensor="m")]

    told = configured(rows, "--config", "config.yaml")

    assert [
        (at("2h"), "h1", "electricity_low"),
        (at("5h"), "x1", "panic"),
        (at("12h"), "x2", "electricity_low"),
    ] == told.raised
    assert told.err == "not in config.yaml: x1, x2: judged by the shipped rules\n"


def test_a_sensor_that_a_known_home_does_not_have_is_told(configured):
    rows = [*series("power_w", 15, "10m", "3h"), row("2h", "panic", 1, sensor="button")]

    told = configured(rows, "--config", "config.yaml")

    assert told.err == "NOT judged, since these homes of config.yaml have no such sensor: h1/button\n"


def test_zigbee2mqtt_topics_of_a_capture_are_read_by_the_homes_file(configured):
    lines = [
        captured("2026-03-01T08:00:00.5Z+0000", "zigbee2mqtt/z1 kitchen", {"smoke": False, "battery": 100}),
        captured("2026-03-01T09:00:00.5Z+0000", "zigbee2mqtt/z1 front", {"contact": True, "linkquality": 90}),
        captured("2026-03-01T10:00:00.5Z+0000", "zigbee2mqtt/z1 kitchen", {"smoke": True, "battery": 100}),
    ]

    told = configured("".join(lines), "--config", "config.yaml", name="c.jsonl")

    assert (told.code, told.raised, told.err) == (0, [("2026-03-01T10:00:00Z", "z1", "fire")], "")


def test_without_the_homes_file_zigbee2mqtt_topics_are_told(configured):
    line = captured("2026-03-01T10:00:00.5Z+0000", "zigbee2mqtt/z1 kitchen", {"smoke": True})

    told = configured(line, name="c.jsonl")

    assert (told.code, told.out) == (1, "")
    assert "zigbee2mqtt/z1 kitchen: unknown_sensor: " in told.err
    assert "give the homes with --config" in told.err


def test_for_people_a_home_has_its_label_and_its_zone(configured):
    rows = [*series("power_w", 15, "10m", "3h"), *series("energy_wh", 5, "30m", "3h", sensor="half")]

    told = configured(rows, "--config", "config.yaml", as_json=False)

    assert told.out.startswith("2026-03-01T10:00:00+08:00  3-301  Very low (electricity_low): since ")


def test_a_wrong_configuration_ends_with_78(configured):
    Path("rules/r.yaml").write_text("rules: nonsense")

    told = configured(series("power_w", 15, "10m", "3h"), "--config", "config.yaml")

    assert (told.code, told.out) == (78, "")
    assert "rules/r.yaml:1:" in told.err


def test_a_capture_and_rows_may_stand_in_one_file(configured):
    lines = [
        json.dumps(dict(zip(("at", "home_id", "sensor_id", "quantity", "value"), r.split(","), strict=True)))
        for r in (row(when, "smoke", value, home="z1", sensor="kitchen") for when, value in (("1h", 1), ("1h30m", 0)))
    ]
    lines.append(captured("2026-03-01T10:00:00Z", "zigbee2mqtt/z1 kitchen", {"smoke": True}).strip())

    told = configured("\n".join(lines), "--config", "config.yaml", name="c.jsonl")

    assert [(at("1h"), "z1", "fire"), (at("10h"), "z1", "fire")] == told.raised
