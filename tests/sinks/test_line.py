"""The schema, letter by letter."""

import math

import pytest

from sensor_guard.model import Transition
from sensor_guard.sinks import line
from sensor_guard.sinks.line import lines_of
from sensor_guard.sinks.protocol import AlarmEvent, instant_of
from tests.sinks.rows import NOON, alarm_event, reading


def test_a_reading_is_one_line_with_its_tags_in_order():
    expected = f"reading,home=home-1,quantity=power_w,sensor=kitchen_power value=3.2,seq=7i {NOON}000007"
    assert [expected] == lines_of([reading(7, 3.2, at=NOON)])


def test_the_value_is_a_float_whatever_it_was():
    texts = [lines_of([reading(1, value)])[0].split("value=")[1].split(",")[0] for value in (1, True, 0.0, 1e16, 1e-7)]
    assert texts == ["1.0", "1.0", "0.0", "1e+16", "1e-07"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_never_becomes_a_line(value):
    with pytest.raises(ValueError, match="seq 4: home-1 kitchen_power power_w"):
        lines_of([reading(3), reading(4, value)])


def test_two_readings_of_the_same_ms_have_two_times():
    times = [text.rsplit(" ", 1)[1] for text in lines_of([reading(1, at=NOON), reading(2, at=NOON)])]
    assert [f"{NOON}000001", f"{NOON}000002"] == times


def test_the_digits_of_the_seq_never_reach_the_milliseconds():
    assert lines_of([reading(12_999_999, at=NOON)])[0].endswith(f"seq=12999999i {NOON}999999")


def test_the_same_row_is_always_the_same_line():
    rows = [reading(7), alarm_event(8, text="x")]
    assert lines_of(rows) == lines_of(rows)


def test_a_full_cache_of_prefixes_starts_anew(monkeypatch):
    monkeypatch.setattr(line, "PREFIX_LIMIT", 3)
    monkeypatch.setattr(line, "_prefixes", {})
    rows = [reading(seq, home=f"home-{seq}") for seq in range(1, 9)]
    assert len(lines_of(rows)) == 8
    assert len(line._prefixes) <= 3


def test_an_alarm_is_one_line_with_its_level():
    expected = (
        'alarm,event=opened,home=home-1,rule=smoke alarm_id="home-1.smoke.20260301T120000Z",level=3i,text=""'
        f" {NOON}000009"
    )
    assert [expected] == lines_of([alarm_event(9, at=NOON)])


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ('say "no"', r"say \"no\""),
        ("ends in \\", r"ends in \\"),
        ("two\nlines\r", "two lines "),
        ("无用电 12h", "无用电 12h"),
        ("x" * 5_000, "x" * 1_000),
    ],
)
def test_a_text_cannot_leave_its_quotes(text, sent):
    assert f'text="{sent}"' in lines_of([alarm_event(1, text=text)])[0]


@pytest.mark.parametrize(
    ("field", "before", "after", "reason", "event"),
    [
        ("condition", "false", "true", "raised", "opened"),
        ("condition", "true", "unknown", "unseen", "unseen"),
        ("condition", "true", "false", "cleared", "resolved"),
        ("response", "unanswered", "acknowledged", "acknowledged", "acked"),
        ("response", "acknowledged", "closed", "closed", "closed"),
        ("evidence", "1", "2", "pressed_again", "pressed_again"),
    ],
)
def test_a_transition_becomes_an_event_and_leaves_its_note_behind(field, before, after, reason, event):
    moved = Transition("home-1.smoke.20260301T120000Z", field, before, after, NOON, reason, "li", "Mrs Wang is fine")
    made = AlarmEvent.of(moved, "critical")
    assert (event, "home-1", "smoke", NOON) == (made.event, made.home_id, made.rule_id, instant_of((1, made)))
    assert "Wang" not in lines_of([(1, made)])[0]
