"""Killed, stopped, away for hours: the alarms are the same, at the same times."""

import sqlite3

import pytest

from sensor_guard.config import load
from sensor_guard.model import HOUR, MINUTE
from simulators import scenario
from tests.e2e.test_main_line import publish, raised_in_replay

LEAD = 3 * HOUR
LATENESS = 5 * MINUTE
OVER_AT = scenario.ENDS_AT + HOUR // 2


def found(daemon) -> set[tuple[str, str, int]]:
    """Give the alarms of the stream's own time: a while after its end all sensors are rightly called silent."""
    return {
        (a["home_id"], a["rule_id"], a["raised_at"])
        for a in daemon.alarms()
        if a["home_id"] != "gateway" and a["raised_at"] <= OVER_AT
    }


def held_up(daemon) -> int:
    """Say by how much a reading came later than the engine waits for one, while it was caught up: 0 unless the machine
    is too busy for this clock, of which a fifth of a second is five minutes."""
    db = sqlite3.connect(f"{(daemon.folder / 'journal.db').as_uri()}?mode=ro", uri=True)
    try:
        events = db.execute("SELECT seq, kind FROM events WHERE kind IN ('link_lost', 'drained')").fetchall()
        rows = db.execute("SELECT seq, received_at - observed_at FROM readings").fetchall()
    finally:
        db.close()
    worst, drained = 0, False
    for _, what in sorted([*events, *rows], key=lambda row: row[0]):
        if isinstance(what, str):
            drained = what == "drained"
        elif drained:
            worst = max(worst, what - LATENESS)
    return worst


def apart(found: set[tuple[str, str, int]], expected: set[tuple[str, str, int]]) -> int | None:
    """Say by how much the times of these alarms differ at most; None if they are not the same alarms."""
    pairs = list(zip(sorted(found), sorted(expected), strict=False))
    if len(found) != len(expected) or any(one[:2] != other[:2] for one, other in pairs):
        return None
    return max((abs(one[2] - other[2]) for one, other in pairs), default=0)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("down_for", [0.0, 8.0], ids=["at once", "hours later"])
def test_killed_in_the_middle_of_the_stream_it_finds_the_same_alarms_at_the_same_times(daemons, broker, down_for):
    """kill -9 while an elder's electricity is low; at this factor 8 s are more than three hours in the broker."""
    readings = list(scenario.readings())
    epoch = scenario.STARTS_AT - LEAD
    daemon = daemons(scenario.rows(), clock=(epoch, 1_440.0))
    daemon.start()
    thread, publisher = publish(daemon, readings, broker.port)
    for killed_at in (scenario.STARTS_AT + 6 * HOUR, scenario.STARTS_AT + 10 * HOUR):
        daemon.until(lambda at=killed_at: daemon.clock.now() >= at)
        daemon.kill()
        up_again_at = daemon.clock.monotonic() + down_for
        daemon.until(lambda at=up_again_at: daemon.clock.monotonic() >= at)
        daemon.start()
    thread.join(120)
    assert publisher.tally.is_complete
    expected = raised_in_replay(load(daemon.config).plan, readings, plan_at=epoch)
    assert {rule for _, rule, _ in expected} == {"panic", "electricity_low"}
    daemon.until(lambda: len(found(daemon)) >= len(expected))
    daemon.until(lambda: daemon.clock.now() > OVER_AT + LATENESS)
    differs = apart(found(daemon), expected)
    assert differs is not None, (found(daemon), expected)
    assert differs <= held_up(daemon), (found(daemon), expected)
    status = daemon.status()
    assert status["connected"]
    assert daemon.stop() == 0
    check = daemon.run("db", "check")
    assert check.returncode == 0, check.stdout


def test_a_second_daemon_is_refused_with_a_clear_text(daemons):
    daemon = daemons(scenario.rows())
    daemon.start()
    second = daemon.run("run")
    assert second.returncode == 75
    assert str(daemon.process.pid) in second.stderr
    assert daemon.stop() == 0


def test_a_broker_that_is_not_there_yet_is_waited_for(daemons, broker):
    broker.stop()
    daemon = daemons(scenario.rows())
    daemon.start(connected=False)
    assert not daemon.status()["connected"]
    broker.start()
    daemon.until(lambda: daemon.status().get("drained"))
    assert daemon.stop() == 0
