"""Spans, thresholds and hours of the day, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_guard.config.units import parse_span, parse_threshold, parse_window, say_span, write_span, write_window
from sensor_guard.model import DAY, HOUR, MINUTE, SECOND


@given(st.integers(0, 10_000 * DAY // SECOND).map(lambda seconds: seconds * SECOND))
def test_span_is_read_as_it_was_written(span):
    assert parse_span(write_span(span)) == span


@pytest.mark.parametrize(("text", "span"), [("0m", 0), ("90d", 90 * DAY), ("11h59m", 12 * HOUR - MINUTE)])
def test_span_in_parts_is_their_sum(text, span):
    assert parse_span(text) == span


@pytest.mark.parametrize(
    "text", ["", "12", "12 h", "12h ", "1.5h", "-1h", "m", "5m1h", "1h1h", "12H", 5, None, True, "²h"]
)
def test_what_is_no_span_is_refused(text):
    with pytest.raises(ValueError, match="write a duration such as 12h"):
        parse_span(text)


@pytest.mark.parametrize(
    ("span", "zh", "en"),
    [
        (12 * HOUR, "12小时", "12 h"),
        (DAY + 2 * HOUR + 5 * MINUTE, "1天2小时", "1 d 2 h"),
        (90 * MINUTE, "1小时30分钟", "1 h 30 min"),
        (DAY + MINUTE, "1天", "1 d"),
        (45 * SECOND, "45秒", "45 s"),
        (0, "0秒", "0 s"),
    ],
)
def test_span_is_said_in_its_two_largest_units(span, zh, en):
    assert say_span(span, "zh") == zh
    assert say_span(span, "en") == en


@pytest.mark.parametrize("value", ["5", "W", "5 Watt", "5 W W", "5e3 W", "nan W", "٥ W", None, [], True])
def test_what_is_no_threshold_is_refused(value):
    with pytest.raises(ValueError, match="unit"):
        parse_threshold(value)


@given(st.integers(0, 1439), st.integers(0, 1440))
def test_window_is_read_as_it_was_written(start, end):
    text = write_window((start, end))

    if start == end % 1440:
        with pytest.raises(ValueError, match="leave `between` out"):
            parse_window(text)
    else:
        assert parse_window(text) == (start, end)


@pytest.mark.parametrize(
    "text", ["22-6", "22:00", "24:00-06:00", "22:00 - 06:00", "22:60-06:00", "22\uff1a00-06\uff1a00", 5, None]
)
def test_what_is_no_window_is_refused(text):
    with pytest.raises(ValueError, match="write hours of the day such as 22:00-06:00"):
        parse_window(text)
