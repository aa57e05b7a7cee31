"""Calendar work: planned by the wall clock, planned anew when that is set, and never silently left out."""

import threading
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent

from sensor_guard.clock import NOT_BEFORE, Synchrony, SystemClock, is_synchronised
from sensor_guard.model import DAY, HOUR
from sensor_guard.schedule import Calendar

ZONE = ZoneInfo("Asia/Shanghai")


@pytest.fixture
def calendar():
    with ExitStack() as stack:
        made = Calendar(ZONE)
        made.daily("prune", lambda: None, hour=3, minute=30)
        made.start(stack)
        yield made


def planned(calendar):
    return calendar._scheduler.get_job("prune").next_run_time


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000)


@pytest.mark.parametrize("offset", [-30 * DAY, -2 * HOUR, 0, -DAY])
def test_a_clock_set_back_does_not_rest_the_calendar_until_then(calendar, offset):
    """APScheduler would wait for the old time: a month of no pruning."""
    now = ms(datetime.now(UTC)) + offset
    calendar.replan(now)
    ahead = ms(planned(calendar)) - now
    assert 0 < ahead <= DAY
    assert planned(calendar).astimezone(ZONE).strftime("%H:%M") == "03:30"


def test_what_a_step_has_passed_over_is_done_at_once(calendar):
    ran = threading.Event()
    calendar.daily("late", ran.set, hour=3, minute=30)
    past = datetime.now(ZONE) - timedelta(minutes=5)
    calendar._scheduler.get_job("late").modify(next_run_time=past)
    calendar.replan(ms(datetime.now(UTC)))
    assert ran.wait(20)


def test_a_job_that_fails_is_told_and_counted(calendar):

    with structlog.testing.capture_logs() as log:
        for code in (EVENT_JOB_MISSED, EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES):
            calendar._told(JobExecutionEvent(code, "prune", "default", None, exception=ValueError("+8613812345678")))
    assert calendar.missed_count == 3
    assert [row["reason"] for row in log] == ["missed", "failed", "still_running"]
    assert "138" not in str(log)


def test_its_thread_is_watched(calendar):
    assert calendar.healthy()


# -- whether the clock can be believed


def test_a_time_before_the_program_was_made_is_not_believed_until_ntp_has_set_it():
    state = [False]
    synchrony = Synchrony(None, 0.0, read=lambda: state[0])
    synchrony.look(0.0)
    assert not synchrony.is_known(0)
    assert not synchrony.is_known(NOT_BEFORE - 1)
    assert synchrony.is_known(NOT_BEFORE)
    state[0] = True
    synchrony.look(2.0)
    assert synchrony.is_known(0)


def test_a_time_before_the_journal_s_newest_entry_is_not_believed_at_a_start():
    synchrony = Synchrony(NOT_BEFORE + DAY, 0.0, read=lambda: None)
    synchrony.look(0.0)
    assert not synchrony.is_known(NOT_BEFORE + HOUR)
    assert synchrony.is_known(NOT_BEFORE + DAY)
    assert synchrony.is_known(NOT_BEFORE + HOUR, stepped=True)  # somebody has set it since


def test_ntp_that_is_away_is_a_fault_after_twelve_hours_and_blinds_nothing():
    state = [True]
    synchrony = Synchrony(None, 0.0, read=lambda: state[0])
    for second in range(0, 60 * 3_600, 60):
        state[0] = second < 3_600
        synchrony.look(float(second))
        assert synchrony.is_known(NOT_BEFORE + DAY)
        assert synchrony.is_overdue(float(second)) == (second >= 3_540 + 12 * 3_600)


def test_where_it_cannot_be_known_nobody_is_told_that_it_is_not():
    synchrony = Synchrony(None, 0.0, read=lambda: None)
    for second in range(0, 60 * 3_600, 600):
        synchrony.look(float(second))
        assert not synchrony.is_overdue(float(second))


def test_the_stamp_of_timesyncd_is_enough_and_the_kernel_may_be_asked(tmp_path):
    stamp = tmp_path / "synchronized"
    assert is_synchronised(stamp) in (True, False)
    stamp.touch()
    assert is_synchronised(stamp) is True
    assert is_synchronised(Path("/nowhere/at/all")) in (True, False, None)


def test_what_the_last_process_left_is_believed_on_the_same_start_of_the_machine_only(tmp_path, monkeypatch):
    wall, boot = [NOT_BEFORE + DAY], [50_000]
    monkeypatch.setattr("sensor_guard.clock._wall_ms", lambda: wall[0])
    monkeypatch.setattr("sensor_guard.clock._boot_ms", lambda: boot[0])
    path = tmp_path / "run" / "clock.json"
    SystemClock(path)
    wall[0] += HOUR + 10_000
    boot[0] += 10_000
    again = SystemClock(path)
    assert (again.now(), again.stepped(), again.now()) == (NOT_BEFORE + DAY + 10_000, HOUR, wall[0])
    assert SystemClock(path).stepped() == 0
    boot[0] = 5_000  # the machine was started anew
    assert SystemClock(path).stepped() == 0
    path.write_text("{")
    assert SystemClock(path).stepped() == 0
