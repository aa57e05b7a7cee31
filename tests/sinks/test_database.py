"""Written through the sink into InfluxDB 1.6.7 behind a v2-write shim, and read back by InfluxQL."""

import pytest

from sensor_guard.clock import SystemClock
from sensor_guard.config.settings import InfluxSettings
from sensor_guard.model import Reading
from sensor_guard.sinks import SINKS
from sensor_guard.sinks.history import HistoryAlarm, HistoryReading, InfluxHistory
from sensor_guard.sinks.protocol import SinkError
from tests.fakes.influx_faults import status
from tests.fakes.influxd import ROOT
from tests.sinks.rows import NOON, UNSTORABLE_AT, alarm_event, connection, influx_sink, reading

FOREVER = (0, 4_000_000_000_000)


def test_a_reading_comes_back_exactly(influxd, shim, database):
    with influx_sink(shim.url, database) as sink:
        sink.write([reading(1_234_567, 0.1, at=NOON), reading(1_234_568, 5.0, at=NOON, quantity="battery_pct")])
    [series] = influxd.execute("SELECT * FROM reading", database)
    assert series["columns"] == ["time", "home", "quantity", "sensor", "seq", "value"]
    assert series["values"] == [
        [NOON * 1_000_000 + 234_567, "home-1", "power_w", "kitchen_power", 1_234_567, 0.1],
        [NOON * 1_000_000 + 234_568, "home-1", "battery_pct", "kitchen_power", 1_234_568, 5],
    ]


def test_home_sensor_and_quantity_are_tags_and_nothing_else_is(influxd, shim, database):
    with influx_sink(shim.url, database) as sink:
        sink.write([reading(1), alarm_event(2)])
    keys = {each["name"]: {row[0] for row in each["values"]} for each in influxd.execute("SHOW TAG KEYS", database)}
    assert {"reading": {"home", "sensor", "quantity"}, "alarm": {"home", "rule", "event"}} == keys
    [alarm, stored] = influxd.execute("SHOW FIELD KEYS", database)
    assert sorted(alarm["values"]) == [["alarm_id", "string"], ["level", "integer"], ["text", "string"]]
    assert sorted(stored["values"]) == [["seq", "integer"], ["value", "float"]]


@pytest.mark.parametrize(
    "text", ["无用电 12h，请上门查看", 'a "quote" and a \\', "emoji 🚨", "", "a lone \ud800 surrogate"]
)
def test_an_alarm_comes_back_exactly(shim, database, text):
    with influx_sink(shim.url, database) as sink:
        sink.write([alarm_event(3, text=text)])
    with connection(shim.url, database) as opened:
        found = list(InfluxHistory(opened).alarms("home-1", *FOREVER))
    kept = text.replace("\ud800", "?")
    alarm_id = "home-1.smoke.20260301T120000Z"
    assert [HistoryAlarm("home-1", "smoke", "opened", alarm_id, 3, kept, NOON + 3_000)] == found


def test_alarm_events_of_the_same_ms_are_all_kept(shim, database):
    with influx_sink(shim.url, database) as sink:
        sink.write([alarm_event(seq, "notified", at=NOON) for seq in (1, 2, 3)])
    with connection(shim.url, database) as opened:
        assert len(list(InfluxHistory(opened).alarms("home-1", *FOREVER))) == 3


def test_a_row_written_twice_is_stored_once(influxd, shim, database):
    with influx_sink(shim.url, database) as sink:
        sink.write([reading(1), alarm_event(2)])
        sink.write([reading(1), alarm_event(2)])
    [counted] = influxd.execute("SELECT count(value) FROM reading", database)
    assert counted["values"][0][1] == 1


def test_history_is_one_homes_from_since_until_before(shim, database):
    rows = [reading(seq, seq, home=home) for seq, home in enumerate(["home-1", "home-2"] * 5, start=1)]
    with influx_sink(shim.url, database) as sink:
        sink.write(rows)
    with connection(shim.url, database) as opened:
        found = list(InfluxHistory(opened).readings("home-1", NOON + 3_000, NOON + 9_000))
    assert [each.seq for each in found] == [3, 5, 7]
    assert HistoryReading("home-1", "kitchen_power", "power_w", 3.0, NOON + 3_000, 3) == found[0]
    assert isinstance(found[0].value, float)


def test_history_can_be_of_one_sensor_or_one_quantity(shim, database):
    rows = [reading(1, sensor="a"), reading(2, sensor="b"), reading(3, sensor="b", quantity="battery_pct")]
    with influx_sink(shim.url, database) as sink:
        sink.write(rows)
    with connection(shim.url, database) as opened:
        history = InfluxHistory(opened)
        assert [each.seq for each in history.readings("home-1", *FOREVER, sensor_id="b")] == [2, 3]
        assert [each.seq for each in history.readings("home-1", *FOREVER, quantity="power_w")] == [1, 2]


@pytest.mark.parametrize("page", [1, 2, 3, 7, 100])
def test_history_in_pages_is_the_same_history(shim, database, page):
    """Six sensors share one ns at every point of time, so that pages end in the middle of one."""
    rows = [
        (seq * 1_000_000, Reading("home-1", f"s{number}", "power_w", 1.0, NOON + seq, NOON))
        for seq in range(1, 6)
        for number in range(6)
    ]
    with influx_sink(shim.url, database) as sink:
        sink.write(rows)
    with connection(shim.url, database) as opened:
        found = list(InfluxHistory(opened, page=page).readings("home-1", *FOREVER))
    assert sorted((noun.observed_at, noun.sensor_id) for _seq, noun in rows) == sorted(
        (each.observed_at, each.sensor_id) for each in found
    )


@pytest.mark.parametrize("home", ["x' OR 'a'='a", "", "home 1", "home-1\n", "家", "x" * 65])
def test_history_of_what_is_no_id_is_not_asked(scripted, home):
    with connection(scripted.url, "sensor_guard") as opened, pytest.raises(ValueError, match="not an id"):
        list(InfluxHistory(opened).readings(home, *FOREVER))


def test_history_of_an_unknown_home_is_empty(shim, database):
    with connection(shim.url, database) as opened:
        assert list(InfluxHistory(opened).readings("nobody", *FOREVER)) == []


def test_a_point_that_somebody_else_wrote_does_not_break_history(influxd, shim, database):
    influxd.request("POST", f"/write?db={database}", f"reading,home=home-1 other=1 {NOON}000000".encode())
    with influx_sink(shim.url, database) as sink:
        sink.write([reading(1)])
    with connection(shim.url, database) as opened:
        assert [each.seq for each in InfluxHistory(opened).readings("home-1", *FOREVER)] == [1]


def test_history_of_a_missing_database_says_which(shim):
    with connection(shim.url, "nix") as opened, pytest.raises(SinkError, match="database not found: nix"):
        list(InfluxHistory(opened).readings("home-1", *FOREVER))


def test_history_from_something_else_is_an_error_not_an_empty_list(scripted):
    with connection(scripted.url, "nix") as opened, pytest.raises(SinkError, match="not InfluxDB's JSON"):
        list(InfluxHistory(opened).readings("home-1", *FOREVER))


def test_a_bucket_may_name_a_retention_policy(influxd, shim, database):
    influxd.execute(f'CREATE RETENTION POLICY "long" ON "{database}" DURATION INF REPLICATION 1')
    with influx_sink(shim.url, f"{database}/long") as sink:
        sink.write([reading(1)])
    with connection(shim.url, f"{database}/long") as opened:
        assert [each.seq for each in InfluxHistory(opened).readings("home-1", *FOREVER)] == [1]
    with connection(shim.url, database) as opened:
        assert list(InfluxHistory(opened).readings("home-1", *FOREVER)) == []


def test_an_unknown_retention_policy_is_a_server_error(shim, database):
    """1.6.7 answers 500, which looks like an outage: this is why the mirror has a canary."""
    with influx_sink(shim.url, f"{database}/nix") as sink, pytest.raises(SinkError) as caught:
        sink.write([reading(1)])
    assert caught.value.failure == "server_error"


def test_an_unknown_database_is_a_misconfiguration(shim):
    with influx_sink(shim.url, "nix") as sink, pytest.raises(SinkError) as caught:
        sink.write([reading(1)])
    assert caught.value.failure == "misconfigured"


def test_an_unstorable_time_is_refused(shim, database):
    with influx_sink(shim.url, database) as sink, pytest.raises(SinkError, match="out of range") as caught:
        sink.write([reading(1, at=UNSTORABLE_AT)])
    assert caught.value.failure == "refused"


def test_a_value_that_is_no_number_is_refused_before_it_is_sent(scripted):
    with influx_sink(scripted.url, "x") as sink:
        with pytest.raises(SinkError, match="not a number"):
            sink.write([reading(1, float("nan"))])
        assert "nan" in sink.render(reading(1, float("nan")))
    assert scripted.bodies == []


def test_the_probe_goes_where_the_rows_go_and_belongs_to_no_home(influxd, shim, database):
    with influx_sink(shim.url, database) as sink:
        sink.probe(NOON + 1)
        sink.probe(NOON + 2)
    for measurement in ("reading", "alarm"):
        [series] = influxd.execute(f"SELECT * FROM {measurement}", database)
        assert [(row[series["columns"].index("home")], row[0]) for row in series["values"]] == [
            ("gateway", NOON * 1_000_000)
        ]


def test_the_table_of_sinks_opens_this_one(scripted):
    settings = InfluxSettings(url=scripted.url, bucket="sensor_guard")
    scripted.script([status(401)])
    sink = SINKS["influxdb"](settings, lambda: "token")
    with pytest.raises(SinkError, match="401"):
        sink.write([reading(1)])
    sink.write([reading(1)])
    assert len(scripted.bodies) == 2
    sink.close()


def test_the_questions_in_the_documentation_have_answers(influxd, shim, database):
    page = (ROOT / "docs" / "influxdb.md").read_text(encoding="utf-8")
    asked = [text for text in page.splitlines() if text.startswith("SELECT ")]
    now = SystemClock().now()
    rows = [reading(1, home="b2-0417", at=now), alarm_event(2, home="b2-0417", at=now)]
    with influx_sink(shim.url, database) as sink:
        sink.write(rows)
    assert [bool(influxd.execute(text, database)) for text in asked] == [True] * 5
