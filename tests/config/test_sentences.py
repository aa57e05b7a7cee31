"""What an operator signs off says what the engine will do."""

import pytest

from sensor_guard.config import load_rules, sentences, shipped_rules_directory
from sensor_guard.config.settings import LadderSettings, StepSettings
from sensor_guard.engine.plan import Condition, Form, Rule
from sensor_guard.model import HOUR, KINDS, MINUTE, Severity

LADDERS = {
    "welfare": LadderSettings(
        steps=(StepSettings(to=("worker",), after="0m"), StepSettings(to=("family", "li"), after="15m")),
        repeat_every="1h",
        remind_unclosed="12h",
    )
}
ZH_LADDER = "立即告诉社工；15分钟无人应答再告诉家属、li；此后每1小时重复，直到有人应答；应答后12小时未关闭再提醒。"
EN_LADDER = (
    "Tells worker at once, then family and li after 15 min without an answer; everybody again every 1 h until "
    "somebody answers, and again after 12 h if answered but not closed."
)


def say(condition, **more):
    rule = Rule("r", condition, Severity.WARNING, "welfare", names=(("zh", "名"), ("en", "Name")), **more)
    return [sentence for language in ("zh", "en") for sentence in sentences([rule], LADDERS, language)]


def test_sentence_holds_threshold_hold_exception_severity_and_people():
    assert say(Condition(Form.BELOW, "power", None, 5.0, 12 * HOUR), unless_away=True) == [
        f"名（r）：用电低于5 W持续12小时，住户外出时不算，为警告。{ZH_LADDER}",
        f"Name (r): power below 5 W for 12 h is a warning, not while the home is away. {EN_LADDER}",
    ]


def test_sentence_holds_the_hours_of_the_day():
    assert say(Condition(Form.IS, "door", None, 0.0, 30 * MINUTE, (1320, 360))) == [
        f"名（r）：22:00-06:00之间门开着持续30分钟，为警告。{ZH_LADDER}",
        f"Name (r): a door stands open for 30 min between 22:00 and 06:00 is a warning. {EN_LADDER}",
    ]


def test_sentence_says_what_latches_and_cannot_be_muted():
    assert say(Condition(Form.IS, "smoke"), latched=True, mutable=False) == [
        f"名（r）：烟感报烟，须有人关闭才结束，不能静音，为警告。{ZH_LADDER}",
        f"Name (r): smoke is detected is a warning, stays until somebody closes it, cannot be muted. {EN_LADDER}",
    ]


@pytest.mark.parametrize(
    ("condition", "zh", "en"),
    [
        (Condition(Form.SILENT), "任一传感器超过应有上报间隔的两倍没有消息", "any sensor unheard for twice the time"),
        (Condition(Form.BELOW, None, "battery_pct", 15.0), "任一传感器电池电量低于15 %", "battery of any sensor below"),
        (Condition(Form.BELOW, "smoke", "battery_pct", 15.0), "烟感电池电量低于15 %", "battery of a smoke sensor"),
        (Condition(Form.ABOVE, "water", None, 0.1, HOUR), "用水高于0.1 L/min持续1小时", "flow above 0.1 L/min for 1 h"),
        (Condition(Form.ACTIVE, "water", None, 0, HOUR), "一直在用水持续1小时", "water runs for 1 h"),
        (Condition(Form.QUIET, "door", None, 0, HOUR), "门没有开关持续1小时", "no door moves for 1 h"),
        (Condition(Form.IS, "panic"), "按下紧急按钮", "a panic button is pressed"),
    ],
)  # fmt: skip
def test_each_form_has_words_in_both_languages(condition, zh, en):
    said_zh, said_en = say(condition)

    assert zh in said_zh
    assert en in said_en


@pytest.mark.parametrize("language", ["zh", "en"])
def test_each_shipped_rule_is_one_sentence_without_gaps(language):
    rules = load_rules([shipped_rules_directory()]).rules

    said = sentences(rules, LADDERS, language)

    assert len(said) == len(rules)
    assert all("None" not in sentence and "  " not in sentence for sentence in said)


def test_every_kind_has_a_name_in_both_languages():
    assert all(row.zh and row.en for row in KINDS.values())
