"""From the real journal into the real database: what the one must give and the other keeps."""

import tracemalloc

from sensor_guard.core import Core
from sensor_guard.health import Counters, Heartbeats
from sensor_guard.inbox import Inbox
from sensor_guard.journal import Journal as Store
from sensor_guard.journal import Reader
from sensor_guard.model import SECOND, Alarm, Effects, Evidence, Quarantined, Response, Transition, Truth
from sensor_guard.sinks.history import InfluxHistory
from sensor_guard.sinks.mirror import Mirror
from sensor_guard.sinks.protocol import SinkError, SinkFailure
from sensor_guard.standing import Standing
from sensor_guard.testing import VirtualClock
from tests.notify.box import Decoder, plan
from tests.sinks.rows import NOON, UNSTORABLE_AT, Loop, connection, influx_sink, reading

ALARM = Alarm(
    "home-1.smoke.20260301T120005Z", "smoke", "home-1", "critical", Truth.TRUE, Response.UNANSWERED,
    NOON + 5 * SECOND, NOON + 5 * SECOND, Evidence(NOON, 0, 0),
)  # fmt: skip


def test_the_journals_rows_reach_the_database_and_the_cursor_comes_back(tmp_path, influxd, shim, database):
    path = tmp_path / "journal.db"
    with Store.open(path) as store:
        with store.batch(NOON) as batch:
            batch.append_readings([reading(seq)[1] for seq in range(1, 5)])
            batch.append_readings([reading(5, at=UNSTORABLE_AT)[1]])
            raised = Transition(ALARM.alarm_id, "condition", "false", "true", ALARM.raised_at, "raised")
            batch.record(Effects([raised], {ALARM.alarm_id: ALARM}, changed=True))

        def save_cursor(cursor):
            with store.batch(NOON) as batch:
                batch.save_cursor("influxdb", cursor)

        def bury(letter):
            with store.batch(NOON) as batch:
                row = Quarantined(f"influxdb/{letter.seq}", letter.line.encode(), "refused", letter.detail, letter.at)
                batch.quarantine([row])

        with Reader.open(path) as reader, influx_sink(shim.url, database) as sink:
            mirror = Mirror(
                sink,
                reader,
                cursor=store.cursor("influxdb") or 0,
                save_cursor=save_cursor,
                bury=bury,
                report=lambda _fault: None,
            )
            Loop(mirror).until_current()
            assert store.cursor("influxdb") == reader.rows_after(0, 100)[-1][0]
            assert reader.rows_after(store.cursor("influxdb"), 100) == []
            assert "out of range" in reader.quarantined()[0].detail
    with connection(shim.url, database) as opened:
        history = InfluxHistory(opened)
        found = list(history.readings("home-1", NOON, NOON + 60 * SECOND))
        assert [each.observed_at for each in found] == [NOON + seq * SECOND for seq in range(1, 5)]
        [alarm] = history.alarms("home-1", NOON, NOON + 60 * SECOND)
        assert (alarm.event, alarm.alarm_id, alarm.level, alarm.at) == ("opened", ALARM.alarm_id, 3, ALARM.raised_at)


class Counting:
    """A sink that takes everything and keeps nothing."""

    count = 0

    def write(self, rows):
        self.count += len(rows)

    def probe(self, now):
        pass

    def render(self, row):
        return repr(row)

    def close(self):
        pass


def test_a_long_backlog_takes_no_more_memory_than_a_short_one(tmp_path):
    """A day's backlog is handed over in pages: the memory is a page's. benchmarks/influx.py --backlog has the day."""
    path = tmp_path / "journal.db"
    peaks = []
    with Store.open(path) as store:
        for start in (1, 5_001, 10_001, 15_001, 20_001, 25_001):
            with store.batch(NOON) as batch:
                batch.append_readings([reading(seq)[1] for seq in range(start, start + 5_000)])
        for cursor in (25_000, 0):
            sink = Counting()
            with Reader.open(path) as reader:
                mirror = Mirror(
                    sink,
                    reader,
                    cursor=cursor,
                    save_cursor=lambda _cursor: None,
                    bury=lambda _letter: None,
                    report=lambda _fault: None,
                    limit=1_000,
                )
                tracemalloc.start()
                Loop(mirror).until_current()
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
            assert sink.count == 30_000 - cursor
    assert peaks[1] < 1.5 * peaks[0]


class Away(Counting):
    def write(self, rows):
        raise SinkError(SinkFailure.OUTAGE, "nobody there")


def test_the_metrics_tell_depth_and_age_of_the_backlog(tmp_path):
    path = tmp_path / "journal.db"
    with Store.open(path) as store:
        with store.batch(NOON) as batch:
            batch.append_readings([reading(seq)[1] for seq in range(1, 101)])
        with Reader.open(path) as reader:
            mirror = Mirror(
                Away(),
                reader,
                cursor=0,
                save_cursor=lambda _cursor: None,
                bury=lambda _letter: None,
                report=lambda _fault: None,
            )
            now = NOON + 3_600 * SECOND
            mirror.step(now)
            core = Core(store, plan(1, ("p1",)), Decoder())
            standing = Standing(core, VirtualClock(now), Inbox(), Counters(), Heartbeats(), 1, mirror=mirror)
            gauges = standing.gauges()
    assert gauges["influxdb_backlog"] == 100
    assert gauges["influxdb_backlog_age_seconds"] == 3_599
