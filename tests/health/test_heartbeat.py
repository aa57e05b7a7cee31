"""Word to the outside: well, not well, and the silence that says more than both."""

import structlog

from sensor_guard.errors import ConfigError, Problem
from sensor_guard.model import MINUTE
from sensor_guard.outward import Heartbeat

PATH = "/ping/c0ffee"


def made(outside, monotonic, state, url=None):
    return Heartbeat(url or (lambda: outside.url), lambda: tuple(state), every=MINUTE, monotonic=monotonic)


def run(beat, monotonic, seconds):
    end = monotonic.at + seconds
    while monotonic.at < end:
        wait = beat.step(0)
        assert 0 < wait <= 5
        monotonic.at += wait


def test_it_says_that_it_starts_and_then_once_a_minute_that_all_is_well(outside, monotonic):
    run(made(outside, monotonic, [True, ()]), monotonic, 179)
    assert outside.paths() == [f"{PATH}/start", PATH, PATH, PATH]


def test_a_fault_is_told_at_once_by_its_id_and_its_end_too(outside, monotonic):
    state = [True, ()]
    beat = made(outside, monotonic, state)
    run(beat, monotonic, 10)
    state[1] = ("sms_offline", "broker_offline")
    run(beat, monotonic, 5)
    state[1] = ()
    run(beat, monotonic, 5)
    assert outside.calls[2:] == [(f"{PATH}/fail", "broker_offline\nsms_offline"), (PATH, "")]


def test_while_a_part_is_stuck_nothing_is_said(outside, monotonic):
    state = [False, ()]
    beat = made(outside, monotonic, state)
    run(beat, monotonic, 600)
    assert outside.calls == []
    state[0] = True
    run(beat, monotonic, 1)
    assert outside.paths() == [f"{PATH}/start", PATH]


def test_a_failure_is_logged_once_an_outage_and_counted_and_without_the_address(outside, monotonic):
    outside.status = 503
    beat = made(outside, monotonic, [True, ()])
    with structlog.testing.capture_logs() as log:
        run(beat, monotonic, 300)
        outside.status = 200
        run(beat, monotonic, 120)
    assert [row["event"] for row in log] == ["heartbeat.failed", "heartbeat.recovered"]
    assert log[0]["reason"] == "http_503"
    assert beat.failed_count == 6
    assert "c0ffee" not in str(log)


def test_a_redirect_is_not_followed_the_address_is_a_secret(outside, monotonic):
    outside.status = 302
    beat = made(outside, monotonic, [True, ()])
    run(beat, monotonic, 1)
    assert set(outside.paths()) == {f"{PATH}/start", PATH}
    assert beat.failed_count == 2


def test_nobody_there_and_no_address_are_outages_like_any_other(outside, monotonic):
    def missing():
        raise ConfigError([Problem("heartbeat_url", 0, 0, "", "missing")])

    urls = [lambda: "http://127.0.0.1:9/c0ffee", missing, lambda: "c0ffee"]
    for url in urls:
        with structlog.testing.capture_logs() as log:
            run(made(outside, monotonic, [True, ()], url), monotonic, 60)
        assert [row["event"] for row in log] == ["heartbeat.failed"]
        assert "c0ffee" not in str(log)


def test_what_follows_a_question_mark_stays_behind_the_word(outside, monotonic):
    run(made(outside, monotonic, [True, ("sms_offline",)], lambda: outside.url + "?rid=1"), monotonic, 1)
    assert outside.paths() == [f"{PATH}/start?rid=1", f"{PATH}/fail?rid=1"]
