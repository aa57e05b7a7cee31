"""The effective rules as one plain sentence each, in Chinese and English: what an operator signs off.

Made of the compiled rule, not of the file, so that the sentence says what the engine will do.
"""

from collections.abc import Iterable, Mapping

from sensor_guard.config.contacts import Role
from sensor_guard.config.rules import name_of
from sensor_guard.config.settings import LadderSettings
from sensor_guard.config.units import UNIT_OF, say_span, write_window
from sensor_guard.engine.plan import Condition, Form, Rule
from sensor_guard.model import KINDS, Kind, Quantity

_ROLES = {
    "zh": {Role.WORKER: "社工", Role.FAMILY: "家属", Role.SUPERVISOR: "主管", Role.MAINTAINER: "维护员"},
    "en": {Role.WORKER: "worker", Role.FAMILY: "family", Role.SUPERVISOR: "supervisor", Role.MAINTAINER: "maintainer"},
}
_SEVERITIES = {
    "zh": {"critical": "紧急报警", "warning": "警告", "info": "提示", "maintenance": "维护事项"},
    "en": {"critical": "critical", "warning": "a warning", "info": "a notice", "maintenance": "for maintenance"},
}
# (form, kind): what is so. Kinds whose words are not here are spoken of by their name.
_STATES = {
    "zh": {
        (Form.IS, Kind.SMOKE): "烟感报烟",
        (Form.IS, Kind.PANIC): "按下紧急按钮",
        (Form.IS, Kind.DOOR): "门开着",
        (Form.QUIET, Kind.MOTION): "没有人走动",
        (Form.QUIET, Kind.WATER): "没有用水",
        (Form.QUIET, Kind.DOOR): "门没有开关",
        (Form.ACTIVE, Kind.WATER): "一直在用水",
    },
    "en": {
        (Form.IS, Kind.SMOKE): "smoke is detected",
        (Form.IS, Kind.PANIC): "a panic button is pressed",
        (Form.IS, Kind.DOOR): "a door stands open",
        (Form.QUIET, Kind.MOTION): "nobody moves",
        (Form.QUIET, Kind.WATER): "no water is used",
        (Form.QUIET, Kind.DOOR): "no door moves",
        (Form.ACTIVE, Kind.WATER): "water runs",
    },
}
_MEASURED = {
    "zh": {Quantity.POWER_W: "用电", Quantity.FLOW_L_MIN: "用水", Quantity.BATTERY_PCT: "电池电量"},
    "en": {Quantity.POWER_W: "power", Quantity.FLOW_L_MIN: "water flow", Quantity.BATTERY_PCT: "battery"},
}


def sentences(rules: Iterable[Rule], ladders: Mapping[str, LadderSettings], language: str) -> list[str]:
    """Say each rule in one sentence; ``language`` is zh or en."""
    say = _say_zh if language == "zh" else _say_en
    return [say(rule, ladders.get(rule.ladder)) for rule in rules]


def _say_zh(rule: Rule, ladder: LadderSettings | None) -> str:
    condition = rule.condition
    parts = [_condition_zh(condition)]
    if condition.between is not None:
        parts.insert(0, f"{write_window(condition.between)}之间")
    if condition.hold_for:
        parts.append(f"持续{say_span(condition.hold_for, 'zh')}")
    clauses = ["".join(parts)]
    if rule.unless_away:
        clauses.append("住户外出时不算")
    if rule.latched:
        clauses.append("须有人关闭才结束")
    if not rule.mutable:
        clauses.append("不能静音")
    head = f"{name_of(rule, 'zh')}（{rule.rule_id}）：" + "，".join(clauses)
    return f"{head}，为{_SEVERITIES['zh'][rule.severity]}。{_ladder_zh(ladder)}"


def _condition_zh(condition: Condition) -> str:
    kind = KINDS[condition.kind].zh if condition.kind is not None else "任一传感器"
    if condition.form is Form.SILENT:
        return f"{kind}超过应有上报间隔的两倍没有消息"
    if condition.form in {Form.BELOW, Form.ABOVE}:
        quantity = _quantity(condition)
        word = "低于" if condition.form is Form.BELOW else "高于"
        whose = kind if quantity == Quantity.BATTERY_PCT else ""
        return f"{whose}{_MEASURED['zh'][quantity]}{word}{condition.threshold:g} {UNIT_OF[quantity]}"
    return _STATES["zh"].get((condition.form, Kind(condition.kind or "")), kind)


def _ladder_zh(ladder: LadderSettings | None) -> str:
    if ladder is None:
        return ""
    clauses = []
    for index, step in enumerate(ladder.steps):
        people = "、".join(_ROLES["zh"].get(Role(word), word) if word in set(Role) else word for word in step.to)
        when = "立即告诉" if index == 0 else f"{say_span(step.after, 'zh')}无人应答再告诉"
        clauses.append(f"{when}{people}")
    clauses.append(f"此后每{say_span(ladder.repeat_every, 'zh')}重复，直到有人应答")
    clauses.append(f"应答后{say_span(ladder.remind_unclosed, 'zh')}未关闭再提醒")
    return "；".join(clauses) + "。"


def _say_en(rule: Rule, ladder: LadderSettings | None) -> str:
    condition = rule.condition
    parts = [_condition_en(condition)]
    if condition.hold_for:
        parts.append(f"for {say_span(condition.hold_for, 'en')}")
    if condition.between is not None:
        parts.append("between {} and {}".format(*write_window(condition.between).split("-")))
    clauses = [" ".join(parts) + f" is {_SEVERITIES['en'][rule.severity]}"]
    if rule.unless_away:
        clauses.append("not while the home is away")
    if rule.latched:
        clauses.append("stays until somebody closes it")
    if not rule.mutable:
        clauses.append("cannot be muted")
    return f"{name_of(rule, 'en')} ({rule.rule_id}): {', '.join(clauses)}. {_ladder_en(ladder)}".rstrip()


def _condition_en(condition: Condition) -> str:
    kind = f"a {KINDS[condition.kind].en} sensor" if condition.kind is not None else "any sensor"
    if condition.form is Form.SILENT:
        return f"{kind} unheard for twice the time within which it should speak"
    if condition.form in {Form.BELOW, Form.ABOVE}:
        quantity = _quantity(condition)
        whose = f" of {kind}" if quantity == Quantity.BATTERY_PCT else ""
        return f"{_MEASURED['en'][quantity]}{whose} {condition.form} {condition.threshold:g} {UNIT_OF[quantity]}"
    return _STATES["en"].get((condition.form, Kind(condition.kind or "")), kind)


def _ladder_en(ladder: LadderSettings | None) -> str:
    if ladder is None:
        return ""
    clauses = []
    for index, step in enumerate(ladder.steps):
        people = " and ".join(_ROLES["en"].get(Role(word), word) if word in set(Role) else word for word in step.to)
        when = "at once" if index == 0 else f"after {say_span(step.after, 'en')} without an answer"
        clauses.append(f"{people} {when}")
    again = f"everybody again every {say_span(ladder.repeat_every, 'en')} until somebody answers"
    unclosed = f"and again after {say_span(ladder.remind_unclosed, 'en')} if answered but not closed"
    return f"Tells {', then '.join(clauses)}; {again}, {unclosed}."


def _quantity(condition: Condition) -> Quantity:
    """Give what is compared; a condition that names nothing compares its kind's own."""
    if condition.quantity is not None:
        return Quantity(condition.quantity)
    return Quantity.FLOW_L_MIN if condition.kind == Kind.WATER else Quantity.POWER_W
