"""A small fire in CI; the whole one is python -m tests.fuzz --payloads 1000000 --timestamps 100000."""

import pytest

from sensor_guard.decode import envelope, own, times
from sensor_guard.model import DEVICE_TIME
from tests.fuzz.fuzz import Fuzz, FuzzError, Report
from tests.fuzz.times import odd_times


@pytest.mark.timeout(600)
def test_odd_payloads_are_read_or_refused_with_a_reason_and_change_no_alarm_of_anybody_else(tmp_path):
    report = Fuzz(tmp_path / "journal.db", seed=1, payloads=10_000).run()
    assert report.payloads == 10_000
    assert len(report.rejected) >= 12  # of the reasons that there are, nearly all were met
    assert report.log_lines > 0


@pytest.mark.timeout(600)
def test_odd_times_neither_suppress_an_alarm_nor_bring_one_forward():
    report = Report()
    odd_times(1, 2_000, report)
    assert report.times_believed > 200
    assert report.times_refused > 200


def test_the_fire_notices_a_decoder_that_raises(tmp_path, monkeypatch):
    monkeypatch.setattr(times, "_instant_of_number", lambda said: round(float(said) * 1e308))
    with pytest.raises(FuzzError, match="decoder_failed"):
        Fuzz(tmp_path / "journal.db", seed=1, payloads=2_000).run()


def test_the_fire_notices_a_number_that_is_not_one(tmp_path, monkeypatch):
    monkeypatch.setattr(own, "number", lambda value, _name: float(bool(value)))
    monkeypatch.setattr(envelope, "_FLOAT_LIMIT", float("inf"))
    monkeypatch.setattr("sensor_guard.decode.router._levels_only", lambda readings: readings)
    with pytest.raises(FuzzError):
        Fuzz(tmp_path / "journal.db", seed=1, payloads=3_000).run()


def test_the_fire_notices_a_time_from_the_future(monkeypatch):
    monkeypatch.setattr(own, "observed_at", lambda _said, received_at, _ahead: (received_at + 10**9, DEVICE_TIME))
    with pytest.raises(FuzzError):
        odd_times(1, 500, Report())
