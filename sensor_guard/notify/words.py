"""The words of texts, Chinese and English: what surrounds a rule's own message, outcomes, spans and times of day."""

from dataclasses import dataclass
from datetime import timedelta, tzinfo

from sensor_guard.clock import local_time
from sensor_guard.config import say_span
from sensor_guard.model import HOUR, MINUTE, AlarmOutcome, Instant, NotificationKind, Span


@dataclass(frozen=True, slots=True)
class Words:
    """What one language says. Placeholders as in ``text``; ``kinds``: the text around a rule's message or name.

    English is kept as short as Chinese: a Chinese label in it leaves 70 characters.
    """

    kinds: dict[str, str]
    outcomes: dict[str, str]
    closed_somehow: str
    somebody: str
    opening: str
    comma: str
    closing: str
    since: str
    moment: str
    blind: str
    times: str
    before_code: str
    late: str
    open_alarms: str
    and_more: str
    between: str
    news: str
    news_only: str
    see_list: str


WORDS: dict[str, Words] = {
    "zh": Words(
        kinds={
            NotificationKind.ALARM: "{message}",
            NotificationKind.REMINDER: "无人应答：{message}",
            NotificationKind.UNCLOSED: "{home} {rule}：已应答，尚未关闭，请处理并登记结果",
            NotificationKind.STAND_DOWN: "{home} {rule}：{actor}已接手，您不必前往",
            NotificationKind.CLOSED: "{home} {rule}已关闭：{outcome}（{actor}）",
            NotificationKind.TEST: "{home} 测试短信：{person}您好，收到即为正常，无需处理",
        },
        outcomes={
            AlarmOutcome.HELPED: "已得到帮助",
            AlarmOutcome.FINE: "平安",
            AlarmOutcome.AWAY: "不在家",
            AlarmOutcome.FALSE_ALARM: "误报",
            AlarmOutcome.SENSOR_FAULT: "设备故障",
            AlarmOutcome.REPAIRED: "已修复",
            AlarmOutcome.TEST: "测试",
        },
        closed_somehow="已处理",
        somebody="有人",
        opening="（",
        comma="，",
        closing="）",
        since="{since}起",
        moment="{since}",
        blind="其中{blind}无数据",
        times="共{count}次",
        before_code="",
        late="短信延误，",
        open_alarms="{count}条报警待处理：",
        and_more="等",
        between="、",
        news="另有{news}条已有人处理。",
        news_only="{news}条报警已有人处理，您不必前往。",
        see_list="。请用 sensor-guard alarms 查看并逐条应答。",
    ),
    "en": Words(
        kinds={
            NotificationKind.ALARM: "{message}",
            NotificationKind.REMINDER: "NO ANSWER YET: {message}",
            NotificationKind.UNCLOSED: "{home}: {rule} answered, not closed. How did it end?",
            NotificationKind.STAND_DOWN: "{home}: {rule}: {actor} is on it, you need not go.",
            NotificationKind.CLOSED: "{home}: {rule} closed: {outcome} ({actor})",
            NotificationKind.TEST: "{home}: test text for {person}. If this arrives, all works.",
        },
        outcomes={
            AlarmOutcome.HELPED: "has been helped",
            AlarmOutcome.FINE: "all is well",
            AlarmOutcome.AWAY: "was not at home",
            AlarmOutcome.FALSE_ALARM: "false alarm",
            AlarmOutcome.SENSOR_FAULT: "sensor fault",
            AlarmOutcome.REPAIRED: "repaired",
            AlarmOutcome.TEST: "test",
        },
        closed_somehow="dealt with",
        somebody="somebody",
        opening=" (",
        comma="; ",
        closing=")",
        since="since {since}",
        moment="{since}",
        blind="{blind} without data",
        times="{count} times",
        before_code=" ",
        late="Late: ",
        open_alarms="{count} waiting for an answer: ",
        and_more=" and more",
        between="; ",
        news=" {news} more are dealt with.",
        news_only="{news} dealt with by others, you need not go.",
        see_list=". See sensor-guard alarms, answer each.",
    ),
}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def words_for(language: str) -> tuple[str, Words]:
    """Give a language and its words; English for one that is not here."""
    language = language if language in WORDS else "en"
    return language, WORDS[language]


def say_held(span: Span, language: str) -> str:
    """Say a span as people do: 12小时, 2小时20分, 12 h.

    Whole minutes from ten minutes on, whole hours from two days on; never more than was.
    """
    span = max(0, span)
    if span >= 48 * HOUR:
        span -= span % HOUR
    elif span >= 10 * MINUTE:
        span -= span % MINUTE
    said = say_span(span, language)
    return said.replace("分钟", "分") if "小时" in said else said


def say_since(at: Instant, now: Instant, zone: tzinfo, language: str) -> str:
    """Say a moment in local time, at most 11 characters: 昨晚20:15, 3月1日08:00, Sun 20:15, 1 Mar 08:00."""
    then = local_time(at, zone)
    today = local_time(now, zone).date()
    clock = f"{then.hour:02}:{then.minute:02}"
    days = (today - then.date()) // timedelta(days=1)
    if language == "zh":
        near = {0: "今天", 1: "昨晚" if then.hour >= 18 else "昨天", 2: "前天"}
        return f"{near.get(days, f'{then.month}月{then.day}日')}{clock}"
    if days == 0:
        return clock
    if 0 < days < 7:
        return f"{_DAYS[then.weekday()]} {clock}"
    return f"{then.day} {_MONTHS[then.month - 1]} {clock}"
