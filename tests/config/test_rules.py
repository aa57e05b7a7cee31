"""What rule files become."""

from pathlib import Path

import pytest

from sensor_guard.config import Expected, GivenAway, GivenReading, load_rules, message_of, name_of
from sensor_guard.engine.plan import Condition, Form, Sensor
from sensor_guard.errors import ConfigError
from sensor_guard.model import DAY, HOUR, MINUTE, Severity

RULE = """rules:
  - id: r
    name: {zh: 名}
    when: WHEN
    severity: SEVERITY
    ladder: welfare
    message: {zh: "{home} 消息"}
"""


def read(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return load_rules([path])


def rule(tmp_path, when, severity="warning", more=""):
    return read(tmp_path, RULE.replace("WHEN", when).replace("SEVERITY", severity) + more).rules[0]


@pytest.mark.parametrize(
    ("when", "condition"),
    [
        ("{kind: power, below: 5 W, for: 12h}", Condition(Form.BELOW, "power", None, 5.0, 12 * HOUR)),
        ("{kind: current, below: 0.1 kW, for: 12h}", Condition(Form.BELOW, "power", None, 100.0, 12 * HOUR)),
        ("{kind: power, above: 3 kW, for: 1h30m}", Condition(Form.ABOVE, "power", None, 3000.0, 90 * MINUTE)),
        ("{kind: water, above: 0.1 L/min, for: 2h}", Condition(Form.ABOVE, "water", None, 0.1, 2 * HOUR)),
        ("{kind: water, above: 6 l/h, for: 2h}", Condition(Form.ABOVE, "water", None, 0.1, 2 * HOUR)),
        ("{kind: water, is: active, for: 2h}", Condition(Form.ACTIVE, "water", None, 0.0, 2 * HOUR)),
        ("{kind: water, is: quiet, for: 1d}", Condition(Form.QUIET, "water", None, 0.0, DAY)),
        ("{kind: infrared, is: quiet, for: 12h}", Condition(Form.QUIET, "motion", None, 0.0, 12 * HOUR)),
        ("{kind: door, is: quiet, for: 48h}", Condition(Form.QUIET, "door", None, 0.0, 2 * DAY)),
        (
            "{kind: door, is: open, for: 30m, between: 22:00-06:00}",
            Condition(Form.IS, "door", None, 0.0, 30 * MINUTE, (1320, 360)),
        ),
        (
            '{kind: door, is: open, for: 30m, between: "18:00-24:00"}',
            Condition(Form.IS, "door", None, 0.0, 30 * MINUTE, (1080, 1440)),
        ),
        ("{kind: any, is: silent}", Condition(Form.SILENT)),
        ("{kind: smoke, is: silent, for: 1h}", Condition(Form.SILENT, "smoke", None, 0.0, HOUR)),
        ("{kind: any, quantity: battery_pct, below: 15 %}", Condition(Form.BELOW, None, "battery_pct", 15.0)),
        ("{kind: panic, quantity: battery_pct, below: 20%}", Condition(Form.BELOW, "panic", "battery_pct", 20.0)),
        ("{kind: power, quantity: power_w, below: 5 W, for: 1h}", Condition(Form.BELOW, "power", None, 5.0, HOUR)),
    ],
)
def test_condition_is_what_was_written(tmp_path, when, condition):
    assert rule(tmp_path, when).condition == condition


@pytest.mark.parametrize("when", ["{kind: smoke, is: detected}", "{kind: panic, is: pressed}"])
def test_smoke_and_panic_latch_and_are_never_muted(tmp_path, when):
    made = rule(tmp_path, when, "critical")

    assert (made.latched, made.mutable, made.severity) == (True, False, Severity.CRITICAL)


def test_rule_of_devices_may_be_muted_even_if_the_device_is_a_smoke_detector(tmp_path):
    made = rule(tmp_path, "{kind: smoke, is: silent}", "maintenance")

    assert (made.latched, made.mutable) == (False, True)


def test_rule_may_latch_and_rest_while_away(tmp_path):
    made = rule(tmp_path, "{kind: motion, is: quiet, for: 12h}", more="    latched: true\n    unless: {home: away}\n")

    assert (made.latched, made.unless_away) == (True, True)


def test_name_and_message_fall_back_to_the_language_that_is_there(tmp_path):
    made = rule(tmp_path, "{kind: any, is: silent}")

    assert name_of(made, "en") == "名"
    assert message_of(made, "en") == "{home} 消息"


def test_long_message_is_a_warning(tmp_path):
    book = read(
        tmp_path,
        RULE.replace("WHEN", "{kind: any, is: silent}").replace("SEVERITY", "info").replace("消息", "很长的消息" * 11),
    )

    assert "may take 68 characters filled in; over 62 the text becomes two parts" in str(book.warnings[0])


TEST = """tests:
  - name: t
    rule: r
    given: GIVEN
    then: [{at: "2h", alarms: [active]}, {at: "1h", alarms: []}]
"""


def case(tmp_path, given, *, when="{kind: any, is: silent}", more=""):
    text = RULE.replace("WHEN", when).replace("SEVERITY", "info") + TEST.replace("GIVEN", given) + more
    return read(tmp_path, text).tests[0]


def test_given_readings_and_away_are_in_order_of_time(tmp_path):
    test = case(
        tmp_path,
        '[{at: "1h", away: true, until: "2h"}, {at: "0h", motion: 1, every: 5m, until: "30m"}, {at: 3h, away: false}]',
    )

    assert test.given == (
        GivenReading(0, "motion", "motion", 1.0, 5 * MINUTE, 30 * MINUTE),
        GivenAway(HOUR, away=True, until=2 * HOUR),
        GivenAway(3 * HOUR, away=False),
    )
    assert test.then == (Expected(HOUR, ()), Expected(2 * HOUR, ("active",)))


def test_home_of_a_test_has_what_the_test_speaks_of(tmp_path):
    test = case(tmp_path, '[{at: "0h", motion: 0, sensor: hall}, {at: "0h", smoke: 0}]')

    assert test.sensors == (Sensor("hall", "motion", 25 * HOUR), Sensor("smoke", "smoke", 25 * HOUR))


def test_home_of_a_test_has_the_sensors_it_declares(tmp_path):
    more = "    sensors: [{id: m, kind: power, expect_every: 30m, meter: interval, interval: 30m}]\n"

    test = case(tmp_path, '[{at: "0h", energy_wh: 3}]', more=more)

    assert test.sensors == (Sensor("m", "power", HOUR, "interval", 30 * MINUTE),)
    assert test.given == (GivenReading(0, "m", "energy_wh", 3.0),)


def test_battery_beside_a_measured_value_is_the_same_sensor_s(tmp_path):
    test = case(tmp_path, '[{at: "0h", door_open: 0, battery_pct: 5}, {at: "0h", motion: 1}]')

    assert [given.sensor_id for given in test.given] == ["door", "door", "motion"]


def test_battery_of_nobody_in_particular_is_told(tmp_path):
    with pytest.raises(ConfigError, match="there are several sensors in this home; say which: sensor: door"):
        case(tmp_path, '[{at: "0h", door_open: 0}, {at: "0h", motion: 1}, {at: "1h", link: 1}]')


def test_home_away_needs_no_sensor_of_its_own(tmp_path):
    test = case(tmp_path, '[{at: "0h", away: true}]', when="{kind: water, is: quiet, for: 1h}")

    assert test.sensors == (Sensor("water", "water", HOUR),)


@pytest.mark.parametrize(
    ("more", "start"),
    [
        ("", 1_772_409_600_000),  # 2026-03-02T00:00:00Z
        ("    timezone: Asia/Shanghai\n", 1_772_380_800_000),
        ('    start: "2026-03-01T08:00:00+08:00"\n', 1_772_323_200_000),
        ("    start: 2026-03-01T00:00:00Z\n", 1_772_323_200_000),
    ],
)
def test_time_of_a_test_begins_at_local_midnight_unless_told(tmp_path, more, start):
    assert case(tmp_path, '[{at: "0h", motion: 1}]', more=more).start == start


def test_test_may_name_a_rule_of_another_file(tmp_path):
    (tmp_path / "a.yaml").write_text(TEST.replace("GIVEN", '[{at: "0h", motion: 1}]'), encoding="utf-8")
    (tmp_path / "b.yaml").write_text(
        RULE.replace("WHEN", "{kind: any, is: silent}").replace("SEVERITY", "info"), encoding="utf-8"
    )

    book = load_rules([tmp_path])

    assert [test.rule_id for test in book.tests] == ["r"]
    assert [file.name for file in book.files] == ["a.yaml", "b.yaml"]


def test_hidden_and_other_files_are_passed_over(tmp_path):
    (tmp_path / ".r.yaml.swp.yaml").write_text("]", encoding="utf-8")
    (tmp_path / "readme.md").write_text("]", encoding="utf-8")
    read(tmp_path, RULE.replace("WHEN", "{kind: any, is: silent}").replace("SEVERITY", "info"))

    assert len(load_rules([tmp_path]).rules) == 1


def test_rule_in_two_files_is_told_with_both_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = RULE.replace("WHEN", "{kind: any, is: silent}").replace("SEVERITY", "info")
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load_rules([Path("a.yaml"), Path("b.yaml")])
    assert str(caught.value) == (
        "b.yaml:2:9: rules.0.id: there is a rule r already, in a.yaml:2; give this one another id"
    )
