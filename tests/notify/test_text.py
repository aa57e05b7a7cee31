"""What a person reads, in both languages; and that it is one segment whatever stands in the files."""

import re
import unicodedata
from dataclasses import replace
from itertools import product
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor_guard.clock import parse_at
from sensor_guard.config import FAULT_RULES, load_rules, message_of, name_of, shipped_rules_directory
from sensor_guard.model import DAY, HOUR, MINUTE, SECOND, AlarmOutcome, NotificationKind
from sensor_guard.notify.plain import plain
from sensor_guard.notify.segment import fits, is_gsm, length, shortened
from sensor_guard.notify.text import render
from sensor_guard.notify.words import WORDS, say_held, say_since
from tests.fakes.twilio import segments
from tests.notify.line import START, Names, Person, params, text

ZH, EN = Person("王芳", language="zh"), Person("Chen Lin", language="en")


def said(notification=None, person=ZH, names=None, now=START, **more):
    return render(notification or text(code="K7PW", **more), person, names or Names(), now)


# As a person reads it


def test_an_alarm_says_where_what_since_when_what_to_do_and_the_code():
    assert said() == "3号楼301 用电低于5W已12小时，请上门查看（昨晚20:15起）[K7PW]"
    assert said(person=EN) == "3号楼301: power below 5 W for 12 h. Go and look (since Sun 20:15) [K7PW]"


def test_time_without_data_is_told():
    blind = params(blind_ms=140 * MINUTE, observed_ms=12 * HOUR - 140 * MINUTE)
    assert said(params=blind) == "3号楼301 用电低于5W已12小时，请上门查看（昨晚20:15起，其中2小时20分无数据）[K7PW]"


@pytest.mark.parametrize("blind", [0, 9 * MINUTE, 35 * MINUTE])
def test_a_reading_or_two_that_are_missing_are_not_worth_a_word(blind):
    assert "无数据" not in said(params=params(blind_ms=blind))


def test_that_a_silent_device_was_not_heard_is_no_news():
    assert "无数据" not in said(params=params(blind_ms=12 * HOUR), severity="maintenance")


def test_a_press_of_the_button_says_when_and_how_often():
    names = Names(messages={"electricity_low": "{home} 按下紧急按钮！请立即联系并上门"})
    pressed = params(since_ms=START - MINUTE, held_ms=0, count=3)
    assert said(names=names, params=pressed) == "3号楼301 按下紧急按钮！请立即联系并上门（今天08:14，共3次）[K7PW]"


def test_a_silent_sensor_says_which_and_since_when_once():
    names = Names(messages={"electricity_low": "{home} 传感器{sensor}失联，最后消息{since}，请检修"})
    assert said(names=names, params=params(sensor="hall")) == "3号楼301 传感器hall失联，最后消息昨晚20:15，请检修[K7PW]"


def test_a_reminder_says_that_nobody_has_answered():
    assert said(kind=NotificationKind.REMINDER).startswith("无人应答：3号楼301 用电低于5W")
    assert said(person=EN, kind=NotificationKind.REMINDER).startswith("NO ANSWER YET: 3号楼301: power")


def test_an_alarm_that_nobody_closes_asks_how_it_ended():
    assert said(kind=NotificationKind.UNCLOSED) == "3号楼301 用电过低：已应答，尚未关闭，请处理并登记结果[K7PW]"
    assert said(person=EN, kind=NotificationKind.UNCLOSED) == (
        "3号楼301: Electricity low answered, not closed. How did it end? [K7PW]"
    )


def test_a_stand_down_says_who_has_answered():
    names = Names(people={"li": Person("李强")})
    answered = {"kind": NotificationKind.STAND_DOWN, "params": params(actor="li")}
    assert said(names=names, **answered) == "3号楼301 用电过低：李强已接手，您不必前往[K7PW]"
    assert said(names=names, person=EN, **answered) == (
        "3号楼301: Electricity low: 李强 is on it, you need not go. [K7PW]"
    )


def test_somebody_who_is_no_contact_is_somebody():
    names = Names(gone={"root"})
    answered = {"kind": NotificationKind.STAND_DOWN, "params": params(actor="root")}
    assert said(names=names, **answered) == "3号楼301 用电过低：有人已接手，您不必前往[K7PW]"
    assert "somebody is on it" in said(names=names, person=EN, **answered)


@pytest.mark.parametrize(("outcome", "language"), [*product([*AlarmOutcome, "unheard_of"], WORDS)])
def test_a_closed_alarm_says_how_it_ended_in_words(outcome, language):
    person = Person(language=language)
    words = WORDS[language].outcomes.get(outcome, WORDS[language].closed_somehow)
    closed = said(person=person, kind=NotificationKind.CLOSED, params=params(actor="p1", outcome=outcome))
    assert words in closed
    assert "人1" in closed
    assert "_" not in closed


def test_a_test_text_asks_for_nothing():
    test = replace(text(kind=NotificationKind.TEST, code="K7PW"), rule_id="", alarm_id="", params=(("actor", "p1"),))
    assert said(test) == "3号楼301 测试短信：王芳您好，收到即为正常，无需处理[K7PW]"
    assert said(test, EN) == "3号楼301: test text for Chen Lin. If this arrives, all works. [K7PW]"


def test_a_fault_of_the_box_says_what_it_knows():
    names = Names(messages={"electricity_low": "{home} 下多户传感器失联，请检查网络和电源"}, labels={})
    fault = params(fault="37 homes", held_ms=0, since_ms=START)
    assert said(names=names, params=fault).endswith("（今天08:15，37 homes）[K7PW]")


def test_an_unknown_language_is_english():
    assert "Go and look" in said(person=Person(language="fr"))


def test_missing_parameters_are_left_out():
    assert said(params=()) == "3号楼301 用电低于5W已，请上门查看[K7PW]"
    assert said(params=(("held_ms", "soon"), ("since_ms", "9" * 40))) == "3号楼301 用电低于5W已，请上门查看[K7PW]"


def test_a_rule_that_is_no_longer_known_still_says_where():
    assert said(names=Names(messages={"electricity_low": ""})) == "3号楼301 用电过低（昨晚20:15起）[K7PW]"


# Spans and times


@pytest.mark.parametrize(
    ("span", "zh", "en"),
    [
        (12 * HOUR, "12小时", "12 h"),
        (140 * MINUTE, "2小时20分", "2 h 20 min"),
        (30 * MINUTE + 59 * SECOND, "30分钟", "30 min"),
        (2 * MINUTE + 5 * SECOND, "2分钟5秒", "2 min 5 s"),
        (12 * HOUR - SECOND, "11小时59分", "11 h 59 min"),
        (2 * DAY + 3 * HOUR + 59 * MINUTE, "2天3小时", "2 d 3 h"),
        (0, "0秒", "0 s"),
        (-5, "0秒", "0 s"),
    ],
)
def test_spans_are_said_as_people_say_them(span, zh, en):
    assert (say_held(span, "zh"), say_held(span, "en")) == (zh, en)


@pytest.mark.parametrize(
    ("at", "zh", "en"),
    [
        ("2026-03-02T08:14:59+08:00", "今天08:14", "08:14"),
        ("2026-03-02T00:00:00+08:00", "今天00:00", "00:00"),
        ("2026-03-01T23:59:59+08:00", "昨晚23:59", "Sun 23:59"),
        ("2026-03-01T17:59:00+08:00", "昨天17:59", "Sun 17:59"),
        ("2026-02-28T20:15:00+08:00", "前天20:15", "Sat 20:15"),
        ("2026-02-27T20:15:00+08:00", "2月27日20:15", "Fri 20:15"),
        ("2025-12-31T20:15:00+08:00", "12月31日20:15", "31 Dec 20:15"),
        ("2026-03-03T09:00:00+08:00", "3月3日09:00", "3 Mar 09:00"),
    ],
)
def test_moments_are_said_in_local_time(at, zh, en):
    zone, then = ZoneInfo("Asia/Shanghai"), parse_at(at)
    assert (say_since(then, START, zone, "zh"), say_since(then, START, zone, "en")) == (zh, en)


@settings(deadline=None)  # a busy machine is no fault
@given(st.integers(0, 2**41), st.integers(0, 2**41), st.sampled_from(["zh", "en"]))
def test_no_moment_takes_more_room_than_a_rule_was_checked_with(at, now, language):
    assert len(say_since(at, now, ZoneInfo("Asia/Shanghai"), language)) <= 12


# Segments


@pytest.mark.parametrize(
    ("body", "count"),
    [("", 0), ("a" * 160, 160), ("[]", 4), ("€", 2), ("é", 1), ("ê", 1), ("王芳", 2), ("😀", 2), ("a😀", 3), ("`", 1)],
)
def test_length_counts_septets_or_units(body, count):
    assert length(body) == count


@pytest.mark.parametrize(
    ("body", "one"),
    [
        ("a" * 160, True),
        ("a" * 161, False),
        ("[" * 80, True),
        ("[" * 81, False),
        ("王" * 70, True),
        ("王" * 71, False),
        ("😀" * 35, True),
        ("😀" * 35 + "a", False),
        ("a" * 69 + "ê", True),
        ("a" * 70 + "ê", False),
    ],
)
def test_one_segment_is_160_septets_or_70_units(body, one):
    assert fits(body) is one


@settings(deadline=None)  # a busy machine is no fault
@given(st.text(max_size=200))
def test_the_count_agrees_with_a_second_one(body):
    plainly = body.encode("utf-16-le", "ignore").decode("utf-16-le")
    assert fits(plainly) == (segments(plainly) == 1)


@pytest.mark.parametrize(
    ("label", "room", "short"),
    [
        ("幸福小区3号楼2单元402室", 20, "幸福小区3号楼2单元402室"),
        ("幸福小区3号楼2单元402室", 10, "幸福小…2单元402室"[:3] + "…" + "单元402室"),
        ("12 Garden Road, Flat 4B", 14, "12 G..Flat 4B"),
        ("王ab́cdefg", 8, "王a…cdefg"),
        ("幸福小区3号楼", 3, "3号楼"),
        ("幸福小区3号楼", 0, ""),
    ],
)
def test_a_long_label_keeps_both_ends(label, room, short):
    assert shortened(label, room) == short
    assert len(shortened(label, room)) <= room


def test_the_label_gives_way_and_the_code_never_does():
    names = Names(labels={"h": "上海市普陀区曹杨新村街道幸福小区东区3号楼2单元402室张"})
    blind = params(blind_ms=140 * MINUTE)
    whole = said(replace(text(code="K7PW", params=blind), home_id="h"), names=names)
    assert fits(whole)
    assert whole.endswith("（昨晚20:15起，其中2小时20分无数据）[K7PW]")
    assert "2单元402室张 用电低于5W已12小时，请上门查看" in whole


def test_a_rule_that_says_too_much_is_cut_before_the_place_is_lost():
    names = Names(labels={"h": "幸福小区3号楼2单元402室"}, messages={"electricity_low": "{home} " + "很长" * 100})
    whole = said(replace(text(code="K7PW"), home_id="h"), names=names)
    assert fits(whole)
    assert whole.startswith("幸福…2单元402室"[:2])
    assert "402室 很长" in whole
    assert whole.endswith("[K7PW]")


def test_every_shipped_rule_is_told_whole_in_both_languages():
    """With an ordinary label nothing is cut, and in Chinese time without data still finds room."""
    for rule in (*load_rules([shipped_rules_directory()]).rules, *FAULT_RULES):
        names = Names(messages={rule.rule_id: message_of(rule, "zh")}, rules={rule.rule_id: name_of(rule, "zh")})
        one = replace(text(code="K7PW", params=params(sensor="bedside", blind_ms=140 * MINUTE)), rule_id=rule.rule_id)
        zh = said(one, names=names)
        assert "…" not in zh
        assert "其中2小时20分无数据" in zh
        names.messages[rule.rule_id] = message_of(rule, "en")
        en = said(one, EN, names)
        assert ".." not in en
        ending = message_of(rule, "en").rpartition("}")[2].strip(" .")
        assert ending in en


# Whatever stands in the files

FIELD = st.one_of(
    st.text(max_size=120),
    st.text("王芳3号楼室 ABCdef{}[]().,:/é\u202e\u200b\n\x00😀", max_size=120),
    st.sampled_from(
        ["", "http://evil.example/x", "{home}{held}", "www.evil.cn", "王" * 100, "a" * 300, "😀" * 60, "\u202egnirts"]
    ),
)
PARAMS = st.dictionaries(
    st.sampled_from(
        ["since_ms", "held_ms", "blind_ms", "observed_ms", "sensor", "value", "count", "fault", "actor", "outcome"]
    ),
    st.one_of(st.integers(-(2**40), 2**43).map(str), FIELD),
)
CODE = st.text("CDFGHJKMNPQRTVWXY34679", min_size=4, max_size=4)


@settings(deadline=None)  # a busy machine is no fault
@given(
    label=FIELD,
    name=FIELD,
    rule=FIELD,
    message=st.one_of(FIELD, FIELD.map("{{home}} {} {{held}} {{since}} {{sensor}}".format)),
    given_params=PARAMS,
    kind=st.sampled_from([*NotificationKind, "unheard_of"]),
    language=st.sampled_from(["zh", "en", "xx"]),
    code=CODE,
)
def test_any_label_any_name_any_rule_is_one_segment_with_its_code(  # noqa: PLR0917
    label, name, rule, message, given_params, kind, language, code
):
    names = Names(messages={"electricity_low": message}, rules={"electricity_low": rule})
    names.label = lambda _home_id: label
    names.people = {given_params.get("actor", ""): Person(name)}
    one = text(kind=kind, code=code, params=tuple(sorted(given_params.items())))
    body = render(one, Person(name, language=language), names, START)

    assert segments(body) == 1
    assert body.endswith(f"[{code}]")
    assert not [letter for letter in body if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")]
    assert "://" not in body
    assert "www." not in body.lower()
    assert not re.search(r"[a-z0-9]\.[a-z]{2,}", body, re.IGNORECASE)


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("3号楼\n301", "3号楼 301"),
        ("3号楼\u202e103", "3号楼103"),
        ("王\u200b芳", "王芳"),
        ("看 http://evil.example/a?b=1 吧", "看 吧"),
        ("HTTPS://EVIL.EXAMPLE", ""),
        ("a hthttp://x tp://evil.example", "a"),
        ("www.evil.cn/x", ""),
        ("evil.com/x", "evil com/x"),
        ("ev\u200bil.com", "evil com"),
        ("evil．com", "evil com"),
        ("a@b.cn", "a@b cn"),
        ("10.0.0.1", "10 0 0 1"),
        ("St.John", "St John"),
        ("No.3, 2.5 kW", "No.3, 2.5 kW"),
        ("“Garden” – flat’s", '"Garden" - flat\'s'),
        ("\ud83d lone", "lone"),
        ("  a   b  ", "a b"),
    ],
)
def test_a_field_is_made_plain(dirty, clean):
    assert plain(dirty, 80) == clean


@settings(deadline=None)  # a busy machine is no fault
@given(st.text(), st.integers(1, 60))
def test_a_plain_field_is_never_longer_than_its_limit(dirty, limit):
    clean = plain(dirty, limit)
    assert len(clean) <= limit
    assert plain(clean, limit) == clean


def test_the_manual_shows_what_is_sent():
    page = (Path(__file__).parents[2] / "docs" / "sms.md").read_text(encoding="utf-8")
    names = Names(labels={"en": "Block 3-301"}, people={"wang": Person("王芳"), "fang": Person("Wang Fang")})
    for kind in NotificationKind:
        for person, home, actor in ((ZH, "zh", "wang"), (Person("Wang Fang", language="en"), "en", "fang")):
            shown = params(blind_ms=140 * MINUTE, actor=actor, outcome="fine")
            if kind is NotificationKind.DIGEST:
                alarms = {f"alarm{n}": f"{home} electricity_low" for n in range(2)}
                shown = params(count=5, news=2, late=1, **alarms)
            one = replace(text(kind=kind, code="K7PW", params=shown), home_id=home)
            sent = said(one, person, names)
            if kind is NotificationKind.TEST:
                sent = sent.replace("3号楼301", "box1").replace("Block 3-301", "box1")
            if kind is NotificationKind.REMINDER:
                sent = sent.partition("，" if person is ZH else ".")[0]
            assert sent in page


def test_the_words_are_gsm_in_english_so_that_an_english_label_leaves_160():
    for template in (*WORDS["en"].kinds.values(), *WORDS["en"].outcomes.values()):
        assert is_gsm(template)
