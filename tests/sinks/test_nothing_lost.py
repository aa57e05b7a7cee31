"""The oracle: distinct keys in == distinct keys read back + dead letters, whatever happens on the way.

A real InfluxDB 1.6.7 behind a v2-write shim, a server in front that misbehaves as told, a virtual clock.
"""

import pytest

from sensor_guard.clock import SystemClock
from sensor_guard.model import DAY, HOUR, MINUTE, SECOND
from sensor_guard.sinks.history import InfluxHistory
from tests.fakes.influx_faults import (
    DROP,
    HANG,
    SLOW,
    STORED_BUT_DROPPED,
    STORED_BUT_TIMED_OUT,
    TRUNCATED,
    refused_url,
    status,
)
from tests.sinks.rows import (
    NOON,
    UNSTORABLE_AT,
    Journal,
    Loop,
    connection,
    influx_sink,
    keys_in,
    keys_of,
    reading,
    readings,
    step,
)


def check(influxd, database, journal, *, expired=()):
    """Every key is in the database or a dead letter, none in both, and none is there that we did not write."""
    buried = {letter.seq for letter in journal.letters}
    kept = [row for row in journal.rows if row[0] not in buried and row[0] not in set(expired)]
    assert keys_in(influxd, database) == keys_of(kept)
    assert journal.cursor == journal.head()


def test_one_bad_line_in_5000(influxd, faulty, database):
    journal = Journal(readings(5_000))
    journal.rows[3_210] = reading(3_211, at=UNSTORABLE_AT)
    with influx_sink(faulty.url, database) as sink:
        Loop(journal.mirror(sink)).until_current()
    [letter] = journal.letters
    assert letter.seq == 3_211
    assert str(UNSTORABLE_AT) in letter.line
    assert "out of range" in letter.detail
    assert len(faulty.bodies) < 45
    check(influxd, database, journal)


def test_alarms_go_the_same_way_and_leave_their_notes_behind(influxd, faulty, database):
    faulty.script([STORED_BUT_DROPPED])
    journal = Journal([reading(1), step(2), reading(3), step(4, "true", "false", "cleared")])
    with influx_sink(faulty.url, database) as sink:
        Loop(journal.mirror(sink)).until_current()
        with connection(faulty.url, database) as opened:
            found = list(InfluxHistory(opened).alarms("home-1", NOON, NOON + DAY))
    assert [(each.event, each.at) for each in found] == [("opened", NOON + 2_000), ("resolved", NOON + 4_000)]
    assert found[0].text == "condition: false > true, raised"
    assert not any(b"Wang" in body for body in faulty.bodies)
    check(influxd, database, journal)


def test_many_bad_lines(influxd, faulty, database):
    journal = Journal(readings(500))
    for seq in (1, 2, 3, 250, 251, 499, 500):
        journal.rows[seq - 1] = reading(seq, at=UNSTORABLE_AT + seq)
    journal.rows[99] = reading(100, float("nan"))
    with influx_sink(faulty.url, database) as sink:
        Loop(journal.mirror(sink, limit=200)).until_current()
    assert [letter.seq for letter in journal.letters] == [1, 2, 3, 100, 250, 251, 499, 500]
    check(influxd, database, journal)


def test_a_write_that_was_stored_but_timed_out_is_stored_once(influxd, faulty, database):
    faulty.script([STORED_BUT_TIMED_OUT, STORED_BUT_DROPPED])
    journal = Journal(readings(300))
    with influx_sink(faulty.url, database, timeout=500) as sink:
        Loop(journal.mirror(sink)).until_current()
    assert len(faulty.bodies) == 3
    assert len(set(faulty.bodies)) == 1
    check(influxd, database, journal)


def test_a_restart_before_the_cursor_was_stored_writes_the_same_again(influxd, faulty, database):
    journal = Journal(readings(300))
    with influx_sink(faulty.url, database) as sink:
        Loop(journal.mirror(sink)).until_current()
        journal.cursor = 0
        Loop(journal.mirror(sink)).until_current()
    assert len(faulty.bodies) == 2
    check(influxd, database, journal)


def test_a_server_away_for_a_day_and_back(influxd, faulty, database):
    journal = Journal()
    with influx_sink(refused_url(), database) as sink:
        loop = Loop(journal.mirror(sink))
        while loop.now < NOON + DAY:
            taken_in = (loop.now - NOON) // (30 * SECOND) + 1
            journal.rows += [reading(seq) for seq in range(journal.head() + 1, taken_in + 1)]
            loop.step()
    assert (journal.cursor, journal.fault_states) == (0, [True])
    status = loop.mirror.status(loop.now)
    assert status.depth > 2_800
    assert status.age > DAY - MINUTE
    assert loop.steps < 3_000
    with influx_sink(faulty.url, database) as sink:
        Loop(journal.mirror(sink), loop.now).until_current()
    assert journal.fault_states == [True, False]
    check(influxd, database, journal)


def test_a_token_rotated(influxd, shim, faulty, database):
    tokens = {"box": "old"}
    shim.token = "old"
    journal = Journal(readings(100))
    with influx_sink(faulty.url, database, token=lambda: tokens["box"]) as sink:
        loop = Loop(journal.mirror(sink)).until_current()
        shim.token = "new"
        journal.rows += [reading(seq) for seq in range(101, 201)]
        for _ in range(5):
            loop.step()
        assert (journal.cursor, journal.fault_states) == (100, [False, True])
        assert "misconfigured: 401" in journal.faults[-1].detail
        tokens["box"] = "new"
        loop.until_current()
    assert journal.fault_states == [False, True, False]
    assert journal.letters == []
    check(influxd, database, journal)


def test_too_many_requests_with_retry_after(influxd, faulty, database):
    faulty.script([status(429, "limit", Retry_After="600")])
    journal = Journal(readings(100))
    with influx_sink(faulty.url, database) as sink:
        loop = Loop(journal.mirror(sink)).until_current()
    assert loop.now - NOON == 600 * SECOND + SECOND
    assert len(faulty.bodies) == 2
    check(influxd, database, journal)


def test_an_unknown_retention_policy_buries_nothing(influxd, faulty, database):
    """1.6.7 answers 500 to every write; only the canary tells that from a bad line."""
    journal = Journal(readings(100))
    with influx_sink(faulty.url, f"{database}/nix") as sink:
        loop = Loop(journal.mirror(sink))
        while loop.now < NOON + HOUR:
            loop.step()
        assert (journal.cursor, journal.letters) == (0, [])
        assert any("retention policy not found: nix" in fault.detail for fault in journal.faults)
        influxd.execute(f'CREATE RETENTION POLICY "nix" ON "{database}" DURATION INF REPLICATION 1 DEFAULT')
        loop.until_current()
    check(influxd, database, journal)


@pytest.mark.parametrize("stored", ["reading,home=x value=1i,seq=1i", 'alarm,home=x alarm_id="x",level=1,text="x"'])
def test_a_bucket_with_other_types_buries_nothing(influxd, faulty, database, stored):
    """Somebody else's points made ``value`` an integer: every row of ours is refused with a 400."""
    influxd.request("POST", f"/write?db={database}", f"{stored} {NOON}000000".encode())
    journal = Journal([*readings(100), step(101)])
    with influx_sink(faulty.url, database) as sink:
        loop = Loop(journal.mirror(sink))
        for _ in range(30):
            loop.step()
        assert journal.letters == []
        assert "field type conflict" in journal.faults[-1].detail
        for measurement in ("reading", "alarm"):
            influxd.execute(f"DROP MEASUREMENT {measurement}", database)
        journal.cursor = 0
        Loop(journal.mirror(sink), loop.now).until_current()
    check(influxd, database, journal)


def test_a_database_that_does_not_exist_yet(influxd, faulty, database):
    journal = Journal(readings(10))
    influxd.execute(f'DROP DATABASE "{database}"')
    with influx_sink(faulty.url, database) as sink:
        loop = Loop(journal.mirror(sink))
        loop.step()
        assert "misconfigured: 404" in journal.faults[-1].detail
        influxd.create(database)
        loop.until_current()
    check(influxd, database, journal)


def test_a_backlog_longer_than_the_retention(influxd, faulty, database):
    """What the server does not keep any more is left out, and the one bad line behind it is still found."""
    now = SystemClock().now()  # the server judges by the real clock
    influxd.execute(f'ALTER RETENTION POLICY "autogen" ON "{database}" DURATION 2h SHARD DURATION 1h')
    rows = [reading(seq, at=now - 6 * HOUR + seq * MINUTE) for seq in range(1, 361)]
    rows[340] = reading(341, at=UNSTORABLE_AT)
    journal = Journal(rows)
    with influx_sink(faulty.url, database) as sink:
        loop = Loop(journal.mirror(sink, limit=50), now).until_current()
    assert [letter.seq for letter in journal.letters] == [341]
    found = keys_in(influxd, database)
    left_out = loop.mirror.status(loop.now).expired_count
    # 2 h of 6 h are kept, and up to an hour more, because the database drops whole shards.
    assert 180 <= left_out <= 241
    check(influxd, database, journal, expired=range(1, left_out + 1))
    assert len(found) == 360 - left_out - 1


def test_everything_that_a_network_can_do(influxd, faulty, database):
    faults = [HANG, DROP, TRUNCATED, SLOW, STORED_BUT_DROPPED, status(503), status(502, "<html>"), status(302)]
    faults += [status(200, "<html>log in</html>"), status(500, "timeout"), status(500), status(504), status(400, "?")]
    faults += [status(401), status(403), status(404), status(413), status(422, "?"), status(429), STORED_BUT_TIMED_OUT]
    faulty.script(faults)
    journal = Journal(readings(400))
    with influx_sink(faulty.url, database, timeout=300) as sink:
        loop = Loop(journal.mirror(sink, limit=100)).until_current()
    assert loop.mirror.status(loop.now).failed_count > 12
    assert journal.letters == []
    check(influxd, database, journal)
