"""Time as text, and the clock that runs faster."""

from zoneinfo import ZoneInfo

import pytest

from sensor_guard.clock import AcceleratedClock, SystemClock, alarm_stamp, format_at, local_time, parse_at

T0 = 1_772_352_000_000  # 2026-03-01T08:00:00Z


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T08:00:00Z",
        " 2026-03-01T08:00:00Z\n",
        "2026-03-01T08:00Z",
        "2026-03-01 08:00:00+00:00",
        "2026-03-01T16:00:00+08:00",
        "2026-03-01T16:00:00+0800",
        "2026-03-01T04:30:00.000-03:30",
        "20260301T080000Z",
        "2026-03-01T08:00:00.000000Z+0000",
        "2026-03-01T16:00:00.000000Z+0800",
        "2026-03-01T03:00:00Z-0500",
    ],
)
def test_one_instant_in_many_words(text):
    assert parse_at(text) == T0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-03-01T08:00:00", "has no time zone; add Z or an offset such as +08:00"),
        ("2026-03-01", "has no time zone"),
        ("", "is not a time; write it like 2026-03-01T08:00:00Z"),
        ("Z+0000", "is not a time"),
        ("1772352000", "is not a time"),
        ("2026-02-30T08:00:00Z", "is not a time"),
        ("2026-03-01T25:00:00Z", "is not a time"),
        ("2026-03-01T08:00:00ZZ", "is not a time"),
        ("now", "is not a time"),
    ],
)
def test_what_is_no_time_is_told(text, why):
    with pytest.raises(ValueError, match="time") as caught:
        parse_at(text)

    assert why in str(caught.value)


def test_fractions_are_milliseconds():
    assert parse_at("2026-03-01T08:00:00.0424Z") == T0 + 42


def test_an_instant_is_written_in_the_zone_that_is_asked_for():
    assert format_at(T0) == "2026-03-01T08:00:00Z"
    assert format_at(T0 + 999) == "2026-03-01T08:00:00Z"
    assert format_at(T0, ZoneInfo("Asia/Shanghai")) == "2026-03-01T16:00:00+08:00"
    assert format_at(None) == ""
    assert local_time(T0, ZoneInfo("Asia/Shanghai")).hour == 16
    assert alarm_stamp(T0 + 999) == "20260301T080000Z"
    assert parse_at(format_at(T0, ZoneInfo("America/St_Johns"))) == T0


def test_an_accelerated_clock_is_shared_through_its_file(tmp_path):
    path = tmp_path / "clock.json"
    first = AcceleratedClock.join(path, epoch=T0, factor=720.0)
    second = AcceleratedClock.join(path, epoch=0, factor=1.0)
    third = AcceleratedClock.load(path)

    assert {(clock.epoch, clock.factor, clock.started) for clock in (first, second, third)} == {
        (T0, 720.0, first.started)
    }
    assert [file.name for file in tmp_path.iterdir()] == ["clock.json"]
    assert first.now() >= T0
    assert first.stepped() == 0


def test_accelerated_time_runs_by_its_factor():
    clock = AcceleratedClock(T0, 720.0, 100.0)
    clock_at = {"now": 110.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sensor_guard.clock.time.monotonic", lambda: clock_at["now"])
        assert clock.now() == T0 + 7_200_000
        assert clock.monotonic() == 110.0


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"epoch": 1, "factor": "x", "started": 0}', "5", "\ufffd"])
def test_a_file_that_is_no_clock_is_told(tmp_path, content):
    path = tmp_path / "clock.json"
    path.write_text(content)

    with pytest.raises(ValueError, match=r"not a clock file .*; delete it and start again"):
        AcceleratedClock.load(path)


def test_the_system_clock_follows_a_step_and_tells_it_once(monkeypatch):
    wall, boot = [T0], [5_000]
    monkeypatch.setattr("sensor_guard.clock._wall_ms", lambda: wall[0])
    monkeypatch.setattr("sensor_guard.clock._boot_ms", lambda: boot[0])
    clock = SystemClock()

    boot[0] += 60_000
    wall[0] += 60_000 + 7_200_000
    assert clock.now() == T0 + 60_000
    assert clock.stepped() == 7_200_000
    assert clock.stepped() == 0
    assert clock.now() == T0 + 60_000 + 7_200_000

    wall[0] += 2_000
    assert clock.stepped() == 0
    assert clock.now() == wall[0]
